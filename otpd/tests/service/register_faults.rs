//! `POST /api/v1/devices/register`: what it refuses, all faults at once, each with its place.

use serde_json::{Value, json};

use crate::answer::shown;
use crate::database::Engine;
use crate::harness::Server;

const REGISTER: &str = "/api/v1/devices/register";

/// The smallest good body with some members changed; `null` as a member removes it.
fn body(changes: Value) -> Value {
    let mut body = json!({ "device_id": "phone", "user_id": "alice" });
    let members = body.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        members.insert(name.clone(), value.clone());
    }
    members.retain(|_, value| !value.is_null());
    body
}

#[tokio::test]
async fn each_member_is_checked() {
    let server = Server::start(Engine::Sqlite).await;
    let check = async |changes: Value, pointers: &[&str]| {
        let answer = server.register(body(changes.clone())).await;
        assert_eq!(answer.faults(), pointers, "{changes}");
    };
    for wrong in [
        json!(""),
        json!("a b"),
        json!("ä"),
        json!("x".repeat(129)),
        json!(7),
    ] {
        check(json!({ "device_id": wrong }), &["/device_id"]).await;
    }
    for wrong in [
        json!(""),
        json!(" alice"),
        json!("alice\t"),
        json!("al\u{200b}ice"),
        json!("a\u{0}b"),
        json!("x".repeat(257)),
        json!(1.5),
        json!(true),
        json!(["alice"]),
    ] {
        check(json!({ "user_id": wrong }), &["/user_id"]).await;
    }
    check(json!({ "device_id": null }), &["/device_id"]).await;
    check(json!({ "user_id": null }), &["/user_id"]).await;
    check(json!({ "kind": "sotp" }), &["/kind"]).await;
    check(json!({ "kind": "TOTP" }), &["/kind"]).await;
    for wrong in [json!("MD5"), json!(""), json!(1)] {
        check(json!({ "algorithm": wrong }), &["/algorithm"]).await;
    }
    for wrong in [json!(5), json!(9), json!("6"), json!(6.5), json!(-6)] {
        check(json!({ "digits": wrong }), &["/digits"]).await;
    }
    for wrong in [json!(14), json!(121), json!("30"), json!(-30), json!(1e30)] {
        check(json!({ "period": wrong }), &["/period"]).await;
    }
    check(json!({ "policy": "nonesuch" }), &["/policy"]).await;
    // A colon ends the issuer in the label of the URI.
    check(json!({ "issuer": "a:b" }), &["/issuer"]).await;
    check(json!({ "test": true }), &["/test"]).await;
    for flag in ["require_confirmation", "test"] {
        check(json!({ flag: "yes" }), &[&format!("/{flag}")]).await;
    }
    for name in ["label", "issuer"] {
        check(json!({ name: 5 }), &[&format!("/{name}")]).await;
        check(json!({ name: "" }), &[&format!("/{name}")]).await;
        check(json!({ name: "x".repeat(129) }), &[&format!("/{name}")]).await;
        check(json!({ name: "a\nb" }), &[&format!("/{name}")]).await;
    }
}

#[tokio::test]
async fn a_key_of_ones_own_has_its_bounds() {
    let server = Server::start(Engine::Sqlite).await;
    let of_bytes = |count: usize| {
        otp::Secret::from_bytes(vec![7; count])
            .to_base32()
            .to_string()
    };
    let too_short = of_bytes(15);
    let too_long = of_bytes(4000);
    for wrong in [
        json!(too_short),
        json!(too_long),
        json!("no base32 0189"),
        json!(""),
        json!(5),
    ] {
        let answer = server.register(body(json!({ "secret": wrong }))).await;
        assert_eq!(answer.faults(), ["/secret"]);
        // What was sent as a key is repeated nowhere.
        if let Some(sent) = wrong.as_str().filter(|sent| !sent.is_empty()) {
            assert!(!answer.text().contains(sent), "{}", answer.text());
        }
    }
    server
        .get("/api/v1/devices/phone")
        .await
        .problem(404, "device_not_found");
}

#[tokio::test]
async fn period_and_window_together_keep_a_code_short_lived() {
    let wide = [("OTP_WINDOW", "2"), ("OTPD_POLICIES__NARROW__WINDOW", "1")];
    let server = Server::with(Engine::Sqlite, &wide).await;
    let period = async |period: u32, policy: Value| {
        let changes =
            json!({ "device_id": format!("d{period}"), "period": period, "policy": policy });
        server.register(body(changes)).await
    };
    assert_eq!(period(61, Value::Null).await.faults(), ["/period"]);
    period(60, Value::Null).await.data(201);
    period(120, json!("narrow")).await.data(201);
}

#[tokio::test]
async fn a_member_that_means_nothing_for_the_kind_is_refused() {
    let server = Server::start(Engine::Sqlite).await;
    let answer = server
        .register(body(json!({ "kind": "hotp", "period": 30 })))
        .await;
    assert_eq!(answer.faults(), ["/period"]);
}

#[tokio::test]
async fn all_faults_are_told_at_once() {
    let server = Server::start(Engine::Sqlite).await;
    let answer = server
        .register(json!({
            "device_id": "a b", "digits": 5, "period": 10, "algoritm": "SHA256", "secret": "1",
        }))
        .await;
    let pointers = [
        "/algoritm",
        "/device_id",
        "/digits",
        "/period",
        "/secret",
        "/user_id",
    ];
    assert_eq!(answer.faults(), pointers);
}

#[tokio::test]
async fn the_answer_says_what_and_where() {
    let server = Server::start(Engine::Sqlite).await;
    let answer = server
        .register(body(json!({ "digits": 5, "diigts": 6 })))
        .await;
    insta::assert_json_snapshot!(shown(answer.json(422)), @r#"
    {
      "code": "validation_failed",
      "detail": "The request is not valid.",
      "errors": [
        {
          "detail": "Must be a whole number from 6 to 8.",
          "pointer": "/digits"
        },
        {
          "detail": "Is not a member of this request.",
          "pointer": "/diigts"
        }
      ],
      "message": "The request is not valid.",
      "request_id": "[request_id]",
      "status": 422,
      "success": false,
      "title": "Not valid",
      "type": "urn:otpd:error:validation_failed"
    }
    "#);
}

#[tokio::test]
async fn unknown_members_are_named_wherever_they_stand() {
    let server = Server::start(Engine::Sqlite).await;
    for unknown in ["Device_id", "a/b", "a~b", ""] {
        let answer = server.register(body(json!({ unknown: 1 }))).await;
        // RFC 6901: ~ is ~0 and / is ~1.
        let escaped = unknown.replace('~', "~0").replace('/', "~1");
        assert_eq!(answer.faults(), [format!("/{escaped}")]);
    }
}

#[tokio::test]
async fn what_is_no_object_is_refused() {
    let server = Server::start(Engine::Sqlite).await;
    for text in [
        "",
        "{",
        "nonsense",
        "{\"device_id\":\"a\"",
        "{\"device_id\":\"\u{1}\"}",
    ] {
        let answer = server.post_raw(REGISTER, text).await;
        answer.problem(400, "invalid_json");
    }
    for text in ["[]", "null", "5", "\"text\""] {
        let answer = server.post_raw(REGISTER, text).await;
        assert_eq!(answer.faults(), [""], "{text}");
    }
    // Twice the same member: whoever reads the first one and whoever reads the last one
    // would disagree on who is meant.
    let twice = r#"{"device_id":"a","user_id":"alice","user_id":"bob"}"#;
    assert_eq!(
        server.post_raw(REGISTER, twice).await.faults(),
        ["/user_id"]
    );
    let invalid_utf8 = b"{\"device_id\":\"a\",\"user_id\":\"\xff\"}";
    server
        .post_raw(REGISTER, invalid_utf8)
        .await
        .problem(400, "invalid_json");
}

#[tokio::test]
async fn nothing_refused_is_stored() {
    let server = Server::start(Engine::Sqlite).await;
    server.register(body(json!({ "digits": 5 }))).await.faults();
    server
        .get("/api/v1/devices/phone")
        .await
        .problem(404, "device_not_found");
    let listed = server.get("/api/v1/devices").await.json(200);
    assert_eq!(listed["data"], json!([]));
}
