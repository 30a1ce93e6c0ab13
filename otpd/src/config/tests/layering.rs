//! Which source wins, and what `otpd doctor` says about it.

use super::super::{Inputs, names};
use super::Setup;

#[test]
fn each_layer_wins_over_those_below() {
    let toml = "[server]\nport = 1\n";
    let dot_env = "PORT=2\n";
    let defaults = Setup::new(&[]);
    assert_eq!(defaults.shown("server.port"), "8004 from the defaults");
    let file = Setup::new(&[]).toml(toml);
    assert_eq!(file.shown("server.port"), "1 from the file DIR/otpd.toml");
    let dot = Setup::new(&[]).toml(toml).file(".env", dot_env);
    assert_eq!(dot.shown("server.port"), "2 from PORT in .env");
    let env = Setup::new(&[("PORT", "3")])
        .toml(toml)
        .file(".env", dot_env);
    assert_eq!(env.shown("server.port"), "3 from PORT in the environment");
    assert_eq!(env.loaded().settings.server.port, 3);
}

#[test]
fn within_a_layer_the_full_name_wins_and_across_layers_the_layer() {
    for variables in [
        [("PORT", "1"), ("OTPD_SERVER__PORT", "2")],
        [("OTPD_SERVER__PORT", "2"), ("PORT", "1")],
    ] {
        let both = Setup::new(&variables);
        let expected = "2 from OTPD_SERVER__PORT in the environment";
        assert_eq!(both.shown("server.port"), expected);
    }
    let dot = Setup::new(&[]).file(".env", "OTPD_SERVER__PORT=2\nPORT=1\n");
    assert_eq!(dot.shown("server.port"), "2 from OTPD_SERVER__PORT in .env");
    let layers = Setup::new(&[("PORT", "1")]).file(".env", "OTPD_SERVER__PORT=2\n");
    let expected = "1 from PORT in the environment";
    assert_eq!(layers.shown("server.port"), expected);
}

#[test]
fn every_short_and_full_name_is_read_from_dot_env_and_the_environment() {
    fn check(name: &str, key: &str, value: &str) {
        let quoted = format!("{name}='{value}'\n");
        let dot = Setup::new(&[]).file(".env", &quoted);
        assert!(dot.shown(key).ends_with(&format!("from {name} in .env")));
        let env = Setup::new(&[(name, value)]);
        assert!(
            env.shown(key)
                .ends_with(&format!("from {name} in the environment"))
        );
    }
    let values = [
        ("HOST", "0.0.0.0"),
        ("PORT", "80"),
        ("DATABASE_URL", "sqlite:x.db"),
        ("REDIS_URL", "redis://localhost"),
        ("MASTER_SECRET", "0123456789abcdef0123456789abcdef"),
        ("MASTER_SECRET_PREVIOUS", "0123456789abcdef0123456789abcdeg"),
        ("API_KEY", "k"),
        ("SECRET_KEY", "0123456789abcdef0123456789abcdeh"),
        ("ALGORITHM", "HS256"),
        ("ENVIRONMENT", "test"),
        ("DEBUG", "true"),
        ("OTP_WINDOW", "2"),
        ("OTP_EXPIRATION_MINUTES", "6"),
        ("TRUSTED_PROXIES", "10.0.0.0/8"),
    ];
    for (name, key) in names::SHORT {
        let (_, value) = values.iter().find(|(short, _)| *short == name).unwrap();
        check(name, key, value);
        check(&names::variable_for(key), key, value);
    }
}

#[test]
fn the_configuration_file_may_be_named_in_dot_env_and_the_environment_wins() {
    let dot = Setup::new(&[])
        .file(".env", "OTPD_CONFIG=a.toml\n")
        .file("a.toml", "debug = true\n");
    assert_eq!(dot.shown("debug"), "true from the file DIR/a.toml");
    let env = Setup::new(&[])
        .file(".env", "OTPD_CONFIG=missing.toml\n")
        .toml("data_dir = \"d\"\n");
    assert_eq!(env.shown("data_dir"), "d from the file DIR/otpd.toml");
    let empty = Setup::new(&[("OTPD_CONFIG", "")]);
    assert_eq!(empty.shown("debug"), "false from the defaults");
}

#[test]
fn what_is_none_of_ours_is_ignored() {
    let setup = Setup::new(&[
        ("PATH", "/bin"),
        ("PORT_FILE", "x"),
        ("OTPD_SERVICE_HOST", "10.0.0.1"),
        ("OTPD_PORT", "tcp://10.0.0.1:8004"),
    ])
    .file(".env", "POSTGRES_PASSWORD=x\n");
    setup.loaded();
}

#[test]
fn an_empty_text_is_not_given_and_an_empty_list_is_empty() {
    let setup = Setup::new(&[("API_KEY", ""), ("OTPD_JWT__SCOPES", "")]);
    let settings = setup.loaded().settings;
    assert!(settings.callers.api_key.is_none());
    assert!(settings.jwt.scopes.is_empty());
    let expected = "(not set) from API_KEY in the environment";
    assert_eq!(setup.shown("callers.api_key"), expected);
    let expected = "(none) from OTPD_JWT__SCOPES in the environment";
    assert_eq!(setup.shown("jwt.scopes"), expected);
}

#[test]
fn secrets_come_from_files_by_every_name() {
    const SECRET: &str = "0123456789abcdef-0123456789abcdef";
    fn check(setup: Setup) {
        let setup = setup.file("s", &format!("{SECRET}\n"));
        let secret = setup.loaded().settings.keys.master_secret.unwrap();
        assert_eq!(secret.expose(), SECRET);
        let expected = "******** from the secret file DIR/s";
        assert_eq!(setup.shown("keys.master_secret"), expected);
    }
    check(Setup::new(&[("MASTER_SECRET_FILE", "s")]));
    check(Setup::new(&[("OTPD_KEYS__MASTER_SECRET_FILE", "s")]));
    check(Setup::new(&[]).file(".env", "MASTER_SECRET_FILE=s\n"));
    check(Setup::new(&[]).toml("[keys]\nmaster_secret_file = \"s\"\n"));
    let lower = format!("[keys]\nmaster_secret = \"{SECRET}\"\n");
    check(Setup::new(&[("MASTER_SECRET_FILE", "s")]).toml(&lower));
}

#[test]
fn a_database_url_comes_from_a_file_without_showing_its_password() {
    let setup = Setup::new(&[("DATABASE_URL_FILE", "u")]).file("u", "postgres://u:hunter2@h/d\n");
    let expected = "postgres://u:********@h/d from the secret file DIR/u";
    assert_eq!(setup.shown("database.url"), expected);
}

#[test]
fn nothing_effective_shows_a_secret() {
    let setup = Setup::new(&[
        ("MASTER_SECRET", "hunter2-hunter2-hunter2-hunter2-hunter2"),
        ("MASTER_SECRET_PREVIOUS", "hunter2-hunter2-hunter2-hunter2-"),
        ("API_KEY", "hunter2"),
        ("SECRET_KEY", "hunter2-hunter2-hunter2-hunter2-hunter2"),
        ("DATABASE_URL", "postgresql+asyncpg://u:hunter2@h/d"),
        ("REDIS_URL", "redis://:hunter2@h"),
        ("OTPD_EMAIL__SMTP_URL", "smtps://otpd:hunter2@h"),
        ("OTPD_EMAIL__FROM", "otpd@example.com"),
    ]);
    let effective = setup.loaded().effective;
    let all: String = effective
        .masked()
        .map(|(key, value, source)| format!("{key} = {value} ({source})\n"))
        .collect();
    assert!(!all.contains("hunter2"), "{all}");
    assert!(!format!("{effective:?}").contains("hunter2"));
    let start = "accounts.old_login = auto (the defaults)\n";
    assert!(all.starts_with(start), "{all}");
    let masked = "keys.master_secret = ******** (MASTER_SECRET in the environment)\n";
    assert!(all.contains(masked), "{all}");
}

#[test]
fn the_process_is_read_as_it_is() {
    let inputs = Inputs::from_process().unwrap();
    assert!(inputs.working_folder.is_absolute());
    assert!(inputs.env.iter().any(|(name, _)| name == "PATH"));
}
