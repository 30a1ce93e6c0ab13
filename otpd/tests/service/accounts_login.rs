//! `POST /login` and `POST /login-2fa`: one step without a second factor, two with one, and nothing else.

use serde_json::json;

use crate::account::PASSWORD;
use crate::answer::{Answer, text};
use crate::call::together;
use crate::database::Engine;
use crate::device::Device;
use crate::harness::Server;
use crate::on_both_engines;

on_both_engines! {
    a_password_opens_a_session_where_no_factor_is_in_force,
    two_steps_where_a_factor_is_in_force,
    a_wrong_password_and_an_unknown_name_look_alike,
    the_second_factor_alone_never_logs_in,
    another_users_token_is_no_use,
    a_wrong_code_does_not_spend_the_login,
    a_login_and_a_code_serve_once,
    parallel_second_steps_are_accepted_once,
    a_factor_of_another_door_counts,
    a_recovery_code_and_a_lock,
}

/// What both a wrong code and a missing first step are told.
#[track_caller]
pub(crate) fn wrong(answer: &Answer) {
    let problem = answer.problem(401, "invalid_otp");
    assert_eq!(problem["detail"], "Invalid OTP");
    assert_eq!(answer.header("set-cookie"), None);
}

async fn a_password_opens_a_session_where_no_factor_is_in_force(engine: Engine) {
    let server = Server::start(engine).await;
    server.sign_up("alice", false).await;
    let answer = server.login("ALICE", PASSWORD).await;
    assert_eq!(answer.header("set-cookie"), None);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let body = answer.json(200);
    assert_eq!(body["token"], body["access_token"]);
    assert_eq!(body["token_type"], "bearer");
    assert_eq!(body["expires_in"], 900);
    let claims = server.asked(text(&body, "token")).await;
    assert_eq!(claims["active"], true);
    assert_eq!(claims["sub"], "alice");
    assert_eq!(claims["amr"], json!(["pwd"]));
    assert_eq!(server.actions("alice").await[0], ("LOGIN".into(), true));
}

async fn two_steps_where_a_factor_is_in_force(engine: Engine) {
    let server = Server::start(engine).await;
    let person = server.person("alice").await;
    let first = server.login("alice", PASSWORD).await;
    let body = first.json(200);
    let expected = json!({
        "mfa_required": true, "message": "MFA enabled. Please submit OTP",
        "mfa_token": body["mfa_token"], "expires_in": 300,
    });
    assert_eq!(body, expected, "nothing of a session");
    let token = text(&body, "mfa_token");
    let cookie =
        format!("otpd_login={token}; Path=/; Max-Age=300; HttpOnly; SameSite=Strict; Secure");
    assert_eq!(first.header("set-cookie"), Some(cookie.as_str()));

    let second = server
        .second_step("Alice", &person.code(&server), token)
        .await;
    let forgotten = "otpd_login=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict; Secure";
    assert_eq!(second.header("set-cookie"), Some(forgotten));
    let body = second.json(200);
    assert_eq!(body["token"], body["access_token"]);
    let claims = server.asked(text(&body, "token")).await;
    assert_eq!(claims["amr"], json!(["pwd", "otp"]));
    assert_eq!(claims["username"], "alice");
    assert_eq!(server.actions("alice").await[0], ("LOGIN_2FA".into(), true));
    let out = server.with_token("/auth/logout", json!({}), text(&body, "token"));
    out.await.json(200);
    assert!(!server.is_active(text(&body, "token")).await);
}

async fn a_wrong_password_and_an_unknown_name_look_alike(engine: Engine) {
    let server = Server::start(engine).await;
    server.person("alice").await;
    server.device("phone", "bob").await;
    let told = async |name: &str, password: &str| {
        let answer = server
            .login(name, password)
            .header("x-request-id", "r")
            .await;
        let names: Vec<String> = answer.header_names().map(str::to_owned).collect();
        (answer.problem(401, "invalid_credentials"), names)
    };
    let wrong = told("alice", "another password").await;
    assert_eq!(wrong.0["detail"], "Invalid credentials");
    for (name, password) in [
        ("nobody", PASSWORD),
        ("bob", PASSWORD),
        ("alice", ""),
        ("x", ""),
    ] {
        assert_eq!(told(name, password).await, wrong, "{name}");
    }
    assert_eq!(server.actions("alice").await[0], ("LOGIN".into(), false));
    assert_eq!(server.actions("nobody").await, []);
}

async fn the_second_factor_alone_never_logs_in(engine: Engine) {
    let server = Server::start(engine).await;
    let person = server.person("alice").await;
    let code = person.code(&server);
    let recovery = &person.recovery[0];
    for token in [code.as_str(), recovery] {
        let body = json!({ "username": "alice", "token": token });
        wrong(&server.public("/login-2fa", body).await);
        wrong(&server.second_step("alice", token, "1.x").await);
        wrong(&server.second_step("alice", token, &person.enrolment).await);
        let body = json!({ "username": "alice", "token": token });
        let cookie = server
            .public("/login-2fa", body)
            .header("cookie", "otpd_login=1.x");
        wrong(&cookie.await);
    }
    // None of that has spent anything, or a guess.
    let listed = server.get("/api/v1/devices?user_id=alice").await.json(200);
    assert_eq!(listed["data"][0]["failed_attempts"], 0);
    let token = server.waiting("alice").await;
    server
        .second_step("alice", recovery, &token)
        .await
        .json(200);
}

async fn another_users_token_is_no_use(engine: Engine) {
    let server = Server::start(engine).await;
    let alice = server.person("alice").await;
    let bob = server.person("bob").await;
    let of_bob = server.waiting("bob").await;
    let of_alice = server.waiting("alice").await;
    wrong(
        &server
            .second_step("alice", &alice.code(&server), &of_bob)
            .await,
    );
    wrong(
        &server
            .second_step("bob", &alice.code(&server), &of_alice)
            .await,
    );
    wrong(
        &server
            .second_step("nobody", &alice.code(&server), &of_alice)
            .await,
    );
    // A row of one login with the secret of another.
    let (id, _) = of_alice.split_once('.').unwrap();
    let (_, secret) = of_bob.split_once('.').unwrap();
    let mixed = format!("{id}.{secret}");
    wrong(
        &server
            .second_step("alice", &alice.code(&server), &mixed)
            .await,
    );
    let padded = format!("0{of_alice}");
    wrong(
        &server
            .second_step("alice", &alice.code(&server), &padded)
            .await,
    );
    // Another user's name did not spend the login.
    let right = server
        .second_step("alice", &alice.code(&server), &of_alice)
        .await;
    right.json(200);
    server
        .second_step("bob", &bob.code(&server), &of_bob)
        .await
        .json(200);
}

async fn a_wrong_code_does_not_spend_the_login(engine: Engine) {
    let server = Server::start(engine).await;
    let person = server.person("alice").await;
    let token = server.waiting("alice").await;
    for code in person.device.wrong_codes(&server).take(4) {
        wrong(&server.second_step("alice", &code, &token).await);
    }
    let right = server
        .second_step("alice", &person.code(&server), &token)
        .await;
    right.json(200);
    let failures = server.actions("alice").await;
    let failed = failures
        .iter()
        .filter(|it| **it == ("LOGIN_2FA".into(), false));
    assert_eq!(failed.count(), 4);
}

async fn a_login_and_a_code_serve_once(engine: Engine) {
    let server = Server::start(engine).await;
    let person = server.person("alice").await;
    let (first, second) = (server.waiting("alice").await, server.waiting("alice").await);
    let code = person.code(&server);
    server.second_step("alice", &code, &first).await.json(200);
    wrong(&server.second_step("alice", &code, &second).await);
    wrong(
        &server
            .second_step("alice", &person.recovery[0], &first)
            .await,
    );
    server
        .second_step("alice", &person.recovery[0], &second)
        .await
        .json(200);
    let third = server.waiting("alice").await;
    wrong(
        &server
            .second_step("alice", &person.recovery[0], &third)
            .await,
    );
}

async fn parallel_second_steps_are_accepted_once(engine: Engine) {
    let server = Server::start(engine).await;
    let person = server.person("alice").await;
    let token = server.waiting("alice").await;
    // Different right answers to one login.
    let mut answers = vec![person.code(&server), person.device.code_in(&server, 1)];
    answers.extend(person.recovery.iter().cloned());
    let calls = answers
        .iter()
        .map(|it| server.second_step("alice", it, &token));
    let found = together(calls).await;
    let accepted = found.iter().filter(|it| it.status == 200).count();
    assert_eq!(accepted, 1);
    for answer in found.iter().filter(|it| it.status != 200) {
        wrong(answer);
    }
    // One right answer to many logins.
    let mut waiting = Vec::new();
    for _ in 0..6 {
        waiting.push(server.waiting("alice").await);
    }
    let spare = person.recovery[9].as_str();
    let calls = waiting
        .iter()
        .map(|it| server.second_step("alice", spare, it));
    let accepted = together(calls)
        .await
        .iter()
        .filter(|it| it.status == 200)
        .count();
    assert!(accepted <= 1, "{accepted}");
}

async fn a_factor_of_another_door_counts(engine: Engine) {
    let server = Server::start(engine).await;
    server.sign_up("alice", false).await;
    let session = server.plain_session("alice").await;
    let device = server.device("phone", "alice").await;
    let token = server.waiting("alice").await;
    let done = server
        .second_step("alice", &device.code(&server), &token)
        .await;
    done.json(200);
    assert!(server.is_active(&session).await, "opened before");
    server.deactivate("phone").await.data(200);
    server.plain_session("alice").await;
}

async fn a_recovery_code_and_a_lock(engine: Engine) {
    let server = Server::start(engine).await;
    let person = server.person("alice").await;
    let token = server.waiting("alice").await;
    let codes: Vec<String> = person.device.wrong_codes(&server).take(5).collect();
    for code in &codes {
        wrong(&server.second_step("alice", code, &token).await);
    }
    let told = async |code: &str| {
        let answer = server
            .second_step("alice", code, &token)
            .header("x-request-id", "r");
        let answer = answer.await;
        let seconds: u32 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=30).contains(&seconds), "{seconds}");
        answer.problem(429, "locked")
    };
    let right = told(&person.code(&server)).await;
    assert_eq!(
        told(&codes[0]).await,
        right,
        "while locked, all codes are alike"
    );
    let typed = person.recovery[3].to_uppercase().replace('-', " ");
    let open = server.second_step("alice", &typed, &token).await.json(200);
    let claims = server.asked(text(&open, "token")).await;
    assert_eq!(claims["amr"], json!(["pwd", "recovery"]));
    server.session(&person).await;
}

#[tokio::test]
async fn a_login_waits_for_five_minutes() {
    let server = Server::start(Engine::Sqlite).await;
    let person = server.person("alice").await;
    let (early, late) = (server.waiting("alice").await, server.waiting("alice").await);
    server.advance(299);
    let done = server
        .second_step("alice", &person.code(&server), &early)
        .await;
    done.json(200);
    server.advance(1);
    wrong(
        &server
            .second_step("alice", &person.device.code_in(&server, 1), &late)
            .await,
    );
}

#[tokio::test]
async fn many_logins_that_wait_give_no_more_guesses_than_one() {
    let server = Server::tuned(Engine::Sqlite, &[], |rules| {
        rules.public.logins_per_minute = 0;
        rules.public.account_logins_per_minute = 0;
    })
    .await;
    let person = server.person("alice").await;
    let mut waiting = Vec::new();
    for _ in 0..500 {
        waiting.push(server.waiting("alice").await);
    }
    let codes = person.device.wrong_codes(&server);
    let guesses: Vec<(String, String)> = codes.zip(waiting).collect();
    let calls = guesses
        .iter()
        .map(|(code, token)| server.second_step("alice", code, token));
    let answers = together(calls).await;
    let judged = answers.iter().filter(|it| it.status == 401).count();
    assert_eq!(
        judged, 5,
        "one account's guesses, whatever the number of logins"
    );
    assert_eq!(answers.iter().filter(|it| it.status == 429).count(), 495);
    let fresh = server.waiting("alice").await;
    let locked = server
        .second_step("alice", &person.code(&server), &fresh)
        .await;
    locked.problem(429, "locked");
}

#[tokio::test]
async fn a_session_ends_with_its_time() {
    let server = Server::start(Engine::Sqlite).await;
    server.sign_up("alice", false).await;
    let token = server.plain_session("alice").await;
    server.advance(899);
    assert!(server.is_active(&token).await);
    server.advance(1);
    assert!(!server.is_active(&token).await);
    let device: Device = server.device("phone", "alice").await;
    assert!(server.accepts(&device, &device.code(&server)).await);
}
