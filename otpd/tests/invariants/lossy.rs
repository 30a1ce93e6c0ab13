//! I-3, I-8, I-15 where the database confirms too early or forgets: it is noticed while the server runs.

use std::time::Duration;

use serde_json::json;

use crate::audit_log::export_checkpoint;
use crate::harness::database::simple_query;
use crate::harness::own_postgres::OwnPostgres;
use crate::harness::surroundings::{let_pass, until};
use crate::harness::{Answer, Client, Database, Device, Engine, Node, Server};

const LIMIT: Duration = Duration::from_secs(20);
const ACTIVITY: &str = "FROM pg_stat_activity WHERE application_name = 'otpd'
                        AND datname = current_database()";

fn ready(server: &Server) -> bool {
    server.stranger().get("/readyz").status == 200
}

#[track_caller]
fn comes(what: &str, holds: impl Fn() -> bool) {
    assert!(
        until(LIMIT, || holds().then_some(())).is_some(),
        "never: {what}"
    );
}

fn said(server: &Server, word: &str) -> bool {
    String::from_utf8_lossy(&server.output()).contains(word)
}

/// What a lagging standby would have: the longest chain of verifications without its last two.
fn forget_two_events(database: &Database) -> (i64, i64) {
    let last = database.number(
        "SELECT MAX(id) FROM events WHERE action = 'OTP_VERIFICATION'
         GROUP BY id >> 40 ORDER BY COUNT(1) DESC LIMIT 1",
    );
    let (chain, seq) = (last >> 40, last & ((1 << 40) - 1));
    let keep = last - 2;
    database.query(&format!(
        "UPDATE chain_heads SET seq = {},
           link = (SELECT link FROM events WHERE id = {keep}),
           mac = (SELECT mac FROM events WHERE id = {keep})
         WHERE chain = {chain};
         DELETE FROM events WHERE id > {keep} AND id <= {last}",
        seq - 2
    ));
    database.query(&format!("SELECT pg_terminate_backend(pid) {ACTIVITY}"));
    (chain, seq)
}

#[test]
fn i8_i15_events_that_the_database_has_lost_are_reported_and_service_returns() {
    let database = Database::new(Engine::Postgres);
    let node = Node::new(&database);
    let server = node.start();
    let mut admin = server.admin();
    let device = Device::hotp(&mut admin, "d", "u");
    for counter in 0..5 {
        assert!(device.accepts(&mut admin, &device.code(counter)));
    }
    let file = export_checkpoint(&mut admin, &database);
    let (chain, seq) = forget_two_events(&database);
    comes("service", || {
        let question = device.question(&device.code(5));
        let answer = server.admin().post("/api/v1/otp/verify", &question);
        assert!([200, 503].contains(&answer.status), "{}", answer.text());
        answer.status == 200
    });
    comes("readiness", || ready(&server));
    assert!(device.accepts(&mut server.admin(), &device.code(6)));
    let health = server.stranger().get("/health");
    assert_eq!(health.status, 200);
    let told = health.json();
    assert_eq!(told["checks"]["database"], "degraded", "{told}");
    let words = told["details"]["database"].as_str();
    assert!(
        words.is_some_and(|words| words.contains("audit verify")),
        "{told}"
    );
    assert!(said(&server, "lost or changed acknowledged events"));
    let metrics = server.admin().get("/metrics").text();
    assert!(metrics.contains("otpd_chains_broken_total 1"), "{metrics}");
    drop(server);
    let output = node.run(&["audit", "verify", "--checkpoint", &file]);
    let found = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success(), "{found}");
    let cut = |line: &str| {
        let place = format!("seq={} ", seq - 1);
        line.contains("cut_tail") && line.contains(&place)
    };
    assert!(found.lines().any(cut), "chain {chain}: {found}");
}

/// A server on a database there, and a device whose first code is spent.
fn begun(postgres: &OwnPostgres) -> (Database, Server, Device) {
    let database = Database::on_server(&postgres.url());
    let server = Node::new(&database).start();
    let device = Device::hotp(&mut server.admin(), "d", "u");
    assert!(device.accepts(&mut server.admin(), &device.code(0)));
    (database, server, device)
}

/// Changes a setting of the whole database server, in force a moment later.
fn set(postgres: &OwnPostgres, sql: &str) {
    simple_query(&postgres.url(), sql);
    simple_query(&postgres.url(), "SELECT pg_reload_conf()");
}

#[test]
fn i3_settings_that_lose_commits_are_noticed_at_run_time() {
    let postgres = OwnPostgres::new();
    let (database, server, device) = begun(&postgres);
    let set = |sql: &str| set(&postgres, sql);
    let ask = |counter: u64| {
        let question = device.question(&device.code(counter));
        server.admin().post("/api/v1/otp/verify", &question)
    };
    set("ALTER SYSTEM SET fsync = off");
    comes("it is noticed", || !ready(&server));
    assert_eq!(ask(1).status, 503);
    assert!(said(&server, "fsync = off"));
    // New connections are no way around it.
    database.query(&format!("SELECT pg_terminate_backend(pid) {ACTIVITY}"));
    let served = until(Duration::from_secs(3), || {
        (ask(1).status != 503).then_some(())
    });
    assert!(served.is_none());
    set("ALTER SYSTEM RESET fsync");
    comes("service", || ready(&server) && ask(1).status == 200);
    // Also a server that was stopped and comes back in that way.
    set("ALTER SYSTEM SET full_page_writes = off");
    database.query(&format!("SELECT pg_terminate_backend(pid) {ACTIVITY}"));
    comes("it is noticed", || said(&server, "full_page_writes = off"));
    comes("it is not ready", || !ready(&server));
    set("ALTER SYSTEM RESET full_page_writes");
    comes("service", || ready(&server) && ask(2).status == 200);
}

/// Asks until it is answered, while no commit of otpd may wait for a standby; whether one did.
fn ask_and_cancel(database: &Database, ask: impl FnOnce() -> Answer + Send) -> (Answer, bool) {
    let cancel = format!("SELECT pg_cancel_backend(pid) {ACTIVITY} AND wait_event = 'SyncRep'");
    std::thread::scope(|scope| {
        let asking = scope.spawn(ask);
        let mut cancelled = false;
        while !asking.is_finished() {
            cancelled |= !database.query(&cancel).is_empty();
            let_pass(Duration::from_millis(5));
        }
        (asking.join().expect("an answer"), cancelled)
    })
}

/// The server says with a warning that it has not waited for the standby, then confirms.
#[test]
fn i3_a_commit_that_did_not_wait_for_the_standby_is_not_acknowledged() {
    let postgres = OwnPostgres::new();
    let (database, server, device) = begun(&postgres);
    let set = |sql: &str| set(&postgres, sql);
    let other = Node::new(&database).start();
    let ask_at = |server: &Server, counter: u64| {
        let mut admin = server.admin();
        admin.header("Idempotency-Key", &format!("number-{counter}"));
        admin.post(
            "/api/v1/otp/verify",
            &device.question(&device.code(counter)),
        )
    };
    let ask = |counter| ask_at(&server, counter);
    set("ALTER SYSTEM SET synchronous_standby_names = '*'");
    // The setting is in force a moment later.
    let doubtful = (1..50).find(|counter| {
        let (answer, cancelled) = ask_and_cancel(&database, || ask(*counter));
        let expected = if cancelled { 503 } else { 200 };
        assert_eq!(answer.status, expected, "{}", answer.text());
        cancelled
    });
    let doubtful = doubtful.expect("a commit that waited for a standby");
    let used = "SELECT used FROM device_hot h JOIN devices d ON d.id = h.id WHERE d.name = 'd'";
    assert_eq!(
        database.number(used),
        1 + doubtful as i64,
        "committed all the same"
    );
    // Nor is it told by looking: not before the standby has it, whichever lane is asked,
    // of whichever node.
    for server in [&server, &other, &server, &other] {
        assert_eq!(ask_at(server, doubtful).status, 503);
    }
    set("ALTER SYSTEM RESET synchronous_standby_names");
    comes("service", || ask(doubtful).status == 200);
    let told = ask(doubtful).json()["data"].clone();
    assert_eq!(told["valid"], true, "{told}");
    assert_eq!(told["replayed"], true, "{told}");
    assert!(!device.accepts(&mut server.admin(), &device.code(doubtful)));
}

/// Something that can be revoked, as its path.
type Make = fn(&mut Client, usize) -> String;

/// Revokes one after the other until the wait for the standby was cancelled: whoever asks for
/// that again is told nothing before the standby has it, at any node. `None` when something else
/// of the server has met with that before.
fn not_told_again(make: Make, revoke: fn(&Server, &str) -> Answer, gone: &str) -> Option<()> {
    let postgres = OwnPostgres::new();
    let (database, server, _) = begun(&postgres);
    let other = Node::new(&database).start();
    let made = (0..20).map(|number| make(&mut server.admin(), number));
    let made: Vec<_> = made.collect();
    let before = database.number(gone);
    set(
        &postgres,
        "ALTER SYSTEM SET synchronous_standby_names = '*'",
    );
    // The setting is in force a moment later.
    let doubtful = made.iter().zip(before + 1..).find(|(path, _)| {
        let (answer, cancelled) = ask_and_cancel(&database, || revoke(&server, path));
        assert!([200, 503].contains(&answer.status), "{}", answer.text());
        assert!(cancelled || answer.status == 200, "{}", answer.text());
        answer.status == 503
    });
    let (path, number) = doubtful.expect("a commit that waited for a standby");
    if database.number(gone) < number {
        return None;
    }
    for server in [&other, &server, &other, &server] {
        assert_eq!(revoke(server, path).status, 503);
    }
    set(&postgres, "ALTER SYSTEM RESET synchronous_standby_names");
    for server in [&other, &server] {
        comes("service", || revoke(server, path).status == 200);
    }
    Some(())
}

#[track_caller]
fn soon(scene: impl Fn() -> Option<()>) {
    let found = (0..5).find_map(|_| scene());
    found.expect("the server has had other commits to wait for each time");
}

/// The kept answer of a change is read apart from the lanes.
#[test]
fn i3_a_change_that_did_not_wait_for_the_standby_is_not_told_again_as_made() {
    let make: Make = |admin, number| {
        let device = Device::hotp(admin, &format!("device-{number}"), "u");
        format!("{}/deactivate", device.path())
    };
    let revoke = |server: &Server, path: &str| {
        let mut admin = server.admin();
        admin.header("Idempotency-Key", "once");
        admin.post(path, &json!({}))
    };
    soon(|| not_told_again(make, revoke, "SELECT COUNT(deactivated_at) FROM devices"));
}

/// That a key is revoked already is no change at all.
#[test]
fn i3_a_revoked_key_of_which_the_standby_may_not_know_is_not_told_again_as_revoked() {
    let make: Make = |admin, number| {
        let key = admin.post(
            "/api/v1/keys",
            &json!({ "name": format!("key-{number}"), "scopes": ["otp:verify"] }),
        );
        let id = key.expect(201)["data"]["id"].clone();
        format!("/api/v1/keys/{}", id.as_str().expect("an id"))
    };
    let revoke = |server: &Server, path: &str| server.admin().delete(path);
    soon(|| not_told_again(make, revoke, "SELECT COUNT(revoked_at) FROM api_keys"));
}

/// The same for a device, where nothing was kept.
#[test]
fn i3_an_ended_device_of_which_the_standby_may_not_know_is_not_told_again_as_ended() {
    let make: Make = |admin, number| {
        let device = Device::hotp(admin, &format!("device-{number}"), "u");
        format!("{}/deactivate", device.path())
    };
    let revoke = |server: &Server, path: &str| server.admin().post(path, &json!({}));
    soon(|| not_told_again(make, revoke, "SELECT COUNT(deactivated_at) FROM devices"));
}

/// As on the former primary of a failover: what is read there is not where the commits go.
#[test]
fn i3_what_the_server_that_commits_does_not_have_is_not_told() {
    let database = Database::new(Engine::Postgres);
    let server = Node::new(&database).start();
    let mut admin = server.admin();
    let device = Device::hotp(&mut admin, "d", "u");
    let key = json!({ "name": "key", "scopes": ["otp:verify"] });
    let key = admin.post("/api/v1/keys", &key).expect(201)["data"]["id"].clone();
    let key = format!("/api/v1/keys/{}", key.as_str().expect("an id"));
    let end = format!("{}/deactivate", device.path());
    let own = json!({ "user_id": "v" });
    admin.post("/otp/enable", &own).expect(201);
    let end_once = || {
        let mut admin = server.admin();
        admin.header("Idempotency-Key", "once");
        admin.post(&end, &json!({}))
    };
    let told = || {
        let again = server.admin().post(&end, &json!({}));
        let revoked = server.admin().delete(&key);
        let own = server.admin().post("/otp/deactivate", &own);
        [end_once(), again, revoked, own].map(|reply| reply.status)
    };
    assert_eq!(told(), [200; 4]);
    database.query(
        "CREATE FUNCTION lacks() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
         CREATE TRIGGER lacks BEFORE UPDATE ON idempotency FOR EACH ROW EXECUTE FUNCTION lacks();
         CREATE TRIGGER lacks BEFORE UPDATE ON devices FOR EACH ROW EXECUTE FUNCTION lacks();
         CREATE TRIGGER lacks BEFORE UPDATE ON api_keys FOR EACH ROW EXECUTE FUNCTION lacks()",
    );
    assert_eq!(told(), [503; 4]);
    database.query("DROP FUNCTION lacks CASCADE");
    assert_eq!(told(), [200; 4]);
}
