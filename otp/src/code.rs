//! A one-time code and its length: what an authenticator shows and a person types.

use std::fmt;

use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

/// How many decimal digits a code has: 6, 7 or 8 (RFC 4226 section 5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digits(u8);

/// A number of digits other than 6, 7 or 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a code has 6, 7 or 8 digits")]
pub struct DigitsError;

impl Digits {
    /// The fewest digits that RFC 4226 allows (requirement R4 of section 4).
    pub const MIN: Self = Self(6);
    /// The most digits: a ninth or tenth would hardly vary, as the truncated value has 31 bits.
    pub const MAX: Self = Self(8);

    /// A length of `digits` decimal digits.
    ///
    /// # Errors
    /// [`DigitsError`] unless it is 6, 7 or 8.
    pub const fn new(digits: u8) -> Result<Self, DigitsError> {
        match digits {
            6..=8 => Ok(Self(digits)),
            _ => Err(DigitsError),
        }
    }

    /// The length as a number, 6 to 8.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// How many codes of this length there are: 10 to the power of the length.
    const fn codes(self) -> u32 {
        10_u32.pow(self.0 as u32)
    }

    /// `value` modulo 10 to the power of the length (RFC 4226 section 5.3, step 3).
    ///
    /// The divisors are literals so that the compiler multiplies: the time of a division
    /// instruction may depend on the value, which here comes from the key.
    const fn reduce(self, value: u32) -> u32 {
        match self.0 {
            6 => value % 1_000_000,
            7 => value % 10_000_000,
            _ => value % 100_000_000,
        }
    }
}

impl Default for Digits {
    /// Six, what every authenticator app shows.
    fn default() -> Self {
        Self::MIN
    }
}

impl TryFrom<u8> for Digits {
    type Error = DigitsError;

    fn try_from(digits: u8) -> Result<Self, Self::Error> {
        Self::new(digits)
    }
}

/// A code of 6 to 8 decimal digits, typed by a person or computed from a key.
///
/// Its length is part of it: `000152` and `0000152` are different codes. It has no `==` (which
/// would stop at the first difference) but [`Code::equals`], and its `Debug` shows the length only.
#[derive(Clone, Copy)]
pub struct Code {
    /// Below `digits.codes()`.
    value: u32,
    digits: Digits,
}

/// Why something is not a code. It never repeats what was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// The text has fewer than 6 or more than 8 characters.
    #[error("a code has 6 to 8 digits")]
    Length,
    /// The text has a character other than the ASCII digits 0 to 9.
    #[error("a code consists of the digits 0 to 9 only")]
    NotDigits,
    /// The integer has more digits than the code should have.
    #[error("the number has more digits than the code")]
    TooLarge,
}

impl Code {
    /// Reads a code of 6 to 8 ASCII digits. Nothing is trimmed, converted or forgiven.
    ///
    /// # Errors
    /// [`CodeError::NotDigits`] for any other character, signs, spaces and digits of other
    /// scripts included; [`CodeError::Length`] for too few or too many digits.
    pub fn parse(text: &str) -> Result<Self, CodeError> {
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(CodeError::NotDigits);
        }
        let digits = u8::try_from(text.len())
            .ok()
            .and_then(|length| Digits::new(length).ok())
            .ok_or(CodeError::Length)?;
        let value = text
            .bytes()
            .fold(0, |value, byte| value * 10 + u32::from(byte - b'0'));
        Ok(Self { value, digits })
    }

    /// The code of length `digits` that an integer stands for, with zeros put in front:
    /// 152 with six digits is `000152`.
    ///
    /// # Errors
    /// [`CodeError::TooLarge`] when the integer has more than `digits` digits.
    pub fn from_integer(integer: u64, digits: Digits) -> Result<Self, CodeError> {
        match u32::try_from(integer) {
            Ok(value) if value < digits.codes() => Ok(Self { value, digits }),
            _ => Err(CodeError::TooLarge),
        }
    }

    /// The code that a truncated HMAC gives (RFC 4226 section 5.3, step 3).
    pub(crate) const fn from_truncated(truncated: u32, digits: Digits) -> Self {
        Self {
            value: digits.reduce(truncated),
            digits,
        }
    }

    /// How many digits it has.
    #[must_use]
    pub const fn digits(&self) -> Digits {
        self.digits
    }

    /// The digits as text, zeros in front included; the text is wiped when dropped.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut rest = self.value;
        let mut ascii = Zeroizing::new([b'0'; 8]);
        let shown = &mut ascii[..usize::from(self.digits.0)];
        for place in shown.iter_mut().rev() {
            *place = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        Zeroizing::new(shown.iter().copied().map(char::from).collect())
    }

    /// Whether both are the same code, length included.
    ///
    /// Takes the same time wherever the digits differ, so the time tells nothing about how much
    /// of a guess was right. (The lengths are no secret and are compared first.)
    #[must_use]
    pub fn equals(&self, other: &Self) -> bool {
        self.digits == other.digits && bool::from(self.value.ct_eq(&other.value))
    }

    /// Whether this is the code, at this code's length, of a truncated HMAC; in constant time.
    pub(crate) fn is_of(&self, truncated: u32) -> Choice {
        self.value.ct_eq(&self.digits.reduce(truncated))
    }
}

impl fmt::Debug for Code {
    /// Shows the length, never the digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Code({} digits)", self.digits.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn six_seven_and_eight_digits_are_allowed() {
        for digits in 0..=u8::MAX {
            let allowed = (6..=8).contains(&digits);
            assert_eq!(Digits::new(digits).is_ok(), allowed, "{digits}");
            assert_eq!(Digits::try_from(digits).is_ok(), allowed, "{digits}");
        }
        assert_eq!(Digits::default().get(), 6);
        assert!(Digits::MIN.get() == 6 && Digits::MAX.get() == 8);
    }

    #[test]
    fn only_six_to_eight_ascii_digits_are_a_code() {
        let check = |text: &str, expected: Result<u8, CodeError>| {
            let length = Code::parse(text).map(|code| code.digits().get());
            assert_eq!(length, expected, "{text:?}");
        };

        check("000000", Ok(6));
        check("000152", Ok(6));
        check("0000152", Ok(7));
        check("99999999", Ok(8));

        check("", Err(CodeError::Length));
        check("12345", Err(CodeError::Length));
        check("123456789", Err(CodeError::Length));
        check(&"1".repeat(262), Err(CodeError::Length)); // 262 = 6 modulo 256

        check("12345a", Err(CodeError::NotDigits));
        check("+12345", Err(CodeError::NotDigits));
        check("-12345", Err(CodeError::NotDigits));
        check("123 456", Err(CodeError::NotDigits));
        check(" 123456", Err(CodeError::NotDigits));
        check("123456\n", Err(CodeError::NotDigits));
        check("12345.6", Err(CodeError::NotDigits));
        check("0x1234", Err(CodeError::NotDigits));
        check("1_2345", Err(CodeError::NotDigits));
        check("12345\0", Err(CodeError::NotDigits));
        check("\u{661}\u{662}\u{663}", Err(CodeError::NotDigits)); // Arabic-Indic, 6 bytes
        check("\u{ff11}\u{ff12}", Err(CodeError::NotDigits)); // full width, 6 bytes
    }

    #[test]
    fn an_integer_is_padded_with_zeros() {
        let check = |integer: u64, digits: u8, expected: Result<&str, CodeError>| {
            let digits = Digits::new(digits).expect("6 to 8");
            let code = Code::from_integer(integer, digits);
            let text = code.map(|code| code.to_text().to_string());
            assert_eq!(text, expected.map(String::from), "{integer}");
        };

        check(152, 6, Ok("000152"));
        check(152, 7, Ok("0000152"));
        check(152, 8, Ok("00000152"));
        check(0, 6, Ok("000000"));
        check(999_999, 6, Ok("999999"));
        check(99_999_999, 8, Ok("99999999"));

        check(1_000_000, 6, Err(CodeError::TooLarge));
        check(10_000_000, 7, Err(CodeError::TooLarge));
        check(100_000_000, 8, Err(CodeError::TooLarge));
        check((1 << 32) + 152, 6, Err(CodeError::TooLarge));
        check(u64::MAX, 8, Err(CodeError::TooLarge));
    }

    #[test]
    fn equality_takes_the_length_into_account() {
        let check = |left: &str, right: &str, expected: bool| {
            let code = |text| Code::parse(text).expect("a code");
            assert_eq!(code(left).equals(&code(right)), expected, "{left} {right}");
        };

        check("000152", "000152", true);
        check("000152", "0000152", false);
        check("000152", "000153", false);
        check("900152", "000152", false);
    }

    #[test]
    fn debug_output_hides_the_digits() {
        let code = Code::parse("1234567").expect("a code");
        assert_eq!(format!("{code:?}"), "Code(7 digits)");
    }

    proptest! {
        #[test]
        fn a_code_reads_back_as_typed(text in "[0-9]{6,8}") {
            let code = Code::parse(&text).expect("6 to 8 digits");
            let shown = code.to_text();
            prop_assert_eq!(shown.as_str(), &text);
            let integer = text.parse().expect("a number");
            let padded = Code::from_integer(integer, code.digits()).expect("short enough");
            prop_assert!(padded.equals(&code));
        }

        #[test]
        fn nothing_else_is_a_code(text in any::<String>()) {
            let is_code = (6..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
            prop_assert_eq!(Code::parse(&text).is_ok(), is_code);
        }
    }
}
