//! The judge: decides one attempt about one user, and is the only place where a code is accepted.
//!
//! The store calls [`attempt`] under the lock of the user's guard, once per attempt
//! in order of arrival, and writes what it changed. It does nothing else. What is asked
//! of a device that the caller names is decided in [`device`], what is asked of a person
//! in [`person`], what was sent to an email address in [`emailed`].

use otp::{Code, Secret};
use serde::{Deserialize, Serialize};

use crate::challenge::{Challenge, Method};
use crate::device::{Device, State};
use crate::event::{Event, Origin};
use crate::guard::{Guard, Standing};
use crate::ids::{ChallengeId, DeviceId, UserId};
use crate::names::{DeviceName, UserName};
use crate::policy::{Budget, Policies};
use crate::time::Time;

mod device;
mod emailed;
mod judged;
mod person;

/// All that can change a verdict about a user, as read under the guard's lock.
pub struct User {
    /// Whose guard is locked.
    pub id: UserId,
    /// The canonical name.
    pub name: String,
    /// The guess budget.
    pub guard: Guard,
    /// True once `guard` differs from what was read.
    pub guard_changed: bool,
    /// The devices that the attempts name; all that are not deactivated when one of the
    /// attempts asks something of the person.
    pub devices: Vec<Judged>,
    /// Challenges that the attempts may answer.
    pub challenges: Vec<Awaited>,
    /// Recovery codes in force that have not been used.
    pub recovery: Vec<RecoveryCode>,
}

impl User {
    /// A user of whom nothing but the guard is known yet.
    pub fn new(id: UserId, name: String, guard: Guard) -> Self {
        Self {
            id,
            name,
            guard,
            guard_changed: false,
            devices: Vec::new(),
            challenges: Vec::new(),
            recovery: Vec::new(),
        }
    }
}

/// A device under judgement, with what has to be written back.
pub struct Judged {
    /// The device.
    pub device: Device,
    /// True once `device.hot` differs from what was read.
    pub hot_changed: bool,
    /// True once `device.state` differs from what was read.
    pub state_changed: bool,
}

/// A challenge under judgement.
pub struct Awaited {
    /// The challenge.
    pub challenge: Challenge,
    /// True once it differs from what was read.
    pub changed: bool,
}

/// A recovery code under judgement.
pub struct RecoveryCode {
    /// Its row.
    pub id: i64,
    /// Keyed hash of its text.
    pub hash: [u8; 32],
    /// True once it is used: it can be neither used again nor unused.
    pub used: bool,
}

/// What a client sent as a code.
#[derive(Clone, Copy)]
pub enum Typed {
    /// A string of digits.
    Text(Code),
    /// A JSON integer of an old client, to be padded to the device's length.
    Integer(u64),
}

/// Of whom or what something is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// Of a device that the caller names.
    Device(DeviceName),
    /// Of a person, whatever devices they have.
    User(UserName),
}

/// What is asked. The first four are asked of a device, the others of a person.
#[derive(Clone, Copy)]
pub enum Ask {
    /// Is this its code?
    Verify(Typed),
    /// Is this the first code of a pending device?
    Confirm(Typed),
    /// Do these two codes in a row re-align it?
    Resynchronise(Typed, Typed),
    /// Why was this code not accepted?
    Explain(Typed),
    /// Is this a code of one of their authenticators?
    Authenticator(Code),
    /// Is this the live code issued for them, or one of an authenticator?
    IssuedOrAuthenticator(Code),
    /// Is this a recovery code or a pass of theirs?
    Spoken(Spoken),
    /// Does this answer a login that waits for the second factor?
    Login {
        /// Which login.
        login: ChallengeId,
        /// Keyed hash of its token; `None` for a login that was found in another way.
        proof: Option<[u8; 32]>,
        /// What was given as the second factor.
        answer: Factor,
    },
    /// Is this the code that was sent to their email address?
    Emailed(Code),
    /// Is this the first code of a pending device that they enrolled themselves?
    Enrol {
        /// Which device.
        device: DeviceId,
        /// Its code.
        code: Typed,
        /// What they had proved when they began.
        begun: Begun,
    },
}

/// What somebody had proved who began an enrolment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// A second factor: another one may come beside it.
    SteppedUp,
    /// No more than a first factor: that adds none beside one in force.
    FirstFactor,
}

/// A text that people read out or write down, as its keyed hash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Spoken {
    /// Of the form of a recovery code.
    Recovery([u8; 32]),
    /// Of the form of a pass.
    Pass([u8; 32]),
}

/// What can be given as the second factor of a login.
#[derive(Clone, Copy)]
pub enum Factor {
    /// A code of an authenticator.
    Code(Code),
    /// A recovery code or a pass.
    Spoken(Spoken),
}

/// One attempt.
#[derive(Clone)]
pub struct Attempt {
    /// Of whom or what something is asked.
    pub subject: Subject,
    /// What is asked.
    pub ask: Ask,
    /// Who asks, from where.
    pub origin: Origin,
}

/// What the judge says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The code of the named device was right and is spent now.
    Accepted {
        /// Steps between the server's own and the accepted one; 0 for counters.
        skew: i64,
    },
    /// The person has proved who they are; what proved it is spent now.
    Proven(Proof),
    /// The code was wrong or already used: nobody outside learns which.
    Rejected,
    /// The code was issued, but it is used or its time is over.
    Spent,
    /// Not judged: too many failures.
    Locked,
    /// The device is no factor (yet, or any more).
    Inactive,
    /// The person has no authenticator in force.
    NoFactor,
    /// No login of this person waits for this answer.
    NoLogin,
    /// The device is in force already, or no more; there is nothing to confirm.
    NotPending,
    /// Another device is in force, and whoever began the enrolment had not proved one.
    /// Nothing was judged or counted.
    StepUpNeeded,
    /// No such device or user.
    Unknown,
    /// The code has another length than the device's. Nothing was judged or counted.
    WrongLength {
        /// The length of the device's codes.
        expected: u8,
    },
    /// The device is re-aligned.
    Resynchronised {
        /// How far its clock is ahead of ours, in seconds; for HOTP always 0.
        drift_seconds: i64,
    },
    /// What the helpdesk may be told.
    Explained(Finding),
    /// The key could not be opened; nothing was judged or counted.
    KeyUnavailable,
}

/// What proved who somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// By which means.
    pub method: Method,
    /// The authenticator that the code was of.
    pub device: Option<i64>,
    /// Recovery codes that are left, when it was one of them or a pass.
    pub left: Option<u32>,
    /// Uses of the pass that are left.
    pub uses_left: Option<u32>,
    /// Milliseconds since the code was issued or sent.
    pub delay_ms: Option<i64>,
    /// As in [`Verdict::Accepted`].
    pub skew: i64,
    /// The person has no authenticator in force: there is no factor that it stood for,
    /// so it is no second one.
    #[serde(default)]
    pub alone: bool,
}

impl Proof {
    fn by(method: Method) -> Self {
        Self {
            method,
            device: None,
            left: None,
            uses_left: None,
            delay_ms: None,
            skew: 0,
            alone: false,
        }
    }
}

/// Why a code cannot be accepted any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// It was the device's code that many steps ago by the device's own clock, or is the
    /// code of a counter that many before the next one.
    ValidStepsAgo(i64),
    /// It was accepted last, or it would still do had not a later one been.
    AlreadyUsed,
    /// It is no past code; whether it is a right one is not said.
    NotPast,
}

/// The judge's answer to one attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What it says.
    pub verdict: Verdict,
    /// Guesses that may still fail before the next lock.
    pub attempts_remaining: u32,
    /// The end of the lock, when there is one with an end.
    pub locked_until: Option<Time>,
    /// The audit record of an evaluated attempt, or of one that a lock or an inactive
    /// device kept from being evaluated; `None` when there was nothing to judge.
    pub event: Option<Event>,
    /// The record of what followed from it, such as that few recovery codes are left.
    pub consequence: Option<Event>,
}

impl Outcome {
    fn without_event(verdict: Verdict, attempts_remaining: u32) -> Self {
        Self {
            verdict,
            attempts_remaining,
            locked_until: None,
            event: None,
            consequence: None,
        }
    }
}

/// What the judge needs of the vault. It asks only after the guard let the attempt pass.
pub trait Secrets {
    /// The key of that device, or `None` when it cannot be opened.
    fn open(&self, device: &Device) -> Option<Secret>;
    /// The keyed hash of a short code, bound to the challenge that it answers.
    fn hash_code(&self, challenge: ChallengeId, code: &Code) -> [u8; 32];
}

/// Judges one attempt and changes the user accordingly.
pub fn attempt(
    user: &mut User,
    attempt: &Attempt,
    now: Time,
    policies: &Policies,
    secrets: &impl Secrets,
) -> Outcome {
    match (&attempt.subject, attempt.ask) {
        (Subject::Device(name), ask) => {
            device::judge(user, name, &ask, attempt, now, policies, secrets)
        }
        (Subject::User(_), Ask::Emailed(code)) => {
            emailed::judge(user, &code, attempt, now, secrets)
        }
        (
            Subject::User(_),
            Ask::Enrol {
                device,
                code,
                begun,
            },
        ) => {
            let asked = (device, code, begun);
            device::enrol(user, asked, attempt, now, policies, secrets)
        }
        (Subject::User(_), ask) => person::judge(user, ask, attempt, now, policies, secrets),
    }
}

/// The device that is meant. A pending device whose time is over is gone, even if no job
/// has removed it yet.
fn find(user: &User, now: Time, is_meant: impl Fn(&Device) -> bool) -> Option<usize> {
    user.devices.iter().position(|judged| {
        let gone = matches!(judged.device.state, State::Pending(until) if until <= now);
        is_meant(&judged.device) && !gone
    })
}

/// The end of the user's lock, when there is one with an end.
fn lock_end(guard: &Guard, now: Time) -> Option<Time> {
    match guard.standing(now) {
        Standing::Locked(until) => Some(until),
        Standing::Open | Standing::Disabled => None,
    }
}

/// The guesses that somebody with these devices has: those of their strictest level.
fn budget_of<'a>(devices: impl Iterator<Item = &'a Judged>, policies: &Policies) -> Budget {
    devices
        .map(|judged| policies.of(judged.device.policy.as_deref()).budget)
        .reduce(Budget::stricter)
        .unwrap_or(policies.default.budget)
}

/// The internal id of a device, as a proof carries it.
fn number(id: DeviceId) -> Option<i64> {
    Some(id.0)
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
