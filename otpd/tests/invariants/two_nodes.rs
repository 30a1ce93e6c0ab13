//! I-1, I-5, I-14: two nodes that are asked the same at the same instant, also when their clocks disagree.

use std::path::PathBuf;
use std::sync::Barrier;
use std::time::Duration;

use serde_json::json;

use crate::guesses;
use crate::harness::surroundings::{length, unix_seconds, until};
use crate::harness::{Client, Database, Device, Engine, Node, Server};

/// Users whose codes are sent at the same time.
const USERS: usize = 10;
/// Codes of each: every one is a repetition at one of the nodes, and 200 failures in a
/// month disable a user.
const CODES: u64 = 50;
/// How far the clock of the second node is ahead, in seconds.
const AHEAD: i64 = 40;

/// What a node said: accepted or not; `None` is a 503.
type Said = Option<bool>;

fn ask(client: &mut Client, device: &Device, counter: u64) -> Result<Said, String> {
    let question = device.question(&device.code(counter));
    let answer = client.try_post("/api/v1/otp/verify", &question);
    let answer = answer.map_err(|error| error.to_string())?;
    match answer.status {
        200 => Ok(Some(answer.json()["data"]["valid"] == true)),
        503 => Ok(None),
        other => Err(format!("{other}: {}", answer.text())),
    }
}

/// Sends each code to both nodes at once; for each, what they said.
fn pairs(nodes: &[Server; 2], device: &Device) -> Vec<[Said; 2]> {
    let together = &Barrier::new(2);
    let walk = |node: &Server| -> Vec<Result<Said, String>> {
        let mut client = node.admin();
        let send = |counter| {
            together.wait();
            ask(&mut client, device, counter)
        };
        (0..CODES).map(send).collect()
    };
    let said = std::thread::scope(|scope| {
        let threads = nodes.each_ref().map(|node| scope.spawn(move || walk(node)));
        threads.map(|thread| thread.join().expect("a result"))
    });
    let [one, two] = said.map(|said| said.into_iter().collect::<Result<Vec<Said>, String>>());
    let (one, two) = (one.expect("answers"), two.expect("answers"));
    one.into_iter().zip(two).map(|(a, b)| [a, b]).collect()
}

fn race(nodes: &[Server; 2], database: &Database) {
    let mut admin = nodes[0].admin();
    let (mut once, mut all) = (0, 0);
    for round in 0..length(1, 40) {
        let device = |n: usize| {
            let name = format!("racer-{round}-{n}");
            Device::hotp(&mut admin, &name, &name)
        };
        let devices: Vec<Device> = (0..USERS).map(device).collect();
        let said: Vec<Vec<[Said; 2]>> = std::thread::scope(|scope| {
            let race = |device| scope.spawn(move || pairs(nodes, device));
            let threads: Vec<_> = devices.iter().map(race).collect();
            let joined = threads.into_iter().map(|thread| thread.join());
            joined.map(|said| said.expect("a result")).collect()
        });
        for (device, said) in devices.iter().zip(&said) {
            let accepted = |pair: &[Said; 2]| pair.iter().filter(|s| **s == Some(true)).count();
            let counts: Vec<usize> = said.iter().map(accepted).collect();
            assert!(
                counts.iter().all(|n| *n <= 1),
                "twice: {}: {said:?}",
                device.id
            );
            let acknowledged: usize = counts.iter().sum();
            let used = device.view(&mut admin)["usage_count"].clone();
            let unknown = said.iter().flatten().filter(|said| said.is_none()).count();
            let bounds = acknowledged as u64..=(acknowledged + unknown) as u64;
            assert!(bounds.contains(&used.as_u64().expect("a number")), "{used}");
            once += acknowledged;
            all += said.len();
        }
    }
    assert!(once * 100 >= all * 98, "{once} of {all} accepted");
    println!("{all} codes at both nodes at once, {once} accepted, each once");
    let events = "SELECT COUNT(1) FROM events WHERE action = 'OTP_VERIFICATION' AND success = 1";
    assert!(database.number(events) >= once as i64);
}

fn nodes(database: &Database, second: Node) -> [Server; 2] {
    [Node::named(database, "one").start(), second.start()]
}

#[test]
fn i1_codes_sent_to_two_nodes_at_once_are_accepted_once() {
    let database = Database::new(Engine::Postgres);
    let second = Node::named(&database, "two");
    race(&nodes(&database, second), &database);
}

/// A library that shifts the clock of the program it is loaded into.
fn clock_shifter() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").expect("a folder").flatten();
    let file = |folder: std::fs::DirEntry| folder.path().join("faketime/libfaketimeMT.so.1");
    let found = folders.map(file).find(|file| file.is_file());
    found.expect("libfaketime is missing: run `cargo xtask test`, which installs it")
}

#[test]
fn i1_i5_i14_nodes_whose_clocks_disagree_judge_alike() {
    let database = Database::new(Engine::Postgres);
    let second = Node::named(&database, "two")
        .with("LD_PRELOAD", &clock_shifter().display().to_string())
        .with("FAKETIME", &format!("+{AHEAD}s"))
        .with("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let nodes = nodes(&database, second);
    check_ahead(&nodes[1]);
    let mut admin = nodes[1].admin();
    let device = Device::totp(&mut admin, "totp", "totp");
    // The step is the database's, which this machine's clock agrees with.
    assert!(device.accepts(&mut admin, &device.current()));
    let future = device.code(device.step() + 2);
    assert!(!device.accepts(&mut admin, &future));
    check_expiry(&nodes);
    race(&nodes, &database);
    guesses::race(&database, &nodes, length(5, 100));
}

/// A credential expires at all nodes at once, whatever their own clocks say.
fn check_expiry(nodes: &[Server; 2]) {
    let lives = 5;
    let body = json!({ "name": "short", "scopes": ["users:read"], "expires_in": lives });
    let made = nodes[1].admin().post("/api/v1/keys", &body).expect(201);
    let key = made["data"]["key"].as_str().expect("a key");
    let asked = |node: &Server| node.client(key).get("/api/v1/users").status;
    let begun = unix_seconds();
    assert_eq!(nodes.each_ref().map(asked), [200, 200]);
    let over = || (unix_seconds() > begun + lives).then_some(());
    until(Duration::from_secs(10), over).expect("the end of its life");
    assert_eq!(nodes.each_ref().map(asked), [401, 401]);
}

/// The shift works: the node says so in its log.
#[track_caller]
fn check_ahead(node: &Server) {
    let line = || {
        let output = node.output();
        let output = String::from_utf8_lossy(&output);
        let mut lines = output.lines();
        lines
            .find(|line| line.contains("otpd is ready"))
            .map(str::to_owned)
    };
    // Its address is known a moment before the line is kept.
    let ready = until(Duration::from_secs(5), line).expect("a line");
    let seconds = |shift: i64| {
        let time = unix_seconds() + shift;
        domain::Time::from_millis(time * 1000).to_rfc3339()[..19].to_owned()
    };
    let near = (AHEAD - 10..=AHEAD + 1).any(|shift| ready.contains(&seconds(shift)));
    assert!(near, "not {AHEAD} s ahead of {}: {ready}", seconds(0));
}
