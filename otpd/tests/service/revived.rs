//! What a repeated request is told once user, factor or recovery codes have gone, whatever was made since.

use serde_json::{Value, json};

use crate::account::PASSWORD;
use crate::answer::{Answer, text};
use crate::database::Engine;
use crate::harness::Server;
use crate::on_both_engines;

on_both_engines! {
    a_pass_is_not_repeated_for_the_next_one_of_that_name,
    an_issued_code_is_not_repeated_for_the_next_one_of_that_name,
    a_recovery_code_is_not_repeated_after_another_enrolment,
    a_recovery_code_is_not_repeated_after_a_fresh_set,
    the_last_recovery_code_is_repeated_while_nothing_changed,
}

const RECOVERY: &str = "/api/v1/recovery/verify";

async fn enable(server: &Server, user: &str) -> Value {
    let body = json!({ "user_id": user });
    server.post("/otp/enable", body).await.json(201)
}

async fn pass_of(server: &Server, user: &str) -> String {
    let body = json!({ "reason": "lost the phone" });
    let made = server.post(&format!("/api/v1/users/{user}/pass"), body);
    text(&made.await.json(201), "pass").to_owned()
}

/// The same request again and again: an assertion is wanted, the key is always `k`.
async fn spoken(server: &Server, user: &str, code: &str) -> Answer {
    let body = json!({ "user_id": user, "code": code, "assertion": { "audience": "shop" } });
    server.post(RECOVERY, body).once("k").await
}

fn is_verified(answer: &Answer) -> bool {
    let body = answer.json(200);
    assert_eq!(body["status"] == "verified", body["assertion"].is_string());
    body["status"] == "verified"
}

async fn a_pass_is_not_repeated_for_the_next_one_of_that_name(engine: Engine) {
    let server = Server::start(engine).await;
    enable(&server, "alice").await;
    let pass = pass_of(&server, "alice").await;
    assert!(is_verified(&spoken(&server, "alice", &pass).await));
    assert!(is_verified(&spoken(&server, "alice", &pass).await));
    server.delete("/api/v1/users/alice").await.data(200);
    assert!(!is_verified(&spoken(&server, "alice", &pass).await));
    enable(&server, "alice").await;
    assert!(!is_verified(&spoken(&server, "alice", &pass).await));
}

async fn an_issued_code_is_not_repeated_for_the_next_one_of_that_name(engine: Engine) {
    let server = Server::start(engine).await;
    enable(&server, "alice").await;
    let issued = server.call("POST", "/generate?username=alice").await;
    let body = json!({ "username": "alice", "otp_code": issued.json(200)["otp_code"] });
    let send = || server.post("/verify", body.clone()).once("k");
    send().await.json(200);
    assert_eq!(send().await.json(200)["replayed"], true);
    server.delete("/api/v1/users/alice").await.data(200);
    enable(&server, "alice").await;
    send().await.problem(401, "invalid_otp");
}

async fn a_recovery_code_is_not_repeated_after_another_enrolment(engine: Engine) {
    let server = Server::start(engine).await;
    let person = server.person("alice").await;
    let code = &person.recovery[0];
    assert!(is_verified(&spoken(&server, "alice", code).await));
    assert!(is_verified(&spoken(&server, "alice", code).await));
    let off = json!({ "username": "alice", "password": PASSWORD, "token": person.recovery[1] });
    server.public("/disable-mfa", off).await.json(200);
    enable(&server, "alice").await;
    assert!(!is_verified(&spoken(&server, "alice", code).await));
}

async fn a_recovery_code_is_not_repeated_after_a_fresh_set(engine: Engine) {
    let server = Server::start(engine).await;
    let person = server.person("alice").await;
    let code = &person.recovery[0];
    assert!(is_verified(&spoken(&server, "alice", code).await));
    // Another code of the set does not change what the first one proved.
    let body = json!({ "user_id": "alice", "code": person.recovery[1] });
    assert_eq!(
        server.post(RECOVERY, body).await.json(200)["status"],
        "verified"
    );
    assert!(is_verified(&spoken(&server, "alice", code).await));
    let fresh = "/api/v1/users/alice/recovery-codes";
    server.call("POST", fresh).await.data(201);
    assert!(!is_verified(&spoken(&server, "alice", code).await));
}

async fn the_last_recovery_code_is_repeated_while_nothing_changed(engine: Engine) {
    let server = Server::start(engine).await;
    let person = server.person("alice").await;
    let (last, others) = person.recovery.split_last().unwrap();
    for code in others {
        let body = json!({ "user_id": "alice", "code": code });
        server.post(RECOVERY, body).await.json(200);
    }
    for replayed in [false, true] {
        let answer = spoken(&server, "alice", last).await;
        assert!(is_verified(&answer));
        assert_eq!(answer.json(200)["replayed"] == true, replayed);
    }
}
