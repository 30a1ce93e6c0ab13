//! I-5 and I-18: wrong guesses never exceed the budget of a user, however many, however parallel, under whatever spelling.

use std::collections::BTreeMap;

use serde_json::json;

use crate::harness::devices::{wrong_code, wrong_codes};
use crate::harness::rounds;
use crate::harness::surroundings::length;
use crate::harness::{Client, Database, Device, Engine, Node, Server, at_once, on_both};

/// Attempts of one round: all wrong but one.
const ATTEMPTS: usize = 200;

/// Failures in a row from which on a user is locked.
const BUDGET: u64 = 5;

/// Stands for an answer 503.
const REFUSED: &str = "503";

/// What the audit says of the attempts of one round.
#[derive(Debug, Default)]
struct Judged {
    accepted: u64,
    failed: u64,
    locked: u64,
}

/// Of those that were refused, nobody has said whether they were judged.
fn judged(database: &Database, round: usize, refused: usize) -> Judged {
    let mut sum = Judged::default();
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    let rows = database.query(&format!(
        "SELECT request_id, success, detail FROM events
         WHERE action = 'OTP_VERIFICATION' AND request_id LIKE 'i5-{round}-%'"
    ));
    for row in rows {
        let fields: Vec<String> = row.into_iter().map(Option::unwrap_or_default).collect();
        *seen.entry(fields[0].clone()).or_default() += 1;
        match (fields[1].as_str(), fields[2].contains("locked")) {
            ("1", _) => sum.accepted += 1,
            (_, true) => sum.locked += 1,
            (_, false) => sum.failed += 1,
        }
    }
    let answered = ATTEMPTS - refused;
    assert!(seen.len() >= answered, "an attempt left no record");
    assert!(seen.values().all(|n| *n == 1), "a record is there twice");
    sum
}

fn parallel(engine: Engine) {
    let database = Database::new(engine);
    let servers = Node::start_all(&database, engine);
    let rounds = length(15, 300);
    race(&database, &servers, |done| done == rounds);
}

/// Guesses at all nodes at once, at a new user in each round, until there were enough of
/// them. How many answers were 503.
pub(crate) fn race(
    database: &Database,
    servers: &[Server],
    enough: impl Fn(usize) -> bool,
) -> usize {
    let mut admin = servers[0].admin();
    let mut clients: Vec<Client> = servers
        .iter()
        .cycle()
        .take(ATTEMPTS)
        .map(Server::admin)
        .collect();
    rounds::repeat(enough, |round| {
        let user = format!("user-{round}");
        let devices = [0, 1].map(|n| {
            let id = format!("device-{round}-{n}");
            Device::totp(&mut admin, &id, &user)
        });
        let answers = guess(&devices, &mut clients, round);
        rounds::wait_until_ready(servers);
        let count = |reason: &str| answers.iter().filter(|a| *a == reason).count() as u64;
        let refused = answers.iter().filter(|answer| *answer == REFUSED).count();
        let sum = judged(database, round, refused);
        // A success in between gives the budget anew, once.
        let most = if sum.accepted == 0 {
            BUDGET
        } else {
            2 * BUDGET - 1
        };
        assert!(sum.accepted <= 1, "round {round}: {sum:?}");
        assert!(sum.failed <= most, "round {round}: {sum:?}");
        let told = (count("rejected"), count("locked"));
        if refused > 0 {
            let fits = told.0 <= sum.failed && told.1 <= sum.locked;
            assert!(fits, "round {round}: {told:?}, {sum:?}");
            return refused;
        }
        assert_eq!(told, (sum.failed, sum.locked), "round {round}");
        assert!(sum.failed >= BUDGET, "round {round}: {sum:?}");
        let view = devices[1].view(&mut admin);
        assert_eq!(view["failed_attempts"], BUDGET, "round {round}: {view}");
        refused
    })
}

/// All attempts of one round; for each the reason, empty if it was accepted.
fn guess(devices: &[Device; 2], clients: &mut [Client], round: usize) -> Vec<String> {
    let right = devices[0].current();
    let wrong = wrong_codes(&[&devices[0], &devices[1]], ATTEMPTS);
    // The right one goes to the device it belongs to, somewhere in the crowd.
    let lucky = (round * 38) % ATTEMPTS / 2 * 2;
    at_once(clients, |place, client| {
        let code = if place == lucky {
            &right
        } else {
            &wrong[place]
        };
        let question = devices[place % 2].question(code);
        client.header("X-Request-Id", &format!("i5-{round}-{place}"));
        let answer = client.post("/api/v1/otp/verify", &question);
        if answer.status == 503 {
            return REFUSED.to_owned();
        }
        let reason = answer.expect(200)["data"]["reason"].clone();
        reason.as_str().unwrap_or_default().to_owned()
    })
}

on_both!(parallel: i5_two_hundred_guesses_at_once_on_sqlite, i5_two_hundred_guesses_at_once_on_postgresql);

fn over_restarts(engine: Engine) {
    let database = Database::new(engine);
    let mut server = Node::new(&database).start();
    let device = Device::totp(&mut server.admin(), "d", "u");
    let wrong = wrong_code(&device);
    for failures in 1..=BUDGET {
        let data = device.verify(&mut server.admin(), &wrong);
        assert_eq!(data["reason"], "rejected", "{data}");
        server.kill();
        server = Node::new(&database).start();
        let view = device.view(&mut server.admin());
        assert_eq!(view["failed_attempts"], failures, "{view}");
    }
    let data = device.verify(&mut server.admin(), &device.current());
    assert_eq!(data["reason"], "locked", "{data}");
}

on_both!(over_restarts: i5_restarts_do_not_give_guesses_back_on_sqlite, i5_restarts_do_not_give_guesses_back_on_postgresql);

/// Other doors, other devices, other spellings: one budget.
fn one_user(engine: Engine) {
    let database = Database::new(engine);
    let server = Node::new(&database).start();
    let mut admin = server.admin();
    let spellings = ["DAVE", "dave", "ＤＡＶＥ", "Ｄave", "dAvE"];
    let devices: Vec<Device> = spellings
        .iter()
        .enumerate()
        .map(|(n, user)| Device::totp(&mut admin, &format!("d{n}"), user))
        .collect();
    let all: Vec<&Device> = devices.iter().collect();
    let wrong = wrong_codes(&all, devices.len());
    for (device, code) in devices.iter().zip(&wrong) {
        let data = device.verify(&mut admin, code);
        assert_eq!(data["reason"], "rejected", "{}: {data}", device.user);
    }
    for device in &devices {
        let data = device.verify(&mut admin, &device.current());
        assert_eq!(data["reason"], "locked", "{}: {data}", device.user);
        let view = device.view(&mut admin);
        assert_eq!(view["failed_attempts"], BUDGET, "{view}");
        assert_eq!(
            view["user_id"],
            device.user.as_str(),
            "the spelling is kept"
        );
    }
    for spelling in spellings {
        let found = admin.get(&format!("/api/v1/devices?user_id={}", percent(spelling)));
        let found = found.expect(200);
        let count = found["data"].as_array().map(Vec::len);
        assert_eq!(count, Some(devices.len()), "{spelling}: {found}");
    }
    let others = "SELECT COUNT(*) FROM users WHERE name <> 'root'";
    assert_eq!(database.number(others), 1);
}

on_both!(one_user: i18_three_spellings_are_one_user_on_sqlite, i18_three_spellings_are_one_user_on_postgresql);

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Resynchronisation and explanation are doors too.
fn all_doors(engine: Engine) {
    let database = Database::new(engine);
    let server = Node::new(&database).start();
    let mut admin = server.admin();
    let device = Device::totp(&mut admin, "d", "u");
    let wrong = wrong_codes(&[&device], 5);
    let resync = format!("{}/resync", device.path());
    for pair in [&wrong[0..2], &wrong[2..4]] {
        let answer = admin.post(&resync, &json!({"otp": pair})).expect(200);
        assert_eq!(answer["data"]["reason"], "rejected", "{answer}");
    }
    for code in &wrong[..2] {
        let answer = admin.post("/api/v1/otp/explain", &device.question(code));
        let answer = answer.expect(200);
        assert_eq!(answer["data"]["finding"], "not_past", "{answer}");
    }
    let data = device.verify(&mut admin, &wrong[4]);
    assert_eq!(data["reason"], "rejected", "{data}");
    let data = device.verify(&mut admin, &device.current());
    assert_eq!(data["reason"], "locked", "{data}");
    let step = device.step();
    let pair = [device.code(step), device.code(step + 1)];
    let answer = admin.post(&resync, &json!({"otp": pair})).expect(200);
    assert_eq!(answer["data"]["reason"], "locked", "{answer}");
}

on_both!(all_doors: i5_every_door_spends_one_budget_on_sqlite, i5_every_door_spends_one_budget_on_postgresql);
