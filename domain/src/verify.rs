//! The judge: decides one attempt about one user, and is the only place where a code is accepted.
//!
//! The store calls [`attempt`] under the lock of the user's guard, once per attempt
//! in order of arrival, and writes what it changed. It does nothing else.

use otp::{Code, Secret, consecutive_match, highest_match};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::device::{Device, Kind, State};
use crate::event::{Action, Event, Origin};
use crate::guard::{Guard, Standing};
use crate::ids::UserId;
use crate::names::DeviceName;
use crate::policy::{Policies, Policy};
use crate::time::Time;
use crate::window;

/// All that can change a verdict about a user, as read under the guard's lock.
pub struct User {
    /// Whose guard is locked.
    pub id: UserId,
    /// The guess budget.
    pub guard: Guard,
    /// True once `guard` differs from what was read.
    pub guard_changed: bool,
    /// The devices that the attempts name.
    pub devices: Vec<Judged>,
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

/// What a client sent as a code.
#[derive(Clone, Copy)]
pub enum Typed {
    /// A string of digits.
    Text(Code),
    /// A JSON integer of an old client, to be padded to the device's length.
    Integer(u64),
}

/// What is asked of a device.
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
}

/// One attempt.
#[derive(Clone)]
pub struct Attempt {
    /// Which device.
    pub device: DeviceName,
    /// What is asked of it.
    pub ask: Ask,
    /// Who asks, from where.
    pub origin: Origin,
}

/// What the judge says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The code was right and is spent now.
    Accepted {
        /// Steps between the server's own and the accepted one; 0 for counters.
        skew: i64,
    },
    /// The code was wrong or already used: nobody outside learns which.
    Rejected,
    /// Not judged: too many failures.
    Locked,
    /// The device is no factor (yet, or any more).
    Inactive,
    /// The device is in force already, or no more; there is nothing to confirm.
    NotPending,
    /// No such device.
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
}

/// Opens sealed device keys. The judge asks only after the guard let the attempt pass.
pub trait OpenKeys {
    /// The key of that device, or `None` when it cannot be opened.
    fn open(&self, device: &Device) -> Option<Secret>;
}

/// Judges one attempt and changes the user accordingly.
pub fn attempt(
    user: &mut User,
    attempt: &Attempt,
    now: Time,
    policies: &Policies,
    keys: &impl OpenKeys,
) -> Outcome {
    let Some(index) = find(user, &attempt.device, now) else {
        return Outcome::without_event(Verdict::Unknown, 0);
    };
    let policy = policies.of(user.devices[index].device.policy.as_deref());
    let mut bench = Bench {
        guard: &mut user.guard,
        guard_changed: &mut user.guard_changed,
        judged: &mut user.devices[index],
        policy,
        now,
    };
    match bench.judge(&attempt.ask, keys) {
        Ok(ruling) => bench.record(ruling, attempt),
        Err(verdict) => Outcome::without_event(verdict, bench.guard.remaining(now, &policy.budget)),
    }
}

/// A pending device whose time is over is gone, even if no job has removed it yet.
fn find(user: &User, name: &DeviceName, now: Time) -> Option<usize> {
    user.devices.iter().position(|judged| {
        let gone = matches!(judged.device.state, State::Pending(until) if until <= now);
        judged.device.name == *name && !gone
    })
}

/// A verdict and the cause that only the audit is told.
struct Ruling {
    verdict: Verdict,
    cause: Option<&'static str>,
}

impl Ruling {
    fn plain(verdict: Verdict) -> Self {
        Self {
            verdict,
            cause: None,
        }
    }

    fn because(verdict: Verdict, cause: &'static str) -> Self {
        Self {
            verdict,
            cause: Some(cause),
        }
    }
}

/// One device and its user's guard, laid out for one judgement.
struct Bench<'a> {
    guard: &'a mut Guard,
    guard_changed: &'a mut bool,
    judged: &'a mut Judged,
    policy: Policy,
    now: Time,
}

impl Bench<'_> {
    /// `Err` is a verdict that counts nothing and leaves no event.
    fn judge(&mut self, ask: &Ask, keys: &impl OpenKeys) -> Result<Ruling, Verdict> {
        let (code, second) = self.codes(ask)?;
        let state = self.judged.device.state;
        match ask {
            Ask::Confirm(_) if !matches!(state, State::Pending(_)) => {
                return Err(Verdict::NotPending);
            }
            Ask::Verify(_) | Ask::Resynchronise(..) | Ask::Explain(_) if state != State::Active => {
                return Ok(Ruling::because(Verdict::Inactive, "inactive"));
            }
            _ => {}
        }
        // Before the key is opened: a locked guard makes right and wrong alike in
        // everything, time included, because neither is ever computed. It holds for
        // explanations too: codes of the last steps, searched for free of charge during
        // a lock, could re-align the device after it.
        if self.guard.standing(self.now) != Standing::Open {
            return Ok(Ruling::because(Verdict::Locked, "locked"));
        }
        let key = keys
            .open(&self.judged.device)
            .ok_or(Verdict::KeyUnavailable)?;
        Ok(match ask {
            Ask::Verify(_) | Ask::Confirm(_) => self.verify(&key, &code),
            Ask::Resynchronise(..) => self.resynchronise(&key, &code, &second),
            Ask::Explain(_) => self.explain(&key, &code),
        })
    }

    /// The code, or the two of a resynchronisation (else it twice). Read first: another
    /// length is a fault of the request, whatever the device's state.
    fn codes(&self, ask: &Ask) -> Result<(Code, Code), Verdict> {
        let (first, second) = match *ask {
            Ask::Verify(typed) | Ask::Confirm(typed) | Ask::Explain(typed) => (typed, typed),
            Ask::Resynchronise(first, second) => (first, second),
        };
        Ok((self.code(first)?, self.code(second)?))
    }

    fn code(&self, typed: Typed) -> Result<Code, Verdict> {
        let digits = self.judged.device.digits;
        let wrong = Verdict::WrongLength {
            expected: digits.get(),
        };
        match typed {
            Typed::Text(code) if code.digits() == digits => Ok(code),
            Typed::Text(_) => Err(wrong),
            Typed::Integer(number) => Code::from_integer(number, digits).map_err(|_| wrong),
        }
    }

    fn fail(&mut self) {
        self.guard.fail(self.now, &self.policy.budget);
        *self.guard_changed = true;
    }

    fn verify(&mut self, key: &Secret, code: &Code) -> Ruling {
        let device = &self.judged.device;
        let steps = window::acceptable(device, &self.policy, self.now);
        let found = highest_match(key, device.algorithm, code, steps)
            .and_then(|step| i64::try_from(step).ok());
        match found {
            Some(step) if step >= self.judged.device.hot.next => self.accept(step),
            Some(step) => self.repeat(step),
            None => {
                self.fail();
                Ruling::because(Verdict::Rejected, "wrong")
            }
        }
    }

    fn accept(&mut self, step: i64) -> Ruling {
        let now = self.now;
        let device = &mut self.judged.device;
        let mut skew = 0;
        if let Kind::Totp { period } = device.kind {
            skew = step - window::current_step(device, now);
            device.hot.drift_ms = window::learn_drift(&device.hot, period, skew);
        }
        // Everything up to the step is burnt with it: accepted steps only increase.
        device.hot.next = step + 1;
        self.judged.hot_changed = true;
        if matches!(device.state, State::Pending(_)) {
            // A first right code proves the enrolment, not the person: whoever holds a
            // pending key must not be able to clear the count of guesses at a live one.
            device.state = State::Active;
            self.judged.state_changed = true;
        } else {
            device.hot.used += 1;
            device.hot.last_used = Some(now);
            *self.guard_changed |= self.guard.succeed();
        }
        Ruling::plain(Verdict::Accepted { skew })
    }

    /// A spent code: people press the button twice, so one step costs one failure at
    /// most, and only the audit is told that it was not simply wrong.
    fn repeat(&mut self, step: i64) -> Ruling {
        if self.judged.device.hot.replayed <= step {
            self.judged.device.hot.replayed = step + 1;
            self.judged.hot_changed = true;
            self.fail();
        }
        Ruling::because(Verdict::Rejected, "already used")
    }

    fn resynchronise(&mut self, key: &Secret, first: &Code, second: &Code) -> Ruling {
        let device = &mut self.judged.device;
        let places = window::resynchronisable(device, self.now);
        let found = consecutive_match(key, device.algorithm, first, second, places)
            .and_then(|step| i64::try_from(step).ok());
        let Some(step) = found else {
            self.fail();
            return Ruling::because(Verdict::Rejected, "wrong");
        };
        if let Kind::Totp { period } = device.kind {
            let skew = step + 1 - window::current_step(device, self.now);
            device.hot.drift_ms = window::set_drift(period, skew);
        }
        device.hot.next = step + 2;
        self.judged.hot_changed = true;
        Ruling::plain(Verdict::Resynchronised {
            drift_seconds: self.judged.device.hot.drift_ms / 1000,
        })
    }

    fn explain(&mut self, key: &Secret, code: &Code) -> Ruling {
        let device = &self.judged.device;
        let (past, open) = window::explainable(device, &self.policy, self.now);
        // A code that is past *and* could still be accepted is not spoken of.
        let still_good = highest_match(key, device.algorithm, code, open).is_some();
        let was_good = past
            .and_then(|past| highest_match(key, device.algorithm, code, past))
            .and_then(|step| i64::try_from(step).ok());
        let finding = match was_good {
            Some(step) if !still_good => self.past(step),
            _ => {
                // Anything else could be a guess at a live code, and costs as much as one.
                self.fail();
                Finding::NotPast
            }
        };
        Ruling::plain(Verdict::Explained(finding))
    }

    fn past(&self, step: i64) -> Finding {
        let device = &self.judged.device;
        let next = device.hot.next;
        let (current, open_from) = match device.kind {
            Kind::Totp { .. } => {
                let centre = window::device_step(device, self.now);
                (centre, centre - i64::from(self.policy.window))
            }
            Kind::Hotp => (next, next),
        };
        // A step of the window, or beyond it after a clock stepped back, is past only
        // because it or a later one was accepted.
        if step + 1 == next || step >= open_from {
            Finding::AlreadyUsed
        } else {
            Finding::ValidStepsAgo(current - step)
        }
    }

    fn record(&self, ruling: Ruling, attempt: &Attempt) -> Outcome {
        let device = &self.judged.device;
        let (action, success) = match (&attempt.ask, &ruling.verdict) {
            (Ask::Verify(_), verdict) => (
                Action::OtpVerification,
                matches!(verdict, Verdict::Accepted { .. }),
            ),
            (Ask::Confirm(_), verdict) => (
                Action::DeviceConfirmed,
                matches!(verdict, Verdict::Accepted { .. }),
            ),
            (Ask::Resynchronise(..), verdict) => (
                Action::DeviceResynchronised,
                matches!(verdict, Verdict::Resynchronised { .. }),
            ),
            (Ask::Explain(_), verdict) => (
                Action::OtpExplained,
                matches!(verdict, Verdict::Explained(_)),
            ),
        };
        let mut event = Event::new(action, success, &attempt.origin)
            .about_user(device.user, &device.owner)
            .about_device(device.id, device.name.as_str());
        event.detail = detail(&ruling);
        Outcome {
            attempts_remaining: self.guard.remaining(self.now, &self.policy.budget),
            locked_until: match self.guard.standing(self.now) {
                Standing::Locked(until) => Some(until),
                Standing::Open | Standing::Disabled => None,
            },
            verdict: ruling.verdict,
            event: Some(event),
        }
    }
}

/// What the audit is told beyond success: nothing for a plain acceptance, which is
/// by far the most frequent record.
fn detail(ruling: &Ruling) -> String {
    match (&ruling.verdict, ruling.cause) {
        (Verdict::Accepted { skew: 0 }, _) => String::new(),
        (Verdict::Accepted { skew }, _) => json!({ "skew": skew }).to_string(),
        (Verdict::Explained(finding), _) => json!({ "finding": finding }).to_string(),
        (Verdict::Resynchronised { drift_seconds }, _) => {
            json!({ "drift_seconds": drift_seconds }).to_string()
        }
        (_, Some(cause)) => json!({ "reason": cause }).to_string(),
        (_, None) => String::new(),
    }
}

impl Outcome {
    fn without_event(verdict: Verdict, attempts_remaining: u32) -> Self {
        Self {
            verdict,
            attempts_remaining,
            locked_until: None,
            event: None,
        }
    }
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
