//! Settings of this crate: the rules of the product that a configuration may change.

use std::time::Duration;

use domain::{Policies, Scopes};

use crate::mail::MailSettings;

/// What `app` needs to know beyond its store and its keys.
#[derive(Clone)]
pub struct Settings {
    /// Security levels: the default one and the named ones.
    pub policies: Policies,
    /// Who issues the codes, for authenticator apps.
    pub issuer: String,
    /// Devices that one user may have.
    pub max_devices_per_user: i64,
    /// How long a device waits for its first code.
    pub pending: Duration,
    /// How long an issued code lives.
    pub issued: Duration,
    /// The stricter rules hold.
    pub production: bool,
    /// Causes may be shown, test codes may be read (never in production).
    pub debug: bool,
    /// Requests without a valid credential per network address and minute.
    pub address_failures_per_minute: u32,
    /// Requests per API key and second, when limited.
    pub key_per_second: Option<u32>,
    /// Age at which events are removed, when they are.
    pub retention: Option<Duration>,
    /// Age at which statistics are removed, when they are.
    pub stats_retention: Option<Duration>,
    /// How clients reach this server: the issuer of its tokens.
    pub public_url: String,
    /// How long a session and its access token live, in seconds.
    pub session_seconds: i64,
    /// Age at which a signing key gives way to the next one.
    pub signing_key_age: Duration,
    /// Time between two checkpoints when there is news.
    pub checkpoint_interval: Duration,
    /// Mail, and the codes that go by it.
    pub mail: MailSettings,
    /// What tokens of other services must say, where they are accepted.
    pub jwt: JwtRules,
    /// Limits of the doors that need no credential.
    pub public: PublicLimits,
    /// Accounts with a password.
    pub accounts: AccountSettings,
    /// What a password's hash costs. No configuration reaches this: a server has
    /// [`PasswordCost::default`], only tests take less.
    pub password_cost: PasswordCost,
}

/// What a token of another service must say, and what it can allow at most.
#[derive(Clone, Debug, Default)]
pub struct JwtRules {
    /// The audience that it must name.
    pub audience: String,
    /// The most that it can allow.
    pub scopes: Scopes,
    /// What one without scopes allows.
    pub default_scopes: Scopes,
}

/// Limits of the doors that need no credential; 0 switches one off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicLimits {
    /// Signups per network address.
    pub signups_per_hour: u32,
    /// Logins per network address.
    pub logins_per_minute: u32,
    /// Logins per account and network, and per account from all networks; more are
    /// slowed down.
    pub account_logins_per_minute: u32,
    /// How long a login that is slowed down waits.
    pub slow_login: Duration,
    /// Logins of one network to one account that may wait so; more are refused.
    pub slow_logins_per_network: usize,
    /// Logins to one account that may wait so because of all networks; more are refused.
    pub slow_logins_per_account: usize,
    /// The same for all accounts together.
    pub slow_logins: usize,
    /// Requests for an emailed code per network address.
    pub email_requests_per_hour: u32,
    /// Mails per email address.
    pub mails_per_hour: u32,
}

impl Default for PublicLimits {
    fn default() -> Self {
        Self {
            signups_per_hour: 60,
            logins_per_minute: 120,
            account_logins_per_minute: 20,
            slow_login: Duration::from_millis(1500),
            slow_logins_per_network: 2,
            slow_logins_per_account: 16,
            slow_logins: 512,
            email_requests_per_hour: 60,
            mails_per_hour: 5,
        }
    }
}

/// Accounts with a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSettings {
    /// Threads that hash passwords.
    pub password_threads: usize,
    /// Requests that may wait for one of them.
    pub password_queue: usize,
    /// A login may be found by user, address and user agent, for clients of the old
    /// contract.
    pub old_login: bool,
}

impl Default for AccountSettings {
    fn default() -> Self {
        Self {
            password_threads: 2,
            password_queue: 64,
            old_login: false,
        }
    }
}

/// The costs of Argon2id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PasswordCost {
    /// Those of the vault: what a server takes.
    #[default]
    Full,
    /// Next to none, for tests that are about something else.
    Test,
}

impl Settings {
    /// Age at which a signing key gives way to the next one, in milliseconds.
    pub(crate) fn signing_key_ms(&self) -> i64 {
        i64::try_from(self.signing_key_age.as_millis()).unwrap_or(i64::MAX)
    }

    /// Whether the current code of a test device may be read.
    pub fn test_codes(&self) -> bool {
        self.debug && !self.production
    }
}
