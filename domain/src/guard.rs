//! The guess budget of a user: counts wrong codes, locks, disables.

use crate::policy::Budget;
use crate::time::Time;

const DAY_MS: i64 = 86_400_000;
/// The days, today included, over which failures are summed up.
const DAYS: i64 = 30;
const FIRST_LOCK_SECONDS: i64 = 30;
/// No lock that time ends is longer.
pub const LONGEST_LOCK_SECONDS: i64 = 15 * 60;
const HOUR_MS: i64 = 3_600_000;
const RECOVERY_TRIES_AN_HOUR: u32 = 10;

/// What all doors know of a user's wrong guesses. One per user; nothing that
/// changes a verdict is written without its lock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// Evaluated failures since the last full success.
    pub failures: u32,
    /// The end of the current or last lock.
    pub locked_until: Option<Time>,
    /// Since when the factor is disabled; only an administrator, a recovery code
    /// or a pass opens it.
    pub disabled_at: Option<Time>,
    /// Failures by UTC day (days since 1970, count), ascending, 30 days at most.
    pub days: Vec<(i64, u32)>,
    /// The beginning of the hour that `recovery_tries` counts.
    pub recovery_from: Option<Time>,
    /// Recovery codes and passes tried in that hour.
    pub recovery_tries: u32,
}

/// Whether a guess may be evaluated at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Guesses are evaluated.
    Open,
    /// Not before that time.
    Locked(Time),
    /// Not until somebody opens it.
    Disabled,
}

impl Guard {
    /// Whether a guess may be evaluated at `now`.
    pub fn standing(&self, now: Time) -> Standing {
        if self.disabled_at.is_some() {
            return Standing::Disabled;
        }
        match self.locked_until {
            Some(until) if until > now => Standing::Locked(until),
            _ => Standing::Open,
        }
    }

    /// Counts one evaluated failure and locks or disables as the budget says:
    /// 30 s at the first lock, doubled with each further failure, 15 minutes at most.
    pub fn fail(&mut self, now: Time, budget: &Budget) {
        self.failures = self.failures.saturating_add(1);
        let month = self.count_today(now);
        if self.failures >= budget.disable_after || month >= budget.disable_after_30_days {
            self.disabled_at = Some(now);
        }
        if self.failures >= budget.lock_after {
            // 2^5 × 30 s is past the longest lock already: the shift cannot overflow.
            let doublings = (self.failures - budget.lock_after).min(5);
            let seconds = (FIRST_LOCK_SECONDS << doublings).min(LONGEST_LOCK_SECONDS);
            self.locked_until = Some(now.plus_millis(seconds * 1000));
        }
    }

    /// Forgets the consecutive failures after a full success; true when there was
    /// anything to forget. The 30-day count stays: slow guessing between the
    /// owner's logins is what it is there for.
    pub fn succeed(&mut self) -> bool {
        let changed = self.failures > 0 || self.locked_until.is_some();
        self.failures = 0;
        self.locked_until = None;
        changed
    }

    /// Opens a locked or disabled guard: an administrator, a recovery code or a pass.
    pub fn open(&mut self) {
        *self = Self::default();
    }

    /// Counts a try of a recovery code or a pass, which are judged while codes are
    /// locked.
    ///
    /// # Errors
    /// The end of the hour in which no more may be tried.
    pub fn try_recovery(&mut self, now: Time) -> Result<(), Time> {
        let ends = self.recovery_from.map(|from| from.plus_millis(HOUR_MS));
        match ends {
            Some(ends) if ends > now => {
                if self.recovery_tries >= RECOVERY_TRIES_AN_HOUR {
                    return Err(ends);
                }
                self.recovery_tries += 1;
            }
            _ => {
                self.recovery_from = Some(now);
                self.recovery_tries = 1;
            }
        }
        Ok(())
    }

    /// Guesses that may still fail before the next lock.
    pub fn remaining(&self, now: Time, budget: &Budget) -> u32 {
        match self.standing(now) {
            Standing::Open => budget.lock_after.saturating_sub(self.failures).max(1),
            Standing::Locked(_) | Standing::Disabled => 0,
        }
    }

    fn count_today(&mut self, now: Time) -> u32 {
        let today = now.millis().div_euclid(DAY_MS);
        self.days.retain(|(day, _)| *day > today - DAYS);
        match self.days.last_mut() {
            Some((day, count)) if *day == today => *count = count.saturating_add(1),
            _ => self.days.push((today, 1)),
        }
        self.days
            .iter()
            .fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// The daily counts as `day:count` pairs, the form in which they are stored.
    pub fn days_text(&self) -> String {
        let pairs: Vec<String> = self.days.iter().map(|(d, n)| format!("{d}:{n}")).collect();
        pairs.join(",")
    }

    /// Reads [`Guard::days_text`]; `None` when it is not of that form.
    pub fn days_from_text(text: &str) -> Option<Vec<(i64, u32)>> {
        if text.is_empty() {
            return Some(Vec::new());
        }
        text.split(',')
            .map(|pair| {
                let (day, count) = pair.split_once(':')?;
                Some((day.parse().ok()?, count.parse().ok()?))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Time {
        Time::from_millis(1_700_000_000_000 + seconds * 1000)
    }

    fn failed(times: u32) -> Guard {
        let mut guard = Guard::default();
        for _ in 0..times {
            guard.fail(at(0), &Budget::default());
        }
        guard
    }

    #[test]
    fn each_failure_from_the_fifth_locks_for_longer() {
        fn check(failures: u32, lock_seconds: Option<i64>) {
            let expected = lock_seconds.map_or(Standing::Open, |s| Standing::Locked(at(s)));
            assert_eq!(failed(failures).standing(at(0)), expected, "{failures}");
        }
        check(0, None);
        check(4, None);
        check(5, Some(30));
        check(6, Some(60));
        check(7, Some(120));
        check(8, Some(240));
        check(9, Some(480));
        check(10, Some(900));
        check(49, Some(900));
    }

    #[test]
    fn a_lock_ends_at_its_time_and_the_next_failure_locks_again() {
        let mut guard = failed(5);
        assert_eq!(guard.standing(at(29)), Standing::Locked(at(30)));
        assert_eq!(guard.standing(at(30)), Standing::Open);
        assert_eq!(guard.remaining(at(30), &Budget::default()), 1);
        guard.fail(at(30), &Budget::default());
        assert_eq!(guard.standing(at(30)), Standing::Locked(at(90)));
    }

    #[test]
    fn the_fiftieth_failure_disables_whatever_time_passes() {
        assert_ne!(failed(49).standing(at(1 << 30)), Standing::Disabled);
        assert_eq!(failed(50).standing(at(1 << 30)), Standing::Disabled);
    }

    #[test]
    fn two_hundred_failures_in_thirty_days_disable_despite_successes() {
        let mut guard = Guard::default();
        for n in 0..200 {
            assert_ne!(guard.standing(at(n * 10_000)), Standing::Disabled, "{n}");
            guard.fail(at(n * 10_000), &Budget::default());
            guard.succeed();
        }
        assert_eq!(guard.standing(at(2_000_000)), Standing::Disabled);
    }

    #[test]
    fn failures_older_than_thirty_days_are_forgotten() {
        let mut guard = Guard::default();
        for day in 0..400 {
            guard.fail(at(day * 86_400), &Budget::default());
            guard.succeed();
        }
        assert_eq!(guard.standing(at(400 * 86_400)), Standing::Open);
        assert_eq!(guard.days.len(), 30);
    }

    #[test]
    fn a_success_clears_the_run_but_not_the_month() {
        let mut guard = failed(4);
        assert!(guard.succeed());
        assert!(!guard.succeed());
        assert_eq!(guard.remaining(at(0), &Budget::default()), 5);
        assert_eq!(guard.days.iter().map(|d| d.1).sum::<u32>(), 4);
    }

    #[test]
    fn opening_forgets_everything() {
        let mut guard = failed(60);
        guard.open();
        assert_eq!(guard, Guard::default());
    }

    #[test]
    fn the_days_survive_their_text_form() {
        let mut guard = failed(3);
        guard.fail(at(200_000), &Budget::default());
        assert_eq!(
            Guard::days_from_text(&guard.days_text()),
            Some(guard.days.clone())
        );
        assert_eq!(Guard::days_from_text(""), Some(Vec::new()));
        assert_eq!(Guard::days_from_text("12"), None);
        assert_eq!(Guard::days_from_text("1:x"), None);
    }
}
