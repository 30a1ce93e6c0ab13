//! I-7 and I-13 for requests that are sent again: each happens once, is recorded once, and proves nothing after a revocation.

use serde_json::{Value, json};

use crate::harness::surroundings::length;
use crate::harness::{Answer, Client, Database, Device, Engine, Node, Server, at_once, on_both};

/// How many clients send the same request at the same moment.
const SENDERS: usize = 20;

/// Sends the same request from everywhere. Those that come while the first one is being
/// worked on are told so; all others get the first one's answer.
fn repeat(clients: &mut [Client], key: &str, path: &str, body: &Value) -> Vec<Answer> {
    let answers = at_once(clients, |_, client| {
        client.header("Idempotency-Key", key).post(path, body)
    });
    for answer in &answers {
        let is_conflict = answer.status == 409 && answer.text().contains("idempotency");
        assert!(answer.status < 300 || is_conflict, "{}", answer.text());
    }
    let mut done: Vec<Answer> = answers.into_iter().filter(|a| a.status < 300).collect();
    // Once more when the first one is certainly over.
    for client in clients.iter_mut().take(2) {
        done.push(client.header("Idempotency-Key", key).post(path, body));
    }
    done
}

/// One of the answers is the first, all others say that they repeat it.
fn assert_one_first(answers: &[Answer]) {
    let replayed = |answer: &&Answer| answer.header("idempotent-replayed") == Some("true");
    let repeated = answers.iter().filter(replayed).count();
    assert_eq!(repeated, answers.len() - 1);
}

fn once(engine: Engine) {
    let database = Database::new(engine);
    let servers = Node::start_all(&database, engine);
    let all = servers.iter().cycle().take(SENDERS);
    let mut clients: Vec<Client> = all.map(Server::admin).collect();
    for round in 0..length(15, 300) {
        let id = format!("device-{round}");
        let key = format!("round-{round}");
        let body = json!({"device_id": id, "user_id": id});
        let answers = repeat(&mut clients, &key, "/api/v1/devices/register", &body);
        assert_one_first(&answers);
        let devices: Vec<Device> = answers.iter().map(Device::shown).collect();
        assert!(devices.iter().all(|d| d.key() == devices[0].key()));
        let question = devices[0].question(&devices[0].current());
        let answers = repeat(&mut clients, &key, "/api/v1/otp/verify", &question);
        assert_one_first(&answers);
        for answer in &answers {
            assert_eq!(answer.json()["data"]["valid"], true, "{}", answer.text());
        }
        assert_eq!(devices[0].view(&mut clients[0])["usage_count"], 1);
    }
    let actions = database.query("SELECT action, COUNT(*) FROM events GROUP BY action");
    for action in ["DEVICE_REGISTERED", "OTP_VERIFICATION"] {
        let row = actions.iter().find(|row| row[0].as_deref() == Some(action));
        let count = row.and_then(|row| row[1].as_deref());
        assert_eq!(
            count,
            Some(length(15, 300).to_string().as_str()),
            "{action}"
        );
    }
}

on_both!(once: i7_a_repeated_request_happens_and_is_recorded_once_on_sqlite, i7_a_repeated_request_happens_and_is_recorded_once_on_postgresql);

/// A kept acceptance is worth nothing once the device is gone.
fn after_revocation(engine: Engine) {
    let database = Database::new(engine);
    let servers = Node::start_all(&database, engine);
    let mut admin = servers[0].admin();
    let mut other = servers[servers.len() - 1].admin();
    for (round, end) in ["deactivate", "delete", "anew"].iter().enumerate() {
        let id = format!("device-{round}");
        let device = Device::totp(&mut admin, &id, &id);
        let question = device.question(&device.current());
        let mut ask = || {
            let client = other.header("Idempotency-Key", &id);
            client.post("/api/v1/otp/verify", &question)
        };
        for replayed in [false, true] {
            let data = ask().expect(200)["data"].clone();
            assert_eq!(data["valid"], true, "{data}");
            assert_eq!(data["replayed"] == true, replayed, "{data}");
        }
        if *end == "deactivate" {
            let path = format!("{}/deactivate", device.path());
            admin.post(&path, &json!({})).expect(200);
        } else {
            admin.delete(&device.path()).expect(200);
        }
        if *end == "anew" {
            Device::totp(&mut admin, &id, &id);
        }
        let answer = ask();
        let accepted = answer.status == 200 && answer.json()["data"]["valid"] == true;
        assert!(!accepted, "{end}: {}", answer.text());
    }
}

on_both!(after_revocation: i13_a_kept_acceptance_ends_with_its_device_on_sqlite, i13_a_kept_acceptance_ends_with_its_device_on_postgresql);

/// The stored time is ahead, as it is for a clock that was set back: nothing is
/// accepted, and nothing that was spent comes back.
fn clock_behind(engine: Engine) {
    let database = Database::new(engine);
    let server = Node::new(&database).start();
    let device = Device::hotp(&mut server.admin(), "d", "u");
    assert!(device.accepts(&mut server.admin(), &device.code(0)));
    drop(server);
    let hour = "UPDATE chain_heads SET at = at + 3600000";
    database.query(hour);
    let server = Node::new(&database).start();
    let mut admin = server.admin();
    for counter in [0, 1] {
        let question = device.question(&device.code(counter));
        let answer = admin.post("/api/v1/otp/verify", &question);
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.header("retry-after").is_some());
    }
    drop(server);
    database.query(&hour.replace('+', "-"));
    let server = Node::new(&database).start();
    let mut admin = server.admin();
    assert!(!device.accepts(&mut admin, &device.code(0)));
    assert!(device.accepts(&mut admin, &device.code(1)));
}

on_both!(clock_behind: i14_a_clock_behind_the_stored_time_accepts_nothing_on_sqlite, i14_a_clock_behind_the_stored_time_accepts_nothing_on_postgresql);
