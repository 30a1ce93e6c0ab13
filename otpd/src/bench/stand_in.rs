//! A stand-in for the server, so that the driver is proven against the contract: it checks real codes and refuses a step twice.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use clap::Parser;
use otp::{Algorithm, Code, Secret, highest_match, window};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::args::BenchArgs;
use super::clock::{ServerClock, now};
use super::plan::STEP_MS;
use super::report::Report;
use super::run::measure;
use super::workers::{Signals, lock};

pub(super) const KEY: &str = "otpd_test_key";

/// How the stand-in misbehaves.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    /// Every n-th verification is answered 503.
    pub(super) busy_every: Option<u64>,
    /// Every n-th verification is judged wrong.
    pub(super) reject_every: Option<u64>,
    /// Every n-th verification is dropped with its connection.
    pub(super) drop_every: Option<u64>,
    /// Every fifth registration is answered 503 with `Retry-After: 0` at first.
    pub(super) busy_registration: bool,
    /// Each verification takes that long.
    pub(super) slow: Duration,
}

#[derive(Default)]
pub(super) struct Devices {
    pub(super) live: HashMap<String, (Secret, u64)>,
    pub(super) registered: u64,
    pub(super) deleted: u64,
    verifications: u64,
    pub(super) accepted: u64,
    pub(super) refusals: u64,
    /// Which kinds of requests came, the same in a row once.
    pub(super) turns: Vec<&'static str>,
}

impl Devices {
    fn note(&mut self, kind: &'static str) {
        if self.turns.last() != Some(&kind) {
            self.turns.push(kind);
        }
    }
}

pub(super) struct StandIn {
    address: SocketAddr,
    clock: ServerClock,
    faults: Faults,
    pub(super) devices: Mutex<Devices>,
}

impl StandIn {
    /// A server on a free port whose clock stands five seconds into a step, far from ours.
    pub(super) fn start(faults: Faults) -> Arc<Self> {
        let local = ServerClock::local();
        let into_step = i64::try_from(local.at(now()) % STEP_MS).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let server = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            clock: local.moved(-into_step - 3_600_000 + 5_000),
            faults,
            devices: Mutex::default(),
        });
        let serving = Arc::clone(&server);
        thread::spawn(move || {
            runtime.block_on(async {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(Arc::clone(&serving), stream));
                }
            });
        });
        server
    }

    fn now_ms(&self) -> u64 {
        self.clock.at(now())
    }

    /// The answer to one request, or none for a connection that is to be dropped.
    fn answer(&self, request_line: &str, authorized: bool, body: &[u8]) -> Option<(u16, Value)> {
        let (method, path) = request_line.split_once(' ').unwrap();
        let path = path.strip_suffix(" HTTP/1.1").unwrap();
        let kind = match path {
            "/livez" => "livez",
            "/api/v1/otp/verify" => "verify",
            _ => "devices",
        };
        lock(&self.devices).note(kind);
        if (method, path) == ("GET", "/livez") {
            return Some((200, json!({})));
        }
        if !authorized {
            return Some((
                401,
                json!({"code": "unauthorized", "detail": "No such key."}),
            ));
        }
        let mut devices = lock(&self.devices);
        match (method, path) {
            ("POST", "/api/v1/devices/register") => Some(self.register(&mut devices, body)),
            ("POST", "/api/v1/otp/verify") => self.verify(&mut devices, body),
            ("DELETE", _) => {
                let id = path.strip_prefix("/api/v1/devices/").unwrap();
                let known = devices.live.remove(id).is_some();
                devices.deleted += u64::from(known);
                Some((if known { 200 } else { 404 }, json!({})))
            }
            _ => Some((404, json!({"code": "not_found"}))),
        }
    }

    fn register(&self, devices: &mut Devices, body: &[u8]) -> (u16, Value) {
        let body: Value = serde_json::from_slice(body).unwrap();
        let id = body["device_id"].as_str().unwrap().to_owned();
        assert_eq!(body["user_id"], body["device_id"], "a user for each device");
        devices.registered += 1;
        if self.faults.busy_registration && devices.registered % 5 == 1 {
            return (503, json!({"code": "unavailable"}));
        }
        if devices.live.contains_key(&id) {
            return (409, json!({"code": "device_exists"}));
        }
        // A key of its own for each device is all that the checks need; it need not be a secret.
        let secret = Secret::from_bytes(id.clone().into_bytes());
        let data = json!({
            "device_id": id, "user_id": id, "secret": secret.to_base32().as_str(),
            "algorithm": "SHA1", "digits": 6, "period": 30, "status": "active",
        });
        devices.live.insert(id, (secret, 0));
        (
            201,
            json!({"success": true, "message": "Device registered successfully", "data": data}),
        )
    }

    fn verify(&self, devices: &mut Devices, body: &[u8]) -> Option<(u16, Value)> {
        devices.verifications += 1;
        let hits = |every: Option<u64>| {
            every.is_some_and(|every| devices.verifications.is_multiple_of(every))
        };
        if hits(self.faults.drop_every) {
            return None;
        }
        if hits(self.faults.busy_every) {
            return Some((503, json!({"code": "storage_unavailable"})));
        }
        let spoiled = hits(self.faults.reject_every);
        let body: Value = serde_json::from_slice(body).unwrap();
        let Some((secret, spent)) = devices.live.get_mut(body["device_id"].as_str().unwrap())
        else {
            return Some((404, json!({"code": "device_not_found"})));
        };
        let code = Code::parse(body["otp"].as_str().unwrap()).unwrap();
        let steps = window(self.now_ms() / STEP_MS, 1, 1);
        let step = highest_match(secret, Algorithm::Sha1, &code, steps)
            .filter(|step| *step > *spent && !spoiled);
        if let Some(step) = step {
            *spent = step;
            devices.accepted += 1;
        } else {
            devices.refusals += 1;
        }
        let reason = if step.is_some() {
            Value::Null
        } else {
            "rejected".into()
        };
        let data = json!({"valid": step.is_some(), "reason": reason, "retry_after": null});
        Some((
            200,
            json!({"success": true, "message": "OTP verification completed", "data": data}),
        ))
    }
}

async fn serve(server: Arc<StandIn>, mut stream: TcpStream) {
    // Answers go out in two parts, and the second must not wait for the first's acknowledgement.
    stream.set_nodelay(true).unwrap();
    let mut bytes = Vec::new();
    loop {
        let head_end = loop {
            if let Some(at) = bytes.windows(4).position(|part| part == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return;
            }
        };
        let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "));
        let total = head_end + length.map_or(0, |length| length.parse().unwrap());
        while bytes.len() < total {
            if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return;
            }
        }
        if head.starts_with("POST /api/v1/otp/verify ") {
            tokio::time::sleep(server.faults.slow).await;
        }
        let authorized = head.contains(&format!("\r\nAuthorization: Bearer {KEY}\r\n"));
        let Some((status, body)) = server.answer(
            head.lines().next().unwrap(),
            authorized,
            &bytes[head_end..total],
        ) else {
            return;
        };
        let seconds = i64::try_from(server.now_ms() / 1_000).unwrap();
        let date = jiff::Timestamp::from_second(seconds)
            .unwrap()
            .strftime("%a, %d %b %Y %H:%M:%S GMT");
        let body = body.to_string();
        let answer = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nRetry-After: 0\r\nContent-Length: {}\r\nDate: {date}\r\n\r\n{body}",
            body.len()
        );
        // In two parts, as a slow network would.
        let (first, second) = answer.as_bytes().split_at(answer.len() / 2);
        if stream.write_all(first).await.is_err() || stream.write_all(second).await.is_err() {
            return;
        }
        bytes.drain(..total);
    }
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    bench: BenchArgs,
}

pub(super) fn bench(server: &StandIn, key: &str, words: &str) -> anyhow::Result<Report> {
    let url = format!("http://{}", server.address);
    let line = ["bench", "--url", &url, "--key", key]
        .into_iter()
        .chain(words.split_whitespace());
    measure(
        &Line::try_parse_from(line).unwrap().bench,
        &Arc::new(Signals::default()),
    )
}

#[test]
fn every_code_of_every_device_is_accepted_once() {
    let server = StandIn::start(Faults::default());
    let report = bench(
        &server,
        KEY,
        "--devices 40 --connections 1 --seconds 15 --no-baseline",
    )
    .unwrap();
    let devices = lock(&server.devices);
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.devices, report.verify.accepted), (40, 120));
    assert_eq!((devices.accepted, devices.refusals), (120, 0));
    assert!(
        report.exhausted && report.devices_needed > Some(40),
        "{report}"
    );
    assert_eq!(
        (report.devices_left, devices.deleted, devices.live.len()),
        (0, 40, 0)
    );
}

#[test]
fn connections_and_threads_never_spoil_each_others_codes() {
    let server = StandIn::start(Faults::default());
    let report = bench(
        &server,
        KEY,
        "--devices 41 --connections 7 --threads 2 --seconds 1",
    )
    .unwrap();
    let devices = lock(&server.devices);
    assert!(report.is_clean(), "{report}");
    assert_eq!(
        (devices.accepted, devices.refusals),
        (report.verify.accepted, 0)
    );
    assert!(report.livez.is_some_and(|livez| livez.accepted > 0) && report.ratios.livez.is_some());
    assert_eq!(
        (report.devices, devices.deleted, devices.live.len()),
        (41, 41, 0)
    );
}

#[test]
fn whatever_is_not_an_acceptance_is_counted_and_spoils_the_run() {
    fn check(faults: Faults, expected: &str) {
        let server = StandIn::start(faults);
        let report = bench(
            &server,
            KEY,
            "--devices 10 --connections 1 --seconds 15 --no-baseline",
        )
        .unwrap();
        let text = report.to_string();
        assert!(
            !report.is_clean() && text.contains(expected),
            "{expected} in\n{text}"
        );
        assert_eq!(report.verify.accepted, 27, "{text}");
        assert_eq!(lock(&server.devices).live.len(), 0);
    }
    check(
        Faults {
            busy_every: Some(10),
            ..Faults::default()
        },
        "3 answered: 503 storage_unavailable",
    );
    check(
        Faults {
            reject_every: Some(10),
            ..Faults::default()
        },
        "3 rejected: rejected",
    );
    check(
        Faults {
            drop_every: Some(10),
            ..Faults::default()
        },
        "3 failed: connection closed without an answer",
    );
}

#[test]
fn a_bad_key_is_said_to_be_one_and_nothing_is_left() {
    let server = StandIn::start(Faults::default());
    let error = bench(&server, "otpd_other_key", "--devices 1000").unwrap_err();
    let text = format!("{error:#}");
    assert!(
        text.contains("401 No such key.") && text.contains("devices:write"),
        "{text}"
    );
    assert!(!text.contains("otpd_other_key"), "{text}");
}

#[test]
fn no_server_is_said_to_be_none() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("http://{free}");
    let args = Line::try_parse_from(["bench", "--url", &url, "--key", KEY])
        .unwrap()
        .bench;
    let error = measure(&args, &Arc::new(Signals::default())).unwrap_err();
    assert!(
        format!("{error:#}").contains("no otpd answers at http://127.0.0.1:"),
        "{error:#}"
    );
}

#[test]
fn an_interrupt_leaves_no_device_behind() {
    let server = StandIn::start(Faults::default());
    let signals = Arc::new(Signals::default());
    let url = format!("http://{}", server.address);
    let words = "--devices 200 --connections 4 --seconds 600 --rate 1 --no-baseline";
    let line = ["bench", "--url", &url, "--key", KEY]
        .into_iter()
        .chain(words.split_whitespace());
    let args = Line::try_parse_from(line).unwrap().bench;
    let running = thread::spawn({
        let signals = Arc::clone(&signals);
        move || measure(&args, &signals)
    });
    while lock(&server.devices).accepted == 0 {
        thread::park_timeout(Duration::from_millis(5));
    }
    signals
        .interrupted
        .store(true, std::sync::atomic::Ordering::Relaxed);
    let report = running.join().unwrap().unwrap();
    assert!(report.to_string().contains("note: interrupted"), "{report}");
    assert_eq!(lock(&server.devices).live.len(), 0);
}
