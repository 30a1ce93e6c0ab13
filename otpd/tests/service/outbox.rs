//! Mails on their way: kept while they cannot be handed over, sent once, given up when nobody wants them.

use serde_json::{Value, json};

use crate::answer::text;
use crate::database::Engine;
use crate::harness::Server;
use crate::on_both_engines;

on_both_engines! {
    a_mail_that_cannot_be_handed_over_waits_and_nobody_is_told,
    a_restart_loses_no_mail,
}

const DAVE: &str = "dave@example.com";
/// A port that nothing listens on.
const NOBODY: [(&str, &str); 2] = [
    ("OTPD_EMAIL__SMTP_URL", "smtp://127.0.0.1:9"),
    ("OTPD_EMAIL__FROM", "no-reply@example.com"),
];

async fn metric(server: &Server, series: &str) -> f64 {
    let page = server.get("/metrics").await.text();
    let line = page.lines().find_map(|line| line.strip_prefix(series));
    line.unwrap_or_else(|| panic!("no {series}"))
        .trim()
        .parse()
        .unwrap()
}

async fn health(server: &Server) -> (Value, Value) {
    let body = server.get("/health").anonymous().await.json(200);
    server.get("/readyz").anonymous().await.json(200);
    (body["status"].clone(), body["checks"]["mail"].clone())
}

async fn a_mail_that_cannot_be_handed_over_waits_and_nobody_is_told(engine: Engine) {
    let server = Server::with(engine, &NOBODY).await;
    assert_eq!(health(&server).await, (json!("ok"), json!("ok")));
    server.request_code(DAVE).await.json(202);
    assert_eq!(server.app.deliver_mails().await.unwrap(), 1);
    // Its next try is not due yet.
    assert_eq!(server.app.deliver_mails().await.unwrap(), 0);
    assert_eq!(
        health(&server).await,
        (json!("degraded"), json!("degraded"))
    );
    let told = server.get("/health").anonymous().await.json(200);
    assert_eq!(
        told["details"],
        json!({ "mail": "The mail server cannot be reached or used. The server's log says more." })
    );
    let path = "/api/v1/audit?action=MAIL_DEFERRED";
    let events = server.get(path).await.json(200);
    assert_eq!(events["data"].as_array().unwrap().len(), 1);
    let event = &events["data"][0];
    assert_eq!(text(event, "user_id"), "email:dave@example.com");
    assert_eq!(event["additional_data"], json!({ "reason": "unusable" }));
    assert_eq!(
        (&event["caller"], &event["success"]),
        (&json!("server"), &json!(false))
    );
    server.request_code("eve@example.com").await.json(202);
    assert_eq!(
        metric(&server, "otpd_mails_total{result=\"deferred\"}").await,
        1.0
    );
    assert_eq!(metric(&server, "otpd_mails_waiting").await, 1.0);
    let path = "/api/v1/audit?action=MAIL_FAILED";
    let events = server.get(path).await.json(200);
    assert_eq!(events["data"], json!([]));
}

async fn a_restart_loses_no_mail(engine: Engine) {
    let server = Server::start(engine).await;
    server.request_code(DAVE).await.json(202);
    let server = server.restart(&[]).await.unwrap();
    let mails = server.mails().await;
    assert_eq!(mails.len(), 1);
    assert_eq!(
        metric(&server, "otpd_mails_total{result=\"sent\"}").await,
        1.0
    );
    assert_eq!(metric(&server, "otpd_mails_waiting").await, 0.0);
    let code = mails[0].code.as_str();
    server.try_code(DAVE, code).await.json(200);
}

#[tokio::test]
async fn a_mail_waits_longer_and_longer_and_is_given_up_with_its_code() {
    let server = Server::with(Engine::Sqlite, &NOBODY).await;
    server.request_code(DAVE).await.json(202);
    let mut tries = Vec::new();
    for second in 0..300 {
        if server.app.deliver_mails().await.unwrap() > 0 {
            tries.push(second);
        }
        server.advance(1);
    }
    server.app.deliver_mails().await.unwrap();
    assert!((6..=16).contains(&tries.len()), "{tries:?}");
    assert_eq!(
        metric(&server, "otpd_mails_total{result=\"failed\"}").await,
        1.0
    );
    assert_eq!(metric(&server, "otpd_mails_waiting").await, 0.0);
    let path = "/api/v1/audit?action=MAIL_FAILED";
    let events = server.get(path).await.json(200);
    let events = events["data"].as_array().unwrap();
    assert_eq!(events.len(), 1);
    let event = &events[0];
    assert_eq!(text(event, "user_id"), "email:dave@example.com");
    let detail = json!({ "reason": "expired", "tries": tries.len() });
    assert_eq!(event["additional_data"], detail);
    assert_eq!(
        (&event["caller"], &event["success"]),
        (&json!("server"), &json!(false))
    );
    // However often it was tried.
    let path = "/api/v1/audit?action=MAIL_DEFERRED";
    let deferred = server.get(path).await.json(200);
    assert_eq!(deferred["data"].as_array().unwrap().len(), 1);
    let counts = server.get("/api/v1/audit/checkpoints/latest").await;
    assert!(!counts.text().contains(DAVE));
}

#[tokio::test]
async fn once_the_way_is_free_the_mail_goes_out_once_and_health_is_well_again() {
    let server = Server::with(Engine::Sqlite, &NOBODY).await;
    server.request_code(DAVE).await.json(202);
    server.app.deliver_mails().await.unwrap();
    let server = server.restart(&[]).await.unwrap();
    assert!(server.mails().await.is_empty(), "its next try has not come");
    server.advance(61);
    let (status, _) = health(&server).await;
    assert_eq!(status, "degraded", "it waits for longer than a minute");
    let told = server.get("/health").anonymous().await.json(200);
    assert_eq!(
        told["details"]["mail"],
        "A mail has been waiting for more than a minute."
    );
    let mails = server.mails().await;
    assert_eq!(mails.len(), 1);
    assert!(server.mails().await.is_empty());
    assert_eq!(health(&server).await, (json!("ok"), json!("ok")));
    let told = server.get("/health").anonymous().await.json(200);
    assert_eq!(told.get("details"), None);
    let code = mails[0].code.as_str();
    server.try_code(DAVE, code).await.json(200);
}

#[tokio::test]
async fn a_mail_to_an_erased_user_is_not_sent() {
    let server = Server::start(Engine::Sqlite).await;
    server.request_code(DAVE).await.json(202);
    let path = "/api/v1/users/email:dave@example.com";
    server.delete(path).await.json(200);
    assert!(server.mails().await.is_empty());
}
