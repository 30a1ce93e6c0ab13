//! The whole API: every route with its handler, in one list that makes router and OpenAPI document.

use std::sync::Arc;

use app::App;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::Method;
use utoipa::openapi::OpenApi;

use crate::api::{
    accounts, audit, devices, email_codes, health, issued, keys, metrics, mfa, passes, people,
    recovery, sessions, stats, two_factor, user_otp, users, verify,
};
use crate::endpoint::settle;
use crate::front::{Front, Random, Settings};
use crate::problem::Problem::{
    AuditBroken, Busy, DeviceExists, DeviceNotFound, DeviceNotPending, EmailDomainNotAllowed,
    InvalidCredentials, InvalidOtp, KeyNotFound, Locked, MfaAlreadyDisabled, MfaNotPending,
    NoActiveDevice, NoCheckpoint, NotATestDevice, OtpEnabled, OtpSpent, ScopeTooWide,
    SigningKeyTooYoung, StepUpRequired, TooManyDevices, TwoFactorNotEnabled, Unauthenticated,
    UserExists, UserNotFound,
};
use crate::refusal::Refusal;
use crate::table::{Proof, Table};
use crate::transport::TransportStats;
use crate::{docs, openapi as document};

const GET: Method = Method::GET;
const POST: Method = Method::POST;
const DELETE: Method = Method::DELETE;

/// Every route. `test_codes` is true where the codes of test devices may be read.
#[rustfmt::skip] // Read as a table: one line per route.
fn table(test_codes: bool) -> Table {
    Table::default()
        .tag("Devices", "Authenticators of users, one by one: register, look at, confirm, deactivate.")
        .call(POST, "/api/v1/devices/register", devices::register, "Register a device", &[DeviceExists, TooManyDevices])
        .call(GET, "/api/v1/devices", devices::list, "List devices, newest first", &[])
        .call(GET, "/api/v1/devices/{device_id}", devices::show, "Look at a device", &[DeviceNotFound])
        .call(DELETE, "/api/v1/devices/{device_id}", devices::remove, "Remove a device and its key", &[DeviceNotFound])
        // A device may be called "register" like any other.
        .also_at(GET, "/api/v1/devices/register", ("device_id", "register"), devices::show, "Look at the device that is called 'register'", &[DeviceNotFound])
        .also_at(DELETE, "/api/v1/devices/register", ("device_id", "register"), devices::remove, "Remove the device that is called 'register'", &[DeviceNotFound])
        .call(POST, "/api/v1/devices/{device_id}/confirm", verify::confirm, "Put a pending device in force", &[DeviceNotFound, DeviceNotPending])
        .call(POST, "/api/v1/devices/{device_id}/deactivate", devices::deactivate, "Deactivate a device for good", &[DeviceNotFound])
        .call(POST, "/api/v1/devices/{device_id}/resync", verify::resynchronise, "Re-align a device by two codes", &[DeviceNotFound])
        .tag("Codes", "Verify a code of a device, and help those whose code is not accepted.")
        .call(POST, "/api/v1/otp/verify", verify::verify, "Verify a code", &[DeviceNotFound])
        .call(POST, "/api/v1/otp/explain", verify::explain, "Say why a code was not accepted", &[DeviceNotFound])
        .only_if(test_codes, |table| {
            table.call(POST, "/api/v1/test/otp", devices::test_code, "Read the current code of a test device", &[DeviceNotFound, NotATestDevice])
        })
        .tag("A user's own OTP", "One authenticator for a user, named by the user alone.")
        .call(POST, "/otp/enable", user_otp::enable, "Make an authenticator for a user", &[OtpEnabled, TooManyDevices])
        .call(POST, "/otp/verify", user_otp::verify, "Verify a code of any authenticator of a user", &[NoActiveDevice])
        .call(POST, "/otp/deactivate", user_otp::deactivate, "Deactivate the authenticator that was made here", &[NoActiveDevice])
        .tag("Codes for sister services", "Short-lived codes that a service issues and another one verifies.")
        .call(POST, "/generate", issued::generate, "Issue a code for a user", &[TwoFactorNotEnabled])
        .call(POST, "/verify", issued::verify, "Verify an issued code, or an authenticator's", &[OtpSpent, InvalidOtp, UserNotFound, TwoFactorNotEnabled, Locked])
        .tag("Users", "Everything known of a user: state, recovery codes, passes, export, erasure.")
        .call(GET, "/api/v1/users", people::list_all, "List users, newest first", &[])
        .call(GET, "/api/v1/users/{user_id}", people::show, "Look at a user", &[UserNotFound])
        .call(GET, "/api/v1/users/{user_id}/2fa", two_factor::show, "Whether a user has a second factor, and which; an unknown user has none", &[])
        .call(GET, "/api/v1/users/{user_id}/export", people::export, "Hand out all that is stored about a user", &[UserNotFound])
        .call(DELETE, "/api/v1/users/{user_id}", people::erase, "Erase a user; the audit log goes on proving", &[UserNotFound])
        .call(POST, "/api/v1/users/{user_id}/unlock", users::unlock, "Open a user's lock", &[UserNotFound])
        .call(POST, "/api/v1/users/{user_id}/recovery-codes", recovery::renew, "Make a fresh set of recovery codes", &[UserNotFound])
        .call(POST, "/api/v1/users/{user_id}/pass", passes::make, "Make a pass for someone who lost the phone", &[UserNotFound])
        .call(POST, "/api/v1/recovery/verify", recovery::verify, "Verify a recovery code or a pass", &[UserNotFound, Locked])
        .tag("Accounts", "For people: sign up, log in with a second factor, look after it. No credential of a service.")
        .public("/signup", accounts::sign_up, "Make an account", &[UserExists, Busy])
        .public("/qrcode/{username}", mfa::qr_code, "The QR code of a second factor that has accepted no code yet", &[Unauthenticated, MfaNotPending, Busy])
        .with(Proof::EnrolmentTokenOrPassword)
        .public("/login", accounts::log_in, "Log in with a password", &[InvalidCredentials, Busy])
        .public("/login-2fa", accounts::second_step, "Complete a login with the second factor", &[InvalidOtp, Locked])
        .with(Proof::LoginCookie)
        .public("/enable-mfa", mfa::enable, "Make a second factor, to be confirmed", &[Unauthenticated, InvalidCredentials, StepUpRequired, TooManyDevices, Busy])
        .with(Proof::AccessToken)
        .public("/enable-mfa/confirm", mfa::confirm, "Put a second factor in force by its first code", &[Unauthenticated, InvalidOtp, StepUpRequired, MfaNotPending, Locked])
        .with(Proof::EnrolmentToken)
        .public("/disable-mfa", mfa::disable, "Remove the second factor", &[InvalidCredentials, InvalidOtp, MfaAlreadyDisabled, Locked, Busy])
        .public("/recovery-codes", mfa::recovery_codes, "Make fresh recovery codes", &[Unauthenticated, InvalidCredentials, StepUpRequired, Busy])
        .with(Proof::AccessToken)
        .tag("Email codes", "For people: log in with a code that was sent by email.")
        .public("/auth/request-otp", email_codes::request, "Send a code to an email address", &[EmailDomainNotAllowed, Locked, Busy])
        .public("/auth/verify-otp", email_codes::verify, "Log in with a code that was sent by email", &[InvalidOtp, Locked, Busy])
        .tag("Sessions", "Access tokens: end one, ask about one, and the public keys that check them.")
        .public("/auth/logout", sessions::log_out, "End a session", &[Unauthenticated])
        .with(Proof::AccessToken)
        .call(POST, "/auth/introspect", sessions::introspect, "Ask about an access token (RFC 7662)", &[])
        .open("/.well-known/jwks.json", sessions::jwks, "The public keys of assertions and access tokens")
        .and(operation)
        .and(service)
}

/// What administrators look after.
#[rustfmt::skip] // As above.
fn operation(table: Table) -> Table {
    table
        .tag("Operation", "For administrators: the audit log, statistics, API keys, signing keys.")
        .call(GET, "/api/v1/audit", audit::search, "Search the audit log, newest first", &[])
        .call(GET, "/api/v1/audit/checkpoints/latest", audit::latest, "The newest checkpoint, to be kept elsewhere", &[NoCheckpoint])
        .call(POST, "/api/v1/audit/checkpoints", audit::checkpoint, "Prove the log and make a checkpoint", &[AuditBroken])
        .call(GET, "/api/v1/stats", stats::stats, "Statistics by hour or day", &[])
        .call(GET, "/api/v1/keys", keys::list, "List API keys", &[])
        .call(POST, "/api/v1/keys", keys::make, "Make an API key", &[ScopeTooWide])
        .call(POST, "/api/v1/signing-keys/rotate", sessions::rotate, "Take the next signing keys into use", &[SigningKeyTooYoung])
        .call(DELETE, "/api/v1/keys/{id}", keys::revoke, "Revoke an API key", &[KeyNotFound, ScopeTooWide])
}

/// What machines ask that look after servers.
#[rustfmt::skip] // As above.
fn service(table: Table) -> Table {
    table
        .tag("Service", "Whether the server lives and works, and its metrics.")
        .open("/health", health::health, "Whether the server can do its work")
        .open("/livez", health::alive, "Whether the process runs")
        .open("/readyz", health::ready, "Whether requests should be sent here")
        .call(GET, "/metrics", metrics::metrics, "All metrics, as Prometheus or OpenMetrics text", &[])
}

/// The server's routes over an application. `random` fills a buffer with random bytes,
/// for request ids.
pub fn router(
    app: Arc<App>,
    settings: Settings,
    stats: Arc<TransportStats>,
    random: Random,
) -> Router {
    let table = table(app.settings().test_codes());
    let mut router = table.router;
    if settings.serves_docs() {
        router = router.merge(docs::router());
    }
    let front = Arc::new(Front::new(app, &settings, stats, random));
    router
        .fallback(async |State(front): State<Arc<Front>>, request: Request| {
            settle(&front, &request, Err(Refusal::NoRoute))
        })
        .method_not_allowed_fallback(async |State(front): State<Arc<Front>>, request: Request| {
            settle(&front, &request, Err(Refusal::Method))
        })
        .with_state(front)
}

/// The OpenAPI document of everything there may be.
pub fn openapi() -> OpenApi {
    let table = table(true);
    document::of(table.operations, &table.tags)
}
