//! `POST /qrcode/{username}`: the QR code of a second factor, for whoever proves that it is theirs, until its first right code.

use std::process::Command;

use serde_json::{Value, json};

use crate::account::{PASSWORD, Person};
use crate::answer::{Answer, text};
use crate::database::Engine;
use crate::harness::Server;
use crate::on_both_engines;

on_both_engines! {
    it_is_shown_with_proof_until_the_first_right_code,
    without_proof_nobody_learns_anything,
    a_pending_enrolment_is_shown_until_it_is_confirmed,
    a_code_of_another_factor_confirms_nothing,
}

fn scan(picture: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("code.png");
    std::fs::write(&file, picture).unwrap();
    let output = Command::new("zbarimg")
        .args(["--raw", "--quiet"])
        .arg(&file)
        .output()
        .expect("zbarimg is needed: the package zbar-tools");
    String::from_utf8(output.stdout)
        .unwrap()
        .trim_end()
        .to_owned()
}

async fn by_token(server: &Server, name: &str, token: &str) -> Answer {
    let path = format!("/qrcode/{name}");
    server.call("POST", &path).key(token).await
}

async fn by_password(server: &Server, name: &str, password: &str) -> Answer {
    let body = json!({ "password": password });
    server.public(&format!("/qrcode/{name}"), body).await
}

async fn log_in(server: &Server, person: &Person, code: &str) {
    let token = server.waiting(&person.name).await;
    server
        .second_step(&person.name, code, &token)
        .await
        .json(200);
}

async fn it_is_shown_with_proof_until_the_first_right_code(engine: Engine) {
    let server = Server::start(engine).await;
    let person = server.person("alice").await;
    for name in ["alice", "ALICE", "%61lice"] {
        let answer = by_token(&server, name, &person.enrolment).await;
        assert_eq!(answer.status, 200, "fetching does not spend the token");
        assert_eq!(answer.header("content-type"), Some("image/png"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(scan(&answer.body), person.uri);
    }
    assert_eq!(
        scan(&by_password(&server, "alice", PASSWORD).await.body),
        person.uri
    );
    let call = server.call("POST", "/qrcode/alice").key(&person.enrolment);
    let svg = call.header("accept", "image/svg+xml").await;
    assert_eq!(svg.header("content-type"), Some("image/svg+xml"));
    assert!(svg.text().starts_with("<svg"), "{}", svg.text());

    // A wrong code confirms nothing.
    let token = server.waiting("alice").await;
    let wrong = person.device.wrong(&server);
    server
        .second_step("alice", &wrong, &token)
        .await
        .problem(401, "invalid_otp");
    assert_eq!(
        by_token(&server, "alice", &person.enrolment).await.status,
        200
    );

    log_in(&server, &person, &person.code(&server)).await;
    let over = by_password(&server, "alice", PASSWORD).await;
    let problem = over.problem(409, "mfa_not_pending");
    assert_eq!(problem["detail"], "MFA is not pending");
    let spent = by_token(&server, "alice", &person.enrolment).await;
    spent.problem(409, "mfa_not_pending");
    server.person("bob").await;
    for name in ["bob", "nobody"] {
        let other = by_token(&server, name, &person.enrolment).await;
        other.problem(401, "unauthenticated");
    }
}

async fn without_proof_nobody_learns_anything(engine: Engine) {
    let server = Server::start(engine).await;
    let alice = server.person("alice").await;
    let bob = server.person("bob").await;
    server.sign_up("carol", false).await;
    server.device("phone", "dave").await;
    let mut told: Vec<(Value, Vec<String>)> = Vec::new();
    let mut note = |answer: Answer| {
        let names = answer.header_names().map(str::to_owned).collect();
        told.push((answer.problem(401, "unauthenticated"), names));
    };
    let pending = server.waiting("alice").await;
    for name in ["alice", "carol", "dave", "nobody"] {
        let path = format!("/qrcode/{name}");
        let call = || {
            server
                .call("POST", &path)
                .anonymous()
                .header("x-request-id", "r")
        };
        note(call().await);
        let wrong = json!({ "password": "wrong password" }).to_string();
        note(call().body(wrong.into_bytes()).await);
        for token in [&bob.enrolment, &pending, "1.x", "x"] {
            if name != "bob" {
                note(call().key(token).await);
            }
        }
    }
    assert!(told.windows(2).all(|pair| pair[0] == pair[1]), "{told:?}");
    // With proof, and nothing to be shown.
    let none = by_password(&server, "carol", PASSWORD).await;
    none.problem(409, "mfa_not_pending");
    assert_eq!(
        by_token(&server, "alice", &alice.enrolment).await.status,
        200
    );
    let get = server.get("/qrcode/alice").key(&alice.enrolment).await;
    get.problem(405, "method_not_allowed");
}

async fn a_pending_enrolment_is_shown_until_it_is_confirmed(engine: Engine) {
    let server = Server::start(engine).await;
    server.sign_up("Alice", false).await;
    let session = server.plain_session("alice").await;
    let body = json!({ "password": PASSWORD });
    let made = server
        .with_token("/enable-mfa", body, &session)
        .await
        .json(201);
    let token = text(&made, "enrollment_token");
    let uri = text(&made, "provisioning_uri");
    assert_eq!(scan(&by_token(&server, "alice", token).await.body), uri);
    assert_eq!(
        scan(&by_password(&server, "alice", PASSWORD).await.body),
        uri
    );
    let device = crate::device::Device::from_uri(uri);
    assert_eq!(device.uri.account, "Alice", "as it was typed at signup");
    let code = json!({ "token": device.code(&server) });
    server
        .with_token("/enable-mfa/confirm", code, token)
        .await
        .json(200);
    by_token(&server, "alice", token)
        .await
        .problem(409, "mfa_not_pending");
    let listed = server.get("/api/v1/devices?user_id=alice").await.json(200);
    assert_eq!(listed["data"][0]["usage_count"], 1);
    assert_ne!(listed["data"][0]["last_used"], Value::Null);
    let code = json!({ "token": device.code(&server) });
    server
        .with_token("/enable-mfa/confirm", code, token)
        .await
        .problem(409, "mfa_not_pending");
    let over = by_password(&server, "alice", PASSWORD).await;
    over.problem(409, "mfa_not_pending");
}

async fn a_code_of_another_factor_confirms_nothing(engine: Engine) {
    let server = Server::start(engine).await;
    let person = server.person("alice").await;
    log_in(&server, &person, &person.recovery[0]).await;
    let other = server.device("phone", "alice").await;
    log_in(&server, &person, &other.code(&server)).await;
    let shown = by_token(&server, "alice", &person.enrolment).await;
    assert_eq!(scan(&shown.body), person.uri);
    // A code at any door proves that its owner holds the key.
    let listed = server.get("/api/v1/devices?user_id=alice").await.json(200);
    let devices = listed["data"].as_array().unwrap().iter();
    let name = devices
        .map(|it| text(it, "device_id"))
        .find(|it| it.starts_with("acct-"));
    let body = json!({ "device_id": name.unwrap(), "otp": person.code(&server) });
    server.post("/api/v1/otp/verify", body).await.data(200);
    let over = by_token(&server, "alice", &person.enrolment).await;
    over.problem(409, "mfa_not_pending");
}

#[tokio::test]
async fn the_token_of_a_signup_lives_for_a_day() {
    let server = Server::start(Engine::Sqlite).await;
    let person = server.person("alice").await;
    server.advance(86_399);
    assert_eq!(
        by_token(&server, "alice", &person.enrolment).await.status,
        200
    );
    server.advance(1);
    let over = by_token(&server, "alice", &person.enrolment).await;
    over.problem(401, "unauthenticated");
    assert_eq!(by_password(&server, "alice", PASSWORD).await.status, 200);
}
