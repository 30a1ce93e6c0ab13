//! What is refused, sentence by sentence.

use super::{Setup, check_value};

#[track_caller]
fn check_env(env: &[(&str, &str)], sentences: &[&str]) {
    assert_eq!(Setup::new(env).refused(), sentences);
}

#[track_caller]
fn check_toml(toml: &str, sentences: &[&str]) {
    assert_eq!(Setup::new(&[]).toml(toml).refused(), sentences);
}

#[test]
fn all_faults_of_all_layers_are_told_at_once() {
    let setup = Setup::new(&[("PORT", "abc"), ("OTPD_CODES__DIGITS", "9")])
        .toml("[sever]\nport = 1\n[log]\nlevel = 5\n")
        .file(".env", "OTPD_LOGLEVEL=info\nALGORITHM=RS256\n");
    let expected = [
        "`log.level` from the file DIR/otpd.toml is a whole number; text is expected.",
        "`sever.port` from the file DIR/otpd.toml is not a known setting; the nearest known one is `server.port`.",
        "`loglevel` from OTPD_LOGLEVEL in .env is not a known setting; the nearest known one is `OTPD_LOG__LEVEL`.",
        "`server.port` from PORT in the environment is \"abc\"; a whole number is expected.",
        "`jwt.algorithm` from ALGORITHM in .env is \"RS256\"; HS256 is expected.",
        "`codes.digits` from OTPD_CODES__DIGITS in the environment is 9; 6 to 8 digits are expected.",
    ];
    let mut refused = setup.refused();
    let mut expected = expected.map(str::to_owned).to_vec();
    refused.sort();
    expected.sort();
    assert_eq!(refused, expected);
}

#[test]
fn unknown_keys_are_named_with_the_nearest_known_one() {
    fn line(key: &str, nearest: &str) -> String {
        format!(
            "`{key}` from the file DIR/otpd.toml is not a known setting; the nearest known one is `{nearest}`."
        )
    }
    fn check(toml: &str, key: &str, nearest: &str) {
        check_toml(toml, &[&line(key, nearest)]);
    }
    check("port = 1", "port", "server.port");
    check(
        "[keys]\nmaster_secrets = \"hunter2\"",
        "keys.master_secrets",
        "keys.master_secret",
    );
    check_toml(
        "[sever]",
        &[
            "`sever` from the file DIR/otpd.toml is not a known section; the nearest known one is `server`.",
        ],
    );
    check(
        "[server.limits]\nbody_seconds = 1",
        "server.limits.body_seconds",
        "server.body_seconds",
    );
    check(
        "[policies.high]\ndigit = 8",
        "policies.high.digit",
        "policies.high.digits",
    );
    check(
        "[server]\nhost_file = \"x\"",
        "server.host_file",
        "server.host",
    );
    check_env(
        &[("OTPD_KEYS__MASTER_SECRT", "hunter2")],
        &[
            "`keys.master_secrt` from OTPD_KEYS__MASTER_SECRT in the environment is not a known setting; the nearest known one is `OTPD_KEYS__MASTER_SECRET`.",
        ],
    );
    check_env(
        &[("OTPD_PORT", "8004")],
        &[
            "`port` from OTPD_PORT in the environment is not a known setting; the nearest known one is `OTPD_SERVER__PORT`.",
        ],
    );
}

#[test]
fn sections_and_settings_are_not_confused() {
    check_toml(
        "server = 1",
        &[
            "`server` from the file DIR/otpd.toml is not a setting but a section; settings within the section [server] are expected.",
        ],
    );
    check_toml(
        "[server.port]\nx = 1",
        &["`server.port` from the file DIR/otpd.toml is a table; a whole number is expected."],
    );
    check_toml(
        "policies.high = 1",
        &[
            "`policies.high` from the file DIR/otpd.toml is not a setting but a section; settings within the section [policies.high] are expected.",
        ],
    );
    check_toml(
        "[policies.High]\ndigits = 8",
        &[
            "`policies.High` from the file DIR/otpd.toml is not a name for a policy; 1 to 32 of a-z, 0-9, - and _ are expected.",
        ],
    );
}

#[test]
fn values_that_mean_nothing() {
    const HOST: &str = "an IP address or a host name, without a port, is expected";
    for host in ["", "127.0.0.1:8004", "http://x", "a b"] {
        check_value("HOST", host, &format!("is {host:?}; {HOST}"));
    }
    const PUBLIC: &str = "http://HOST or https://HOST, perhaps with a path, is expected";
    for url in [
        "x",
        "ftp://x",
        "https://",
        "https:///x",
        "https://u@x",
        "https://x?y",
    ] {
        check_value(
            "OTPD_SERVER__PUBLIC_URL",
            url,
            &format!("is {url:?}; {PUBLIC}"),
        );
    }
    const WORDS: &str =
        "production, development, staging, test or a word not like these is expected";
    for word in ["", "prod", "prodution", "productoin", "a b"] {
        check_value("ENVIRONMENT", word, &format!("is {word:?}; {WORDS}"));
    }
    check_value(
        "OTPD_DATA_DIR",
        "",
        "is empty; the path of a folder is expected",
    );
    check_value("OTPD_JWT__AUDIENCE", "", "is empty; a text is expected");
    check_value("DEBUG", "maybe", "is \"maybe\"; true or false is expected");
    check_value("ALGORITHM", "none", "is \"none\"; HS256 is expected");
    check_value(
        "OTPD_CODES__ISSUER",
        "a:b",
        "is \"a:b\"; a name without a colon is expected",
    );
    let levels = "is \"INFO\"; error, warn, info, debug or trace is expected";
    check_value("OTPD_LOG__LEVEL", "INFO", levels);
    let formats = "is \"xml\"; json, text or auto is expected";
    check_value("OTPD_LOG__FORMAT", "xml", formats);
    let proxies = "holds \"*\"; addresses (192.0.2.1) and networks (10.0.0.0/8) are expected";
    check_value("TRUSTED_PROXIES", "::1, *", proxies);
    let redis = "is not the address of a Redis server; redis://HOST, rediss://HOST or redis+cluster://HOST,HOST is expected";
    for url in [
        "hunter2",
        "redis://",
        "a+cluster://x",
        "redis://x/#insecure",
    ] {
        check_value("REDIS_URL", url, redis);
    }
    let mysql = "is an address of the kind `mysql:`; sqlite:FILE, sqlite:///FILE or postgresql://… is expected";
    check_value("DATABASE_URL", "mysql://u:hunter2@h/d", mysql);
}

#[test]
fn values_that_do_not_fit_together() {
    let window = "makes window times period 150 seconds; 120 or less is expected";
    check_value("OTP_WINDOW", "5", window);
    let window = "makes window times period 180 seconds; 120 or less is expected";
    let toml = "[codes]\nwindow = 2\n[policies.slow]\nperiod = 90\n";
    let sentence = format!("`policies.slow.period` from the file DIR/otpd.toml {window}.");
    check_toml(toml, &[&sentence]);
    let window = "makes window times period 240 seconds; 120 or less is expected";
    let setup = Setup::new(&[("OTPD_CODES__PERIOD", "120")]).toml("[codes]\nwindow = 2\n");
    let sentence = format!("`codes.period` from OTPD_CODES__PERIOD in the environment {window}.");
    assert_eq!(setup.refused(), [sentence]);
    let budget = "makes the factor disabled after 3 failures and locked after 5; a disable_after not below lock_after is expected";
    check_value("OTPD_CODES__DISABLE_AFTER", "3", budget);
    let budget = "makes the factor disabled after 50 failures and locked after 60; a disable_after not below lock_after is expected";
    check_value("OTPD_POLICIES__LAX__LOCK_AFTER", "60", budget);
    check_value(
        "OTPD_SERVER__TLS_KEY",
        "k.pem",
        "is given alone; `server.tls_certificate` is expected beside it",
    );
    check_value(
        "OTPD_SERVER__TLS_CERTIFICATE",
        "c.pem",
        "is given alone; `server.tls_key` is expected beside it",
    );
    check_value(
        "OTPD_JWT__DEFAULT_SCOPES",
        "audit:read",
        "is \"audit:read\"; only scopes that `jwt.scopes` has as well are expected",
    );
}

#[test]
fn mail_settings_that_mean_nothing() {
    const URL: &str = "OTPD_EMAIL__SMTP_URL";
    check_value(
        URL,
        "smtp://mail.example.com",
        "is given alone; `email.from` is expected beside it",
    );
    let kinds = "smtp://HOST or smtps://HOST is expected";
    check_value(URL, "hunter2", &format!("has no scheme; {kinds}"));
    let kind = format!("is an address of the kind `http:`; {kinds}");
    check_value(URL, "http://otpd:hunter2@mail.example.com", &kind);
    let address = "an email address such as no-reply@example.com is expected";
    for from in ["otpd", "otpd <otpd@example.com>", "a@b\nBcc: c@d.example"] {
        check_value("OTPD_EMAIL__FROM", from, &format!("is {from:?}; {address}"));
    }
    let domains = "names of domains (example.com) are expected";
    for name in ["OTPD_EMAIL__ALLOWED_DOMAINS", "OTPD_EMAIL__DENIED_DOMAINS"] {
        let rest = format!("holds \"*.example.com\"; {domains}");
        check_value(name, "example.com, *.example.com", &rest);
    }
    let words = "is \"maybe\"; auto, on or off is expected";
    check_value("OTPD_ACCOUNTS__OLD_LOGIN", "maybe", words);
    check_toml(
        "[email_levels.High]\ncode_digits = 8",
        &[
            "`email_levels.High` from the file DIR/otpd.toml is not a name for a level of emailed codes; 1 to 32 of a-z, 0-9, - and _ are expected.",
        ],
    );
}

#[test]
fn a_jwt_never_gets_the_scopes_of_an_administrator() {
    for scope in [
        "admin",
        "keys:write",
        "users:write",
        "devices:write",
        "otp:verfy",
    ] {
        check_value(
            "OTPD_JWT__SCOPES",
            scope,
            &format!(
                "holds \"{scope}\"; some of devices:read, otp:verify, codes:issue, users:read, \
                 audit:read, stats:read, metrics:read are expected"
            ),
        );
    }
}

#[test]
fn short_secrets_are_refused_without_showing_them() {
    let short = "é".repeat(31);
    check_value(
        "MASTER_SECRET",
        &short,
        "has 31 characters; 32 or more are expected",
    );
    check_value(
        "MASTER_SECRET_PREVIOUS",
        "hunter2",
        "has 7 characters; 32 or more are expected",
    );
    check_value(
        "SECRET_KEY",
        "hunter2",
        "has 7 bytes; 32 or more are expected",
    );
    check_env(
        &[("ENVIRONMENT", "production"), ("API_KEY", "hunter2")],
        &[
            "`callers.api_key` from API_KEY in the environment has 7 characters; 32 or more are expected.",
        ],
    );
    check_toml(
        "[keys]\nmaster_secret = 12345\n",
        &["`keys.master_secret` from the file DIR/otpd.toml is a whole number; text is expected."],
    );
    let setup = Setup::new(&[("MASTER_SECRET_FILE", "s")]).file("s", "hunter2\n");
    assert_eq!(
        setup.refused(),
        [
            "`keys.master_secret` from the secret file DIR/s has 7 characters; 32 or more are expected."
        ]
    );
}

#[test]
fn a_secret_beside_its_file_is_refused() {
    const LONG: &str = "0123456789abcdef0123456789abcdef";
    fn check(setup: Setup, rest: &str) {
        let refused = setup.file("s", LONG).refused();
        assert_eq!(
            refused,
            [format!(
                "`keys.master_secret` {rest}; only one of them is expected."
            )]
        );
    }
    check(
        Setup::new(&[("MASTER_SECRET", LONG), ("MASTER_SECRET_FILE", "s")]),
        "from MASTER_SECRET_FILE in the environment is given by MASTER_SECRET in the environment as well",
    );
    check(
        Setup::new(&[
            ("MASTER_SECRET", LONG),
            ("OTPD_KEYS__MASTER_SECRET_FILE", "s"),
        ]),
        "from OTPD_KEYS__MASTER_SECRET_FILE in the environment is given by MASTER_SECRET in the environment as well",
    );
    check(
        Setup::new(&[]).toml(&format!(
            "[keys]\nmaster_secret = \"{LONG}\"\nmaster_secret_file = \"s\"\n"
        )),
        "from the file DIR/otpd.toml is given as a text and as a file",
    );
}

#[test]
fn a_name_given_twice_is_refused() {
    let setup = Setup::new(&[]).file(".env", "PORT=1\nPORT=2\n");
    let expected = "`server.port` from PORT in .env is given twice; only one of them is expected.";
    assert_eq!(setup.refused(), [expected]);
}

#[test]
fn files_that_cannot_be_read_are_named() {
    const GONE: &str = "which cannot be read (No such file or directory (os error 2))";
    check_env(
        &[("OTPD_CONFIG", "gone.toml")],
        &[&format!(
            "`OTPD_CONFIG` from OTPD_CONFIG in the environment names DIR/gone.toml, {GONE}; a TOML file is expected."
        )],
    );
    check_env(
        &[("MASTER_SECRET_FILE", "gone")],
        &[&format!(
            "`keys.master_secret_file` from MASTER_SECRET_FILE in the environment names DIR/gone, {GONE}; a file that holds the secret is expected."
        )],
    );
    check_env(
        &[("MASTER_SECRET_FILE", "")],
        &[
            "`keys.master_secret_file` from MASTER_SECRET_FILE in the environment names no file; the path of a file that holds the secret is expected.",
        ],
    );
    check_toml(
        "[keys]\nmaster_secret = hunter2\n",
        &[
            "`OTPD_CONFIG` from OTPD_CONFIG in the environment names DIR/otpd.toml, which is not TOML in line 2; a file in the form of otpd.default.toml is expected.",
        ],
    );
    let setup = Setup::new(&[]).file(".env", "A=1\nMASTER_SECRET=hunter2 x\n");
    assert_eq!(
        setup.refused(),
        [
            "`.env` from the file DIR/.env has a fault in line 2; NAME=VALUE is expected, the value in quotes when it holds spaces."
        ]
    );
}
