//! A person with a device, as tests enrol them, and the attempts made with it.

use std::sync::Arc;
use std::time::Duration;

use domain::verify::{Subject, Typed};
use domain::{
    Action, Ask, Attempt, Device, DeviceId, DeviceName, Event, Hot, Kind, Origin, SealedKey, State,
    Time, UserId, UserName, Verdict,
};
use otp::{Algorithm, Code, Digits, Secret, Totp, hotp};
use store::{Answer, Batch, NewDevice, Store, StoreError, Submission, Ticket};

const SECRET: &[u8] = b"12345678901234567890";
const TOTP: Kind = Kind::Totp { period: 30 };

/// A person with a device.
pub struct Enrolled {
    pub user: UserId,
    pub device: DeviceId,
    pub name: DeviceName,
    kind: Kind,
}

pub fn origin() -> Origin {
    Origin {
        caller: "cli".into(),
        request_id: "r-1".into(),
        ip_address: Some("192.0.2.1".into()),
        user_agent: None,
    }
}

pub fn event(action: Action) -> Event {
    Event::new(action, true, &origin())
}

/// What a test says of the device that it enrols.
pub struct Plan<'a> {
    pub user: &'a str,
    pub device: &'a str,
    pub kind: Kind,
    pub state: State,
}

impl<'a> Plan<'a> {
    pub fn of(user: &'a str, device: &'a str) -> Self {
        Self {
            user,
            device,
            kind: TOTP,
            state: State::Active,
        }
    }
}

/// Makes a user of that name with an active TOTP device of that name.
pub async fn enrol(store: &Store, user: &str, device: &str) -> Enrolled {
    enrol_as(store, &Plan::of(user, device)).await
}

/// The same with a device that waits for its first code, for so long.
pub async fn enrol_pending(store: &Store, user: &str, device: &str, seconds: i64) -> Enrolled {
    let now = store.now().await.unwrap();
    let plan = Plan {
        state: State::Pending(now.plus_seconds(seconds)),
        ..Plan::of(user, device)
    };
    enrol_as(store, &plan).await
}

pub async fn enrol_as(store: &Store, plan: &Plan<'_>) -> Enrolled {
    let (batch, enrolled) = enrolment(store, plan).await;
    store.commit(batch).await.unwrap();
    enrolled
}

/// The batch that makes the device, and the user where there is none.
pub async fn enrolment(store: &Store, plan: &Plan<'_>) -> (Batch, Enrolled) {
    let now = store.now().await.unwrap();
    let mut batch = Batch::new();
    let owner = UserName::parse(plan.user).unwrap();
    let user = match store.user_by_name(&owner).await.unwrap() {
        Some(user) => {
            batch.lock(user);
            user
        }
        None => {
            let user = UserId(store.new_id().await.unwrap());
            batch.make_user(user, &owner, now);
            user
        }
    };
    let device = new_device(store, plan, user, now).await;
    let enrolled = Enrolled {
        user,
        device: device.device.id,
        name: device.device.name.clone(),
        kind: plan.kind,
    };
    batch.insert_device(&device);
    let event = event(Action::DeviceRegistered)
        .about_user(user, owner.canonical())
        .about_device(enrolled.device, plan.device);
    batch.record(event);
    (batch, enrolled)
}

async fn new_device(store: &Store, plan: &Plan<'_>, user: UserId, now: Time) -> NewDevice {
    NewDevice {
        device: Device {
            id: DeviceId(store.new_id().await.unwrap()),
            user,
            name: DeviceName::parse(plan.device).unwrap(),
            owner: plan.user.into(),
            kind: plan.kind,
            algorithm: Algorithm::Sha1,
            digits: Digits::default(),
            policy: None,
            state: plan.state,
            key: SealedKey {
                version: 1,
                bytes: SECRET.to_vec(),
            },
            hot: Hot::default(),
        },
        shown: format!("\"{}\"", plan.user),
        label: Some("Label".into()),
        issuer: None,
        test: false,
        door: None,
        created_at: now,
    }
}

impl Enrolled {
    /// The code that many steps (or counters) from now.
    pub async fn code(&self, store: &Store, offset: i64) -> Code {
        let place = match self.kind {
            Kind::Totp { period } => {
                let now = store.now().await.unwrap().seconds();
                i64::try_from(Totp { period, t0: 0 }.step_at(now).unwrap()).unwrap()
            }
            Kind::Hotp => 0,
        };
        let place = u64::try_from(place + offset).unwrap();
        let secret = Secret::from_bytes(SECRET.to_vec());
        hotp(&secret, Algorithm::Sha1, Digits::default(), place)
    }

    /// A code that is wrong for long.
    pub async fn wrong_code(&self, store: &Store) -> Code {
        let mut right = Vec::new();
        for offset in 0..40 {
            right.push(
                self.code(store, offset - if self.is_totp() { 20 } else { 0 })
                    .await,
            );
        }
        (0..)
            .map(|number| Code::from_integer(number, Digits::default()).unwrap())
            .find(|code| !right.iter().any(|other| other.equals(code)))
            .unwrap()
    }

    fn is_totp(&self) -> bool {
        matches!(self.kind, Kind::Totp { .. })
    }

    pub fn submission(&self, code: Code) -> Submission {
        verify(&self.name, code)
    }

    /// Verifies a code.
    pub async fn verify(&self, store: &Store, code: Code) -> Result<Answer, StoreError> {
        store.attempt(self.submission(code)).await
    }

    /// Tries until the lane serves again.
    pub async fn once_back(&self, store: &Store, code: Code) -> Answer {
        let wait = async {
            loop {
                match self.verify(store, code).await {
                    Ok(answer) => return answer,
                    Err(StoreError::Unavailable(_) | StoreError::Busy) => {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    Err(error) => panic!("{error:?}"),
                }
            }
        };
        let back = tokio::time::timeout(Duration::from_secs(20), wait).await;
        back.expect("the lane serves again")
    }

    /// Verifies the code of now and expects that verdict.
    pub async fn expect(&self, store: &Store, verdict: &Verdict) {
        let code = self.code(store, 0).await;
        let answer = self.verify(store, code).await.unwrap();
        assert_eq!(&answer.verdict, verdict);
    }

    /// Verifies the code of that step, expects that it is accepted, and returns it.
    pub async fn spend(&self, store: &Store, offset: i64) -> Code {
        let code = self.code(store, offset).await;
        let answer = self.verify(store, code).await.unwrap();
        assert!(is_accepted(&answer), "{answer:?}");
        code
    }

    /// Confirms the pending device with the code of now.
    pub async fn confirm(&self, store: &Store) {
        let mut submission = self.submission(self.code(store, 0).await);
        submission.attempt.ask = match submission.attempt.ask {
            Ask::Verify(typed) => Ask::Confirm(typed),
            other => other,
        };
        let answer = store.attempt(submission).await.unwrap();
        assert!(is_accepted(&answer), "{answer:?}");
    }

    /// The batch that ends the device.
    pub fn deactivation(&self, at: Time) -> Batch {
        let mut batch = Batch::new();
        batch.deactivate_device(self.device, self.user, at);
        batch.record(event(Action::DeviceDeactivated));
        batch
    }
}

pub fn verify(name: &DeviceName, code: Code) -> Submission {
    Submission {
        attempt: Attempt {
            subject: Subject::Device(name.clone()),
            ask: Ask::Verify(Typed::Text(code)),
            origin: origin(),
        },
        key_id: None,
        idempotency: None,
    }
}

pub fn ticket(number: u8, fingerprint: u8, lives_ms: i64) -> Ticket {
    Ticket {
        id: [number; 32],
        fingerprint: [fingerprint; 32],
        lives_ms,
        keeps: |_| true,
    }
}

pub fn is_accepted(answer: &Answer) -> bool {
    matches!(answer.verdict, Verdict::Accepted { .. })
}

/// How many of them are that verdict.
pub fn how_many(answers: &[Result<Answer, StoreError>], verdict: &Verdict) -> usize {
    let all = answers.iter().flatten();
    all.filter(|answer| answer.verdict == *verdict).count()
}

/// Submits all at once and waits for all answers.
pub async fn all_at_once(
    work: impl IntoIterator<Item = (Arc<Store>, Submission)>,
) -> Vec<Result<Answer, StoreError>> {
    let tasks: Vec<_> = work
        .into_iter()
        .map(|(store, submission)| tokio::spawn(async move { store.attempt(submission).await }))
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}
