//! The instant that every rule is given: Unix milliseconds, and their RFC 3339 text.
//!
//! This crate reads no clock. A [`Time`] always comes in as an argument, so a test
//! moves time by passing another value.

use std::fmt;

use jiff::Timestamp;

/// An instant in milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
///
/// Arithmetic saturates: an absurd lifetime ends at the end of time and never wraps
/// round into the past, where it would look expired, or from there into the future.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(i64);

/// The text is not an RFC 3339 time. The message is written for clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("A time must be written as in RFC 3339, for example 2026-01-31T12:00:00Z.")]
pub struct TimeError;

/// 0000-01-01T00:00:00.000Z, the first instant that RFC 3339 can write.
const FIRST_MILLIS: i64 = -62_167_219_200_000;

/// 9999-12-30T22:00:00.000Z, the last millisecond that `jiff` makes a timestamp of.
const LAST_MILLIS: i64 = 253_402_207_200_000;

impl Time {
    /// The instant `millis` milliseconds after the Unix epoch (before it, if negative).
    pub const fn from_millis(millis: i64) -> Time {
        Time(millis)
    }

    /// The instant `seconds` seconds after the Unix epoch.
    pub const fn from_seconds(seconds: i64) -> Time {
        Time(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the Unix epoch: the form in which times are stored.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down: what TOTP steps and JWT
    /// claims count.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This instant moved by `millis` milliseconds, back if negative.
    #[must_use]
    pub const fn plus_millis(self, millis: i64) -> Time {
        Time(self.0.saturating_add(millis))
    }

    /// This instant moved by `seconds` seconds, back if negative.
    #[must_use]
    pub const fn plus_seconds(self, seconds: i64) -> Time {
        Time(self.0.saturating_add(seconds.saturating_mul(1000)))
    }

    /// Milliseconds from `earlier` to this instant; negative if `earlier` is later.
    pub const fn since(self, earlier: Time) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// RFC 3339 text in UTC with milliseconds: `2026-01-31T12:00:00.000Z`.
    ///
    /// Instants outside the years 0000 to 9999, which RFC 3339 cannot write, are shown
    /// as the first or last one that can be.
    pub fn to_rfc3339(self) -> String {
        self.to_string()
    }

    /// Reads RFC 3339 text with any offset and up to nine digits of fraction; what is
    /// finer than a millisecond is cut off.
    ///
    /// # Errors
    /// [`TimeError`] for anything else, including the ISO 8601 forms that RFC 3339
    /// leaves out (no offset, no separators, `[Zone]` annotations, signed years).
    pub fn parse_rfc3339(text: &str) -> Result<Time, TimeError> {
        if !has_rfc3339_shape(text.as_bytes()) {
            return Err(TimeError);
        }
        let parsed: Timestamp = text.parse().map_err(|_| TimeError)?;
        let nanos = parsed.as_nanosecond();
        i64::try_from(nanos.div_euclid(1_000_000))
            .map(Time)
            .map_err(|_| TimeError)
    }
}

/// Whether the punctuation stands where RFC 3339 section 5.6 wants it. `jiff` checks
/// the numbers, but also reads many more forms than this contract offers.
fn has_rfc3339_shape(text: &[u8]) -> bool {
    let Some((date_time, rest)) = text.split_at_checked(19) else {
        return false;
    };
    let fixed = date_time
        .iter()
        .zip(b"0000-00-00T00:00:00")
        .all(|(given, form)| match form {
            b'0' => given.is_ascii_digit(),
            b'T' => matches!(given, b'T' | b't'),
            _ => given == form,
        });
    let offset = match rest {
        [b'.', fraction @ ..] => {
            let digits = fraction
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            if !(1..=9).contains(&digits) {
                return false;
            }
            &fraction[digits..]
        }
        _ => rest,
    };
    let offset_fits = match offset {
        [b'Z' | b'z'] => true,
        [b'+' | b'-', h1, h2, b':', m1, m2] => {
            [h1, h2, m1, m2].iter().all(|byte| byte.is_ascii_digit())
        }
        _ => false,
    };
    fixed && offset_fits
}

impl fmt::Display for Time {
    /// The same text as [`Time::to_rfc3339`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.clamp(FIRST_MILLIS, LAST_MILLIS);
        let timestamp = Timestamp::from_millisecond(shown).map_err(|_| fmt::Error)?;
        write!(f, "{timestamp:.3}")
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Time({} = {self})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_utc_with_milliseconds() {
        fn check(millis: i64, text: &str) {
            assert_eq!(Time::from_millis(millis).to_rfc3339(), text);
        }
        check(0, "1970-01-01T00:00:00.000Z");
        check(1_111_111_109_000, "2005-03-18T01:58:29.000Z");
        check(1_111_111_109_007, "2005-03-18T01:58:29.007Z");
        check(-1, "1969-12-31T23:59:59.999Z");
        check(FIRST_MILLIS, "0000-01-01T00:00:00.000Z");
        check(FIRST_MILLIS - 1, "0000-01-01T00:00:00.000Z");
        check(LAST_MILLIS, "9999-12-30T22:00:00.000Z");
        check(i64::MIN, "0000-01-01T00:00:00.000Z");
        check(i64::MAX, "9999-12-30T22:00:00.000Z");
    }

    #[test]
    fn rfc3339_is_read() {
        fn check(text: &str, millis: i64) {
            assert_eq!(
                Time::parse_rfc3339(text),
                Ok(Time::from_millis(millis)),
                "{text}"
            );
        }
        check("1970-01-01T00:00:00Z", 0);
        check("1970-01-01t00:00:00z", 0);
        check("2005-03-18T03:58:29.007+02:00", 1_111_111_109_007);
        check("2005-03-17T20:28:29-05:30", 1_111_111_109_000);
        check("1970-01-01T00:00:00.0019Z", 1);
        check("1970-01-01T00:00:00.123456789Z", 123);
        check("1969-12-31T23:59:59.9999Z", -1);
        // RFC 3339 section 5.7: a leap second is legal text; we count it as :59.
        check("2016-12-31T23:59:60Z", 1_483_228_799_000);
    }

    #[test]
    fn anything_else_is_refused() {
        fn check(text: &str) {
            assert_eq!(Time::parse_rfc3339(text), Err(TimeError), "{text}");
        }
        check("");
        check("1970-01-01");
        check("1970-01-01T00:00:00");
        check("1970-01-01 00:00:00Z");
        check("19700101T000000Z");
        check("1970-01-01T00:00Z");
        check("1970-01-01T00:00:00.Z");
        check("1970-01-01T00:00:00.1234567890Z");
        check("1970-01-01T00:00:00,5Z");
        check("1970-01-01T00:00:00+0100");
        check("1970-01-01T00:00:00 01:00");
        check("1970-01-01T00:00:00Z[UTC]");
        check("+001970-01-01T00:00:00Z");
        check("1970-13-01T00:00:00Z");
        check("1970-02-29T00:00:00Z");
        check("1970-01-01T24:00:00Z");
        check("1970-01-01T00:61:00Z");
        check("１970-01-01T00:00:00Z");
        check("9999-12-31T23:59:59Z");
        check(" 1970-01-01T00:00:00Z");
        check("0");
    }

    #[test]
    fn arithmetic_saturates() {
        let end = Time::from_millis(i64::MAX);
        let start = Time::from_millis(i64::MIN);
        assert_eq!(end.plus_millis(1), end);
        assert_eq!(end.plus_seconds(i64::MAX), end);
        assert_eq!(start.plus_seconds(i64::MIN), start);
        assert_eq!(Time::from_seconds(i64::MAX), end);
        assert_eq!(end.since(start), i64::MAX);
        assert_eq!(start.since(end), i64::MIN);
    }

    #[test]
    fn seconds_round_down() {
        fn check(millis: i64, seconds: i64) {
            assert_eq!(Time::from_millis(millis).seconds(), seconds);
        }
        check(0, 0);
        check(999, 0);
        check(1000, 1);
        check(-1, -1);
        check(-1000, -1);
        check(-1001, -2);
    }

    proptest! {
        #[test]
        fn text_comes_back_as_the_same_instant(millis in FIRST_MILLIS..=LAST_MILLIS) {
            let time = Time::from_millis(millis);
            prop_assert_eq!(Time::parse_rfc3339(&time.to_rfc3339()), Ok(time));
        }

        #[test]
        fn any_text_is_answered_without_panic(text in "[0-9TZ:.+ -]{0,40}|\\PC{0,40}") {
            let _ = Time::parse_rfc3339(&text);
        }
    }
}
