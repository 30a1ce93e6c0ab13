//! `GET /api/v1/users/{user_id}/2fa`: what a service may know of a user's second factor.

use serde_json::{Value, json};

use crate::answer::text;
use crate::database::Engine;
use crate::harness::Server;
use crate::on_both_engines;

on_both_engines! {
    a_user_whom_nobody_knows_has_none,
    it_tells_what_would_be_accepted,
    a_name_is_checked_and_echoed,
}

async fn ask(server: &Server, user: &str) -> Value {
    let path = format!("/api/v1/users/{user}/2fa");
    server.get(&path).await.json(200)
}

async fn a_user_whom_nobody_knows_has_none(engine: Engine) {
    let server = Server::start(engine).await;
    let expected = json!({
        "user_id": "nobody", "enabled": false, "methods": [], "last_verified_at": null,
        "recovery_codes_left": 0,
    });
    assert_eq!(ask(&server, "nobody").await, expected);
}

async fn it_tells_what_would_be_accepted(engine: Engine) {
    let server = Server::start(engine).await;
    let pending = json!({ "device_id": "new", "user_id": "alice", "require_confirmation": true });
    server.device_with(pending).await;
    let found = ask(&server, "alice").await;
    assert_eq!(
        (&found["enabled"], &found["methods"]),
        (&json!(false), &json!([]))
    );
    let device = server.device("phone", "alice").await;
    let found = ask(&server, "alice").await;
    assert_eq!(
        (&found["enabled"], &found["methods"]),
        (&json!(true), &json!(["otp"]))
    );
    assert_eq!(found["last_verified_at"], Value::Null);
    assert!(server.accepts(&device, &device.code(&server)).await);
    let found = ask(&server, "alice").await;
    let seen = server.look("phone").await;
    assert_eq!(found["last_verified_at"], seen["last_used"]);
    assert_ne!(found["last_verified_at"], Value::Null);

    let path = "/api/v1/users/alice/recovery-codes";
    let made = server.call("POST", path).await.data(201);
    let reason = json!({ "reason": "lost the phone" });
    let pass = server
        .post("/api/v1/users/alice/pass", reason)
        .await
        .json(201);
    let found = ask(&server, "alice").await;
    assert_eq!(found["methods"], json!(["otp", "recovery", "pass"]));
    assert_eq!(found["recovery_codes_left"], 10);

    for code in [
        text(&pass, "pass"),
        made["recovery_codes"][3].as_str().unwrap(),
    ] {
        let body = json!({ "user_id": "alice", "code": code });
        server.post("/api/v1/recovery/verify", body).await.json(200);
    }
    let found = ask(&server, "alice").await;
    assert_eq!(found["methods"], json!(["otp", "recovery"]));
    assert_eq!(found["recovery_codes_left"], 9);
    server.deactivate("phone").await.data(200);
    let found = ask(&server, "alice").await;
    assert_eq!(
        (&found["enabled"], &found["methods"]),
        (&json!(false), &json!([]))
    );
    assert_eq!(found["recovery_codes_left"], 0);
}

async fn a_name_is_checked_and_echoed(engine: Engine) {
    let server = Server::start(engine).await;
    let body = json!({ "device_id": "till", "user_id": 42 });
    server.device_with(body).await;
    server.device("phone", "dave").await;
    assert_eq!(ask(&server, "42").await["enabled"], true);
    let found = ask(&server, "DAVE").await;
    assert_eq!(
        (&found["user_id"], &found["enabled"]),
        (&json!("DAVE"), &json!(true))
    );
    let answer = server.get("/api/v1/users/%20dave/2fa").await;
    assert_eq!(answer.faults(), ["{user_id}"]);
}

#[tokio::test]
async fn a_pass_that_is_over_is_no_method() {
    let server = Server::start(Engine::Sqlite).await;
    server.device("phone", "alice").await;
    let body = json!({ "reason": "lost the phone", "expires_in": 60 });
    server
        .post("/api/v1/users/alice/pass", body)
        .await
        .json(201);
    server.advance(59);
    assert_eq!(
        ask(&server, "alice").await["methods"],
        json!(["otp", "pass"])
    );
    server.advance(1);
    assert_eq!(ask(&server, "alice").await["methods"], json!(["otp"]));
}
