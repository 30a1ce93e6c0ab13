//! Codes for sister services: a random single-use code is issued, and verified beside the authenticator's.

use domain::verify::{Ask, Subject, Verdict};
use domain::{Action, ChallengeId, ChallengeKind, Event, Time, UserId, UserName};
use otp::Code;
use serde::Serialize;
use store::{Answer, Batch, NewChallenge};

use crate::context::Context;
use crate::idempotency::{Kept, Reply};
use crate::tokens::Wanted;
use crate::verify::{key_unavailable, locked, told};
use crate::{App, Error};

const DIGITS: u32 = 6;

/// A code that was issued, shown once.
#[derive(Serialize)]
pub struct IssuedCode {
    /// Six digits.
    pub otp_code: String,
    /// From then on it is refused; RFC 3339.
    pub expires_at: String,
}

/// That a code was right.
#[derive(Clone, Debug, Serialize)]
pub struct IssuedVerified {
    /// Always true.
    pub success: bool,
    /// The proof for another service, when one was asked for and the code was right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assertion: Option<String>,
    /// Present and true when this is the kept answer of an earlier request.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
}

impl App {
    /// Issues a code of the server's own, never one of an authenticator. It replaces the
    /// one before; wrong codes stay counted. A lock does not keep it from being issued,
    /// only from being accepted.
    ///
    /// # Errors
    /// [`Error::TwoFactorNotEnabled`] when the user is unknown or has no authenticator
    /// in force.
    pub async fn issue_code(
        &self,
        context: &Context,
        user: &UserName,
    ) -> Result<Reply<IssuedCode>, Error> {
        self.once(context, move |turn| async move {
            let id = self.store.user_by_name(user).await?;
            let id = id.ok_or(Error::TwoFactorNotEnabled)?;
            if self.store.devices_in_force(id).await?.0 == 0 {
                return Err(Error::TwoFactorNotEnabled);
            }
            let now = self.store.now().await?;
            let mut batch = Batch::new();
            batch.require_factor(id);
            let answer = self.replace_issued(&mut batch, id, now).await?;
            let event = Event::new(Action::CodeIssued, true, &context.origin());
            batch.record(event.about_user(id, user.canonical()));
            match turn.commit(batch, now, &answer, Kept::Secret).await? {
                Ok(()) => Ok(answer),
                // The last factor or the user has gone in between.
                Err(_) => Err(Error::TwoFactorNotEnabled),
            }
        })
        .await
    }

    async fn replace_issued(
        &self,
        batch: &mut Batch,
        user: UserId,
        now: Time,
    ) -> Result<IssuedCode, Error> {
        let id = ChallengeId(self.store.new_id().await?);
        let code = vault::random_code(DIGITS, self.room.random.as_ref());
        let life = i64::try_from(self.settings.issued.as_millis()).unwrap_or(i64::MAX);
        let expires_at = now.plus_millis(life);
        batch.clear_challenges(user, ChallengeKind::Issued);
        batch.make_challenge(&NewChallenge {
            id,
            user,
            kind: ChallengeKind::Issued,
            hash: Some(self.room.root.hash_code(id.0, &code)),
            context: "{}".into(),
            created_at: now,
            expires_at,
            uses: 1,
        });
        Ok(IssuedCode {
            otp_code: code.to_string(),
            expires_at: expires_at.to_rfc3339(),
        })
    }

    /// Judges the live issued code of a user, or a code of one of their authenticators.
    ///
    /// # Errors
    /// Here all that is no success is an error: [`Error::InvalidOtp`],
    /// [`Error::OtpSpent`], [`Error::Locked`], [`Error::UserNotFound`],
    /// [`Error::TwoFactorNotEnabled`], and [`Error::Unavailable`] when the outcome is
    /// not known.
    pub async fn verify_issued(
        &self,
        context: &Context,
        user: UserName,
        code: Code,
        wanted: Option<&Wanted>,
    ) -> Result<IssuedVerified, Error> {
        let ask = Ask::IssuedOrAuthenticator(code);
        let answer = self
            .judged(context, Subject::User(user.clone()), ask)
            .await?;
        verified(&answer)?;
        Ok(IssuedVerified {
            success: true,
            assertion: self.vouch(context, wanted, &user, (&ask, &answer)).await?,
            replayed: answer.replayed,
        })
    }
}

fn verified(answer: &Answer) -> Result<(), Error> {
    match answer.verdict {
        Verdict::Proven(_) => Ok(()),
        Verdict::Rejected => Err(told(answer, Error::InvalidOtp)),
        Verdict::Spent => Err(told(answer, Error::OtpSpent)),
        Verdict::Locked => Err(locked(answer)),
        Verdict::Unknown => Err(told(answer, Error::UserNotFound)),
        Verdict::NoFactor => Err(told(answer, Error::TwoFactorNotEnabled)),
        Verdict::KeyUnavailable => Err(key_unavailable()),
        _ => Err(Error::broken("a device's verdict about a person")),
    }
}
