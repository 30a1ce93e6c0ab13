//! The real router over a real application on SQLite: what every answer carries, and each envelope of the contract.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use app::{App, Room};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use domain::{Policies, Policy, Time};
use serde_json::{Value, json};
use store::{Access, Store, Target};
use tower::ServiceExt;
use vault::MasterSecret;
use zeroize::Zeroizing;

use crate::Settings;
use crate::transport::{Peer, TransportStats};

const KEY: &str = "the-key-of-the-environment-is-long-enough";

struct Clock(AtomicI64);

impl store::Clock for Clock {
    fn now(&self) -> Time {
        Time::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// Different bytes each time, the same in each run.
#[derive(Default)]
struct Random(AtomicU64);

impl vault::Random for Random {
    fn fill(&self, buffer: &mut [u8]) {
        for byte in buffer {
            let number = self.0.fetch_add(1, Ordering::Relaxed);
            *byte = (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
        }
    }
}

struct Service {
    router: Router,
    app: Arc<App>,
    clock: Arc<Clock>,
    _folder: tempfile::TempDir,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

fn app_settings(debug: bool) -> app::Settings {
    let mut policies = Policies::default();
    let strict = Policy {
        digits: app::Digits::new(8).unwrap(),
        period: 60,
        window: 2,
        ..Policy::default()
    };
    policies.named.insert("strict".into(), strict);
    app::Settings {
        policies,
        issuer: "otpd".into(),
        max_devices_per_user: 1000,
        pending: Duration::from_secs(3600),
        production: false,
        debug,
        address_failures_per_minute: 5,
        key_per_second: None,
        retention: None,
        checkpoint_interval: Duration::from_secs(3600),
    }
}

impl Service {
    async fn start() -> Self {
        Self::with(true, false).await
    }

    async fn with(debug: bool, production: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(Clock(AtomicI64::new(1_800_000_000_000)));
        let settings = store::Settings {
            target: Target::Sqlite(folder.path().join("otpd.db")),
            lanes: 1,
            pool: 1,
            wait: Duration::from_secs(1),
        };
        let clock_again: Arc<dyn store::Clock> = clock.clone();
        let store = Store::open(&settings, Access::Write, clock_again)
            .await
            .unwrap();
        let secret = MasterSecret::new("m".repeat(31) + "aster-secret-for-tests").unwrap();
        let room = Room::create(&store, &secret, Arc::new(Random::default()))
            .await
            .unwrap();
        let app_settings = app::Settings {
            production,
            ..app_settings(debug)
        };
        let key = Some(Zeroizing::new(KEY.to_owned()));
        let app = App::start(app_settings, store, room, clock.clone(), key)
            .await
            .unwrap();
        let app = Arc::new(app);
        let settings = Settings {
            debug,
            production,
            trusted_proxies: Vec::new(),
        };
        let random = Random::default();
        let fill = Arc::new(move |buffer: &mut [u8]| vault::Random::fill(&random, buffer));
        let stats = Arc::new(TransportStats::default());
        Self {
            router: crate::router(Arc::clone(&app), settings, stats, fill),
            app,
            clock,
            _folder: folder,
        }
    }

    async fn send(&self, mut request: Request<Body>) -> Answer {
        let address: SocketAddr = "203.0.113.9:4711".parse().unwrap();
        request.extensions_mut().insert(Peer {
            address,
            tls: false,
        });
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        }
    }

    async fn call(&self, method: Method, path: &str, body: impl Into<Body>) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {KEY}"));
        self.send(request.body(body.into()).unwrap()).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, body.to_string()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, "").await
    }

    /// Registers a test device and returns its current code.
    async fn device(&self, name: &str) -> String {
        let body = json!({ "device_id": name, "user_id": "dave", "test": true });
        assert_eq!(
            self.post("/api/v1/devices/register", body).await.status,
            201
        );
        self.code(name).await
    }

    async fn code(&self, name: &str) -> String {
        let answer = self
            .post("/api/v1/test/otp", json!({ "device_id": name }))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["data"]["otp"].as_str().unwrap().to_owned()
    }

    async fn verify(&self, name: &str, code: &str) -> Answer {
        let body = json!({ "device_id": name, "otp": code });
        self.post("/api/v1/otp/verify", body).await
    }
}

/// Not the code, whatever it is.
fn wrong(code: &str) -> String {
    let other = if code.starts_with('0') { "1" } else { "0" };
    format!("{other}{}", &code[1..])
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer
        .headers
        .get(name)
        .map(|value| value.to_str().unwrap())
}

fn pointers(answer: &Answer) -> Vec<&str> {
    let errors = answer.body["errors"].as_array().map(Vec::as_slice);
    let errors = errors.unwrap_or_default().iter();
    errors
        .filter_map(|fault| fault["pointer"].as_str())
        .collect()
}

#[tokio::test]
async fn a_device_lives_its_life() {
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

    let code = service.code("phone").await;
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

    let shown = service.get("/api/v1/devices/phone").await;
    assert_eq!(shown.body["data"]["usage_count"], 1);
    assert_eq!(shown.body["data"].get("secret"), None);
    let listed = service
        .get("/api/v1/devices?user_id=42&status=active&limit=1")
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
    let path = "/api/v1/audit?action=LOGIN&success=yes&from=now&to=&cursor=x";
    let refused = service.get(path).await;
    assert_eq!(pointers(&refused), ["?action", "?success", "?from", "?to"]);
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
