//! I-1, I-5, I-14: two nodes that are asked the same at the same instant, also when their clocks disagree.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::guesses;
use crate::harness::surroundings::{length, unix_seconds, until};
use crate::harness::{Database, Device, Engine, Node, Server, pairs};

/// How far the clock of the second node is ahead, in seconds.
const AHEAD: i64 = 40;

fn race(nodes: &[Server; 2], database: &Database) {
    let rounds = length(1, pairs::FULL_ROUNDS);
    pairs::race(nodes, database, |done| done == rounds);
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
    let rounds = length(5, 100);
    guesses::race(&database, &nodes, |done| done == rounds);
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
