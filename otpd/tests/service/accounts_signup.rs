//! `POST /signup`: an account, with a second factor in force at once or without one.

use serde_json::{Value, json};

use crate::account::{PASSWORD, texts};
use crate::answer::text;
use crate::call::together;
use crate::database::Engine;
use crate::device::Device;
use crate::harness::Server;
use crate::on_both_engines;

on_both_engines! {
    an_account_without_a_second_factor,
    an_account_with_a_second_factor_in_force_at_once,
    a_name_that_any_door_knows_is_taken,
    the_same_name_at_once_is_made_once,
    what_cannot_be_an_account_is_refused_before_anything_is_made,
}

async fn an_account_without_a_second_factor(engine: Engine) {
    let server = Server::start(engine).await;
    let made = server.sign_up("alice", false).await;
    let expected = json!({
        "message": "Signup successful", "mfa_enabled": false, "provisioning_uri": null,
        "enrollment_token": null, "recovery_codes": null,
    });
    assert_eq!(made, expected);
    let body = json!({ "username": "bob", "password": PASSWORD });
    let made = server.public("/signup", body).await;
    assert_eq!(made.header("cache-control"), Some("no-store"));
    assert_eq!(made.json(201), expected, "without unless told");
    assert_eq!(server.actions("alice").await, [("SIGNED_UP".into(), true)]);
}

async fn an_account_with_a_second_factor_in_force_at_once(engine: Engine) {
    let server = Server::start(engine).await;
    let made = server.sign_up("Alice", true).await;
    assert_eq!(made["mfa_enabled"], true);
    let codes = texts(&made["recovery_codes"]);
    assert_eq!(codes.len(), 10);
    let device = Device::from_uri(text(&made, "provisioning_uri"));
    assert_eq!(device.uri.account, "Alice", "as it was typed");
    assert!(device.uri.secret.bits() >= 160);
    // In force before any code was given.
    let waits = server.login("alice", PASSWORD).await.json(200);
    assert_eq!(waits["mfa_required"], true);
    let listed = server.get("/api/v1/devices?user_id=alice").await.json(200);
    let found = &listed["data"][0];
    assert_eq!(found["status"], "active");
    let name = text(found, "device_id");
    assert!(name.starts_with("acct-") && name.len() == 21, "{name}");
    let actions = server.actions("alice").await;
    assert!(
        actions.contains(&("MFA_ENROLLED".into(), true)),
        "{actions:?}"
    );
    assert!(actions.contains(&("SIGNED_UP".into(), true)), "{actions:?}");
}

async fn a_name_that_any_door_knows_is_taken(engine: Engine) {
    let server = Server::start(engine).await;
    server.sign_up("alice", false).await;
    server.device("phone", "Bob").await;
    for name in ["alice", "ALICE", "ａｌｉｃｅ", "bob"] {
        for enable_mfa in [false, true] {
            let body = json!({ "username": name, "password": PASSWORD, "enable_mfa": enable_mfa });
            let taken = server.public("/signup", body).await;
            let problem = taken.problem(409, "user_exists");
            assert_eq!(problem["detail"], "User already exists");
        }
    }
    let other = server.login("bob", PASSWORD).await;
    other.problem(401, "invalid_credentials");
}

async fn the_same_name_at_once_is_made_once(engine: Engine) {
    let server = Server::start(engine).await;
    let body = json!({ "username": "alice", "password": PASSWORD, "enable_mfa": true });
    let calls = (0..8).map(|_| server.public("/signup", body.clone()));
    let mut statuses: Vec<u16> = together(calls).await.iter().map(|it| it.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409, 409, 409, 409, 409]);
    let listed = server.get("/api/v1/devices?user_id=alice").await.json(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
}

async fn what_cannot_be_an_account_is_refused_before_anything_is_made(engine: Engine) {
    let server = Server::start(engine).await;
    let check = async |body: Value, faults: &[&str]| {
        let answer = server.public("/signup", body.clone()).await;
        assert_eq!(answer.faults(), faults, "{body}");
    };
    let name = "somebody";
    check(
        json!({ "username": name, "password": "short" }),
        &["/password"],
    )
    .await;
    check(
        json!({ "username": name, "password": "x".repeat(129) }),
        &["/password"],
    )
    .await;
    check(
        json!({ "username": name, "password": "password1" }),
        &["/password"],
    )
    .await;
    check(
        json!({ "username": name, "password": "SomeBody" }),
        &["/password"],
    )
    .await;
    check(
        json!({ "username": name, "password": 12_345_678 }),
        &["/password"],
    )
    .await;
    let email = "email:a@example.org";
    check(
        json!({ "username": email, "password": PASSWORD }),
        &["/username"],
    )
    .await;
    check(
        json!({ "username": "EMAIL:a", "password": PASSWORD }),
        &["/username"],
    )
    .await;
    check(
        json!({ "username": " a", "password": PASSWORD }),
        &["/username"],
    )
    .await;
    check(
        json!({ "username": 7, "password": PASSWORD }),
        &["/username"],
    )
    .await;
    check(json!({}), &["/password", "/username"]).await;
    let more = json!({ "username": name, "password": PASSWORD, "admin": true });
    check(more, &["/admin"]).await;
    assert_eq!(server.actions(name).await, []);
    server.sign_up(name, false).await;
}

#[tokio::test]
async fn a_flag_is_true_or_false() {
    let server = Server::start(Engine::Sqlite).await;
    let body = json!({ "username": "alice", "password": PASSWORD, "enable_mfa": "yes" });
    assert_eq!(
        server.public("/signup", body).await.faults(),
        ["/enable_mfa"]
    );
}

#[tokio::test]
async fn nothing_that_was_shown_once_is_stored_readably() {
    let server = Server::start(Engine::Sqlite).await;
    let person = server.person("alice").await;
    let pending = server.waiting("alice").await;
    server.session(&person).await;
    let stored = server.stored();
    let secret = |token: &str| token.split_once('.').unwrap().1.to_owned();
    let mut shown = vec![
        PASSWORD.to_owned(),
        secret(&person.enrolment),
        secret(&pending),
    ];
    shown.extend(person.recovery.iter().cloned());
    shown.extend(person.recovery.iter().map(|code| code.replace('-', "")));
    shown.push(person.device.uri.secret.to_base32().to_string());
    for text in shown {
        assert!(!stored.holds(&text), "{text}");
    }
}

#[tokio::test]
async fn an_idempotency_key_is_not_honoured_without_a_credential() {
    let server = Server::start(Engine::Sqlite).await;
    let body = json!({ "username": "alice", "password": PASSWORD, "enable_mfa": true });
    let call = || server.public("/signup", body.clone()).once("same");
    call().await.json(201);
    let again = call().await;
    assert_eq!(again.header("idempotent-replayed"), None);
    again.problem(409, "user_exists");
    // Nor with one: a stranger who saw the key must not be given the answer.
    let again = call().key(crate::harness::ADMIN).await;
    again.problem(409, "user_exists");
}

#[tokio::test]
async fn every_fault_is_told_at_once_whoever_finds_it() {
    let server = Server::start(Engine::Sqlite).await;
    let check = async |body: Value, faults: &[&str]| {
        let answer = server.public("/signup", body.clone()).await;
        assert_eq!(answer.faults(), faults, "{body}");
    };
    check(
        json!({ "username": 7, "password": "short", "enable_mfa": "yes", "admin": true }),
        &["/admin", "/enable_mfa", "/password", "/username"],
    )
    .await;
    check(
        json!({ "username": "email:a@example.org", "password": "password1" }),
        &["/password", "/username"],
    )
    .await;
}
