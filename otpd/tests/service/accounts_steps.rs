//! How a second step finds its login: by its token, by the cookie, or as old clients do; and what is no such token.

use serde_json::{Value, json};

use crate::account::PASSWORD;
use crate::accounts_login::wrong;
use crate::answer::{Answer, text};
use crate::database::Engine;
use crate::harness::Server;
use crate::on_both_engines;

on_both_engines! {
    tokens_of_other_kinds_are_no_access_tokens,
    text_that_can_be_nothing_is_refused,
    an_old_client_is_known_by_its_address_and_agent,
}

/// A client of the old contract: user name and code, no token.
async fn old(server: &Server, code: &str, peer: &str, agent: &str) -> Answer {
    let body = json!({ "username": "alice", "token": code });
    let call = server.public("/login-2fa", body).from(peer);
    call.header("user-agent", agent).await
}

async fn first(server: &Server, peer: &str, agent: &str) {
    let call = server.login("alice", PASSWORD).from(peer);
    call.header("user-agent", agent).await.json(200);
}

async fn an_old_client_is_known_by_its_address_and_agent(engine: Engine) {
    let server = Server::start(engine).await;
    let person = server.person("alice").await;
    first(&server, "192.0.2.9", "old/1").await;
    let code = person.code(&server);
    wrong(&old(&server, &code, "192.0.2.8", "old/1").await);
    wrong(&old(&server, &code, "192.0.2.9", "old/2").await);
    let forged = json!({ "username": "alice", "token": code });
    let forged = server.public("/login-2fa", forged).from("192.0.2.8");
    let forged = forged.header("user-agent", "old/1");
    wrong(&forged.header("x-forwarded-for", "192.0.2.9").await);
    old(&server, &code, "192.0.2.9", "old/1").await.json(200);
    wrong(&old(&server, &person.recovery[0], "192.0.2.9", "old/1").await);
    // Of two, nobody can tell which one is meant.
    first(&server, "192.0.2.9", "old/1").await;
    first(&server, "192.0.2.9", "old/1").await;
    wrong(&old(&server, &person.recovery[0], "192.0.2.9", "old/1").await);
}

/// Behind a proxy that nobody declared, everybody comes from the same address.
#[tokio::test]
async fn who_comes_through_an_unknown_proxy_is_known_by_no_address() {
    async fn check(through: &[(&str, &str)], by: &[(&str, &str)], found: bool) {
        const PEER: &str = "10.0.0.5";
        let server = Server::with(Engine::Sqlite, &[("TRUSTED_PROXIES", "10.0.0.6")]).await;
        let person = server.person("alice").await;
        let begin = server.login("alice", PASSWORD).from(PEER);
        let begin = through.iter().fold(begin, |it, (n, v)| it.header(n, v));
        let token = text(&begin.await.json(200), "mfa_token").to_owned();
        let body = json!({ "username": "alice", "token": person.code(&server) });
        let end = server.public("/login-2fa", body).from(PEER);
        let end = by.iter().fold(end, |it, (n, v)| it.header(n, v)).await;
        if found {
            end.json(200);
            return;
        }
        wrong(&end);
        let seen = server.get("/api/v1/users/alice").await.data(200);
        assert_eq!(seen["failed_attempts"], 0, "{through:?} {by:?}");
        let code = person.code(&server);
        server.second_step("alice", &code, &token).await.json(200);
    }
    check(&[], &[], true).await;
    for header in [
        ("forwarded", "for=192.0.2.9"),
        ("via", "1.1 proxy"),
        ("x-forwarded-for", "192.0.2.9"),
        ("x-forwarded-proto", "https"),
        ("x-real-ip", "192.0.2.9"),
    ] {
        check(&[header], &[header], false).await;
        check(&[header], &[], false).await;
        check(&[], &[header], false).await;
    }
    let (one, two) = (
        ("x-forwarded-for", "1.1.1.1"),
        ("x-forwarded-for", "2.2.2.2"),
    );
    check(&[one], &[two], false).await;
}

#[tokio::test]
async fn a_trusted_proxy_tells_old_clients_apart() {
    let server = Server::with(Engine::Sqlite, &[("TRUSTED_PROXIES", "10.0.0.5")]).await;
    let person = server.person("alice").await;
    let begin = server.login("alice", PASSWORD).from("10.0.0.5");
    begin.header("x-forwarded-for", "1.1.1.1").await.json(200);
    let body = json!({ "username": "alice", "token": person.code(&server) });
    let end = |client| {
        let call = server.public("/login-2fa", body.clone()).from("10.0.0.5");
        call.header("x-forwarded-for", client)
    };
    wrong(&end("2.2.2.2").await);
    end("1.1.1.1").await.json(200);
}

#[tokio::test]
async fn the_old_contract_is_off_in_production() {
    let server = Server::with(Engine::Sqlite, &[("ENVIRONMENT", "production")]).await;
    let person = server.person("alice").await;
    first(&server, "192.0.2.9", "old/1").await;
    wrong(&old(&server, &person.code(&server), "192.0.2.9", "old/1").await);
    server.session(&person).await;
}

#[tokio::test]
async fn a_browser_needs_nothing_but_its_cookie() {
    let server = Server::start(Engine::Sqlite).await;
    let person = server.person("alice").await;
    let peer = "127.0.0.1";
    let login = || server.login("alice", PASSWORD).from(peer);
    for (host, header, value) in [
        ("otp.example.com", "x-request-id", "r"),
        ("localhost:8004", "x-forwarded-proto", "https"),
        ("localhost:8004", "via", "1.1 proxy"),
    ] {
        let proxied = login().header("host", host).header(header, value).await;
        let set = proxied.header("set-cookie").unwrap();
        assert!(set.ends_with("; Secure"), "behind a proxy: {set}");
    }
    let waits = login().header("host", "localhost:8004").await;
    let set = waits.header("set-cookie").unwrap();
    assert!(!set.contains("Secure"), "plain HTTP on the loopback: {set}");
    let cookie = set.split(';').next().unwrap();
    let body = json!({ "username": "alice", "token": person.code(&server) });
    let other = "otpd_login=9.x; theme=dark";
    wrong(
        &server
            .public("/login-2fa", body.clone())
            .from(peer)
            .header("cookie", other)
            .await,
    );
    let done = server.public("/login-2fa", body).from(peer);
    done.header("cookie", &format!("theme=dark; {cookie}"))
        .await
        .json(200);
}

#[tokio::test]
async fn a_code_as_a_number_is_padded() {
    let server = Server::start(Engine::Sqlite).await;
    let person = server.person("alice").await;
    // Moves to a step whose code begins with a zero.
    while !person.code(&server).starts_with('0') {
        server.advance(30);
    }
    let token = server.waiting("alice").await;
    let code: u32 = person.code(&server).parse().unwrap();
    let body = json!({ "username": "alice", "token": code, "mfa_token": token });
    server.public("/login-2fa", body).await.json(200);
}

async fn tokens_of_other_kinds_are_no_access_tokens(engine: Engine) {
    let server = Server::start(engine).await;
    let person = server.person("alice").await;
    let device = server.device("phone", "alice").await;
    let body = json!({
        "device_id": "phone", "otp": device.code(&server), "assertion": { "audience": "shop" },
    });
    let verified = server.post("/api/v1/otp/verify", body).await.data(200);
    let pending = server.waiting("alice").await;
    let code = person.code(&server);
    let access = {
        let step = server.second_step("alice", &code, &pending).await.json(200);
        text(&step, "token").to_owned()
    };
    let spare = server.waiting("alice").await;
    for token in [
        text(&verified, "assertion"),
        &spare,
        &person.enrolment,
        &pending,
    ] {
        for path in ["/auth/logout", "/enable-mfa", "/recovery-codes"] {
            let body = match path {
                "/auth/logout" => json!({}),
                _ => json!({ "password": PASSWORD }),
            };
            let answer = server.with_token(path, body, token).await;
            answer.problem(401, "unauthenticated");
        }
        assert!(!server.is_active(token).await);
    }
    // Nor is an access token any of the others, or a credential of a service.
    wrong(
        &server
            .second_step("alice", &person.recovery[0], &access)
            .await,
    );
    let confirm = json!({ "token": "123456" });
    let answer = server
        .with_token("/enable-mfa/confirm", confirm, &access)
        .await;
    answer.problem(401, "unauthenticated");
    for token in [&access, &spare, &person.enrolment] {
        let answer = server.get("/api/v1/devices").key(token).await;
        answer.problem(401, "unauthenticated");
    }
    assert!(server.is_active(&access).await);
}

async fn text_that_can_be_nothing_is_refused(engine: Engine) {
    let server = Server::start(engine).await;
    server.person("alice").await;
    let token = server.waiting("alice").await;
    let check = async |value: Value| {
        let body = json!({ "username": "alice", "token": value, "mfa_token": token });
        let answer = server.public("/login-2fa", body).await;
        assert_eq!(answer.faults(), ["/token"], "{value}");
    };
    for value in [
        json!("12345"),
        json!(""),
        json!("12 456"),
        json!(1.5),
        json!(-1),
        json!(true),
    ] {
        check(value).await;
    }
    check(json!("k3f9-m2x7-q8rd-5tz")).await;
    check(json!(1_000_000)).await;
    let listed = server.get("/api/v1/devices?user_id=alice").await.json(200);
    assert_eq!(listed["data"][0]["failed_attempts"], 0);
}
