//! The table of problems: which error is answered with which status and code (RFC 9457).

use axum::http::StatusCode;

macro_rules! problems {
    ($($(#[doc = $doc:literal])+ $variant:ident = $status:ident $word:literal $title:literal,)+) => {
        /// What a client can be told to have gone wrong. The words are part of the
        /// contract and never change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Problem { $($(#[doc = $doc])+ $variant,)+ }

        impl Problem {
            /// Every problem, by status.
            pub const ALL: &'static [Problem] = &[$(Problem::$variant,)+];

            /// The status of the answer.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)+ }
            }

            /// The stable word by which programs know it.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// A few words for people, the same each time.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ }
            }

            /// When it occurs, for the documentation.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii(),)+ }
            }
        }
    };
}

problems! {
    /// The body is not JSON, is not UTF-8, or broke off.
    InvalidJson = BAD_REQUEST "invalid_json" "Not JSON",
    /// The code was issued, but it is used or its time is over.
    OtpSpent = BAD_REQUEST "otp_spent" "Code spent",
    /// No credential, or not a valid one.
    Unauthenticated = UNAUTHORIZED "unauthenticated" "Not authenticated",
    /// The code is wrong, or was used before.
    InvalidOtp = UNAUTHORIZED "invalid_otp" "Wrong code",
    /// The user is unknown or the password is wrong.
    InvalidCredentials = UNAUTHORIZED "invalid_credentials" "Wrong credentials",
    /// The credential lacks the scope of the call.
    InsufficientScope = FORBIDDEN "insufficient_scope" "Not allowed",
    /// A key can only make and revoke keys whose scopes it has itself; it may always revoke itself.
    ScopeTooWide = FORBIDDEN "scope_too_wide" "Scope too wide",
    /// The session was opened without a code of an authenticator.
    StepUpRequired = FORBIDDEN "step_up_required" "Stronger session needed",
    /// The domain of the address is not on the list of those that get codes.
    EmailDomainNotAllowed = FORBIDDEN "email_domain_not_allowed" "Domain not allowed",
    /// There is no such path, or it is switched off.
    NotFound = NOT_FOUND "not_found" "Not found",
    /// No device of that `device_id` is registered.
    DeviceNotFound = NOT_FOUND "device_not_found" "Device not found",
    /// No such user.
    UserNotFound = NOT_FOUND "user_not_found" "User not found",
    /// The user is unknown or has no authenticator in force.
    TwoFactorNotEnabled = NOT_FOUND "two_factor_not_enabled" "No second factor",
    /// The user has no authenticator in force.
    NoActiveDevice = NOT_FOUND "no_active_device" "No active device",
    /// No API key of that id.
    KeyNotFound = NOT_FOUND "key_not_found" "API key not found",
    /// No checkpoint of the audit log has been made yet.
    NoCheckpoint = NOT_FOUND "no_checkpoint" "No checkpoint yet",
    /// The path exists, but not with this method; `Allow` names those it has.
    MethodNotAllowed = METHOD_NOT_ALLOWED "method_not_allowed" "Method not allowed",
    /// The body did not arrive in time.
    BodyTimeout = REQUEST_TIMEOUT "body_timeout" "Request too slow",
    /// An active device of that `device_id` is registered already.
    DeviceExists = CONFLICT "device_exists" "Device exists",
    /// Only a pending device can be confirmed.
    DeviceNotPending = CONFLICT "device_not_pending" "Device not pending",
    /// The user has as many devices as a user may have.
    TooManyDevices = CONFLICT "too_many_devices" "Too many devices",
    /// The user has an active authenticator of this door already.
    OtpEnabled = CONFLICT "otp_enabled" "OTP enabled already",
    /// The name is known at one of the doors.
    UserExists = CONFLICT "user_exists" "User exists",
    /// There is no enrolment to be shown or confirmed.
    MfaNotPending = CONFLICT "mfa_not_pending" "MFA not pending",
    /// There is no second factor to switch off.
    MfaAlreadyDisabled = CONFLICT "mfa_already_disabled" "MFA already disabled",
    /// The next signing key has not been published for long enough to be used.
    SigningKeyTooYoung = CONFLICT "signing_key_too_young" "Signing key too young",
    /// The device was not registered with `"test": true`.
    NotATestDevice = CONFLICT "not_a_test_device" "Not a test device",
    /// The audit log does not prove, so no checkpoint can vouch for it.
    AuditBroken = CONFLICT "audit_broken" "Audit log broken",
    /// The first request with this `Idempotency-Key` is still being worked on.
    IdempotencyKeyRunning = CONFLICT "idempotency_key_running" "Request still running",
    /// The body is longer than 16 KiB.
    BodyTooLarge = PAYLOAD_TOO_LARGE "body_too_large" "Body too large",
    /// Members, parameters or headers that cannot be used; `errors` names each.
    ValidationFailed = UNPROCESSABLE_ENTITY "validation_failed" "Not valid",
    /// The `Idempotency-Key` came with another body before.
    IdempotencyKeyReused = UNPROCESSABLE_ENTITY "idempotency_key_reused" "Idempotency-Key reused",
    /// Too many requests of this address or key; `Retry-After` says when to come back.
    RateLimited = TOO_MANY_REQUESTS "rate_limited" "Too many requests",
    /// Too many wrong codes, or too many tries of recovery codes; `Retry-After` says when to come back. If that does not help, an administrator can.
    Locked = TOO_MANY_REQUESTS "locked" "Locked",
    /// A defect of the server. The log knows more under the request's id.
    InternalError = INTERNAL_SERVER_ERROR "internal_error" "Server error",
    /// More requests wait than may wait.
    Busy = SERVICE_UNAVAILABLE "busy" "Server busy",
    /// The database does not answer, and the outcome may be unknown: ask again with the same `Idempotency-Key`.
    Unavailable = SERVICE_UNAVAILABLE "unavailable" "Service unavailable",
}

impl Problem {
    /// The problem that an error of the application is to a client: the one place where
    /// its errors meet HTTP.
    pub fn of(error: &app::Error) -> Self {
        use app::Error;
        match error {
            Error::Unauthenticated => Self::Unauthenticated,
            Error::Forbidden(_) => Self::InsufficientScope,
            Error::RateLimited { .. } => Self::RateLimited,
            Error::Invalid(_) => Self::ValidationFailed,
            Error::DeviceNotFound => Self::DeviceNotFound,
            Error::DeviceExists => Self::DeviceExists,
            Error::DeviceNotPending => Self::DeviceNotPending,
            Error::TooManyDevices => Self::TooManyDevices,
            Error::UserNotFound => Self::UserNotFound,
            Error::TwoFactorNotEnabled => Self::TwoFactorNotEnabled,
            Error::NoActiveDevice => Self::NoActiveDevice,
            Error::OtpEnabled => Self::OtpEnabled,
            Error::InvalidOtp | Error::InvalidOtpForDisabling => Self::InvalidOtp,
            Error::OtpSpent => Self::OtpSpent,
            Error::Locked { .. } => Self::Locked,
            Error::InvalidCredentials => Self::InvalidCredentials,
            Error::UserExists => Self::UserExists,
            Error::MfaNotPending => Self::MfaNotPending,
            Error::MfaAlreadyDisabled => Self::MfaAlreadyDisabled,
            Error::StepUpRequired | Error::SessionTooOld => Self::StepUpRequired,
            Error::SigningKeyTooYoung => Self::SigningKeyTooYoung,
            Error::EmailDomainNotAllowed => Self::EmailDomainNotAllowed,
            Error::KeyNotFound => Self::KeyNotFound,
            Error::ScopeTooWide => Self::ScopeTooWide,
            Error::NotFound => Self::NotFound,
            Error::NotATestDevice => Self::NotATestDevice,
            Error::NoCheckpoint => Self::NoCheckpoint,
            Error::AuditBroken => Self::AuditBroken,
            Error::IdempotencyReused => Self::IdempotencyKeyReused,
            Error::IdempotencyRunning => Self::IdempotencyKeyRunning,
            Error::Replayed(first) => Self::of(first),
            Error::Busy => Self::Busy,
            Error::Unavailable(_) => Self::Unavailable,
            Error::Internal(_) => Self::InternalError,
        }
    }
}

/// The table as Markdown, for `docs/errors.md`.
pub fn errors_markdown() -> String {
    let mut text = String::from(
        "# Errors\n\nEvery error is an `application/problem+json` document (RFC 9457). Programs go by `code`,\n\
         which never changes; `detail` is a sentence for people and may.\n\n\
         | status | code | when |\n|---|---|---|\n",
    );
    for problem in Problem::ALL {
        let (status, code) = (problem.status().as_u16(), problem.code());
        let meaning = problem.meaning();
        text.push_str(&format!("| {status} | `{code}` | {meaning} |\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_is_unique_and_the_table_is_in_the_order_of_statuses() {
        let codes: BTreeSet<_> = Problem::ALL.iter().map(|problem| problem.code()).collect();
        assert_eq!(codes.len(), Problem::ALL.len());
        assert!(Problem::ALL.is_sorted_by_key(|problem| problem.status()));
    }

    #[test]
    fn codes_are_snake_case_and_meanings_are_sentences() {
        for problem in Problem::ALL {
            let code = problem.code();
            assert!(
                code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{code}"
            );
            assert!(problem.meaning().ends_with('.'), "{code}");
            assert!(!problem.title().is_empty(), "{code}");
        }
    }

    #[test]
    fn the_codes_of_the_contract_keep_their_statuses() {
        fn check(code: &str, status: u16) {
            let found = Problem::ALL.iter().find(|problem| problem.code() == code);
            assert_eq!(
                found.map(|problem| problem.status().as_u16()),
                Some(status),
                "{code}"
            );
        }
        check("device_not_found", 404);
        check("device_exists", 409);
        check("idempotency_key_reused", 422);
    }

    #[test]
    fn a_replayed_error_is_the_first_one() {
        let first = Box::new(app::Error::DeviceExists);
        assert_eq!(
            Problem::of(&app::Error::Replayed(first)),
            Problem::DeviceExists
        );
    }

    #[test]
    fn the_document_has_a_row_per_problem() {
        let text = errors_markdown();
        let rows = text.lines().filter(|line| line.starts_with("| ")).count();
        assert_eq!(rows, Problem::ALL.len() + 1);
        assert!(text.contains("| 404 | `device_not_found` | No device of that"));
    }
}
