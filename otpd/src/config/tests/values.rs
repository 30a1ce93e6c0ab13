//! What the typed settings hold.

use std::time::Duration;

use domain::{Budget, Policies, Policy};
use otp::Digits;

use super::super::settings::{Audit, Codes, Limits, Log, LogFormat, Server, Settings};
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
        max_connections: 4096,
        max_connections_per_address: 256,
        header_timeout: Duration::from_secs(10),
        body_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(75),
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
    let limits = Limits {
        address_failures_per_minute: 60,
        key_per_second: None,
    };
    assert_eq!(s.limits, limits);
    let audit = Audit {
        retention_days: None,
        checkpoint_interval: Duration::from_secs(60),
    };
    assert_eq!(s.audit, audit);
    let log = Log {
        level: tracing::Level::INFO,
        format: LogFormat::Auto,
    };
    assert_eq!(s.log, log);
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
        ("TRUSTED_PROXIES", "10.0.0.0/8, ::1"),
        ("API_KEY", "short"),
        ("OTP_WINDOW", "4"),
        ("OTP_EXPIRATION_MINUTES", "10"),
        ("OTPD_LIMITS__KEY_PER_SECOND", "50"),
        ("OTPD_AUDIT__RETENTION_DAYS", "365"),
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
    let networks = ["10.0.0.0/8", "::1"].map(|text| Network::parse(text).unwrap());
    assert_eq!(s.server.trusted_proxies, networks);
    assert_eq!(s.callers.api_key.unwrap().expose(), "short");
    assert_eq!(s.policies.default.window, 4);
    assert_eq!(s.codes.issued, Duration::from_secs(600));
    assert_eq!(s.limits.key_per_second, Some(50));
    assert_eq!(s.audit.retention_days, Some(365));
    assert_eq!(s.jwt.default_scopes.to_string(), "otp:verify");
    assert_eq!(s.log.level, tracing::Level::DEBUG);
    assert_eq!(s.log.format, LogFormat::Json);
    assert!(s.debug);
}
