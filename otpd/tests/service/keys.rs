//! `/api/v1/keys`: API keys are made, listed and revoked, and never widen what their maker may do.

use serde_json::{Value, json};

use crate::answer::{shown, text};
use crate::database::Engine;
use crate::harness::{ADMIN, Server};
use crate::on_both_engines;

on_both_engines! {
    a_key_is_made_and_shown_once,
    a_key_is_listed_without_its_secret,
    a_key_makes_no_key_that_may_do_more,
    a_key_makes_no_key_that_outlives_it,
    a_key_revokes_no_key_that_may_do_more,
    a_revocation_is_final_and_may_be_repeated,
}

const KEYS: &str = "/api/v1/keys";

async fn a_key_is_made_and_shown_once(engine: Engine) {
    let server = Server::start(engine).await;
    let body =
        json!({ "name": "Shop", "scopes": ["otp:verify", "devices:read"], "expires_in": 86400 });
    let answer = server.post(KEYS, body).await;
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let mut json = answer.json(201);
    let made = json["data"].clone();
    let (id, key) = (text(&made, "id"), text(&made, "key"));
    let parts: Vec<&str> = key.splitn(3, '_').collect();
    assert_eq!(parts[..2], ["otpd", id]);
    assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{id}");
    // 256 random bits in whatever alphabet need 43 characters at least.
    assert!(parts[2].len() >= 43, "{}", parts[2].len());
    json["data"]["id"] = json!("[id]");
    insta::allow_duplicates! {
        insta::assert_json_snapshot!(shown(json), @r#"
        {
          "data": {
            "created_at": "[created_at]",
            "expires_at": "[expires_at]",
            "id": "[id]",
            "key": "[key]",
            "name": "Shop",
            "scopes": [
              "devices:read",
              "otp:verify"
            ]
          },
          "message": "API key made successfully",
          "success": true
        }
        "#);
    }
    let listed = server.get(KEYS).await.text();
    assert!(!listed.contains(parts[2]), "the secret is listed");
}

async fn a_key_is_listed_without_its_secret(engine: Engine) {
    let server = Server::start(engine).await;
    let made = server.key(&["otp:verify", "devices:read"]).await;
    let listed = server.get(KEYS).await.json(200);
    let keys = listed["data"].as_array().unwrap();
    let mine = keys.iter().find(|key| key["id"] == made["id"]);
    let mut mine = mine.unwrap().clone();
    mine["id"] = json!("[id]");
    insta::allow_duplicates! {
        insta::assert_json_snapshot!(shown(mine), @r#"
        {
          "created_at": "[created_at]",
          "created_by": "env",
          "expires_at": null,
          "id": "[id]",
          "name": "a test's",
          "revoked_at": null,
          "scopes": [
            "devices:read",
            "otp:verify"
          ],
          "status": "active"
        }
        "#);
    }
}

async fn a_key_makes_no_key_that_may_do_more(engine: Engine) {
    let server = Server::start(engine).await;
    let maker = server.credential(&["keys:write", "otp:verify"]).await;
    let make = async |scopes: Value| {
        let body = json!({ "name": "x", "scopes": scopes });
        server.post(KEYS, body).key(&maker).await
    };
    for scopes in [
        json!(["devices:read"]),
        json!(["otp:verify", "devices:read"]),
        json!(["admin"]),
    ] {
        make(scopes).await.problem(403, "scope_too_wide");
    }
    let made = make(json!(["otp:verify"])).await.data(201);
    let key = text(&made, "key").to_owned();
    let body = json!({ "device_id": "none", "otp": "123456" });
    let verify = server.post("/api/v1/otp/verify", body).key(&key).await;
    verify.problem(404, "device_not_found");
    let again = json!({ "name": "x", "scopes": ["otp:verify"] });
    let again = server.post(KEYS, again).key(&key).await;
    again.problem(403, "insufficient_scope");
    make(json!(["keys:write", "otp:verify"])).await.data(201);
    let all = server.credential(&["admin"]).await;
    let body = json!({ "name": "x", "scopes": ["admin"] });
    server.post(KEYS, body).key(&all).await.data(201);
}

async fn a_key_makes_no_key_that_outlives_it(engine: Engine) {
    let server = Server::start(engine).await;
    let body = json!({ "name": "x", "scopes": ["admin"], "expires_in": 3600 });
    let maker = server.post(KEYS, body).await.data(201);
    let maker = text(&maker, "key").to_owned();
    let make = async |expires_in: Option<u32>, maker: &str| {
        let mut body = json!({ "name": "x", "scopes": ["admin"] });
        if let Some(seconds) = expires_in {
            body["expires_in"] = json!(seconds);
        }
        server.post(KEYS, body).key(maker).await
    };
    for expires_in in [None, Some(7200)] {
        let refused = make(expires_in, &maker).await;
        assert_eq!(refused.faults(), ["/expires_in"], "{expires_in:?}");
    }
    make(Some(1800), &maker).await.data(201);
    let lasting = server.credential(&["admin"]).await;
    make(None, &lasting).await.data(201);
}

async fn a_key_revokes_no_key_that_may_do_more(engine: Engine) {
    let server = Server::start(engine).await;
    let narrow = server.credential(&["keys:write", "otp:verify"]).await;
    let revoke = async |scopes: &[&str], by: &str| {
        let made = server.key(scopes).await;
        let path = format!("{KEYS}/{}", text(&made, "id"));
        server.delete(&path).key(by).await
    };
    for scopes in [&["admin"][..], &["otp:verify", "devices:read"]] {
        let refused = revoke(scopes, &narrow).await;
        refused.problem(403, "scope_too_wide");
    }
    revoke(&["otp:verify"], &narrow).await.json(200);
    let all = server.credential(&["admin"]).await;
    revoke(&["admin"], &all).await.json(200);
}

async fn a_revocation_is_final_and_may_be_repeated(engine: Engine) {
    let server = Server::start(engine).await;
    let made = server.key(&["admin"]).await;
    let path = format!("{KEYS}/{}", text(&made, "id"));
    let first = server.delete(&path).await;
    first.json(200);
    let again = server.delete(&path).await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    let listed = server.get(KEYS).await.json(200);
    let keys = listed["data"].as_array().unwrap();
    let mine = keys.iter().find(|key| key["id"] == made["id"]).unwrap();
    assert_eq!(mine["status"], "revoked");
    assert_ne!(mine["revoked_at"], Value::Null);
    server
        .delete(&format!("{KEYS}/Nonesuch"))
        .await
        .problem(404, "key_not_found");
}

#[tokio::test]
async fn the_key_of_the_environment_is_listed_and_stays() {
    let server = Server::start(Engine::Sqlite).await;
    let listed = server.get(KEYS).await;
    assert!(!listed.text().contains(ADMIN));
    insta::assert_json_snapshot!(listed.json(200), @r#"
    {
      "data": [
        {
          "created_at": null,
          "created_by": "env",
          "expires_at": null,
          "id": "env",
          "name": "API_KEY of the environment",
          "revoked_at": null,
          "scopes": [
            "admin"
          ],
          "status": "env"
        }
      ],
      "next_cursor": null
    }
    "#);
    let answer = server.delete(&format!("{KEYS}/env")).await;
    assert!((400..500).contains(&answer.status), "{}", answer.text());
    server.get(KEYS).await.json(200);
}

#[tokio::test]
async fn a_key_may_revoke_itself() {
    let server = Server::start(Engine::Sqlite).await;
    let made = server.key(&["keys:write"]).await;
    let key = text(&made, "key").to_owned();
    let path = format!("{KEYS}/{}", text(&made, "id"));
    server.delete(&path).key(&key).await.json(200);
    server
        .get(KEYS)
        .key(&key)
        .await
        .problem(401, "unauthenticated");
}

#[tokio::test]
async fn keys_are_listed_in_pages() {
    let server = Server::start(Engine::Sqlite).await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(text(&server.key(&["otp:verify"]).await, "id").to_owned());
    }
    made.sort();
    for limit in 1..=4 {
        let mut seen = Vec::new();
        let mut path = format!("{KEYS}?limit={limit}");
        loop {
            let page = server.get(&path).await.json(200);
            let keys = page["data"].as_array().unwrap();
            assert!((1..=limit).contains(&keys.len()), "{page}");
            seen.extend(keys.iter().map(|key| text(key, "id").to_owned()));
            match page["next_cursor"].as_str() {
                Some(cursor) => path = format!("{KEYS}?limit={limit}&cursor={cursor}"),
                None => break,
            }
        }
        assert_eq!(seen[0], "env");
        assert_eq!(seen[1..], made);
    }
}

#[tokio::test]
async fn what_is_no_key_is_refused() {
    let server = Server::start(Engine::Sqlite).await;
    let check = async |body: Value, pointers: &[&str]| {
        let answer = server.post(KEYS, body.clone()).await;
        assert_eq!(answer.faults(), pointers, "{body}");
    };
    check(json!({}), &["/name", "/scopes"]).await;
    check(json!({ "name": "", "scopes": ["otp:verify"] }), &["/name"]).await;
    check(
        json!({ "name": "x".repeat(129), "scopes": ["otp:verify"] }),
        &["/name"],
    )
    .await;
    check(
        json!({ "name": "a\nb", "scopes": ["otp:verify"] }),
        &["/name"],
    )
    .await;
    for scopes in [
        json!([]),
        json!(["otp"]),
        json!(["OTP:VERIFY"]),
        json!(["otp:verify devices:read"]),
        json!("otp:verify,devices:read"),
        json!(""),
        json!([1]),
        json!({ "otp:verify": true }),
    ] {
        check(json!({ "name": "x", "scopes": scopes }), &["/scopes"]).await;
    }
    for seconds in [json!(0), json!(-1), json!(1.5), json!("60"), json!(1e12)] {
        let body = json!({ "name": "x", "scopes": ["otp:verify"], "expires_in": seconds });
        check(body, &["/expires_in"]).await;
    }
    let body = json!({ "name": "x", "scopes": ["otp:verify"], "admin": true });
    check(body, &["/admin"]).await;
    let one_text = json!({ "name": "x", "scopes": "otp:verify devices:read" });
    let made = server.post(KEYS, one_text).await.data(201);
    assert_eq!(made["scopes"], json!(["devices:read", "otp:verify"]));
}
