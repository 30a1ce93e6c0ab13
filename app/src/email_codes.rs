//! Codes by email: anybody may ask for one, and whoever reads the mail logs in as the address.

use std::time::Duration;

use domain::verify::{Ask, Subject, Verdict};
use domain::{
    Action, Challenge, ChallengeId, ChallengeKind, EmailAddress, EmailLevel, Event, Time, UserId,
    UserName,
};
use otp::{Algorithm, Code, Secret, Totp, hotp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{Answer, Batch, NewChallenge, Refusal, StoreError};

use crate::context::Context;
use crate::devices::TRIES;
use crate::limits::Source;
use crate::logins::{FirstStep, Pending};
use crate::mail::CodeMail;
use crate::verify::locked;
use crate::{App, Error};

/// How long a code has to be over until the wrong ones that came for it are forgiven.
const FORGET_MS: i64 = 3_600_000;
const DAY_MS: i64 = 86_400_000;
/// No user has that id.
const NOBODY: UserId = UserId(0);
/// No mail has that id.
const NO_MAIL: i64 = 0;
/// 160 bits, the length of the hash (RFC 4226, section 4).
const SECRET_BYTES: usize = 20;

/// That a code is on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EmailCodeSent {
    /// A sentence for people.
    pub message: &'static str,
    /// Seconds that the code can still be used.
    pub expires_in: i64,
    /// Seconds until another one can be asked for; before, no second mail is sent.
    pub resend_after: i64,
}

/// What is known of an address.
struct Known {
    /// `None` before its first code.
    user: Option<UserId>,
    /// `None` when no code was sent for a long time.
    challenge: Option<Challenge>,
    /// What is kept beside the challenge.
    kept: Kept,
}

impl Known {
    /// Whole seconds until codes of the address are judged again, rounded up.
    fn locked_for(&self, now: Time) -> Option<u32> {
        let until = self.challenge.as_ref()?.locked_until?;
        let left = until.since(now);
        (left > 0).then(|| u32::try_from((left + 999) / 1000).unwrap_or(u32::MAX))
    }
}

/// What is kept beside the challenge of an address.
#[derive(Default, Serialize, Deserialize)]
struct Kept {
    /// Until when its mails are paid for, as the rate rule counts (Unix microseconds).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mails: Option<i64>,
}

/// A code about to be sent.
struct Sending<'a> {
    address: &'a EmailAddress,
    known: &'a Known,
    level: EmailLevel,
    kept: Kept,
    now: Time,
}

impl App {
    /// Sends a code. It replaces the one before; wrong codes stay counted. Who asks
    /// again too soon, such as by a double click, gets the same answer and no second
    /// mail: the first code goes on being the right one.
    ///
    /// # Errors
    /// [`Error::EmailDomainNotAllowed`], [`Error::Locked`] while no code of the address is
    /// judged, [`Error::RateLimited`] for the source or the address. All is the same for addresses that were never heard of.
    pub async fn request_email_code(
        &self,
        context: &Context,
        source: Source,
        address: &EmailAddress,
        level: EmailLevel,
    ) -> Result<EmailCodeSent, Error> {
        self.admit_email_request(source).await?;
        if !self.settings.mail.domains.permits(address) {
            return Err(Error::EmailDomainNotAllowed);
        }
        let name = address.user_name();
        for _ in 0..TRIES {
            let known = self.known_address(&name).await?;
            let now = self.store.now().await?;
            if let Some(retry_after) = known.locked_for(now) {
                return Err(Error::Locked { retry_after });
            }
            if let Some(sent) = self.sent_lately(&known, now) {
                return Ok(sent);
            }
            let mails = self.admit_mail(source, known.kept.mails, now)?;
            let sending = Sending {
                address,
                known: &known,
                level,
                kept: Kept { mails },
                now,
            };
            if self.send_code(context, &sending).await? {
                self.mailroom.wake();
                let resend = self.resend_ms();
                return Ok(sent(i64::from(level.lifetime) * 1000, resend));
            }
        }
        Err(Error::Busy)
    }

    /// Judges the code that was sent to an address. Nothing of it touches the user's
    /// guard, or a stranger could lock anybody.
    ///
    /// # Errors
    /// [`Error::InvalidOtp`] and [`Error::Locked`] alike for an address with nothing
    /// pending; always the first for one of a domain that gets no mail from here, [`Error::RateLimited`].
    pub async fn log_in_by_email(
        &self,
        context: &Context,
        source: Source,
        address: &EmailAddress,
        code: Code,
    ) -> Result<FirstStep, Error> {
        self.admit_email_login(source).await?;
        let name = address.user_name();
        if !self.settings.mail.domains.permits(address) {
            return Err(self.reject_unheard(&name).await?);
        }
        let answer = self.judge_emailed(context, &name, code).await?;
        match answer.verdict {
            Verdict::Proven(_) => {}
            Verdict::Rejected => return Err(Error::InvalidOtp),
            Verdict::Locked => return Err(locked(&answer)),
            _ => return Err(Error::broken("another verdict about an emailed code")),
        }
        let user = answer
            .user
            .ok_or_else(|| Error::broken("a proof of nobody"))?;
        let session = self.new_session(user, &["email"], answer.at);
        let mut batch = Batch::new();
        batch.open_session_without_factor(&session);
        match self.store.commit(batch).await {
            Ok(_) => Ok(FirstStep::Done(self.access_token(&session, &name).await?)),
            Err(StoreError::Refused(Refusal::FactorInForce)) => {
                let batch = Batch::new();
                let begun = self.begin_login(context, batch, user, "email", answer.at);
                match begun.await {
                    // Erased in between: here nobody has given a password.
                    Err(Error::InvalidCredentials) => Err(Error::InvalidOtp),
                    begun => Ok(FirstStep::Pending(Pending {
                        username: Some(name.canonical().to_owned()),
                        ..begun?
                    })),
                }
            }
            Err(StoreError::Refused(_)) => Err(Error::InvalidOtp),
            Err(error) => Err(error.into()),
        }
    }

    /// The verdict about a code for an address. One that never asked for a code has none
    /// that could be right: the first guess is recorded in one commit with what further
    /// ones are counted at, so that such an address is locked like any other, in the same
    /// time. A job removes it when it is of no use any more.
    async fn judge_emailed(
        &self,
        context: &Context,
        name: &UserName,
        code: Code,
    ) -> Result<Answer, Error> {
        for _ in 0..TRIES {
            let known = self.known_address(name).await?;
            if known.challenge.is_some() {
                let subject = Subject::User(name.clone());
                let answer = self.submit(context, subject, Ask::Emailed(code)).await?;
                // Else removed in between.
                if answer.verdict != Verdict::Unknown {
                    return Ok(answer);
                }
            } else if self.record_first_guess(context, name, &known).await? {
                return Err(Error::InvalidOtp);
            }
        }
        Err(Error::Busy)
    }

    /// The verdict about a code for an address that none is sent to: it reads and commits
    /// as for any other, but nothing is kept of a guess that can never be right.
    async fn reject_unheard(&self, name: &UserName) -> Result<Error, Error> {
        self.known_address(name).await?;
        let mut batch = Batch::new();
        batch.remove_mail(NO_MAIL);
        self.store.commit(batch).await?;
        Ok(Error::InvalidOtp)
    }

    async fn known_address(&self, name: &UserName) -> Result<Known, Error> {
        let user = self.store.user_by_name(name).await?;
        // Of a name that nobody has the same is read: time does not tell.
        let id = user.unwrap_or(NOBODY);
        let kind = ChallengeKind::Emailed;
        let found = self.store.challenges_of(id, kind, 1).await?;
        let Some(found) = found.into_iter().next() else {
            return Ok(Known {
                user,
                challenge: None,
                kept: Kept::default(),
            });
        };
        Ok(Known {
            user,
            kept: serde_json::from_str(&found.context)?,
            challenge: Some(found.challenge),
        })
    }

    /// The answer to who asks again before the next mail may be sent.
    fn sent_lately(&self, known: &Known, now: Time) -> Option<EmailCodeSent> {
        // Without a hash nothing was ever sent: somebody has only guessed.
        // A code that was used is no answer to whoever asks for another one.
        let waiting = |it: &&Challenge| it.hash.is_some() && it.uses_left > 0;
        let last = known.challenge.as_ref().filter(waiting)?;
        let wait = last.created_at.plus_millis(self.resend_ms()).since(now);
        (wait > 0).then(|| sent(last.expires_at.since(now), wait))
    }

    fn resend_ms(&self) -> i64 {
        i64::try_from(self.settings.mail.resend.as_millis()).unwrap_or(i64::MAX)
    }

    /// Makes a code and posts it. False when somebody else was faster.
    async fn send_code(&self, context: &Context, sending: &Sending<'_>) -> Result<bool, Error> {
        let Sending {
            address,
            known,
            level,
            now,
            ..
        } = *sending;
        let name = address.user_name();
        let mut batch = Batch::new();
        let user = match known.user {
            Some(user) => user,
            None => self.new_user(&mut batch, &name, now).await?,
        };
        let id = match &known.challenge {
            Some(challenge) => challenge.id,
            None => ChallengeId(self.store.new_id().await?),
        };
        let code = self.totp_code(level, now)?;
        let code = code.to_text();
        let new = NewChallenge {
            hash: Some(self.room.root.hash_code(id.0, &code)),
            context: serde_json::to_string(&sending.kept)?,
            uses: 1,
            ..empty(id, user, level, now)
        };
        match &known.challenge {
            Some(seen) => batch.replace_code(&new, seen.created_at, FORGET_MS),
            None => batch.make_only_challenge(&new),
        }
        let mail = CodeMail {
            user,
            to: address,
            code: &code,
            lifetime: Duration::from_secs(level.lifetime.into()),
            now,
        };
        self.post_code(&mut batch, &mail).await?;
        let event = Event::new(Action::EmailCodeSent, true, &context.origin());
        batch.record(event.about_user(user, name.canonical()));
        batch.count("email_sent");
        self.committed(batch).await
    }

    async fn new_user(
        &self,
        batch: &mut Batch,
        name: &UserName,
        now: Time,
    ) -> Result<UserId, Error> {
        let user = UserId(self.store.new_id().await?);
        batch.make_user(user, name, now);
        Ok(user)
    }

    /// False when the batch was refused: what it builds on has changed.
    async fn committed(&self, batch: Batch) -> Result<bool, Error> {
        match self.store.commit(batch).await {
            Ok(_) => Ok(true),
            Err(StoreError::Refused(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The TOTP code of the current step of a key that nobody keeps. So the code says
    /// nothing about any other one, the next step's included.
    fn totp_code(&self, level: EmailLevel, now: Time) -> Result<Code, Error> {
        let mut key = vec![0; SECRET_BYTES];
        self.room.random.fill(&mut key);
        let secret = Secret::from_bytes(key);
        let step = Totp::new(level.lifetime).step_at(now.seconds());
        let step = step.ok_or_else(|| Error::broken("a time before 1970"))?;
        Ok(hotp(&secret, Algorithm::Sha1, level.digits, step))
    }

    /// False when somebody else was faster.
    async fn record_first_guess(
        &self,
        context: &Context,
        name: &UserName,
        known: &Known,
    ) -> Result<bool, Error> {
        let now = self.store.now().await?;
        let mut batch = Batch::new();
        let user = match known.user {
            Some(user) => user,
            None => self.new_user(&mut batch, name, now).await?,
        };
        let id = ChallengeId(self.store.new_id().await?);
        let level = self.settings.mail.levels.default;
        let day = now.millis().div_euclid(DAY_MS);
        batch.make_failed_challenge(&empty(id, user, level, now), day);
        let event = Event::new(Action::EmailCodeVerification, false, &context.origin())
            .about_user(user, name.canonical())
            .with(&json!({ "reason": "wrong" }));
        batch.record(event);
        batch.count("email_rejected");
        self.committed(batch).await
    }
}

/// A challenge that nothing answers.
fn empty(id: ChallengeId, user: UserId, level: EmailLevel, now: Time) -> NewChallenge {
    NewChallenge {
        id,
        user,
        kind: ChallengeKind::Emailed,
        hash: None,
        context: "{}".into(),
        created_at: now,
        expires_at: now.plus_seconds(level.lifetime.into()),
        uses: 0,
    }
}

/// The answer, in whole seconds, rounded up.
fn sent(expires_ms: i64, resend_ms: i64) -> EmailCodeSent {
    let seconds = |ms: i64| (ms.max(0) + 999) / 1000;
    EmailCodeSent {
        message: "If the address can receive codes, one is on its way or has just arrived",
        expires_in: seconds(expires_ms),
        resend_after: seconds(resend_ms),
    }
}
