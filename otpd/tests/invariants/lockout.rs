//! I-6: while locked, disabled or deactivated, a right and a wrong code are answered alike.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::devices::wrong_codes;
use crate::harness::surroundings::{length, now};
use crate::harness::{Answer, Client, Database, Device, Engine, Node, on_both};

/// What of an answer must not depend on the code: all but the request's number and the
/// clock's reading.
fn shape(answer: &Answer) -> (u16, Vec<String>, Value) {
    let mut names: Vec<String> = answer
        .headers
        .iter()
        .map(|(name, _)| name.clone())
        .collect();
    names.sort();
    let mut body = answer.json();
    if let Some(data) = body["data"].as_object_mut() {
        data.insert("retry_after".into(), Value::Null);
    }
    (answer.status, names, body)
}

fn seconds(answer: &Answer) -> i64 {
    answer.json()["data"]["retry_after"].as_i64().unwrap_or(0)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Sends right and wrong in turn and compares everything.
fn compare(what: &str, admin: &mut Client, path: &str, right: &Value, wrong: &Value) {
    let rounds = length(100, 2000);
    let mut times = [Vec::new(), Vec::new()];
    let mut before: Option<Answer> = None;
    for round in 0..rounds {
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for place in order {
            let body = if place == 0 { right } else { wrong };
            let start = now();
            let answer = admin.post(path, body);
            times[place].push(start.elapsed());
            if let Some(before) = &before {
                assert_eq!(shape(before), shape(&answer), "{what}");
                // The clock goes on, and that is all.
                let passed = seconds(before) - seconds(&answer);
                assert!((0..=1).contains(&passed), "{what}: {passed}");
            }
            before = Some(answer);
        }
        // A slow machine has done fewer of them when the lock ends, which is no lock then.
        let left = before.as_ref().map_or(0, seconds);
        if (1..5).contains(&left) && round % 2 == 1 {
            break;
        }
    }
    let [right, wrong] = times;
    let rounds = right.len();
    assert!(
        rounds >= 100,
        "{what}: only {rounds} rounds before the lock ended"
    );
    let slower = right.iter().zip(&wrong).filter(|(r, w)| r > w).count();
    println!(
        "{what}: median {:?} for a right code, {:?} for a wrong one; the right one slower in {slower} of {rounds}",
        median(right),
        median(wrong)
    );
    // If the code had no influence, this would be the toss of a coin; four standard
    // deviations are left to chance. The machine's own noise hits both alike.
    let off = (slower as f64 - rounds as f64 / 2.0).abs();
    assert!(
        off < 2.0 * (rounds as f64).sqrt(),
        "{what}: {slower} of {rounds}"
    );
}

fn alike(engine: Engine) {
    let database = Database::new(engine);
    let server = Node::new(&database).start();
    let mut admin = server.admin();
    let device = Device::totp(&mut admin, "d", "u");
    let wrong = wrong_codes(&[&device], 8);
    let step = device.step();
    // Far from the end of its window, whatever this test takes.
    let right = device.question(&device.code(step + 1));
    let bad = device.question(&wrong[7]);
    let pair = json!({"otp": [device.code(step + 1), device.code(step + 2)]});
    let bad_pair = json!({"otp": [wrong[6], wrong[7]]});
    let resync = format!("{}/resync", device.path());
    let verify = "/api/v1/otp/verify";

    for code in &wrong[..5] {
        assert_eq!(device.verify(&mut admin, code)["reason"], "rejected");
    }
    assert_eq!(device.verify(&mut admin, &wrong[7])["reason"], "locked");
    compare("locked", &mut admin, verify, &right, &bad);
    compare("locked, resync", &mut admin, &resync, &pair, &bad_pair);

    database.query("UPDATE guards SET disabled_at = 1, locked_until = NULL");
    let data = device.verify(&mut admin, &wrong[7]);
    assert_eq!(data["reason"], "locked", "{data}");
    assert_eq!(data["retry_after"], Value::Null, "{data}");
    compare("disabled", &mut admin, verify, &right, &bad);

    database.query("UPDATE guards SET disabled_at = NULL, failures = 0");
    let path = format!("{}/deactivate", device.path());
    admin.post(&path, &json!({})).expect(200);
    assert_eq!(device.verify(&mut admin, &wrong[7])["reason"], "inactive");
    compare("deactivated", &mut admin, verify, &right, &bad);
    compare("deactivated, resync", &mut admin, &resync, &pair, &bad_pair);
}

on_both!(alike: i6_right_and_wrong_look_alike_on_sqlite, i6_right_and_wrong_look_alike_on_postgresql);
