//! What is asked of a person, whatever devices they have: codes, recovery codes, passes, logins.

use otp::Code;
use serde_json::json;
use subtle::ConstantTimeEq;

use super::judged::Found;
use super::{
    Ask, Attempt, Factor, Outcome, Proof, Secrets, Spoken, User, Verdict, budget_of, lock_end,
    number,
};
use crate::challenge::{ChallengeKind, Method};
use crate::device::State;
use crate::event::{Action, Event};
use crate::guard::Standing;
use crate::ids::ChallengeId;
use crate::policy::{Budget, Policies};
use crate::time::Time;

/// So few recovery codes left are worth an event.
const FEW_CODES: u32 = 2;

/// Judges an attempt at a person.
pub(super) fn judge(
    user: &mut User,
    ask: Ask,
    attempt: &Attempt,
    now: Time,
    policies: &Policies,
    secrets: &impl Secrets,
) -> Outcome {
    let active = user
        .devices
        .iter()
        .filter(|j| j.device.state == State::Active);
    let budget = budget_of(active, policies);
    let mut bench = Bench {
        user,
        policies,
        budget,
        now,
        secrets,
    };
    let ruled = match ask {
        Ask::Authenticator(code) => bench.authenticator(&code),
        Ask::IssuedOrAuthenticator(code) => bench.issued(&code),
        Ask::Spoken(spoken) => bench.spoken(spoken),
        Ask::Login {
            login,
            proof,
            answer,
        } => bench.login(login, proof, answer),
        // Asked of devices and addresses: no person can answer it.
        _ => Err(Verdict::Unknown),
    };
    match ruled {
        Ok(ruling) => bench.record(ruling, ask, attempt),
        Err(verdict) => Outcome::without_event(verdict, bench.user.guard.remaining(now, &budget)),
    }
}

/// A verdict and the cause that only the audit is told.
struct Ruling {
    verdict: Verdict,
    cause: Option<&'static str>,
    /// The end of a lock other than the guard's.
    until: Option<Time>,
}

impl Ruling {
    fn proven(proof: Proof) -> Self {
        Self {
            verdict: Verdict::Proven(proof),
            cause: None,
            until: None,
        }
    }

    fn because(verdict: Verdict, cause: &'static str) -> Self {
        Self {
            verdict,
            cause: Some(cause),
            until: None,
        }
    }
}

/// A person laid out for one judgement. `Err` is a verdict that counts nothing and
/// leaves no event.
struct Bench<'a, S> {
    user: &'a mut User,
    policies: &'a Policies,
    budget: Budget,
    now: Time,
    secrets: &'a S,
}

impl<S: Secrets> Bench<'_, S> {
    fn authenticator(&mut self, code: &Code) -> Result<Ruling, Verdict> {
        self.require_factor()?;
        if self.is_locked() {
            return Ok(locked());
        }
        let found = self.compare(code)?;
        Ok(self.settle(found))
    }

    /// The issued code goes first: it is bound to this one purpose. Everything is
    /// compared, whatever is found, so that time tells nothing.
    fn issued(&mut self, code: &Code) -> Result<Ruling, Verdict> {
        self.require_factor()?;
        if self.is_locked() {
            return Ok(locked());
        }
        let found = self.compare(code)?;
        let (now, secrets) = (self.now, self.secrets);
        let mut issued = self.user.challenges.iter_mut();
        let issued = issued.find(|a| a.challenge.kind == ChallengeKind::Issued);
        let Some(issued) = issued.filter(|a| a.challenge.is_code(code, secrets)) else {
            return Ok(self.settle(found));
        };
        if issued.challenge.is_live(now) {
            issued.challenge.uses_left -= 1;
            issued.changed = true;
            let mut proof = Proof::by(Method::Otc);
            proof.delay_ms = Some(now.since(issued.challenge.created_at));
            self.succeed();
            return Ok(Ruling::proven(proof));
        }
        if matches!(found, Some((_, Found::Fresh(_)))) {
            return Ok(self.settle(found));
        }
        // As with an authenticator's: a repetition costs one failure at most.
        let first = issued.challenge.failures == 0;
        issued.challenge.failures = 1;
        issued.changed |= first;
        if first {
            self.fail();
        }
        Ok(Ruling::because(Verdict::Spent, "issued, but spent"))
    }

    /// Judged while codes are locked, too: it is the way out of a lock.
    fn spoken(&mut self, spoken: Spoken) -> Result<Ruling, Verdict> {
        self.user.guard_changed = true;
        if let Err(until) = self.user.guard.try_recovery(self.now) {
            return Ok(Ruling {
                until: Some(until),
                ..locked()
            });
        }
        let proof = match spoken {
            Spoken::Recovery(hash) => self.recovery_code(&hash),
            Spoken::Pass(hash) => self.pass(&hash),
        };
        Ok(match proof {
            Some(proof) => {
                self.user.guard.open();
                Ruling::proven(proof)
            }
            None => {
                self.fail();
                Ruling::because(Verdict::Rejected, "wrong")
            }
        })
    }

    /// A recovery code stands for a factor that is in force and not at hand: where none
    /// is, it proves nothing and stays unused.
    fn recovery_code(&mut self, hash: &[u8; 32]) -> Option<Proof> {
        let in_force = self.require_factor().is_ok();
        let mut found = None;
        for (place, code) in self.user.recovery.iter().enumerate() {
            if bool::from(code.hash.ct_eq(hash)) && !code.used {
                found = Some(place);
            }
        }
        let found = found.filter(|_| in_force);
        self.user.recovery[found?].used = true;
        let mut proof = Proof::by(Method::Recovery);
        proof.left = Some(self.recovery_codes_left());
        Some(proof)
    }

    fn recovery_codes_left(&self) -> u32 {
        let left = self.user.recovery.iter().filter(|code| !code.used).count();
        u32::try_from(left).unwrap_or(u32::MAX)
    }

    fn pass(&mut self, hash: &[u8; 32]) -> Option<Proof> {
        let now = self.now;
        let right = |awaited: &&mut super::Awaited| {
            let pass = &awaited.challenge;
            let same = pass.hash.is_some_and(|known| bool::from(known.ct_eq(hash)));
            pass.kind == ChallengeKind::Pass && same && pass.is_live(now)
        };
        let alone = self.require_factor().is_err();
        let pass = self.user.challenges.iter_mut().find(right)?;
        pass.challenge.uses_left -= 1;
        pass.changed = true;
        let mut proof = Proof::by(Method::Pass);
        proof.alone = alone;
        proof.uses_left = Some(pass.challenge.uses_left);
        proof.left = Some(self.recovery_codes_left());
        Some(proof)
    }

    /// A wrong code or another person's token does not spend the login.
    fn login(
        &mut self,
        login: ChallengeId,
        proof: Option<[u8; 32]>,
        answer: Factor,
    ) -> Result<Ruling, Verdict> {
        let now = self.now;
        let user = self.user.id;
        let place = self.user.challenges.iter().position(|awaited| {
            let waiting = &awaited.challenge;
            let same = match (proof, waiting.hash) {
                (Some(given), Some(known)) => bool::from(given.ct_eq(&known)),
                (Some(_), None) => false,
                (None, _) => true,
            };
            waiting.id == login
                && waiting.user == user
                && waiting.kind == ChallengeKind::Login
                && same
                && waiting.is_live(now)
        });
        let place = place.ok_or(Verdict::NoLogin)?;
        let ruling = match answer {
            Factor::Code(code) => self.authenticator(&code)?,
            Factor::Spoken(spoken) => {
                self.require_factor()?;
                self.spoken(spoken)?
            }
        };
        if matches!(ruling.verdict, Verdict::Proven(_)) {
            let awaited = &mut self.user.challenges[place];
            awaited.challenge.uses_left = 0;
            awaited.changed = true;
        }
        Ok(ruling)
    }

    fn require_factor(&self) -> Result<(), Verdict> {
        let in_force = |judged: &super::Judged| judged.device.state == State::Active;
        match self.user.devices.iter().any(in_force) {
            true => Ok(()),
            false => Err(Verdict::NoFactor),
        }
    }

    fn is_locked(&self) -> bool {
        self.user.guard.standing(self.now) != Standing::Open
    }

    /// Compares the code with every authenticator in force whose codes have its length.
    /// One that may still be accepted counts more than one that is spent.
    fn compare(&self, code: &Code) -> Result<Option<(usize, Found)>, Verdict> {
        let mut best = None;
        let mut unopened = false;
        for (place, judged) in self.user.devices.iter().enumerate() {
            let device = &judged.device;
            if device.state != State::Active || device.digits != code.digits() {
                continue;
            }
            let Some(key) = self.secrets.open(device) else {
                unopened = true;
                continue;
            };
            let policy = self.policies.of(device.policy.as_deref());
            let found = judged.compare(&key, code, &policy, self.now);
            let better = match (&best, found) {
                (_, Found::Nothing) | (Some((_, Found::Fresh(_))), _) => false,
                (_, Found::Fresh(_)) | (None, Found::Spent(_)) => true,
                (Some(_), Found::Spent(_)) => false,
            };
            if better {
                best = Some((place, found));
            }
        }
        match best {
            None if unopened => Err(Verdict::KeyUnavailable),
            best => Ok(best),
        }
    }

    fn settle(&mut self, found: Option<(usize, Found)>) -> Ruling {
        match found {
            Some((place, Found::Fresh(step))) => {
                let now = self.now;
                let judged = &mut self.user.devices[place];
                let skew = judged.spend(step, now);
                judged.count_use(now);
                let mut proof = Proof::by(Method::Otp);
                proof.device = number(judged.device.id);
                proof.skew = skew;
                self.succeed();
                Ruling::proven(proof)
            }
            Some((place, Found::Spent(step))) => {
                if self.user.devices[place].repeat(step) {
                    self.fail();
                }
                Ruling::because(Verdict::Rejected, "already used")
            }
            Some((_, Found::Nothing)) | None => {
                self.fail();
                Ruling::because(Verdict::Rejected, "wrong")
            }
        }
    }

    fn succeed(&mut self) {
        self.user.guard_changed |= self.user.guard.succeed();
    }

    fn fail(&mut self) {
        self.user.guard.fail(self.now, &self.budget);
        self.user.guard_changed = true;
    }

    fn record(&self, ruling: Ruling, ask: Ask, attempt: &Attempt) -> Outcome {
        let action = match ask {
            Ask::Spoken(_) => Action::RecoveryVerification,
            Ask::Login { .. } => Action::LoginSecondFactor,
            _ => Action::OtpVerification,
        };
        let user = &*self.user;
        let proof = match ruling.verdict {
            Verdict::Proven(proof) => Some(proof),
            _ => None,
        };
        let mut event =
            Event::new(action, proof.is_some(), &attempt.origin).about_user(user.id, &user.name);
        let id = proof.and_then(|proof| proof.device);
        let used = user.devices.iter().find(|j| Some(j.device.id.0) == id);
        if let Some(judged) = used {
            event = event.about_device(judged.device.id, judged.device.name.as_str());
        }
        event = match (proof, ruling.cause) {
            (Some(proof), _) => event.with(&json!({ "method": proof.method.as_str() })),
            (None, Some(cause)) => event.with(&json!({ "reason": cause })),
            (None, None) => event,
        };
        Outcome {
            attempts_remaining: user.guard.remaining(self.now, &self.budget),
            locked_until: ruling.until.or_else(|| lock_end(&user.guard, self.now)),
            verdict: ruling.verdict,
            event: Some(event),
            consequence: proof.and_then(|proof| self.few_codes(proof, attempt)),
        }
    }

    fn few_codes(&self, proof: Proof, attempt: &Attempt) -> Option<Event> {
        let left = proof.left.filter(|left| *left <= FEW_CODES)?;
        (proof.method == Method::Recovery).then(|| {
            Event::new(Action::RecoveryCodesLow, true, &attempt.origin)
                .about_user(self.user.id, &self.user.name)
                .with(&json!({ "left": left }))
        })
    }
}

fn locked() -> Ruling {
    Ruling::because(Verdict::Locked, "locked")
}
