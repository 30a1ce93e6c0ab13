//! `POST /api/v1/devices/register`: what is made, what is told, and what comes again.

use data_encoding::BASE64;
use otp::uri::{Kind, OtpauthUri};
use serde_json::{Value, json};

use crate::answer::{shown, text};
use crate::database::Engine;
use crate::device::{Device, RFC_SECRET, own};
use crate::harness::Server;
use crate::on_both_engines;
use crate::oracle::python;

on_both_engines! {
    the_defaults_are_those_of_the_old_service,
    every_option_is_taken,
    the_user_id_is_echoed_as_it_came,
    a_key_of_ones_own_is_taken_in_any_spelling,
    an_active_device_stands_in_the_way_of_another,
    a_deactivated_device_may_be_registered_again_and_gets_another_key,
    a_removed_device_may_be_registered_again,
    a_counter_device_begins_at_zero_and_looks_ten_ahead,
    a_policy_gives_its_digits_and_period,
    a_user_has_no_more_devices_than_the_settings_allow,
}

const REGISTER: &str = "/api/v1/devices/register";

fn wanted(device: &str) -> Value {
    json!({ "device_id": device, "user_id": "alice" })
}

async fn the_defaults_are_those_of_the_old_service(engine: Engine) {
    let server = Server::start(engine).await;
    let answer = server.register(wanted("phone-1")).await;
    let body = answer.json(201);
    insta::allow_duplicates! {
        insta::assert_json_snapshot!(shown(body.clone()), @r#"
        {
          "data": {
            "algorithm": "SHA1",
            "created_at": "[created_at]",
            "derived_key": "[derived_key]",
            "device_id": "phone-1",
            "digits": 6,
            "period": 30,
            "provisioning_uri": "[provisioning_uri]",
            "secret": "[secret]",
            "status": "active",
            "user_id": "alice"
          },
          "message": "Device registered successfully",
          "success": true
        }
        "#);
    }
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let data = &body["data"];
    let key = BASE64.decode(text(data, "derived_key").as_bytes()).unwrap();
    assert_eq!(key.len(), 32);
    let secret = otp::Secret::from_base32(text(data, "secret")).unwrap();
    assert_eq!(secret.expose(), key, "both spell the same key");
    let device = Device::from_registration(data);
    assert_eq!(device.uri.secret.expose(), key, "so does the URI");
    assert!(server.accepts(&device, &device.code(&server)).await);
}

async fn every_option_is_taken(engine: Engine) {
    let server = Server::start(engine).await;
    for algorithm in ["SHA1", "SHA256", "SHA512"] {
        for digits in [6, 7, 8] {
            let id = format!("{algorithm}-{digits}");
            let answer = server
                .register(json!({
                    "device_id": id, "user_id": "alice", "kind": "totp", "algorithm": algorithm,
                    "digits": digits, "period": 60, "label": "Alice's phone", "issuer": "Example Ltd",
                }))
                .await;
            let data = answer.data(201);
            assert_eq!(data["algorithm"], algorithm);
            assert_eq!(data["digits"], digits);
            assert_eq!(data["period"], 60);
            let device = Device::from_registration(&data);
            assert_eq!(device.uri.issuer.as_deref(), Some("Example Ltd"));
            assert_eq!(device.uri.account, "Alice's phone");
            assert_eq!(device.uri.kind, Kind::Totp { period: 60 });
            assert!(server.accepts(&device, &device.code(&server)).await, "{id}");
        }
    }
    let seen = server.look("SHA256-8").await;
    assert_eq!(seen["label"], "Alice's phone");
    assert_eq!(seen["issuer"], "Example Ltd");
    assert_eq!(seen["algorithm"], "SHA256");
}

async fn the_user_id_is_echoed_as_it_came(engine: Engine) {
    let server = Server::start(engine).await;
    for (number, user) in [
        json!(42),
        json!("DAVE"),
        json!("Jürgen"),
        json!("42"),
        json!(0),
    ]
    .iter()
    .enumerate()
    {
        let id = format!("d{number}");
        let body = json!({ "device_id": id, "user_id": user });
        assert_eq!(server.register(body).await.data(201)["user_id"], *user);
        assert_eq!(server.look(&id).await["user_id"], *user);
    }
    // 42 and "42" are one user.
    let listed = server.get("/api/v1/devices?user_id=42").await.json(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 2);
}

async fn a_key_of_ones_own_is_taken_in_any_spelling(engine: Engine) {
    let server = Server::start(engine).await;
    let spellings = [
        RFC_SECRET.to_owned(),
        RFC_SECRET.to_lowercase(),
        "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ".to_owned(),
    ];
    for (number, spelling) in spellings.iter().enumerate() {
        let body = json!({
            "device_id": format!("d{number}"), "user_id": "alice", "kind": "hotp", "secret": spelling,
        });
        let data = server.register(body).await.data(201);
        assert_eq!(data["secret"], RFC_SECRET);
        let key = BASE64
            .decode(text(&data, "derived_key").as_bytes())
            .unwrap();
        assert_eq!(key, b"12345678901234567890");
        // RFC 4226, appendix D.
        let device = Device::from_registration(&data);
        assert!(server.accepts(&device, "755224").await, "{spelling}");
    }
    // Exactly 128 bits are enough.
    let short = own(RFC_SECRET).uri.secret.expose()[..16].to_vec();
    let short = otp::Secret::from_bytes(short).to_base32();
    let body = json!({ "device_id": "short", "user_id": "alice", "secret": short.as_str() });
    server.register(body).await.data(201);
}

async fn an_active_device_stands_in_the_way_of_another(engine: Engine) {
    let server = Server::start(engine).await;
    let device = server.device("phone", "alice").await;
    for user in ["alice", "bob"] {
        let body = json!({ "device_id": "phone", "user_id": user });
        let problem = server.register(body).await.problem(409, "device_exists");
        assert_eq!(problem["success"], false);
        assert_eq!(problem["message"], problem["detail"]);
    }
    // Exact bytes: another spelling is another device.
    server.device("PHONE", "alice").await;
    assert!(
        server.accepts(&device, &device.code(&server)).await,
        "the first one is untouched"
    );
}

async fn a_deactivated_device_may_be_registered_again_and_gets_another_key(engine: Engine) {
    let server = Server::start(engine).await;
    let first = server.device("phone", "alice").await;
    assert!(server.accepts(&first, &first.code(&server)).await);
    server.deactivate("phone").await.data(200);
    let second = server.device("phone", "alice").await;
    assert_ne!(first.uri.secret.expose(), second.uri.secret.expose());
    assert!(
        !server.accepts(&second, &first.code(&server)).await,
        "the old key is dead"
    );
    let seen = server.look("phone").await;
    assert_eq!(seen["usage_count"], 0, "a new device");
    assert_eq!(seen["status"], "active");
    assert!(server.accepts(&second, &second.code(&server)).await);
}

async fn a_removed_device_may_be_registered_again(engine: Engine) {
    let server = Server::start(engine).await;
    let first = server.device("phone", "alice").await;
    server.delete("/api/v1/devices/phone").await.json(200);
    let gone = server.get("/api/v1/devices/phone").await;
    gone.problem(404, "device_not_found");
    let second = server.device("phone", "bob").await;
    assert_ne!(first.uri.secret.expose(), second.uri.secret.expose());
    assert!(server.accepts(&second, &second.code(&server)).await);
}

async fn a_counter_device_begins_at_zero_and_looks_ten_ahead(engine: Engine) {
    let server = Server::start(engine).await;
    let body = json!({ "device_id": "token", "user_id": "alice", "kind": "hotp" });
    let data = server.register(body).await.data(201);
    assert_eq!(data["period"], Value::Null);
    let device = Device::from_registration(&data);
    assert_eq!(device.uri.kind, Kind::Hotp { counter: 0 });
    assert!(
        !server.accepts(&device, &device.at(11)).await,
        "eleven ahead"
    );
    assert!(server.accepts(&device, &device.at(0)).await, "the first");
    assert!(!server.accepts(&device, &device.at(0)).await, "again");
    assert!(
        server.accepts(&device, &device.at(11)).await,
        "ten ahead of the next"
    );
    assert!(
        !server.accepts(&device, &device.at(5)).await,
        "one that was skipped"
    );
    assert!(server.accepts(&device, &device.at(12)).await, "the next");
}

async fn a_policy_gives_its_digits_and_period(engine: Engine) {
    let server = Server::with(
        engine,
        &[
            ("OTPD_POLICIES__HIGH__DIGITS", "8"),
            ("OTPD_POLICIES__HIGH__WINDOW", "0"),
            ("OTPD_POLICIES__HIGH__PERIOD", "60"),
            ("OTPD_POLICIES__HIGH__LOCK_AFTER", "2"),
        ],
    )
    .await;
    let body = json!({ "device_id": "safe", "user_id": "alice", "policy": "high" });
    let data = server.register(body).await.data(201);
    assert_eq!((&data["digits"], &data["period"]), (&json!(8), &json!(60)));
    let device = Device::from_registration(&data);
    assert_eq!(server.look("safe").await["policy"], "high");
    assert_eq!(server.fail(&device, 1).await["attempts_remaining"], 1);
    let last = server.verify(&device, &device.wrong(&server)).await;
    assert_eq!(last["attempts_remaining"], 0, "the level's own budget");
    // A period of its own is as safe as the level's; fewer digits would not be.
    let odd = |digits: u8| {
        json!({
            "device_id": "odd", "user_id": "bob", "policy": "high", "period": 90, "digits": digits,
        })
    };
    assert_eq!(server.register(odd(7)).await.faults(), ["/digits"]);
    let data = server.register(odd(8)).await.data(201);
    assert_eq!((&data["digits"], &data["period"]), (&json!(8), &json!(90)));
}

async fn a_user_has_no_more_devices_than_the_settings_allow(engine: Engine) {
    let limit = [("OTPD_CODES__MAX_DEVICES_PER_USER", "2")];
    let server = Server::with(engine, &limit).await;
    server.device("a", "alice").await;
    server.device("b", "ALICE").await;
    let third = server
        .register(json!({ "device_id": "c", "user_id": "alice" }))
        .await;
    third.problem(409, "too_many_devices");
    server.device("c", "bob").await;
}

/// Reads the same URI with this project's reader and with `PyOTP`'s.
#[tokio::test]
async fn the_uri_carries_label_and_issuer_for_every_reader() {
    let server = Server::start(Engine::Sqlite).await;
    let names = [
        ("Example Ltd", "alice@example.com"),
        ("Ünïcode & Söhne", "Jürgen Groß"),
        ("A?B#C%D+E", "x/y&z=1"),
    ];
    let mut rows = Vec::new();
    for (number, (issuer, label)) in names.iter().enumerate() {
        let body = json!({
            "device_id": format!("d{number}"), "user_id": "alice", "issuer": issuer, "label": label,
            "algorithm": "SHA256", "digits": 8, "period": 45,
        });
        let data = server.register(body).await.data(201);
        let uri = OtpauthUri::parse(text(&data, "provisioning_uri")).unwrap();
        assert_eq!(uri.issuer.as_deref(), Some(*issuer));
        assert_eq!(uri.account, *label);
        rows.push(json!({
            "uri": data["provisioning_uri"], "issuer": issuer, "label": label,
            "secret": data["secret"],
        }));
    }
    let plain = server
        .register(json!({ "device_id": "p", "user_id": "Bob" }))
        .await
        .data(201);
    let uri = OtpauthUri::parse(text(&plain, "provisioning_uri")).unwrap();
    assert_eq!(uri.issuer.as_deref(), Some("otpd"), "the configured issuer");
    assert_eq!(uri.account, "Bob", "the user as written, without a label");
    let body = json!({ "device_id": "q", "user_id": 42 });
    let data = server.register(body).await.data(201);
    let uri = OtpauthUri::parse(text(&data, "provisioning_uri")).unwrap();
    assert_eq!(uri.account, "42");
    python(
        "import json, pyotp, sys\n\
         for row in json.load(sys.stdin):\n\
         \x20   totp = pyotp.parse_uri(row['uri'])\n\
         \x20   assert totp.issuer == row['issuer'], (totp.issuer, row)\n\
         \x20   assert totp.name == row['label'], (totp.name, row)\n\
         \x20   assert totp.secret == row['secret'], row\n\
         \x20   assert (totp.digits, totp.interval) == (8, 45), row\n\
         \x20   assert totp.digest().name == 'sha256', row\n",
        &json!(rows),
    );
}

#[tokio::test]
async fn devices_are_listed_newest_first_in_pages() {
    let server = Server::start(Engine::Sqlite).await;
    for number in 0..5 {
        server.device(&format!("d{number}"), "alice").await;
    }
    server.device("other", "bob").await;
    server.deactivate("d3").await.data(200);
    let ids = |body: &Value| -> Vec<String> {
        let devices = body["data"].as_array().unwrap();
        devices
            .iter()
            .map(|device| text(device, "device_id").to_owned())
            .collect()
    };
    let list = async |query: &str| {
        server
            .get(&format!("/api/v1/devices{query}"))
            .await
            .json(200)
    };
    let all = list("").await;
    assert_eq!(ids(&all), ["other", "d4", "d3", "d2", "d1", "d0"]);
    assert_eq!(all["next_cursor"], Value::Null);
    let first = list("?user_id=Alice&limit=2").await;
    assert_eq!(ids(&first), ["d4", "d3"]);
    let cursor = text(&first, "next_cursor").to_owned();
    let second = list(&format!("?user_id=alice&limit=3&cursor={cursor}")).await;
    assert_eq!(ids(&second), ["d2", "d1", "d0"]);
    assert_eq!(second["next_cursor"], Value::Null);
    assert_eq!(ids(&list("?status=deactivated").await), ["d3"]);
    assert_eq!(ids(&list("?user_id=alice&status=active").await).len(), 4);
    assert_eq!(ids(&list("?user_id=nobody").await).len(), 0);
    let text = server.get("/api/v1/devices").await.text();
    for secret in ["secret", "derived_key", "provisioning_uri", "sealed"] {
        assert!(!text.contains(secret), "{secret} is listed");
    }
    for query in [
        "?limit=0",
        "?limit=201",
        "?limit=x",
        "?cursor=x",
        "?status=odd",
        "?nothing=1",
    ] {
        let answer = server.get(&format!("/api/v1/devices{query}")).await;
        answer.problem(422, "validation_failed");
    }
}

#[tokio::test]
async fn a_body_without_a_content_type_is_read_all_the_same() {
    let server = Server::start(Engine::Sqlite).await;
    let answer = server
        .post(REGISTER, wanted("phone"))
        .without("content-type")
        .await;
    answer.data(201);
}
