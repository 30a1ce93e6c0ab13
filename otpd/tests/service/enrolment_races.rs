//! `POST /enable-mfa/confirm` while another factor comes in force, or sent twice.

use serde_json::{Value, json};

use crate::account::PASSWORD;
use crate::answer::text;
use crate::call::together;
use crate::database::Engine;
use crate::device::Device;
use crate::harness::Server;
use crate::on_both_engines;

on_both_engines! {
    a_password_alone_confirms_nothing_beside_a_factor,
    a_factor_comes_before_the_confirmation_or_after_it,
    a_confirmation_sent_twice_is_told_that_it_is_done,
}

const CONFIRM: &str = "/enable-mfa/confirm";

/// Begins an enrolment by a session that was opened with the password alone: what it
/// would be confirmed with.
async fn begin(server: &Server, name: &str) -> (String, Value) {
    server.sign_up(name, false).await;
    let session = server.plain_session(name).await;
    let body = json!({ "password": PASSWORD });
    let enrolled = server.with_token("/enable-mfa", body, &session).await;
    let enrolled = enrolled.json(201);
    let device = Device::from_uri(text(&enrolled, "provisioning_uri"));
    let token = text(&enrolled, "enrollment_token").to_owned();
    (token, json!({ "token": device.code(server) }))
}

async fn a_password_alone_confirms_nothing_beside_a_factor(engine: Engine) {
    let server = Server::start(engine).await;
    let (token, body) = begin(&server, "alice").await;
    server.device("phone", "alice").await;
    let refused = server.with_token(CONFIRM, body.clone(), &token).await;
    refused.problem(403, "step_up_required");
    // Refused before it is judged: wrong and right look alike, and nothing is counted.
    let wrong = json!({ "token": "000000" });
    let refused = server.with_token(CONFIRM, wrong, &token).await;
    refused.problem(403, "step_up_required");
    let person = server.get("/api/v1/users/alice").await.data(200);
    assert_eq!(person["failed_attempts"], 0);
    let actions = server.actions("alice").await;
    assert!(actions.iter().all(|(it, _)| it != "DEVICE_CONFIRMED"));
}

async fn a_factor_comes_before_the_confirmation_or_after_it(engine: Engine) {
    let server = Server::start(engine).await;
    for round in 0..12 {
        let name = format!("alice-{round}");
        let (token, body) = begin(&server, &name).await;
        let confirm = server.post(CONFIRM, body).key(&token);
        let enable = server.post("/otp/enable", json!({ "user_id": name }));
        let calls = match round % 2 {
            0 => [confirm, enable],
            _ => [enable, confirm],
        };
        let answers = together(calls).await;
        let confirmed = &answers[round % 2];
        assert_eq!(answers[1 - round % 2].status, 201);
        let actions = server.actions(&name).await;
        let place = |name: &str| actions.iter().position(|(action, _)| action == name);
        match confirmed.status {
            // Newest first: it was confirmed while there was no other.
            200 => assert!(place("DEVICE_CONFIRMED") > place("DEVICE_REGISTERED")),
            _ => drop(confirmed.problem(403, "step_up_required")),
        }
    }
}

async fn a_confirmation_sent_twice_is_told_that_it_is_done(engine: Engine) {
    let server = Server::start(engine).await;
    for round in 0..4 {
        let (token, body) = begin(&server, &format!("alice-{round}")).await;
        let send = || server.post(CONFIRM, body.clone()).key(&token);
        let answers = together((0..6).map(|_| send())).await;
        let done = answers.iter().filter(|it| it.status == 200);
        assert_eq!(done.count(), 1);
        for late in answers.iter().filter(|it| it.status != 200) {
            late.problem(409, "mfa_not_pending");
        }
        send().await.problem(409, "mfa_not_pending");
    }
}
