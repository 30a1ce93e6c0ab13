//! I-19: whatever is sent, the answer is a refusal of the contract, in bounded time and memory.

mod values;

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use values::{BROKEN, CALLS, hostile_values};

use crate::harness::surroundings::{length, now};
use crate::harness::{ADMIN_KEY, Answer, Client, Database, Device, Engine, Node, Server, on_both};

/// How far memory may grow while the same is sent again and again.
const GROWTH_KIB: u64 = 20 * 1024;

/// The statuses by which the contract refuses.
const REFUSALS: [u16; 8] = [400, 401, 404, 405, 408, 409, 413, 422];

/// A refusal as the contract has it.
#[track_caller]
fn assert_refusal(what: &str, answer: &Answer) {
    assert!(
        REFUSALS.contains(&answer.status),
        "{what}: {} {}",
        answer.status,
        answer.text()
    );
    let kind = answer.header("content-type");
    assert_eq!(kind, Some("application/problem+json"), "{what}");
    assert!(answer.header("x-request-id").is_some(), "{what}");
    let body = answer.json();
    for member in ["type", "title", "detail", "code", "request_id", "message"] {
        assert!(body[member].is_string(), "{what}: no {member} in {body}");
    }
    assert_eq!(body["status"], answer.status, "{what}");
    assert_eq!(body["success"], false, "{what}");
    if answer.status == 422 {
        let errors = body["errors"].as_array().expect("a list of errors");
        assert!(
            !errors.is_empty() || body["code"] != "validation_failed",
            "{what}: {body}"
        );
    }
}

/// Puts every value into every field of every call.
fn every_field(admin: &mut Client) {
    for (path, good) in CALLS {
        let good: Value = serde_json::from_str(good).expect("JSON");
        let fields: Vec<String> = good
            .as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect();
        for field in &fields {
            for (value, fits_some) in hostile_values() {
                let mut body = good.clone();
                body[field] = value.clone();
                let answer = admin.post(path, &body);
                let text = value.to_string();
                let text: String = text.chars().take(60).collect();
                let what = format!("{path} {field} = {text}");
                assert!(answer.status < 500, "{what}: {}", answer.text());
                // What is wrong everywhere is refused everywhere.
                if !fits_some || answer.status >= 300 {
                    assert_refusal(&what, &answer);
                }
            }
            let mut body = good.clone();
            body.as_object_mut().expect("an object").remove(field);
            let answer = admin.post(path, &body);
            assert!(
                answer.status < 500,
                "{path} without {field}: {}",
                answer.text()
            );
        }
        let mut body = good.clone();
        body["no_such_member"] = json!(1);
        let answer = admin.post(path, &body);
        assert_refusal(&format!("{path}, unknown member"), &answer);
        assert!(
            answer.text().contains("no_such_member"),
            "{}",
            answer.text()
        );
    }
}

/// Bodies that are no JSON, or too deep, or not text at all.
fn broken_bodies(admin: &mut Client) {
    for (path, good) in CALLS {
        for broken in BROKEN {
            let answer = admin.send("POST", path, Some(broken)).expect("an answer");
            let text = String::from_utf8_lossy(broken);
            assert_refusal(&format!("{path}: {text:.60}"), &answer);
        }
        for open in ["[", r#"{"a":"#, r#"{"device_id":["#] {
            let deep = open.repeat(10_000 / open.len() * open.len().min(2));
            let answer = admin.send("POST", path, Some(deep.as_bytes()));
            assert_refusal(&format!("{path}: deep"), &answer.expect("an answer"));
        }
        let twice = good.replacen('{', r#"{"device_id":"a","device_id":"b","name":"a","name":"b","otp":"123456","otp":"123456","#, 1);
        let answer = admin.send("POST", path, Some(twice.as_bytes()));
        assert_refusal(&format!("{path}: twice"), &answer.expect("an answer"));
    }
}

fn large_bodies(admin: &mut Client, server: &Server) {
    let mut large = br#"{"device_id":""#.to_vec();
    large.resize(10 * 1024 * 1024, b'x');
    large.extend_from_slice(br#""}"#);
    for (path, _) in CALLS {
        let answer = admin.send("POST", path, Some(&large)).expect("an answer");
        assert_eq!(answer.status, 413, "{path}");
        assert_refusal(path, &answer);
    }
    // The same without a length beforehand.
    let head = format!(
        "POST /api/v1/otp/verify HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN_KEY}\r\n\
         Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let mut bytes = head.into_bytes();
    for chunk in large.chunks(4096) {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    let answer = server.admin().send_raw(&bytes).expect("an answer");
    assert_eq!(answer.status, 413, "{}", answer.text());
}

fn bad_headers(admin: &mut Client, server: &Server) {
    let question = json!({"device_id": "hostile", "otp": "000000"});
    let verify = "/api/v1/otp/verify";
    for key in ["", &"k".repeat(65), "a\u{e9}b", "a\tb"] {
        for (path, good) in CALLS {
            let body: Value = serde_json::from_str(good).expect("JSON");
            let answer = admin.header("Idempotency-Key", key).post(path, &body);
            assert_eq!(answer.status, 422, "{path} {key:?}: {}", answer.text());
            assert_refusal(path, &answer);
        }
    }
    // A request id that is too long or odd is replaced, not refused.
    for id in [&"i".repeat(65), "a b", "a\u{e9}", "<script>"] {
        let answer = admin.header("X-Request-Id", id).post(verify, &question);
        let given = answer.header("x-request-id").expect("a request id");
        assert_ne!(given, id);
    }
    for size in [100_000, 10_000_000] {
        let mut client = server.stranger();
        client.header("X-Large", &"x".repeat(size));
        let answer = client.send("GET", "/livez", None);
        // The connection may be closed before all of it was sent.
        let refused = answer.map_or(true, |answer| (400..500).contains(&answer.status));
        assert!(refused, "a header of {size} bytes was taken");
    }
    let mut client = server.stranger();
    for number in 0..2000 {
        client.header(&format!("X-{number}"), "x");
    }
    let answer = client.send("GET", "/livez", None);
    let refused = answer.map_or(true, |answer| (400..500).contains(&answer.status));
    assert!(refused, "2000 headers were taken");
    // What is no HTTP is refused before anybody reads it.
    for head in [
        "GET /livez HTTP/1.1\r\nHost: x\r\nX-Bad: a\u{7f}b\r\n\r\n",
        "GET /livez HTTP/1.1\r\nHost: x\r\nX Bad: a\r\n\r\n",
        "GET /livez HTTP/9.9\r\nHost: x\r\n\r\n",
        "POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "POST /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\r\n\r\n",
    ] {
        let answer = server.stranger().send_raw(head.as_bytes());
        let refused = answer.map_or(true, |answer| (400..500).contains(&answer.status));
        assert!(refused, "{head:?} was taken");
    }
    for method in ["PUT", "PATCH", "DELETE", "TRACE", "OPTIONS", "FOO"] {
        let answer = admin.send(method, verify, None).expect("an answer");
        assert_eq!(answer.status, 405, "{method}");
        assert_refusal(method, &answer);
        assert!(answer.header("allow").is_some(), "{method}");
    }
}

fn hostile(engine: Engine) {
    let database = Database::new(engine);
    let server = Node::new(&database).with("DEBUG", "true").start();
    let mut admin = server.admin();
    Device::totp(&mut admin, "hostile", "hostile-user");
    let mut sizes = Vec::new();
    for _ in 0..length(3, 20) {
        every_field(&mut admin);
        broken_bodies(&mut admin);
        large_bodies(&mut admin, &server);
        bad_headers(&mut admin, &server);
        sizes.push(server.resident_kib());
    }
    println!("resident after each round, in KiB: {sizes:?}");
    // The first round fills caches and grows buffers to their working size.
    let growth = sizes[sizes.len() - 1].saturating_sub(sizes[0]);
    assert!(
        growth < GROWTH_KIB,
        "memory grew by {growth} KiB: {sizes:?}"
    );
    // Nothing of all this was a guess at the device.
    let view = admin.get("/api/v1/devices/hostile").expect(200);
    assert_eq!(view["data"]["usage_count"], 0);
    let said = String::from_utf8_lossy(&server.output()).into_owned();
    assert!(!said.contains("panicked"), "{said}");
}

on_both!(hostile: i19_hostile_input_is_refused_on_sqlite, i19_hostile_input_is_refused_on_postgresql);

/// Who sends slowly is cut off, and holds up nobody else.
#[test]
fn i19_slow_clients_are_cut_off() {
    let database = Database::new(Engine::Sqlite);
    let server = Node::new(&database)
        .with("OTPD_SERVER__HEADER_SECONDS", "1")
        .with("OTPD_SERVER__BODY_SECONDS", "1")
        .start();
    let head = format!(
        "POST /api/v1/otp/verify HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN_KEY}\r\n\
         Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{"
    );
    for (what, beginning) in [
        ("body", head.as_str()),
        ("head", "GET /livez HTTP/1.1\r\nX"),
    ] {
        let start = now();
        let closed = std::thread::scope(|scope| {
            let slow: Vec<_> = (0..50)
                .map(|_| scope.spawn(|| trickle(&server.address, beginning)))
                .collect();
            assert_eq!(server.stranger().get("/health").status, 200);
            slow.into_iter()
                .all(|thread| thread.join().expect("a result"))
        });
        assert!(closed, "{what}: a slow client was not cut off");
        let took = start.elapsed();
        assert!(
            took < Duration::from_secs(8),
            "{what}: cut off after {took:?}"
        );
    }
    let answer = server
        .stranger()
        .send_raw(head.as_bytes())
        .expect("an answer");
    assert_eq!(answer.status, 408, "{}", answer.text());
    assert_refusal("slow body", &answer);
}

/// Sends a byte now and then until the other side has closed the connection.
fn trickle(address: &str, beginning: &str) -> bool {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream
        .write_all(beginning.as_bytes())
        .expect("a first write");
    crate::harness::surroundings::until(Duration::from_secs(10), || {
        crate::harness::surroundings::let_pass(Duration::from_millis(200));
        stream.write_all(b"a").is_err().then_some(())
    })
    .is_some()
}
