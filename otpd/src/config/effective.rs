//! The settings in force as text, with their sources and without their secrets.

use std::collections::BTreeMap;

use super::problem::Source;
use super::value::{Entry, Value};

const MASK: &str = "********";
const NOT_SET: &str = "(not set)";

/// One setting for people to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The value; a secret is `********` or `(not set)`, and so is the password within
    /// an address. The secret itself is not here, so it cannot be printed by mistake.
    pub value: String,
    /// Where the value came from.
    pub source: Source,
}

/// All settings in force, for `otpd doctor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// By dotted key, in alphabetical order.
    pub values: BTreeMap<String, Setting>,
}

impl Effective {
    pub(super) fn of(entries: &BTreeMap<String, Entry>) -> Self {
        let values = entries
            .iter()
            .map(|(key, entry)| {
                let setting = Setting {
                    value: shown(&entry.value),
                    source: entry.source.clone(),
                };
                (key.clone(), setting)
            })
            .collect();
        Self { values }
    }

    /// Key, value with secrets masked, and source of every setting.
    pub fn masked(&self) -> impl Iterator<Item = (&str, &str, &Source)> {
        self.values
            .iter()
            .map(|(key, setting)| (key.as_str(), setting.value.as_str(), &setting.source))
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Whole(number) => number.to_string(),
        Value::Flag(flag) => flag.to_string(),
        Value::List(items) if items.is_empty() => "(none)".to_owned(),
        Value::List(items) => items.join(", "),
        Value::Text(text) if text.is_empty() => NOT_SET.to_owned(),
        Value::Text(text) => text.clone(),
        Value::Secret(text) | Value::SecretUrl(text) if text.is_empty() => NOT_SET.to_owned(),
        Value::Secret(_) => MASK.to_owned(),
        Value::SecretUrl(text) => without_password(text.expose()),
    }
}

/// The address with its password masked. Where it is unclear how far a password goes,
/// too much is masked and not too little: it reaches to the last `@`, since people
/// write passwords with `/`, `?` and `@` in them, and what is no address is masked whole.
fn without_password(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else {
        let is_file = address.starts_with("sqlite:") || address.starts_with("sqlite+");
        return if is_file { address } else { MASK }.to_owned();
    };
    let (user, place) = match rest.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, rest),
    };
    let user = match user.map(|user| user.split_once(':')) {
        None => String::new(),
        Some(None) => format!("{}@", user.unwrap_or_default()),
        Some(Some((name, _))) => format!("{name}:{MASK}@"),
    };
    format!("{scheme}://{user}{}", without_password_option(place))
}

/// The part after the user with options such as `?password=…` masked.
fn without_password_option(place: &str) -> String {
    let Some((path, options)) = place.split_once('?') else {
        return place.to_owned();
    };
    let options: Vec<String> = options
        .split('&')
        .map(|option| match option.split_once('=') {
            Some((name, _)) if name.to_ascii_lowercase().contains("pass") => {
                format!("{name}={MASK}")
            }
            _ => option.to_owned(),
        })
        .collect();
    format!("{path}?{}", options.join("&"))
}

#[cfg(test)]
mod tests {
    use super::super::secret::SecretText;
    use super::*;

    #[test]
    fn values_as_people_read_them() {
        fn check(value: Value, expected: &str) {
            assert_eq!(shown(&value), expected);
        }
        let secret = |text: &str| SecretText::new(text.to_owned());
        check(Value::Whole(5), "5");
        check(Value::Flag(true), "true");
        check(Value::Text("a".into()), "a");
        check(Value::Text(String::new()), "(not set)");
        check(Value::List(vec!["a".into(), "b".into()]), "a, b");
        check(Value::List(Vec::new()), "(none)");
        check(Value::Secret(secret("hunter2")), "********");
        check(Value::Secret(secret("")), "(not set)");
        check(Value::SecretUrl(secret("")), "(not set)");
        check(
            Value::SecretUrl(secret("redis://:hunter2@h")),
            "redis://:********@h",
        );
    }

    #[test]
    fn passwords_in_addresses_are_masked() {
        fn check(address: &str, expected: &str) {
            let found = without_password(address);
            assert_eq!(found, expected);
            assert!(!found.contains("hunter2"), "{found}");
        }
        check(
            "postgres://u:hunter2@h:5432/d",
            "postgres://u:********@h:5432/d",
        );
        check(
            "postgres://u@h/d?sslmode=require",
            "postgres://u@h/d?sslmode=require",
        );
        check("postgres://h/d", "postgres://h/d");
        check(
            "postgres://u:hun/ter2@hunter2@h/d",
            "postgres://u:********@h/d",
        );
        check("postgres://u:hun?ter2@h/d", "postgres://u:********@h/d");
        check("postgres://u:x:hunter2@h", "postgres://u:********@h");
        check(
            "postgres://h/d?user=u&password=hunter2&a=b",
            "postgres://h/d?user=u&password=********&a=b",
        );
        check("redis://:hunter2@h:6379/0", "redis://:********@h:6379/0");
        check(
            "redis+cluster://u:hunter2@one:1,two:2",
            "redis+cluster://u:********@one:1,two:2",
        );
        check("sqlite:otpd.db", "sqlite:otpd.db");
        check("sqlite:///./otpd.db", "sqlite:///./otpd.db");
        check("host=h password=hunter2", "********");
        check("hunter2", "********");
        check("u:hunter2@h", "********");
    }
}
