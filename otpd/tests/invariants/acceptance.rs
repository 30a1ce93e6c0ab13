//! I-1: at most one acceptance per device and step or counter, whoever sends the code how often and to which node.

use serde_json::Value;

use crate::harness::surroundings::length;
use crate::harness::{Client, Database, Device, Engine, Node, Server, at_once, on_both};

/// How many clients send the same code at the same moment.
const SENDERS: usize = 50;

/// Sends one code from everywhere at once and gives what the answers say.
fn race(clients: &mut [Client], device: &Device, code: &str) -> Vec<Value> {
    let question = device.question(code);
    let answers = at_once(clients, |_, client| {
        client.post("/api/v1/otp/verify", &question)
    });
    let data = |answer: crate::harness::Answer| answer.expect(200)["data"].clone();
    answers.into_iter().map(data).collect()
}

#[track_caller]
fn assert_one_acceptance(answers: &[Value], round: usize) {
    let accepted = answers.iter().filter(|data| data["valid"] == true).count();
    assert_eq!(accepted, 1, "round {round}");
    for data in answers.iter().filter(|data| data["valid"] != true) {
        assert_eq!(data["reason"], "rejected", "round {round}: {data}");
    }
}

/// A device that counts, and the number of its codes that were sent. Each repetition of a
/// code is a failure, and 200 of them in a month disable a user, so now and then
/// somebody else goes on.
struct Counter {
    device: Device,
    spent: u64,
}

impl Counter {
    fn new(admin: &mut Client, round: usize) -> Self {
        let name = format!("counter-{round}");
        Self {
            device: Device::hotp(admin, &name, &name),
            spent: 0,
        }
    }

    fn next(&mut self, admin: &mut Client, round: usize) -> String {
        if self.spent == 100 {
            *self = Self::new(admin, round);
        }
        self.spent += 1;
        self.device.code(self.spent - 1)
    }
}

fn parallel(engine: Engine) {
    let database = Database::new(engine);
    let servers = Node::start_all(&database, engine);
    let mut admin = servers[0].admin();
    let mut clients: Vec<Client> = servers
        .iter()
        .cycle()
        .take(SENDERS)
        .map(Server::admin)
        .collect();
    let mut counter = Counter::new(&mut admin, 0);
    for round in 0..length(30, 1000) {
        // Every second round spends the next counter of one device, the others the
        // present step of a device of their own.
        let answers = if round % 2 == 0 {
            let code = counter.next(&mut admin, round);
            race(&mut clients, &counter.device, &code)
        } else {
            let id = format!("device-{round}");
            let device = Device::totp(&mut admin, &id, &format!("user-{round}"));
            race(&mut clients, &device, &device.current())
        };
        assert_one_acceptance(&answers, round);
    }
    let used = counter.device.view(&mut admin)["usage_count"].clone();
    assert_eq!(used, counter.spent);
}

on_both!(parallel: i1_one_code_from_fifty_clients_on_sqlite, i1_one_code_from_fifty_clients_on_postgresql);

fn across_restarts(engine: Engine) {
    let database = Database::new(engine);
    let mut server = Node::new(&database).start();
    let totp = Device::totp(&mut server.admin(), "totp", "one");
    let hotp = Device::hotp(&mut server.admin(), "hotp", "two");
    let step = totp.step();
    // One step behind is still in the window, so both of these could be accepted again
    // if their acceptance were forgotten.
    let codes = [totp.code(step), totp.code(step - 1)];
    for restart in 0..4 {
        let counter = hotp.code(restart);
        let mut admin = server.admin();
        if restart == 0 {
            assert!(totp.accepts(&mut admin, &codes[0]));
        }
        assert!(hotp.accepts(&mut admin, &counter));
        if restart % 2 == 0 {
            server.kill();
        } else {
            assert!(server.stop().success());
        }
        server = Node::new(&database).start();
        let mut admin = server.admin();
        assert!(!hotp.accepts(&mut admin, &counter), "restart {restart}");
        if restart == 0 {
            for code in &codes {
                assert!(!totp.accepts(&mut admin, code), "a burnt step came back");
            }
        }
    }
}

on_both!(across_restarts: i1_a_spent_code_stays_spent_over_restarts_on_sqlite, i1_a_spent_code_stays_spent_over_restarts_on_postgresql);

#[test]
fn i1_a_code_spent_at_one_node_is_spent_at_the_other() {
    let database = Database::new(Engine::Postgres);
    let servers = Node::start_all(&database, Engine::Postgres);
    let mut admins: Vec<Client> = servers.iter().map(Server::admin).collect();
    let mut counter = Counter::new(&mut admins[0], 0);
    for round in 0..length(20, 500) {
        let code = counter.next(&mut admins[0], round);
        let device = &counter.device;
        let (here, there) = (round % 2, (round + 1) % 2);
        assert!(device.accepts(&mut admins[here], &code), "round {round}");
        assert!(!device.accepts(&mut admins[there], &code), "round {round}");
    }
}
