//! Assertions: a stranger who knows only the published keys can check a verification.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use crate::database::Engine;
use crate::harness::Server;
use crate::on_both_engines;

on_both_engines! {
    a_stranger_checks_an_assertion_with_the_published_keys,
    nothing_but_a_right_code_is_vouched_for,
    a_repeated_request_gets_the_same_assertion,
    a_token_of_ours_is_no_credential,
    keys_are_rotated_when_others_know_the_next_one,
    assertions_are_asked_for_in_one_way,
    every_door_vouches_for_what_it_has_seen,
}

/// Checks a token as RFC 7515 says, with nothing but a key set. Header and claims.
pub(crate) fn check(token: &str, jwks: &Value) -> (Value, Value) {
    let parts: Vec<&str> = token.split('.').collect();
    let decode = |part: &str| BASE64URL_NOPAD.decode(part.as_bytes()).unwrap();
    let json = |part: &str| serde_json::from_slice::<Value>(&decode(part)).unwrap();
    let header = json(parts[0]);
    assert_eq!(header["alg"], "EdDSA");
    let keys = jwks["keys"].as_array().unwrap();
    let key = keys.iter().find(|key| key["kid"] == header["kid"]).unwrap();
    assert_eq!(
        (&key["kty"], &key["crv"]),
        (&json!("OKP"), &json!("Ed25519"))
    );
    let public = decode(key["x"].as_str().unwrap());
    let signed = format!("{}.{}", parts[0], parts[1]);
    UnparsedPublicKey::new(&ED25519, public)
        .verify(signed.as_bytes(), &decode(parts[2]))
        .unwrap();
    (header, json(parts[1]))
}

pub(crate) async fn published(server: &Server) -> Value {
    let answer = server.get("/.well-known/jwks.json").anonymous().await;
    assert_eq!(answer.headers["cache-control"], "public, max-age=300");
    answer.json(200)
}

fn asking(code: &str) -> Value {
    json!({
        "device_id": "phone",
        "otp": code,
        "assertion": { "audience": "shop", "nonce": "n-0S6_WzA2Mj" },
    })
}

async fn a_stranger_checks_an_assertion_with_the_published_keys(engine: Engine) {
    let server = Server::start(engine).await;
    let device = server.device("phone", "Alice").await;
    let body = asking(&device.code(&server));
    let answer = server.post("/api/v1/otp/verify", body).await;
    let data = answer.data(200);
    assert_eq!(data["valid"], true);
    let token = data["assertion"].as_str().unwrap();
    let (header, claims) = check(token, &published(&server).await);
    assert_eq!(header["typ"], "2fa+jwt");
    assert_eq!(claims["sub"], "alice");
    assert_eq!(claims["aud"], "shop");
    assert_eq!(claims["nonce"], "n-0S6_WzA2Mj");
    assert_eq!(claims["amr"], json!(["otp"]));
    let number = |name: &str| claims[name].as_i64().unwrap();
    assert_eq!(number("exp") - number("iat"), 300);
    assert!((server.now().seconds() - number("iat")).abs() < 60);
    assert_eq!(claims["iss"], "http://127.0.0.1:8004");
    assert!(claims["jti"].as_str().unwrap().len() >= 22);
}

async fn nothing_but_a_right_code_is_vouched_for(engine: Engine) {
    let server = Server::start(engine).await;
    let device = server.device("phone", "alice").await;
    let code = device.code(&server);
    for wrong in [device.wrong(&server), code.clone(), code] {
        let answer = server.post("/api/v1/otp/verify", asking(&wrong)).await;
        let data = answer.data(200);
        assert_eq!(data["valid"], data["assertion"].is_string());
    }
    let accepted = server.look("phone").await;
    assert_eq!(accepted["usage_count"], 1);
}

async fn a_repeated_request_gets_the_same_assertion(engine: Engine) {
    let server = Server::start(engine).await;
    let device = server.device("phone", "alice").await;
    let body = asking(&device.code(&server));
    let send = || server.post("/api/v1/otp/verify", body.clone()).once("k-1");
    let first = send().await.data(200).clone();
    let second = send().await.data(200).clone();
    assert_eq!(second["replayed"], true);
    assert_eq!(first["assertion"], second["assertion"]);
    server.delete("/api/v1/devices/phone").await;
    let gone = send().await.data(200).clone();
    assert_eq!(
        (&gone["valid"], &gone["assertion"]),
        (&json!(false), &json!(null))
    );
}

async fn a_token_of_ours_is_no_credential(engine: Engine) {
    let server = Server::start(engine).await;
    let device = server.device("phone", "alice").await;
    let body = asking(&device.code(&server));
    let answer = server.post("/api/v1/otp/verify", body).await;
    let token = answer.data(200)["assertion"].as_str().unwrap().to_owned();
    let refused = server.get("/api/v1/devices").key(&token).await;
    refused.problem(401, "unauthenticated");
    let refused = server.post("/auth/logout", json!({})).key(&token).await;
    refused.problem(401, "unauthenticated");
    let asked = server.post_raw("/auth/introspect", format!("token={token}"));
    let asked = asked
        .without("content-type")
        .header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(asked.await.json(200), json!({ "active": false }));
}

async fn keys_are_rotated_when_others_know_the_next_one(engine: Engine) {
    let server = Server::start(engine).await;
    let before = published(&server).await;
    assert_eq!(
        before["keys"].as_array().unwrap().len(),
        4,
        "active and next of two"
    );
    let young = server.post("/api/v1/signing-keys/rotate", json!({})).await;
    young.problem(409, "signing_key_too_young");
    if engine == Engine::Postgres {
        return;
    }
    let device = server.device("phone", "alice").await;
    let body = asking(&device.code(&server));
    let old = server.post("/api/v1/otp/verify", body).await;
    let old = old.data(200)["assertion"].as_str().unwrap().to_owned();
    server.advance(600);
    let rotated = server.post("/api/v1/signing-keys/rotate", json!({})).await;
    assert_eq!(rotated.data(200)["rotated"], true);
    let after = published(&server).await;
    let body = asking(&device.code(&server));
    let new = server.post("/api/v1/otp/verify", body).await;
    let new = new.data(200)["assertion"].as_str().unwrap().to_owned();
    // Known before it was used, and the old one is known after.
    let (first, _) = check(&old, &after);
    let (second, _) = check(&new, &before);
    assert_ne!(first["kid"], second["kid"]);
    assert_eq!(after["keys"].as_array().unwrap().len(), 6);
}

async fn assertions_are_asked_for_in_one_way(engine: Engine) {
    let server = Server::start(engine).await;
    let device = server.device("phone", "alice").await;
    let code = device.code(&server);
    for (wrong, pointer) in [
        (json!("shop"), "/assertion"),
        (json!({}), "/assertion/audience"),
        (json!({ "audience": "" }), "/assertion/audience"),
        (json!({ "audience": "a\nb" }), "/assertion/audience"),
        (json!({ "audience": "a", "nonce": 7 }), "/assertion/nonce"),
        (json!({ "audience": "shop", "aud": "x" }), "/assertion/aud"),
    ] {
        let body = json!({ "device_id": "phone", "otp": code, "assertion": wrong });
        let answer = server.post("/api/v1/otp/verify", body).await;
        assert_eq!(answer.faults(), [pointer], "{wrong}");
    }
    assert!(server.accepts(&device, &code).await, "nothing was spent");
}

/// The claims of the assertion in an answer without an envelope.
async fn vouched(server: &Server, path: &str, mut body: Value) -> Value {
    body["assertion"] = json!({ "audience": "shop" });
    let answer = server.post(path, body).await.json(200);
    let token = answer["assertion"].as_str().unwrap();
    check(token, &published(server).await).1
}

async fn every_door_vouches_for_what_it_has_seen(engine: Engine) {
    let server = Server::start(engine).await;
    let device = server.device("phone", "alice").await;
    let path = "/api/v1/users/alice/recovery-codes";
    let made = server.post(path, json!({})).await.data(201).clone();
    let recovery = &made["recovery_codes"][3];
    let code = device.code(&server);
    let body = json!({ "user_id": "alice", "otp_code": code });
    let claims = vouched(&server, "/otp/verify", body).await;
    assert_eq!(
        (&claims["sub"], &claims["amr"]),
        (&json!("alice"), &json!(["otp"]))
    );
    let issued = server.post("/generate?username=ALICE", json!({})).await;
    let issued = issued.json(200)["otp_code"].clone();
    let body = json!({ "username": "Alice", "otp_code": issued });
    let claims = vouched(&server, "/verify", body).await;
    assert_eq!(
        (&claims["sub"], &claims["amr"]),
        (&json!("alice"), &json!(["otc"]))
    );
    let body = json!({ "user_id": "alice", "code": recovery });
    let claims = vouched(&server, "/api/v1/recovery/verify", body).await;
    assert_eq!(claims["amr"], json!(["recovery"]));
    let wanted = json!({ "audience": "shop" });
    let body = json!({ "user_id": "alice", "otp_code": code, "assertion": wanted });
    let again = server.post("/otp/verify", body).await.json(200);
    assert_eq!(again, json!({ "status": "rejected" }));
}
