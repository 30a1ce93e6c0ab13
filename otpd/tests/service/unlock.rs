//! Unlocking: an administrator opens a guard that wrong codes have locked.

use serde_json::json;

use crate::database::Engine;
use crate::harness::Server;
use crate::on_both_engines;

on_both_engines! {
    an_administrator_opens_a_lock_and_says_why,
    whom_nobody_knows_is_not_found,
    a_reason_is_needed_and_a_name_is_checked,
    a_number_is_the_user_of_that_name,
}

async fn an_administrator_opens_a_lock_and_says_why(engine: Engine) {
    let server = Server::start(engine).await;
    let device = server.device("phone", "alice").await;
    server.fail(&device, 5).await;
    let locked = server.verify(&device, &device.code(&server)).await;
    assert_eq!(locked["reason"], "locked");
    let bare = server.post("/api/v1/users/ALICE/unlock", json!({})).await;
    bare.problem(422, "validation_failed");
    let body = json!({ "reason": "called from her desk" });
    let answer = server.post("/api/v1/users/ALICE/unlock", body).await;
    let data = answer.data(200);
    assert_eq!(data["user_id"], "ALICE");
    assert_eq!(data["unlocked"], true);
    assert!(server.accepts(&device, &device.code(&server)).await);
    let audit = server.get("/api/v1/audit?action=USER_UNLOCKED").await;
    let events = audit.json(200);
    assert_eq!(events["data"][0]["user_id"], "alice");
    assert_eq!(
        events["data"][0]["additional_data"]["reason"],
        "called from her desk"
    );
}

async fn whom_nobody_knows_is_not_found(engine: Engine) {
    let server = Server::start(engine).await;
    let body = json!({ "reason": "typing error" });
    let answer = server.post("/api/v1/users/nobody/unlock", body).await;
    answer.problem(404, "user_not_found");
}

async fn a_reason_is_needed_and_a_name_is_checked(engine: Engine) {
    let server = Server::start(engine).await;
    let device = server.device("phone", "alice").await;
    server.fail(&device, 5).await;
    let path = "/api/v1/users/alice/unlock";
    let long = "x".repeat(501);
    for reason in [json!(null), json!(""), json!("a\nb"), json!(5), json!(long)] {
        let answer = server.post(path, json!({ "reason": reason })).await;
        assert_eq!(answer.faults(), ["/reason"], "{reason}");
    }
    let reason = json!({ "reason": "she called" });
    for name in ["%20alice", "al%E2%80%8Bice", "%09"] {
        let path = format!("/api/v1/users/{name}/unlock");
        let answer = server.post(&path, reason.clone()).await;
        assert_eq!(answer.faults(), ["{user_id}"], "{name}");
    }
    let data = server.verify(&device, &device.code(&server)).await;
    assert_eq!(data["reason"], "locked", "nothing was opened");
}

async fn a_number_is_the_user_of_that_name(engine: Engine) {
    let server = Server::start(engine).await;
    let body = json!({ "device_id": "till", "user_id": 42 });
    let device = server.device_with(body).await;
    server.fail(&device, 5).await;
    let reason = json!({ "reason": "she called" });
    let answer = server.post("/api/v1/users/42/unlock", reason).await;
    assert_eq!(answer.data(200)["unlocked"], true);
    assert!(server.accepts(&device, &device.code(&server)).await);
}

#[tokio::test]
async fn a_disabled_factor_is_in_force_again_with_a_whole_budget() {
    let server = Server::start(Engine::Sqlite).await;
    let device = server.device("phone", "alice").await;
    for _ in 0..50 {
        server.verify(&device, &device.wrong(&server)).await;
        server.advance(901);
    }
    let data = server.verify(&device, &device.code(&server)).await;
    assert_eq!(data["reason"], "locked", "disabled");
    let reason = json!({ "reason": "she came to the desk" });
    let answer = server.post("/api/v1/users/alice/unlock", reason).await;
    assert_eq!(answer.data(200)["unlocked_at"], server.now().to_rfc3339());
    let seen = server.look("phone").await;
    assert_eq!(seen["failed_attempts"], 0);
    assert_eq!(seen["locked_until"], json!(null));
    let data = server.verify(&device, &device.wrong(&server)).await;
    assert_eq!(data["attempts_remaining"], 4);
    assert!(server.accepts(&device, &device.code(&server)).await);
}
