//! Recovery codes: sets of ten, each code once, the way out of a lock.

use serde_json::{Value, json};

use crate::answer::Answer;
use crate::assertions::{check, published};
use crate::call::together;
use crate::database::Engine;
use crate::harness::Server;
use crate::on_both_engines;

on_both_engines! {
    ten_codes_serve_once_each_in_any_order,
    a_fresh_set_makes_the_old_one_void,
    one_code_at_once_is_accepted_once,
    a_code_opens_a_lock,
    codes_are_worth_nothing_without_a_factor_and_a_pass_is,
    eleven_tries_in_an_hour_are_too_many,
    whom_nobody_knows_is_not_found,
    what_can_be_no_code_counts_no_try,
    repeated_requests_get_their_first_answer,
    what_happens_is_recorded_without_the_codes,
}

const VERIFY: &str = "/api/v1/recovery/verify";

async fn renew(server: &Server, user: &str) -> Vec<String> {
    let path = format!("/api/v1/users/{user}/recovery-codes");
    codes(&server.call("POST", &path).await)
}

#[track_caller]
fn codes(answer: &Answer) -> Vec<String> {
    let data = answer.data(201);
    let codes = data["recovery_codes"].as_array().unwrap().iter();
    codes
        .map(|code| code.as_str().unwrap().to_owned())
        .collect()
}

async fn verify(server: &Server, user: &str, code: &str) -> Answer {
    let body = json!({ "user_id": user, "code": code });
    server.post(VERIFY, body).await
}

/// Well formed, and nobody's.
fn wrong(number: usize) -> String {
    format!("0000-0000-0000-{number:04}")
}

async fn ten_codes_serve_once_each_in_any_order(engine: Engine) {
    let server = Server::start(engine).await;
    server.device("phone", "alice").await;
    let path = "/api/v1/users/Alice/recovery-codes";
    let answer = server.call("POST", path).await;
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.json(201)["data"]["user_id"], "Alice");
    let codes = codes(&answer);
    assert_eq!(codes.len(), 10);
    let different: std::collections::BTreeSet<_> = codes.iter().collect();
    assert_eq!(different.len(), 10);
    for (used, code) in codes.iter().rev().enumerate() {
        assert_eq!(code.len(), 19);
        // As people type it.
        let typed = match used % 3 {
            0 => code.to_uppercase(),
            1 => code.replace('-', " "),
            _ => code.replace('-', ""),
        };
        let answer = verify(&server, "ALICE", &typed).await.json(200);
        let expected = verified(9 - used);
        assert_eq!(answer, expected);
        let again = verify(&server, "alice", code).await.json(200);
        assert_eq!(again, json!({ "status": "rejected" }));
    }
}

fn verified(remaining: usize) -> Value {
    json!({ "status": "verified", "method": "recovery", "remaining": remaining })
}

async fn a_fresh_set_makes_the_old_one_void(engine: Engine) {
    let server = Server::start(engine).await;
    server.device("phone", "alice").await;
    let old = renew(&server, "alice").await;
    let new = renew(&server, "alice").await;
    assert!(old.iter().all(|code| !new.contains(code)));
    let answer = verify(&server, "alice", &old[0]).await.json(200);
    assert_eq!(answer["status"], "rejected");
    let answer = verify(&server, "alice", &new[0]).await.json(200);
    assert_eq!(answer, verified(9));
    // Nobody else's.
    server.device("token", "bob").await;
    let answer = verify(&server, "bob", &new[1]).await.json(200);
    assert_eq!(answer["status"], "rejected");
}

async fn one_code_at_once_is_accepted_once(engine: Engine) {
    let server = Server::start(engine).await;
    server.device("phone", "alice").await;
    let codes = renew(&server, "alice").await;
    let body = json!({ "user_id": "alice", "code": codes[0] });
    let answers = together((0..20).map(|_| server.post(VERIFY, body.clone()))).await;
    let verified =
        |answer: &&Answer| answer.status == 200 && answer.json(200)["status"] == "verified";
    assert_eq!(answers.iter().filter(verified).count(), 1);
    let found = server.get("/api/v1/users/alice/2fa").await.json(200);
    assert_eq!(found["recovery_codes_left"], 9);
}

async fn a_code_opens_a_lock(engine: Engine) {
    let server = Server::start(engine).await;
    let device = server.device("phone", "alice").await;
    let codes = renew(&server, "alice").await;
    server.fail(&device, 5).await;
    let locked = server.verify(&device, &device.code(&server)).await;
    assert_eq!(locked["reason"], "locked");
    let answer = verify(&server, "alice", &codes[0]).await.json(200);
    assert_eq!(answer["status"], "verified");
    assert_eq!(server.look("phone").await["failed_attempts"], 0);
    assert!(server.accepts(&device, &device.code(&server)).await);
}

async fn codes_are_worth_nothing_without_a_factor_and_a_pass_is(engine: Engine) {
    let server = Server::start(engine).await;
    server.device("phone", "alice").await;
    let codes = renew(&server, "alice").await;
    let body = json!({ "user_id": "alice", "code": codes[0] });
    let kept = || server.post(VERIFY, body.clone()).once("k");
    assert_eq!(kept().await.json(200)["status"], "verified");
    let login = |code: &str| {
        let body = json!({
            "user_id": "alice", "code": code, "assertion": { "audience": "shop" },
        });
        server.post(VERIFY, body)
    };
    server.deactivate("phone").await.data(200);
    assert_eq!(kept().await.json(200)["status"], "rejected");
    let answer = login(&codes[1]).await.json(200);
    assert_eq!(answer, json!({ "status": "rejected" }));
    let found = server.get("/api/v1/users/alice/2fa").await.json(200);
    assert_eq!(found["enabled"], false);
    assert_eq!(found["recovery_codes_left"], 0);
    assert_eq!(found["methods"], json!([]));
    let person = server.get("/api/v1/users/alice").await.data(200);
    assert_eq!(person["recovery_codes_left"], 0);
    assert_eq!(person["methods"], json!([]));
    // What the helpdesk gives to whoever lost the phone.
    let pass = json!({ "reason": "lost the phone", "expires_in": 600, "uses": 1 });
    let pass = server
        .post("/api/v1/users/alice/pass", pass)
        .await
        .json(201);
    let answer = login(pass["pass"].as_str().unwrap()).await.json(200);
    assert_eq!(answer["status"], "verified");
    let jws = answer["assertion"].as_str().unwrap();
    let (_, claims) = check(jws, &published(&server).await);
    assert_eq!(claims["amr"], json!(["pass"]));
    // A pending device is no factor; the next one in force brings the codes back.
    let pending = json!({
        "device_id": "next", "user_id": "alice", "require_confirmation": true,
    });
    let next = server.device_with(pending).await;
    assert_eq!(login(&codes[1]).await.json(200)["status"], "rejected");
    let body = json!({ "otp": next.code(&server) });
    let confirmed = server.post("/api/v1/devices/next/confirm", body).await;
    assert_eq!(confirmed.data(200)["valid"], true);
    let found = server.get("/api/v1/users/alice/2fa").await.json(200);
    assert_eq!(found["recovery_codes_left"], 9);
    assert_eq!(login(&codes[1]).await.json(200)["status"], "verified");
}

async fn eleven_tries_in_an_hour_are_too_many(engine: Engine) {
    let server = Server::start(engine).await;
    server.device("phone", "alice").await;
    let codes = renew(&server, "alice").await;
    for number in 0..10 {
        let answer = verify(&server, "alice", &wrong(number)).await.json(200);
        assert_eq!(answer["status"], "rejected", "{number}");
    }
    for code in [&codes[0], &wrong(11)] {
        let answer = verify(&server, "alice", code).await;
        answer.problem(429, "locked");
        let wait: i64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((3500..=3600).contains(&wait), "{wait}");
    }
}

async fn whom_nobody_knows_is_not_found(engine: Engine) {
    let server = Server::start(engine).await;
    let path = "/api/v1/users/nobody/recovery-codes";
    server
        .call("POST", path)
        .await
        .problem(404, "user_not_found");
    let answer = verify(&server, "nobody", &wrong(1)).await;
    answer.problem(404, "user_not_found");
}

async fn what_can_be_no_code_counts_no_try(engine: Engine) {
    let server = Server::start(engine).await;
    server.device("phone", "alice").await;
    let codes = renew(&server, "alice").await;
    let long = format!("{}{}", "-".repeat(60), codes[0]);
    let faulty = [
        json!("123456"),
        json!(""),
        json!("k3f9-m2x7-q8rd-5tzw-k3f9"),
        json!("u3f9-m2x7-q8rd-5tzw"),
        json!(long),
        json!(1_234_567_890_123_456_u64),
        json!(null),
    ];
    for code in faulty.iter().cycle().take(21) {
        let body = json!({ "user_id": "alice", "code": code });
        assert_eq!(
            server.post(VERIFY, body).await.faults(),
            ["/code"],
            "{code}"
        );
    }
    let answer = server.post(VERIFY, json!({ "otp": 1 })).await;
    assert_eq!(answer.faults(), ["/code", "/otp", "/user_id"]);
    assert_eq!(server.look("phone").await["failed_attempts"], 0);
    let answer = verify(&server, "alice", &codes[0]).await.json(200);
    assert_eq!(answer["status"], "verified");
}

async fn repeated_requests_get_their_first_answer(engine: Engine) {
    let server = Server::start(engine).await;
    server.device("phone", "alice").await;
    let path = "/api/v1/users/alice/recovery-codes";
    let first = server.call("POST", path).once("k").await;
    let again = server.call("POST", path).once("k").await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.body, first.body);
    let codes = codes(&first);
    for (code, status) in [(&codes[0], "verified"), (&wrong(1), "rejected")] {
        let body = json!({ "user_id": "alice", "code": code });
        let call = || server.post(VERIFY, body.clone()).once(code).into_future();
        let mut first = call().await.json(200);
        assert_eq!(first["status"], status);
        let again = call().await;
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        first["replayed"] = json!(true);
        assert_eq!(again.json(200), first);
    }
    assert_eq!(server.look("phone").await["failed_attempts"], 1);
}

async fn what_happens_is_recorded_without_the_codes(engine: Engine) {
    let server = Server::start(engine).await;
    server.device("phone", "alice").await;
    let codes = renew(&server, "alice").await;
    for code in &codes[..8] {
        verify(&server, "alice", code).await.json(200);
    }
    verify(&server, "alice", &wrong(1)).await.json(200);
    let audit = server.get("/api/v1/audit?user_id=alice").await;
    for code in &codes {
        assert!(!audit.text().contains(code.as_str()));
    }
    let audit = audit.json(200);
    let actions: Vec<&str> = audit["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions[0], "RECOVERY_VERIFICATION");
    // With two left it says so, beside the verification.
    let low = |action: &&&str| **action == "RECOVERY_CODES_LOW";
    assert_eq!(actions.iter().filter(low).count(), 1);
    let made = audit["data"].as_array().unwrap().iter();
    let made = made.filter(|event| event["action"] == "RECOVERY_CODES_CREATED");
    let details: Vec<&Value> = made.map(|event| &event["additional_data"]).collect();
    assert_eq!(details[0]["count"], 10);
}

#[tokio::test]
async fn after_an_hour_there_are_ten_tries_again() {
    let server = Server::start(Engine::Sqlite).await;
    server.device("phone", "alice").await;
    let codes = renew(&server, "alice").await;
    for number in 0..10 {
        verify(&server, "alice", &wrong(number)).await.json(200);
    }
    server.advance(3599);
    let answer = verify(&server, "alice", &codes[0]).await;
    answer.problem(429, "locked");
    assert_eq!(answer.header("retry-after"), Some("1"));
    server.advance(1);
    let answer = verify(&server, "alice", &codes[0]).await.json(200);
    assert_eq!(answer["status"], "verified");
}

#[tokio::test]
async fn a_refusal_for_the_hour_is_not_kept() {
    let server = Server::start(Engine::Sqlite).await;
    server.device("phone", "alice").await;
    let codes = renew(&server, "alice").await;
    for number in 0..10 {
        verify(&server, "alice", &wrong(number)).await.json(200);
    }
    server.advance(3590);
    let body = json!({ "user_id": "alice", "code": codes[0] });
    let call = || server.post(VERIFY, body.clone()).once("k").into_future();
    call().await.problem(429, "locked");
    server.advance(10);
    assert_eq!(call().await.json(200)["status"], "verified");
}

#[tokio::test]
async fn the_database_holds_no_recovery_code() {
    let server = Server::start(Engine::Sqlite).await;
    server.device("phone", "alice").await;
    let path = "/api/v1/users/alice/recovery-codes";
    let codes = codes(&server.call("POST", path).once("k").await);
    server.app.close().await;
    let stored = server.stored();
    assert!(stored.holds("phone"), "the right files are searched");
    for code in codes {
        assert!(!stored.holds(&code) && !stored.holds(&code.replace('-', "")));
    }
}
