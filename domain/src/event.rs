//! An event: the audit record of one change or one evaluated attempt.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{DeviceId, UserId};

macro_rules! actions {
    ($($(#[doc = $doc:literal])+ $variant:ident = $word:literal,)+) => {
        /// What happened. The words are part of the contract and never change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Action { $($(#[doc = $doc])+ $variant,)+ }

        impl Action {
            /// Every action, in the order of the documentation.
            pub const ALL: &'static [Action] = &[$(Action::$variant,)+];

            /// The word of the contract.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// What it records, for the documentation.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii(),)+ }
            }
        }

        impl FromStr for Action {
            type Err = UnknownAction;
            fn from_str(word: &str) -> Result<Self, UnknownAction> {
                match word { $($word => Ok(Self::$variant),)+ _ => Err(UnknownAction) }
            }
        }
    };
}

actions! {
    /// A device was registered, in force at once or waiting for its confirmation.
    DeviceRegistered = "DEVICE_REGISTERED",
    /// A pending device was tried with a code; with success it is in force.
    DeviceConfirmed = "DEVICE_CONFIRMED",
    /// A code was judged, or refused because of a lock.
    OtpVerification = "OTP_VERIFICATION",
    /// A device was deactivated.
    DeviceDeactivated = "DEVICE_DEACTIVATED",
    /// A device was removed together with its key.
    DeviceDeleted = "DEVICE_DELETED",
    /// Two codes in a row were tried to re-align a device.
    DeviceResynchronised = "DEVICE_RESYNCHRONISED",
    /// The helpdesk asked why a code was not accepted.
    OtpExplained = "OTP_EXPLAINED",
    /// The current code of a test device was read, in debug mode.
    TestCodeRead = "TEST_CODE_READ",
    /// A single-use code was issued to a sister service.
    CodeIssued = "CODE_ISSUED",
    /// A recovery code or a pass was tried.
    RecoveryVerification = "RECOVERY_VERIFICATION",
    /// Only few recovery codes are left.
    RecoveryCodesLow = "RECOVERY_CODES_LOW",
    /// A fresh set of recovery codes was made; the old one is void.
    RecoveryCodesCreated = "RECOVERY_CODES_CREATED",
    /// The helpdesk made a pass for someone who lost the phone.
    PassCreated = "PASS_CREATED",
    /// An account was made.
    SignedUp = "SIGNED_UP",
    /// A password was right, or wrong for an account that exists.
    Login = "LOGIN",
    /// The second factor of a login was judged, or refused because of a lock.
    LoginSecondFactor = "LOGIN_2FA",
    /// A session was ended by its owner.
    LoggedOut = "LOGGED_OUT",
    /// An account's second factor was enrolled and waits for its confirmation.
    MfaEnrolled = "MFA_ENROLLED",
    /// An account's second factor was removed, with its recovery codes.
    MfaDisabled = "MFA_DISABLED",
    /// A code was sent to an email address.
    EmailCodeSent = "EMAIL_CODE_SENT",
    /// An emailed code was judged, or refused because of a lock.
    EmailCodeVerification = "EMAIL_CODE_VERIFICATION",
    /// A mail could not be delivered for now, the first time; it is tried again.
    MailDeferred = "MAIL_DEFERRED",
    /// A mail could not be delivered and is tried no more.
    MailFailed = "MAIL_FAILED",
    /// The root administrator was made, or made anew.
    RootCreated = "ROOT_CREATED",
    /// A signing key was made, taken into use or retired.
    SigningKeyRotated = "SIGNING_KEY_ROTATED",
    /// All that is stored about a user was handed out.
    UserExported = "USER_EXPORTED",
    /// A user's lock was opened by an administrator.
    UserUnlocked = "USER_UNLOCKED",
    /// A user was erased; their personal fields in the audit were blanked.
    UserErased = "USER_ERASED",
    /// An API key was made.
    KeyCreated = "KEY_CREATED",
    /// An API key was revoked.
    KeyRevoked = "KEY_REVOKED",
    /// A new version of the master secret was taken into use.
    MasterSecretChanged = "MASTER_SECRET_CHANGED",
    /// Requests of one source and minute that were refused by a limit, as a sum.
    RateLimited = "RATE_LIMITED",
    /// Requests of one source and minute without a valid credential, as a sum.
    AuthenticationFailed = "AUTHENTICATION_FAILED",
    /// Old events were removed by the retention policy.
    AuditCut = "AUDIT_CUT",
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The word is none of [`Action::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an audit action")]
pub struct UnknownAction;

/// Who asked, and from where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The credential: `key:<id>`, `jwt:<sub>`, `env`, `cli` or `server`. No person, so it stays
    /// when a person is erased.
    pub caller: Arc<str>,
    /// The request that asked.
    pub request_id: Arc<str>,
    /// The client's address.
    pub ip_address: Option<Arc<str>>,
    /// What the client calls itself.
    pub user_agent: Option<Arc<str>>,
}

/// The fields that tell of a person: blanked when the person is erased, covered by
/// the chain only through a salted digest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Personal {
    /// The user's canonical name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub user_id: Option<Arc<str>>,
    /// The device's name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub device_id: Option<Arc<str>>,
    /// The client's address.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ip_address: Option<Arc<str>>,
    /// What the client calls itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub user_agent: Option<Arc<str>>,
    /// Free text that a person wrote, such as the reason of an unlock.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<Arc<str>>,
}

/// An event before it has its place in a chain.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// What happened.
    pub action: Action,
    /// Whether it did what was asked.
    pub success: bool,
    /// Whom it concerns.
    pub user: Option<UserId>,
    /// Which device.
    pub device: Option<DeviceId>,
    /// The credential that asked.
    pub caller: Arc<str>,
    /// The request that asked.
    pub request_id: Arc<str>,
    /// More, as a JSON object without any personal field; empty for none.
    pub detail: String,
    /// The personal fields.
    pub personal: Personal,
}

impl Event {
    /// An event of that origin, concerning nobody yet.
    pub fn new(action: Action, success: bool, origin: &Origin) -> Self {
        Self {
            action,
            success,
            user: None,
            device: None,
            caller: origin.caller.clone(),
            request_id: origin.request_id.clone(),
            detail: String::new(),
            personal: Personal {
                ip_address: origin.ip_address.clone(),
                user_agent: origin.user_agent.clone(),
                ..Personal::default()
            },
        }
    }

    /// Names the user it concerns.
    #[must_use]
    pub fn about_user(mut self, id: UserId, name: &str) -> Self {
        self.user = Some(id);
        self.personal.user_id = Some(name.into());
        self
    }

    /// Names the device it concerns.
    #[must_use]
    pub fn about_device(mut self, id: DeviceId, name: &str) -> Self {
        self.device = Some(id);
        self.personal.device_id = Some(name.into());
        self
    }

    /// Adds details that tell of no person.
    #[must_use]
    pub fn with(mut self, detail: &serde_json::Value) -> Self {
        self.detail = detail.to_string();
        self
    }

    /// Adds the words of the person who asked.
    #[must_use]
    pub fn because(mut self, reason: &str) -> Self {
        self.personal.reason = Some(reason.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_leads_back_to_its_action_and_has_a_meaning() {
        for action in Action::ALL {
            assert_eq!(action.as_str().parse(), Ok(*action));
            assert!(action.meaning().ends_with('.'), "{action}");
        }
        assert_eq!("device_registered".parse::<Action>(), Err(UnknownAction));
    }

    #[test]
    fn personal_fields_that_are_absent_leave_no_trace() {
        let event = Event::new(Action::KeyCreated, true, &Origin::default());
        assert_eq!(serde_json::to_string(&event.personal).unwrap(), "{}");
    }
}
