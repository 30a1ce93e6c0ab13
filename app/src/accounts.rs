//! Accounts: signing up, and what their owners prove before they change something.

use domain::{Action, Event, Time, UserId, UserName};
use serde::Serialize;
use store::{Batch, Refusal, StoreError, StoredAccount};

use crate::context::Context;
use crate::devices::TRIES;
use crate::enrolment::{Enrolled, Enrolling};
use crate::limits::Source;
use crate::passwords::Password;
use crate::root::ROOT;
use crate::sessions::Session;
use crate::{App, Error, Fault};

/// Names of this form belong to email addresses: no account has one.
const EMAIL_PREFIX: &str = "email:";

/// How long an email session may do what others do with their password, in seconds.
const EMAIL_FRESH_SECONDS: i64 = 300;

/// An account to be made, whose name and password may be those of one.
pub struct NewAccount {
    name: UserName,
    shown: String,
    password: Password,
    enable_mfa: bool,
}

impl NewAccount {
    /// Checks the name, which comes with its spelling, and the password; with
    /// `enable_mfa` the account has a second factor from the first moment. What could
    /// not be read is missing, so that the faults of the rest can still be told.
    ///
    /// # Errors
    /// The faults of what is there; none of their own for what is missing.
    pub fn of(
        name: Option<(UserName, String)>,
        password: Option<Password>,
        enable_mfa: bool,
    ) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let canonical = name.as_ref().map_or("", |(name, _)| name.canonical());
        if canonical.starts_with(EMAIL_PREFIX) {
            faults.push(Fault::new("/username", "Must not begin with `email:`."));
        }
        if let Some(password) = &password
            && let Err(fault) = vault::check_password(password.text(), canonical)
        {
            faults.push(Fault::new("/password", sentence(&fault.to_string())));
        }
        match (name, password) {
            (Some((name, shown)), Some(password)) if faults.is_empty() => Ok(Self {
                name,
                shown,
                password,
                enable_mfa,
            }),
            _ => Err(faults),
        }
    }
}

/// What somebody who signed up is told, once.
#[derive(Serialize)]
pub struct SignedUp {
    message: &'static str,
    mfa_enabled: bool,
    provisioning_uri: Option<String>,
    enrollment_token: Option<String>,
    recovery_codes: Option<Vec<String>>,
}

impl App {
    /// Makes an account. A second factor is in force from the first moment: there is no
    /// time in which the password alone would do.
    ///
    /// # Errors
    /// [`Error::RateLimited`], [`Error::UserExists`] for a name that any door knows, [`Error::Busy`].
    pub async fn sign_up(
        &self,
        context: &Context,
        source: Source,
        new: NewAccount,
    ) -> Result<SignedUp, Error> {
        self.admit_signup(source).await?;
        let name = new.name;
        // Root is made at the first start, or on the server's machine.
        if name.canonical() == ROOT || self.store.user_by_name(&name).await?.is_some() {
            return Err(Error::UserExists);
        }
        let hash = self.hash_password(new.password).await?;
        for _ in 0..TRIES {
            let now = self.store.now().await?;
            let user = UserId(self.store.new_id().await?);
            let mut batch = Batch::new();
            batch.make_user(user, &name, now);
            batch.make_account(user, &new.shown, &hash, now);
            let event = Event::new(Action::SignedUp, true, &context.origin());
            batch.record(event.about_user(user, name.canonical()));
            let enrolled = if new.enable_mfa {
                let enrolling = Enrolling::at_signup(user, &name, &new.shown);
                Some(self.enrol(&mut batch, context, &enrolling, now).await?)
            } else {
                None
            };
            match self.store.commit(batch).await {
                Ok(_) => return Ok(signed_up(enrolled)),
                Err(StoreError::Refused(Refusal::UserExists)) => return Err(Error::UserExists),
                // The made-up name of the device is taken: another one.
                Err(StoreError::Refused(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Busy)
    }

    /// What somebody with a session proves before they change their own factors: the
    /// password, so that a stolen token alone changes nothing. An email session has none;
    /// it must be fresh instead. `None` for one of those.
    ///
    /// # Errors
    /// [`Error::Invalid`] without a password, [`Error::InvalidCredentials`],
    /// [`Error::SessionTooOld`] for an email session, [`Error::Unauthenticated`] when the
    /// user is another one now, and those of a password check.
    pub(crate) async fn prove_owner(
        &self,
        context: &Context,
        source: Source,
        session: &Session,
        password: Option<Password>,
        now: Time,
    ) -> Result<Option<StoredAccount>, Error> {
        if session.has("email") {
            let age = now.seconds() - session.auth_time.seconds();
            return match age <= EMAIL_FRESH_SECONDS {
                true => Ok(None),
                false => Err(Error::SessionTooOld),
            };
        }
        let password = password.ok_or_else(|| Error::invalid("/password", "Is required."))?;
        let account = self.check_account(context, source, &session.name, password);
        let account = account.await?;
        // Erased and made again: another user, whose password this would be.
        match account.user == session.user {
            true => Ok(Some(account)),
            false => Err(Error::Unauthenticated),
        }
    }

    /// Whether a second factor of the user is in force at any door.
    pub(crate) async fn has_factor(&self, name: &UserName) -> Result<bool, Error> {
        let person = self.store.person(name).await?;
        Ok(person.is_some_and(|person| person.active_devices > 0))
    }
}

fn signed_up(enrolled: Option<Enrolled>) -> SignedUp {
    let message = "Signup successful";
    match enrolled {
        None => SignedUp {
            message,
            mfa_enabled: false,
            provisioning_uri: None,
            enrollment_token: None,
            recovery_codes: None,
        },
        Some(enrolled) => SignedUp {
            message,
            mfa_enabled: true,
            provisioning_uri: Some(enrolled.provisioning_uri),
            enrollment_token: Some(enrolled.enrollment_token),
            recovery_codes: Some(enrolled.recovery_codes),
        },
    }
}

/// A message with a capital letter and a full stop.
fn sentence(message: &str) -> String {
    let mut characters = message.chars();
    let first = characters.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(characters).chain(['.']).collect()
}
