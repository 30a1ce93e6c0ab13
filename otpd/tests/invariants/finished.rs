//! Every kind of row that comes to an end goes after it: made by real calls, aged in the database, swept by one start.

use std::time::Duration;

use serde_json::json;

use crate::harness::surroundings::until;
use crate::harness::{Database, Device, Engine, Node, on_both};

const PASSWORD: &str = "correct horse battery";
/// Longer than two rounds of the sweeps: one may be broken off by a database that does not
/// answer in time.
const PATIENCE: Duration = Duration::from_secs(150);
/// 41 days more than the default retention of statistics.
const OLD_HOURS_MS: i64 = 441 * 24 * 3_600_000;

/// Rows that come to an end, by what is counted to find them: the table, and the
/// condition by which what never ends is left out.
const FINISHED: [(&str, &str); 12] = [
    ("challenges", "1 = 1"),
    ("sessions", "1 = 1"),
    ("idempotency", "1 = 1"),
    ("outbox", "1 = 1"),
    ("devices", "pending_until IS NOT NULL"),
    (
        "device_hot",
        "NOT EXISTS (SELECT 1 FROM devices d WHERE d.id = device_hot.id)",
    ),
    ("recovery_codes", "pending_for IS NOT NULL"),
    ("users", "name LIKE 'email:%'"),
    (
        "guards",
        "NOT EXISTS (SELECT 1 FROM users u WHERE u.id = guards.id)",
    ),
    (
        "stats",
        "bucket < (SELECT MIN(started_at) FROM chains) - 7200000",
    ),
    (
        "stat_counts",
        "bucket < (SELECT MIN(started_at) FROM chains) - 7200000",
    ),
    (
        "stat_delays",
        "bucket < (SELECT MIN(started_at) FROM chains) - 7200000",
    ),
];

fn count(database: &Database, table: &str, condition: &str) -> i64 {
    database.number(&format!("SELECT COUNT(1) FROM {table} WHERE {condition}"))
}

/// One of each, by the calls that make them.
fn fill(node: &Node) {
    let server = node.start();
    let mut stranger = server.stranger();
    // Accounts: a login that waits, a session, an enrolment with its recovery codes.
    let body = json!({"username": "alice", "password": PASSWORD, "enable_mfa": true});
    stranger.post("/signup", &body).expect(201);
    let body = json!({"username": "alice", "password": PASSWORD});
    stranger.post("/login", &body).expect(200);
    let body = json!({"username": "bob", "password": PASSWORD, "enable_mfa": false});
    stranger.post("/signup", &body).expect(201);
    let body = json!({"username": "bob", "password": PASSWORD});
    let session = stranger.post("/login", &body).expect(200);
    let token = session["access_token"].as_str().expect("a token");
    let body = json!({"password": PASSWORD});
    let mut bob = server.client(token);
    bob.post("/enable-mfa", &body).expect(201);
    // A code by email, whose mail cannot be handed over.
    let body = json!({"email": "dave@example.com"});
    stranger.post("/auth/request-otp", &body).expect(202);
    let mut admin = server.admin();
    // A device that nobody confirms, and one in force.
    admin.header("Idempotency-Key", "the-first");
    let body = json!({"device_id": "pending", "user_id": "carol", "require_confirmation": true});
    admin.post("/api/v1/devices/register", &body).expect(201);
    let mut admin = server.admin();
    let device = Device::totp(&mut admin, "phone", "carol");
    let body = json!({"device_id": device.id, "otp": device.current()});
    admin.post("/api/v1/otp/verify", &body).expect(200);
    // A code that another service sends, and a pass of the helpdesk.
    admin
        .post("/generate?username=carol", &json!({}))
        .expect(200);
    let body = json!({"reason": "lost the phone"});
    admin.post("/api/v1/users/carol/pass", &body).expect(201);
    assert!(server.stop().success());
}

/// Moves the time of everything that ends into the past: on PostgreSQL the clock is the
/// database's, so it is the rows that are moved.
fn age(database: &Database) {
    for (table, change) in [
        ("challenges", "expires_at = 1"),
        ("sessions", "expires_at = 1"),
        ("idempotency", "expires_at = 1"),
        ("outbox", "expires_at = 1, next_try = 1"),
    ] {
        database.query(&format!("UPDATE {table} SET {change}"));
    }
    database.query("UPDATE devices SET pending_until = 1 WHERE pending_until IS NOT NULL");
    for table in ["stats", "stat_counts", "stat_delays"] {
        database.query(&format!(
            "UPDATE {table} SET bucket = bucket - {OLD_HOURS_MS}"
        ));
    }
}

fn sweeps(engine: Engine) {
    let database = Database::new(engine);
    let node = Node::new(&database)
        .with("OTPD_EMAIL__SMTP_URL", "smtp://127.0.0.1:9")
        .with("OTPD_EMAIL__FROM", "no-reply@example.com");
    fill(&node);
    // No delay was measured: nobody answered an emailed code.
    database.query("INSERT INTO stat_delays VALUES (7200000, 1, 63, 1, 1)");
    age(&database);
    for (table, condition) in FINISHED {
        let follows = ["device_hot", "guards"].contains(&table);
        let there = count(&database, table, condition) > 0;
        assert_eq!(there, !follows, "{table} before the sweeps");
    }
    let server = node.start();
    let left = || {
        let left = FINISHED.iter().map(|(table, condition)| {
            let rows = count(&database, table, condition);
            (rows > 0).then(|| format!("{rows} of {table}"))
        });
        left.flatten().collect::<Vec<_>>()
    };
    let all_gone = until(PATIENCE, || left().is_empty().then_some(()));
    assert!(all_gone.is_some(), "left: {:?}", left());
    // What has no end is untouched.
    let kept = [
        ("users", 4),
        ("accounts", 3),
        ("devices", 3),
        ("device_hot", 3),
        ("guards", 4),
    ];
    for (table, rows) in kept {
        assert_eq!(count(&database, table, "1 = 1"), rows, "{table}");
    }
    drop(server);
}

on_both!(sweeps: no_finished_row_is_left_behind_on_sqlite, no_finished_row_is_left_behind_on_postgresql);
