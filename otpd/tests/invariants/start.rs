//! Starting: each hindrance is one clear sentence and an exit code; without one, the server is there at once and small.

use std::net::TcpListener;
use std::process::Output;
use std::time::Duration;

use crate::harness::server::signal;
use crate::harness::surroundings::{let_pass, now, until};
use crate::harness::{Database, Device, Engine, Node, on_both};

/// The longest that a start may take until it gives up.
const REFUSAL_LIMIT: Duration = Duration::from_secs(5);

/// Starts a server that cannot start, and gives what it says.
fn refused(node: &Node) -> String {
    let begun = now();
    let mut child = node
        .command(&[])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let ended = until(REFUSAL_LIMIT, || child.try_wait().expect("a child"));
    if ended.is_none() {
        child.kill().expect("a child");
    }
    let took = begun.elapsed();
    let output = child.wait_with_output().expect("an end");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(ended.is_some(), "still running after {took:?}: {said}");
    assert_ne!(output.status.code(), Some(0), "{said}");
    assert!(output.status.code().is_some(), "killed by a signal: {said}");
    said
}

/// One line that begins with the program's name and holds all these words.
#[track_caller]
fn check(node: &Node, words: &[&str]) {
    let said = refused(node);
    let lines: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("otpd: "))
        .collect();
    assert_eq!(lines.len(), 1, "{said}");
    for word in words {
        assert!(lines[0].contains(word), "no {word:?} in: {}", lines[0]);
    }
    for secret in [crate::harness::MASTER_SECRET, crate::harness::ADMIN_KEY] {
        assert!(!said.contains(secret), "{said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

/// A database that a server has used.
fn used(engine: Engine) -> Database {
    let database = Database::new(engine);
    let server = Node::new(&database).start();
    Device::totp(&mut server.admin(), "d", "u");
    assert!(server.stop().success());
    database
}

#[test]
fn start_refuses_a_port_that_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let database = Database::new(Engine::Sqlite);
    check(
        &Node::new(&database).with("PORT", &port),
        &[&port, "in use"],
    );
}

#[test]
fn start_refuses_a_database_file_of_another_server() {
    let database = Database::new(Engine::Sqlite);
    let first = Node::new(&database).start();
    check(
        &Node::named(&database, "second"),
        &["otpd.db", "in use by another"],
    );
    assert_eq!(first.stranger().get("/health").status, 200);
}

fn wrong_secret(engine: Engine) {
    let database = used(engine);
    let node = Node::new(&database);
    let other = "another-master-secret-of-the-right-length";
    check(
        &node.clone().with("MASTER_SECRET", other),
        &["master secret"],
    );
    check(
        &node.clone().without("MASTER_SECRET"),
        &["master secret", "MASTER_SECRET"],
    );
    check(
        &node.with("MASTER_SECRET", "too-short"),
        &["MASTER_SECRET", "32"],
    );
    // Nothing was spoilt.
    let server = Node::new(&database).start();
    assert_eq!(server.admin().get("/api/v1/devices/d").status, 200);
}

on_both!(wrong_secret: start_refuses_a_wrong_master_secret_on_sqlite, start_refuses_a_wrong_master_secret_on_postgresql);

fn newer_schema(engine: Engine) {
    let database = used(engine);
    database.query("INSERT INTO migrations (version) VALUES (999)");
    check(&Node::new(&database), &["999", "newer"]);
}

on_both!(newer_schema: start_refuses_a_newer_schema_on_sqlite, start_refuses_a_newer_schema_on_postgresql);

#[test]
fn start_refuses_bad_settings() {
    let database = Database::new(Engine::Sqlite);
    let node = Node::new(&database);
    check(&node.clone().with("PORT", "99999"), &["PORT"]);
    check(&node.clone().with("OTP_WINDOW", "-1"), &["OTP_WINDOW"]);
    check(
        &node.clone().with("OTPD_CODES__PERIOD", "3000"),
        &["OTPD_CODES__PERIOD"],
    );
    check(
        &node.clone().with("OTPD_CODES__COLOUR", "blue"),
        &["OTPD_CODES__COLOUR"],
    );
    check(
        &node.clone().with("DATABASE_URL", "mysql://host/x"),
        &["DATABASE_URL"],
    );
    let production = node.with("ENVIRONMENT", "production");
    check(
        &production.clone().with("API_KEY", "short"),
        &["API_KEY", "32"],
    );
    check(&production.without("MASTER_SECRET"), &["MASTER_SECRET"]);
}

#[test]
fn start_refuses_a_database_that_is_not_there() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    let folder = Database::new(Engine::Sqlite);
    let node = Node::new(&folder);
    let url = format!("postgres://otpd:hunter2@127.0.0.1:{port}/otpd");
    let place = format!("127.0.0.1:{port}/otpd");
    let said = refused(&node.clone().with("DATABASE_URL", &url));
    assert!(!said.contains("hunter2"), "{said}");
    check(
        &node.clone().with("DATABASE_URL", &url),
        &["cannot reach the database", &place],
    );
    let nowhere = folder.folder().join("a-file");
    std::fs::write(&nowhere, "no database").expect("a file");
    let below = format!("sqlite:///{}/otpd.db", nowhere.display());
    check(&node.clone().with("DATABASE_URL", &below), &["a-file"]);
    let no_database = format!("sqlite:///{}", nowhere.display());
    check(
        &node.with("DATABASE_URL", &no_database),
        &["a-file", "not a database"],
    );
}

#[test]
fn start_refuses_a_postgresql_server_that_does_not_answer() {
    // Takes connections and says nothing, like a frozen server.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address").to_string();
    let folder = Database::new(Engine::Sqlite);
    let url = format!("postgres://otpd@{address}/otpd");
    check(
        &Node::new(&folder).with("DATABASE_URL", &url),
        &["cannot reach the database", &address],
    );
}

/// The figures are 300 ms and 40 MiB for a release build; a debug build beside other
/// tests is slower and larger.
#[test]
fn start_is_quick_and_small() {
    let (time, size) = if cfg!(debug_assertions) {
        (Duration::from_secs(5), 80 * 1024)
    } else {
        (Duration::from_millis(300), 40 * 1024)
    };
    let database = Database::new(Engine::Sqlite);
    let begun = now();
    let server = Node::new(&database).start();
    assert_eq!(server.stranger().get("/health").status, 200);
    let took = begun.elapsed();
    let resident = server.resident_kib();
    println!(
        "healthy after {took:?} (ready after {:?}), resident {resident} KiB",
        server.ready_after
    );
    assert!(took < time, "{took:?}");
    assert!(resident < size, "{resident} KiB");
}

/// Stopping ends with success, whether anything was asked or not.
fn stops(engine: Engine) {
    let database = Database::new(engine);
    for _ in 0..2 {
        let begun = now();
        let server = Node::new(&database).start();
        assert!(server.stop().success());
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
    let output: Output = Node::new(&database).run(&["doctor"]);
    assert!(output.status.success(), "{output:?}");
}

on_both!(stops: start_and_stop_leave_a_sound_database_on_sqlite, start_and_stop_leave_a_sound_database_on_postgresql);

/// A server that would take an hour to leave goes at once when it is told twice; not when
/// one order arrives as two signals, as those of a terminal and of a wrapper do.
fn told_twice(engine: Engine) {
    let database = Database::new(engine);
    let node = Node::new(&database).with("OTPD_SERVER__LEAVE_SECONDS", "3600");
    let mut server = node.start();
    signal("INT", server.pid());
    signal("TERM", server.pid());
    let mut stranger = server.stranger();
    let mut status = || stranger.get("/readyz").status;
    let leaves = until(Duration::from_secs(5), || (status() == 503).then_some(()));
    assert!(leaves.is_some(), "it does not leave");
    let_pass(Duration::from_secs(1));
    assert!(server.is_alive(), "one order was taken for two");
    signal("TERM", server.pid());
    let begun = now();
    assert!(server.ended().success());
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    let output: Output = node.run(&["doctor"]);
    assert!(output.status.success(), "{output:?}");
}

on_both!(told_twice: a_second_signal_ends_a_leaving_server_on_sqlite, a_second_signal_ends_a_leaving_server_on_postgresql);
