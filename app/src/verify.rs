//! Attempts: what is asked of a device, sent through its lane, and the answer in the words of the contract.

use domain::guard::LONGEST_LOCK_SECONDS;
use domain::verify::{Ask, Attempt, Finding, Subject, Typed, Verdict};
use domain::{DeviceName, Method, Time};
use serde::Serialize;
use store::{Answer, StoreError, Submission};

use crate::context::Context;
use crate::tokens::Wanted;
use crate::{App, Error};

/// The answer to a verification.
#[derive(Clone, Debug, Serialize)]
pub struct Verification {
    /// Whether the code was accepted; it is spent now.
    pub valid: bool,
    /// Why not: `rejected`, `locked` or `inactive`.
    pub reason: Option<&'static str>,
    /// Seconds until a locked user may try again; `null` when there is no lock, or
    /// when only an administrator can open it.
    pub retry_after: Option<i64>,
    /// Guesses that may still fail before the next lock.
    pub attempts_remaining: u32,
    /// The proof for another service, when one was asked for and the code was accepted.
    pub assertion: Option<String>,
    /// Present and true when this is the kept answer of an earlier request.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
}

/// The answer to a resynchronisation.
#[derive(Clone, Debug, Serialize)]
pub struct Resynchronisation {
    /// Whether the device is re-aligned; both codes are spent then.
    pub resynchronised: bool,
    /// Why not: `rejected`, `locked` or `inactive`.
    pub reason: Option<&'static str>,
    /// See [`Verification::retry_after`].
    pub retry_after: Option<i64>,
    /// How far the device's clock is ahead of the server's, in seconds.
    pub drift_seconds: Option<i64>,
    /// See [`Verification::replayed`].
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
}

/// What the helpdesk is told about a code.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// `valid_steps_ago`, `already_used`, `not_past` or `inactive`.
    pub finding: &'static str,
    /// Steps (or counters) since the code was valid.
    pub steps_ago: Option<i64>,
    /// When the user's lock ends, if there is one with an end.
    pub locked_until: Option<String>,
    /// See [`Verification::replayed`].
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
}

impl App {
    /// Judges a code of a device. A wrong code is an answer, not an error.
    ///
    /// # Errors
    /// [`Error::DeviceNotFound`], [`Error::Invalid`] for a code of another length than
    /// the device's, and [`Error::Unavailable`] when the outcome is not known.
    pub async fn verify(
        &self,
        context: &Context,
        device: DeviceName,
        code: Typed,
        wanted: Option<&Wanted>,
    ) -> Result<Verification, Error> {
        let (subject, ask) = (Subject::Device(device), Ask::Verify(code));
        let answer = self.judged(context, subject, ask).await?;
        let mut found = verification(&answer, "/otp")?;
        if found.valid && wanted.is_some() {
            // Boxed: a call that wants none carries no room for it.
            found.assertion =
                Box::pin(self.vouch_for_owner(context, wanted, &ask, &answer)).await?;
        }
        Ok(found)
    }

    /// Vouches for the one whose code was judged: the device's name may have passed to
    /// somebody else since. Erased in between, there is nobody to vouch for any more.
    async fn vouch_for_owner(
        &self,
        context: &Context,
        wanted: Option<&Wanted>,
        ask: &Ask,
        answer: &Answer,
    ) -> Result<Option<String>, Error> {
        let owner = match answer.user {
            Some(user) => self.store.user_name(user).await?,
            None => None,
        };
        let Some(subject) = &owner else {
            return Ok(None);
        };
        self.assertion_of(context, wanted, subject, Method::Otp, (ask, answer))
            .await
    }

    /// Judges the first code of a pending device; a right one puts it in force.
    ///
    /// # Errors
    /// As [`App::verify`], and [`Error::DeviceNotPending`].
    pub async fn confirm(
        &self,
        context: &Context,
        device: DeviceName,
        code: Typed,
    ) -> Result<Verification, Error> {
        let found = self.store.device(&device).await?;
        let answer = self.ask(context, device, Ask::Confirm(code)).await?;
        let confirmed = verification(&answer, "/otp")?;
        if let Some(found) = found
            && confirmed.valid
            && !answer.replayed
        {
            self.end_confirmed(&found, answer.at).await?;
        }
        Ok(confirmed)
    }

    /// Re-aligns a device by two codes in a row.
    ///
    /// # Errors
    /// As [`App::verify`].
    pub async fn resynchronise(
        &self,
        context: &Context,
        device: DeviceName,
        first: Typed,
        second: Typed,
    ) -> Result<Resynchronisation, Error> {
        let ask = Ask::Resynchronise(first, second);
        let answer = self.ask(context, device, ask).await?;
        let drift_seconds = match answer.verdict {
            Verdict::Resynchronised { drift_seconds } => Some(drift_seconds),
            _ => None,
        };
        Ok(Resynchronisation {
            resynchronised: drift_seconds.is_some(),
            reason: reason(&answer, "/otp")?,
            retry_after: retry_after(&answer),
            drift_seconds,
            replayed: answer.replayed,
        })
    }

    /// Says of a code that can no longer be accepted why; any other costs a guess.
    ///
    /// # Errors
    /// As [`App::verify`].
    pub async fn explain(
        &self,
        context: &Context,
        device: DeviceName,
        code: Typed,
    ) -> Result<Explanation, Error> {
        let answer = self.ask(context, device, Ask::Explain(code)).await?;
        let (finding, steps_ago) = match answer.verdict {
            Verdict::Explained(Finding::ValidStepsAgo(steps)) => ("valid_steps_ago", Some(steps)),
            Verdict::Explained(Finding::AlreadyUsed) => ("already_used", None),
            Verdict::Explained(Finding::NotPast) => ("not_past", None),
            _ => (reason(&answer, "/otp")?.unwrap_or("inactive"), None),
        };
        Ok(Explanation {
            finding,
            steps_ago,
            locked_until: answer.locked_until.map(Time::to_rfc3339),
            replayed: answer.replayed,
        })
    }

    async fn ask(&self, context: &Context, device: DeviceName, ask: Ask) -> Result<Answer, Error> {
        self.submit(context, Subject::Device(device), ask).await
    }

    /// Sends an attempt that is a verification through its lane, and measures it.
    pub(crate) async fn judged(
        &self,
        context: &Context,
        subject: Subject,
        ask: Ask,
    ) -> Result<Answer, Error> {
        #[expect(
            clippy::disallowed_methods,
            reason = "a duration for the metrics: no rule depends on it"
        )]
        let begun = tokio::time::Instant::now();
        let answer = self.submit(context, subject, ask).await?;
        self.metrics
            .verification(&answer, begun.elapsed().as_secs_f64());
        Ok(answer)
    }

    /// Sends an attempt through its lane.
    pub(crate) async fn submit(
        &self,
        context: &Context,
        subject: Subject,
        ask: Ask,
    ) -> Result<Answer, Error> {
        let idempotency = self.ticket(context, &ask);
        let submission = Submission {
            attempt: Attempt {
                subject,
                ask,
                origin: context.origin(),
            },
            key_id: context.caller.key_id(),
            idempotency,
        };
        let answer = self.store.attempt(submission).await;
        answer.map_err(|error| {
            self.metrics.failed(&error);
            if let (StoreError::CallerRevoked, Some(id)) = (&error, context.caller.key_id()) {
                // Revoked by another node: from now on it is looked up, and its
                // attempts count as failures of their address.
                self.keys.forget(&id);
            }
            Error::from(error)
        })
    }
}

fn verification(answer: &Answer, pointer: &str) -> Result<Verification, Error> {
    Ok(Verification {
        valid: matches!(answer.verdict, Verdict::Accepted { .. }),
        reason: reason(answer, pointer)?,
        retry_after: retry_after(answer),
        attempts_remaining: answer.attempts_remaining,
        assertion: None,
        replayed: answer.replayed,
    })
}

/// The word of the contract, `None` for a success.
fn reason(answer: &Answer, pointer: &str) -> Result<Option<&'static str>, Error> {
    word(&answer.verdict, pointer).map_err(|error| told(answer, error))
}

/// The error as an answer, which may be the kept one.
pub(crate) fn told(answer: &Answer, error: Error) -> Error {
    match answer.replayed {
        true => Error::Replayed(Box::new(error)),
        false => error,
    }
}

/// That nothing is judged now, where the contract calls it an error. No time opens a
/// factor that is disabled; who asks is told the length of the longest lock then.
pub(crate) fn locked(answer: &Answer) -> Error {
    let seconds = retry_after(answer).unwrap_or(LONGEST_LOCK_SECONDS);
    let locked = Error::Locked {
        retry_after: u32::try_from(seconds).unwrap_or(u32::MAX),
    };
    told(answer, locked)
}

fn word(verdict: &Verdict, pointer: &str) -> Result<Option<&'static str>, Error> {
    match verdict {
        Verdict::Accepted { .. } | Verdict::Resynchronised { .. } | Verdict::Explained(_) => {
            Ok(None)
        }
        Verdict::Rejected => Ok(Some("rejected")),
        Verdict::Locked => Ok(Some("locked")),
        Verdict::Inactive => Ok(Some("inactive")),
        Verdict::NotPending => Err(Error::DeviceNotPending),
        Verdict::Unknown => Err(Error::DeviceNotFound),
        Verdict::WrongLength { expected } => Err(Error::invalid(
            pointer,
            format!("The codes of this device have {expected} digits."),
        )),
        Verdict::KeyUnavailable => Err(key_unavailable()),
        Verdict::Proven(_)
        | Verdict::Spent
        | Verdict::NoFactor
        | Verdict::NoLogin
        | Verdict::StepUpNeeded => Err(Error::broken("a person's verdict about a device")),
    }
}

/// Whole seconds, rounded up, so that waiting that long is enough.
pub(crate) fn retry_after(answer: &Answer) -> Option<i64> {
    let until = answer.locked_until?;
    let left = until.since(answer.at);
    (left > 0).then(|| (left + 999) / 1000)
}

/// A sealed key is there that none of the master secrets opens.
pub(crate) fn key_unavailable() -> Error {
    Error::broken("a device key cannot be opened")
}
