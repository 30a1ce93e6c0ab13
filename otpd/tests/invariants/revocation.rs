//! I-13 and I-17: what was revoked is refused by the next request, at every node, and what is made again is another thing.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::json;

use crate::harness::surroundings::{RaiseAtEnd, length};
use crate::harness::{Client, Database, Device, Engine, Node, Server, on_both};

/// Clients that go on asking while something is revoked.
const ASKERS: usize = 4;

/// Requests that each of them sends after the acknowledgement.
const AFTERWARDS: usize = 3;

fn start(database: &Database, engine: Engine) -> Vec<Server> {
    Node::start_all_with(database, engine, |node| {
        // Refusals are what is asked for here, hundreds of them.
        node.with("OTPD_LIMITS__ADDRESS_FAILURES_PER_MINUTE", "1000000")
    })
}

/// Lets several clients ask while one revokes. `ask` is told whether the revocation had
/// been acknowledged before its request began.
fn race(
    servers: &[Server],
    credential: &str,
    revoke: impl FnOnce(&mut Client),
    ask: impl Fn(&mut Client, bool) + Sync,
) {
    let acknowledged = &AtomicBool::new(false);
    let asked = &AtomicU64::new(0);
    let ask = &ask;
    std::thread::scope(|scope| {
        for place in 0..ASKERS {
            let server = &servers[place % servers.len()];
            scope.spawn(move || {
                let mut client = server.client(credential);
                let mut afterwards = 0;
                while afterwards < AFTERWARDS {
                    let before = acknowledged.load(Ordering::SeqCst);
                    ask(&mut client, before);
                    asked.fetch_add(1, Ordering::SeqCst);
                    afterwards += usize::from(before);
                }
            });
        }
        // In the middle of the work, and not before it has begun.
        while asked.load(Ordering::SeqCst) < 2 * ASKERS as u64 {
            std::thread::yield_now();
        }
        let _acknowledged = RaiseAtEnd(acknowledged);
        revoke(&mut servers[0].admin());
    });
}

fn keys(engine: Engine) {
    let database = Database::new(engine);
    let servers = start(&database, engine);
    let mut admin = servers[0].admin();
    let device = Device::hotp(&mut admin, "d", "u");
    let question = device.question(&device.code(0));
    assert!(device.accepts(&mut admin, &device.code(0)));
    for round in 0..length(30, 200) {
        let body = json!({"name": "k", "scopes": ["otp:verify", "devices:read"]});
        let made = admin.post("/api/v1/keys", &body).expect(201)["data"].clone();
        let text = |name: &str| made[name].as_str().expect("text").to_owned();
        let path = format!("/api/v1/keys/{}", text("id"));
        race(
            &servers,
            &text("key"),
            |admin| {
                admin.delete(&path).expect(200);
            },
            |client, revoked| {
                // The right code's repetition: at most one failure, so never a lock.
                let verified = client.post("/api/v1/otp/verify", &question);
                let looked = client.get(&device.path());
                for answer in [verified, looked] {
                    let refused = answer.status == 401;
                    assert!(refused || answer.status == 200, "{}", answer.text());
                    assert!(refused || !revoked, "round {round}: {}", answer.text());
                }
            },
        );
    }
}

on_both!(keys: i13_a_revoked_key_is_refused_at_once_on_sqlite, i13_a_revoked_key_is_refused_at_once_on_postgresql);

/// Ends a device in one of the two ways and looks whether any code comes through.
fn ended(engine: Engine, end: impl Fn(&mut Client, &Device), gone: &(u16, &str)) {
    let database = Database::new(engine);
    let servers = start(&database, engine);
    let mut admin = servers[0].admin();
    for round in 0..length(30, 200) {
        let device = Device::hotp(&mut admin, &format!("d{round}"), &format!("u{round}"));
        let counter = AtomicU64::new(0);
        race(
            &servers,
            crate::harness::ADMIN_KEY,
            |admin| end(admin, &device),
            |client, ended| {
                let next = counter.fetch_add(1, Ordering::SeqCst);
                let question = device.question(&device.code(next));
                let answer = client.post("/api/v1/otp/verify", &question);
                // Busy is a refusal too: nothing was accepted.
                if ended && answer.status != 503 {
                    assert_eq!(answer.status, gone.0, "round {round}: {}", answer.text());
                    assert!(answer.text().contains(gone.1), "{}", answer.text());
                }
            },
        );
    }
}

fn deactivated(engine: Engine) {
    let end = |admin: &mut Client, device: &Device| {
        let path = format!("{}/deactivate", device.path());
        admin.post(&path, &json!({})).expect(200);
    };
    ended(engine, end, &(200, r#""reason":"inactive""#));
}

on_both!(deactivated: i13_a_deactivated_device_is_refused_at_once_on_sqlite, i13_a_deactivated_device_is_refused_at_once_on_postgresql);

fn deleted(engine: Engine) {
    let end = |admin: &mut Client, device: &Device| {
        admin.delete(&device.path()).expect(200);
    };
    ended(engine, end, &(404, "device_not_found"));
}

on_both!(deleted: i13_a_removed_device_is_refused_at_once_on_sqlite, i13_a_removed_device_is_refused_at_once_on_postgresql);

fn erased(engine: Engine) {
    let end = |admin: &mut Client, device: &Device| {
        let path = format!("/api/v1/users/{}", device.user);
        admin.delete(&path).expect(200);
    };
    ended(engine, end, &(404, "device_not_found"));
}

on_both!(erased: i13_an_erased_user_is_refused_at_once_on_sqlite, i13_an_erased_user_is_refused_at_once_on_postgresql);

/// The same name again is another device, with another key.
fn again(engine: Engine) {
    let database = Database::new(engine);
    let servers = start(&database, engine);
    let mut admin = servers[0].admin();
    let mut other = servers[servers.len() - 1].admin();
    let mut keys = Vec::new();
    let mut ids = Vec::new();
    let mut old: Option<Device> = None;
    for round in 0..6 {
        let device = Device::totp(&mut admin, "d", &format!("u{round}"));
        keys.push(device.key().to_vec());
        ids.push(database.number("SELECT id FROM devices WHERE name = 'd'"));
        if let Some(old) = &old {
            assert!(!old.accepts(&mut other, &old.current()), "round {round}");
        }
        assert!(
            device.accepts(&mut other, &device.current()),
            "round {round}"
        );
        let taken = json!({"device_id": "d", "user_id": "somebody"});
        let taken = admin.post("/api/v1/devices/register", &taken);
        assert_eq!(taken.expect(409)["code"], "device_exists");
        if round % 2 == 0 {
            let path = format!("{}/deactivate", device.path());
            admin.post(&path, &json!({})).expect(200);
            // Asking again changes nothing, and says so in the same words.
            admin.post(&path, &json!({})).expect(200);
        } else {
            admin.delete(&device.path()).expect(200);
            assert_eq!(admin.get(&device.path()).status, 404);
        }
        old = Some(device);
    }
    for list in [
        ids.windows(2).all(|pair| pair[0] < pair[1]),
        distinct(&keys),
    ] {
        assert!(list, "an id or a key came back");
    }
}

fn distinct(keys: &[Vec<u8>]) -> bool {
    keys.iter().collect::<std::collections::BTreeSet<_>>().len() == keys.len()
}

on_both!(again: i17_the_same_name_again_is_another_device_on_sqlite, i17_the_same_name_again_is_another_device_on_postgresql);
