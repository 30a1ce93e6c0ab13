//! The value of a setting, converted to the type that its default has.

use super::known::Kind;
use super::problem::{Source, quoted};
use super::secret::SecretText;

/// A value of the type that its default has.
pub(super) enum Value {
    Text(String),
    Whole(i64),
    Flag(bool),
    List(Vec<String>),
    Secret(SecretText),
    /// An address, shown without its password.
    SecretUrl(SecretText),
}

/// A setting with the source that won.
pub(super) struct Entry {
    pub(super) value: Value,
    pub(super) source: Source,
}

/// A value as its source gives it.
pub(super) enum Found {
    /// From a TOML file, where it has a type already.
    Toml(toml::Value),
    /// From `.env`, the environment or a secret's file: to be converted.
    Text(String),
}

impl Found {
    /// The value as one of the given type.
    ///
    /// # Errors
    /// The words for what was found instead; never a secret's text.
    pub(super) fn into_kind(self, kind: Kind) -> Result<Value, String> {
        match self {
            Self::Toml(value) => from_toml(kind, value),
            Self::Text(text) => from_text(kind, text),
        }
    }
}

fn from_toml(kind: Kind, value: toml::Value) -> Result<Value, String> {
    match (kind, value) {
        (Kind::Text | Kind::Automatic, toml::Value::String(text)) => Ok(Value::Text(text)),
        (Kind::Automatic, toml::Value::Integer(number)) => Ok(Value::Text(number.to_string())),
        (Kind::Secret, toml::Value::String(text)) => Ok(Value::Secret(SecretText::new(text))),
        (Kind::SecretUrl, toml::Value::String(text)) => Ok(Value::SecretUrl(SecretText::new(text))),
        (Kind::Whole, toml::Value::Integer(number)) => Ok(Value::Whole(number)),
        (Kind::Flag, toml::Value::Boolean(flag)) => Ok(Value::Flag(flag)),
        (Kind::List, toml::Value::Array(items)) => items
            .into_iter()
            .map(|item| match item {
                toml::Value::String(text) => Ok(text),
                other => Err(format!("holds {}", type_name(&other))),
            })
            .collect::<Result<_, _>>()
            .map(Value::List),
        (_, other) => Err(format!("is {}", type_name(&other))),
    }
}

fn from_text(kind: Kind, text: String) -> Result<Value, String> {
    match kind {
        Kind::Text => Ok(Value::Text(text)),
        Kind::Automatic => Ok(Value::Text(text.trim().to_owned())),
        Kind::Secret => Ok(Value::Secret(SecretText::new(text))),
        Kind::SecretUrl => Ok(Value::SecretUrl(SecretText::new(text))),
        Kind::Whole => match text.trim().parse() {
            Ok(number) => Ok(Value::Whole(number)),
            Err(_) => Err(format!("is {}", quoted(&text))),
        },
        Kind::Flag => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(Value::Flag(true)),
            "false" | "0" | "no" | "off" => Ok(Value::Flag(false)),
            _ => Err(format!("is {}", quoted(&text))),
        },
        Kind::List => Ok(Value::List(
            text.split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(str::to_owned)
                .collect(),
        )),
    }
}

fn type_name(value: &toml::Value) -> &'static str {
    match value {
        toml::Value::String(_) => "a text",
        toml::Value::Integer(_) => "a whole number",
        toml::Value::Float(_) => "a number with a fraction",
        toml::Value::Boolean(_) => "true or false",
        toml::Value::Datetime(_) => "a date",
        toml::Value::Array(_) => "a list",
        toml::Value::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(result: Result<Value, String>) -> String {
        match result {
            Ok(Value::Text(text)) => format!("text {text}"),
            Ok(Value::Whole(number)) => format!("whole {number}"),
            Ok(Value::Flag(flag)) => format!("flag {flag}"),
            Ok(Value::List(items)) => format!("list {}", items.join("|")),
            Ok(Value::Secret(text)) => format!("secret {}", text.expose()),
            Ok(Value::SecretUrl(text)) => format!("url {}", text.expose()),
            Err(words) => words,
        }
    }

    #[test]
    fn text_takes_the_type_of_the_setting() {
        fn check(kind: Kind, text: &str, expected: &str) {
            let found = Found::Text(text.to_owned()).into_kind(kind);
            assert_eq!(shown(found), expected, "{kind:?} {text:?}");
        }
        check(Kind::Text, " a ", "text  a ");
        check(Kind::Secret, "s", "secret s");
        check(Kind::SecretUrl, "u", "url u");
        check(Kind::Automatic, " 7 ", "text 7");
        check(Kind::Whole, "8004", "whole 8004");
        check(Kind::Whole, " 7 ", "whole 7");
        check(Kind::Whole, "-1", "whole -1");
        check(Kind::Whole, "8004x", "is \"8004x\"");
        check(Kind::Whole, "1.5", "is \"1.5\"");
        check(Kind::Whole, "", "is \"\"");
        check(
            Kind::Whole,
            "99999999999999999999",
            "is \"99999999999999999999\"",
        );
        for yes in ["true", "True", "1", "yes", "ON"] {
            check(Kind::Flag, yes, "flag true");
        }
        for no in ["false", "FALSE", "0", "no", "off"] {
            check(Kind::Flag, no, "flag false");
        }
        check(Kind::Flag, "maybe", "is \"maybe\"");
        check(Kind::Flag, "", "is \"\"");
        check(Kind::List, "a, b,,c ", "list a|b|c");
        check(Kind::List, "", "list ");
    }

    #[test]
    fn toml_must_have_the_type_of_the_setting() {
        fn check(kind: Kind, value: &str, expected: &str) {
            let mut table: toml::Table = format!("x = {value}").parse().unwrap();
            let found = Found::Toml(table.remove("x").unwrap()).into_kind(kind);
            assert_eq!(shown(found), expected, "{kind:?} {value}");
        }
        check(Kind::Text, "\"a\"", "text a");
        check(Kind::Text, "1", "is a whole number");
        check(Kind::Automatic, "1", "text 1");
        check(Kind::Automatic, "\"auto\"", "text auto");
        check(Kind::Automatic, "true", "is true or false");
        check(Kind::Secret, "\"s\"", "secret s");
        check(Kind::Secret, "12345", "is a whole number");
        check(Kind::SecretUrl, "\"u\"", "url u");
        check(Kind::Whole, "1", "whole 1");
        check(Kind::Whole, "\"1\"", "is a text");
        check(Kind::Whole, "1.5", "is a number with a fraction");
        check(Kind::Flag, "true", "flag true");
        check(Kind::Flag, "1", "is a whole number");
        check(Kind::List, "[\"a\", \"b\"]", "list a|b");
        check(Kind::List, "[1]", "holds a whole number");
        check(Kind::List, "\"a,b\"", "is a text");
        check(Kind::Text, "2026-01-01", "is a date");
        check(Kind::Text, "{}", "is a table");
        check(Kind::Text, "[]", "is a list");
        check(Kind::Text, "true", "is true or false");
    }
}
