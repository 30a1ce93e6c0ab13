//! What strangers put into requests: values that fit nowhere, values that fit somewhere, bodies that are none.

use serde_json::{Value, json};

/// Each call with a body that could be right.
pub(crate) const CALLS: [(&str, &str); 8] = [
    (
        "/api/v1/devices/register",
        r#"{"device_id":"hostile","user_id":"u","kind":"totp","algorithm":"SHA1","digits":6,
            "period":30,"policy":null,"label":"l","issuer":"i",
            "secret":"MNQW4YLSPEWW65LOEB2HE33VONSXE4ZB","require_confirmation":false,"test":false}"#,
    ),
    ("/api/v1/devices/hostile/confirm", r#"{"otp":"000000"}"#),
    (
        "/api/v1/devices/hostile/resync",
        r#"{"otp":["000000","000001"]}"#,
    ),
    (
        "/api/v1/otp/verify",
        r#"{"device_id":"no-such-device","otp":"000000","assertion":null}"#,
    ),
    (
        "/api/v1/otp/explain",
        r#"{"device_id":"no-such-device","otp":"000000"}"#,
    ),
    ("/api/v1/test/otp", r#"{"device_id":"hostile"}"#),
    (
        "/api/v1/keys",
        r#"{"name":"n","scopes":["otp:verify"],"expires_in":60}"#,
    ),
    ("/api/v1/devices/no-such-device/deactivate", "{}"),
];

/// Values for any field; `true` for those that fit some field.
pub(crate) fn hostile_values() -> Vec<(Value, bool)> {
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    vec![
        (json!({}), false),
        (json!({"a": 1}), false),
        (json!({"$ne": null}), false),
        (deep, false),
        (json!([[]]), false),
        (json!([null]), false),
        (json!(["000000", 1.5]), false),
        (json!(vec!["000000"; 1000]), false),
        (json!(1.5), false),
        (json!(1e300), false),
        (json!(-1.0), false),
        (json!(""), false),
        (json!(" "), true),
        (json!("\u{0}"), false),
        (json!("a\nb"), false),
        (json!("\u{202e}000000"), true),
        (json!("١٢٣٤٥٦"), true),
        (json!("１２３４５６"), true),
        (json!("𝟙𝟚𝟛𝟜𝟝𝟞"), true),
        (json!("000000\u{200b}"), true),
        (json!(" 000000"), true),
        (json!("+00000"), true),
        (json!("0x0000"), true),
        (json!("1e5000"), true),
        (json!("'; DROP TABLE devices; --"), true),
        (json!("../../etc/passwd"), true),
        (json!("<script>alert(1)</script>"), true),
        (json!("%00%0d%0aX: y"), true),
        (json!("${jndi:ldap://x}"), true),
        (json!("{{7*7}}"), true),
        (json!("\u{fdfd}".repeat(400)), false),
        (json!("x".repeat(16_000)), false),
        (json!("\u{feff}x"), true),
        (json!("\u{ffff}"), true),
        (json!(null), true),
        (json!([]), true),
        (json!(true), true),
        (json!(false), true),
        (json!(0), true),
        (json!(-1), true),
        (json!(7), true),
        (json!(i64::MIN), true),
        (json!(i64::MAX), true),
        (json!(u64::MAX), true),
    ]
}

/// Bodies that are no JSON object.
pub(crate) const BROKEN: [&[u8]; 24] = [
    b"{",
    b"}",
    b"[",
    b"null",
    b"true",
    b"0",
    b"\"x\"",
    b"[]",
    b"[1,2]",
    b"{\"otp\":}",
    b"{\"otp\":\"000000\",}",
    b"{'otp':'000000'}",
    b"{otp:1}",
    b"{\"otp\":01}",
    b"{\"otp\":NaN}",
    b"{\"otp\":1e999999}",
    b"{\"otp\":\"000000\"} x",
    b"{\"otp\":\"\\ud800\"}",
    b"{\"otp\":\"\xff\xfe\"}",
    b"\xef\xbb\xbf{}",
    b"\x00",
    b"\xff\xfe{\x00}\x00",
    b"<?xml version=\"1.0\"?><a/>",
    b"otp=000000&device_id=x",
];
