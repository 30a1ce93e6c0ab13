//! Clients that keep a book of what they were told, and check the server against it after each kill.

use std::io;

use serde_json::{Value, json};

use crate::harness::devices::wrong_codes;
use crate::harness::{Answer, Client, Device, Random};

/// One request.
#[derive(Debug)]
pub(crate) struct Deed {
    /// What it was sent under.
    pub request_id: String,
    /// Whether the whole answer arrived.
    pub acknowledged: bool,
}

/// Sends a request and books it; `None` when the server went away under it.
fn act(
    deeds: &mut Vec<Deed>,
    client: &mut Client,
    id: String,
    path: &str,
    body: &Value,
) -> Option<Answer> {
    client.header("X-Request-Id", &id);
    let answer: io::Result<Answer> = client.try_post(path, body);
    deeds.push(Deed {
        request_id: id,
        acknowledged: answer.is_ok(),
    });
    let answer = answer.ok()?;
    assert!(answer.status < 300, "{}: {}", answer.status, answer.text());
    Some(answer)
}

/// What was on its way when the server was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Nothing,
    /// A right code.
    Right,
    /// A wrong one.
    Wrong,
}

/// A user with one device who sends right and wrong codes in turn.
pub(crate) struct Player {
    device: Device,
    wrong: Vec<String>,
    /// The next counter that was never sent.
    next: u64,
    /// Acknowledged acceptances.
    accepted: Vec<u64>,
    /// Acceptances of earlier cycles that turned out to have been committed unanswered.
    found: u64,
    /// Acknowledged failures since the last acceptance.
    failures: u64,
    open: Open,
    sent: usize,
    checks: usize,
    /// Everything that was sent.
    pub deeds: Vec<Deed>,
}

impl Player {
    /// Registers the device.
    pub(crate) fn new(admin: &mut Client, name: &str) -> Self {
        let device = Device::hotp(admin, &format!("player-{name}"), name);
        // For a counter, "near" is its beginning: enough, as 8 digits hardly collide.
        let wrong = wrong_codes(&[&device], 50);
        Self {
            device,
            wrong,
            next: 0,
            accepted: Vec::new(),
            found: 0,
            failures: 0,
            open: Open::Nothing,
            sent: 0,
            checks: 0,
            deeds: Vec::new(),
        }
    }

    /// Sends codes until the server is gone.
    pub(crate) fn play(&mut self, address: &str, cycle: usize) {
        let mut client = Client::new(address, Some(crate::harness::ADMIN_KEY));
        if client.connect().is_err() {
            return;
        }
        loop {
            self.sent += 1;
            // Two wrong ones after each right one: far from the lock, even with one more
            // that was committed without an answer.
            let is_right = self.sent.is_multiple_of(3);
            let code = if is_right {
                self.next += 1;
                self.device.code(self.next - 1)
            } else {
                self.wrong[self.sent % self.wrong.len()].clone()
            };
            self.open = if is_right { Open::Right } else { Open::Wrong };
            let id = format!("crash-{}-{cycle}-{}", self.device.id, self.sent);
            let question = self.device.question(&code);
            let path = "/api/v1/otp/verify";
            let Some(answer) = act(&mut self.deeds, &mut client, id, path, &question) else {
                return;
            };
            self.open = Open::Nothing;
            let data = &answer.json()["data"];
            assert_eq!(data["valid"], is_right, "{}: {data}", self.device.id);
            if is_right {
                self.accepted.push(self.next - 1);
                self.failures = 0;
            } else {
                assert_eq!(data["reason"], "rejected", "{}: {data}", self.device.id);
                self.failures += 1;
            }
        }
    }

    /// Compares the server's book with this one.
    pub(crate) fn check(&mut self, admin: &mut Client, random: &mut Random) {
        let view = self.device.view(admin);
        let id = self.device.id.clone();
        let used = view["usage_count"].as_u64().expect("a number");
        let failed = view["failed_attempts"].as_u64().expect("a number");
        let known = self.accepted.len() as u64 + self.found;
        let more = used.checked_sub(known);
        let more = more.unwrap_or_else(|| panic!("{id}: {used} of {known} acceptances left"));
        match self.open {
            // The unanswered code was spent, and with it the failures were forgiven.
            Open::Right if more == 1 => assert_eq!(failed, 0, "{id}"),
            Open::Right => assert_eq!((more, failed), (0, self.failures), "{id}"),
            Open::Wrong => {
                assert_eq!(more, 0, "{id}");
                let counted = failed.checked_sub(self.failures);
                assert!(
                    matches!(counted, Some(0 | 1)),
                    "{id}: {failed} of {}",
                    self.failures
                );
            }
            Open::Nothing => assert_eq!((more, failed), (0, self.failures), "{id}"),
        }
        self.found += more;
        self.open = Open::Nothing;
        self.repeat(admin, random);
        self.start_afresh(admin);
    }

    /// The last acknowledged code and an older one must not be accepted again.
    fn repeat(&mut self, admin: &mut Client, random: &mut Random) {
        let Some(last) = self.accepted.last().copied() else {
            return;
        };
        let any = self.accepted[random.below(self.accepted.len() as u64) as usize];
        for counter in [last, any] {
            let code = self.device.code(counter);
            let data = self.ask(admin, &code);
            assert_eq!(data["valid"], false, "{}: accepted twice", self.device.id);
        }
    }

    /// A right code forgives the failures, so that the next cycle begins at zero.
    fn start_afresh(&mut self, admin: &mut Client) {
        let counter = self.next;
        self.next += 1;
        let code = self.device.code(counter);
        let data = self.ask(admin, &code);
        assert_eq!(data["valid"], true, "{}: {data}", self.device.id);
        self.accepted.push(counter);
        self.failures = 0;
    }

    fn ask(&mut self, admin: &mut Client, code: &str) -> Value {
        self.checks += 1;
        let id = format!("crash-{}-check-{}", self.device.id, self.checks);
        let question = self.device.question(code);
        let path = "/api/v1/otp/verify";
        let answer = act(&mut self.deeds, admin, id, path, &question);
        answer.expect("an answer").json()["data"].clone()
    }
}

/// What is known of one enrolled device.
struct Enrolled {
    device: Device,
    /// The code whose acceptance was acknowledged.
    accepted: Option<String>,
    /// Its deactivation was sent; `true` once acknowledged.
    deactivated: Option<bool>,
}

/// Somebody who registers devices, uses them once and deactivates them.
#[derive(Default)]
pub(crate) struct Enrolment {
    number: usize,
    of_this_cycle: Vec<Enrolled>,
    /// Everything that was sent.
    pub deeds: Vec<Deed>,
}

impl Enrolment {
    /// Enrols until the server is gone.
    pub(crate) fn go_on(&mut self, address: &str, cycle: usize) {
        let mut client = Client::new(address, Some(crate::harness::ADMIN_KEY));
        if client.connect().is_err() {
            return;
        }
        while self.enrol(&mut client, cycle).is_some() {}
    }

    fn enrol(&mut self, client: &mut Client, cycle: usize) -> Option<()> {
        self.number += 1;
        let number = self.number;
        let request = |what: &str| format!("crash-enrol-{cycle}-{number}-{what}");
        let deeds = &mut self.deeds;
        let name = format!("enrolled-{number}");
        let body = json!({"device_id": name, "user_id": name});
        let answer = act(
            deeds,
            client,
            request("register"),
            "/api/v1/devices/register",
            &body,
        )?;
        let device = Device::shown(&answer);
        let code = device.current();
        let question = device.question(&code);
        let path = format!("{}/deactivate", device.path());
        let place = self.of_this_cycle.len();
        self.of_this_cycle.push(Enrolled {
            device,
            accepted: None,
            deactivated: None,
        });
        let enrolled = &mut self.of_this_cycle[place];
        let answer = act(
            deeds,
            client,
            request("verify"),
            "/api/v1/otp/verify",
            &question,
        )?;
        assert_eq!(answer.json()["data"]["valid"], true, "{}", answer.text());
        enrolled.accepted = Some(code);
        if number.is_multiple_of(2) {
            enrolled.deactivated = Some(false);
            act(deeds, client, request("deactivate"), &path, &json!({}))?;
            enrolled.deactivated = Some(true);
        }
        Some(())
    }

    /// What was acknowledged in this cycle holds.
    pub(crate) fn check(&mut self, admin: &mut Client) {
        for enrolled in self.of_this_cycle.drain(..) {
            let device = &enrolled.device;
            let view = device.view(admin);
            match enrolled.deactivated {
                None => assert_eq!(view["status"], "active", "{}", device.id),
                Some(true) => assert_eq!(view["status"], "deactivated", "{}", device.id),
                Some(false) => {}
            }
            if let Some(code) = &enrolled.accepted {
                assert!(
                    !device.accepts(admin, code),
                    "{}: accepted twice",
                    device.id
                );
            }
        }
    }
}
