//! A user's own OTP: enabled, asked for and deactivated by the user's name alone.

use data_encoding::BASE32_NOPAD;
use domain::verify::{Ask, Subject, Verdict};
use domain::{Action, DeviceName, Kind, State, UserName};
use otp::Code;
use serde::Serialize;
use serde_json::value::RawValue;
use store::{Answer, Batch};

use crate::context::Context;
use crate::devices::{TRIES, about};
use crate::idempotency::{Kept, Reply};
use crate::registration::{Registered, Registration};
use crate::tokens::Wanted;
use crate::verify::{key_unavailable, retry_after, told};
use crate::{App, Error};

/// The door of devices that are made here.
const DOOR: &str = "user";
/// Only the newest can be in force; a few more do no harm.
const LOOKED_AT: i64 = 16;

/// What the one who enabled it is told, once.
#[derive(Serialize)]
pub struct OtpEnabled {
    /// The name of the device that was made.
    pub id: String,
    /// The user as the client wrote it.
    pub user_id: Box<RawValue>,
    /// The key in base32.
    pub secret: String,
    /// For the authenticator app.
    pub provisioning_uri: String,
    /// Always true.
    pub is_active: bool,
    /// RFC 3339.
    pub created_at: String,
    /// Always `null`.
    pub last_verified_at: Option<String>,
}

impl OtpEnabled {
    fn of(made: Registered) -> Self {
        Self {
            id: made.device_id,
            user_id: made.user_id,
            secret: made.secret,
            provisioning_uri: made.provisioning_uri,
            is_active: true,
            created_at: made.created_at,
            last_verified_at: None,
        }
    }
}

/// The answer to a code of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OtpVerified {
    /// What is said of it.
    #[serde(flatten)]
    pub standing: OtpStanding,
    /// The proof for another service, when one was asked for and the code was right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assertion: Option<String>,
    /// Present and true when this is the kept answer of an earlier request.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
}

/// What is said of a code of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum OtpStanding {
    /// It was right, and is spent now.
    Verified,
    /// It was wrong, or was used before.
    Rejected,
    /// It was not judged: too many wrong ones.
    Locked {
        /// Seconds until the lock ends; `null` when only somebody else can open it.
        retry_after: Option<i64>,
    },
}

/// The answer to a deactivation.
#[derive(Serialize)]
pub struct OtpDeactivated {
    /// Always `deactivated`.
    pub status: &'static str,
}

impl App {
    /// Makes an authenticator for a user. Its key is shown here and never again.
    ///
    /// # Errors
    /// [`Error::OtpEnabled`] when one that was made here is in force,
    /// [`Error::TooManyDevices`].
    pub async fn enable_otp(
        &self,
        context: &Context,
        user: &UserName,
        shown: &RawValue,
    ) -> Result<Reply<OtpEnabled>, Error> {
        let policy = &self.settings.policies.default;
        let registration = Registration {
            device: self.made_up_name()?,
            user: user.clone(),
            shown: shown.to_owned(),
            kind: Kind::Totp {
                period: policy.period,
            },
            algorithm: otp::Algorithm::default(),
            digits: policy.digits,
            policy: None,
            label: None,
            issuer: None,
            secret: None,
            require_confirmation: false,
            test: false,
            door: Some(DOOR),
        };
        self.register_as(context, &registration, OtpEnabled::of)
            .await
    }

    /// 80 random bits: nobody else makes a device of that name by chance.
    fn made_up_name(&self) -> Result<DeviceName, Error> {
        let mut bytes = [0; 10];
        self.room.random.fill(&mut bytes);
        let name = format!("otp-{}", BASE32_NOPAD.encode(&bytes));
        DeviceName::parse(&name).map_err(|error| Error::broken(&error.to_string()))
    }

    /// Judges a code of any authenticator of a user. A wrong one is an answer.
    ///
    /// # Errors
    /// [`Error::NoActiveDevice`], also for a user whom nobody knows, and
    /// [`Error::Unavailable`] when the outcome is not known.
    pub async fn verify_otp(
        &self,
        context: &Context,
        user: UserName,
        code: Code,
        wanted: Option<&Wanted>,
    ) -> Result<OtpVerified, Error> {
        let (subject, ask) = (Subject::User(user.clone()), Ask::Authenticator(code));
        let answer = self.judged(context, subject, ask).await?;
        Ok(OtpVerified {
            standing: standing(&answer)?,
            assertion: self.vouch(context, wanted, &user, (&ask, &answer)).await?,
            replayed: answer.replayed,
        })
    }

    /// Ends the authenticator that was made here; asking again gives the same answer.
    ///
    /// # Errors
    /// [`Error::NoActiveDevice`] when none was ever made here.
    pub async fn deactivate_otp(
        &self,
        context: &Context,
        user: &UserName,
    ) -> Result<Reply<OtpDeactivated>, Error> {
        self.once(context, move |turn| async move {
            for _ in 0..TRIES {
                let now = self.store.now().await?;
                let id = self.store.user_by_name(user).await?;
                let id = id.ok_or(Error::NoActiveDevice)?;
                let made = self.store.devices_of_door(id, DOOR, LOOKED_AT).await?;
                if made.is_empty() {
                    return Err(Error::NoActiveDevice);
                }
                let mut batch = Batch::new();
                for found in &made {
                    match found.device.state {
                        State::Active => {
                            batch.deactivate_device(found.device.id, id, now);
                            self.end_all_sessions(&mut batch, id, now);
                            batch.record(about(Action::DeviceDeactivated, found, context));
                        }
                        State::Deactivated(_) => batch.confirm_end_of_device(found.device.id, id),
                        State::Pending(_) => {}
                    }
                }
                let status = "deactivated";
                let answer = OtpDeactivated { status };
                if turn.commit(batch, now, &answer, Kept::Plain).await?.is_ok() {
                    return Ok(answer);
                }
            }
            Err(Error::Busy)
        })
        .await
    }
}

fn standing(answer: &Answer) -> Result<OtpStanding, Error> {
    match answer.verdict {
        Verdict::Proven(_) => Ok(OtpStanding::Verified),
        Verdict::Rejected => Ok(OtpStanding::Rejected),
        Verdict::Locked => Ok(OtpStanding::Locked {
            retry_after: retry_after(answer),
        }),
        Verdict::Unknown | Verdict::NoFactor => Err(told(answer, Error::NoActiveDevice)),
        Verdict::KeyUnavailable => Err(key_unavailable()),
        _ => Err(Error::broken("a device's verdict about a person")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_the_members_of_the_contract() {
        fn check(standing: OtpStanding, replayed: bool, expected: &str) {
            let answer = OtpVerified {
                standing,
                assertion: None,
                replayed,
            };
            assert_eq!(serde_json::to_string(&answer).unwrap(), expected);
        }
        check(OtpStanding::Verified, false, r#"{"status":"verified"}"#);
        check(OtpStanding::Rejected, false, r#"{"status":"rejected"}"#);
        let locked = |retry_after| OtpStanding::Locked { retry_after };
        let text = r#"{"status":"locked","retry_after":30}"#;
        check(locked(Some(30)), false, text);
        let text = r#"{"status":"locked","retry_after":null,"replayed":true}"#;
        check(locked(None), true, text);
    }
}
