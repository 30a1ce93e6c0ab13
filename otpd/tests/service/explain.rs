//! `POST /api/v1/otp/explain`: what the helpdesk is told about a code, and what it is not.

use serde_json::{Value, json};

use crate::answer::shown;
use crate::database::Engine;
use crate::device::Device;
use crate::harness::Server;
use crate::on_both_engines;

on_both_engines! {
    a_counter_that_is_over_is_named,
    a_code_that_could_still_be_accepted_is_not_spoken_of,
}

async fn explain(server: &Server, device: &Device, code: &str) -> Value {
    let body = json!({ "device_id": device.id, "otp": code });
    server.post("/api/v1/otp/explain", body).await.data(200)
}

async fn a_counter_that_is_over_is_named(engine: Engine) {
    let server = Server::start(engine).await;
    let body = json!({ "device_id": "token", "user_id": "alice", "kind": "hotp" });
    let device = server.device_with(body).await;
    assert!(server.accepts(&device, &device.at(4)).await);
    let used = explain(&server, &device, &device.at(4)).await;
    assert_eq!(
        (&used["finding"], &used["steps_ago"]),
        (&json!("already_used"), &Value::Null)
    );
    let skipped = explain(&server, &device, &device.at(2)).await;
    assert_eq!(
        (&skipped["finding"], &skipped["steps_ago"]),
        (&json!("valid_steps_ago"), &json!(3))
    );
    assert_eq!(
        server.look("token").await["failed_attempts"],
        0,
        "what is over costs nothing"
    );
}

async fn a_code_that_could_still_be_accepted_is_not_spoken_of(engine: Engine) {
    let server = Server::start(engine).await;
    let device = server.device("phone", "alice").await;
    let right = explain(&server, &device, &device.code(&server)).await;
    let wrong = explain(&server, &device, &device.wrong(&server)).await;
    assert_eq!(right, wrong);
    assert_eq!(right["finding"], "not_past");
    assert_eq!(
        server.look("phone").await["failed_attempts"],
        2,
        "each costs a guess"
    );
    assert!(
        server.accepts(&device, &device.code(&server)).await,
        "it is not spent"
    );
    server.deactivate("phone").await.data(200);
    assert_eq!(
        explain(&server, &device, "123456").await["finding"],
        "inactive"
    );
}

#[tokio::test]
async fn a_step_that_is_over_is_named() {
    let server = Server::start(Engine::Sqlite).await;
    let device = server.device("phone", "alice").await;
    let code = device.code(&server);
    server.advance(300);
    let body = json!({ "device_id": "phone", "otp": code });
    let answer = server.post("/api/v1/otp/explain", body).await;
    insta::assert_json_snapshot!(shown(answer.json(200)), @r#"
    {
      "data": {
        "finding": "valid_steps_ago",
        "locked_until": null,
        "steps_ago": 10
      },
      "message": "OTP explanation completed",
      "success": true
    }
    "#);
    assert_eq!(
        explain(&server, &device, &device.code_in(&server, -2)).await["steps_ago"],
        2
    );
    for steps in [-1, 0, 1, 2] {
        let data = explain(&server, &device, &device.code_in(&server, steps)).await;
        assert_eq!(data["finding"], "not_past", "{steps}");
    }
    assert_eq!(server.look("phone").await["failed_attempts"], 4);
}

#[tokio::test]
async fn a_lock_is_told_and_a_guess_in_it_is_not_counted() {
    let server = Server::start(Engine::Sqlite).await;
    let device = server.device("phone", "alice").await;
    let old = device.code_in(&server, -20);
    server.fail(&device, 5).await;
    // While locked, old, right and wrong codes look alike.
    for code in [old, device.code(&server), device.wrong(&server)] {
        let data = explain(&server, &device, &code).await;
        assert_eq!(
            (&data["finding"], &data["steps_ago"]),
            (&json!("locked"), &Value::Null)
        );
        assert_eq!(data["locked_until"], "2027-01-15T08:00:40.000Z");
    }
    assert_eq!(server.look("phone").await["failed_attempts"], 5);
}

#[tokio::test]
async fn it_takes_the_codes_that_a_verification_takes() {
    let server = Server::start(Engine::Sqlite).await;
    server.device("phone", "alice").await;
    let post = |body: Value| server.post("/api/v1/otp/explain", body);
    assert_eq!(
        post(json!({ "device_id": "phone", "otp": "1" }))
            .await
            .faults(),
        ["/otp"]
    );
    assert_eq!(
        post(json!({ "otp": "123456" })).await.faults(),
        ["/device_id"]
    );
    let unknown = post(json!({ "device_id": "none", "otp": "123456" })).await;
    unknown.problem(404, "device_not_found");
    let odd_length = post(json!({ "device_id": "phone", "otp": "1234567" })).await;
    assert_eq!(odd_length.faults(), ["/otp"]);
    assert_eq!(server.look("phone").await["failed_attempts"], 0);
}
