//! Builds the typed settings and checks what the types alone do not.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use domain::policy::LONGEST_WINDOW_SECONDS;
use domain::{Budget, Policies, Policy, Scope, Scopes};
use otp::Digits;

use super::checks;
use super::database_url::DatabaseUrl;
use super::email;
use super::known::POLICIES;
use super::layers::Merged;
use super::network::Network;
use super::problem::{Problems, quoted};
use super::reader::Reader;
use super::settings::{
    Accounts, Audit, Callers, Codes, Database, Environment, Jwt, Keys, Limits, Log, LogFormat,
    Redis, Server, Settings, Stats, Tls, Tokens,
};

/// Two failed checks of a load balancer that looks every two seconds; and the half of
/// what container platforms allow between the order to stop and a kill (10 seconds).
const AUTOMATIC_LEAVE: Duration = Duration::from_secs(5);

/// Builds the settings from all layers; relative paths start at `folder`.
///
/// # Errors
/// The problems of the layers and of the values, all at once.
pub(super) fn settings(merged: Merged, folder: &Path) -> Result<Settings, Problems> {
    let mut reader = Reader::new(merged);
    let r = &mut reader;
    let environment = r.parsed(
        "environment",
        Environment(String::new()),
        checks::environment,
    );
    let data_dir = folder.join(r.parsed("data_dir", String::new(), |text| {
        if text.is_empty() {
            return Err(("is empty".into(), "the path of a folder is expected".into()));
        }
        Ok(text.to_owned())
    }));
    let database = database(r, folder, &data_dir);
    let settings = Settings {
        debug: r.flag("debug"),
        server: server(r, folder, automatic_leave(&environment, &database)),
        database,
        redis: redis(r, folder),
        keys: Keys {
            master_secret: r.secret("keys.master_secret", checks::long_enough),
            master_secret_previous: r.secret("keys.master_secret_previous", checks::long_enough),
        },
        callers: Callers {
            api_key: r.secret("callers.api_key", |text| {
                if environment.is_production() {
                    checks::long_enough(text)
                } else {
                    Ok(())
                }
            }),
        },
        jwt: jwt(r),
        codes: codes(r),
        policies: policies(r),
        email: email::email(r, folder),
        email_levels: email::levels(r),
        accounts: accounts(r, &environment),
        tokens: tokens(r),
        limits: limits(r),
        audit: audit(r),
        stats: stats(r),
        log: log(r),
        environment,
        data_dir,
    };
    let problems = reader.into_problems();
    if problems.is_empty() {
        Ok(settings)
    } else {
        Err(problems)
    }
}

fn redis(r: &mut Reader, folder: &Path) -> Redis {
    let ca = Some(r.text("redis.ca")).filter(|path| !path.is_empty());
    let ca = ca.map(|path| folder.join(path));
    let mut millis = |key| Duration::from_millis(r.whole(key, 5..=1_000, "milliseconds"));
    let (connect, answer) = (millis("redis.connect_ms"), millis("redis.answer_ms"));
    Redis {
        url: r.secret("redis.url", checks::redis_url),
        ca,
        connect,
        answer,
    }
}

/// How long a server of that kind waits for a load balancer to notice that it goes. Only
/// where another one can go on: a server with a database of its own has nobody to send
/// clients to, and would come back later for nothing.
fn automatic_leave(environment: &Environment, database: &Database) -> Duration {
    let is_shared = matches!(database.url, DatabaseUrl::Postgres(_));
    match environment.is_production() && is_shared {
        true => AUTOMATIC_LEAVE,
        false => Duration::ZERO,
    }
}

fn server(r: &mut Reader, folder: &Path, leave: Duration) -> Server {
    Server {
        host: r.parsed("server.host", String::new(), checks::host),
        port: r.whole("server.port", 0..=65_535, ""),
        public_url: r.parsed("server.public_url", None, checks::public_url),
        tls: tls(r, folder),
        trusted_proxies: trusted_proxies(r),
        threads: r.parsed("server.threads", None, |text| {
            checks::unless_automatic(text, 1..=1_024, "threads")
        }),
        max_connections: r.whole("server.max_connections", 1..=1_000_000, "connections"),
        max_connections_per_address: r.whole(
            "server.max_connections_per_address",
            1..=1_000_000,
            "connections",
        ),
        header_timeout: seconds(r, "server.header_seconds", 1..=300),
        body_timeout: seconds(r, "server.body_seconds", 1..=300),
        idle_timeout: seconds(r, "server.idle_seconds", 1..=3_600),
        leave_timeout: r.parsed("server.leave_seconds", leave, |text| {
            let seconds = checks::unless_automatic(text, 0..=3_600, "seconds")?;
            Ok(seconds.map_or(leave, Duration::from_secs))
        }),
        drain_timeout: seconds(r, "server.drain_seconds", 0..=3_600),
    }
}

fn tls(r: &mut Reader, folder: &Path) -> Option<Tls> {
    const BOTH: [&str; 2] = ["server.tls_certificate", "server.tls_key"];
    let [certificate, key] = BOTH.map(|key| r.text(key).to_owned());
    let missing = match (certificate.is_empty(), key.is_empty()) {
        (true, true) => return None,
        (false, false) => {
            return Some(Tls {
                certificate: folder.join(certificate),
                key: folder.join(key),
            });
        }
        (true, false) => BOTH[0],
        (false, true) => BOTH[1],
    };
    let given = if missing == BOTH[0] { BOTH[1] } else { BOTH[0] };
    r.refuse(
        given,
        (
            "is given alone".into(),
            format!("`{missing}` is expected beside it"),
        ),
    );
    None
}

fn trusted_proxies(r: &mut Reader) -> Vec<Network> {
    const KEY: &str = "server.trusted_proxies";
    let (networks, faults): (Vec<_>, Vec<_>) = r
        .list(KEY)
        .iter()
        .map(|text| Network::parse(text))
        .partition(Result::is_ok);
    for fault in faults.into_iter().filter_map(Result::err) {
        r.refuse(KEY, fault);
    }
    networks.into_iter().filter_map(Result::ok).collect()
}

fn database(r: &mut Reader, folder: &Path, data_dir: &Path) -> Database {
    const KEY: &str = "database.url";
    let default = || DatabaseUrl::Sqlite(data_dir.join("otpd.db"));
    let url = match r.secret(KEY, |_| Ok(())) {
        None => default(),
        Some(text) => match DatabaseUrl::parse(text.expose()) {
            Ok(DatabaseUrl::Sqlite(path)) => DatabaseUrl::Sqlite(folder.join(path)),
            Ok(postgres) => postgres,
            Err(fault) => {
                r.refuse(KEY, fault);
                default()
            }
        },
    };
    Database {
        url,
        lanes: r.whole("database.lanes", 1..=64, "lanes"),
        pool: r.whole("database.pool", 1..=1_000, "connections"),
        // An answer must come within 2 seconds, also when it is 503.
        wait: Duration::from_millis(r.whole("database.wait_ms", 10..=1_500, "milliseconds")),
    }
}

fn jwt(r: &mut Reader) -> Jwt {
    let secret_key = r.secret("jwt.secret_key", checks::hs256_key);
    r.parsed("jwt.algorithm", (), checks::hs256);
    let audience = r.parsed("jwt.audience", String::new(), checks::not_empty);
    let scopes = jwt_scopes(r, "jwt.scopes");
    let default_scopes = jwt_scopes(r, "jwt.default_scopes");
    if !scopes.covers(&default_scopes) {
        r.refuse(
            "jwt.default_scopes",
            (
                format!("is {}", quoted(&default_scopes.to_string())),
                "only scopes that `jwt.scopes` has as well are expected".into(),
            ),
        );
    }
    Jwt {
        secret_key,
        audience,
        scopes,
        default_scopes,
    }
}

fn jwt_scopes(r: &mut Reader, key: &str) -> Scopes {
    let mut scopes = Scopes::NONE;
    let mut faults = Vec::new();
    for word in r.list(key) {
        match word.parse::<Scope>() {
            Ok(scope) if !Scope::NEVER_BY_JWT.contains(&scope) => scopes = scopes.with(scope),
            _ => faults.push(format!("holds {}", quoted(word))),
        }
    }
    let allowed: Vec<&str> = Scope::ALL
        .into_iter()
        .filter(|scope| !Scope::NEVER_BY_JWT.contains(scope))
        .map(Scope::as_str)
        .collect();
    for found in faults {
        let expected = format!("some of {} are expected", allowed.join(", "));
        r.refuse(key, (found, expected));
    }
    scopes
}

fn codes(r: &mut Reader) -> Codes {
    Codes {
        issuer: r.parsed("codes.issuer", String::new(), checks::issuer),
        max_devices_per_user: r.whole("codes.max_devices_per_user", 1..=100_000, "devices"),
        pending: minutes(r, "codes.pending_minutes", 1..=10_080),
        issued: minutes(r, "codes.issued_minutes", 1..=60),
    }
}

fn policies(r: &mut Reader) -> Policies {
    let default = policy(r, None);
    let mut named = BTreeMap::new();
    for name in r.names_in(&POLICIES) {
        let policy = policy(r, Some(&name));
        named.insert(name, policy);
    }
    Policies { default, named }
}

fn policy(r: &mut Reader, name: Option<&str>) -> Policy {
    let [digits, period, window] =
        ["digits", "period", "window"].map(|field| r.key_in(&POLICIES, name, field));
    let policy = Policy {
        digits: Digits::new(r.whole(&digits, 6..=8, "digits")).unwrap_or_default(),
        period: r.whole(&period, 15..=120, "seconds"),
        window: r.whole(&window, 0..=8, "steps"),
        budget: budget(r, name),
    };
    let life = policy.period * policy.window;
    if r.are_sound(&[&period, &window]) && life > LONGEST_WINDOW_SECONDS {
        let own = r.to_blame(&window, &period);
        r.refuse(
            own,
            (
                format!("makes window times period {life} seconds"),
                format!("{LONGEST_WINDOW_SECONDS} or less is expected"),
            ),
        );
    }
    policy
}

fn budget(r: &mut Reader, name: Option<&str>) -> Budget {
    let [lock, disable, month] = ["lock_after", "disable_after", "disable_after_30_days"]
        .map(|field| r.key_in(&POLICIES, name, field));
    let budget = Budget {
        lock_after: r.whole(&lock, 1..=100, "failures"),
        disable_after: r.whole(&disable, 1..=1_000, "failures"),
        disable_after_30_days: r.whole(&month, 1..=10_000, "failures"),
    };
    if r.are_sound(&[&lock, &disable]) && budget.disable_after < budget.lock_after {
        let own = r.to_blame(&disable, &lock);
        r.refuse(
            own,
            (
                format!(
                    "makes the factor disabled after {} failures and locked after {}",
                    budget.disable_after, budget.lock_after
                ),
                "a disable_after not below lock_after is expected".into(),
            ),
        );
    }
    budget
}

fn accounts(r: &mut Reader, environment: &Environment) -> Accounts {
    let automatic = !environment.is_production();
    Accounts {
        password_threads: r.whole("accounts.password_threads", 1..=64, "threads"),
        password_queue: r.whole("accounts.password_queue", 1..=10_000, "requests"),
        session: minutes(r, "accounts.session_minutes", 1..=1_440),
        old_login: r.parsed("accounts.old_login", false, |text| {
            checks::switch(text, automatic)
        }),
    }
}

fn tokens(r: &mut Reader) -> Tokens {
    const DAY_SECONDS: u64 = 86_400;
    let days: u64 = r.whole("tokens.rotate_days", 1..=3_650, "days");
    Tokens {
        rotation: Duration::from_secs(days * DAY_SECONDS),
    }
}

fn limits(r: &mut Reader) -> Limits {
    let slow_login = r.whole("limits.slow_login_milliseconds", 1..=10_000, "milliseconds");
    let slow_logins_per_network = r.whole("limits.slow_logins_per_network", 1..=1_000, "logins");
    let slow_logins_per_account = r.whole("limits.slow_logins_per_account", 1..=1_000, "logins");
    let slow_logins = r.whole("limits.slow_logins", 1..=100_000, "logins");
    let mut door = |key, unit| r.whole(key, 1..=1_000_000, unit);
    Limits {
        slow_login: Duration::from_millis(slow_login),
        slow_logins_per_network,
        slow_logins_per_account,
        slow_logins,
        signups_per_hour: door("limits.signups_per_hour", "signups"),
        logins_per_minute: door("limits.logins_per_minute", "logins"),
        email_requests_per_hour: door("limits.email_requests_per_hour", "requests"),
        account_logins_per_minute: door("limits.account_logins_per_minute", "logins"),
        mails_per_hour: door("limits.mails_per_hour", "mails"),
        address_failures_per_minute: r.whole(
            "limits.address_failures_per_minute",
            1..=1_000_000,
            "failures",
        ),
        key_per_second: unless_zero(r.whole("limits.key_per_second", 0..=1_000_000, "requests")),
    }
}

fn audit(r: &mut Reader) -> Audit {
    Audit {
        retention_days: unless_zero(r.whole("audit.retention_days", 0..=36_500, "days")),
        checkpoint_interval: seconds(r, "audit.checkpoint_seconds", 1..=86_400),
    }
}

fn stats(r: &mut Reader) -> Stats {
    Stats {
        retention_days: unless_zero(r.whole("stats.retention_days", 0..=36_500, "days")),
    }
}

fn log(r: &mut Reader) -> Log {
    Log {
        level: r.parsed("log.level", tracing::Level::INFO, checks::log_level),
        format: r.parsed("log.format", LogFormat::Auto, checks::log_format),
    }
}

pub(super) fn seconds(r: &mut Reader, key: &str, bounds: RangeInclusive<i64>) -> Duration {
    Duration::from_secs(r.whole(key, bounds, "seconds"))
}

fn minutes(r: &mut Reader, key: &str, bounds: RangeInclusive<i64>) -> Duration {
    Duration::from_secs(60 * r.whole::<u64>(key, bounds, "minutes"))
}

fn unless_zero(number: u32) -> Option<u32> {
    (number > 0).then_some(number)
}
