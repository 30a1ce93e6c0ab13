//! Logins: the password, then the second factor where one is in force; a session is opened when both are proven.

use domain::verify::{Ask, Factor, Subject, Verdict};
use domain::{Action, ChallengeId, ChallengeKind, DeviceId, Event, Time, UserId, UserName};
use otp::Code;
use serde::{Deserialize, Serialize};
use store::{Batch, NewChallenge, Refusal, StoreError, StoredAccount};

use crate::context::Context;
use crate::limits::Source;
use crate::passwords::Password;
use crate::proofs::Use;
use crate::recovery::SpokenText;
use crate::sessions::Tokens;
use crate::tokens::hex;
use crate::verify::{key_unavailable, locked};
use crate::{App, Error};

/// How long a login waits for its second factor, in seconds.
const PENDING_SECONDS: i64 = 300;
/// No user has that id.
const NOBODY: UserId = UserId(0);
/// Logins of one user that are looked at when one is searched for without its token.
const LOOKED_AT: i64 = 500;

/// A login that waits for its second factor.
#[derive(Serialize)]
pub struct Pending {
    /// Always true.
    pub mfa_required: bool,
    /// The sentence of the contract.
    pub message: &'static str,
    /// What the second step gives back.
    pub mfa_token: String,
    /// Seconds that it waits.
    pub expires_in: i64,
    /// The name that the second step takes, where the first has asked for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
}

/// What came of a first step.
#[derive(Serialize)]
#[serde(untagged)]
pub enum FirstStep {
    /// No second factor is in force: a session is open.
    Done(Tokens),
    /// A second factor is needed.
    Pending(Pending),
}

/// What is given as a second factor.
pub enum SecondFactor {
    /// A code of an authenticator.
    Code(Code),
    /// A recovery code or a pass.
    Spoken(SpokenText),
}

/// The second step of a login.
pub struct SecondStep {
    /// Whose login.
    pub name: UserName,
    /// What proves them.
    pub factor: SecondFactor,
    /// The token of the first step.
    pub mfa_token: Option<String>,
}

/// What is kept beside a login that waits.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// What the first step has proved, by the words of `amr`.
    first: String,
    /// Keyed hash of address and user agent; empty, which is no hash, where the address
    /// is that of many.
    client: String,
}

impl App {
    /// The first step of a login.
    ///
    /// # Errors
    /// [`Error::InvalidCredentials`] for a wrong password and an unknown name alike,
    /// [`Error::RateLimited`], [`Error::Busy`].
    pub async fn log_in(
        &self,
        context: &Context,
        source: Source,
        name: &UserName,
        password: Password,
    ) -> Result<FirstStep, Error> {
        let account = self.check_account(context, source, name, password).await?;
        if !self.has_factor(name).await?
            && let Some(tokens) = self.open_at_once(context, name, &account).await?
        {
            self.homes.remember(name, source, self.clock.now());
            return Ok(FirstStep::Done(tokens));
        }
        let now = self.store.now().await?;
        let batch = checked(context, name, &account);
        let pending = self
            .begin_login(context, batch, account.user, "pwd", now)
            .await?;
        Ok(FirstStep::Pending(pending))
    }

    /// A session for the password alone; `None` when a factor came in force meanwhile.
    async fn open_at_once(
        &self,
        context: &Context,
        name: &UserName,
        account: &StoredAccount,
    ) -> Result<Option<Tokens>, Error> {
        let now = self.store.now().await?;
        let session = self.new_session(account.user, &["pwd"], now);
        let mut batch = checked(context, name, account);
        batch.open_session_without_factor(&session);
        match self.store.commit(batch).await {
            Ok(_) => Ok(Some(self.access_token(&session, name).await?)),
            Err(StoreError::Refused(Refusal::FactorInForce)) => Ok(None),
            Err(StoreError::Refused(_)) => Err(Error::InvalidCredentials),
            Err(error) => Err(error.into()),
        }
    }

    /// Begins to wait for the second factor of somebody who has proved the `first`
    /// (`pwd` or `email`). The batch brings what has to hold still, and what is recorded.
    pub(crate) async fn begin_login(
        &self,
        context: &Context,
        mut batch: Batch,
        user: UserId,
        first: &'static str,
        now: Time,
    ) -> Result<Pending, Error> {
        let token = self.new_token(Use::Login).await?;
        let kept = Kept {
            first: first.into(),
            client: match context.relayed {
                true => String::new(),
                false => self.client_hash(context),
            },
        };
        batch.make_challenge(&NewChallenge {
            id: token.id,
            user,
            kind: ChallengeKind::Login,
            hash: Some(token.hash),
            context: serde_json::to_string(&kept)?,
            created_at: now,
            expires_at: now.plus_seconds(PENDING_SECONDS),
            uses: 1,
        });
        match self.store.commit(batch).await {
            Ok(_) => Ok(Pending {
                mfa_required: true,
                message: "MFA enabled. Please submit OTP",
                mfa_token: token.text,
                expires_in: PENDING_SECONDS,
                username: None,
            }),
            // The password was changed or the user erased in between.
            Err(StoreError::Refused(_)) => Err(Error::InvalidCredentials),
            Err(error) => Err(error.into()),
        }
    }

    /// The second step of a login. A wrong code or another user's name does not spend
    /// the login; a right code spends both.
    ///
    /// # Errors
    /// [`Error::InvalidOtp`] for everything that is wrong, [`Error::Locked`],
    /// [`Error::RateLimited`].
    pub async fn second_step(
        &self,
        context: &Context,
        source: Source,
        step: &SecondStep,
    ) -> Result<Tokens, Error> {
        self.admit_second_step(source).await?;
        let found = match &step.mfa_token {
            Some(token) => {
                let read = self.read_token(Use::Login, token);
                read.map(|(id, hash)| (id, Some(hash)))
            }
            None => self.only_login(context, &step.name).await?,
        };
        let (login, proof) = found.ok_or(Error::InvalidOtp)?;
        let waiting = self.store.challenge(login).await?;
        let waiting = waiting.filter(|it| it.challenge.kind == ChallengeKind::Login);
        let waiting = waiting.ok_or(Error::InvalidOtp)?;
        let kept: Kept = serde_json::from_str(&waiting.context)?;
        let answer = match &step.factor {
            SecondFactor::Code(code) => Factor::Code(*code),
            SecondFactor::Spoken(text) => Factor::Spoken(self.spoken(text)),
        };
        let ask = Ask::Login {
            login,
            proof,
            answer,
        };
        let subject = Subject::User(step.name.clone());
        let answer = self.submit(context, subject, ask).await?;
        let proof = match answer.verdict {
            Verdict::Proven(proof) => proof,
            Verdict::Rejected
            | Verdict::Spent
            | Verdict::NoLogin
            | Verdict::NoFactor
            | Verdict::Unknown => return Err(Error::InvalidOtp),
            Verdict::Locked => return Err(locked(&answer)),
            Verdict::KeyUnavailable => return Err(key_unavailable()),
            _ => return Err(Error::broken("a device's verdict about a login")),
        };
        let user = waiting.challenge.user;
        let amr = [kept.first.as_str(), proof.method.as_str()];
        let session = self.new_session(user, &amr, answer.at);
        let mut batch = Batch::new();
        batch.open_session(&session, login);
        if let Some(device) = proof.device {
            self.end_enrolment(&mut batch, user, DeviceId(device))
                .await?;
        }
        match self.store.commit(batch).await {
            Ok(_) => {
                // With the password proven, not only a mail read.
                if kept.first == "pwd" {
                    self.homes.remember(&step.name, source, self.clock.now());
                }
                self.access_token(&session, &step.name).await
            }
            // The factor, the sessions or the user have been ended in between.
            Err(StoreError::Refused(_)) => Err(Error::InvalidOtp),
            Err(error) => Err(error.into()),
        }
    }

    /// For clients of the old contract, which know no token: the login that waits for
    /// this user from the same address and user agent, if there is exactly one. Behind a
    /// proxy that is not trusted all have one address, so it says nothing of anybody:
    /// then there is none.
    async fn only_login(
        &self,
        context: &Context,
        name: &UserName,
    ) -> Result<Option<(ChallengeId, Option<[u8; 32]>)>, Error> {
        if !self.settings.accounts.old_login || context.relayed {
            return Ok(None);
        }
        // Of a name that nobody has the same is read: time does not tell.
        let user = self.store.user_by_name(name).await?.unwrap_or(NOBODY);
        let now = self.store.now().await?;
        let client = self.client_hash(context);
        let kind = ChallengeKind::Login;
        let waiting = self.store.challenges_of(user, kind, LOOKED_AT).await?;
        let mut same = waiting.iter().filter(|it| {
            let kept = serde_json::from_str::<Kept>(&it.context);
            it.challenge.is_live(now) && kept.is_ok_and(|kept| kept.client == client)
        });
        let only = same.next().filter(|_| same.next().is_none());
        Ok(only.map(|it| (it.challenge.id, None)))
    }

    /// Where a login came from, as it is stored: a keyed hash, since it tells of a person.
    fn client_hash(&self, context: &Context) -> String {
        let ip = context.ip_address.as_deref().unwrap_or_default();
        let agent = context.user_agent.as_deref().unwrap_or_default();
        let client = format!("{ip}\n{agent}");
        hex(&self.room.root.hash_token("login-client", &client))
    }
}

/// What has to hold when a right password takes effect, and its record.
fn checked(context: &Context, name: &UserName, account: &StoredAccount) -> Batch {
    let mut batch = Batch::new();
    batch.require_password(account.user, &account.password);
    let event = Event::new(Action::Login, true, &context.origin());
    batch.record(event.about_user(account.user, name.canonical()));
    batch
}
