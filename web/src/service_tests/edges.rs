//! What holds for all answers: ids and headers, methods, bodies and parameters that cannot be used.

use super::*;

#[tokio::test]
async fn every_answer_carries_an_id_and_is_not_stored() {
    let service = Service::start().await;
    let check = async |method: Method, path: &str, status: u16| {
        let request = Request::builder()
            .method(method.clone())
            .uri(path)
            .header("x-request-id", "my-id");
        let answer = service.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(
            header(&answer, "x-request-id"),
            Some("my-id"),
            "{method} {path}"
        );
        assert_eq!(header(&answer, "x-content-type-options"), Some("nosniff"));
        assert_eq!(header(&answer, "cache-control"), Some("no-store"));
        if status >= 400 {
            let media_type = header(&answer, "content-type");
            assert_eq!(media_type, Some("application/problem+json"));
            assert_eq!(answer.body["request_id"], "my-id");
        }
    };
    check(Method::GET, "/health", 200).await;
    check(Method::GET, "/livez", 200).await;
    check(Method::GET, "/readyz", 200).await;
    check(Method::GET, "/docs", 200).await;
    check(Method::GET, "/openapi.json", 200).await;
    check(Method::GET, "/nothing", 404).await;
    check(Method::GET, "/docs/nothing", 404).await;
    check(Method::GET, "/api/v1/nothing", 404).await;
    check(Method::DELETE, "/health", 405).await;
    check(Method::PATCH, "/api/v1/devices/register", 405).await;
    check(Method::GET, "/api/v1/devices", 401).await;
}

#[tokio::test]
async fn a_wrong_method_names_the_right_ones() {
    let service = Service::start().await;
    let answer = service.call(Method::PUT, "/api/v1/keys", "").await;
    assert_eq!(answer.status, 405);
    assert_eq!(header(&answer, "allow"), Some("GET,HEAD,POST"));
    assert_eq!(answer.body["success"], false);
    assert_eq!(answer.body["message"], answer.body["detail"]);
}

#[tokio::test]
async fn bodies_that_cannot_be_read_are_told_apart() {
    let service = Service::start().await;
    let check = async |body: Vec<u8>, status: u16, code: &str| {
        let answer = service.call(Method::POST, "/api/v1/otp/verify", body).await;
        assert_eq!(
            (answer.status, &answer.body["code"]),
            (status, &json!(code))
        );
    };
    check(b"{".into(), 400, "invalid_json").await;
    check(b"".into(), 400, "invalid_json").await;
    check(b"{\"device_id\":\"\xff\"}".into(), 400, "invalid_json").await;
    check(b"[]".into(), 422, "validation_failed").await;
    check(vec![b' '; 16 * 1024 + 1], 413, "body_too_large").await;
    let twice = br#"{"device_id":"a","otp":"123456","otp":"123456"}"#;
    check(twice.into(), 422, "validation_failed").await;
    let assertion = br#"{"device_id":"a","otp":"123456","assertion":{}}"#;
    check(assertion.into(), 422, "validation_failed").await;
}

#[tokio::test]
async fn lists_and_statistics_check_their_parameters() {
    let service = Service::start().await;
    let check = async |path: &str, expected: &[&str]| {
        let answer = service.get(path).await;
        assert_eq!(
            (answer.status, pointers(&answer)),
            (422, expected.to_vec()),
            "{path}"
        );
    };
    check("/api/v1/devices?limit=0", &["?limit"]).await;
    check("/api/v1/devices?limit=1&limit=2", &["?limit"]).await;
    check(
        "/api/v1/devices?status=dead&cursor=-",
        &["?status", "?cursor"],
    )
    .await;
    check("/api/v1/devices?cursor=abc", &["?cursor"]).await;
    check("/api/v1/devices?page=1", &["?page"]).await;
    check("/api/v1/devices/a%20b", &["{device_id}"]).await;
    check("/api/v1/devices/%ff", &["{device_id}"]).await;
    check(
        "/api/v1/stats?from=yesterday&bucket=week",
        &["?from", "?bucket"],
    )
    .await;
    let stats = service.get("/api/v1/stats").await;
    assert_eq!(stats.status, 200, "{}", stats.body);
    assert_eq!(stats.body["data"]["bucket"], "hour");
}

#[tokio::test]
async fn in_production_codes_and_documents_are_hidden() {
    let service = Service::with(false, true).await;
    let code = service
        .post("/api/v1/test/otp", json!({ "device_id": "a" }))
        .await;
    assert_eq!(
        (code.status, &code.body["code"]),
        (404, &json!("not_found"))
    );
    assert_eq!(service.get("/docs").await.status, 404);
    assert_eq!(service.get("/openapi.json").await.status, 404);
    let body = json!({ "device_id": "a", "user_id": "b", "test": true });
    let refused = service.post("/api/v1/devices/register", body).await;
    assert_eq!((refused.status, pointers(&refused)), (422, vec!["/test"]));
}

#[tokio::test]
async fn the_page_loads_nothing_from_elsewhere() {
    let service = Service::start().await;
    let page = Request::get("/docs").body(Body::empty()).unwrap();
    let response = service.router.clone().oneshot(page).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let text = String::from_utf8(body.into()).unwrap();
    assert!(!text.contains("://"), "{text}");
    for file in text.split('"').filter(|word| word.starts_with("/docs/")) {
        let answer = service.get(file).await;
        assert_eq!(answer.status, 200, "{file}");
    }
}
