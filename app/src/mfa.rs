//! Switching the second factor of an account off, and fresh recovery codes for its owner.

use domain::verify::{Ask, Subject, Verdict};
use domain::{Action, ChallengeKind, Event, State, UserId, UserName};
use serde::Serialize;
use serde_json::json;
use store::{Batch, StoreError};

use crate::context::Context;
use crate::devices::TRIES;
use crate::limits::Source;
use crate::logins::SecondFactor;
use crate::passwords::Password;
use crate::verify::{key_unavailable, locked};
use crate::{App, Error};

/// Nothing is left of the factor.
#[derive(Serialize)]
pub struct MfaDisabled {
    message: &'static str,
}

/// A fresh set, shown once.
#[derive(Serialize)]
pub struct FreshCodes {
    /// Ten codes, each good for one use.
    pub recovery_codes: Vec<String>,
}

/// What was asked for with a factor, so that it can be judged once more.
const CLEARED: [ChallengeKind; 4] = [
    ChallengeKind::Login,
    ChallengeKind::Enrolment,
    ChallengeKind::Issued,
    ChallengeKind::Pass,
];

impl App {
    /// Removes the second factor of an account: every device that is in force or waits,
    /// the recovery codes, whatever waits for an answer; all sessions end.
    ///
    /// # Errors
    /// [`Error::InvalidCredentials`], [`Error::MfaAlreadyDisabled`],
    /// [`Error::InvalidOtpForDisabling`], [`Error::Locked`].
    pub async fn disable_mfa(
        &self,
        context: &Context,
        source: Source,
        (name, password): (&UserName, Password),
        factor: &SecondFactor,
    ) -> Result<MfaDisabled, Error> {
        let account = self.check_account(context, source, name, password).await?;
        if !self.has_factor(name).await? {
            return Err(Error::MfaAlreadyDisabled);
        }
        let ask = match factor {
            SecondFactor::Code(code) => Ask::Authenticator(*code),
            SecondFactor::Spoken(text) => Ask::Spoken(self.spoken(text)),
        };
        let answer = self
            .submit(context, Subject::User(name.clone()), ask)
            .await?;
        match answer.verdict {
            Verdict::Proven(_) => {}
            Verdict::Rejected | Verdict::Spent => return Err(Error::InvalidOtpForDisabling),
            Verdict::Locked => return Err(locked(&answer)),
            Verdict::NoFactor => return Err(Error::MfaAlreadyDisabled),
            Verdict::Unknown => return Err(Error::InvalidCredentials),
            Verdict::KeyUnavailable => return Err(key_unavailable()),
            _ => return Err(Error::broken("a device's verdict about a person")),
        }
        for _ in 0..TRIES {
            if self.try_disable(context, account.user, name).await? {
                return Ok(MfaDisabled {
                    message: "MFA disabled successfully",
                });
            }
        }
        Err(Error::Busy)
    }

    /// False when a device changed in between.
    async fn try_disable(
        &self,
        context: &Context,
        user: UserId,
        name: &UserName,
    ) -> Result<bool, Error> {
        let now = self.store.now().await?;
        let devices = self.store.devices_of(user).await?;
        let counts = |state: &State| !matches!(state, State::Deactivated(_));
        let gone = devices.iter().filter(|it| counts(&it.device.state));
        let gone: Vec<_> = gone.map(|it| it.device.id).collect();
        if gone.is_empty() {
            // Somebody else was faster, with another right code.
            return Err(Error::MfaAlreadyDisabled);
        }
        let mut batch = Batch::new();
        for device in &gone {
            batch.delete_device(*device, user);
        }
        batch.delete_recovery_codes(user);
        for kind in CLEARED {
            batch.clear_challenges(user, kind);
        }
        self.end_all_sessions(&mut batch, user, now);
        let event = Event::new(Action::MfaDisabled, true, &context.origin())
            .about_user(user, name.canonical())
            .with(&json!({ "devices": gone.len() }));
        batch.record(event);
        match self.store.commit(batch).await {
            Ok(_) => Ok(true),
            Err(StoreError::Refused(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Fresh recovery codes for the owner of a session that was opened with a code of an
    /// authenticator; the old ones are void.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`], [`Error::StepUpRequired`], those of a password check.
    pub async fn fresh_recovery_codes(
        &self,
        context: &Context,
        source: Source,
        bearer: Option<&str>,
        password: Option<Password>,
    ) -> Result<FreshCodes, Error> {
        let session = self.session_of(source, bearer).await?;
        if !session.has("otp") {
            return Err(Error::StepUpRequired);
        }
        let now = self.store.now().await?;
        let account = self
            .prove_owner(context, source, &session, password, now)
            .await?;
        let mut batch = Batch::new();
        if let Some(account) = &account {
            batch.require_password(account.user, &account.password);
        }
        let user = session.user;
        batch.require_session(&session.id, user);
        let codes = self.make_recovery_codes(&mut batch, user, None, now);
        let recovery_codes = codes.await?;
        let event = Event::new(Action::RecoveryCodesCreated, true, &context.origin())
            .about_user(user, session.name.canonical())
            .with(&json!({ "count": recovery_codes.len() }));
        batch.record(event);
        match self.store.commit(batch).await {
            Ok(_) => Ok(FreshCodes { recovery_codes }),
            Err(StoreError::Refused(_)) => Err(Error::Unauthenticated),
            Err(error) => Err(error.into()),
        }
    }
}
