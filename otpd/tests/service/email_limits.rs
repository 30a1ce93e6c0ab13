//! The limits of emailed codes: per network address and per mailbox, alike for addresses known and unknown.

use std::sync::Arc;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::answer::Answer;
use crate::call::together;
use crate::database::Engine;
use crate::harness::Server;
use crate::mailbox::wrong_codes;
use crate::on_both_engines;

on_both_engines! {
    a_double_click_sends_one_mail,
    a_network_address_asks_so_often_an_hour,
    a_network_address_tries_so_often_a_minute,
}

const DAVE: &str = "dave@example.com";

fn wait(answer: &Answer) -> i64 {
    let wait = answer.header("retry-after").expect("a Retry-After");
    wait.parse().unwrap()
}

async fn a_double_click_sends_one_mail(engine: Engine) {
    let server = Server::start(engine).await;
    let body = json!({ "email": DAVE });
    let call = || server.post("/auth/request-otp", body.clone()).anonymous();
    // The first ones of this address: even its user is not there yet.
    for answer in together((0..4).map(|_| call())).await {
        let body = answer.json(202);
        assert!((1..=30).contains(&body["resend_after"].as_i64().unwrap()));
        assert!((290..=300).contains(&body["expires_in"].as_i64().unwrap()));
    }
    let mails = server.mails().await;
    assert_eq!(mails.len(), 1);
    call().await.json(202);
    assert!(server.mails().await.is_empty());
    let code = mails[0].code.as_str();
    server.try_code(DAVE, code).await.json(200);
}

async fn a_network_address_asks_so_often_an_hour(engine: Engine) {
    let variables = [("OTPD_LIMITS__EMAIL_REQUESTS_PER_HOUR", "3")];
    let server = Server::with(engine, &variables).await;
    for email in [DAVE, "eve@example.com", "joe@example.com"] {
        server.request_code(email).await.json(202);
    }
    // One that is known and one that never was.
    for email in [DAVE, "zoe@example.com"] {
        let answer = server.request_code(email).await;
        answer.problem(429, "rate_limited");
        assert!((1190..=1200).contains(&wait(&answer)));
    }
    let elsewhere = server.post("/auth/request-otp", json!({ "email": "zoe@example.com" }));
    elsewhere.anonymous().from("198.51.100.1").await.json(202);
    assert_eq!(server.mails().await.len(), 4);
}

async fn a_network_address_tries_so_often_a_minute(engine: Engine) {
    let variables = [("OTPD_LIMITS__LOGINS_PER_MINUTE", "3")];
    let server = Server::with(engine, &variables).await;
    let code = server.mailed_code(DAVE).await;
    for wrong in wrong_codes(&code).take(3) {
        server.try_code("zoe@example.com", wrong).await;
    }
    for email in [DAVE, "zoe@example.com"] {
        let answer = server.try_code(email, code.as_str()).await;
        answer.problem(429, "rate_limited");
        assert!((1..=20).contains(&wait(&answer)));
    }
    let body = json!({ "email": DAVE, "otp_code": code });
    let elsewhere = server.post("/auth/verify-otp", body).anonymous();
    elsewhere.from("198.51.100.1").await.json(200);
}

#[tokio::test]
async fn a_mailbox_gets_so_many_mails_an_hour() {
    let server = Server::start(Engine::Sqlite).await;
    for number in 0..5 {
        server.mailed_code(DAVE).await;
        server.advance(if number == 4 { 10 } else { 30 });
    }
    // Asked too soon, it is still the usual answer; only then the limit.
    let soon = server.request_code(DAVE).await.json(202);
    assert_eq!(
        (&soon["resend_after"], &soon["expires_in"]),
        (&json!(20), &json!(290))
    );
    server.advance(20);
    let limited = server.request_code("DAVE@example.com").await;
    limited.problem(429, "rate_limited");
    // A fifth of an hour after the first one.
    assert_eq!(wait(&limited), 720 - 150);
    assert!(server.mails().await.is_empty());
    server.mailed_code("eve@example.com").await;
    server.advance(720 - 150);
    let code = server.mailed_code(DAVE).await;
    server.try_code(DAVE, code).await.json(200);
}

#[tokio::test]
async fn an_address_that_only_guesses_were_made_at_gets_its_mail_at_once() {
    let server = Server::start(Engine::Sqlite).await;
    server
        .try_code(DAVE, "123456")
        .await
        .problem(401, "invalid_otp");
    let code = server.mailed_code(DAVE).await;
    server.try_code(DAVE, code).await.json(200);
}

/// While no code is judged, none is sent: it could not be used.
#[tokio::test]
async fn a_locked_address_gets_no_mail_until_the_lock_ends() {
    let server = Server::start(Engine::Sqlite).await;
    let code = server.mailed_code(DAVE).await;
    server.advance(40);
    for email in [DAVE, "nobody@example.com"] {
        for wrong in wrong_codes(&code).take(5) {
            let answer = server.try_code(email, wrong).await;
            answer.problem(401, "invalid_otp");
        }
    }
    for (email, seconds) in [(DAVE, 260), ("nobody@example.com", 300)] {
        let answer = server.request_code(email).await;
        let problem = answer.problem(429, "locked");
        assert_eq!(wait(&answer), seconds, "{email}: {problem}");
        let judged = server.try_code(email, code.as_str()).await;
        let judged = judged.problem(429, "locked");
        assert_eq!(problem["detail"], judged["detail"]);
    }
    assert!(server.mails().await.is_empty());
    server.advance(259);
    server.request_code(DAVE).await.problem(429, "locked");
    server.advance(1);
    let code = server.mailed_code(DAVE).await;
    server.try_code(DAVE, code).await.json(200);
    server.advance(40);
    let code = server.mailed_code("nobody@example.com").await;
    server.try_code("nobody@example.com", code).await.json(200);
}

#[tokio::test]
async fn a_restart_gives_a_mailbox_no_more_mails() {
    let server = Server::start(Engine::Sqlite).await;
    for _ in 0..5 {
        server.mailed_code(DAVE).await;
        server.advance(30);
    }
    let server = server.restart(&[]).await.unwrap();
    let limited = server.request_code(DAVE).await;
    limited.problem(429, "rate_limited");
    assert_eq!(wait(&limited), 720 - 150);
    server.mailed_code("eve@example.com").await;
    // Nor do guesses, which replace nothing.
    server.try_code(DAVE, "123456").await;
    server.advance(720 - 150 - 1);
    server.request_code(DAVE).await.problem(429, "rate_limited");
    server.advance(1);
    server.mailed_code(DAVE).await;
}

fn at_once(rules: &mut app::Settings) {
    rules.mail.resend = std::time::Duration::ZERO;
}

#[tokio::test]
async fn two_nodes_send_a_mailbox_no_more_mails_than_one() {
    let one = Server::tuned(Engine::Postgres, &[], at_once).await;
    let two = one.beside(at_once).await;
    let body = json!({ "email": DAVE });
    let call = |node| -> crate::call::Call<'_> {
        let node: &Server = node;
        node.post("/auth/request-otp", body.clone()).anonymous()
    };
    let mut sent = 0;
    for _ in 0..4 {
        let answers = together([call(&one), call(&two), call(&one), call(&two)]).await;
        sent += answers.iter().filter(|it| it.status == 202).count();
    }
    assert_eq!(sent, 5);
    for node in [&one, &two] {
        let limited = node.request_code(DAVE).await;
        limited.problem(429, "rate_limited");
        assert!((690..=720).contains(&wait(&limited)));
    }
    two.app.close().await;
}

/// Runs the jobs until that is so.
pub(crate) async fn jobs_until<F: Future<Output = bool>>(server: &Server, done: impl Fn() -> F) {
    let stop = CancellationToken::new();
    let jobs = tokio::spawn(Arc::clone(&server.app).run_jobs(stop.clone()));
    let limit = std::time::Duration::from_secs(20);
    let waited = tokio::time::timeout(limit, async {
        while !done().await {
            tokio::task::yield_now().await;
        }
    });
    waited.await.expect("the jobs did it");
    stop.cancel();
    jobs.await.unwrap();
}

#[tokio::test]
async fn guesses_at_addresses_leave_no_rows_for_good_and_count_nobody() {
    let server = Server::start(Engine::Sqlite).await;
    server.device("phone", "alice").await;
    server.device("key", "email:eve@example.com").await;
    server.try_code("nobody@example.com", "123456").await;
    server.mailed_code(DAVE).await;
    server.try_code("eve@example.com", "123456").await;
    let path = |name: &str| format!("/api/v1/users/email:{name}@example.com");
    let totals = async || server.get("/api/v1/stats").await.data(200)["totals"].clone();
    assert_eq!(totals().await["users"], 2);
    assert_eq!(totals().await["adoption"], 1.0);
    // Not before a day has passed: until then wrong codes are counted.
    server.advance(86_400);
    let swept = async |name| server.get(&path(name)).await.status == 404;
    server.device("later", "bob").await;
    assert!(!swept("nobody").await);
    server.advance(86_400);
    jobs_until(&server, || swept("nobody")).await;
    assert!(swept("dave").await);
    assert!(!swept("eve").await);
    server.get("/api/v1/users/alice").await.json(200);
    // It may be somebody again.
    let code = server.mailed_code("nobody@example.com").await;
    server.try_code("nobody@example.com", code).await.json(200);
    // What was recorded can be erased still.
    let erased = server.delete(&path("dave")).await.data(200);
    assert_eq!(erased["audit_records"], 1);
}
