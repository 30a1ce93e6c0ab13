//! Enrolments of accounts: a second factor is made, and shown to its owner until its first right code.

use data_encoding::BASE32_NOPAD;
use domain::{
    Action, Challenge, ChallengeKind, DeviceId, DeviceName, Event, Kind, State, Time, UserId,
    UserName,
};
use serde::{Deserialize, Serialize};
use store::{Batch, NewChallenge, StoreError, StoredChallenge, StoredDevice};
use zeroize::Zeroizing;

use crate::context::Context;
use crate::devices::TRIES;
use crate::limits::Source;
use crate::passwords::Password;
use crate::proofs::Use;
use crate::registration::Registration;
use crate::{App, Error};

pub use self::end::MfaEnabled;

mod end;

/// The door of devices that belong to accounts.
pub(crate) const DOOR: &str = "account";
/// How long the QR code of a factor made at signup may be fetched.
const SIGNUP_MS: i64 = 24 * 3_600_000;

/// A factor in the making, as its owner is told of it, once.
#[derive(Serialize)]
pub struct Enrolled {
    /// For the authenticator app.
    pub provisioning_uri: String,
    /// The right to see its QR code and to confirm it.
    pub enrollment_token: String,
    /// Ten codes, each good for one use.
    pub recovery_codes: Vec<String>,
}

/// Whose factor is made, and on what terms.
pub(crate) struct Enrolling<'a> {
    user: UserId,
    name: &'a UserName,
    /// The name as its owner writes it.
    shown: &'a str,
    at_signup: bool,
    session: Option<&'a str>,
    stepped_up: bool,
}

impl<'a> Enrolling<'a> {
    /// In force at once: the account never existed without it.
    pub(crate) fn at_signup(user: UserId, name: &'a UserName, shown: &'a str) -> Self {
        Self {
            user,
            name,
            shown,
            at_signup: true,
            session: None,
            stepped_up: false,
        }
    }
}

/// What is kept beside an enrolment's token.
#[derive(Serialize, Deserialize)]
struct Kept {
    device: i64,
    /// The session that asked for it goes on when it is confirmed, all others end.
    session: Option<String>,
    /// That session had proved a second factor.
    stepped_up: bool,
}

impl App {
    /// Puts a new factor with its token and recovery codes into the batch.
    pub(crate) async fn enrol(
        &self,
        batch: &mut Batch,
        context: &Context,
        whose: &Enrolling<'_>,
        now: Time,
    ) -> Result<Enrolled, Error> {
        let user = whose.user;
        let wanted = self.account_device(whose)?;
        batch.require_room(user, self.settings.max_devices_per_user);
        let (new, registered) = self.make_device(&wanted, user, now).await?;
        batch.insert_device(&new);
        let (device, name) = (new.device.id, new.device.name.clone());
        let (expires_at, pending_for) = match new.device.state {
            State::Pending(until) => (until, Some(device)),
            State::Active | State::Deactivated(_) => (now.plus_millis(SIGNUP_MS), None),
        };
        let token = self.new_token(Use::Enrolment).await?;
        let kept = Kept {
            device: device.0,
            session: whose.session.map(str::to_owned),
            stepped_up: whose.stepped_up,
        };
        batch.make_challenge(&NewChallenge {
            id: token.id,
            user,
            kind: ChallengeKind::Enrolment,
            hash: Some(token.hash),
            context: serde_json::to_string(&kept)?,
            created_at: now,
            expires_at,
            uses: 1,
        });
        let codes = self.make_recovery_codes(batch, user, pending_for, now);
        let recovery_codes = codes.await?;
        let event = Event::new(Action::MfaEnrolled, true, &context.origin())
            .about_user(user, whose.name.canonical())
            .about_device(device, name.as_str());
        batch.record(event);
        Ok(Enrolled {
            provisioning_uri: registered.provisioning_uri,
            enrollment_token: token.text,
            recovery_codes,
        })
    }

    fn account_device(&self, whose: &Enrolling<'_>) -> Result<Registration, Error> {
        let policy = &self.settings.policies.default;
        let made_up = BASE32_NOPAD.encode(&self.random_bytes()[..10]);
        let device = DeviceName::parse(&format!("acct-{made_up}"));
        Ok(Registration {
            device: device.map_err(|_| Error::broken("a made-up device name"))?,
            user: whose.name.clone(),
            shown: serde_json::value::to_raw_value(whose.shown)?,
            kind: Kind::Totp {
                period: policy.period,
            },
            algorithm: otp::Algorithm::default(),
            digits: policy.digits,
            policy: None,
            label: whose.shown.strip_prefix("email:").map(str::to_owned),
            issuer: None,
            secret: None,
            require_confirmation: !whose.at_signup,
            test: false,
            door: Some(DOOR),
        })
    }

    /// Makes a factor for somebody who has a session; it waits for its first code. Where
    /// a factor is in force already, the session must have been opened with one: a
    /// password alone adds none beside it.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`], [`Error::StepUpRequired`], those of a password check,
    /// [`Error::TooManyDevices`].
    pub async fn enable_mfa(
        &self,
        context: &Context,
        source: Source,
        bearer: Option<&str>,
        password: Option<Password>,
    ) -> Result<Enrolled, Error> {
        let session = self.session_of(source, bearer).await?;
        let now = self.store.now().await?;
        let account = self
            .prove_owner(context, source, &session, password, now)
            .await?;
        let stepped_up = ["otp", "recovery", "pass"].iter().any(|it| session.has(it));
        let canonical = session.name.canonical();
        let shown = account.as_ref().map_or(canonical, |it| it.shown.as_str());
        for _ in 0..TRIES {
            let now = self.store.now().await?;
            if !stepped_up && self.has_factor(&session.name).await? {
                return Err(Error::StepUpRequired);
            }
            let mut batch = Batch::new();
            if let Some(account) = &account {
                batch.require_password(account.user, &account.password);
            }
            batch.require_session(&session.id, session.user);
            self.drop_pending(&mut batch, session.user).await?;
            let whose = Enrolling {
                user: session.user,
                name: &session.name,
                shown,
                at_signup: false,
                session: Some(&session.id),
                stepped_up,
            };
            let enrolled = self.enrol(&mut batch, context, &whose, now).await?;
            match self.store.commit(batch).await {
                Ok(_) => return Ok(enrolled),
                Err(StoreError::Refused(store::Refusal::TooManyDevices)) => {
                    return Err(Error::TooManyDevices);
                }
                Err(StoreError::Refused(
                    store::Refusal::AccountChanged
                    | store::Refusal::SessionOver
                    | store::Refusal::UserGone,
                )) => return Err(Error::Unauthenticated),
                // Another enrolment came between: it gives way to this one.
                Err(StoreError::Refused(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Busy)
    }

    /// An enrolment that waits gives way to the next one, with its token.
    async fn drop_pending(&self, batch: &mut Batch, user: UserId) -> Result<(), Error> {
        for old in self.store.devices_of(user).await? {
            let waits = matches!(old.device.state, State::Pending(_));
            if waits && old.door.as_deref() == Some(DOOR) {
                batch.clear_dead_device(old.device.id, user);
            }
        }
        batch.clear_challenges(user, ChallengeKind::Enrolment);
        Ok(())
    }

    /// The URI of a factor that has accepted no code yet, for whoever proves that it is
    /// theirs. Without proof all answers are alike, whether the user exists or not.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] without proof; with it [`Error::MfaNotPending`].
    pub async fn enrolment_uri(
        &self,
        context: &Context,
        source: Source,
        name: &UserName,
        (bearer, password): (Option<&str>, Option<Password>),
    ) -> Result<Zeroizing<String>, Error> {
        let now = self.store.now().await?;
        let (user, only) = match password {
            Some(password) => {
                let account = self.check_account(context, source, name, password).await;
                let account = account.map_err(|error| match error {
                    Error::InvalidCredentials => Error::Unauthenticated,
                    other => other,
                });
                (account?.user, None)
            }
            None => {
                // A token that is spent opens nothing, but still proves whose it was.
                let was_there = |it: &Challenge| it.uses_left == 0 && it.expires_at > now;
                let counts = |it: &Challenge| it.is_live(now) || was_there(it);
                let (enrolment, kept) = self.enrolment(source, bearer, counts).await?;
                let user = enrolment.challenge.user;
                let named = self.store.user_by_name(name).await?;
                let named = named.filter(|named| *named == user);
                self.proven(source, named.ok_or(Error::Unauthenticated))
                    .await?;
                if was_there(&enrolment.challenge) {
                    return Err(Error::MfaNotPending);
                }
                (user, Some(DeviceId(kept.device)))
            }
        };
        let devices = self.store.devices_of(user).await?;
        let shown = devices
            .iter()
            .filter(|found| only.is_none_or(|id| found.device.id == id))
            .find(|found| may_be_shown(found, now));
        let shown = shown.ok_or(Error::MfaNotPending)?;
        // Where another factor is in force, a password alone must not come by a second
        // one: only the token that the enrolment was begun with is a proof of it.
        let in_force = |it: &StoredDevice| it.device.state == State::Active;
        let others = devices
            .iter()
            .any(|it| in_force(it) && it.device.id != shown.device.id);
        if only.is_none() && others {
            return Err(Error::MfaNotPending);
        }
        self.stored_uri(shown)
    }

    /// The enrolment behind a token if it `counts`, or a counted failure of its source.
    async fn enrolment(
        &self,
        source: Source,
        bearer: Option<&str>,
        counts: impl Fn(&Challenge) -> bool,
    ) -> Result<(StoredChallenge, Kept), Error> {
        let found = match bearer {
            Some(token) => self.proven_challenge(Use::Enrolment, token).await?,
            None => None,
        };
        let found = found.filter(|found| counts(&found.challenge));
        let found = found.ok_or(Error::Unauthenticated);
        let found = self.proven(source, found).await?;
        let kept = serde_json::from_str(&found.context)?;
        Ok((found, kept))
    }
}

/// Nobody has proved yet that they hold its key: it was made at signup or waits for its
/// confirmation, and has accepted no code. Every acceptance, a confirmation too, moves
/// the next step that counts.
fn may_be_shown(found: &StoredDevice, now: Time) -> bool {
    let hot = &found.device.hot;
    let fits = match found.device.state {
        State::Pending(until) => until > now,
        State::Active => true,
        State::Deactivated(_) => false,
    };
    fits && hot.next == 0 && hot.used == 0 && found.door.as_deref() == Some(DOOR)
}
