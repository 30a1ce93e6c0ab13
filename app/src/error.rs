//! Why an operation did not do what was asked; knows no HTTP.

use domain::Scope;
use store::StoreError;

/// The one error of this crate. What a variant says may be read by a client; causes
/// hang on `source`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No credential, or not a valid one.
    #[error("A valid credential is required.")]
    Unauthenticated,
    /// The credential does not allow this.
    #[error("The credential lacks the scope {0}.")]
    Forbidden(Scope),
    /// Too many requests of this address or key.
    #[error("Too many requests. Try again later.")]
    RateLimited {
        /// Seconds until the next one is let through.
        retry_after: u32,
    },
    /// Fields of the request that cannot be used.
    #[error("The request is not valid.")]
    Invalid(Vec<Fault>),
    /// No device of that name.
    #[error("No device of this device_id is registered.")]
    DeviceNotFound,
    /// The name is in use.
    #[error("An active device of this device_id is registered already.")]
    DeviceExists,
    /// The device is in force already.
    #[error("The device is not waiting for a confirmation.")]
    DeviceNotPending,
    /// The user has as many as a user may have.
    #[error("The user has as many devices as a user may have.")]
    TooManyDevices,
    /// No user of that name.
    #[error("User not found")]
    UserNotFound,
    /// The user is unknown or has no authenticator in force: the sentence of the old
    /// service.
    #[error("User not found or 2FA not enabled")]
    TwoFactorNotEnabled,
    /// The user has no authenticator in force.
    #[error("The user has no active device for this call.")]
    NoActiveDevice,
    /// The user has an active authenticator of this door already.
    #[error("The user has an active OTP already.")]
    OtpEnabled,
    /// A wrong code, where the contract calls it an error.
    #[error("Invalid OTP")]
    InvalidOtp,
    /// The same where a code was to switch the second factor off.
    #[error("Invalid OTP for disabling MFA")]
    InvalidOtpForDisabling,
    /// The code was issued, but it is used or its time is over.
    #[error("OTP already used or expired")]
    OtpSpent,
    /// Too many wrong codes, where the contract calls it an error.
    #[error(
        "Too many wrong codes: none is judged now. Try again later; if that does not help, an administrator can open the lock."
    )]
    Locked {
        /// Seconds until the lock ends, or until it is worth while to ask again where
        /// only somebody else can open it.
        retry_after: u32,
    },
    /// Unknown user or wrong password: nobody outside learns which.
    #[error("Invalid credentials")]
    InvalidCredentials,
    /// The name is known at one of the doors.
    #[error("User already exists")]
    UserExists,
    /// There is no enrolment to be shown or confirmed.
    #[error("MFA is not pending")]
    MfaNotPending,
    /// There is nothing to switch off.
    #[error("MFA is already disabled")]
    MfaAlreadyDisabled,
    /// The session was not opened with what this needs.
    #[error("This needs a session that was opened with a code of an authenticator.")]
    StepUpRequired,
    /// The session was opened too long ago for what this changes.
    #[error(
        "This needs a session that was opened by an emailed code within the last five minutes: log in again."
    )]
    SessionTooOld,
    /// The next signing key has not been published for long enough.
    #[error(
        "The next signing key was published less than ten minutes ago: others may not know it yet. Try again later."
    )]
    SigningKeyTooYoung,
    /// The address is of a domain that gets no mail from here.
    #[error("Codes are not sent to addresses of this domain.")]
    EmailDomainNotAllowed,
    /// No API key of that id.
    #[error("No API key of this id.")]
    KeyNotFound,
    /// A key cannot make or revoke a key that may do more than itself.
    #[error("A key can only make and revoke keys whose scopes it has itself.")]
    ScopeTooWide,
    /// The path exists only in debug mode.
    #[error("Not found.")]
    NotFound,
    /// The device was not registered as a test device.
    #[error("The device was not registered with \"test\": true.")]
    NotATestDevice,
    /// There is no checkpoint yet.
    #[error("There is no checkpoint yet.")]
    NoCheckpoint,
    /// A new checkpoint would vouch for a log that does not prove.
    #[error("The audit log does not prove; run `otpd audit verify`.")]
    AuditBroken,
    /// The header came with another body before.
    #[error("The Idempotency-Key was used with another request.")]
    IdempotencyReused,
    /// The first request of that header has no answer yet.
    #[error("The first request with this Idempotency-Key is still being worked on.")]
    IdempotencyRunning,
    /// The kept answer to an earlier request.
    #[error("{0}")]
    Replayed(Box<Error>),
    /// More waits than may wait.
    #[error("The server is busy. Try again shortly.")]
    Busy,
    /// The system of record does not answer: nothing is accepted.
    #[error("{} Try again shortly.", unavailable(.0))]
    Unavailable(#[source] StoreError),
    /// A defect, or data that cannot be read.
    #[error("The server could not do this.")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// One field that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// JSON pointer into the body, or `?name` for a query parameter.
    pub pointer: String,
    /// What is wrong with it, for people.
    pub detail: String,
}

impl Fault {
    /// A fault at that place.
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            detail: detail.into(),
        }
    }
}

impl Error {
    /// A single fault as an error.
    pub fn invalid(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Invalid(vec![Fault::new(pointer, detail)])
    }

    /// Something that cannot happen unless data or code is broken.
    pub(crate) fn broken(what: &str) -> Self {
        Self::Internal(what.to_owned().into())
    }
}

/// What is to be set right, for whoever reads the answer and for whom they ask.
fn unavailable(error: &StoreError) -> &'static str {
    match error {
        StoreError::ClockBehind { .. } => "The server's clock stands behind what it has stored.",
        _ => "The server cannot reach its database.",
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy => Self::Busy,
            StoreError::IdempotencyReused => Self::IdempotencyReused,
            StoreError::CallerRevoked => Self::Unauthenticated,
            StoreError::Unavailable(_) | StoreError::ClockBehind { .. } => Self::Unavailable(error),
            StoreError::Refused(_)
            | StoreError::Unusable(_)
            | StoreError::Corrupt(_)
            | StoreError::Statement(_) => Self::Internal(Box::new(error)),
        }
    }
}

impl From<vault::OpenError> for Error {
    fn from(error: vault::OpenError) -> Self {
        Self::Internal(Box::new(error))
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Internal(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_behind_is_not_called_a_lost_database() {
        let check = |error: StoreError, says: &str| {
            let error = Error::from(error);
            assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
            let said = error.to_string();
            assert!(
                said.contains(says) && said.ends_with("Try again shortly."),
                "{said}"
            );
            assert!(!said.contains("1234"), "{said}");
        };
        check(StoreError::Unavailable(None), "cannot reach its database.");
        check(
            StoreError::ClockBehind { behind_ms: 1234 },
            "clock stands behind",
        );
    }
}
