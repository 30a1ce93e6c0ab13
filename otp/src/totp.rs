//! The time side of TOTP (RFC 6238 section 4): from Unix seconds to steps and back.

use std::ops::RangeInclusive;

/// How time is divided into steps: step 0 begins at `t0`, each lasts `period` seconds.
///
/// A period of 0 divides nothing: every question is then answered as if time had not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Totp {
    /// Seconds a step lasts (`X` in the RFC), at least 1.
    pub period: u32,
    /// Unix seconds at which step 0 begins (`T0` in the RFC).
    pub t0: i64,
}

impl Default for Totp {
    /// Steps of 30 seconds since 1970, what every authenticator app does (RFC 6238 section 4.1).
    fn default() -> Self {
        Self::new(30)
    }
}

impl Totp {
    /// Steps of `period` seconds since 1970.
    #[must_use]
    pub const fn new(period: u32) -> Self {
        Self { period, t0: 0 }
    }

    /// The step that a time belongs to, the counter for [`hotp`](crate::hotp); `None` before `t0`.
    #[must_use]
    pub fn step_at(&self, unix_seconds: i64) -> Option<u64> {
        let elapsed = self.elapsed(unix_seconds)?;
        elapsed.checked_div(u64::from(self.period))
    }

    /// The Unix second at which a step begins; the last second of time for a step beyond it.
    #[must_use]
    pub fn starts_at(&self, step: u64) -> i64 {
        // 64 + 32 bits fit into 128.
        let start = i128::from(self.t0) + i128::from(step) * i128::from(self.period);
        i64::try_from(start).unwrap_or(i64::MAX)
    }

    /// Seconds until the next step begins, 1 to `period`; `None` before `t0`.
    #[must_use]
    pub fn remaining(&self, unix_seconds: i64) -> Option<u32> {
        let elapsed = self.elapsed(unix_seconds)?;
        let into = elapsed.checked_rem(u64::from(self.period))?;
        // A remainder is below the period, so it fits.
        u32::try_from(into).ok().map(|into| self.period - into)
    }

    /// Seconds since `t0`; `None` before it.
    fn elapsed(&self, unix_seconds: i64) -> Option<u64> {
        // Two i64 can be further apart than an i64 holds, never further than a u64.
        u64::try_from(i128::from(unix_seconds) - i128::from(self.t0)).ok()
    }
}

/// The counters from `behind` before `center` to `ahead` after it, cut at 0 and 2⁶⁴ − 1.
///
/// For TOTP with one step either side: `window(step, 1, 1)`; for HOTP, which never goes back:
/// `window(next_counter, 0, look_ahead)` (RFC 4226 section 7.4, RFC 6238 section 5.2).
#[must_use]
pub const fn window(center: u64, behind: u64, ahead: u64) -> RangeInclusive<u64> {
    center.saturating_sub(behind)..=center.saturating_add(ahead)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_time_belongs_to_one_step() {
        let check = |period, t0, time, expected: Option<(u64, u32)>| {
            let totp = Totp { period, t0 };
            let actual = totp.step_at(time).zip(totp.remaining(time));
            assert_eq!(actual, expected, "{totp:?} at {time}");
        };

        check(30, 0, 0, Some((0, 30)));
        check(30, 0, 29, Some((0, 1)));
        check(30, 0, 30, Some((1, 30)));
        check(30, 0, 59, Some((1, 1)));
        check(30, 0, 20_000_000_000, Some((666_666_666, 10))); // the year 2603
        check(30, 0, -1, None);
        check(30, 0, i64::MIN, None);
        check(30, 0, i64::MAX, Some((307_445_734_561_825_860, 23)));

        check(60, 100, 99, None);
        check(60, 100, 100, Some((0, 60)));
        check(60, 100, 160, Some((1, 60)));
        check(60, -30, -1, Some((0, 31)));
        check(1, i64::MIN, i64::MAX, Some((u64::MAX, 1)));
        check(u32::MAX, 0, 4_294_967_294, Some((0, 1)));
        check(u32::MAX, i64::MAX, i64::MIN, None);

        check(0, 0, 0, None);
        check(0, 0, 59, None);
    }

    #[test]
    fn a_step_begins_at_a_time() {
        let check = |period, t0, step, expected| {
            assert_eq!(Totp { period, t0 }.starts_at(step), expected, "step {step}");
        };

        check(30, 0, 0, 0);
        check(30, 0, 1, 30);
        check(30, 0, 666_666_666, 19_999_999_980);
        check(60, 100, 2, 220);
        check(60, -100, 1, -40);
        check(30, 0, u64::MAX, i64::MAX);
        check(u32::MAX, i64::MAX, u64::MAX, i64::MAX);
        check(1, i64::MIN, u64::MAX, i64::MAX);
        check(1, i64::MIN, 0, i64::MIN);
    }

    #[test]
    fn a_window_stops_at_the_ends() {
        let check = |center, behind, ahead, expected| {
            assert_eq!(window(center, behind, ahead), expected);
        };

        check(5, 1, 1, 4..=6);
        check(5, 0, 0, 5..=5);
        check(0, 1, 1, 0..=1);
        check(u64::MAX, 1, 1, u64::MAX - 1..=u64::MAX);
        check(7, u64::MAX, u64::MAX, 0..=u64::MAX);
    }

    proptest! {
        #[test]
        fn a_time_lies_within_its_step(period in 1_u32.., t0: i64, time: i64) {
            let totp = Totp { period, t0 };
            match totp.step_at(time).zip(totp.remaining(time)) {
                None => prop_assert!(time < t0),
                Some((step, remaining)) => {
                    prop_assert!((1..=period).contains(&remaining));
                    let into = i128::from(time) - i128::from(totp.starts_at(step));
                    prop_assert_eq!(into + i128::from(remaining), i128::from(period));
                }
            }
        }
    }
}
