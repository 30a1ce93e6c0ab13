//! The audit log, and whether answers have the members that the document names.

use super::*;

#[tokio::test]
async fn the_audit_log_is_searched_and_vouched_for() {
    let service = Service::start().await;
    let none = service.get("/api/v1/audit/checkpoints/latest").await;
    assert_eq!(
        (none.status, &none.body["code"]),
        (404, &json!("no_checkpoint"))
    );
    let code = service.device("phone").await;
    service.verify("phone", &code).await;
    let path = "/api/v1/audit?device_id=phone&action=OTP_VERIFICATION&success=true&user_id=DAVE";
    let found = service.get(path).await;
    let entry = &found.body["data"][0];
    assert_eq!(
        found.body["data"].as_array().map(Vec::len),
        Some(1),
        "{}",
        found.body
    );
    assert_eq!(entry["caller"], "env");
    assert_eq!(entry["ip_address"], "203.0.113.9");
    assert_eq!(entry["user_id"], "dave");
    let first = service.get("/api/v1/audit?limit=1").await;
    let cursor = first.body["next_cursor"].as_str().unwrap();
    let second = service
        .get(&format!("/api/v1/audit?limit=1&cursor={cursor}"))
        .await;
    assert_ne!(first.body["data"][0]["id"], second.body["data"][0]["id"]);
    let path = "/api/v1/audit?action=NONSENSE&success=yes&from=now&to=&cursor=x";
    let refused = service.get(path).await;
    let expected = ["?action", "?success", "?from", "?to", "?cursor"];
    assert_eq!(pointers(&refused), expected);
    assert_eq!(
        pointers(&service.get("/api/v1/audit?cursor=x").await),
        ["?cursor"]
    );
    let made = service
        .call(Method::POST, "/api/v1/audit/checkpoints", "")
        .await;
    assert_eq!(made.status, 201, "{}", made.body);
    let latest = service.get("/api/v1/audit/checkpoints/latest").await;
    assert_eq!(latest.body, made.body);
}

/// The document says of every answer what its members are; here the answers are asked.
#[tokio::test]
async fn answers_have_the_members_that_the_document_names() {
    let service = Service::start().await;
    let document = serde_json::to_value(crate::openapi()).unwrap();
    let check = |shape: &str, value: &Value| {
        let shape = &document["components"]["schemas"][shape];
        let mut named: Vec<&String> = shape["properties"].as_object().unwrap().keys().collect();
        let required = shape["required"].as_array().unwrap();
        named.retain(|name| required.contains(&json!(name)));
        let given: Vec<&String> = value.as_object().unwrap().keys().collect();
        assert_eq!(given, named);
    };
    let body = json!({ "device_id": "a", "user_id": "b", "test": true });
    let made = service.post("/api/v1/devices/register", body).await;
    check("Registered", &made.body["data"]);
    let code = service
        .post("/api/v1/test/otp", json!({ "device_id": "a" }))
        .await;
    check("TestCode", &code.body["data"]);
    check(
        "Device",
        &service.get("/api/v1/devices/a").await.body["data"],
    );
    check(
        "Verification",
        &service.verify("a", "123456").await.body["data"],
    );
    let stats = service.get("/api/v1/stats").await;
    check("Stats", &stats.body["data"]);
    let asked = json!({ "device_id": "a", "otp": "123456" });
    let explained = service.post("/api/v1/otp/explain", asked).await;
    check("Explanation", &explained.body["data"]);
    let codes = json!({ "otp": ["123456", "654321"] });
    let resync = service.post("/api/v1/devices/a/resync", codes).await;
    check("Resynchronisation", &resync.body["data"]);
    check(
        "AuditEntry",
        &service.get("/api/v1/audit").await.body["data"][0],
    );
    let checkpoint = service
        .call(Method::POST, "/api/v1/audit/checkpoints", "")
        .await;
    check("Checkpoint", &checkpoint.body);
    let key = json!({ "name": "k", "scopes": ["admin"] });
    let key = service.post("/api/v1/keys", key).await;
    check("MadeKey", &key.body["data"]);
    check("Key", &service.get("/api/v1/keys").await.body["data"][1]);
    let path = format!("/api/v1/keys/{}", key.body["data"]["id"].as_str().unwrap());
    check(
        "RevokedKey",
        &service.call(Method::DELETE, &path, "").await.body["data"],
    );
    let ended = service
        .call(Method::POST, "/api/v1/devices/a/deactivate", "")
        .await;
    check("Deactivated", &ended.body["data"]);
    let deleted = service.call(Method::DELETE, "/api/v1/devices/a", "").await;
    check("Deleted", &deleted.body["data"]);
    service.app.close().await;
}
