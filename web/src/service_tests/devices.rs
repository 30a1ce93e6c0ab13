//! Devices and codes: the envelopes of the contract, and every fault of a registration.

use super::*;

#[tokio::test]
async fn a_device_is_registered_once() {
    let service = Service::start().await;
    let body = json!({ "device_id": "phone", "user_id": 42, "test": true });
    let made = service.post("/api/v1/devices/register", body.clone()).await;
    assert_eq!(made.status, 201);
    assert_eq!(made.body["success"], true);
    assert_eq!(made.body["message"], "Device registered successfully");
    let data = &made.body["data"];
    assert_eq!(data["user_id"], 42);
    assert_eq!(data["status"], "active");
    assert!(
        data["provisioning_uri"]
            .as_str()
            .unwrap()
            .starts_with("otpauth://totp/")
    );
    let again = service.post("/api/v1/devices/register", body).await;
    assert_eq!(
        (again.status, &again.body["code"]),
        (409, &json!("device_exists"))
    );
}

#[tokio::test]
async fn a_code_is_accepted_once() {
    let service = Service::start().await;
    let code = service.device("phone").await;
    let right = service.verify("phone", &code).await;
    let expected = json!({
        "success": true,
        "message": "OTP verification completed",
        "data": {
            "valid": true, "reason": null, "retry_after": null,
            "attempts_remaining": right.body["data"]["attempts_remaining"], "assertion": null,
        },
    });
    assert_eq!((right.status, &right.body), (200, &expected));
    let used = service.verify("phone", &code).await;
    assert_eq!(
        (used.status, &used.body["data"]["reason"]),
        (200, &json!("rejected"))
    );
}

#[tokio::test]
async fn a_device_is_shown_listed_and_ended() {
    let service = Service::start().await;
    let code = service.device("phone").await;
    service.verify("phone", &code).await;
    let shown = service.get("/api/v1/devices/phone").await;
    assert_eq!(shown.body["data"]["usage_count"], 1);
    assert_eq!(shown.body["data"].get("secret"), None);
    let listed = service
        .get("/api/v1/devices?user_id=DAVE&status=active&limit=1")
        .await;
    assert_eq!(listed.body["data"][0]["device_id"], "phone");
    assert_eq!(listed.body["next_cursor"], Value::Null);

    let path = "/api/v1/devices/phone/deactivate";
    let ended = service.call(Method::POST, path, "").await;
    assert_eq!(ended.body["message"], "Device deactivated successfully");
    assert_eq!(ended.body["data"]["is_active"], false);
    let ended_again = service.call(Method::POST, path, "{}").await;
    assert_eq!(ended_again.body, ended.body);
    let after = service.verify("phone", &code).await;
    assert_eq!(after.body["data"]["reason"], "inactive");
    let removed = service
        .call(Method::DELETE, "/api/v1/devices/phone", "")
        .await;
    assert_eq!(removed.body["data"]["deleted"], true);
    let gone = service.verify("phone", &code).await;
    assert_eq!(
        (gone.status, &gone.body["code"]),
        (404, &json!("device_not_found"))
    );
}

#[tokio::test]
async fn a_pending_device_is_confirmed_by_its_first_code() {
    let service = Service::start().await;
    let body = json!({
        "device_id": "phone", "user_id": "dave", "test": true, "require_confirmation": true,
    });
    let made = service.post("/api/v1/devices/register", body).await;
    assert_eq!(made.body["data"]["status"], "pending");
    let code = service.code("phone").await;
    let path = "/api/v1/devices/phone/confirm";
    let missed = service.post(path, json!({ "otp": wrong(&code) })).await;
    assert_eq!(missed.body["message"], "OTP verification completed");
    assert_eq!(missed.body["data"]["valid"], false);
    let confirmed = service.post(path, json!({ "otp": code })).await;
    assert_eq!(confirmed.body["message"], "Device confirmed successfully");
    assert_eq!(confirmed.body["data"]["valid"], true);
    let again = service.post(path, json!({ "otp": code })).await;
    assert_eq!(
        (again.status, &again.body["code"]),
        (409, &json!("device_not_pending"))
    );
}

#[tokio::test]
async fn a_device_is_resynchronised_and_a_code_explained() {
    let service = Service::start().await;
    let first = service.device("phone").await;
    service.clock.0.fetch_add(30_000, Ordering::Relaxed);
    let second = service.code("phone").await;
    service.clock.0.fetch_add(90_000, Ordering::Relaxed);
    let asked = json!({ "device_id": "phone", "otp": first });
    let explained = service.post("/api/v1/otp/explain", asked).await;
    assert_eq!(
        explained.body["data"]["finding"], "valid_steps_ago",
        "{}",
        explained.body
    );
    let body = json!({ "otp": [first, second] });
    let done = service.post("/api/v1/devices/phone/resync", body).await;
    assert_eq!(done.status, 200, "{}", done.body);
    assert_eq!(done.body["data"]["resynchronised"], true, "{}", done.body);
}

#[tokio::test]
async fn registration_tells_every_fault() {
    let service = Service::start().await;
    let check = async |body: Value, expected: &[&str]| {
        let answer = service.post("/api/v1/devices/register", body.clone()).await;
        assert_eq!(answer.status, 422, "{body} {}", answer.body);
        assert_eq!(pointers(&answer), expected, "{body}");
    };
    check(json!({}), &["/device_id", "/user_id"]).await;
    let base = |name: &str, value: Value| {
        let mut body = json!({ "device_id": "a", "user_id": "b" });
        body[name] = value;
        body
    };
    check(base("kind", json!("sms")), &["/kind"]).await;
    check(base("algorithm", json!("MD5")), &["/algorithm"]).await;
    check(base("digits", json!(5)), &["/digits"]).await;
    check(base("period", json!(121)), &["/period"]).await;
    check(base("policy", json!("none")), &["/policy"]).await;
    check(base("label", json!("")), &["/label"]).await;
    check(base("issuer", json!("a:b")), &["/issuer"]).await;
    check(base("secret", json!("GEZDGNBV")), &["/secret"]).await;
    check(base("secret", json!("0189")), &["/secret"]).await;
    check(base("secret", json!("A".repeat(208))), &["/secret"]).await;
    check(base("Period", json!(30)), &["/Period"]).await;
    let hotp = json!({ "device_id": "a", "user_id": "b", "kind": "hotp", "period": 30 });
    check(hotp, &["/period"]).await;
    let strict = json!({ "device_id": "a", "user_id": "b", "policy": "strict", "digits": 6 });
    check(strict, &["/digits"]).await;
    let long = json!({ "device_id": "a", "user_id": "b", "policy": "strict", "period": 61 });
    check(long, &["/period"]).await;
    let several = json!({ "device_id": " ", "user_id": true, "digits": "6", "x": 1 });
    check(several, &["/device_id", "/user_id", "/digits", "/x"]).await;
}

#[tokio::test]
async fn a_policy_sets_digits_and_period() {
    let service = Service::start().await;
    let body = json!({ "device_id": "a", "user_id": "b", "policy": "strict" });
    let made = service.post("/api/v1/devices/register", body).await;
    assert_eq!(made.body["data"]["digits"], 8);
    assert_eq!(made.body["data"]["period"], 60);
    let verified = service.verify("a", "123456").await;
    assert_eq!((verified.status, pointers(&verified)), (422, vec!["/otp"]));
}

#[tokio::test]
async fn a_device_may_be_called_like_the_route_that_makes_it() {
    let service = Service::start().await;
    let path = "/api/v1/devices/register";
    assert_eq!(service.get(path).await.body["code"], "device_not_found");
    service.device("register").await;
    let shown = service.get(path).await;
    assert_eq!(shown.status, 200, "{}", shown.body);
    assert_eq!(shown.body["data"]["device_id"], "register");
    let removed = service.call(Method::DELETE, path, "").await;
    assert_eq!(removed.status, 200, "{}", removed.body);
    assert_eq!(service.get(path).await.body["code"], "device_not_found");
    let other = service.call(Method::PUT, path, "").await;
    assert_eq!(other.status, 405);
    assert_eq!(header(&other, "allow"), Some("POST,GET,HEAD,DELETE"));
}

#[tokio::test]
async fn a_parameter_that_is_not_utf_8_is_refused() {
    let service = Service::start().await;
    for query in ["user_id=%ff", "user_id=J%C3rgen&limit=1"] {
        let answer = service.get(&format!("/api/v1/devices?{query}")).await;
        assert_eq!(
            (answer.status, pointers(&answer)),
            (422, vec!["?"]),
            "{query}"
        );
    }
}
