//! `POST /enable-mfa`, `/enable-mfa/confirm`, `/disable-mfa`, `/recovery-codes`.

use serde_json::{Value, json};

use crate::account::{PASSWORD, Person, texts};
use crate::answer::{Answer, text};
use crate::call::together;
use crate::database::Engine;
use crate::device::Device;
use crate::harness::Server;
use crate::on_both_engines;

on_both_engines! {
    an_enrolment_is_in_force_from_its_first_right_code,
    a_pending_enrolment_is_no_factor_and_blocks_no_login,
    an_enrolment_gives_way_to_the_next,
    an_enrolment_is_confirmed_once,
    enabling_needs_session_and_password,
    a_password_alone_adds_no_factor_beside_one,
    guesses_at_a_pending_factor_are_bounded,
    disabling_takes_everything_with_it,
    what_disables_nothing,
    a_recovery_code_disables_too,
    fresh_recovery_codes_void_the_old_ones,
}

async fn enable(server: &Server, session: &str) -> Answer {
    let body = json!({ "password": PASSWORD });
    server.with_token("/enable-mfa", body, session).await
}

async fn confirm(server: &Server, token: &str, code: &str) -> Answer {
    let body = json!({ "token": code });
    server.with_token("/enable-mfa/confirm", body, token).await
}

async fn disable(server: &Server, name: &str, password: &str, code: &str) -> Answer {
    let body = json!({ "username": name, "password": password, "token": code });
    server.public("/disable-mfa", body).await
}

/// Of an answer of `/enable-mfa`.
fn enrolled(answer: &Answer) -> (Device, String, Vec<String>) {
    let body = answer.json(201);
    let device = Device::from_uri(text(&body, "provisioning_uri"));
    let token = text(&body, "enrollment_token").to_owned();
    (device, token, texts(&body["recovery_codes"]))
}

async fn an_enrolment_is_in_force_from_its_first_right_code(engine: Engine) {
    let server = Server::start(engine).await;
    server.sign_up("alice", false).await;
    let (session, other) = (
        server.plain_session("alice").await,
        server.plain_session("alice").await,
    );
    let (device, token, codes) = enrolled(&enable(&server, &session).await);
    assert_eq!(codes.len(), 10);
    let wrong = confirm(&server, &token, &device.wrong(&server)).await;
    wrong.problem(401, "invalid_otp");
    let code = device.code(&server);
    let done = confirm(&server, &token, &code).await.json(200);
    let expected = json!({ "message": "MFA enabled successfully", "mfa_enabled": true });
    assert_eq!(done, expected);
    assert!(
        server.is_active(&session).await,
        "the one that asked goes on"
    );
    assert!(!server.is_active(&other).await, "all others end");
    confirm(&server, &token, &code)
        .await
        .problem(409, "mfa_not_pending");

    let waiting = server.waiting("alice").await;
    let spent = server.second_step("alice", &code, &waiting).await;
    spent.problem(401, "invalid_otp");
    let done = server.second_step("alice", &codes[0], &waiting).await;
    done.json(200);
    let actions = server.actions("alice").await;
    assert!(
        actions.contains(&("MFA_ENROLLED".into(), true)),
        "{actions:?}"
    );
    assert!(
        actions.contains(&("DEVICE_CONFIRMED".into(), true)),
        "{actions:?}"
    );
}

async fn a_pending_enrolment_is_no_factor_and_blocks_no_login(engine: Engine) {
    let server = Server::start(engine).await;
    server.sign_up("alice", false).await;
    let session = server.plain_session("alice").await;
    let (device, token, codes) = enrolled(&enable(&server, &session).await);
    server.plain_session("alice").await;
    let refused = disable(&server, "alice", PASSWORD, &device.code(&server)).await;
    refused.problem(409, "mfa_already_disabled");
    // With a factor in force, neither its codes nor its recovery codes are an answer.
    let phone = server.device("phone", "alice").await;
    let waiting = server.waiting("alice").await;
    for answer in [&device.code(&server), &codes[0]] {
        let refused = server.second_step("alice", answer, &waiting).await;
        refused.problem(401, "invalid_otp");
    }
    // Nor may it be put in force by somebody who has not proved the other one.
    let refused = confirm(&server, &token, &device.code(&server)).await;
    refused.problem(403, "step_up_required");
    let done = server
        .second_step("alice", &phone.code(&server), &waiting)
        .await;
    done.json(200);
}

async fn an_enrolment_gives_way_to_the_next(engine: Engine) {
    let server = Server::start(engine).await;
    server.sign_up("alice", false).await;
    let session = server.plain_session("alice").await;
    let (old, old_token, old_codes) = enrolled(&enable(&server, &session).await);
    let (new, new_token, new_codes) = enrolled(&enable(&server, &session).await);
    let gone = confirm(&server, &old_token, &old.code(&server)).await;
    gone.problem(401, "unauthenticated");
    let listed = server.get("/api/v1/devices?user_id=alice").await.json(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
    confirm(&server, &new_token, &new.code(&server))
        .await
        .json(200);
    let waiting = server.waiting("alice").await;
    let void = server.second_step("alice", &old_codes[0], &waiting).await;
    void.problem(401, "invalid_otp");
    server
        .second_step("alice", &new_codes[0], &waiting)
        .await
        .json(200);
}

async fn an_enrolment_is_confirmed_once(engine: Engine) {
    let server = Server::start(engine).await;
    server.sign_up("alice", false).await;
    let session = server.plain_session("alice").await;
    let (device, token, _) = enrolled(&enable(&server, &session).await);
    let codes = [-1, 0, 1].map(|steps| device.code_in(&server, steps));
    let calls = codes.iter().cycle().take(9).map(|code| {
        let body = json!({ "token": code });
        server.post("/enable-mfa/confirm", body).key(&token)
    });
    let answers = together(calls).await;
    let accepted = answers.iter().filter(|it| it.status == 200).count();
    assert_eq!(accepted, 1);
    for answer in answers.iter().filter(|it| it.status != 200) {
        assert!(
            [401, 403, 409].contains(&answer.status),
            "{}",
            answer.text()
        );
    }
}

async fn enabling_needs_session_and_password(engine: Engine) {
    let server = Server::start(engine).await;
    server.sign_up("alice", false).await;
    server.sign_up("bob", false).await;
    let session = server.plain_session("alice").await;
    let check = async |body: Value, token: Option<&str>, status: u16, code: &str| {
        let call = server.public("/enable-mfa", body);
        let call = match token {
            Some(token) => call.key(token),
            None => call,
        };
        call.await.problem(status, code);
    };
    let right = json!({ "password": PASSWORD });
    check(right.clone(), None, 401, "unauthenticated").await;
    check(right.clone(), Some("x"), 401, "unauthenticated").await;
    check(
        right.clone(),
        Some(crate::harness::ADMIN),
        401,
        "unauthenticated",
    )
    .await;
    check(
        json!({ "password": "wrong" }),
        Some(&session),
        401,
        "invalid_credentials",
    )
    .await;
    check(json!({}), Some(&session), 422, "validation_failed").await;
    check(
        json!({ "password": 1 }),
        Some(&session),
        422,
        "validation_failed",
    )
    .await;
    server
        .with_token("/auth/logout", json!({}), &session)
        .await
        .json(200);
    check(right, Some(&session), 401, "unauthenticated").await;
    let listed = server.get("/api/v1/devices?user_id=alice").await.json(200);
    assert_eq!(listed["data"], json!([]));
}

async fn a_password_alone_adds_no_factor_beside_one(engine: Engine) {
    let server = Server::start(engine).await;
    server.sign_up("alice", false).await;
    let session = server.plain_session("alice").await;
    let phone = server.device("phone", "alice").await;
    enable(&server, &session)
        .await
        .problem(403, "step_up_required");
    let waiting = server.waiting("alice").await;
    let step = server
        .second_step("alice", &phone.code(&server), &waiting)
        .await;
    let strong = text(&step.json(200), "token").to_owned();
    let (device, token, _) = enrolled(&enable(&server, &strong).await);
    confirm(&server, &token, &device.code(&server))
        .await
        .json(200);
    assert!(!server.is_active(&session).await);
    assert!(server.is_active(&strong).await);
}

async fn guesses_at_a_pending_factor_are_bounded(engine: Engine) {
    let server = Server::start(engine).await;
    server.sign_up("alice", false).await;
    let session = server.plain_session("alice").await;
    let (device, token, _) = enrolled(&enable(&server, &session).await);
    for code in device.wrong_codes(&server).take(5) {
        confirm(&server, &token, &code)
            .await
            .problem(401, "invalid_otp");
    }
    for code in [device.code(&server), device.wrong(&server)] {
        let locked = confirm(&server, &token, &code).await;
        assert!(locked.header("retry-after").is_some());
        locked.problem(429, "locked");
    }
    let other_length = confirm(&server, &token, "12345678").await;
    assert_eq!(other_length.faults(), ["/token"]);
    let none = confirm(&server, &token, "k3f9-m2x7-q8rd-5tzw").await;
    assert_eq!(none.faults(), ["/token"]);
}

async fn disabling_takes_everything_with_it(engine: Engine) {
    let server = Server::start(engine).await;
    let person = server.person("alice").await;
    let phone = server.device("phone", "alice").await;
    let session = server.session(&person).await;
    let waiting = server.waiting("alice").await;
    let code = person.device.code_in(&server, 1);
    let done = disable(&server, "ALICE", PASSWORD, &code).await.json(200);
    assert_eq!(done, json!({ "message": "MFA disabled successfully" }));
    assert!(!server.is_active(&session).await);
    let gone = server
        .second_step("alice", &phone.code(&server), &waiting)
        .await;
    gone.problem(401, "invalid_otp");
    let listed = server.get("/api/v1/devices?user_id=alice").await.json(200);
    assert_eq!(listed["data"], json!([]));
    disable(&server, "alice", PASSWORD, &code)
        .await
        .problem(409, "mfa_already_disabled");
    server.plain_session("alice").await;
    assert!(
        server
            .actions("alice")
            .await
            .contains(&("MFA_DISABLED".into(), true))
    );
    // On again: another key, and the old recovery codes stay void.
    let session = server.plain_session("alice").await;
    let (device, token, _) = enrolled(&enable(&server, &session).await);
    assert_ne!(
        device.uri.secret.expose(),
        person.device.uri.secret.expose()
    );
    confirm(&server, &token, &device.code(&server))
        .await
        .json(200);
    let waiting = server.waiting("alice").await;
    let void = server
        .second_step("alice", &person.recovery[0], &waiting)
        .await;
    void.problem(401, "invalid_otp");
}

async fn what_disables_nothing(engine: Engine) {
    let server = Server::start(engine).await;
    let person: Person = server.person("alice").await;
    let bob = server.person("bob").await;
    let token = server.waiting("alice").await;
    let code = person.code(&server);
    server.second_step("alice", &code, &token).await.json(200);
    let spent = disable(&server, "alice", PASSWORD, &code).await;
    let problem = spent.problem(401, "invalid_otp");
    assert_eq!(problem["detail"], "Invalid OTP for disabling MFA");
    let wrong = [
        person.device.wrong(&server),
        bob.code(&server),
        bob.recovery[0].clone(),
    ];
    for code in wrong {
        let refused = disable(&server, "alice", PASSWORD, &code).await;
        assert_eq!(refused.problem(401, "invalid_otp"), {
            let mut same = problem.clone();
            same["request_id"] = refused.json(401)["request_id"].clone();
            same
        });
    }
    let next = person.device.code_in(&server, 1);
    for (name, password) in [("alice", "wrong"), ("nobody", PASSWORD), ("bob", "wrong")] {
        let refused = disable(&server, name, password, &next).await;
        refused.problem(401, "invalid_credentials");
    }
    let body = json!({ "username": "alice", "password": PASSWORD, "token": "12" });
    assert_eq!(
        server.public("/disable-mfa", body).await.faults(),
        ["/token"]
    );
    // The fifth wrong code locks; then right and wrong are alike.
    disable(&server, "alice", PASSWORD, "000000").await;
    let locked = disable(&server, "alice", PASSWORD, &next).await;
    assert!(locked.header("retry-after").is_some());
    locked.problem(429, "locked");
    server.waiting("alice").await;
}

async fn a_recovery_code_disables_too(engine: Engine) {
    let server = Server::start(engine).await;
    let person = server.person("alice").await;
    disable(&server, "alice", PASSWORD, &person.recovery[4])
        .await
        .json(200);
    server.plain_session("alice").await;
}

async fn fresh_recovery_codes_void_the_old_ones(engine: Engine) {
    let server = Server::start(engine).await;
    let person = server.person("alice").await;
    let body = json!({ "password": PASSWORD });
    let waiting = server.waiting("alice").await;
    let step = server
        .second_step("alice", &person.recovery[0], &waiting)
        .await;
    let weak = text(&step.json(200), "token").to_owned();
    let refused = server
        .with_token("/recovery-codes", body.clone(), &weak)
        .await;
    refused.problem(403, "step_up_required");
    let strong = server.session(&person).await;
    let wrong = json!({ "password": "wrong" });
    let refused = server.with_token("/recovery-codes", wrong, &strong).await;
    refused.problem(401, "invalid_credentials");
    let fresh = server
        .with_token("/recovery-codes", body, &strong)
        .await
        .json(200);
    let fresh = texts(&fresh["recovery_codes"]);
    assert_eq!(fresh.len(), 10);
    let waiting = server.waiting("alice").await;
    let void = server
        .second_step("alice", &person.recovery[1], &waiting)
        .await;
    void.problem(401, "invalid_otp");
    server
        .second_step("alice", &fresh[0], &waiting)
        .await
        .json(200);
    assert!(
        server
            .actions("alice")
            .await
            .contains(&("RECOVERY_CODES_CREATED".into(), true))
    );
}

#[tokio::test]
async fn an_enrolment_waits_for_an_hour() {
    let server = Server::start(Engine::Sqlite).await;
    server.sign_up("alice", false).await;
    let session = server.plain_session("alice").await;
    let (device, token, _) = enrolled(&enable(&server, &session).await);
    server.advance(3600);
    let late = confirm(&server, &token, &device.code(&server)).await;
    late.problem(401, "unauthenticated");
    server.plain_session("alice").await;
}
