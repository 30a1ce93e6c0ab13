//! The names that settings have in `.env` and in the environment.

use super::known::Known;

/// The variable that names the configuration file; no setting itself.
pub(super) const CONFIG_FILE: &str = "OTPD_CONFIG";

/// Variables of those who call a server: the first start and the README tell people to
/// export the key, and `otpd bench` reads the other. Both stand in shells where the
/// program's other commands are run, and are no settings of theirs.
const CLIENTS: [&str; 2] = ["OTPD_KEY", "OTPD_BENCH_KEY"];

const PREFIX: &str = "OTPD_";

/// The familiar short names and the settings they stand for.
pub(super) const SHORT: [(&str, &str); 14] = [
    ("HOST", "server.host"),
    ("PORT", "server.port"),
    ("DATABASE_URL", "database.url"),
    ("REDIS_URL", "redis.url"),
    ("MASTER_SECRET", "keys.master_secret"),
    ("MASTER_SECRET_PREVIOUS", "keys.master_secret_previous"),
    ("API_KEY", "callers.api_key"),
    ("SECRET_KEY", "jwt.secret_key"),
    ("ALGORITHM", "jwt.algorithm"),
    ("ENVIRONMENT", "environment"),
    ("DEBUG", "debug"),
    ("OTP_WINDOW", "codes.window"),
    ("OTP_EXPIRATION_MINUTES", "codes.issued_minutes"),
    ("TRUSTED_PROXIES", "server.trusted_proxies"),
];

/// Which kind of name was used; within one layer the later kind wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Spelling {
    /// `PORT`
    Short,
    /// `OTPD_SERVER__PORT`, or the dotted key of a TOML file
    Full,
}

/// The dotted key that a variable speaks of, known or not; `None` when the variable
/// is none of ours.
pub(super) fn key_of(name: &str, known: &Known) -> Option<(String, Spelling)> {
    if let Some(key) = short(name) {
        return Some((key.to_owned(), Spelling::Short));
    }
    // Other programs have variables like PORT_FILE too: only a secret's is ours.
    if let Some(key) = name.strip_suffix("_FILE").and_then(short)
        && known.is_secret(key)
    {
        return Some((format!("{key}_file"), Spelling::Short));
    }
    let rest = name.strip_prefix(PREFIX)?;
    if name == CONFIG_FILE || CLIENTS.contains(&name) {
        return None;
    }
    Some((rest.replace("__", ".").to_lowercase(), Spelling::Full))
}

/// The variable's name for a dotted key: `OTPD_SERVER__PORT` for `server.port`.
pub(super) fn variable_for(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_uppercase())
}

/// Whether Kubernetes made this variable for a service that is called `otpd`
/// (`OTPD_SERVICE_HOST`, `OTPD_PORT=tcp://…`, `OTPD_PORT_8004_TCP_ADDR`): it would be
/// an unknown setting, and nobody could start the server under its own name.
pub(super) fn is_service_link(name: &str, value: &str) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX) else {
        return false;
    };
    if rest.contains("__") {
        return false;
    }
    let is_address = ["tcp://", "udp://", "sctp://"]
        .iter()
        .any(|scheme| value.starts_with(scheme));
    let is_numbered = rest
        .strip_prefix("PORT_")
        .is_some_and(|port| port.starts_with(|c: char| c.is_ascii_digit()));
    rest == "SERVICE_HOST"
        || rest.starts_with("SERVICE_PORT")
        || (rest == "PORT" && is_address)
        || is_numbered
}

fn short(name: &str) -> Option<&'static str> {
    SHORT
        .iter()
        .find_map(|(short, key)| (*short == name).then_some(*key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_become_keys() {
        fn check(name: &str, key: Option<(&str, Spelling)>) {
            let found = key_of(name, &Known::embedded());
            let expected = key.map(|(key, spelling)| (key.to_owned(), spelling));
            assert_eq!(found, expected, "{name}");
        }
        for (name, key) in SHORT {
            check(name, Some((key, Spelling::Short)));
            check(&variable_for(key), Some((key, Spelling::Full)));
        }
        let file = "keys.master_secret_file";
        check("MASTER_SECRET_FILE", Some((file, Spelling::Short)));
        check(
            "OTPD_KEYS__MASTER_SECRET_FILE",
            Some((file, Spelling::Full)),
        );
        check(
            "DATABASE_URL_FILE",
            Some(("database.url_file", Spelling::Short)),
        );
        check("PORT_FILE", None);
        check("OTPD_DATA_DIR", Some(("data_dir", Spelling::Full)));
        check("OTPD_NO__SUCH", Some(("no.such", Spelling::Full)));
        check("OTPD_CONFIG", None);
        check("OTPD_KEY", None);
        check("OTPD_BENCH_KEY", None);
        // A slip of the pen in a setting is still told.
        check("OTPD_KEYS", Some(("keys", Spelling::Full)));
        check("PATH", None);
        check("port", None);
    }

    #[test]
    fn what_kubernetes_adds_is_left_alone() {
        fn check(name: &str, value: &str, expected: bool) {
            assert_eq!(is_service_link(name, value), expected, "{name}={value}");
        }
        check("OTPD_SERVICE_HOST", "10.0.0.1", true);
        check("OTPD_SERVICE_PORT", "8004", true);
        check("OTPD_SERVICE_PORT_HTTP", "8004", true);
        check("OTPD_PORT", "tcp://10.0.0.1:8004", true);
        check("OTPD_PORT_8004_TCP", "tcp://10.0.0.1:8004", true);
        check("OTPD_PORT_8004_TCP_ADDR", "10.0.0.1", true);
        check("OTPD_PORT", "8004", false);
        check("OTPD_SERVER__PORT", "tcp://x", false);
        check("OTPD_PORTS", "8004", false);
        check("PORT", "tcp://x", false);
    }
}
