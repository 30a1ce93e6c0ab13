//! `/auth/request-otp` and `/auth/verify-otp`: a mailed code logs in once, for exactly as long as it was said to.

use serde_json::{Value, json};

use crate::answer::text;
use crate::assertions::{check, published};
use crate::call::together;
use crate::database::Engine;
use crate::device::Device;
use crate::harness::Server;
use crate::mailbox::wrong_codes;
use crate::on_both_engines;

on_both_engines! {
    a_mailed_code_logs_in_once,
    a_code_is_for_its_address_alone,
    spellings_of_an_address_are_one,
    parallel_uses_log_in_once,
    five_wrong_codes_lock_an_address_known_or_not,
    a_stranger_locks_nobody_out_of_their_authenticator,
    with_an_authenticator_the_login_waits,
    whole_domains_are_allowed,
    what_is_no_address_or_code_is_told,
    every_step_is_recorded,
    no_code_is_stored_in_plain,
}

const DAVE: &str = "dave@example.com";

async fn a_mailed_code_logs_in_once(engine: Engine) {
    let server = Server::start(engine).await;
    let answer = server.request_code(DAVE).await;
    let told = json!({
        "message": "If the address can receive codes, one is on its way or has just arrived",
        "expires_in": 300,
        "resend_after": 30,
    });
    assert_eq!(answer.json(202), told);
    let mails = server.mails().await;
    assert_eq!(mails.len(), 1);
    let mail = &mails[0];
    assert_eq!((mail.to.as_str(), mail.code.len()), (DAVE, 6));
    assert!(mail.text.contains(", 5 minutes after it was requested."));
    let answer = server.try_code(DAVE, mail.code.as_str()).await;
    assert_eq!(answer.header("set-cookie"), None);
    let body = answer.json(200);
    assert_eq!(
        (&body["token_type"], &body["expires_in"]),
        (&json!("bearer"), &json!(900))
    );
    let token = text(&body, "access_token");
    let (header, claims) = check(token, &published(&server).await);
    assert_eq!(header["typ"], "at+jwt");
    assert_eq!(claims["sub"], "email:dave@example.com");
    assert_eq!(claims["amr"], json!(["email"]));
    let again = server.try_code(DAVE, mail.code.as_str()).await;
    let problem = again.problem(401, "invalid_otp");
    assert_eq!(problem["detail"], "Invalid OTP");
    assert_eq!(again.header("www-authenticate"), Some("Bearer"));
    let out = server.post("/auth/logout", json!({})).key(token).await;
    out.json(200);
}

async fn a_code_is_for_its_address_alone(engine: Engine) {
    let server = Server::start(engine).await;
    let code = server.mailed_code(DAVE).await;
    let other = server.mailed_code("eve@example.com").await;
    assert_ne!(code, other);
    let crossed = server.try_code("eve@example.com", code.as_str()).await;
    crossed.problem(401, "invalid_otp");
    // The account of that name is somebody else.
    server.device("phone", DAVE).await;
    server.try_code(DAVE, code.as_str()).await.json(200);
}

async fn spellings_of_an_address_are_one(engine: Engine) {
    let server = Server::start(engine).await;
    server.request_code("Dave@Example.COM").await.json(202);
    let mails = server.mails().await;
    assert_eq!(mails[0].to, DAVE, "a mail goes to the canonical form");
    server.request_code("DAVE@example.com").await.json(202);
    assert!(server.mails().await.is_empty(), "one address, one mail");
    let answer = server.try_code("ｄave@EXAMPLE.com", mails[0].code.as_str());
    answer.await.json(200);
}

async fn parallel_uses_log_in_once(engine: Engine) {
    let server = Server::start(engine).await;
    let code = server.mailed_code(DAVE).await;
    let body = json!({ "email": DAVE, "otp_code": code });
    let call = || server.post("/auth/verify-otp", body.clone()).anonymous();
    let answers = together((0..10).map(|_| call())).await;
    let accepted = answers.iter().filter(|answer| answer.status == 200);
    assert_eq!(accepted.count(), 1);
    assert!(answers.iter().all(|a| [200, 401, 429].contains(&a.status)));
}

async fn five_wrong_codes_lock_an_address_known_or_not(engine: Engine) {
    let server = Server::start(engine).await;
    let code = server.mailed_code(DAVE).await;
    for email in [DAVE, "nobody@example.com"] {
        for wrong in wrong_codes(&code).take(5) {
            let answer = server.try_code(email, wrong).await;
            answer.problem(401, "invalid_otp");
        }
    }
    for email in [DAVE, "nobody@example.com"] {
        let answer = server.try_code(email, code.as_str()).await;
        answer.problem(429, "locked");
        let wait: i64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((240..=300).contains(&wait), "{email}: {wait}");
    }
}

async fn a_stranger_locks_nobody_out_of_their_authenticator(engine: Engine) {
    let server = Server::start(engine).await;
    let device = server.device("phone", "email:dave@example.com").await;
    for wrong in wrong_codes("123456").take(7) {
        server.try_code(DAVE, wrong).await;
    }
    server.try_code(DAVE, "123456").await.problem(429, "locked");
    assert_eq!(server.look("phone").await["failed_attempts"], 0);
    assert!(server.accepts(&device, &device.code(&server)).await);
}

async fn with_an_authenticator_the_login_waits(engine: Engine) {
    let server = Server::start(engine).await;
    let device = server.device("phone", "email:dave@example.com").await;
    let code = server.mailed_code(DAVE).await;
    let answer = server.try_code(DAVE, code.as_str()).await;
    let body = answer.json(200);
    assert_eq!(body["mfa_required"], true);
    assert_eq!(body["message"], "MFA enabled. Please submit OTP");
    assert_eq!(body["expires_in"], 300);
    assert_eq!(body["username"], "email:dave@example.com");
    assert_eq!(body.get("access_token"), None);
    let token = text(&body, "mfa_token");
    let cookie = answer.header("set-cookie").unwrap();
    let attributes = "; Path=/; Max-Age=300; HttpOnly; SameSite=Strict; Secure";
    assert_eq!(cookie, format!("otpd_login={token}{attributes}"));
    server
        .try_code(DAVE, code)
        .await
        .problem(401, "invalid_otp");
    let second = json!({
        "username": body["username"],
        "token": device.code(&server),
        "mfa_token": token,
    });
    let answer = server.post("/login-2fa", second).anonymous().await;
    let body = answer.json(200);
    let token = text(&body, "access_token");
    let (_, claims) = check(token, &published(&server).await);
    assert_eq!(claims["amr"], json!(["email", "otp"]));
    // Before it is confirmed it is no factor.
    let pending = json!({
        "device_id": "new",
        "user_id": "email:eve@example.com",
        "require_confirmation": true,
    });
    server.device_with(pending).await;
    let code = server.mailed_code("eve@example.com").await;
    let body = server.try_code("eve@example.com", code).await.json(200);
    assert!(body["access_token"].is_string());
}

async fn whole_domains_are_allowed(engine: Engine) {
    let variables = [(
        "OTPD_EMAIL__ALLOWED_DOMAINS",
        "example.com,bücher.example,localhost",
    )];
    let server = Server::with(engine, &variables).await;
    for email in ["a@EXAMPLE.com", "a@xn--bcher-kva.example", "a@localhost"] {
        server.request_code(email).await.json(202);
    }
    assert_eq!(server.mails().await.len(), 3);
    for email in [
        "a@mail.example.com",
        "a@example.com.evil.test",
        "a@notexample.com",
        "a@x.localhost",
        "a@dotless",
    ] {
        let answer = server.request_code(email).await;
        let problem = answer.problem(403, "email_domain_not_allowed");
        assert!(problem.get("errors").is_none());
        // Nor is anything kept of guesses, however many.
        for _ in 0..6 {
            let answer = server.try_code(email, "123456").await;
            answer.problem(401, "invalid_otp");
        }
        let person = server.get(&format!("/api/v1/users/email:{email}")).await;
        person.problem(404, "user_not_found");
    }
    let path = "/api/v1/audit?action=EMAIL_CODE_VERIFICATION";
    assert_eq!(server.get(path).await.json(200)["data"], json!([]));
    assert!(server.mails().await.is_empty());
}

async fn what_is_no_address_or_code_is_told(engine: Engine) {
    let server = Server::start(engine).await;
    let request = async |body: Value, faults: &[&str]| {
        let answer = server.post("/auth/request-otp", body).anonymous().await;
        assert_eq!(answer.faults(), faults);
    };
    for email in [
        json!("dave"),
        json!("dave@example.com\r\nBcc: eve@example.com"),
        json!("dave@example.com\nSubject: x"),
        json!("dave@example.com,eve@example.com"),
        json!("\"dave\"@example.com"),
        json!("Dave <dave@example.com>"),
        json!("dave@[127.0.0.1]"),
        json!(""),
        json!(7),
        Value::Null,
    ] {
        request(json!({ "email": email }), &["/email"]).await;
    }
    request(json!({ "email": DAVE, "level": "none" }), &["/level"]).await;
    request(
        json!({ "level": 1, "mail": DAVE }),
        &["/email", "/level", "/mail"],
    )
    .await;
    assert!(server.mails().await.is_empty());
    let code = server.mailed_code(DAVE).await;
    for wrong in [
        json!(""),
        json!("12345"),
        json!(" 12345"),
        json!("123456789"),
        json!(-1),
        json!(1_000_000),
        json!(1.5),
        json!(true),
    ] {
        let answer = server.try_code(DAVE, wrong).await;
        assert_eq!(answer.faults(), ["/otp_code"]);
    }
    // None of them counted; and an integer is its six digits.
    let number: u32 = code.parse().unwrap();
    server.try_code(DAVE, number).await.json(200);
}

async fn every_step_is_recorded(engine: Engine) {
    let server = Server::start(engine).await;
    let code = server.mailed_code(DAVE).await;
    let wrong = wrong_codes(&code).next().unwrap();
    server.try_code(DAVE, wrong).await;
    server.try_code(DAVE, code.as_str()).await.json(200);
    let path = "/api/v1/audit?user_id=email:dave@example.com";
    let events = server.get(path).await.json(200);
    let events = events["data"].as_array().unwrap();
    let seen: Vec<(&str, bool)> = events
        .iter()
        .map(|event| (text(event, "action"), event["success"] == true))
        .collect();
    let expected = [
        ("EMAIL_CODE_VERIFICATION", true),
        ("EMAIL_CODE_VERIFICATION", false),
        ("EMAIL_CODE_SENT", true),
    ];
    assert_eq!(seen, expected);
    for event in events {
        assert_eq!(event["caller"], "public");
        assert_eq!(event["ip_address"], "192.0.2.7");
        assert!(!event.to_string().contains(&code), "{event}");
    }
}

async fn no_code_is_stored_in_plain(engine: Engine) {
    let variables = [("OTPD_EMAIL_LEVELS__HIGH__CODE_DIGITS", "8")];
    let server = Server::with(engine, &variables).await;
    let body = json!({ "email": DAVE, "level": "high" });
    let answer = server.post("/auth/request-otp", body).anonymous().await;
    answer.json(202);
    // Before the mail is sent, while the outbox holds it.
    let waiting = server.stored();
    let code = server.mails().await.pop().unwrap().code;
    assert_eq!(code.len(), 8);
    for stored in [waiting, server.stored()] {
        assert!(!stored.holds(&code));
    }
    server.try_code(DAVE, code).await.json(200);
}

/// Sent ten seconds after the border of an interval, so that the next border lies
/// within the code's life.
#[tokio::test]
async fn a_code_lives_exactly_as_long_as_was_said() {
    for (age, accepted) in [(289, true), (290, true), (299, true), (300, false)] {
        let server = Server::start(Engine::Sqlite).await;
        let code = server.mailed_code(DAVE).await;
        server.advance(age);
        let answer = server.try_code(DAVE, code).await;
        assert_eq!(answer.status, if accepted { 200 } else { 401 }, "{age} s");
    }
}

#[tokio::test]
async fn a_level_has_a_life_and_a_length_of_its_own() {
    let variables = [
        ("OTPD_EMAIL_LEVELS__HIGH__CODE_DIGITS", "8"),
        ("OTPD_EMAIL_LEVELS__HIGH__CODE_SECONDS", "60"),
    ];
    for (age, accepted) in [(59, true), (60, false)] {
        let server = Server::with(Engine::Sqlite, &variables).await;
        let body = json!({ "email": DAVE, "level": "high" });
        let answer = server.post("/auth/request-otp", body).anonymous().await;
        assert_eq!(answer.json(202)["expires_in"], 60);
        let mail = server.mails().await.pop().unwrap();
        assert_eq!(mail.code.len(), 8);
        assert!(mail.text.contains(", 1 minute after it was requested."));
        server.advance(age);
        let answer = server.try_code(DAVE, mail.code).await;
        assert_eq!(answer.status, if accepted { 200 } else { 401 }, "{age} s");
    }
}

#[tokio::test]
async fn a_resend_replaces_the_code_and_keeps_the_count() {
    let server = Server::start(Engine::Sqlite).await;
    let first = server.mailed_code(DAVE).await;
    for wrong in wrong_codes(&first).take(3) {
        server
            .try_code(DAVE, wrong)
            .await
            .problem(401, "invalid_otp");
    }
    server.advance(30);
    let second = server.mailed_code(DAVE).await;
    assert_ne!(first, second);
    // The fourth and the fifth.
    server
        .try_code(DAVE, first.as_str())
        .await
        .problem(401, "invalid_otp");
    server
        .try_code(DAVE, first.as_str())
        .await
        .problem(401, "invalid_otp");
    let answer = server.try_code(DAVE, second.as_str()).await;
    answer.problem(429, "locked");
    assert_eq!(
        answer.header("retry-after"),
        Some("300"),
        "the second one's end"
    );
    server.advance(300);
    let third = server.mailed_code(DAVE).await;
    server.try_code(DAVE, third).await.json(200);
}

/// Alive, but too old to change who can log in.
#[tokio::test]
async fn a_session_by_mail_changes_factors_for_five_minutes() {
    let server = Server::start(Engine::Sqlite).await;
    let code = server.mailed_code(DAVE).await;
    let body = server.try_code(DAVE, code).await.json(200);
    let session = text(&body, "access_token");
    let enable = async || server.with_token("/enable-mfa", json!({}), session).await;
    server.advance(300);
    let made = enable().await.json(201);
    server.advance(1);
    let refused = enable().await;
    let problem = refused.problem(403, "step_up_required");
    let detail = "This needs a session that was opened by an emailed code within the last five minutes: log in again.";
    assert_eq!(problem["detail"], detail);
    // The same for who has a second factor.
    let device = Device::from_uri(text(&made, "provisioning_uri"));
    let confirm = json!({ "token": device.code(&server) });
    let token = text(&made, "enrollment_token");
    let confirmed = server
        .with_token("/enable-mfa/confirm", confirm, token)
        .await;
    confirmed.json(200);
    let code = server.mailed_code(DAVE).await;
    let waits = server.try_code(DAVE, code).await.json(200);
    server.advance(30);
    let second = json!({
        "username": waits["username"],
        "token": device.code(&server),
        "mfa_token": waits["mfa_token"],
    });
    let body = server.public("/login-2fa", second).await.json(200);
    let session = text(&body, "access_token");
    let renew = async || {
        server
            .with_token("/recovery-codes", json!({}), session)
            .await
    };
    renew().await.json(200);
    server.advance(301);
    let problem = renew().await.problem(403, "step_up_required");
    assert_eq!(problem["detail"], detail);
}
