//! I-9: every secret, code, key and token that a scenario uses is looked for in everything the server writes or tells.

mod needles;

use std::path::Path;

use needles::{Needles, find};
use serde_json::{Value, json};

use crate::harness::{
    ADMIN_KEY, Answer, Client, Database, Device, Engine, MASTER_SECRET, Node, Server, on_both,
};

/// A key that a client brings along.
const OWN_SECRET: &str = "MNQW4YLSPEWW65LOEB2HE33VONSXE4ZB";

/// Another that is refused together with the body around it.
const REFUSED_SECRET: &str = "OJSWM5LTMVSC2Y3BNZQXE6JNONSWG4TF";

/// A credential that was never valid.
const WRONG_KEY: &str = "otpd_canary00_wrongcanarykeywrongcanarykey";

/// What makes requests repeatable, and opens kept answers.
const IDEMPOTENCY: &str = "canary-idempotency-header-0987654321";

/// Everything told so far that must not contain a secret.
#[derive(Default)]
struct Told(Vec<(String, Vec<u8>)>);

impl Told {
    fn add(&mut self, what: &str, text: impl Into<Vec<u8>>) {
        self.0.push((what.to_owned(), text.into()));
    }

    /// Keeps an answer together with its headers.
    fn answer(&mut self, what: &str, answer: &Answer) {
        let mut text = format!("{:?}\n", answer.headers).into_bytes();
        text.extend_from_slice(&answer.body);
        self.add(what, text);
    }
}

/// A device of 8 digits, since six digits may stand anywhere by chance.
fn device(admin: &mut Client, id: &str, more: Value) -> Device {
    let mut body = json!({"device_id": id, "user_id": "canary-user", "digits": 8});
    for (name, value) in more.as_object().expect("an object") {
        body[name] = value.clone();
    }
    Device::register(admin, &body)
}

/// Registers in every way; what is shown here, once, is what must be nowhere else.
fn register(admin: &mut Client, needles: &mut Needles) -> Vec<Device> {
    let mut devices = vec![
        device(admin, "own", json!({"secret": OWN_SECRET})),
        device(
            admin,
            "made",
            json!({"label": "a label", "issuer": "an issuer"}),
        ),
        device(
            admin,
            "counter",
            json!({"kind": "hotp", "algorithm": "SHA1"}),
        ),
        device(admin, "test", json!({"test": true})),
        device(admin, "pending", json!({"require_confirmation": true})),
    ];
    admin.header("Idempotency-Key", IDEMPOTENCY);
    let repeated = device(admin, "repeated", json!({}));
    admin.header("Idempotency-Key", IDEMPOTENCY);
    let again = device(admin, "repeated", json!({}));
    assert_eq!(
        repeated.base32, again.base32,
        "a replay is the first answer"
    );
    devices.push(repeated);
    for device in &devices {
        needles.key(
            &format!("key of {}", device.id),
            device.key(),
            &device.base32,
        );
    }
    devices
}

/// Right, wrong, used, malformed: every way to present a code.
fn present(admin: &mut Client, devices: &[Device], needles: &mut Needles, told: &mut Told) {
    for device in devices {
        for step in [device.step(), device.step() + 1] {
            needles.text(&format!("code of {}", device.id), &device.code(step));
        }
        let code = device.current();
        if device.id == "pending" {
            let path = format!("{}/confirm", device.path());
            told.answer("confirm", &admin.post(&path, &json!({"otp": code})));
        }
        for _ in 0..2 {
            let answer = admin.post("/api/v1/otp/verify", &device.question(&code));
            told.answer("verify", &answer);
        }
        let as_integer: u64 = code.parse().expect("digits");
        for malformed in [
            json!(format!("{code} ")),
            json!(format!("{code}\n")),
            json!([code]),
            json!({"code": code}),
            json!(as_integer as f64 + 0.5),
            json!(-(as_integer as i64)),
        ] {
            let body = json!({"device_id": device.id, "otp": malformed});
            told.answer("malformed code", &admin.post("/api/v1/otp/verify", &body));
        }
        let next = [
            device.code(device.step() + 1),
            device.code(device.step() + 2),
        ];
        needles.text("resync code", &next[1]);
        let path = format!("{}/resync", device.path());
        told.answer("resync", &admin.post(&path, &json!({"otp": next})));
        told.answer(
            "explain",
            &admin.post("/api/v1/otp/explain", &device.question(&code)),
        );
        let question = device.question(&code);
        admin.header("Idempotency-Key", IDEMPOTENCY);
        told.answer("repeatable", &admin.post("/api/v1/otp/verify", &question));
    }
    let unknown = json!({"device_id": "unknown", "otp": devices[0].current()});
    told.answer(
        "unknown device",
        &admin.post("/api/v1/otp/verify", &unknown),
    );
}

/// Bodies, headers and addresses that hold secrets and are refused.
fn refused(admin: &mut Client, server: &Server, told: &mut Told) {
    let path = "/api/v1/devices/register";
    let good = json!({"device_id": "x", "user_id": "y", "secret": REFUSED_SECRET});
    for (name, value) in [
        ("secret", json!(format!("{REFUSED_SECRET}!"))),
        ("secret", json!([REFUSED_SECRET])),
        ("secret", json!({"a": REFUSED_SECRET})),
        ("device_id", json!(format!("{REFUSED_SECRET}/"))),
        ("user_id", json!(format!("{REFUSED_SECRET}\u{7}"))),
        ("kind", json!(REFUSED_SECRET)),
        ("policy", json!(REFUSED_SECRET)),
        ("unknown", json!(REFUSED_SECRET)),
        ("digits", json!(REFUSED_SECRET)),
    ] {
        let mut body = good.clone();
        body[name] = value;
        let answer = admin.post(path, &body);
        assert_eq!(answer.status, 422, "{name}: {}", answer.text());
        told.answer(name, &answer);
    }
    let whole = good.to_string();
    for broken in [
        &whole[..whole.len() - 1],
        &format!("{whole},"),
        &format!("[{whole}]"),
    ] {
        let answer = admin.send("POST", path, Some(broken.as_bytes()));
        let answer = answer.expect("an answer");
        assert!(matches!(answer.status, 400 | 422), "{}", answer.text());
        told.answer("broken body", &answer);
    }
    let query = format!("/api/v1/devices?api_key={REFUSED_SECRET}&user_id={REFUSED_SECRET}%07");
    told.answer("query", &admin.get(&query));
    let mut wrong = server.client(WRONG_KEY);
    told.answer("wrong key", &wrong.get("/api/v1/devices"));
    told.answer(
        "wrong key",
        &server.client(&ADMIN_KEY[1..]).get("/api/v1/devices"),
    );
    let mut stranger = server.stranger();
    stranger.header("Authorization", &format!("Basic {WRONG_KEY}"));
    told.answer("basic", &stranger.get("/api/v1/devices"));
    admin.header("Idempotency-Key", &format!("{IDEMPOTENCY}\t"));
    told.answer("bad header", &admin.post(path, &good));
    admin.header("Idempotency-Key", IDEMPOTENCY);
    told.answer("reused header", &admin.post(path, &good));
}

/// Makes keys, uses them, revokes one.
fn keys(admin: &mut Client, server: &Server, needles: &mut Needles, told: &mut Told) {
    for name in ["stays", "goes"] {
        let body = json!({"name": name, "scopes": ["otp:verify", "metrics:read"]});
        let made = admin.post("/api/v1/keys", &body).expect(201)["data"].clone();
        let key = made["key"].as_str().expect("text");
        needles.text(&format!("API key {name}"), key);
        let secret = key.rsplit('_').next().expect("a last part");
        needles.text(&format!("secret of API key {name}"), secret);
        let mut client = server.client(key);
        told.answer("metrics", &client.get("/metrics"));
        told.answer("lacks the scope", &client.get("/api/v1/devices"));
        if name == "goes" {
            let path = format!("/api/v1/keys/{}", made["id"].as_str().expect("text"));
            told.answer("revoke", &admin.delete(&path));
            told.answer("revoked", &client.get("/metrics"));
        }
    }
}

/// Everything that can be read.
fn look(admin: &mut Client, devices: &[Device], told: &mut Told) {
    for path in [
        "/health",
        "/livez",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/docs",
        "/api/v1/devices",
        "/api/v1/keys",
        "/api/v1/audit",
        "/api/v1/stats",
        "/nowhere",
    ] {
        let answer = admin.get(path);
        assert!(answer.status < 500, "{path}: {}", answer.text());
        told.answer(path, &answer);
    }
    for device in devices {
        told.answer(&device.id, &admin.get(&device.path()));
    }
}

/// All files below a folder, except the one that is there to hold a secret.
fn files(folder: &Path, told: &mut Told) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() {
            files(&path, told);
        } else if name != "first-start.txt" {
            let bytes = std::fs::read(&path).expect("a file");
            told.add(&path.display().to_string(), bytes);
        }
    }
}

/// What the commands print.
fn commands(node: &Node, told: &mut Told) {
    for words in [
        &["doctor"][..],
        &["audit", "verify"],
        &["audit", "verify", "--links-only"],
        &["keys", "list"],
    ] {
        let output = node.run(words);
        told.add(&format!("{words:?}"), output.stdout);
        told.add(&format!("{words:?}, errors"), output.stderr);
    }
}

fn sweep(engine: Engine) {
    let database = Database::new(engine);
    let node = Node::new(&database)
        .with("DEBUG", "true")
        .with("OTPD_LOG__LEVEL", "trace")
        .with("SECRET_KEY", "canary-secret-key-for-jwt-0123456789");
    let server = node.start();
    let mut admin = server.admin();
    let (mut needles, mut told) = (Needles::default(), Told::default());
    for (what, text) in [
        ("MASTER_SECRET", MASTER_SECRET),
        ("API_KEY", ADMIN_KEY),
        ("SECRET_KEY", "canary-secret-key-for-jwt-0123456789"),
        ("wrong key", WRONG_KEY),
        ("idempotency key", IDEMPOTENCY),
        ("refused secret", REFUSED_SECRET),
    ] {
        needles.text(what, text);
    }
    let devices = register(&mut admin, &mut needles);
    let code = admin.post("/api/v1/test/otp", &json!({"device_id": "test"}));
    let code = code.expect(200)["data"]["otp"].clone();
    needles.text("test code", code.as_str().expect("text"));
    present(&mut admin, &devices, &mut needles, &mut told);
    refused(&mut admin, &server, &mut told);
    keys(&mut admin, &server, &mut needles, &mut told);
    look(&mut admin, &devices, &mut told);
    told.answer("delete", &admin.delete(&devices[1].path()));
    // With the log still beside the database, then after the last checkpoint.
    told.add("the database", database.dump());
    files(database.folder(), &mut told);
    commands(&node, &mut told);
    told.add("standard output and error", server.output());
    first_start(&database, &mut needles);
    assert!(server.stop().success());
    files(database.folder(), &mut told);
    told.add("the database", database.dump());
    let found = find(&needles, &told.0);
    assert!(found.is_empty(), "{found:#?}");
    // What may be there is found, so what must not be there would be found too.
    let mut control = Needles::default();
    control.text("control", "canary-user");
    let found = find(&control, &told.0).join("\n");
    for place in ["the database", "/api/v1/devices"] {
        assert!(found.contains(&format!("in {place}")), "{place}: {found}");
    }
}

/// The first key of all is in one file and nowhere else.
fn first_start(database: &Database, needles: &mut Needles) {
    let file = database.folder().join("node/data/first-start.txt");
    let text = std::fs::read_to_string(file).expect("the page of the first start");
    let key = text
        .split_whitespace()
        .find_map(|word| word.strip_prefix("OTPD_KEY="));
    needles.text("the first API key", key.expect("a key"));
}

on_both!(sweep: i9_no_secret_is_written_or_told_on_sqlite, i9_no_secret_is_written_or_told_on_postgresql);
