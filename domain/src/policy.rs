//! Named security levels: how long a code is, how long it lives, how many guesses it may cost.

use std::collections::BTreeMap;

use otp::Digits;

/// The longest time a code may stay acceptable on either side of now, in seconds
/// (`period × window`): the ruling of the product, not of an RFC.
pub const LONGEST_WINDOW_SECONDS: u32 = 120;

/// How many wrong guesses a user has before a lock and before the factor is disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// From this consecutive failure on, each evaluated failure locks.
    pub lock_after: u32,
    /// At this consecutive failure the factor is disabled.
    pub disable_after: u32,
    /// At this many failures in 30 days the factor is disabled.
    pub disable_after_30_days: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            lock_after: 5,
            disable_after: 50,
            disable_after_30_days: 200,
        }
    }
}

impl Budget {
    /// The least that either of the two allows.
    #[must_use]
    pub fn stricter(self, other: Self) -> Self {
        Self {
            lock_after: self.lock_after.min(other.lock_after),
            disable_after: self.disable_after.min(other.disable_after),
            disable_after_30_days: self.disable_after_30_days.min(other.disable_after_30_days),
        }
    }
}

/// One security level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Length of the codes of devices registered under this level.
    pub digits: Digits,
    /// Seconds that a TOTP step lasts (15 to 120).
    pub period: u32,
    /// Steps accepted on either side of now.
    pub window: u32,
    /// Guesses that a user has.
    pub budget: Budget,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            digits: Digits::default(),
            period: 30,
            window: 1,
            budget: Budget::default(),
        }
    }
}

/// Why a period cannot be used with a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeriodError {
    /// Outside of what authenticator apps and this server support.
    #[error("period must be between 15 and 120 seconds")]
    OutOfRange,
    /// A code would live too long.
    #[error(
        "period times window is more than 120 seconds: choose a shorter period or a policy with a smaller window"
    )]
    LivesTooLong,
}

impl Policy {
    /// Whether a device of this level may have the given period, in seconds.
    ///
    /// # Errors
    /// [`PeriodError`] when the period is out of range or a code would live too long.
    pub fn check_period(&self, period: u32) -> Result<(), PeriodError> {
        if !(15..=120).contains(&period) {
            return Err(PeriodError::OutOfRange);
        }
        if period.saturating_mul(self.window) > LONGEST_WINDOW_SECONDS {
            return Err(PeriodError::LivesTooLong);
        }
        Ok(())
    }
}

/// The default level and the named ones of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    /// What holds for a device registered without a policy.
    pub default: Policy,
    /// What holds by name.
    pub named: BTreeMap<String, Policy>,
}

impl Policies {
    /// The level of that name, for a request that asks for it.
    pub fn named(&self, name: &str) -> Option<&Policy> {
        self.named.get(name)
    }

    /// The level in force for a stored device. For a level that has left the
    /// configuration since, the strictest of everything that is left: the device goes
    /// on working, but forgetting a level never loosens anything.
    pub fn of(&self, name: Option<&str>) -> Policy {
        match name {
            None => self.default,
            Some(name) => self
                .named(name)
                .copied()
                .unwrap_or_else(|| self.strictest()),
        }
    }

    fn strictest(&self) -> Policy {
        let stricter = |a: Policy, b: &Policy| Policy {
            window: a.window.min(b.window),
            budget: a.budget.stricter(b.budget),
            ..a
        };
        self.named.values().fold(self.default, stricter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_checked_against_range_and_window() {
        fn check(window: u32, period: u32, expected: Result<(), PeriodError>) {
            let policy = Policy {
                window,
                ..Policy::default()
            };
            assert_eq!(
                policy.check_period(period),
                expected,
                "window {window}, period {period}"
            );
        }
        check(1, 30, Ok(()));
        check(1, 15, Ok(()));
        check(1, 14, Err(PeriodError::OutOfRange));
        check(1, 120, Ok(()));
        check(1, 121, Err(PeriodError::OutOfRange));
        check(2, 60, Ok(()));
        check(2, 61, Err(PeriodError::LivesTooLong));
        check(0, 120, Ok(()));
        check(u32::MAX, 120, Err(PeriodError::LivesTooLong));
    }

    #[test]
    fn a_policy_that_left_the_configuration_falls_back_to_the_strictest() {
        let mut policies = Policies::default();
        let strict = Policy {
            window: 0,
            ..Policy::default()
        };
        policies.named.insert("strict".into(), strict);
        assert_eq!(policies.of(Some("strict")), strict);
        assert_eq!(policies.of(Some("gone")).window, 0);
        assert_eq!(policies.of(None), policies.default);
        assert!(policies.named("gone").is_none());
    }
}
