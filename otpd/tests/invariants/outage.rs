//! I-15: without its database the server accepts nothing, says so within two seconds, and comes back by itself.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::harness::own_postgres::OwnPostgres;
use crate::harness::surroundings::{RaiseAtEnd, length, let_pass, now, until};
use crate::harness::{Answer, Client, Database, Device, Node, Server};

/// The longest a client waits for the 503. The contract's figure is 2 s; the rest is
/// what a test machine may add before and after the server's own work.
const ANSWER_LIMIT: Duration = Duration::from_millis(2300);

/// From the moment the database answers again until the server does.
const RETURN_LIMIT: Duration = Duration::from_secs(5);

/// Sends code after code of one device and keeps those that were accepted.
struct Sender {
    device: Device,
    next: u64,
    accepted: Vec<u64>,
    unknown: Vec<u64>,
}

impl Sender {
    fn new(admin: &mut Client, number: usize) -> Self {
        Self {
            device: Device::hotp(admin, &format!("d{number}"), &format!("u{number}")),
            next: 0,
            accepted: Vec::new(),
            unknown: Vec::new(),
        }
    }

    fn send(&mut self, client: &mut Client) -> Answer {
        let question = self.device.question(&self.device.code(self.next));
        let start = now();
        let answer = client.post("/api/v1/otp/verify", &question);
        let took = start.elapsed();
        match answer.status {
            200 => {
                let data = &answer.json()["data"];
                // After an unknown outcome the same code may turn out to be spent.
                let spent = self.unknown.contains(&self.next);
                assert!(data["valid"] == true || spent, "{data}");
                if data["valid"] == true {
                    self.accepted.push(self.next);
                }
                self.next += 1;
            }
            503 => {
                assert!(took < ANSWER_LIMIT, "a 503 after {took:?}");
                let wait = answer.header("retry-after");
                assert!(wait.is_some_and(|seconds| seconds.parse::<u32>().is_ok()));
                let kind = answer.header("content-type");
                assert_eq!(kind, Some("application/problem+json"));
                self.unknown.push(self.next);
            }
            other => panic!("{other}: {}", answer.text()),
        }
        answer
    }

    /// No code was accepted twice, and none is now.
    fn check(&mut self, client: &mut Client) {
        let distinct: BTreeSet<&u64> = self.accepted.iter().collect();
        assert_eq!(distinct.len(), self.accepted.len(), "accepted twice");
        let codes = self.accepted.iter().rev().take(2);
        for counter in codes.copied().collect::<Vec<u64>>() {
            let code = self.device.code(counter);
            assert!(!self.device.accepts(client, &code), "accepted again");
        }
        // Forgives the failures of this check.
        while self.send(client).json()["data"]["valid"] != true {}
        let view = self.device.view(client);
        let used = view["usage_count"].as_u64().expect("a number");
        let (least, most) = (
            self.accepted.len(),
            self.accepted.len() + self.unknown.len(),
        );
        let bounds = least as u64..=most as u64;
        assert!(bounds.contains(&used), "{used} acceptances of {bounds:?}");
    }
}

/// Runs senders while `outage` happens; they go on as long as it lasts.
fn under_load(server: &Server, senders: &mut [Sender], outage: impl FnOnce()) {
    let over = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        for sender in senders {
            scope.spawn(move || {
                let mut client = server.admin();
                while !over.load(Ordering::SeqCst) {
                    sender.send(&mut client);
                }
            });
        }
        let _end = RaiseAtEnd(over);
        outage();
    });
}

/// Without a database: alive, not ready, and every call refused in time.
fn check_refusals(server: &Server, device: &Device) {
    let mut stranger = server.stranger();
    assert_eq!(stranger.get("/livez").status, 200);
    for path in ["/readyz", "/health"] {
        let start = now();
        let answer = stranger.get(path);
        let took = start.elapsed();
        assert_eq!(answer.status, 503, "{path}: {}", answer.text());
        assert!(took < ANSWER_LIMIT, "{path}: {took:?}");
    }
    let mut admin = server.admin();
    let body = json!({"device_id": "new", "user_id": "new"});
    let register = |admin: &mut Client| admin.post("/api/v1/devices/register", &body);
    let look = |admin: &mut Client| admin.get(&device.path());
    let ask: [&dyn Fn(&mut Client) -> Answer; 2] = [&register, &look];
    for (place, ask) in ask.iter().enumerate() {
        let start = now();
        let answer = ask(&mut admin);
        let took = start.elapsed();
        assert_eq!(answer.status, 503, "{place}: {}", answer.text());
        assert!(answer.header("retry-after").is_some(), "{place}");
        assert!(took < ANSWER_LIMIT, "{place}: {took:?}");
    }
}

/// Waits until every kind of call is answered again and tells how long that took.
fn service_returns(server: &Server, senders: &mut [Sender], round: usize) -> Duration {
    let start = now();
    let mut admin = server.admin();
    let mut wait = |what: &str, ask: &mut dyn FnMut(&mut Client) -> bool| {
        let rest = RETURN_LIMIT.saturating_sub(start.elapsed());
        let back = until(rest, || ask(&mut admin).then_some(()));
        assert!(
            back.is_some(),
            "no {what} {RETURN_LIMIT:?} after the database"
        );
    };
    for sender in senders {
        wait("verification", &mut |admin| {
            sender.send(admin).status == 200
        });
    }
    // A name of this round's own: only a registration that writes shows that writing works.
    let name = format!("after-{round}");
    let body = json!({"device_id": name, "user_id": name});
    wait("registration", &mut |admin| {
        let answer = admin.post("/api/v1/devices/register", &body);
        matches!(answer.status, 201 | 409)
    });
    wait("look-up", &mut |admin| {
        admin.get("/api/v1/devices").status == 200
    });
    wait("readiness", &mut |admin| admin.get("/readyz").status == 200);
    start.elapsed()
}

struct Scene {
    server: Server,
    senders: Vec<Sender>,
    // After the server, so that they outlive it.
    database: Database,
    postgres: OwnPostgres,
}

impl Scene {
    fn new() -> Self {
        let postgres = OwnPostgres::new();
        let database = Database::on_server(&postgres.url());
        let server = Node::new(&database).start();
        let mut admin = server.admin();
        let senders = (0..4).map(|n| Sender::new(&mut admin, n)).collect();
        Self {
            server,
            senders,
            database,
            postgres,
        }
    }

    fn check(mut self) {
        let mut admin = self.server.admin();
        for sender in &mut self.senders {
            sender.check(&mut admin);
        }
        assert!(self.server.is_alive());
        let output = Node::new(&self.database).run(&["audit", "verify"]);
        assert!(output.status.success(), "{output:?}");
    }
}

#[test]
fn i15_a_stopped_database_stops_all_acceptance_and_service_returns() {
    let mut scene = Scene::new();
    for round in 0..length(2, 20) {
        let (postgres, server) = (&mut scene.postgres, &scene.server);
        let device = Device::totp(&mut server.admin(), &format!("other-{round}"), "other");
        under_load(server, &mut scene.senders, || {
            let_pass(Duration::from_secs(1));
            postgres.stop();
            check_refusals(server, &device);
            check_refusals(server, &device);
            postgres.start();
        });
        let took = service_returns(server, &mut scene.senders, round);
        println!("round {round}: back {took:?} after the database");
        assert!(scene.server.is_alive());
    }
    scene.check();
}

#[test]
fn i15_a_frozen_database_is_answered_for_in_time_and_service_returns() {
    let mut scene = Scene::new();
    let frozen_for = Duration::from_secs(length(5, 60) as u64);
    for round in 0..length(1, 2) {
        let (postgres, server) = (&scene.postgres, &scene.server);
        let device = Device::totp(&mut server.admin(), &format!("other-{round}"), "other");
        under_load(server, &mut scene.senders, || {
            let frozen = postgres.freeze();
            let begun = now();
            check_refusals(server, &device);
            let_pass(frozen_for.saturating_sub(begun.elapsed()));
            drop(frozen);
        });
        let took = service_returns(server, &mut scene.senders, round);
        println!("round {round}: back {took:?} after the database");
    }
    scene.check();
}
