//! `require_confirmation` and `POST /api/v1/devices/{device_id}/confirm`: waiting for the first code.

use serde_json::{Value, json};

use crate::answer::{Answer, shown};
use crate::database::Engine;
use crate::device::Device;
use crate::harness::Server;
use crate::on_both_engines;

on_both_engines! {
    a_pending_device_is_no_factor,
    a_right_code_puts_it_in_force,
    a_wrong_code_leaves_it_pending_and_costs_a_guess,
    only_a_pending_device_is_confirmed,
    a_pending_device_gives_way_to_a_new_registration,
}

async fn pending(server: &Server, kind: &str) -> Device {
    let body = json!({
        "device_id": "phone", "user_id": "alice", "kind": kind, "require_confirmation": true,
    });
    let data = server.register(body).await.data(201);
    assert_eq!(data["status"], "pending");
    Device::from_registration(&data)
}

async fn confirm(server: &Server, code: &str) -> Answer {
    let path = "/api/v1/devices/phone/confirm";
    server.post(path, json!({ "otp": code })).await
}

async fn a_pending_device_is_no_factor(engine: Engine) {
    let server = Server::start(engine).await;
    let device = pending(&server, "totp").await;
    let seen = server.look("phone").await;
    assert_eq!(
        (&seen["status"], &seen["is_active"]),
        (&json!("pending"), &json!(false))
    );
    let right = server.verify(&device, &device.code(&server)).await;
    assert_eq!(
        (&right["valid"], &right["reason"]),
        (&json!(false), &json!("inactive"))
    );
    let wrong = server.verify(&device, &device.wrong(&server)).await;
    assert_eq!(wrong["reason"], "inactive", "as for a right one");
    assert_eq!(server.look("phone").await["failed_attempts"], 0);
    let totals = server.get("/api/v1/stats").await.json(200);
    let text = totals.to_string();
    assert!(text.contains(r#""users_with_2fa":0"#), "{text}");
}

async fn a_right_code_puts_it_in_force(engine: Engine) {
    let server = Server::start(engine).await;
    let device = pending(&server, "hotp").await;
    let answer = confirm(&server, &device.at(0)).await;
    insta::allow_duplicates! {
        insta::assert_json_snapshot!(shown(answer.json(200)), @r#"
        {
          "data": {
            "attempts_remaining": 5,
            "reason": null,
            "retry_after": null,
            "valid": true
          },
          "message": "Device confirmed successfully",
          "success": true
        }
        "#);
    }
    let seen = server.look("phone").await;
    assert_eq!(
        (&seen["status"], &seen["is_active"]),
        (&json!("active"), &json!(true))
    );
    assert_eq!(seen["usage_count"], 1, "the confirming code was accepted");
    assert_ne!(seen["last_used"], Value::Null);
    let user = server.get("/api/v1/users/alice/2fa").await.json(200);
    assert_eq!(user["last_verified_at"], seen["last_used"]);
    assert!(
        !server.accepts(&device, &device.at(0)).await,
        "the code is spent"
    );
    assert!(server.accepts(&device, &device.at(1)).await);
}

async fn a_wrong_code_leaves_it_pending_and_costs_a_guess(engine: Engine) {
    let server = Server::start(engine).await;
    let device = pending(&server, "hotp").await;
    let data = confirm(&server, &device.wrong(&server)).await.data(200);
    assert_eq!(
        (&data["valid"], &data["reason"]),
        (&json!(false), &json!("rejected"))
    );
    assert_eq!(data["attempts_remaining"], 4);
    let seen = server.look("phone").await;
    assert_eq!(
        (&seen["status"], &seen["failed_attempts"]),
        (&json!("pending"), &json!(1))
    );
    confirm(&server, &device.at(0)).await.data(200);
    let seen = server.look("phone").await;
    assert_eq!(
        seen["failed_attempts"], 1,
        "a confirmation clears no guesses at a live device"
    );
}

async fn only_a_pending_device_is_confirmed(engine: Engine) {
    let server = Server::start(engine).await;
    let unknown = confirm(&server, "123456").await;
    unknown.problem(404, "device_not_found");
    let device = server.device("phone", "alice").await;
    let active = confirm(&server, &device.code(&server)).await;
    active.problem(409, "device_not_pending");
    assert_eq!(
        server.look("phone").await["usage_count"],
        0,
        "nothing was judged"
    );
    assert!(server.accepts(&device, &device.code(&server)).await);
    server.deactivate("phone").await.data(200);
    confirm(&server, "123456")
        .await
        .problem(409, "device_not_pending");
    // A code that is none comes before everything else.
    for code in [json!("12345"), json!("12 456"), json!(1.5), Value::Null] {
        let answer = server
            .post("/api/v1/devices/none/confirm", json!({ "otp": code }))
            .await;
        assert_eq!(answer.faults(), ["/otp"]);
    }
}

async fn a_pending_device_gives_way_to_a_new_registration(engine: Engine) {
    let server = Server::start(engine).await;
    let first = pending(&server, "hotp").await;
    let second = server.device("phone", "alice").await;
    assert_ne!(first.uri.secret.expose(), second.uri.secret.expose());
    assert_eq!(server.look("phone").await["status"], "active");
}

#[tokio::test]
async fn a_pending_device_is_gone_after_an_hour() {
    let server = Server::start(Engine::Sqlite).await;
    let device = pending(&server, "totp").await;
    server.advance(3599);
    assert_eq!(server.look("phone").await["status"], "pending");
    server.advance(1);
    server
        .get("/api/v1/devices/phone")
        .await
        .problem(404, "device_not_found");
    confirm(&server, &device.code(&server))
        .await
        .problem(404, "device_not_found");
    let verify = json!({ "device_id": "phone", "otp": device.code(&server) });
    server
        .post("/api/v1/otp/verify", verify)
        .await
        .problem(404, "device_not_found");
    let listed = server.get("/api/v1/devices").await.json(200);
    assert_eq!(listed["data"], json!([]));
    server
        .deactivate("phone")
        .await
        .problem(404, "device_not_found");
    let again = server.device("phone", "bob").await;
    assert!(server.accepts(&again, &again.code(&server)).await);
}

#[tokio::test]
async fn the_settings_say_how_long_it_waits() {
    let short = [("OTPD_CODES__PENDING_MINUTES", "5")];
    let server = Server::with(Engine::Sqlite, &short).await;
    let device = pending(&server, "totp").await;
    server.advance(299);
    assert_eq!(
        confirm(&server, &device.code(&server)).await.data(200)["valid"],
        true
    );
    server.advance(7200);
    assert_eq!(
        server.look("phone").await["status"],
        "active",
        "confirmed is for good"
    );
}
