//! What was sent to an email address. Anybody may ask, so it never touches the user's guard.

use otp::Code;
use serde_json::json;
use subtle::ConstantTimeEq;

use super::{Attempt, Awaited, Outcome, Proof, Secrets, User, Verdict};
use crate::challenge::{Challenge, ChallengeKind, Method};
use crate::event::{Action, Event};
use crate::time::Time;

/// Wrong codes until the address has to wait for the end of the code's life.
const TRIES: u32 = 5;
/// Wrong codes a day from which on each one is followed by a wait: a stranger who guesses
/// on gets no further than a few an hour, and the owner is not kept out for the day.
const TRIES_A_DAY: u32 = 50;
const LONG_WAIT_MS: i64 = 15 * 60_000;
const DAY_MS: i64 = 86_400_000;

/// Judges an emailed code. An address with nothing pending is treated like one whose
/// code is wrong, so that nobody learns which is which.
pub(super) fn judge(
    user: &mut User,
    code: &Code,
    attempt: &Attempt,
    now: Time,
    secrets: &impl Secrets,
) -> Outcome {
    let emailed = |awaited: &&mut Awaited| awaited.challenge.kind == ChallengeKind::Emailed;
    let Some(awaited) = user.challenges.iter_mut().find(emailed) else {
        return Outcome::without_event(Verdict::Unknown, 0);
    };
    awaited.changed = true;
    let challenge = &mut awaited.challenge;
    let (verdict, cause) = decide(challenge, code, now, secrets);
    let success = matches!(verdict, Verdict::Proven(_));
    let mut event = Event::new(Action::EmailCodeVerification, success, &attempt.origin)
        .about_user(user.id, &user.name);
    if let Some(cause) = cause {
        event = event.with(&json!({ "reason": cause }));
    }
    Outcome {
        attempts_remaining: TRIES.saturating_sub(challenge.failures),
        locked_until: challenge.locked_until.filter(|until| *until > now),
        verdict,
        event: Some(event),
        consequence: None,
    }
}

fn decide(
    challenge: &mut Challenge,
    code: &Code,
    now: Time,
    secrets: &impl Secrets,
) -> (Verdict, Option<&'static str>) {
    let today = now.millis().div_euclid(DAY_MS);
    // A clock that steps back a day gives nobody new tries.
    if today > challenge.day {
        challenge.day = today;
        challenge.day_failures = 0;
    }
    match challenge.locked_until {
        Some(until) if until > now => return (Verdict::Locked, Some("locked")),
        Some(_) => {
            challenge.locked_until = None;
            challenge.failures = 0;
        }
        None => {}
    }
    if challenge.answers(code, now, secrets) {
        challenge.uses_left -= 1;
        challenge.failures = 0;
        let mut proof = Proof::by(Method::Email);
        proof.delay_ms = Some(now.since(challenge.created_at));
        return (Verdict::Proven(proof), None);
    }
    // People press the button twice: repeating the code that was accepted costs one failure
    // at most. It tells nothing, the code is spent.
    let is_repeated = challenge.uses_left == 0 && challenge.is_code(code, secrets);
    if is_repeated && challenge.failures > 0 {
        return (Verdict::Rejected, Some("already used"));
    }
    challenge.failures = challenge.failures.saturating_add(1);
    challenge.day_failures = challenge.day_failures.saturating_add(1);
    if challenge.day_failures >= TRIES_A_DAY {
        challenge.locked_until = Some(now.plus_millis(LONG_WAIT_MS));
    }
    if challenge.failures >= TRIES {
        let lifetime = challenge.expires_at.since(challenge.created_at);
        let end = match challenge.is_live(now) {
            true => challenge.expires_at,
            false => now.plus_millis(lifetime),
        };
        challenge.locked_until = challenge.locked_until.max(Some(end));
    }
    (Verdict::Rejected, Some("wrong"))
}

impl Challenge {
    /// Whether the code is the live one. The comparison takes the same time for any.
    pub(super) fn answers(&self, code: &Code, now: Time, secrets: &impl Secrets) -> bool {
        self.is_code(code, secrets) && self.is_live(now)
    }

    /// Whether the code is the one that was made for it, live or not.
    pub(super) fn is_code(&self, code: &Code, secrets: &impl Secrets) -> bool {
        let given = secrets.hash_code(self.id, code);
        let right = self.hash.unwrap_or_default();
        bool::from(given.ct_eq(&right)) && self.hash.is_some()
    }
}
