//! Unlocking: an administrator opens a guard that wrong codes have locked.

use serde_json::json;

use crate::database::Engine;
use crate::harness::Server;
use crate::on_both_engines;

on_both_engines! {
    an_administrator_opens_a_lock_and_says_why,
    whom_nobody_knows_is_not_found,
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
