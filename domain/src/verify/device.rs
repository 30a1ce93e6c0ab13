//! What is asked of a device that the caller names: verify, confirm, re-align, explain.

use otp::{Code, Secret, consecutive_match, highest_match};
use serde_json::json;

use super::judged::Found;
use super::{
    Ask, Attempt, Begun, Finding, Judged, Outcome, Secrets, Typed, User, Verdict, find, lock_end,
};
use crate::device::{Kind, State};
use crate::event::{Action, Event};
use crate::guard::{Guard, Standing};
use crate::ids::DeviceId;
use crate::names::DeviceName;
use crate::policy::{Policies, Policy};
use crate::time::Time;
use crate::window;

/// Judges an attempt at the device of that name.
pub(super) fn judge(
    user: &mut User,
    name: &DeviceName,
    ask: &Ask,
    attempt: &Attempt,
    now: Time,
    policies: &Policies,
    secrets: &impl Secrets,
) -> Outcome {
    match find(user, now, |device| device.name == *name) {
        Some(index) => judge_at(user, index, ask, attempt, now, policies, secrets),
        None => Outcome::without_event(Verdict::Unknown, 0),
    }
}

/// Judges the first code of a device that its owner enrolled. All of the owner's devices
/// are there, under the guard's lock: none comes in force beside it unseen.
pub(super) fn enrol(
    user: &mut User,
    (id, code, begun): (DeviceId, Typed, Begun),
    attempt: &Attempt,
    now: Time,
    policies: &Policies,
    secrets: &impl Secrets,
) -> Outcome {
    let Some(index) = find(user, now, |device| device.id == id) else {
        return Outcome::without_event(Verdict::Unknown, 0);
    };
    let pending = matches!(user.devices[index].device.state, State::Pending(_));
    let in_force = |judged: &Judged| judged.device.state == State::Active;
    if pending && begun == Begun::FirstFactor && user.devices.iter().any(in_force) {
        return Outcome::without_event(Verdict::StepUpNeeded, 0);
    }
    let ask = Ask::Confirm(code);
    judge_at(user, index, &ask, attempt, now, policies, secrets)
}

fn judge_at(
    user: &mut User,
    index: usize,
    ask: &Ask,
    attempt: &Attempt,
    now: Time,
    policies: &Policies,
    secrets: &impl Secrets,
) -> Outcome {
    let policy = policies.of(user.devices[index].device.policy.as_deref());
    let mut bench = Bench {
        guard: &mut user.guard,
        guard_changed: &mut user.guard_changed,
        judged: &mut user.devices[index],
        policy,
        now,
    };
    match bench.judge(ask, secrets) {
        Ok(ruling) => bench.record(ruling, attempt),
        Err(verdict) => Outcome::without_event(verdict, bench.guard.remaining(now, &policy.budget)),
    }
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
    fn judge(&mut self, ask: &Ask, secrets: &impl Secrets) -> Result<Ruling, Verdict> {
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
        let key = secrets
            .open(&self.judged.device)
            .ok_or(Verdict::KeyUnavailable)?;
        Ok(match ask {
            Ask::Resynchronise(..) => self.resynchronise(&key, &code, &second),
            Ask::Explain(_) => self.explain(&key, &code),
            _ => self.verify(&key, &code),
        })
    }

    /// The code, or the two of a resynchronisation (else it twice). Read first: another
    /// length is a fault of the request, whatever the device's state.
    fn codes(&self, ask: &Ask) -> Result<(Code, Code), Verdict> {
        let (first, second) = match *ask {
            Ask::Verify(typed) | Ask::Confirm(typed) | Ask::Explain(typed) => (typed, typed),
            Ask::Resynchronise(first, second) => (first, second),
            // Asked of a person: no device can answer it.
            _ => return Err(Verdict::Unknown),
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
        match self.judged.compare(key, code, &self.policy, self.now) {
            Found::Fresh(step) => self.accept(step),
            Found::Spent(step) => self.repeat(step),
            Found::Nothing => {
                self.fail();
                Ruling::because(Verdict::Rejected, "wrong")
            }
        }
    }

    fn accept(&mut self, step: i64) -> Ruling {
        let skew = self.judged.spend(step, self.now);
        self.judged.count_use(self.now);
        if matches!(self.judged.device.state, State::Pending(_)) {
            // A first right code proves the enrolment, not the person: whoever holds a
            // pending key must not be able to clear the count of guesses at a live one.
            self.judged.device.state = State::Active;
            self.judged.state_changed = true;
        } else {
            *self.guard_changed |= self.guard.succeed();
        }
        Ruling::plain(Verdict::Accepted { skew })
    }

    fn repeat(&mut self, step: i64) -> Ruling {
        if self.judged.repeat(step) {
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
            (Ask::Confirm(_) | Ask::Enrol { .. }, verdict) => (
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
            (_, verdict) => (
                Action::OtpVerification,
                matches!(verdict, Verdict::Accepted { .. }),
            ),
        };
        let mut event = Event::new(action, success, &attempt.origin)
            .about_user(device.user, &device.owner)
            .about_device(device.id, device.name.as_str());
        event.detail = detail(&ruling);
        Outcome {
            attempts_remaining: self.guard.remaining(self.now, &self.policy.budget),
            locked_until: lock_end(self.guard, self.now),
            verdict: ruling.verdict,
            event: Some(event),
            consequence: None,
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
