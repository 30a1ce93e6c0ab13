//! Limits per network address: who guesses credentials has to wait, who has one does not.

use serde_json::json;

use crate::answer::text;
use crate::database::Engine;
use crate::harness::{ADMIN, Server};

const PATH: &str = "/api/v1/devices";
const FIVE: (&str, &str) = ("OTPD_LIMITS__ADDRESS_FAILURES_PER_MINUTE", "5");

/// Uses up the failures of that address; the next one would have to wait.
async fn fail_from(server: &Server, address: &str) {
    for _ in 0..5 {
        let answer = server.get(PATH).from(address).key("nonsense").await;
        answer.problem(401, "unauthenticated");
    }
}

async fn is_limited(server: &Server, address: &str) -> bool {
    let answer = server.get(PATH).from(address).key("nonsense").await;
    match answer.status {
        401 => false,
        429 => {
            answer.problem(429, "rate_limited");
            let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=60).contains(&wait), "{wait}");
            true
        }
        other => panic!("{other}: {}", answer.text()),
    }
}

#[tokio::test]
async fn failures_of_an_address_are_limited_and_refilled_by_time() {
    let server = Server::with(Engine::Sqlite, &[FIVE]).await;
    fail_from(&server, "192.0.2.1").await;
    let answer = server.get(PATH).from("192.0.2.1").key("nonsense").await;
    answer.problem(429, "rate_limited");
    // Five a minute: the next one after twelve seconds.
    assert_eq!(answer.header("retry-after"), Some("12"));
    assert!(!is_limited(&server, "192.0.2.2").await, "another address");
    server.advance(11);
    assert!(is_limited(&server, "192.0.2.1").await);
    server.advance(1);
    assert!(!is_limited(&server, "192.0.2.1").await);
    assert!(is_limited(&server, "192.0.2.1").await);
    server.advance(60);
    fail_from(&server, "192.0.2.1").await;
    assert!(is_limited(&server, "192.0.2.1").await);
}

#[tokio::test]
async fn a_missing_credential_is_a_failure_too_and_a_public_page_is_none() {
    let server = Server::with(Engine::Sqlite, &[FIVE]).await;
    for _ in 0..20 {
        server.get("/health").anonymous().await.json(200);
    }
    for _ in 0..5 {
        server
            .get(PATH)
            .anonymous()
            .await
            .problem(401, "unauthenticated");
    }
    server
        .get(PATH)
        .anonymous()
        .await
        .problem(429, "rate_limited");
    server.get("/health").anonymous().await.json(200);
}

#[tokio::test]
async fn a_good_credential_works_from_a_limited_address() {
    let server = Server::with(Engine::Sqlite, &[FIVE]).await;
    let known = server.credential(&["devices:read"]).await;
    let fresh = server.credential(&["devices:read"]).await;
    server.get(PATH).key(&known).await.json(200);
    server.sign_up("alice", false).await;
    let session = server.plain_session("alice").await;
    fail_from(&server, "192.0.2.1").await;
    assert!(is_limited(&server, "192.0.2.1").await);
    // One never seen before as well: who has a credential does not wait for who has none.
    for key in [known.as_str(), ADMIN, &fresh] {
        server.get(PATH).from("192.0.2.1").key(key).await.json(200);
    }
    let logout = || {
        let call = server.post("/auth/logout", json!({}));
        call.from("192.0.2.1").key(&session)
    };
    logout().await.json(200);
    logout().await.problem(429, "rate_limited");
}

#[tokio::test]
async fn a_revoked_key_is_limited_again() {
    let server = Server::with(Engine::Sqlite, &[FIVE]).await;
    let made = server.key(&["devices:read"]).await;
    let key = text(&made, "key").to_owned();
    server.get(PATH).key(&key).await.json(200);
    let path = format!("/api/v1/keys/{}", text(&made, "id"));
    server.delete(&path).await.json(200);
    fail_from(&server, "192.0.2.1").await;
    let answer = server.get(PATH).from("192.0.2.1").key(&key).await;
    answer.problem(429, "rate_limited");
}

#[tokio::test]
async fn what_a_caller_may_not_do_is_no_failure_of_its_address() {
    let server = Server::with(Engine::Sqlite, &[FIVE]).await;
    let narrow = server.credential(&["otp:verify"]).await;
    for _ in 0..10 {
        let answer = server.get(PATH).from("192.0.2.1").key(&narrow).await;
        answer.problem(403, "insufficient_scope");
    }
    assert!(!is_limited(&server, "192.0.2.1").await);
}

#[tokio::test]
async fn an_ipv6_network_is_one_address() {
    let server = Server::with(Engine::Sqlite, &[FIVE]).await;
    for last in 1..=5 {
        let answer = server
            .get(PATH)
            .from(&format!("2001:db8:0:7::{last}"))
            .anonymous()
            .await;
        answer.problem(401, "unauthenticated");
    }
    assert!(is_limited(&server, "2001:db8:0:7:ffff:ffff:ffff:ffff").await);
    assert!(!is_limited(&server, "2001:db8:0:8::1").await);
    // An IPv4 address in IPv6 clothes is an IPv4 address, not the one network of them all.
    fail_from(&server, "::ffff:192.0.2.1").await;
    assert!(is_limited(&server, "192.0.2.1").await);
    assert!(!is_limited(&server, "::ffff:192.0.2.2").await);
}

#[tokio::test]
async fn forwarding_headers_are_believed_from_trusted_proxies_only() {
    let trusted = [FIVE, ("TRUSTED_PROXIES", "10.0.0.0/8,2001:db8:f::/48")];
    let server = Server::with(Engine::Sqlite, &trusted).await;
    let ask = |peer: &str, forwarded: &str| {
        let call = server.get(PATH).from(peer).anonymous();
        call.header("x-forwarded-for", forwarded)
    };
    // A stranger's headers change nothing: still one address.
    for number in 0..5 {
        let answer = ask("192.0.2.1", &format!("198.51.100.{number}")).await;
        answer.problem(401, "unauthenticated");
    }
    ask("192.0.2.1", "198.51.100.77")
        .await
        .problem(429, "rate_limited");
    assert!(!is_limited(&server, "198.51.100.1").await);
    // Behind a proxy each client counts for itself, by its right-most untrusted hop.
    for number in 0..5 {
        let chain = format!("203.0.113.{number}, 198.51.100.9, 10.9.9.9");
        ask("10.1.2.3", &chain)
            .await
            .problem(401, "unauthenticated");
    }
    ask("10.1.2.3", "198.51.100.9")
        .await
        .problem(429, "rate_limited");
    ask("2001:db8:f::1", "198.51.100.9")
        .await
        .problem(429, "rate_limited");
    ask("10.1.2.3", "198.51.100.10")
        .await
        .problem(401, "unauthenticated");
    assert!(
        is_limited(&server, "198.51.100.9").await,
        "the same client, directly"
    );
}

#[tokio::test]
async fn without_trusted_proxies_nobody_is_believed() {
    let server = Server::with(Engine::Sqlite, &[FIVE]).await;
    for number in 0..5 {
        let call = server.get(PATH).from("127.0.0.1").anonymous();
        let call = call.header("x-forwarded-for", &format!("198.51.100.{number}"));
        let call = call.header("forwarded", &format!("for=198.51.100.{number}"));
        call.header("x-real-ip", "198.51.100.1")
            .await
            .problem(401, "unauthenticated");
    }
    assert!(is_limited(&server, "127.0.0.1").await);
}

#[tokio::test]
async fn each_key_may_be_limited_too() {
    let server = Server::with(Engine::Sqlite, &[("OTPD_LIMITS__KEY_PER_SECOND", "3")]).await;
    let device = server.device("phone", "alice").await;
    server.advance(10);
    let key = server.credential(&["otp:verify"]).await;
    let other = server.credential(&["otp:verify"]).await;
    server.advance(10);
    let verify = |key: &str| {
        let body = json!({ "device_id": "phone", "otp": device.wrong(&server) });
        server.post("/api/v1/otp/verify", body).key(key)
    };
    for _ in 0..3 {
        verify(&key).await.json(200);
    }
    let answer = verify(&key).await;
    answer.problem(429, "rate_limited");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(
        server.look("phone").await["failed_attempts"],
        3,
        "nothing was judged"
    );
    verify(&other).await.json(200);
    server.advance(1);
    verify(&key).await.json(200);
}
