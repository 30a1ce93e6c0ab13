//! Tests of the judge: one user, devices whose codes are computed here, a time that is set.

use std::cell::Cell;

use otp::{Algorithm, Code, Digits, Secret, highest_match, hotp};

use super::*;
use crate::device::{Hot, Kind, SealedKey};
use crate::event::Action;
use crate::policy::Policy;

#[path = "verify_tests/budget.rs"]
mod budget;
#[path = "verify_tests/confirm.rs"]
mod confirm;
#[path = "verify_tests/counters.rs"]
mod counters;
#[path = "verify_tests/emailed.rs"]
mod emailed;
#[path = "verify_tests/events.rs"]
mod events;
#[path = "verify_tests/explain.rs"]
mod explain;
#[path = "verify_tests/model.rs"]
mod model;
#[path = "verify_tests/person.rs"]
mod person;
#[path = "verify_tests/replay.rs"]
mod replay;
#[path = "verify_tests/resync.rs"]
mod resync;
#[path = "verify_tests/window_rules.rs"]
mod window_rules;

/// The first second of step 56,666,667 of 30 seconds.
const START: Time = Time::from_seconds(1_700_000_010);
const PERIOD: i64 = 30;

fn totp(id: i64) -> Device {
    Device {
        id: DeviceId(id),
        user: UserId(7),
        name: name(id),
        owner: "dave".into(),
        kind: Kind::Totp { period: 30 },
        algorithm: Algorithm::Sha1,
        digits: Digits::default(),
        policy: None,
        state: State::Active,
        key: SealedKey {
            version: 1,
            bytes: Vec::new(),
        },
        hot: Hot::default(),
    }
}

fn counter(id: i64, next: i64) -> Device {
    let mut device = totp(id);
    device.kind = Kind::Hotp;
    device.hot.next = next;
    device
}

fn name(id: i64) -> DeviceName {
    DeviceName::parse(&format!("device-{id}")).expect("a name")
}

fn secret(device: DeviceId) -> Secret {
    Secret::from_bytes(format!("key of device {:06}", device.0).into_bytes())
}

/// Counts what is opened, or can open nothing.
#[derive(Default)]
struct Keys {
    opened: Cell<usize>,
    lost: bool,
}

impl Secrets for Keys {
    fn open(&self, device: &Device) -> Option<Secret> {
        self.opened.set(self.opened.get() + 1);
        (!self.lost).then(|| secret(device.id))
    }

    /// What a keyed hash does, but readable: other challenges and codes give others.
    fn hash_code(&self, challenge: ChallengeId, code: &Code) -> [u8; 32] {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&challenge.0.to_be_bytes());
        let text = code.to_text();
        hash[8..8 + text.len()].copy_from_slice(text.as_bytes());
        hash
    }
}

/// A user at the judge. Devices are numbered from 0 in the order given.
struct Case {
    user: User,
    policies: Policies,
    keys: Keys,
    now: Time,
}

impl Case {
    fn new(devices: impl IntoIterator<Item = Device>) -> Self {
        Self {
            user: User {
                devices: devices.into_iter().map(Judged::new).collect(),
                ..User::new(UserId(7), "dave".into(), Guard::default())
            },
            policies: Policies::default(),
            keys: Keys::default(),
            now: START,
        }
    }

    fn device(&mut self, which: usize) -> &mut Device {
        &mut self.user.devices[which].device
    }

    fn hot(&self, which: usize) -> Hot {
        self.user.devices[which].device.hot
    }

    /// The step of the time, by plain division.
    fn step(&self) -> i64 {
        self.now.seconds() / PERIOD
    }

    fn pass(&mut self, seconds: i64) {
        self.now = self.now.plus_seconds(seconds);
    }

    /// What the device shows at a step or counter.
    fn code(&self, which: usize, step: i64) -> Code {
        let device = &self.user.devices[which].device;
        let step = u64::try_from(step).expect("no step before 0");
        hotp(&secret(device.id), device.algorithm, device.digits, step)
    }

    /// A code that the device shows nowhere near now or its next counter.
    fn wrong(&self, which: usize) -> Code {
        let device = &self.user.devices[which].device;
        let centre = match device.kind {
            Kind::Totp { period } => self.now.seconds() / i64::from(period),
            Kind::Hotp => device.hot.next,
        };
        let low = u64::try_from(centre - 140).unwrap_or(0);
        let near = low..=low + 280;
        (0..)
            .map(|n| Code::from_integer(n, device.digits).expect("a small number"))
            .find(|code| {
                let key = secret(device.id);
                highest_match(&key, device.algorithm, code, near.clone()).is_none()
            })
            .expect("most codes are wrong")
    }

    fn ask(&mut self, which: usize, ask: Ask) -> Outcome {
        let device = self.user.devices[which].device.name.clone();
        self.ask_by_name(device, ask)
    }

    fn ask_by_name(&mut self, device: DeviceName, ask: Ask) -> Outcome {
        let asked = Attempt {
            subject: Subject::Device(device),
            ask,
            origin: Origin::default(),
        };
        attempt(&mut self.user, &asked, self.now, &self.policies, &self.keys)
    }

    /// Asks something of the person.
    fn ask_person(&mut self, ask: Ask) -> Outcome {
        let asked = Attempt {
            subject: Subject::User(UserName::parse("dave").expect("a name")),
            ask,
            origin: Origin::default(),
        };
        attempt(&mut self.user, &asked, self.now, &self.policies, &self.keys)
    }

    fn verify(&mut self, which: usize, code: Code) -> Outcome {
        self.ask(which, Ask::Verify(Typed::Text(code)))
    }

    /// Verifies the code of `offset` steps from now, or of that counter from 0.
    fn verify_at(&mut self, which: usize, offset: i64) -> Verdict {
        let base = match self.device(which).kind {
            Kind::Totp { .. } => self.step(),
            Kind::Hotp => 0,
        };
        let code = self.code(which, base + offset);
        self.verify(which, code).verdict
    }

    fn fail(&mut self, times: u32) {
        for n in 0..times {
            let wrong = self.wrong(0);
            assert_eq!(self.verify(0, wrong).verdict, Verdict::Rejected, "{n}");
        }
    }

    /// Fails so often, waiting out every lock.
    fn fail_patiently(&mut self, times: u32) {
        for _ in 0..times {
            self.fail(1);
            self.pass(900);
        }
    }

    fn failures(&self) -> u32 {
        self.user.guard.failures
    }

    fn opened(&self) -> usize {
        self.keys.opened.get()
    }
}

fn accepted(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Accepted { .. })
}

fn reason(outcome: &Outcome) -> &str {
    outcome.event.as_ref().map_or("no event", |e| &e.detail)
}
