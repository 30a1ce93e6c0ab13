//! The real router over a real application on SQLite, asked without a socket.

mod callers;
mod devices;
mod edges;
mod operation;

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
        issued: Duration::from_secs(300),
        production: false,
        debug,
        address_failures_per_minute: 5,
        key_per_second: None,
        retention: None,
        stats_retention: None,
        public_url: "https://otp.example".into(),
        session_seconds: 900,
        signing_key_age: Duration::from_secs(86_400),
        checkpoint_interval: Duration::from_secs(3600),
        mail: app::mail::MailSettings::into_folder("outbox".into()),
        jwt: app::JwtRules::default(),
        public: app::PublicLimits::default(),
        accounts: app::AccountSettings::default(),
        password_cost: app::PasswordCost::Test,
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
        let app = App::start(app_settings, store, room, clock.clone(), key, None)
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
