//! `GET /api/v1/audit`: one event for each change and each evaluated attempt, and how it is found again.

use serde_json::{Value, json};

use crate::answer::{shown, text};
use crate::call::{Call, Sent};
use crate::database::Engine;
use crate::device::Device;
use crate::harness::Server;
use crate::on_both_engines;

on_both_engines! {
    each_change_and_each_attempt_leaves_one_event,
    an_event_has_all_that_is_known,
    what_is_refused_leaves_none,
    a_repeated_request_leaves_one_event,
    refused_callers_are_summed_up_by_source,
    filters_find_what_they_name,
}

const AUDIT: &str = "/api/v1/audit";

async fn events(server: &Server, query: &str) -> Vec<Value> {
    let body = server.get(&format!("{AUDIT}{query}")).await.json(200);
    body["data"].as_array().unwrap().clone()
}

/// The actions with their success, oldest first.
async fn told(server: &Server, query: &str) -> Vec<String> {
    let mut events = events(server, query).await;
    events.reverse();
    let word = |event: &Value| {
        let sign = if event["success"] == true { '+' } else { '-' };
        format!("{sign}{}", text(event, "action"))
    };
    events.iter().map(word).collect()
}

async fn each_change_and_each_attempt_leaves_one_event(engine: Engine) {
    let server = Server::start(engine).await;
    let body = json!({
        "device_id": "token", "user_id": "alice", "kind": "hotp", "require_confirmation": true,
    });
    let device = server.device_with(body).await;
    let post = async |path: &str, body: Value| drop(server.post(path, body).await.json(200));
    let confirm = "/api/v1/devices/token/confirm";
    server.verify(&device, "123456").await;
    post(confirm, json!({ "otp": device.wrong(&server) })).await;
    post(confirm, json!({ "otp": device.at(0) })).await;
    server.verify(&device, &device.at(1)).await;
    server.verify(&device, &device.at(1)).await;
    let resync = "/api/v1/devices/token/resync";
    post(resync, json!({ "otp": [device.at(30), device.at(32)] })).await;
    post(resync, json!({ "otp": [device.at(30), device.at(31)] })).await;
    post(
        "/api/v1/otp/explain",
        json!({ "device_id": "token", "otp": device.at(31) }),
    )
    .await;
    server.deactivate("token").await.data(200);
    server.deactivate("token").await.data(200);
    server.delete("/api/v1/devices/token").await.json(200);
    let made = server.key(&["otp:verify"]).await;
    let path = format!("/api/v1/keys/{}", text(&made, "id"));
    for _ in 0..2 {
        server.delete(&path).await.json(200);
    }
    let expected = [
        "+DEVICE_REGISTERED",
        "-OTP_VERIFICATION",
        "-DEVICE_CONFIRMED",
        "+DEVICE_CONFIRMED",
        "+OTP_VERIFICATION",
        "-OTP_VERIFICATION",
        "-DEVICE_RESYNCHRONISED",
        "+DEVICE_RESYNCHRONISED",
        "+OTP_EXPLAINED",
        "+DEVICE_DEACTIVATED",
        "+DEVICE_DELETED",
        "+KEY_CREATED",
        "+KEY_REVOKED",
    ];
    assert_eq!(told(&server, "").await, expected);
}

async fn an_event_has_all_that_is_known(engine: Engine) {
    let server = Server::start(engine).await;
    let made = server.key(&["devices:write", "otp:verify"]).await;
    let with = |call: Call<'_>| -> Sent {
        let call = call.key(text(&made, "key")).from("203.0.113.5");
        let call = call.header("user-agent", "till/7 (Zoë)");
        call.header("x-request-id", "request-1").into_future()
    };
    let body = json!({ "device_id": "phone", "user_id": "DAVE" });
    let registered = with(server.post("/api/v1/devices/register", body)).await;
    let device = Device::from_registration(&registered.data(201));
    for code in [device.wrong(&server), device.code(&server)] {
        let body = json!({ "device_id": "phone", "otp": code });
        let verified = with(server.post("/api/v1/otp/verify", body)).await;
        verified.data(200);
    }
    let mut found = events(&server, "?device_id=phone").await;
    for event in &mut found {
        assert!(!text(event, "id").is_empty());
        event["id"] = json!("[id]");
        assert_eq!(event["caller"], format!("key:{}", text(&made, "id")));
        event["caller"] = json!("[caller]");
        assert_eq!(event["request_id"], "request-1");
    }
    assert_eq!(
        found[0]["additional_data"],
        Value::Null,
        "an acceptance is brief"
    );
    let registration = json!({ "kind": "totp", "status": "active" });
    assert_eq!(found[2]["additional_data"], registration);
    insta::allow_duplicates! {
        insta::assert_json_snapshot!(shown(found[1].clone()), @r#"
        {
          "action": "OTP_VERIFICATION",
          "additional_data": {
            "reason": "wrong"
          },
          "caller": "[caller]",
          "device_id": "phone",
          "id": "[id]",
          "ip_address": "203.0.113.5",
          "request_id": "[request_id]",
          "success": false,
          "timestamp": "[timestamp]",
          "user_agent": "till/7 (Zoë)",
          "user_id": "dave"
        }
        "#);
    }
}

async fn what_is_refused_leaves_none(engine: Engine) {
    let server = Server::start(engine).await;
    server.device("phone", "alice").await;
    let narrow = server.credential(&["stats:read"]).await;
    let before = events(&server, "").await.len();
    let verify = |otp: Value| {
        server.post(
            "/api/v1/otp/verify",
            json!({ "device_id": "phone", "otp": otp }),
        )
    };
    assert_eq!(verify(json!("12345")).await.status, 422);
    assert_eq!(verify(json!("1234567")).await.status, 422);
    assert_eq!(verify(json!("123456")).anonymous().await.status, 401);
    assert_eq!(verify(json!("123456")).key(&narrow).await.status, 403);
    let body = json!({ "device_id": "none", "otp": "123456" });
    assert_eq!(server.post("/api/v1/otp/verify", body).await.status, 404);
    let body = json!({ "device_id": "phone", "user_id": "alice" });
    assert_eq!(server.register(body).await.status, 409);
    assert_eq!(server.deactivate("none").await.status, 404);
    let confirm = json!({ "otp": "123456" });
    let confirm = server.post("/api/v1/devices/phone/confirm", confirm).await;
    assert_eq!(confirm.status, 409);
    assert_eq!(events(&server, "").await.len(), before);
    // Reading is no change.
    server.look("phone").await;
    server.get("/api/v1/keys").await.json(200);
    assert_eq!(events(&server, "").await.len(), before);
}

async fn a_repeated_request_leaves_one_event(engine: Engine) {
    let server = Server::start(engine).await;
    let device = server.device("phone", "alice").await;
    let body = json!({ "device_id": "phone", "otp": device.wrong(&server) });
    for _ in 0..3 {
        server
            .post("/api/v1/otp/verify", body.clone())
            .once("v")
            .await
            .data(200);
        let body = json!({ "device_id": "token", "user_id": "alice" });
        server.register(body.clone()).await;
        let call = server.post(
            "/api/v1/devices/register",
            json!({ "device_id": "x", "user_id": "x" }),
        );
        call.once("r").await.data(201);
    }
    let expected = [
        "+DEVICE_REGISTERED",
        "-OTP_VERIFICATION",
        "+DEVICE_REGISTERED",
        "+DEVICE_REGISTERED",
    ];
    assert_eq!(told(&server, "").await, expected);
}

async fn refused_callers_are_summed_up_by_source(engine: Engine) {
    let five = [("OTPD_LIMITS__ADDRESS_FAILURES_PER_MINUTE", "5")];
    let server = Server::with(engine, &five).await;
    for address in ["192.0.2.1", "2001:db8:0:7::1"] {
        for _ in 0..8 {
            server
                .get("/api/v1/devices")
                .from(address)
                .key("nonsense")
                .await;
        }
    }
    assert_eq!(events(&server, "").await.len(), 0, "not one by one");
    server.app.record_refusals().await.unwrap();
    server.app.record_refusals().await.unwrap();
    let mut sums: Vec<(String, String, i64)> = Vec::new();
    for event in events(&server, "").await {
        assert_eq!(
            (&event["success"], &event["caller"]),
            (&json!(false), &json!("server"))
        );
        let count = event["additional_data"]["count"].as_i64().unwrap();
        let (action, source) = (text(&event, "action"), text(&event, "ip_address"));
        sums.push((action.to_owned(), source.to_owned(), count));
    }
    sums.sort();
    let sum =
        |action: &str, source: &str, count: i64| (action.to_owned(), source.to_owned(), count);
    let expected = [
        sum("AUTHENTICATION_FAILED", "192.0.2.1", 5),
        sum("AUTHENTICATION_FAILED", "2001:db8:0:7::/64", 5),
        sum("RATE_LIMITED", "192.0.2.1", 3),
        sum("RATE_LIMITED", "2001:db8:0:7::/64", 3),
    ];
    assert_eq!(sums, expected);
}

async fn filters_find_what_they_name(engine: Engine) {
    let server = Server::start(engine).await;
    let phone = server.device("phone", "Alice").await;
    let token = server.device("token", "bob").await;
    server.verify(&phone, &phone.wrong(&server)).await;
    server.verify(&phone, &phone.code(&server)).await;
    server.verify(&token, &token.code(&server)).await;
    server.deactivate("token").await.data(200);
    let check = async |query: &str, expected: &[&str]| {
        assert_eq!(told(&server, query).await, expected, "{query}");
    };
    let of_phone = [
        "+DEVICE_REGISTERED",
        "-OTP_VERIFICATION",
        "+OTP_VERIFICATION",
    ];
    check("?device_id=phone", &of_phone).await;
    check("?user_id=ALICE", &of_phone).await;
    check("?user_id=nobody", &[]).await;
    check("?device_id=none", &[]).await;
    check("?device_id=phone&user_id=bob", &[]).await;
    check(
        "?action=DEVICE_REGISTERED",
        &["+DEVICE_REGISTERED", "+DEVICE_REGISTERED"],
    )
    .await;
    check(
        "?action=DEVICE_DEACTIVATED&user_id=bob",
        &["+DEVICE_DEACTIVATED"],
    )
    .await;
    check("?success=false", &["-OTP_VERIFICATION"]).await;
    let right = ["+OTP_VERIFICATION", "+OTP_VERIFICATION"];
    check("?action=OTP_VERIFICATION&success=true", &right).await;
    check("?from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z", &[]).await;
    check(
        "?from=2020-01-01T00:00:00Z&action=DEVICE_DEACTIVATED",
        &["+DEVICE_DEACTIVATED"],
    )
    .await;
    let faults = async |query: &str| server.get(&format!("{AUDIT}?{query}")).await.faults();
    assert_eq!(faults("action=NONESUCH").await, ["?action"]);
    assert_eq!(faults("success=maybe").await, ["?success"]);
    assert_eq!(faults("from=now").await, ["?from"]);
    assert_eq!(faults("cursor=x").await, ["?cursor"]);
    assert_eq!(faults("limit=201").await, ["?limit"]);
    assert_eq!(faults("device=phone").await, ["?device"]);
}

#[tokio::test]
async fn pages_are_newest_first_and_miss_nothing() {
    for query in [
        "?limit=5",
        "?limit=5&user_id=alice",
        "?limit=5&action=DEVICE_REGISTERED",
    ] {
        let server = Server::start(Engine::Sqlite).await;
        for number in 0..23 {
            server.device(&format!("d{number}"), "alice").await;
            server.advance(1);
        }
        let mut seen = Vec::new();
        let mut path = format!("{AUDIT}{query}");
        loop {
            let page = server.get(&path).await.json(200);
            let events = page["data"].as_array().unwrap();
            assert!(events.len() <= 5);
            seen.extend(
                events
                    .iter()
                    .map(|event| text(event, "device_id").to_owned()),
            );
            match page["next_cursor"].as_str() {
                Some(cursor) => path = format!("{AUDIT}{query}&cursor={cursor}"),
                None => break,
            }
            // What comes in between is newer and moves no page.
            server.device(&format!("later{}", seen.len()), "bob").await;
        }
        let expected: Vec<String> = (0..23).rev().map(|number| format!("d{number}")).collect();
        assert_eq!(seen, expected, "{query}");
    }
}

#[tokio::test]
async fn a_span_begins_with_its_start_and_ends_before_its_end() {
    let server = Server::start(Engine::Sqlite).await;
    for id in ["a", "b", "c"] {
        server.device(id, "alice").await;
        server.advance(10);
    }
    // 08:00:10, 08:00:20, 08:00:30.
    let span = "?from=2027-01-15T08:00:20Z&to=2027-01-15T08:00:30Z";
    let found = events(&server, span).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["device_id"], "b");
    assert_eq!(found[0]["timestamp"], "2027-01-15T08:00:20.000Z");
}

#[tokio::test]
async fn no_event_holds_a_code_or_a_key() {
    let server = Server::start(Engine::Sqlite).await;
    let body = json!({ "device_id": "phone", "user_id": "alice" });
    let data = server.register(body).await.data(201);
    let device = Device::from_registration(&data);
    let codes = [device.code(&server), device.wrong(&server)];
    for code in &codes {
        server.verify(&device, code).await;
    }
    let key = server.key(&["otp:verify"]).await;
    let text_of_all = server.get(AUDIT).await.text();
    let secrets = [
        text(&data, "secret"),
        text(&data, "derived_key"),
        text(&key, "key"),
    ];
    for secret in secrets.into_iter().chain(codes.iter().map(String::as_str)) {
        assert!(!text_of_all.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn a_checkpoint_is_made_and_kept_for_export() {
    let server = Server::start(Engine::Sqlite).await;
    let latest = "/api/v1/audit/checkpoints/latest";
    server.get(latest).await.problem(404, "no_checkpoint");
    server.device("phone", "alice").await;
    let path = "/api/v1/audit/checkpoints";
    let first = server.post_raw(path, "").await;
    assert_eq!(server.get(latest).await.json(200), first.json(201));
    server.device("token", "alice").await;
    let second = server.post_raw(path, "").await.json(201);
    assert_eq!(
        second["id"].as_i64(),
        first.json(201)["id"].as_i64().map(|id| id + 1)
    );
    assert_ne!(second["heads"], first.json(201)["heads"]);
    assert_eq!(second["public_key"], first.json(201)["public_key"]);
    assert_eq!(server.get(latest).await.json(200), second);
}

#[tokio::test]
async fn a_checkpoint_is_safe_to_repeat() {
    let server = Server::start(Engine::Sqlite).await;
    server.device("phone", "alice").await;
    let path = "/api/v1/audit/checkpoints";
    let ask = async |key: &str| {
        let call = server.post_raw(path, "").header("idempotency-key", key);
        call.await
    };
    let first = ask("nightly-1").await;
    let again = ask("nightly-1").await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.json(201), first.json(201));
    assert_eq!(first.header("idempotent-replayed"), None);
    let other = ask("nightly-2").await.json(201);
    assert_eq!(other["id"], 2);
}
