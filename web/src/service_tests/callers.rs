//! Credentials, scopes, limits, and requests that are sent twice.

use super::*;

#[tokio::test]
async fn a_credential_is_asked_for_and_failures_are_limited() {
    let service = Service::start().await;
    let ask = async |credential: &str| {
        let request = Request::get("/api/v1/devices").header("authorization", credential);
        service.send(request.body(Body::empty()).unwrap()).await
    };
    let refused = ask("Bearer otpd_x_y").await;
    assert_eq!(refused.status, 401);
    assert_eq!(header(&refused, "www-authenticate"), Some("Bearer"));
    for _ in 0..4 {
        assert_eq!(ask("Basic x").await.status, 401);
    }
    let limited = ask("Bearer wrong").await;
    assert_eq!(limited.status, 429);
    assert!(header(&limited, "retry-after").is_some());
    // Who is known is let through all the same.
    assert_eq!(ask(&format!("Bearer {KEY}")).await.status, 200);
}

#[tokio::test]
async fn a_key_may_do_what_its_scopes_say() {
    let service = Service::start().await;
    let body = json!({ "name": "reader", "scopes": "devices:read keys:write" });
    let made = service.post("/api/v1/keys", body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let key = made.body["data"]["key"].as_str().unwrap().to_owned();
    let id = made.body["data"]["id"].as_str().unwrap();
    let ask = async |method: Method, path: &str, body: &str| {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {key}"));
        service
            .send(request.body(Body::from(body.to_owned())).unwrap())
            .await
    };
    assert_eq!(ask(Method::GET, "/api/v1/devices", "").await.status, 200);
    let refused = ask(Method::GET, "/metrics", "").await;
    assert_eq!(
        (refused.status, &refused.body["code"]),
        (403, &json!("insufficient_scope"))
    );
    assert_eq!(refused.body.get("success"), None);
    let wide = r#"{"name":"x","scopes":["otp:verify"]}"#;
    let wide = ask(Method::POST, "/api/v1/keys", wide).await;
    assert_eq!(
        (wide.status, &wide.body["code"]),
        (403, &json!("scope_too_wide"))
    );
    let listed = service.get("/api/v1/keys").await;
    assert_eq!(listed.body["data"][0]["id"], "env");
    assert_eq!(listed.body["data"][1]["id"], id);
    let revoked = service
        .call(Method::DELETE, &format!("/api/v1/keys/{id}"), "")
        .await;
    assert_eq!(revoked.body["data"]["revoked"], true);
    assert_eq!(ask(Method::GET, "/api/v1/devices", "").await.status, 401);
    let unknown = service.call(Method::DELETE, "/api/v1/keys/zzz", "").await;
    assert_eq!(unknown.status, 404);
}

#[tokio::test]
async fn a_repeated_request_gets_its_first_answer() {
    let service = Service::start().await;
    let send = async |path: &str, key: &str, body: Value| {
        let request = Request::post(path)
            .header("authorization", format!("Bearer {KEY}"))
            .header("idempotency-key", key);
        service
            .send(request.body(Body::from(body.to_string())).unwrap())
            .await
    };
    let path = "/api/v1/devices/register";
    let body = json!({ "device_id": "a", "user_id": "b", "test": true });
    let first = send(path, "k1", body.clone()).await;
    let second = send(path, "k1", body.clone()).await;
    assert_eq!((first.status, second.status), (201, 201));
    assert_eq!(first.body, second.body);
    assert_eq!(header(&first, "idempotent-replayed"), None);
    assert_eq!(header(&second, "idempotent-replayed"), Some("true"));
    let other = json!({ "device_id": "c", "user_id": "b" });
    let reused = send(path, "k1", other).await;
    assert_eq!(
        (reused.status, &reused.body["code"]),
        (422, &json!("idempotency_key_reused"))
    );
    let taken = send(path, "k2", body.clone()).await;
    let taken_again = send(path, "k2", body).await;
    assert_eq!((taken.status, taken_again.status), (409, 409));
    assert_eq!(header(&taken_again, "idempotent-replayed"), Some("true"));

    let code = service.code("a").await;
    let verify = json!({ "device_id": "a", "otp": code });
    let first = send("/api/v1/otp/verify", "k3", verify.clone()).await;
    let second = send("/api/v1/otp/verify", "k3", verify).await;
    assert_eq!(first.body["data"].get("replayed"), None);
    assert_eq!(second.body["data"]["valid"], true);
    assert_eq!(second.body["data"]["replayed"], true);
    assert_eq!(header(&second, "idempotent-replayed"), Some("true"));
    let unknown = json!({ "device_id": "nobody", "otp": "123456" });
    let first = send("/api/v1/otp/verify", "k4", unknown.clone()).await;
    let second = send("/api/v1/otp/verify", "k4", unknown).await;
    assert_eq!((first.status, second.status), (404, 404));
    assert_eq!(header(&second, "idempotent-replayed"), Some("true"));
    let bad = send(path, "é", json!({})).await;
    assert_eq!(
        pointers(&bad),
        ["Idempotency-Key:", "/device_id", "/user_id"]
    );
}
