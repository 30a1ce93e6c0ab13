//! Folds the judge over a batch of attempts: pure work between loading and saving.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use domain::verify::{Awaited, Judged, RecoveryCode, Subject, User, Verdict};
use domain::{Challenge, Device, Guard, Hot, Method, State, Time, UserId, UserName};
use serde::{Deserialize, Serialize};

use super::chain::Tail;
use super::{Answer, EventRow, Judge, Reply, Submission, Ticket};
use crate::error::StoreError;
use crate::tables::counts;
use crate::tables::stats::Tally;

/// What an engine read under the locks.
#[derive(Default)]
pub(crate) struct Loaded {
    pub users: HashMap<i64, User>,
    /// The user behind each subject of the batch that exists.
    pub owners: HashMap<Subject, i64>,
    /// Kept answers among the tickets of the batch, expired ones left out.
    pub kept: HashMap<[u8; 32], Kept>,
    /// Keys among the callers of the batch that are valid no more.
    pub revoked: HashSet<Arc<str>>,
}

impl Loaded {
    /// Adds a device that the batch names, with its user's guard.
    pub(crate) fn add(&mut self, device: Device, guard: impl FnOnce() -> Guard) {
        let id = device.user;
        // The name of the user stands with the device; nobody asks anything of them.
        let user = self.users.entry(id.0);
        let user = user.or_insert_with(|| User::new(id, String::new(), guard()));
        let subject = Subject::Device(device.name.clone());
        self.owners.insert(subject, id.0);
        add_once(user, device);
    }

    /// Adds a person that the batch names.
    pub(crate) fn add_person(&mut self, id: UserId, name: UserName, guard: Guard) {
        let user = self.users.entry(id.0);
        let user = user.or_insert_with(|| User::new(id, String::new(), guard));
        name.canonical().clone_into(&mut user.name);
        self.owners.insert(Subject::User(name), id.0);
    }

    /// Adds a device of a person who is there.
    pub(crate) fn add_own(&mut self, device: Device) {
        if let Some(user) = self.users.get_mut(&device.user.0) {
            add_once(user, device);
        }
    }

    /// Adds a challenge, if its person is there.
    pub(crate) fn add_challenge(&mut self, challenge: Challenge) {
        let Some(user) = self.users.get_mut(&challenge.user.0) else {
            return;
        };
        let known = |awaited: &Awaited| awaited.challenge.id == challenge.id;
        if !user.challenges.iter().any(known) {
            user.challenges.push(Awaited {
                challenge,
                changed: false,
            });
        }
    }

    /// Adds a recovery code of a person who is there.
    pub(crate) fn add_recovery(&mut self, owner: i64, id: i64, hash: [u8; 32]) {
        if let Some(user) = self.users.get_mut(&owner)
            && !user.recovery.iter().any(|code| code.id == id)
        {
            let used = false;
            user.recovery.push(RecoveryCode { id, hash, used });
        }
    }

    /// The device of an answer, by its id, as it is now.
    fn device(&self, subject: &Subject, id: i64) -> Option<&Device> {
        let user = self.users.get(self.owners.get(subject)?)?;
        let mut devices = user.devices.iter().map(|judged| &judged.device);
        devices.find(|device| device.id.0 == id)
    }

    /// What a proof without a device stands on, as it is now.
    fn ground(&self, subject: &Subject) -> Option<Ground> {
        let user = self.users.get(self.owners.get(subject)?)?;
        let in_force = |judged: &&Judged| judged.device.state == State::Active;
        let factors = user.devices.iter().filter(in_force);
        let unused = user.recovery.iter().filter(|code| !code.used);
        Some(Ground {
            user: user.id.0,
            factors: factors.map(|judged| judged.device.id.0).collect(),
            recovery: unused.map(|code| code.id).collect(),
        })
    }

    /// The id of the device that bears the subject's name now.
    fn named_device(&self, subject: &Subject) -> Option<i64> {
        let Subject::Device(name) = subject else {
            return None;
        };
        let user = self.users.get(self.owners.get(subject)?)?;
        let mut devices = user.devices.iter().map(|judged| &judged.device);
        devices.find(|d| d.name == *name).map(|device| device.id.0)
    }
}

/// A device that is there already stays.
fn add_once(user: &mut User, device: Device) {
    if !user
        .devices
        .iter()
        .any(|known| known.device.id == device.id)
    {
        user.devices.push(Judged::new(device));
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
    /// When it was decided.
    #[serde(default)]
    at: Option<i64>,
    /// Of a proof without a device.
    #[serde(default)]
    ground: Option<Ground>,
}

/// What there was when a person was believed without a code of an authenticator: whose
/// recovery code or pass it was, and what it stood for.
#[derive(Serialize, Deserialize)]
struct Ground {
    user: i64,
    /// Devices in force.
    factors: Vec<i64>,
    /// Recovery codes that were left.
    recovery: Vec<i64>,
}

impl Ground {
    /// Whether nothing of it has been revoked until `now`. A name that was given to
    /// somebody else is another user. Of a set of recovery codes there are only fewer
    /// and fewer, so a code that was not there is one of another set.
    fn holds(&self, now: &Self, method: Method) -> bool {
        let all_in = |some: &[i64], of: &[i64]| some.iter().all(|id| of.contains(id));
        let same_set = method != Method::Recovery || all_in(&now.recovery, &self.recovery);
        self.user == now.user && all_in(&self.factors, &now.factors) && same_set
    }
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
    pub guards: Vec<(i64, Guard)>,
    pub challenges: Vec<Challenge>,
    /// Recovery codes that were used.
    pub recovery: Vec<i64>,
    pub events: Vec<EventRow>,
    pub kept: Vec<KeptRow>,
    pub tally: Tally,
    /// Named counters, each to be counted once more.
    pub counts: Vec<&'static str>,
    /// Seconds from the sending of codes to their acceptance.
    pub delays: Vec<i64>,
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
        challenges: Vec::new(),
        recovery: Vec::new(),
        events: Vec::with_capacity(submissions.len()),
        kept: Vec::new(),
        tally: Tally::default(),
        counts: Vec::new(),
        delays: Vec::new(),
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
    let owner = loaded.owners.get(&submission.attempt.subject).copied();
    let user = owner.and_then(|id| loaded.users.get_mut(&id));
    let mut answer = Answer {
        verdict: Verdict::Unknown,
        attempts_remaining: 0,
        locked_until: None,
        user: owner.map(UserId),
        at: writes.at,
        decided_at: writes.at,
        replayed: false,
    };
    if let Some(user) = user {
        let outcome = judge.attempt(user, &submission.attempt, writes.at);
        if let Some(event) = outcome.event {
            let ask = &submission.attempt.ask;
            writes.tally.count_verdict(ask, &outcome.verdict);
            writes.counts.extend(counts::name_of(ask, &outcome.verdict));
            if let Verdict::Proven(proof) = outcome.verdict {
                let seconds = proof.delay_ms.map(|delay| delay / 1000);
                writes.delays.extend(seconds);
            }
            for event in std::iter::once(event).chain(outcome.consequence) {
                let row = writes.tail.append(event, writes.at, judge)?;
                writes.events.push(row);
            }
        }
        answer.verdict = outcome.verdict;
        answer.attempts_remaining = outcome.attempts_remaining;
        answer.locked_until = outcome.locked_until;
    }
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
    if matches!(
        answer.verdict,
        Verdict::WrongLength { .. } | Verdict::KeyUnavailable
    ) || !(ticket.keeps)(&answer.verdict)
    {
        return Ok(());
    }
    let stored = KeptAnswer {
        verdict: answer.verdict.clone(),
        device: match answer.verdict {
            Verdict::Proven(proof) => proof.device,
            _ => loaded.named_device(&submission.attempt.subject),
        },
        attempts_remaining: answer.attempts_remaining,
        locked_until: answer.locked_until.map(Time::millis),
        at: Some(answer.at.millis()),
        ground: match answer.verdict {
            Verdict::Proven(proof) if proof.device.is_none() => {
                loaded.ground(&submission.attempt.subject)
            }
            _ => None,
        },
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
    // An acceptance is not repeated for a device, user or factor that is gone since.
    let subject = &submission.attempt.subject;
    let active = |id| loaded.device(subject, id).map(|device| device.state);
    let in_force = match verdict {
        Verdict::Accepted { .. } => stored.device.and_then(active) == Some(State::Active),
        Verdict::Proven(proof) => match proof.device {
            Some(id) => active(id) == Some(State::Active),
            // One kept by a release that did not say what it stood on proves nothing.
            None => stored.ground.is_some_and(|then| {
                let now = loaded.ground(subject);
                now.is_some_and(|now| then.holds(&now, proof.method))
            }),
        },
        _ => true,
    };
    if !in_force {
        verdict = Verdict::Rejected;
    }
    Ok(Answer {
        verdict,
        attempts_remaining: stored.attempts_remaining,
        locked_until: stored.locked_until.map(Time::from_millis),
        user: loaded.owners.get(subject).copied().map(UserId),
        at,
        decided_at: stored.at.map_or(at, Time::from_millis),
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
        let changed = user
            .challenges
            .into_iter()
            .filter(|awaited| awaited.changed);
        let changed = changed.map(|awaited| awaited.challenge);
        writes.challenges.extend(changed);
        let used = user.recovery.iter().filter(|code| code.used);
        writes.recovery.extend(used.map(|code| code.id));
    }
    writes.challenges.sort_unstable_by_key(|one| one.id.0);
    writes.recovery.sort_unstable();
    writes.hot.sort_unstable_by_key(|(id, _)| *id);
    writes.guards.sort_unstable_by_key(|(id, _)| *id);
    writes.confirmed.sort_unstable();
    writes.kept.sort_unstable_by_key(|row| row.id);
}
