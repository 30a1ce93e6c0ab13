//! Lanes: where attempts wait, are folded in batches, and are committed before they are answered.
//!
//! [`queue`] gathers what waits, [`fold`] judges a batch over what an engine loaded
//! under the guards' locks, [`chain`] gives each event its place. How rows are loaded
//! and saved is the engines' business (`sqlite::lane`, `postgres::lane`).

pub(crate) mod chain;
pub(crate) mod fold;
pub(crate) mod queue;

use std::sync::Arc;

use domain::chain::Link;
use domain::verify::{Attempt, Outcome, User, Verdict};
use domain::{Event, Time, UserId};

use crate::error::StoreError;

/// What `app` hands to the lanes once, at start: the rules with the keys they need.
pub trait Judge: Send + Sync + 'static {
    /// Judges one attempt and changes the user accordingly.
    fn attempt(&self, user: &mut User, attempt: &Attempt, now: Time) -> Outcome;
    /// The MAC that stands beside a link of the audit chain.
    fn mac(&self, link: &Link) -> [u8; 16];
    /// Fills the buffer with random bytes.
    fn random(&self, buffer: &mut [u8]);
    /// Told of each committed batch, for metrics. Must not wait.
    fn committed(&self, batch: &BatchFacts);
}

/// What a committed batch of attempts was like.
#[derive(Clone, Copy, Debug)]
pub struct BatchFacts {
    /// Attempts in it.
    pub attempts: usize,
    /// Attempts that waited when it was taken, itself included.
    pub waiting: usize,
}

/// The server's time, handed in by the binary.
pub trait Clock: Send + Sync + 'static {
    /// Unix milliseconds.
    fn now(&self) -> Time;
}

/// An attempt on its way to a lane.
pub struct Submission {
    /// What is asked.
    pub attempt: Attempt,
    /// The API key that asks, to be looked at again in the batch; `None` for callers
    /// that cannot be revoked while the server runs.
    pub key_id: Option<Arc<str>>,
    /// Present when the caller sent an idempotency key.
    pub idempotency: Option<Ticket>,
}

/// What is kept of a request so that its repetition gets the first answer.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// Keyed hash of caller, path and key.
    pub id: [u8; 32],
    /// Keyed hash of the body.
    pub fingerprint: [u8; 32],
    /// How long the answer is kept, in milliseconds.
    pub lives_ms: i64,
    /// Whether the answer is one that is kept: at some doors a wrong code is an error,
    /// and errors are not.
    pub keeps: fn(&Verdict) -> bool,
}

/// The committed answer to a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What the judge said.
    pub verdict: Verdict,
    /// Guesses that may still fail before the next lock.
    pub attempts_remaining: u32,
    /// The end of the lock, when there is one with an end.
    pub locked_until: Option<Time>,
    /// The user whom it concerns, if there is one.
    pub user: Option<UserId>,
    /// The time of the batch.
    pub at: Time,
    /// When it was decided: earlier than `at` for a kept answer.
    pub decided_at: Time,
    /// True when this is the kept answer of an earlier request.
    pub replayed: bool,
}

/// What the one who submitted waits for.
pub(crate) type Reply = Result<Answer, StoreError>;

/// An event with its place in a chain, ready to be written.
pub(crate) struct EventRow {
    pub id: i64,
    pub at: Time,
    pub event: Event,
    pub personal: String,
    pub salt: [u8; 16],
    pub link: [u8; 32],
    pub mac: [u8; 16],
}
