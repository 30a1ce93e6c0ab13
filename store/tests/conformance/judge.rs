//! A judge with the real rules and keys that are not sealed, and a clock that is set.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use domain::chain::Link;
use domain::verify::{Attempt, Outcome, Secrets, User, attempt};
use domain::{ChallengeId, Device, Policies, Time};
use otp::{Code, Secret};
use store::{BatchFacts, Clock, Judge};

/// Judges by the default policy.
#[derive(Default)]
pub struct TestJudge {
    policies: Policies,
    /// How often a code was compared with a key.
    pub evaluations: AtomicUsize,
    /// Attempts in committed batches.
    pub committed: AtomicUsize,
}

struct Keys<'a>(&'a AtomicUsize);

impl Secrets for Keys<'_> {
    fn open(&self, device: &Device) -> Option<Secret> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Some(Secret::from_bytes(device.key.bytes.clone()))
    }

    fn hash_code(&self, challenge: ChallengeId, code: &Code) -> [u8; 32] {
        hash_code(challenge, code)
    }
}

impl Judge for TestJudge {
    fn attempt(&self, user: &mut User, asked: &Attempt, now: Time) -> Outcome {
        attempt(user, asked, now, &self.policies, &Keys(&self.evaluations))
    }

    fn mac(&self, link: &Link) -> [u8; 16] {
        std::array::from_fn(|place| !link.0[place])
    }

    fn random(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            chunk.copy_from_slice(&random().to_be_bytes()[..chunk.len()]);
        }
    }

    fn committed(&self, batch: &BatchFacts) {
        self.committed.fetch_add(batch.attempts, Ordering::SeqCst);
    }
}

/// What stands for a keyed hash: other challenges and codes give others.
pub fn hash_code(challenge: ChallengeId, code: &Code) -> [u8; 32] {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&challenge.0.to_be_bytes());
    let text = code.to_text();
    hash[8..8 + text.len()].copy_from_slice(text.as_bytes());
    hash
}

/// A number that no other test has.
pub fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A clock that stands still until it is set.
pub struct TestClock(AtomicI64);

impl Default for TestClock {
    fn default() -> Self {
        Self(AtomicI64::new(1_790_000_000_000))
    }
}

impl TestClock {
    pub fn pass(&self, millis: i64) {
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Time {
        Time::from_millis(self.0.load(Ordering::SeqCst))
    }
}
