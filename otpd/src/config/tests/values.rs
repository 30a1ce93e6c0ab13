//! What the typed settings hold.

use std::time::Duration;

use domain::{Budget, DomainRules, EmailAddress, EmailLevel, EmailLevels, Policies, Policy};
use otp::Digits;

use super::super::settings::{Accounts, Audit, Codes, Limits, Log, LogFormat, Server, Settings};
use super::super::{DEFAULTS, DatabaseUrl, Network};
use super::Setup;

fn settings(env: &[(&str, &str)]) -> Settings {
    Setup::new(env).loaded().settings
}

#[test]
fn the_defaults_are_as_documented() {
    let setup = Setup::new(&[]);
    let s = setup.loaded().settings;
    assert_eq!(s.environment.as_str(), "development");
    assert!(!s.environment.is_production());
    assert!(!s.debug);
    assert_eq!(s.data_dir, setup.path().join("otpd-data"));
    let server = Server {
        host: "127.0.0.1".into(),
        port: 8004,
        public_url: None,
        tls: None,
        trusted_proxies: Vec::new(),
        threads: None,
        max_connections: 4096,
        max_connections_per_address: 256,
        header_timeout: Duration::from_secs(10),
        body_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(75),
        leave_timeout: Duration::ZERO,
        drain_timeout: Duration::from_secs(20),
    };
    assert_eq!(s.server, server);
    let DatabaseUrl::Sqlite(file) = s.database.url else {
        panic!("the default is SQLite");
    };
    assert_eq!(file, setup.path().join("otpd-data/otpd.db"));
    assert_eq!((s.database.lanes, s.database.pool), (2, 8));
    assert_eq!(s.database.wait, Duration::from_secs(1));
    assert!(s.redis.url.is_none() && s.callers.api_key.is_none());
    let redis = (s.redis.ca, s.redis.connect, s.redis.answer);
    let (connect, answer) = (Duration::from_millis(250), Duration::from_millis(75));
    assert_eq!(redis, (None, connect, answer));
    assert!(s.keys.master_secret.is_none() && s.keys.master_secret_previous.is_none());
    assert!(s.jwt.secret_key.is_none() && s.jwt.default_scopes.is_empty());
    assert_eq!(s.jwt.audience, "otpd");
    let scopes = s.jwt.scopes.to_string();
    assert_eq!(scopes, "otp:verify codes:issue users:read");
    let codes = Codes {
        issuer: "otpd".into(),
        max_devices_per_user: 1000,
        pending: Duration::from_secs(3600),
        issued: Duration::from_secs(300),
    };
    assert_eq!(s.codes, codes);
    // The defaults of the file are those of the rules.
    assert_eq!(s.policies.default, Policy::default());
    assert_eq!(s.policies.named, Policies::default().named);
    let audit = Audit {
        retention_days: None,
        checkpoint_interval: Duration::from_secs(60),
    };
    assert_eq!(s.audit, audit);
    assert_eq!(s.stats.retention_days, Some(400));
    let log = Log {
        level: tracing::Level::INFO,
        format: LogFormat::Auto,
    };
    assert_eq!(s.log, log);
}

#[test]
fn the_defaults_of_the_public_doors_are_as_documented() {
    let s = settings(&[]);
    assert!(s.email.smtp_url.is_none() && s.email.smtp_ca.is_none() && s.email.from.is_none());
    assert_eq!(s.email.domains, DomainRules::default());
    assert_eq!(s.email.resend, Duration::from_secs(30));
    assert_eq!(s.email.smtp_timeout, Duration::from_secs(20));
    assert_eq!(s.email_levels, EmailLevels::default());
    let accounts = Accounts {
        password_threads: 2,
        password_queue: 64,
        session: Duration::from_secs(900),
        old_login: true,
    };
    assert_eq!(s.accounts, accounts);
    assert_eq!(s.tokens.rotation, Duration::from_secs(30 * 86_400));
    let limits = Limits {
        signups_per_hour: 60,
        logins_per_minute: 120,
        email_requests_per_hour: 60,
        account_logins_per_minute: 20,
        slow_login: Duration::from_millis(1500),
        slow_logins_per_network: 2,
        slow_logins_per_account: 16,
        slow_logins: 512,
        mails_per_hour: 5,
        address_failures_per_minute: 60,
        key_per_second: None,
    };
    assert_eq!(s.limits, limits);
}

#[test]
fn the_default_file_can_be_given_as_it_is() {
    let setup = Setup::new(&[]).toml(DEFAULTS);
    let expected = "8004 from the file DIR/otpd.toml";
    assert_eq!(setup.shown("server.port"), expected);
}

#[test]
fn policies_take_from_codes_what_they_leave_out() {
    let toml = "[codes]\ndigits = 7\nlock_after = 4\n[policies.plain]\n\
                [policies.high]\ndigits = 8\nwindow = 0\ndisable_after_30_days = 60\n";
    let setup = Setup::new(&[("OTPD_POLICIES__LOW__LOCK_AFTER", "9")]).toml(toml);
    let policies = setup.loaded().settings.policies;
    let codes = Policy {
        digits: Digits::new(7).unwrap(),
        budget: Budget {
            lock_after: 4,
            ..Budget::default()
        },
        ..Policy::default()
    };
    assert_eq!(policies.default, codes);
    let names: Vec<_> = policies.named.keys().collect();
    assert_eq!(names, ["high", "low", "plain"]);
    assert_eq!(policies.named["plain"], codes);
    assert_eq!(policies.named["low"].budget.lock_after, 9);
    let high = Policy {
        digits: Digits::new(8).unwrap(),
        window: 0,
        budget: Budget {
            disable_after_30_days: 60,
            ..codes.budget
        },
        ..codes
    };
    assert_eq!(policies.named["high"], high);
}

#[test]
fn mail_settings_arrive() {
    let s = settings(&[
        (
            "OTPD_EMAIL__SMTP_URL",
            "smtps://otpd:a%40b@mail.example.com",
        ),
        ("OTPD_EMAIL__SMTP_CA", "ca.pem"),
        ("OTPD_EMAIL__FROM", "No-Reply@Example.com"),
        ("OTPD_EMAIL__ALLOWED_DOMAINS", "Example.com, bücher.example"),
        ("OTPD_EMAIL__DENIED_DOMAINS", "bücher.example"),
        ("OTPD_EMAIL__RESEND_SECONDS", "60"),
        ("OTPD_EMAIL__SMTP_TIMEOUT_SECONDS", "5"),
    ])
    .email;
    let url = s.smtp_url.unwrap();
    assert_eq!((url.host.as_str(), url.port), ("mail.example.com", 465));
    assert!(s.smtp_ca.unwrap().ends_with("ca.pem"));
    assert_eq!(s.from.unwrap().canonical(), "no-reply@example.com");
    assert_eq!(s.resend, Duration::from_secs(60));
    assert_eq!(s.smtp_timeout, Duration::from_secs(5));
    let check = |address: &str, permitted: bool| {
        let address = EmailAddress::parse(address).unwrap();
        assert_eq!(s.domains.permits(&address), permitted, "{address}");
    };
    check("a@example.com", true);
    check("a@xn--bcher-kva.example", false);
    check("a@other.example", false);
}

#[test]
fn levels_of_emailed_codes_take_from_email_what_they_leave_out() {
    let toml = "[email]\ncode_seconds = 120\n[email_levels.plain]\n\
                [email_levels.high]\ncode_digits = 8\n";
    let setup = Setup::new(&[("OTPD_EMAIL_LEVELS__LOW__CODE_SECONDS", "900")]).toml(toml);
    let levels = setup.loaded().settings.email_levels;
    let check = |name: Option<&str>, digits: u8, lifetime: u32| {
        let level = EmailLevel {
            digits: Digits::new(digits).unwrap(),
            lifetime,
        };
        assert_eq!(levels.of(name), Some(level), "{name:?}");
    };
    check(None, 6, 120);
    check(Some("plain"), 6, 120);
    check(Some("high"), 8, 120);
    check(Some("low"), 6, 900);
    assert_eq!(levels.named.len(), 3);
}

#[test]
fn the_old_login_is_off_in_production_unless_switched_on() {
    fn check(environment: &str, word: &str, on: bool) {
        let env = [
            ("ENVIRONMENT", environment),
            ("OTPD_ACCOUNTS__OLD_LOGIN", word),
        ];
        assert_eq!(
            settings(&env).accounts.old_login,
            on,
            "{environment} {word}"
        );
    }
    check("development", "auto", true);
    check("development", "off", false);
    check("production", "auto", false);
    check("production", "on", true);
}

#[test]
fn production_is_recognised_however_it_is_written() {
    fn check(word: &str, production: bool) {
        let environment = settings(&[("ENVIRONMENT", word)]).environment;
        assert_eq!(environment.is_production(), production, "{word}");
    }
    check("production", true);
    check("PRODUCTION", true);
    check(" Production ", true);
    for word in ["development", "staging", "test", "preproduction", "ci-2"] {
        check(word, false);
    }
}

#[test]
fn hosts_and_their_authority() {
    fn check(host: &str, authority: &str) {
        let server = settings(&[("HOST", host), ("PORT", "0")]).server;
        assert_eq!(server.authority(), authority);
    }
    check("0.0.0.0", "0.0.0.0:0");
    check("localhost", "localhost:0");
    check("::1", "[::1]:0");
    check("[::1]", "[::1]:0");
    check("otp-1.example.com", "otp-1.example.com:0");
}

#[test]
fn public_urls_lose_the_slash_at_the_end() {
    fn check(text: &str, expected: Option<&str>) {
        let server = settings(&[("OTPD_SERVER__PUBLIC_URL", text)]).server;
        assert_eq!(server.public_url.as_deref(), expected);
    }
    check("", None);
    check("https://otp.example.com", Some("https://otp.example.com"));
    check("https://example.com/otp/", Some("https://example.com/otp"));
    check("http://localhost:8004/", Some("http://localhost:8004"));
}

#[test]
fn paths_start_at_the_working_folder() {
    let setup = Setup::new(&[
        ("OTPD_DATA_DIR", "d"),
        ("DATABASE_URL", "sqlite+aiosqlite:///./x.db"),
        ("OTPD_SERVER__TLS_CERTIFICATE", "c.pem"),
        ("OTPD_SERVER__TLS_KEY", "/abs/k.pem"),
    ]);
    let s = setup.loaded().settings;
    assert_eq!(s.data_dir, setup.path().join("d"));
    let tls = s.server.tls.unwrap();
    assert_eq!(tls.certificate, setup.path().join("c.pem"));
    assert_eq!(tls.key.to_str(), Some("/abs/k.pem"));
    let DatabaseUrl::Sqlite(file) = s.database.url else {
        panic!("not SQLite");
    };
    assert_eq!(file, setup.path().join("./x.db"));
}

#[test]
fn the_other_values_arrive() {
    let s = settings(&[
        ("DATABASE_URL", "postgres://u:p@h/d"),
        ("REDIS_URL", "rediss://h"),
        ("OTPD_REDIS__CA", "/ca.pem"),
        ("OTPD_REDIS__CONNECT_MS", "1000"),
        ("OTPD_REDIS__ANSWER_MS", "5"),
        ("TRUSTED_PROXIES", "10.0.0.0/8, ::1"),
        ("API_KEY", "short"),
        ("OTP_WINDOW", "4"),
        ("OTP_EXPIRATION_MINUTES", "10"),
        ("OTPD_LIMITS__KEY_PER_SECOND", "50"),
        ("OTPD_LIMITS__MAILS_PER_HOUR", "7"),
        ("OTPD_ACCOUNTS__SESSION_MINUTES", "5"),
        ("OTPD_TOKENS__ROTATE_DAYS", "1"),
        ("OTPD_AUDIT__RETENTION_DAYS", "365"),
        ("OTPD_STATS__RETENTION_DAYS", "0"),
        ("OTPD_JWT__DEFAULT_SCOPES", "otp:verify"),
        ("OTPD_LOG__LEVEL", "debug"),
        ("OTPD_LOG__FORMAT", "json"),
        ("DEBUG", "1"),
    ]);
    let DatabaseUrl::Postgres(url) = s.database.url else {
        panic!("not PostgreSQL");
    };
    assert_eq!(url.expose(), "postgresql://u:p@h/d");
    assert_eq!(s.redis.url.unwrap().expose(), "rediss://h");
    assert_eq!(s.redis.ca.as_deref(), Some(std::path::Path::new("/ca.pem")));
    let waits = (s.redis.connect.as_millis(), s.redis.answer.as_millis());
    assert_eq!(waits, (1000, 5));
    let networks = ["10.0.0.0/8", "::1"].map(|text| Network::parse(text).unwrap());
    assert_eq!(s.server.trusted_proxies, networks);
    assert_eq!(s.callers.api_key.unwrap().expose(), "short");
    assert_eq!(s.policies.default.window, 4);
    assert_eq!(s.codes.issued, Duration::from_secs(600));
    assert_eq!(s.limits.key_per_second, Some(50));
    assert_eq!(s.limits.mails_per_hour, 7);
    assert_eq!(s.accounts.session, Duration::from_secs(300));
    assert_eq!(s.tokens.rotation, Duration::from_secs(86_400));
    assert_eq!(s.audit.retention_days, Some(365));
    assert_eq!(s.stats.retention_days, None);
    assert_eq!(s.jwt.default_scopes.to_string(), "otp:verify");
    assert_eq!(s.log.level, tracing::Level::DEBUG);
    assert_eq!(s.log.format, LogFormat::Json);
    assert!(s.debug);
}

#[test]
fn the_threads_are_a_number_or_left_to_the_machine() {
    fn check(text: &str, expected: Option<usize>) {
        let found = settings(&[("OTPD_SERVER__THREADS", text)]).server.threads;
        assert_eq!(found, expected, "{text}");
    }
    check("auto", None);
    check("3", Some(3));
    check(" 1024 ", Some(1024));
    let setup = Setup::new(&[]).toml("[server]\nthreads = 7\n");
    assert_eq!(setup.loaded().settings.server.threads, Some(7));
}

#[test]
fn a_server_that_others_can_stand_in_for_takes_its_time_to_leave() {
    fn check(variables: &[(&str, &str)], seconds: u64) {
        let mut variables = variables.to_vec();
        variables.push(("MASTER_SECRET", "0123456789-0123456789-0123456789"));
        let found = settings(&variables).server.leave_timeout;
        assert_eq!(found, Duration::from_secs(seconds), "{variables:?}");
    }
    let production = ("ENVIRONMENT", "production");
    let shared = ("DATABASE_URL", "postgres://u:p@h/d");
    check(&[], 0);
    check(&[production], 0);
    check(&[shared], 0);
    check(&[production, shared], 5);
    let leave = |seconds| ("OTPD_SERVER__LEAVE_SECONDS", seconds);
    check(&[production, shared, leave("0")], 0);
    check(&[production, shared, leave("auto")], 5);
    check(&[leave(" 30 ")], 30);
    let setup = Setup::new(&[]).toml("[server]\nleave_seconds = 7\n");
    let found = setup.loaded().settings.server.leave_timeout;
    assert_eq!(found, Duration::from_secs(7));
}
