//! Folds the judge over a batch of attempts: pure work between loading and saving.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use domain::verify::{Judged, User, Verdict};
use domain::{Device, DeviceName, Hot, State, Time};
use serde::{Deserialize, Serialize};

use super::chain::Tail;
use super::{Answer, EventRow, Judge, Reply, Submission, Ticket};
use crate::error::StoreError;
use crate::tables::stats::Tally;

/// What an engine read under the locks.
#[derive(Default)]
pub(crate) struct Loaded {
    pub users: HashMap<i64, User>,
    /// Which user a named device belongs to.
    pub owners: HashMap<DeviceName, i64>,
    /// Kept answers among the tickets of the batch, expired ones left out.
    pub kept: HashMap<[u8; 32], Kept>,
    /// Keys among the callers of the batch that are valid no more.
    pub revoked: HashSet<Arc<str>>,
}

impl Loaded {
    /// Adds a device with its user's guard; a device that is there already stays.
    pub(crate) fn add(&mut self, device: Device, guard: impl FnOnce() -> domain::Guard) {
        let id = device.user;
        let user = self.users.entry(id.0).or_insert_with(|| User {
            id,
            guard: guard(),
            guard_changed: false,
            devices: Vec::new(),
        });
        self.owners.insert(device.name.clone(), id.0);
        user.devices.push(Judged {
            device,
            hot_changed: false,
            state_changed: false,
        });
    }

    /// The device that bears that name now.
    fn device(&self, name: &DeviceName) -> Option<&Device> {
        let user = self.users.get(self.owners.get(name)?)?;
        let mut devices = user.devices.iter().map(|judged| &judged.device);
        devices.find(|device| device.name == *name)
    }
}

/// A kept answer.
pub(crate) struct Kept {
    pub fingerprint: [u8; 32],
    pub answer: Vec<u8>,
}

/// The stored form of an answer to an attempt.
#[derive(Serialize, Deserialize)]
struct KeptAnswer {
    verdict: Verdict,
    /// The device that was judged: its name may have passed to another one since.
    device: Option<i64>,
    attempts_remaining: u32,
    locked_until: Option<i64>,
}

/// A row for the idempotency table.
pub(crate) struct KeptRow {
    pub id: [u8; 32],
    pub fingerprint: [u8; 32],
    pub answer: Vec<u8>,
    pub expires_at: Time,
}

/// What a batch changes.
pub(crate) struct Writes {
    pub at: Time,
    pub tail: Tail,
    pub hot: Vec<(i64, Hot)>,
    /// Devices whose enrolment was confirmed.
    pub confirmed: Vec<i64>,
    pub guards: Vec<(i64, domain::Guard)>,
    pub events: Vec<EventRow>,
    pub kept: Vec<KeptRow>,
    pub tally: Tally,
}

impl Writes {
    /// True when there is nothing to commit.
    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.kept.is_empty()
    }
}

/// Judges the submissions in order.
pub(crate) fn fold(
    submissions: &[&Submission],
    mut loaded: Loaded,
    tail: &Tail,
    at: Time,
    judge: &dyn Judge,
) -> Result<(Vec<Reply>, Writes), StoreError> {
    let mut writes = Writes {
        at,
        tail: tail.clone(),
        hot: Vec::new(),
        confirmed: Vec::new(),
        guards: Vec::new(),
        events: Vec::with_capacity(submissions.len()),
        kept: Vec::new(),
        tally: Tally::default(),
    };
    let mut replies = Vec::with_capacity(submissions.len());
    for submission in submissions {
        replies.push(one(submission, &mut loaded, &mut writes, judge)?);
    }
    collect_changes(loaded, &mut writes);
    Ok((replies, writes))
}

/// The outer error fails the batch, the inner one is this submission's answer.
fn one(
    submission: &Submission,
    loaded: &mut Loaded,
    writes: &mut Writes,
    judge: &dyn Judge,
) -> Result<Reply, StoreError> {
    let revoked = |key: &Arc<str>| loaded.revoked.contains(key);
    if submission.key_id.as_ref().is_some_and(revoked) {
        return Ok(Err(StoreError::CallerRevoked));
    }
    if let Some(ticket) = &submission.idempotency
        && let Some(kept) = loaded.kept.get(&ticket.id)
    {
        return Ok(replay(submission, ticket, kept, loaded, writes.at));
    }
    let owner = loaded.owners.get(&submission.attempt.device);
    let user = owner.and_then(|id| loaded.users.get_mut(id));
    let (verdict, attempts_remaining, locked_until) = match user {
        None => (Verdict::Unknown, 0, None),
        Some(user) => {
            let outcome = judge.attempt(user, &submission.attempt, writes.at);
            if let Some(event) = outcome.event {
                writes
                    .tally
                    .count_verdict(&submission.attempt.ask, &outcome.verdict);
                let row = writes.tail.append(event, writes.at, judge)?;
                writes.events.push(row);
            }
            (
                outcome.verdict,
                outcome.attempts_remaining,
                outcome.locked_until,
            )
        }
    };
    let answer = Answer {
        verdict,
        attempts_remaining,
        locked_until,
        at: writes.at,
        replayed: false,
    };
    if let Some(ticket) = &submission.idempotency {
        keep(submission, ticket, &answer, loaded, writes)?;
    }
    Ok(Ok(answer))
}

/// Keeps what the contract says is kept: answers, and that a device is unknown.
fn keep(
    submission: &Submission,
    ticket: &Ticket,
    answer: &Answer,
    loaded: &mut Loaded,
    writes: &mut Writes,
) -> Result<(), StoreError> {
    let device = loaded.device(&submission.attempt.device);
    if matches!(
        answer.verdict,
        Verdict::WrongLength { .. } | Verdict::KeyUnavailable
    ) {
        return Ok(());
    }
    let stored = KeptAnswer {
        verdict: answer.verdict.clone(),
        device: device.map(|device| device.id.0),
        attempts_remaining: answer.attempts_remaining,
        locked_until: answer.locked_until.map(Time::millis),
    };
    let bytes = serde_json::to_vec(&stored).map_err(|e| StoreError::Corrupt(e.to_string()))?;
    writes.kept.push(KeptRow {
        id: ticket.id,
        fingerprint: ticket.fingerprint,
        answer: bytes.clone(),
        expires_at: writes.at.plus_millis(ticket.lives_ms),
    });
    let kept = Kept {
        fingerprint: ticket.fingerprint,
        answer: bytes,
    };
    loaded.kept.insert(ticket.id, kept);
    Ok(())
}

fn replay(
    submission: &Submission,
    ticket: &Ticket,
    kept: &Kept,
    loaded: &Loaded,
    at: Time,
) -> Reply {
    if kept.fingerprint != ticket.fingerprint {
        return Err(StoreError::IdempotencyReused);
    }
    let stored: KeptAnswer = serde_json::from_slice(&kept.answer)
        .map_err(|error| StoreError::Corrupt(error.to_string()))?;
    let mut verdict = stored.verdict;
    // An acceptance is not repeated for a device that has been revoked since.
    let device = loaded.device(&submission.attempt.device);
    let in_force = device
        .is_some_and(|device| device.state == State::Active && Some(device.id.0) == stored.device);
    if matches!(verdict, Verdict::Accepted { .. }) && !in_force {
        verdict = Verdict::Rejected;
    }
    Ok(Answer {
        verdict,
        attempts_remaining: stored.attempts_remaining,
        locked_until: stored.locked_until.map(Time::from_millis),
        at,
        replayed: true,
    })
}

/// Each changed row once, in the order of ids, so that two nodes never wait for each
/// other in a ring.
fn collect_changes(loaded: Loaded, writes: &mut Writes) {
    for user in loaded.users.into_values() {
        if user.guard_changed {
            writes.guards.push((user.id.0, user.guard));
        }
        for judged in user.devices {
            if judged.hot_changed {
                writes.hot.push((judged.device.id.0, judged.device.hot));
            }
            if judged.state_changed {
                writes.confirmed.push(judged.device.id.0);
            }
        }
    }
    writes.hot.sort_unstable_by_key(|(id, _)| *id);
    writes.guards.sort_unstable_by_key(|(id, _)| *id);
    writes.confirmed.sort_unstable();
    writes.kept.sort_unstable_by_key(|row| row.id);
}
