//! When a mail that could not be handed over is tried again, and when that has lost its sense.

use domain::Time;

const SECOND_MS: i64 = 1000;

/// The longest pause between two tries, in seconds.
const LONGEST_PAUSE: u32 = 60;

/// When to try again after the try number `tries` (from 1) failed at `now`; `None` when
/// the mail would come too late: its code has expired by then.
///
/// The pauses are 1, 2, 4 … 60 seconds, each shortened by up to a half by `random`, so
/// that the mails which a dead server has left waiting do not all come back at once.
pub(crate) fn next_try(tries: u32, now: Time, expires_at: Time, random: u64) -> Option<Time> {
    let seconds = 1_u32
        .checked_shl(tries.saturating_sub(1))
        .filter(|seconds| (1..=LONGEST_PAUSE).contains(seconds))
        .unwrap_or(LONGEST_PAUSE);
    let pause = i64::from(seconds) * SECOND_MS;
    let half = pause / 2;
    // The remainder is below half + 1, which an i64 holds.
    let spread = i64::try_from(random % (half.unsigned_abs() + 1)).unwrap_or(half);
    let at = now.plus_millis(pause - spread);
    (at < expires_at).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_seconds(1_800_000_000);
    const NEVER: Time = Time::from_seconds(4_000_000_000);

    #[test]
    fn pauses_double_up_to_a_minute() {
        fn check(tries: u32, seconds: i64) {
            let longest = next_try(tries, NOW, NEVER, 0);
            assert_eq!(longest, Some(NOW.plus_seconds(seconds)), "{tries}");
            let half = u64::try_from(seconds * 500).unwrap();
            let shortest = next_try(tries, NOW, NEVER, half);
            assert_eq!(shortest, Some(NOW.plus_millis(seconds * 500)), "{tries}");
            for random in [1, 77, 0x1234_5678_9abc_def0, u64::MAX] {
                let at = next_try(tries, NOW, NEVER, random).unwrap();
                assert!(
                    Some(at) <= longest && Some(at) >= shortest,
                    "{tries} {random}"
                );
            }
        }
        check(0, 1);
        check(1, 1);
        check(2, 2);
        check(3, 4);
        check(4, 8);
        check(5, 16);
        check(6, 32);
        check(7, 60);
        check(8, 60);
        check(32, 60);
        check(33, 60);
        check(u32::MAX, 60);
    }

    #[test]
    fn tries_spread() {
        let at = |random| next_try(7, NOW, NEVER, random);
        assert_ne!(at(1), at(2));
    }

    #[test]
    fn a_mail_that_would_come_too_late_is_given_up() {
        fn check(expires_in_ms: i64, tried: bool) {
            let expires_at = NOW.plus_millis(expires_in_ms);
            assert_eq!(next_try(1, NOW, expires_at, 0).is_some(), tried);
        }
        check(1001, true);
        check(1000, false);
        check(999, false);
        check(0, false);
        check(-1, false);
    }
}
