//! The settings in force, typed and checked; `otpd.default.toml` explains each of them.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use domain::{DomainRules, EmailAddress, EmailLevels, Policies, Scopes};

use super::database_url::DatabaseUrl;
use super::network::Network;
use super::secret::SecretText;
use super::smtp_url::SmtpUrl;

/// All settings. Paths are absolute where the working folder is.
pub struct Settings {
    /// What the server is for.
    pub environment: Environment,
    /// Whether causes and the API documentation are shown.
    pub debug: bool,
    /// The folder for what the server keeps.
    pub data_dir: PathBuf,
    /// Listening.
    pub server: Server,
    /// Storage.
    pub database: Database,
    /// Rate counters.
    pub redis: Redis,
    /// Master secrets.
    pub keys: Keys,
    /// Credentials of callers.
    pub callers: Callers,
    /// Foreign tokens.
    pub jwt: Jwt,
    /// Codes and devices.
    pub codes: Codes,
    /// The default level (from `[codes]`) and the named ones (from `[policies.*]`).
    pub policies: Policies,
    /// Mail.
    pub email: Email,
    /// The default level of emailed codes (from `[email]`) and the named ones (from
    /// `[email_levels.*]`).
    pub email_levels: EmailLevels,
    /// Accounts with a password.
    pub accounts: Accounts,
    /// Tokens of our own.
    pub tokens: Tokens,
    /// Rate limits.
    pub limits: Limits,
    /// The audit log.
    pub audit: Audit,
    /// Statistics.
    pub stats: Stats,
    /// The program's log.
    pub log: Log,
}

/// What the server is for, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment(pub(super) String);

impl Environment {
    /// The word: `development`, `production`, `staging`, …
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the stricter rules hold.
    #[must_use]
    pub fn is_production(&self) -> bool {
        self.0 == "production"
    }
}

/// `[server]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// An IP address (IPv6 without brackets) or a host name.
    pub host: String,
    /// 0 takes any free port.
    pub port: u16,
    /// `http://…` or `https://…` without a slash at its end.
    pub public_url: Option<String>,
    /// Without it the server speaks plain HTTP.
    pub tls: Option<Tls>,
    /// Peers whose forwarding headers are believed.
    pub trusted_proxies: Vec<Network>,
    /// Threads that serve requests; `None` as many as suit the machine.
    pub threads: Option<usize>,
    /// Connections open at the same time.
    pub max_connections: usize,
    /// Of these, the most of one network address.
    pub max_connections_per_address: usize,
    /// Time for the head of a request.
    pub header_timeout: Duration,
    /// Time for the body of a request.
    pub body_timeout: Duration,
    /// Time between two requests.
    pub idle_timeout: Duration,
    /// Time in which requests are still taken when the server stops.
    pub leave_timeout: Duration,
    /// Time for requests in progress when the server stops.
    pub drain_timeout: Duration,
}

impl Server {
    /// `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        match self.tls {
            Some(_) => "https",
            None => "http",
        }
    }

    /// The address that was set for clients, unless nobody can call it.
    #[must_use]
    pub fn callable_public_url(&self) -> Option<&str> {
        self.public_url.as_deref().filter(|url| !is_nowhere(url))
    }

    /// Host and port as they stand in a URL: an IPv6 address in brackets.
    #[must_use]
    pub fn authority(&self) -> String {
        match self.host.parse() {
            Ok(IpAddr::V6(address)) => format!("[{address}]:{}", self.port),
            _ => format!("{}:{}", self.host, self.port),
        }
    }
}

/// Whether the host of a URL is the address that stands for all of a machine
/// (`0.0.0.0`, `[::]`) and for none.
fn is_nowhere(url: &str) -> bool {
    let place = url.split_once("://").map_or(url, |(_, place)| place);
    let authority = place.split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let address = host.parse::<IpAddr>();
    address.is_ok_and(|address| address.is_unspecified())
}

/// The PEM files for TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The certificate chain.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// `[database]`
pub struct Database {
    /// Where the data is; `otpd.db` in the data folder unless set.
    pub url: DatabaseUrl,
    /// PostgreSQL connections that judge codes.
    pub lanes: usize,
    /// PostgreSQL connections for everything else.
    pub pool: usize,
    /// How long a request waits for a user or a connection.
    pub wait: Duration,
}

/// `[redis]`
pub struct Redis {
    /// `redis://…` or `rediss://…`; it may hold a password.
    pub url: Option<SecretText>,
    /// The authorities of its certificate; the public ones unless set.
    pub ca: Option<PathBuf>,
    /// Time to make a connection.
    pub connect: Duration,
    /// Time that a request waits.
    pub answer: Duration,
}

/// `[keys]`
pub struct Keys {
    /// 32 characters or more.
    pub master_secret: Option<SecretText>,
    /// 32 characters or more.
    pub master_secret_previous: Option<SecretText>,
}

/// `[callers]`
pub struct Callers {
    /// In production 32 characters or more.
    pub api_key: Option<SecretText>,
}

/// `[jwt]`; the algorithm is always HS256.
pub struct Jwt {
    /// 32 bytes or more; without it no JWT is accepted.
    pub secret_key: Option<SecretText>,
    /// The audience that a JWT must name.
    pub audience: String,
    /// The most that a JWT can allow.
    pub scopes: Scopes,
    /// What a JWT without scopes allows; covered by `scopes`.
    pub default_scopes: Scopes,
}

/// `[codes]`, but for what is in [`Settings::policies`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Codes {
    /// The name that authenticator apps show.
    pub issuer: String,
    /// Devices that one user can have.
    pub max_devices_per_user: u32,
    /// Life of a device that is not confirmed.
    pub pending: Duration,
    /// Life of an issued code.
    pub issued: Duration,
}

/// `[email]`, but for what is in [`Settings::email_levels`].
pub struct Email {
    /// The mail server; without one, mails become files.
    pub smtp_url: Option<SmtpUrl>,
    /// A PEM file of authorities to trust instead of the public ones.
    pub smtp_ca: Option<PathBuf>,
    /// Time for one try to hand a mail over.
    pub smtp_timeout: Duration,
    /// Who sends; always there beside a mail server.
    pub from: Option<EmailAddress>,
    /// To which domains mail may go.
    pub domains: DomainRules,
    /// How soon another code may be asked for.
    pub resend: Duration,
}

/// `[accounts]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accounts {
    /// Threads that hash passwords.
    pub password_threads: usize,
    /// Requests that may wait for one of them.
    pub password_queue: usize,
    /// Life of an access token and its session.
    pub session: Duration,
    /// Whether `/login-2fa` finds a pending login by user, address and user agent, for
    /// clients of the old contract.
    pub old_login: bool,
}

/// `[tokens]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Time after which another key signs.
    pub rotation: Duration,
}

/// `[limits]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Signups per network address and hour.
    pub signups_per_hour: u32,
    /// Logins per network address and minute.
    pub logins_per_minute: u32,
    /// Requests for an emailed code per network address and hour.
    pub email_requests_per_hour: u32,
    /// Logins per account and minute, from one network and from all.
    pub account_logins_per_minute: u32,
    /// How long each login beyond that waits.
    pub slow_login: Duration,
    /// Logins of one network to one account that may wait so.
    pub slow_logins_per_network: usize,
    /// Logins to one account that may wait so because of all networks.
    pub slow_logins_per_account: usize,
    /// Logins that may wait so in all.
    pub slow_logins: usize,
    /// Mails per email address and hour.
    pub mails_per_hour: u32,
    /// Failures per network address and minute.
    pub address_failures_per_minute: u32,
    /// Requests per API key and second, if limited.
    pub key_per_second: Option<u32>,
}

/// `[audit]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Days after which records are removed, if ever.
    pub retention_days: Option<u32>,
    /// Time between two signed checkpoints.
    pub checkpoint_interval: Duration,
}

/// `[stats]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Days after which statistics are removed, if ever.
    pub retention_days: Option<u32>,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least severe level that is logged.
    pub level: tracing::Level,
    /// The form of a line.
    pub format: LogFormat,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
    /// Text on a terminal, JSON otherwise.
    Auto,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_everywhere_is_nowhere() {
        fn check(url: &str, nowhere: bool) {
            assert_eq!(is_nowhere(url), nowhere, "{url}");
        }
        check("http://0.0.0.0", true);
        check("http://0.0.0.0:8004", true);
        check("https://[::]:8004/otp", true);
        check("https://[::]/", true);
        check("http://127.0.0.1:8004", false);
        check("http://[::1]:8004", false);
        check("https://otp.example.com/0.0.0.0", false);
        check("https://0.0.0.0.example.com", false);
    }
}
