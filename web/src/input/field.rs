//! The kinds of fields: how each is read, and how it is described.

use std::ops::RangeInclusive;

use app::{Code, Digits};
use domain::verify::Typed;
use domain::{DeviceName, Time, UserName};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::openapi::Schema;

use crate::schema::{either, integer_of, integer_of_64_bits, list_of, pattern, time};

/// A kind of field.
pub(crate) struct Field<T> {
    /// A sentence for people.
    pub(crate) about: &'static str,
    /// What fits, for machines.
    pub(crate) schema: fn() -> Schema,
    /// Reads it; a parameter or part of the path comes as a string. The error is a
    /// sentence that stands beside the field's name and repeats nothing of the value.
    pub(crate) parse: fn(&Value) -> Result<T, String>,
}

/// The largest code as a number.
const LARGEST_CODE: u32 = 99_999_999;

/// The largest one of six digits.
const LARGEST_CODE_6: u32 = 999_999;

/// A `device_id`.
pub(crate) const DEVICE_ID: Field<DeviceName> = Field {
    about: "The device's name: 1 to 128 of `A-Za-z0-9._:@-`, compared byte by byte.",
    schema: || pattern("^[A-Za-z0-9._:@-]{1,128}$"),
    parse: |value| DeviceName::parse(string(value)?).map_err(|error| error.to_string()),
};

/// A `device_id` in a query.
pub(crate) const DEVICE_FILTER: Field<DeviceName> = Field {
    about: "Only what names that device.",
    ..DEVICE_ID
};

/// Whose a device is: the canonical name and what the client wrote.
pub(crate) struct User {
    pub(crate) name: UserName,
    /// A JSON string or number.
    pub(crate) shown: Box<RawValue>,
}

/// A `user_id` in a body.
pub(crate) const USER_ID: Field<User> = Field {
    about: "The user: 1 to 256 characters, compared without regard to case; a number means its decimal text.",
    schema: || either(user_schema(), integer_of_64_bits()),
    parse: |value| {
        let name = match value {
            Value::String(text) => UserName::parse(text),
            // What is larger than 64 bits has been read as a fraction.
            Value::Number(number) if number.is_i64() || number.is_u64() => {
                UserName::parse(&number.to_string())
            }
            _ => return Err("Must be a string or an integer.".into()),
        };
        Ok(User {
            name: name.map_err(|error| error.to_string())?,
            shown: serde_json::value::to_raw_value(value).map_err(|error| error.to_string())?,
        })
    },
};

/// A `user_id` in a query.
pub(crate) const USER_FILTER: Field<UserName> = Field {
    about: "Only of that user.",
    schema: user_schema,
    parse: |value| UserName::parse(string(value)?).map_err(|error| error.to_string()),
};

/// A `username`.
pub(crate) const USER_NAME: Field<UserName> = Field {
    about: "The user: 1 to 256 characters, compared without regard to case.",
    ..USER_FILTER
};

/// A code.
pub(crate) const CODE: Field<Typed> = Field {
    about: "The code: a string of 6 to 8 digits. From old clients also an integer, which is padded with zeros to the device's length.",
    schema: code_schema,
    parse: code,
};

/// A code where no device is named, and so no length: an integer means six digits.
pub(crate) const CODE_6: Field<Code> = Field {
    about: "The code: a string of 6 to 8 digits. From old clients also an integer, which is padded with zeros to six digits.",
    schema: || either(pattern("^[0-9]{6,8}$"), integer_of(0, LARGEST_CODE_6)),
    parse: |value| match code(value)? {
        Typed::Text(code) => Ok(code),
        Typed::Integer(number) => Code::from_integer(number, Digits::MIN)
            .map_err(|_| "Must be a code; as a number it has six digits at most.".into()),
    },
};

/// Two codes in a row.
pub(crate) const CODES: Field<[Typed; 2]> = Field {
    about: "Two codes in a row, the older one first.",
    schema: || list_of(code_schema(), 2, 2),
    parse: |value| match value.as_array().map(Vec::as_slice) {
        Some([first, second]) => Ok([code(first)?, code(second)?]),
        _ => Err("Must be a list of two codes.".into()),
    },
};

/// How much of a list.
pub(crate) const LIMIT: Field<u32> = Field {
    about: "How many entries at most; 50 unless told.",
    schema: || integer_of(1, 200),
    parse: |value| {
        let number = string(value)?.parse().ok();
        within(number, 1, 200)
    },
};

/// A time.
pub(crate) const TIME: Field<Time> = Field {
    about: "A time as in RFC 3339.",
    schema: time,
    parse: |value| Time::parse_rfc3339(string(value)?).map_err(|error| error.to_string()),
};

/// Invisible characters are refused beyond this: their list is too long for a pattern.
fn user_schema() -> Schema {
    pattern(
        "^[^\\x00-\\x20\\x7f-\\x9f]([^\\x00-\\x1f\\x7f-\\x9f]{0,254}[^\\x00-\\x20\\x7f-\\x9f])?$",
    )
}

fn code_schema() -> Schema {
    either(pattern("^[0-9]{6,8}$"), integer_of(0, LARGEST_CODE))
}

/// Nothing but digits, and nothing but a whole number: what is trimmed or rounded here
/// would be guessed elsewhere.
fn code(value: &Value) -> Result<Typed, String> {
    let wrong = || "Must be a code: a string of 6 to 8 digits.".to_owned();
    match value {
        Value::String(text) => Code::parse(text).map(Typed::Text).map_err(|_| wrong()),
        Value::Number(number) => number
            .as_u64()
            .filter(|number| *number <= u64::from(LARGEST_CODE))
            .map(Typed::Integer)
            .ok_or_else(wrong),
        _ => Err(wrong()),
    }
}

/// The string, or that it is none.
pub(crate) fn string(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| "Must be a string.".into())
}

/// The flag, or that it is none.
pub(crate) fn flag(value: &Value) -> Result<bool, String> {
    value
        .as_bool()
        .ok_or_else(|| "Must be true or false.".into())
}

/// Where a list goes on: whatever an earlier page gave, of these characters.
pub(crate) fn cursor(
    value: &Value,
    lengths: RangeInclusive<usize>,
    fits: fn(&u8) -> bool,
) -> Result<String, String> {
    let text = string(value)?;
    if lengths.contains(&text.len()) && text.as_bytes().iter().all(fits) {
        Ok(text.to_owned())
    } else {
        Err("This is not a cursor of this list.".into())
    }
}

/// What the document says about a cursor.
pub(crate) const ABOUT_CURSOR: &str = "The `next_cursor` of the page before.";

/// A whole number between two bounds, both included.
pub(crate) fn whole_number(value: &Value, least: u32, most: u32) -> Result<u32, String> {
    within(value.as_u64(), least, most)
}

fn within(number: Option<u64>, least: u32, most: u32) -> Result<u32, String> {
    number
        .and_then(|number| u32::try_from(number).ok())
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("Must be a whole number from {least} to {most}."))
}

/// One of a few words.
pub(crate) fn word_of<T: Copy>(value: &Value, words: &[(&str, T)]) -> Result<T, String> {
    let text = string(value)?;
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        format!("Must be one of: {}.", words.join(", "))
    })
}

/// A line of text: so many characters, none of them a control character.
pub(crate) fn line_of(value: &Value, most: usize) -> Result<String, String> {
    let text = string(value)?;
    if !(1..=most).contains(&text.chars().count()) {
        return Err(format!("Must be 1 to {most} characters long."));
    }
    if text.chars().any(char::is_control) {
        return Err("Must not contain control characters.".into());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_code_is_digits_and_nothing_else() {
        fn check(value: Value, expected: &str) {
            let read = match (CODE.parse)(&value) {
                Ok(Typed::Text(code)) => format!("text {}", code.to_text().as_str()),
                Ok(Typed::Integer(number)) => format!("integer {number}"),
                Err(_) => "fault".into(),
            };
            assert_eq!(read, expected, "{value}");
        }
        check(json!("012345"), "text 012345");
        check(json!("01234567"), "text 01234567");
        check(json!(12345), "integer 12345");
        check(json!(0), "integer 0");
        check(json!(99_999_999), "integer 99999999");
        check(json!(100_000_000), "fault");
        check(json!("12345"), "fault");
        check(json!("123456789"), "fault");
        check(json!(" 123456"), "fault");
        check(json!("123 456"), "fault");
        check(json!("１２３４５６"), "fault");
        check(json!(-1), "fault");
        check(json!(123_456.0), "fault");
        check(json!(true), "fault");
        check(json!(null), "fault");
        check(json!(["123456"]), "fault");
    }

    #[test]
    fn a_number_without_a_device_is_padded_to_six_digits() {
        fn check(value: Value, expected: Option<&str>) {
            let read = (CODE_6.parse)(&value).ok();
            let read = read.map(|code| code.to_text().to_string());
            assert_eq!(read.as_deref(), expected, "{value}");
        }
        check(json!("01234567"), Some("01234567"));
        check(json!("012345"), Some("012345"));
        check(json!(0), Some("000000"));
        check(json!(12345), Some("012345"));
        check(json!(999_999), Some("999999"));
        check(json!(1_000_000), None);
        check(json!("12345"), None);
        check(json!(1.5), None);
        check(json!(-1), None);
    }

    #[test]
    fn a_user_keeps_spelling_and_type() {
        fn check(text: &str, name: Option<&str>) {
            let value = serde_json::from_str(text).unwrap();
            let user = (USER_ID.parse)(&value).ok();
            let name = name.map(|name| (name, text));
            let read = user
                .as_ref()
                .map(|user| (user.name.canonical(), user.shown.get()));
            assert_eq!(read, name, "{text}");
        }
        check("\"Dave\"", Some("dave"));
        check("42", Some("42"));
        check("-7", Some("-7"));
        check("18446744073709551615", Some("18446744073709551615"));
        check("18446744073709551616", None);
        check("1.5", None);
        check("1.0", None);
        check("true", None);
        check("\" dave\"", None);
        check("\"\"", None);
    }

    #[test]
    fn bounds_are_included_and_a_number_is_no_text() {
        fn check(value: Value, expected: Option<u32>) {
            assert_eq!(whole_number(&value, 15, 120).ok(), expected, "{value}");
        }
        check(json!(15), Some(15));
        check(json!(120), Some(120));
        check(json!(14), None);
        check(json!(121), None);
        check(json!("30"), None);
        check(json!(30.0), None);
        check(json!(5_000_000_000_u64), None);
    }

    #[test]
    fn a_limit_comes_as_digits() {
        fn check(text: &str, expected: Option<u32>) {
            assert_eq!((LIMIT.parse)(&json!(text)).ok(), expected, "{text}");
        }
        check("1", Some(1));
        check("200", Some(200));
        check("0", None);
        check("201", None);
        check("-1", None);
        check("1.5", None);
        check("", None);
        check("ten", None);
    }

    #[test]
    fn a_line_has_a_length_and_no_control_characters() {
        fn check(value: Value, fits: bool) {
            assert_eq!(line_of(&value, 4).is_ok(), fits, "{value}");
        }
        check(json!("abcd"), true);
        check(json!("äöüß"), true);
        check(json!("abcde"), false);
        check(json!(""), false);
        check(json!("a\nb"), false);
        check(json!(1), false);
    }
}
