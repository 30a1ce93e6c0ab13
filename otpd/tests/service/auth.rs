//! Credentials: what is one, what is none, and where it may stand.

use serde_json::{Value, json};

use crate::answer::{shown, text};
use crate::database::Engine;
use crate::harness::{ADMIN, Server};
use crate::on_both_engines;

on_both_engines! {
    a_request_without_a_valid_credential_is_refused,
    a_key_holds_from_its_making_to_its_revocation,
}

/// Something that any valid credential with `devices:read` may ask.
const PATH: &str = "/api/v1/devices";

async fn a_request_without_a_valid_credential_is_refused(engine: Engine) {
    let server = Server::start(engine).await;
    let made = server.key(&["devices:read"]).await;
    let key = text(&made, "key");
    server.get(PATH).key(key).await.json(200);
    let other_secret = {
        let last = if key.ends_with('0') { '1' } else { '0' };
        format!("Bearer {}{last}", &key[..key.len() - 1])
    };
    let other_id = format!("Bearer otpd_Nonesuch_{}", key.rsplit('_').next().unwrap());
    let trailing = format!("Bearer {key} x");
    let longer = format!("Bearer {key}x");
    let upper = format!("Bearer {}", key.to_uppercase());
    let basic = format!("Basic {key}");
    let id_alone = format!("Bearer {}", text(&made, "id"));
    for value in [
        "",
        "Bearer",
        "Bearer ",
        "Bearer otpd_",
        "Bearer otpd__",
        "Bearer otpd_a_b",
        "Bearer nonsense",
        key,
        &other_secret,
        &other_id,
        &trailing,
        &longer,
        &upper,
        &basic,
        &id_alone,
    ] {
        let answer = server.get(PATH).authorization(&[value]).await;
        answer.problem(401, "unauthenticated");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{value}");
    }
    let answer = server.get(PATH).anonymous().await;
    answer.problem(401, "unauthenticated");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    assert!(!answer.text().contains(key));
}

async fn a_key_holds_from_its_making_to_its_revocation(engine: Engine) {
    let server = Server::start(engine).await;
    let made = server.key(&["devices:read", "otp:verify"]).await;
    let key = text(&made, "key").to_owned();
    let body = json!({ "device_id": "none", "otp": "123456" });
    let verify = || server.post("/api/v1/otp/verify", body.clone()).key(&key);
    // Twice, so that it is remembered.
    for _ in 0..2 {
        server.get(PATH).key(&key).await.json(200);
        verify().await.problem(404, "device_not_found");
    }
    let path = format!("/api/v1/keys/{}", text(&made, "id"));
    server.delete(&path).await.json(200);
    server
        .get(PATH)
        .key(&key)
        .await
        .problem(401, "unauthenticated");
    verify().await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn the_refusal_has_the_shape_of_every_error() {
    let server = Server::start(Engine::Sqlite).await;
    let answer = server.get(PATH).anonymous().await;
    insta::assert_json_snapshot!(shown(answer.json(401)), @r#"
    {
      "code": "unauthenticated",
      "detail": "A valid credential is required.",
      "message": "A valid credential is required.",
      "request_id": "[request_id]",
      "status": 401,
      "success": false,
      "title": "Not authenticated",
      "type": "urn:otpd:error:unauthenticated"
    }
    "#);
    let narrow = server.credential(&["otp:verify"]).await;
    let answer = server.get(PATH).key(&narrow).await;
    insta::assert_json_snapshot!(shown(answer.json(403)), @r#"
    {
      "code": "insufficient_scope",
      "detail": "The credential lacks the scope devices:read.",
      "message": "The credential lacks the scope devices:read.",
      "request_id": "[request_id]",
      "status": 403,
      "success": false,
      "title": "Not allowed",
      "type": "urn:otpd:error:insufficient_scope"
    }
    "#);
}

#[tokio::test]
async fn the_scheme_is_read_in_any_case() {
    let server = Server::start(Engine::Sqlite).await;
    let made = server.credential(&["devices:read"]).await;
    for credential in [ADMIN, &made] {
        for scheme in ["Bearer", "bearer", "BEARER"] {
            let value = format!("{scheme} {credential}");
            server.get(PATH).authorization(&[&value]).await.json(200);
        }
    }
}

#[tokio::test]
async fn two_credentials_are_none() {
    let server = Server::start(Engine::Sqlite).await;
    let bearer = format!("Bearer {ADMIN}");
    for values in [
        [bearer.as_str(), "Bearer x"],
        ["Bearer x", &bearer],
        [&bearer, &bearer],
    ] {
        let answer = server.get(PATH).authorization(&values).await;
        answer.problem(401, "unauthenticated");
    }
}

#[tokio::test]
async fn a_credential_in_the_query_is_none() {
    let server = Server::start(Engine::Sqlite).await;
    for name in ["access_token", "api_key", "token", "key", "authorization"] {
        let answer = server
            .get(&format!("{PATH}?{name}={ADMIN}"))
            .anonymous()
            .await;
        answer.problem(401, "unauthenticated");
        assert!(!answer.text().contains(ADMIN));
    }
    // Nor do other headers or cookies name a caller.
    for (name, value) in [
        ("x-api-key", ADMIN.to_owned()),
        ("cookie", format!("token={ADMIN}")),
    ] {
        let answer = server.get(PATH).anonymous().header(name, &value).await;
        answer.problem(401, "unauthenticated");
    }
}

#[tokio::test]
async fn who_is_not_known_learns_nothing_else() {
    let server = Server::start(Engine::Sqlite).await;
    server.device("phone", "alice").await;
    // Neither what exists nor what is wrong with the request.
    let faulty = json!({ "otp": "x", "unknown": 1 });
    let answer = server.post("/api/v1/otp/verify", faulty).anonymous().await;
    answer.problem(401, "unauthenticated");
    let answer = server.post_raw("/api/v1/otp/verify", "{").anonymous().await;
    answer.problem(401, "unauthenticated");
    for id in ["phone", "none"] {
        let answer = server.get(&format!("{PATH}/{id}")).anonymous().await;
        answer.problem(401, "unauthenticated");
    }
    // Nor does a caller without the right.
    let narrow = server.credential(&["stats:read"]).await;
    for body in ["{", "{}"] {
        let answer = server
            .post_raw("/api/v1/otp/verify", body)
            .key(&narrow)
            .await;
        answer.problem(403, "insufficient_scope");
    }
}

#[tokio::test]
async fn a_key_ends_at_its_time() {
    let server = Server::start(Engine::Sqlite).await;
    let body = json!({ "name": "short", "scopes": ["devices:read"], "expires_in": 60 });
    let made = server.post("/api/v1/keys", body).await.data(201);
    assert_eq!(made["expires_at"], "2027-01-15T08:01:10.000Z");
    let key = text(&made, "key").to_owned();
    server.get(PATH).key(&key).await.json(200);
    server.advance(59);
    server.get(PATH).key(&key).await.json(200);
    server.advance(1);
    server
        .get(PATH)
        .key(&key)
        .await
        .problem(401, "unauthenticated");
    let listed = server.get("/api/v1/keys").await.json(200);
    let keys = listed["data"].as_array().unwrap();
    let short = keys.iter().find(|key| key["name"] == "short").unwrap();
    assert_eq!(short["status"], "expired");
}

#[tokio::test]
async fn without_an_environment_key_its_text_is_no_credential() {
    let server = Server::with(Engine::Sqlite, &[("API_KEY", "")]).await;
    server.get(PATH).await.problem(401, "unauthenticated");
    server
        .get(PATH)
        .key("")
        .await
        .problem(401, "unauthenticated");
    let context = app::Context::local(app::Caller::Server);
    let prepare = || server.app.prepare_first_start(&context);
    let first = prepare().await.unwrap().expect("no key yet");
    let key = first.key.text().to_owned();
    let list = || server.get("/api/v1/keys").key(&key).into_future();
    list().await.problem(401, "unauthenticated");
    assert!(server.app.store_first_start(&context, first).await.unwrap());
    assert!(prepare().await.unwrap().is_none(), "given once");
    let listed = list().await.json(200);
    let keys = listed["data"].as_array().unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!(keys[0]["scopes"], json!(["admin"]));
    assert_eq!(keys[0]["expires_at"], Value::Null);
}
