//! Callers by JWT: tokens that other services sign with `SECRET_KEY`.

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::answer::text;
use crate::database::Engine;
use crate::harness::Server;
use crate::on_both_engines;

on_both_engines! {
    a_token_is_a_credential,
    a_token_without_good_claims_is_none,
    a_token_of_another_type_is_none,
    a_token_that_was_tampered_with_is_none,
    a_token_allows_no_more_than_the_settings,
    a_token_is_named_in_the_audit,
    an_idempotency_key_is_one_subjects,
}

const SECRET: &str = "the-shared-secret-of-these-tests-0123456789";
const VERIFY: &str = "/api/v1/otp/verify";

async fn start(engine: Engine) -> Server {
    let patient = ("OTPD_LIMITS__ADDRESS_FAILURES_PER_MINUTE", "1000000");
    Server::with(engine, &[("SECRET_KEY", SECRET), patient]).await
}

fn signed(header: &Value, claims: &Value, secret: &str) -> String {
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let text = format!("{}.{}", part(header), part(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    format!(
        "{text}.{}",
        BASE64URL_NOPAD.encode(&mac.finalize().into_bytes())
    )
}

fn header() -> Value {
    json!({ "alg": "HS256", "typ": "JWT" })
}

/// Good claims with these changed; `null` removes one.
fn claims(server: &Server, changes: Value) -> Value {
    let now = server.now().seconds();
    let mut claims = json!({
        "sub": "shop", "aud": "otpd", "iat": now, "exp": now + 300,
        "scope": "otp:verify users:read",
    });
    let members = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(members.remove(name)),
            value => drop(members.insert(name.clone(), value.clone())),
        }
    }
    claims
}

fn token(server: &Server, changes: Value) -> String {
    signed(&header(), &claims(server, changes), SECRET)
}

/// The status of a call that needs `users:read`.
async fn asked(server: &Server, credential: &str) -> u16 {
    let call = server.get("/api/v1/users/alice/2fa").key(credential);
    call.await.status
}

async fn a_token_is_a_credential(engine: Engine) {
    let server = start(engine).await;
    let device = server.device("phone", "alice").await;
    let token = token(&server, json!({}));
    let call = server.get("/api/v1/users/alice/2fa").key(&token);
    assert_eq!(call.await.json(200)["enabled"], true);
    let body = json!({ "device_id": "phone", "otp": device.code(&server) });
    let answer = server.post(VERIFY, body).key(&token).await;
    assert_eq!(answer.data(200)["valid"], true);
    // Beside it, keys go on.
    let key = server.credential(&["users:read"]).await;
    assert_eq!(asked(&server, &key).await, 200);
}

async fn a_token_without_good_claims_is_none(engine: Engine) {
    let server = start(engine).await;
    let now = server.now().seconds();
    // With a fraction, as `time.time() + 300` makes it.
    for good in [json!({}), json!({ "exp": now as f64 + 300.5 })] {
        let good = token(&server, good);
        assert_eq!(asked(&server, &good).await, 200);
    }
    let bad = [
        json!({ "exp": null }),
        json!({ "exp": (now + 300).to_string() }),
        json!({ "exp": now - 1 }),
        json!({ "exp": now + 3700, "iat": null }),
        json!({ "exp": now + 300, "iat": now - 3400 }),
        json!({ "iat": now + 120 }),
        json!({ "nbf": now + 120 }),
        json!({ "aud": null }),
        json!({ "aud": "shop" }),
        json!({ "aud": ["shop", "other"] }),
        json!({ "scope": ["users:read"] }),
    ];
    for changes in bad {
        let bad = token(&server, changes.clone());
        assert_eq!(asked(&server, &bad).await, 401, "{changes}");
    }
    let two = json!(["shop", "otpd"]);
    let good = token(
        &server,
        json!({ "aud": two, "iat": null, "exp": now + 3000 }),
    );
    assert_eq!(asked(&server, &good).await, 200);
}

async fn a_token_of_another_type_is_none(engine: Engine) {
    let server = start(engine).await;
    let good_claims = claims(&server, json!({}));
    for header in [
        json!({ "alg": "none" }),
        json!({ "alg": "None", "typ": "JWT" }),
        json!({ "alg": "HS512", "typ": "JWT" }),
        json!({ "alg": "EdDSA", "typ": "JWT" }),
        json!({ "alg": "HS256", "typ": "at+jwt" }),
        json!({ "alg": "HS256", "typ": "2fa+jwt" }),
        json!({ "alg": "HS256", "crit": ["exp"] }),
        json!({ "typ": "JWT" }),
    ] {
        let bad = signed(&header, &good_claims, SECRET);
        assert_eq!(asked(&server, &bad).await, 401, "{header}");
    }
}

async fn a_token_that_was_tampered_with_is_none(engine: Engine) {
    let server = start(engine).await;
    let good_claims = claims(&server, json!({}));
    let good = token(&server, json!({}));
    assert_eq!(asked(&server, &good).await, 200);
    let (text, signature) = good.rsplit_once('.').unwrap();
    let part = BASE64URL_NOPAD.encode(json!({ "alg": "none" }).to_string().as_bytes());
    let (_, body) = text.split_once('.').unwrap();
    let swapped = signed(
        &header(),
        &claims(&server, json!({ "sub": "other" })),
        SECRET,
    );
    let other_body = swapped.split('.').nth(1).unwrap();
    let head = text.split('.').next().unwrap();
    for bad in [
        format!("{text}."),
        text.to_owned(),
        format!("{part}.{body}."),
        format!("{head}.{other_body}.{signature}"),
        format!("{good}="),
        signed(
            &header(),
            &good_claims,
            "another-secret-of-32-characters-0123456789",
        ),
        signed(&header(), &good_claims, ""),
    ] {
        assert_eq!(asked(&server, &bad).await, 401, "{bad}");
    }
}

async fn a_token_allows_no_more_than_the_settings(engine: Engine) {
    let server = start(engine).await;
    let devices = json!({ "device_id": "phone", "user_id": "alice" });
    for scope in ["admin", "devices:write", "audit:read", "", "unknown"] {
        let token = token(&server, json!({ "scope": scope }));
        let answer = server.get("/api/v1/users/alice/2fa").key(&token).await;
        answer.problem(403, "insufficient_scope");
        let call = server.post("/api/v1/devices/register", devices.clone());
        call.key(&token).await.problem(403, "insufficient_scope");
        let call = server.get("/api/v1/audit").key(&token).await;
        call.problem(403, "insufficient_scope");
    }
    let bare = token(&server, json!({ "scope": null }));
    assert_eq!(
        asked(&server, &bare).await,
        403,
        "by default it allows nothing"
    );
}

async fn a_token_is_named_in_the_audit(engine: Engine) {
    let server = start(engine).await;
    let device = server.device("phone", "alice").await;
    let callers = [
        (json!("shop"), "jwt:shop"),
        (json!("a b\u{200b}c\n"), "jwt:abc"),
        (json!("x".repeat(80)), &format!("jwt:{}", "x".repeat(64))),
        (Value::Null, "jwt"),
    ];
    for (sub, caller) in callers {
        let token = token(&server, json!({ "sub": sub }));
        let body = json!({ "device_id": "phone", "otp": device.wrong(&server) });
        server.post(VERIFY, body).key(&token).await.data(200);
        let audit = server.get("/api/v1/audit?device_id=phone").await;
        assert!(!audit.text().contains(&token));
        assert_eq!(text(&audit.json(200)["data"][0], "caller"), caller);
    }
}

async fn an_idempotency_key_is_one_subjects(engine: Engine) {
    let server = start(engine).await;
    let device = server.device("phone", "alice").await;
    let body = json!({ "device_id": "phone", "otp": device.code(&server) });
    let call = |sub: &str| {
        let token = token(&server, json!({ "sub": sub }));
        let call = server.post(VERIFY, body.clone()).once("k").key(&token);
        call.into_future()
    };
    let first = call("shop").await;
    assert_eq!(first.data(200)["valid"], true);
    // A new token of the same subject is the same caller.
    let again = call("shop").await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    let other = call("other").await;
    assert_eq!(other.header("idempotent-replayed"), None);
    assert_eq!(other.data(200)["valid"], false);
}

#[tokio::test]
async fn without_a_secret_no_token_is_a_credential() {
    let server = Server::start(Engine::Sqlite).await;
    for secret in [SECRET, ""] {
        let token = signed(&header(), &claims(&server, json!({})), secret);
        assert_eq!(asked(&server, &token).await, 401);
    }
}

#[tokio::test]
async fn the_settings_say_whom_it_is_for_and_what_it_allows() {
    let variables = [
        ("SECRET_KEY", SECRET),
        ("OTPD_JWT__AUDIENCE", "codes"),
        ("OTPD_JWT__SCOPES", "audit:read,users:read"),
        ("OTPD_JWT__DEFAULT_SCOPES", "users:read"),
    ];
    let server = Server::with(Engine::Sqlite, &variables).await;
    let here = |changes: Value| {
        let mut changes = changes;
        changes["aud"] = json!("codes");
        token(&server, changes)
    };
    assert_eq!(asked(&server, &token(&server, json!({}))).await, 401);
    let bare = here(json!({ "scope": null }));
    assert_eq!(asked(&server, &bare).await, 200);
    let audit = server.get("/api/v1/audit").key(&bare).await;
    audit.problem(403, "insufficient_scope");
    let wide = here(json!({ "scope": "audit:read otp:verify" }));
    server.get("/api/v1/audit").key(&wide).await.json(200);
    let verify = server.post(VERIFY, json!({})).key(&wide).await;
    verify.problem(403, "insufficient_scope");
}

#[tokio::test]
async fn a_token_ends_at_its_time_and_is_not_remembered() {
    let server = start(Engine::Sqlite).await;
    let device = server.device("phone", "alice").await;
    let token = token(&server, json!({}));
    let body = json!({ "device_id": "phone", "otp": device.wrong(&server) });
    let verify = || server.post(VERIFY, body.clone()).key(&token).into_future();
    server.advance(299);
    assert_eq!(asked(&server, &token).await, 200);
    verify().await.data(200);
    server.advance(1);
    assert_eq!(asked(&server, &token).await, 401);
    verify().await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn bad_tokens_count_as_failures_of_their_address() {
    let few = ("OTPD_LIMITS__ADDRESS_FAILURES_PER_MINUTE", "3");
    let server = Server::with(Engine::Sqlite, &[("SECRET_KEY", SECRET), few]).await;
    let bad = token(&server, json!({ "aud": "shop" }));
    for _ in 0..3 {
        assert_eq!(asked(&server, &bad).await, 401);
    }
    assert_eq!(asked(&server, &bad).await, 429);
    let good = token(&server, json!({}));
    assert_eq!(
        asked(&server, &good).await,
        200,
        "whoever has one does not wait"
    );
}
