//! What people prove themselves with: passwords, and codes of every kind.

use app::{Password, SecondFactor, SpokenText};

use super::{CODE_6, Field, string};
use crate::schema::{either, integer_of, text, text_of};

/// Longer ones are refused: 16 characters, and what people put between them.
const LONGEST_SPOKEN: usize = 64;
/// The largest code of six digits.
const LARGEST_CODE: u32 = 999_999;

/// A password that is compared. Any text: what cannot be one is a wrong one.
pub(crate) const PASSWORD: Field<Password> = Field {
    about: "The password.",
    schema: text,
    parse: |value| string(value).map(|text| Password::new(text.to_owned())),
};

/// A password that is about to be somebody's.
pub(crate) const NEW_PASSWORD: Field<Password> = Field {
    about: "The password: 8 to 128 characters, not among the commonest, not the user's name.",
    schema: || text_of(8, 128),
    ..PASSWORD
};

/// A second factor.
pub(crate) const FACTOR: Field<SecondFactor> = Field {
    about: "A code of 6 to 8 digits (from old clients also an integer, which is padded with zeros to six digits), a recovery code or a pass.",
    schema: || either(text_of(6, LONGEST_SPOKEN), integer_of(0, LARGEST_CODE)),
    parse: |value| {
        if let Ok(code) = (CODE_6.parse)(value) {
            return Ok(SecondFactor::Code(code));
        }
        let wrong = || "Must be a code of 6 to 8 digits, a recovery code or a pass.".to_owned();
        let text = value.as_str().ok_or_else(wrong)?;
        let fits = text.chars().count() <= LONGEST_SPOKEN;
        let spoken = SpokenText::parse(text).filter(|_| fits);
        spoken.map(SecondFactor::Spoken).ok_or_else(wrong)
    },
};

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_second_factor_is_a_code_or_something_spoken() {
        fn check(value: Value, expected: &str) {
            let read = match (FACTOR.parse)(&value) {
                Ok(SecondFactor::Code(code)) => code.to_text().to_string(),
                Ok(SecondFactor::Spoken(_)) => "spoken".into(),
                Err(_) => "fault".into(),
            };
            assert_eq!(read, expected, "{value}");
        }
        check(json!("012345"), "012345");
        check(json!("01234567"), "01234567");
        check(json!(12345), "012345");
        check(json!(1_000_000), "fault");
        check(json!("k3f9-m2x7-q8rd-5tzw"), "spoken");
        check(json!("K3F9 M2X7 Q8RD"), "spoken");
        check(json!("k3f9-m2x7"), "fault");
        check(json!("12345"), "fault");
        check(json!("12 345"), "fault");
        check(json!(" 123456"), "fault");
        check(json!(123_456.0), "fault");
        check(json!(true), "fault");
        check(
            json!(format!("k3f9-m2x7-q8rd-5tzw{}", " ".repeat(64))),
            "fault",
        );
    }
}
