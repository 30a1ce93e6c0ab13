//! The end of an enrolment: its first right code, by whichever door, or the session that began it.

use domain::verify::{Ask, Begun, Subject, Typed, Verdict};
use domain::{Challenge, ChallengeKind, DeviceId, State, Time, UserId, UserName};
use serde::Serialize;
use store::{Batch, StoreError, StoredChallenge, StoredDevice};

use super::{DOOR, Kept};
use crate::context::Context;
use crate::limits::Source;
use crate::verify::{key_unavailable, locked};
use crate::{App, Error};

/// A user has one enrolment: each new one removes those before.
const MOST: i64 = 4;

/// The factor is in force.
#[derive(Serialize)]
pub struct MfaEnabled {
    message: &'static str,
    mfa_enabled: bool,
}

impl App {
    /// Puts a pending factor in force by its first right code; its recovery codes come
    /// with it, and sessions that were opened without a factor end, but for the one that
    /// asked.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] without a token that lives, [`Error::InvalidOtp`],
    /// [`Error::Locked`], [`Error::StepUpRequired`] when another factor came in force
    /// meanwhile, [`Error::MfaNotPending`] for a factor that is in force already, since
    /// signup or by a request like this one.
    pub async fn confirm_mfa(
        &self,
        context: &Context,
        source: Source,
        bearer: Option<&str>,
        code: Typed,
    ) -> Result<MfaEnabled, Error> {
        let now = self.store.now().await?;
        // A token that is spent confirms nothing, but whoever sent the same request twice
        // is told that it is done.
        let counts = |it: &Challenge| it.expires_at > now;
        let (enrolment, kept) = self.enrolment(source, bearer, counts).await?;
        if !enrolment.challenge.is_live(now) {
            return Err(Error::MfaNotPending);
        }
        let user = enrolment.challenge.user;
        let device = self.device_of(user, DeviceId(kept.device)).await?;
        let device = device.ok_or(Error::Unauthenticated)?.device;
        if !matches!(device.state, State::Pending(_)) {
            return Err(Error::MfaNotPending);
        }
        let owner = UserName::parse(&device.owner);
        let owner = owner.map_err(|_| Error::broken("the owner of a device"))?;
        // What ends the session from here on takes the pending device away with it.
        if let Some(id) = &kept.session
            && !self.session_lives(id, now).await?
        {
            return Err(Error::Unauthenticated);
        }
        let ask = Ask::Enrol {
            device: device.id,
            code,
            begun: match kept.stepped_up {
                true => Begun::SteppedUp,
                false => Begun::FirstFactor,
            },
        };
        let answer = self.submit(context, Subject::User(owner), ask).await?;
        match answer.verdict {
            Verdict::Accepted { .. } => {}
            Verdict::StepUpNeeded => return Err(Error::StepUpRequired),
            Verdict::NotPending => return Err(Error::MfaNotPending),
            Verdict::Rejected => return Err(Error::InvalidOtp),
            Verdict::Locked => return Err(locked(&answer)),
            Verdict::WrongLength { expected } => {
                let detail = format!("The codes of this device have {expected} digits.");
                return Err(Error::invalid("/token", detail));
            }
            Verdict::KeyUnavailable => return Err(key_unavailable()),
            // Removed in between, with the right to confirm it.
            _ => return Err(Error::Unauthenticated),
        }
        let session = kept.session.as_deref();
        self.finish_enrolment(user, session, answer.at).await?;
        Ok(MfaEnabled {
            message: "MFA enabled successfully",
            mfa_enabled: true,
        })
    }

    /// An account's factor is in force, by whichever door it was confirmed: its enrolment
    /// is over, and so are all sessions but the one that asked for it.
    pub(crate) async fn end_confirmed(&self, found: &StoredDevice, at: Time) -> Result<(), Error> {
        if found.door.as_deref() != Some(DOOR) {
            return Ok(());
        }
        let user = found.device.user;
        let kind = ChallengeKind::Enrolment;
        let enrolments = self.store.challenges_of(user, kind, MOST).await?;
        let mut kept = enrolments
            .iter()
            .filter_map(|it| serde_json::from_str::<Kept>(&it.context).ok());
        let asked = kept.find(|kept| kept.device == found.device.id.0);
        let session = asked.and_then(|kept| kept.session);
        self.finish_enrolment(user, session.as_deref(), at).await
    }

    async fn finish_enrolment(
        &self,
        user: UserId,
        session: Option<&str>,
        at: Time,
    ) -> Result<(), Error> {
        let mut batch = Batch::new();
        batch.spend_challenges(user, ChallengeKind::Enrolment);
        batch.end_sessions(user, session, at);
        match self.store.commit(batch).await {
            // Refused: the user has been erased in between.
            Ok(_) | Err(StoreError::Refused(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Ends all sessions of a user, with the logins and enrolments that they began.
    pub(crate) fn end_all_sessions(&self, batch: &mut Batch, user: UserId, now: Time) {
        batch.end_sessions(user, None, now);
        batch.drop_enrolments(user, DOOR, &begun_by(""));
    }

    /// Takes away the enrolment that a session has begun.
    pub(crate) fn end_enrolments_of(&self, batch: &mut Batch, user: UserId, session: &str) {
        batch.drop_enrolments(user, DOOR, &begun_by(session));
    }

    /// A factor's first right code ends the right to see its key: its enrolment is over.
    pub(crate) async fn end_enrolment(
        &self,
        batch: &mut Batch,
        user: UserId,
        device: DeviceId,
    ) -> Result<(), Error> {
        let kind = ChallengeKind::Enrolment;
        let enrolments = self.store.challenges_of(user, kind, MOST).await?;
        let of_it = |it: &StoredChallenge| {
            let kept = serde_json::from_str::<Kept>(&it.context);
            kept.is_ok_and(|kept| kept.device == device.0)
        };
        if enrolments.iter().any(of_it) {
            batch.spend_challenges(user, kind);
        }
        Ok(())
    }

    async fn device_of(&self, user: UserId, id: DeviceId) -> Result<Option<StoredDevice>, Error> {
        let devices = self.store.devices_of(user).await?;
        Ok(devices.into_iter().find(|found| found.device.id == id))
    }
}

/// What the stored [`Kept`] of an enrolment is like that a session began: that one, or
/// any for an empty text. One made at signup has none.
fn begun_by(session: &str) -> String {
    match session {
        "" => r#"%"session":"%"#.to_owned(),
        id => format!(r#"%"session":"{id}"%"#),
    }
}
