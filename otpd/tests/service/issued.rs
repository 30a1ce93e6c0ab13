//! `/generate` and `/verify`: codes for sister services.

use serde_json::{Value, json};

use crate::answer::{Answer, text};
use crate::call::together;
use crate::database::Engine;
use crate::harness::Server;
use crate::on_both_engines;

on_both_engines! {
    a_code_is_issued_and_serves_once,
    an_authenticator_will_do_as_well,
    a_new_code_replaces_the_old_and_the_count_stays,
    who_has_no_factor_gets_no_code,
    one_code_at_once_is_accepted_once,
    issuing_is_repeated_with_the_same_code,
    only_success_and_not_found_are_kept_of_a_verification,
    an_acceptance_is_not_repeated_once_the_device_is_gone,
    a_waiting_code_is_void_with_the_last_factor,
    a_waiting_code_outlives_a_factor_beside_another,
    no_code_is_issued_while_the_last_factor_goes,
    the_user_is_named_in_the_query_and_nowhere_else,
    both_are_recorded_without_the_code,
}

const VERIFY: &str = "/verify";

fn generate<'a>(server: &'a Server, user: &str) -> crate::call::Call<'a> {
    server.call("POST", &format!("/generate?username={user}"))
}

async fn issued(server: &Server, user: &str) -> String {
    let answer = generate(server, user).await.json(200);
    text(&answer, "otp_code").to_owned()
}

async fn verify(server: &Server, user: &str, code: &str) -> Answer {
    let body = json!({ "username": user, "otp_code": code });
    server.post(VERIFY, body).await
}

/// Another code than that.
fn other(code: &str) -> String {
    format!("{:06}", (code.parse::<u32>().unwrap() + 1) % 1_000_000)
}

async fn a_code_is_issued_and_serves_once(engine: Engine) {
    let server = Server::start(engine).await;
    server.device("phone", "alice").await;
    let answer = generate(&server, "ALICE").await;
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let made = answer.json(200);
    assert_eq!(made.as_object().unwrap().len(), 2);
    let expires = domain::Time::parse_rfc3339(text(&made, "expires_at")).unwrap();
    let life = expires.since(server.now());
    assert!((290_000..=300_000).contains(&life), "{life}");
    let code = text(&made, "otp_code");
    assert!(code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit()));

    let wrong = verify(&server, "alice", &other(code)).await;
    assert_eq!(wrong.problem(401, "invalid_otp")["detail"], "Invalid OTP");
    let right = verify(&server, "Alice", code).await.json(200);
    assert_eq!(right, json!({ "success": true }));
    for _ in 0..3 {
        let spent = verify(&server, "alice", code)
            .await
            .problem(400, "otp_spent");
        assert_eq!(spent["detail"], "OTP already used or expired");
    }
    let seen = server.look("phone").await;
    assert_eq!(seen["failed_attempts"], 1, "a repetition costs one failure");
    assert_eq!(seen["usage_count"], 0, "it is no code of the device");
    let unknown = verify(&server, "nobody", code).await;
    let unknown = unknown.problem(404, "user_not_found");
    assert_eq!(unknown["detail"], "User not found");
}

async fn an_authenticator_will_do_as_well(engine: Engine) {
    let server = Server::start(engine).await;
    let device = server.device("phone", "alice").await;
    let issued = issued(&server, "alice").await;
    let code = device.code(&server);
    let answer = verify(&server, "alice", &code).await.json(200);
    assert_eq!(answer, json!({ "success": true }));
    let again = verify(&server, "alice", &code).await;
    again.problem(401, "invalid_otp");
    assert!(!server.accepts(&device, &code).await);
    // The issued one is good for this door alone, and is still there.
    assert!(!server.accepts(&device, &issued).await);
    verify(&server, "alice", &issued).await.json(200);
}

async fn a_new_code_replaces_the_old_and_the_count_stays(engine: Engine) {
    let server = Server::start(engine).await;
    let device = server.device("phone", "alice").await;
    let first = issued(&server, "alice").await;
    let second = issued(&server, "alice").await;
    assert_ne!(first, second);
    verify(&server, "alice", &first)
        .await
        .problem(401, "invalid_otp");
    let mut wrong = device.wrong_codes(&server);
    for _ in 0..3 {
        let answer = verify(&server, "alice", &wrong.next().unwrap()).await;
        answer.problem(401, "invalid_otp");
    }
    issued(&server, "alice").await;
    let fifth = verify(&server, "alice", &wrong.next().unwrap()).await;
    fifth.problem(401, "invalid_otp");
    // Locked: codes go on being issued, and none is accepted.
    let code = issued(&server, "alice").await;
    for code in [code, device.code(&server), wrong.next().unwrap()] {
        let locked = verify(&server, "alice", &code).await;
        locked.problem(429, "locked");
        let wait: i64 = locked.header("retry-after").unwrap().parse().unwrap();
        assert!((20..=30).contains(&wait), "{wait}");
    }
}

async fn who_has_no_factor_gets_no_code(engine: Engine) {
    let server = Server::start(engine).await;
    let told = |answer: Answer| {
        let problem = answer.problem(404, "two_factor_not_enabled");
        assert_eq!(problem["detail"], "User not found or 2FA not enabled");
    };
    told(generate(&server, "nobody").await);
    let pending = json!({ "device_id": "new", "user_id": "bob", "require_confirmation": true });
    server.device_with(pending).await;
    told(generate(&server, "bob").await);
    server.device("phone", "alice").await;
    let code = issued(&server, "alice").await;
    server.deactivate("phone").await.data(200);
    told(generate(&server, "alice").await);
    told(verify(&server, "alice", &code).await);
}

async fn one_code_at_once_is_accepted_once(engine: Engine) {
    let server = Server::start(engine).await;
    server.device("phone", "alice").await;
    let code = issued(&server, "alice").await;
    let body = json!({ "username": "alice", "otp_code": code });
    let answers = together((0..20).map(|_| server.post(VERIFY, body.clone()))).await;
    let accepted = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(accepted, 1);
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        answer.problem(400, "otp_spent");
    }
}

async fn issuing_is_repeated_with_the_same_code(engine: Engine) {
    let server = Server::start(engine).await;
    server.device("phone", "alice").await;
    server.device("token", "bob").await;
    let first = generate(&server, "alice").once("k").await;
    let code = text(&first.json(200), "otp_code").to_owned();
    let again = generate(&server, "alice").once("k").await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.body, first.body);
    verify(&server, "alice", &code).await.json(200);
    // The query is a part of what is asked.
    let reused = generate(&server, "bob").once("k").await;
    reused.problem(422, "idempotency_key_reused");
    let unknown = || generate(&server, "carol").once("u").into_future();
    unknown().await.problem(404, "two_factor_not_enabled");
    server.device("tablet", "carol").await;
    let kept = unknown().await;
    kept.problem(404, "two_factor_not_enabled");
    assert_eq!(kept.header("idempotent-replayed"), Some("true"));
}

async fn only_success_and_not_found_are_kept_of_a_verification(engine: Engine) {
    let server = Server::start(engine).await;
    let device = server.device("phone", "alice").await;
    let code = issued(&server, "alice").await;
    let call = |code: &str, key: &str| {
        let body = json!({ "username": "alice", "otp_code": code });
        server.post(VERIFY, body).once(key).into_future()
    };
    assert_eq!(call(&code, "a").await.json(200), json!({ "success": true }));
    let again = call(&code, "a").await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    let kept = json!({ "success": true, "replayed": true });
    assert_eq!(again.json(200), kept);
    let wrong = device.wrong(&server);
    for failures in 1..=2 {
        let answer = call(&wrong, "b").await;
        answer.problem(401, "invalid_otp");
        assert_eq!(answer.header("idempotent-replayed"), None);
        assert_eq!(server.look("phone").await["failed_attempts"], failures);
    }
}

async fn an_acceptance_is_not_repeated_once_the_device_is_gone(engine: Engine) {
    let server = Server::start(engine).await;
    let device = server.device("phone", "alice").await;
    let body = json!({ "username": "alice", "otp_code": device.code(&server) });
    let call = || server.post(VERIFY, body.clone()).once("k").into_future();
    call().await.json(200);
    server.deactivate("phone").await.data(200);
    let answer = call().await;
    answer.problem(401, "invalid_otp");
    assert_eq!(answer.header("idempotent-replayed"), Some("true"));
}

async fn the_user_is_named_in_the_query_and_nowhere_else(engine: Engine) {
    let server = Server::start(engine).await;
    server.device("phone", "alice").await;
    for (path, faults) in [
        ("/generate", &["?username"][..]),
        ("/generate?username=", &["?username"]),
        ("/generate?username=%20alice", &["?username"]),
        ("/generate?username=alice&username=bob", &["?username"]),
        ("/generate?username=alice&x=1", &["?x"]),
    ] {
        assert_eq!(server.call("POST", path).await.faults(), faults, "{path}");
    }
    let body = json!({ "username": "alice" });
    let answer = server.post("/generate", body).await;
    assert_eq!(answer.faults(), ["/username", "?username"]);
    let answer = server.post("/generate?username=alice", json!({})).await;
    answer.json(200);
}

async fn both_are_recorded_without_the_code(engine: Engine) {
    let server = Server::start(engine).await;
    server.device("phone", "alice").await;
    let code = issued(&server, "Alice").await;
    verify(&server, "alice", &code).await.json(200);
    let audit = server.get("/api/v1/audit?user_id=alice").await;
    assert!(!audit.text().contains(&format!("\"{code}\"")));
    let audit = audit.json(200);
    let events: Vec<&Value> = audit["data"].as_array().unwrap().iter().collect();
    assert_eq!(events[0]["action"], "OTP_VERIFICATION");
    assert_eq!(events[0]["additional_data"]["method"], "otc");
    assert_eq!(events[1]["action"], "CODE_ISSUED");
    assert_eq!(events[1]["user_id"], "alice");
}

#[tokio::test]
async fn a_code_lives_as_long_as_the_settings_say() {
    for (variables, seconds) in [
        (&[][..], 300),
        (&[("OTP_EXPIRATION_MINUTES", "2")][..], 120),
    ] {
        let server = Server::with(Engine::Sqlite, variables).await;
        server.device("phone", "alice").await;
        let code = issued(&server, "alice").await;
        server.advance(seconds - 1);
        verify(&server, "alice", &code).await.json(200);
        let late = issued(&server, "alice").await;
        server.advance(seconds);
        let answer = verify(&server, "alice", &late).await;
        answer.problem(400, "otp_spent");
    }
}

#[tokio::test]
async fn the_database_holds_no_issued_code() {
    let server = Server::start(Engine::Sqlite).await;
    server.device("phone", "alice").await;
    let answer = generate(&server, "alice").once("k").await.json(200);
    server.app.close().await;
    let stored = server.stored();
    assert!(stored.holds("phone"), "the right files are searched");
    let quoted = format!("\"{}\"", text(&answer, "otp_code"));
    assert!(!stored.holds(&quoted));
}

async fn a_waiting_code_is_void_with_the_last_factor(engine: Engine) {
    let server = Server::start(engine).await;
    let enable = async || {
        let body = json!({ "user_id": "alice" });
        let made = server.post("/otp/enable", body).await.json(201);
        text(&made, "id").to_owned()
    };
    for end in ["/otp/deactivate", "deactivate", "delete"] {
        let id = enable().await;
        let code = issued(&server, "alice").await;
        let gone = match end {
            "delete" => server.delete(&format!("/api/v1/devices/{id}")).await,
            "deactivate" => server.deactivate(&id).await,
            _ => server.post(end, json!({ "user_id": "alice" })).await,
        };
        assert_eq!(gone.status, 200, "{end}");
        let next = enable().await;
        let late = verify(&server, "alice", &code).await;
        late.problem(401, "invalid_otp");
        server.deactivate(&next).await.data(200);
    }
}

async fn a_waiting_code_outlives_a_factor_beside_another(engine: Engine) {
    let server = Server::start(engine).await;
    server.device("phone", "alice").await;
    server.device("tablet", "alice").await;
    let code = issued(&server, "alice").await;
    server.deactivate("phone").await.data(200);
    verify(&server, "alice", &code).await.json(200);
}

/// Whichever comes first, no code waits for the next factor afterwards.
async fn no_code_is_issued_while_the_last_factor_goes(engine: Engine) {
    let server = Server::start(engine).await;
    for round in 0..8 {
        // Each round may cost its user a guess.
        let user = &format!("user-{round}");
        server.device(&format!("phone-{round}"), user).await;
        let end = format!("/api/v1/devices/phone-{round}/deactivate");
        let calls = [generate(&server, user), server.call("POST", &end)];
        let answers = together(calls).await;
        assert_eq!(answers[1].status, 200);
        server.device(&format!("next-{round}"), user).await;
        if answers[0].status == 200 {
            let code = answers[0].json(200)["otp_code"].clone();
            let late = verify(&server, user, code.as_str().unwrap()).await;
            late.problem(401, "invalid_otp");
        }
        server.deactivate(&format!("next-{round}")).await.data(200);
    }
}
