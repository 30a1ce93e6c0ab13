//! The guess budget: locks that grow, a factor that is disabled, one guard for all devices of a user.

use serde_json::{Value, json};

use crate::account::PASSWORD;
use crate::answer::shown;
use crate::call::together;
use crate::database::Engine;
use crate::harness::Server;
use crate::on_both_engines;

on_both_engines! {
    the_fifth_wrong_code_locks_and_right_and_wrong_look_alike,
    the_devices_of_a_user_share_one_guard,
    guesses_at_once_never_exceed_the_budget,
    a_success_clears_the_run,
}

async fn the_fifth_wrong_code_locks_and_right_and_wrong_look_alike(engine: Engine) {
    let server = Server::start(engine).await;
    let device = server.device("phone", "alice").await;
    for (number, wrong) in device.wrong_codes(&server).take(5).enumerate() {
        let data = server.verify(&device, &wrong).await;
        assert_eq!(data["reason"], "rejected");
        assert_eq!(data["attempts_remaining"], 4 - number);
        let locked = number == 4;
        assert_eq!(data["retry_after"].is_null(), !locked, "{data}");
    }
    let answer = |code: String| {
        let body = json!({ "device_id": "phone", "otp": code });
        server.post("/api/v1/otp/verify", body)
    };
    let right = answer(device.code(&server)).await;
    let wrong = answer(device.wrong(&server)).await;
    let data = right.data(200);
    assert_eq!(data["valid"], false);
    assert_eq!(data["reason"], "locked");
    assert_eq!(data["attempts_remaining"], 0);
    let wait = data["retry_after"].as_i64().unwrap();
    assert!((25..=30).contains(&wait), "{wait}");
    // On PostgreSQL a second may pass between the two.
    let mut bodies = [right.json(200), wrong.json(200)];
    for body in &mut bodies {
        body["data"]["retry_after"] = json!("some");
    }
    assert_eq!(shown(bodies[0].clone()), shown(bodies[1].clone()));
    let seen = server.look("phone").await;
    assert_ne!(seen["locked_until"], Value::Null);
    assert_eq!(
        seen["failed_attempts"], 5,
        "attempts during the lock are not counted"
    );
}

async fn the_devices_of_a_user_share_one_guard(engine: Engine) {
    let server = Server::start(engine).await;
    let phone = server.device("phone", "Alice").await;
    let token = server.device("token", "alice").await;
    let other = server.device("other", "bob").await;
    server.fail(&phone, 3).await;
    let last = server.fail(&token, 2).await;
    assert_eq!(last["attempts_remaining"], 0);
    for device in [&phone, &token] {
        let data = server.verify(device, &device.code(&server)).await;
        assert_eq!(data["reason"], "locked", "{}", device.id);
    }
    assert!(
        server.accepts(&other, &other.code(&server)).await,
        "another user"
    );
    // A device made during the lock is behind it too.
    let fresh = server.device("fresh", "ALICE").await;
    let data = server.verify(&fresh, &fresh.code(&server)).await;
    assert_eq!(data["reason"], "locked");
}

async fn guesses_at_once_never_exceed_the_budget(engine: Engine) {
    let server = Server::start(engine).await;
    let phone = server.device("phone", "alice").await;
    let token = server.device("token", "alice").await;
    let mut calls = Vec::new();
    for device in [&phone, &token] {
        for wrong in device.wrong_codes(&server).take(15) {
            let body = json!({ "device_id": device.id, "otp": wrong });
            calls.push(server.post("/api/v1/otp/verify", body));
        }
    }
    let mut evaluated = 0;
    for answer in together(calls).await {
        evaluated += usize::from(answer.data(200)["reason"] == "rejected");
    }
    assert_eq!(evaluated, 5);
    assert_eq!(server.look("phone").await["failed_attempts"], 5);
}

async fn a_success_clears_the_run(engine: Engine) {
    let server = Server::start(engine).await;
    let body = json!({ "device_id": "token", "user_id": "alice", "kind": "hotp" });
    let device = server.device_with(body).await;
    for counter in 0..3 {
        let last = server.fail(&device, 4).await;
        assert_eq!(last["attempts_remaining"], 1);
        let data = server.verify(&device, &device.at(counter)).await;
        assert_eq!(
            (&data["valid"], &data["attempts_remaining"]),
            (&json!(true), &json!(5))
        );
    }
}

#[tokio::test]
async fn each_lock_is_longer_than_the_one_before_up_to_a_quarter_of_an_hour() {
    let server = Server::start(Engine::Sqlite).await;
    let device = server.device("phone", "alice").await;
    server.fail(&device, 4).await;
    for seconds in [30, 60, 120, 240, 480, 900, 900, 900] {
        let data = server.verify(&device, &device.wrong(&server)).await;
        assert_eq!(
            data["reason"], "rejected",
            "the one that locks was evaluated"
        );
        assert_eq!(data["retry_after"], seconds);
        server.advance(seconds - 1);
        let data = server.verify(&device, &device.code(&server)).await;
        assert_eq!(
            (&data["reason"], &data["retry_after"]),
            (&json!("locked"), &json!(1))
        );
        assert_ne!(server.look("phone").await["locked_until"], Value::Null);
        server.advance(1);
        let seen = server.look("phone").await;
        assert_eq!(seen["locked_until"], Value::Null, "the lock is over");
        assert_eq!(seen["needs_unlock"], false);
    }
    let data = server.verify(&device, &device.code(&server)).await;
    assert_eq!(
        (&data["valid"], &data["attempts_remaining"]),
        (&json!(true), &json!(5))
    );
    let data = server.verify(&device, &device.wrong(&server)).await;
    assert_eq!(data["attempts_remaining"], 4, "a success starts anew");
}

#[tokio::test]
async fn after_a_lock_one_guess_is_left() {
    let server = Server::start(Engine::Sqlite).await;
    let device = server.device("phone", "alice").await;
    server.fail(&device, 5).await;
    server.advance(30);
    let data = server.fail(&device, 1).await;
    assert_eq!(
        (&data["retry_after"], &data["attempts_remaining"]),
        (&json!(60), &json!(0))
    );
}

#[tokio::test]
async fn the_fiftieth_failure_disables_until_somebody_opens() {
    let server = Server::start(Engine::Sqlite).await;
    let device = server.device("phone", "alice").await;
    for number in 1..=50 {
        let data = server.verify(&device, &device.wrong(&server)).await;
        assert_eq!(data["reason"], "rejected", "{number}");
        server.advance(901);
    }
    for _ in 0..3 {
        let data = server.verify(&device, &device.code(&server)).await;
        assert_eq!(data["reason"], "locked");
        assert_eq!(data["retry_after"], Value::Null, "no time opens it");
        assert_eq!(data["attempts_remaining"], 0);
        let seen = server.look("phone").await;
        let told = (&seen["locked_until"], &seen["needs_unlock"]);
        assert_eq!(told, (&Value::Null, &json!(true)));
        server.advance(40 * 86_400);
    }
}

/// No time opens it, yet a client that is told to wait has to be told for how long.
#[tokio::test]
async fn doors_that_refuse_say_when_to_come_again_however_long_the_lock() {
    let strict = [
        ("OTPD_CODES__LOCK_AFTER", "1"),
        ("OTPD_CODES__DISABLE_AFTER", "2"),
    ];
    let server = Server::with(Engine::Sqlite, &strict).await;
    let person = server.person("alice").await;
    let waiting = server.waiting("alice").await;
    let calls = || {
        let code = person.code(&server);
        let disable = json!({ "username": "alice", "password": PASSWORD, "token": code });
        [
            server.post("/verify", json!({ "username": "alice", "otp_code": code })),
            server.second_step("alice", &code, &waiting),
            server.public("/disable-mfa", disable),
        ]
    };
    let fail = async || {
        let wrong = person.device.wrong(&server);
        let answer = server.second_step("alice", &wrong, &waiting).await;
        answer.problem(401, "invalid_otp");
    };
    for wait in ["30", "900"] {
        fail().await;
        for call in calls() {
            let answer = call.await;
            let problem = answer.problem(429, "locked");
            assert_eq!(answer.header("retry-after"), Some(wait), "{problem}");
            let detail = "Too many wrong codes: none is judged now. Try again later; if that does not help, an administrator can open the lock.";
            assert_eq!(problem["detail"], detail);
        }
        server.advance(30);
    }
}

#[tokio::test]
async fn two_hundred_failures_in_thirty_days_disable_despite_successes() {
    let server = Server::start(Engine::Sqlite).await;
    let device = server.device("phone", "alice").await;
    for round in 0..50 {
        server.fail(&device, 4).await;
        server.advance(3600);
        let expected = round < 49;
        assert_eq!(
            server.accepts(&device, &device.code(&server)).await,
            expected,
            "{round}"
        );
    }
    let data = server.verify(&device, &device.code(&server)).await;
    assert_eq!(
        (&data["reason"], &data["retry_after"]),
        (&json!("locked"), &Value::Null)
    );
}

#[tokio::test]
async fn the_budget_is_the_settings() {
    let strict = [
        ("OTPD_CODES__LOCK_AFTER", "1"),
        ("OTPD_CODES__DISABLE_AFTER", "2"),
    ];
    let server = Server::with(Engine::Sqlite, &strict).await;
    let device = server.device("phone", "alice").await;
    let data = server.fail(&device, 1).await;
    assert_eq!(
        (&data["retry_after"], &data["attempts_remaining"]),
        (&json!(30), &json!(0))
    );
    server.advance(30);
    let data = server.fail(&device, 1).await;
    assert_eq!(
        (&data["retry_after"], &data["attempts_remaining"]),
        (&Value::Null, &json!(0))
    );
}
