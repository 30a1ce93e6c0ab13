//! Pauses between the slices of upkeep, so that the processor is there for the attempts that come.

use std::time::Duration;

use store::Store;

use super::index::Haste;

/// The longest pause, in milliseconds, when nearly nothing is left to do.
const LONGEST: u64 = 50;
/// With so many events left there are no pauses: upkeep that falls behind takes more of the
/// processor the further it does, so that it comes to rest somewhere before.
const LONGEST_BACKLOG: u64 = 2_000_000;
/// A pause lasts a millisecond for so many attempts. They do not need that long: the rest
/// is for those to come, of whom nobody knows yet.
const PER_MILLISECOND: u64 = 2;

/// What somebody does in slices while others are served. How many attempts wait for their
/// batch would not tell: where the processor is short, they have not got that far yet.
pub(super) struct Pauses<'a> {
    store: &'a Store,
    /// The longest pause, in milliseconds.
    longest: u64,
    /// Attempts that had come when the slice began.
    before: u64,
}

impl<'a> Pauses<'a> {
    /// The first slice begins, with so many events left to do.
    pub(super) fn new(store: &'a Store, haste: Haste, backlog: i64) -> Self {
        Self {
            store,
            longest: match haste {
                Haste::Now => 0,
                Haste::InTime => longest(backlog),
            },
            before: store.attempts(),
        }
    }

    /// A slice has ended, and the next one begins afterwards: the later the more attempts
    /// came beside this one.
    pub(super) async fn give_way(&mut self) {
        let came = self.store.attempts() - self.before;
        match pause(came).min(self.longest) {
            0 => tokio::task::yield_now().await,
            millis => tokio::time::sleep(Duration::from_millis(millis)).await,
        }
        self.before = self.store.attempts();
    }
}

/// The pause after a slice beside which so many attempts came, in milliseconds.
fn pause(came: u64) -> u64 {
    came.div_ceil(PER_MILLISECOND)
}

/// The longest pause with so many events left to do, in milliseconds.
fn longest(backlog: i64) -> u64 {
    let backlog = u64::try_from(backlog).unwrap_or(0);
    LONGEST * LONGEST_BACKLOG.saturating_sub(backlog) / LONGEST_BACKLOG
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_attempts_came_the_longer_is_the_pause() {
        for (came, expected) in [(0, 0), (1, 1), (2, 1), (41, 21), (100, 50)] {
            assert_eq!(pause(came), expected, "{came}");
        }
    }

    #[test]
    fn the_more_is_left_to_do_the_shorter_are_the_pauses() {
        let check = |backlog: i64, expected: u64| {
            assert_eq!(longest(backlog), expected, "{backlog}");
        };
        check(-1, 50);
        check(0, 50);
        check(1_000_000, 25);
        check(1_900_000, 2);
        check(2_000_000, 0);
        check(i64::MAX, 0);
    }
}
