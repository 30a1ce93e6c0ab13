//! Pauses between the slices of upkeep, so that the processor is there for the attempts that come.

use std::time::Duration;

use store::Store;

use super::index::Haste;

/// The longest pause, in milliseconds.
const LONGEST: u64 = 50;
/// A pause lasts a millisecond for so many attempts. They do not need that long: the rest
/// is for those to come, of whom nobody knows yet.
const PER_MILLISECOND: u64 = 2;

/// What somebody does in slices while others are served. How many attempts wait for their
/// batch would not tell: where the processor is short, they have not got that far yet.
pub(super) struct Pauses<'a> {
    store: &'a Store,
    haste: Haste,
    /// Attempts that had come when the slice began.
    before: u64,
}

impl<'a> Pauses<'a> {
    /// A slice begins.
    pub(super) fn new(store: &'a Store, haste: Haste) -> Self {
        let before = store.attempts();
        Self {
            store,
            haste,
            before,
        }
    }

    /// A slice has ended, and the next one begins afterwards: the later the more attempts
    /// came beside this one.
    pub(super) async fn give_way(&mut self) {
        let came = self.store.attempts() - self.before;
        match (self.haste, pause(came)) {
            (Haste::Now, _) | (_, None) => tokio::task::yield_now().await,
            (Haste::InTime, Some(pause)) => tokio::time::sleep(pause).await,
        }
        self.before = self.store.attempts();
    }
}

fn pause(came: u64) -> Option<Duration> {
    let millis = came.div_ceil(PER_MILLISECOND).min(LONGEST);
    (millis > 0).then(|| Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_attempts_came_the_longer_is_the_pause() {
        let check = |came: u64, expected: u64| {
            let millis = pause(came).map_or(0, |pause| pause.as_millis());
            assert_eq!(millis, u128::from(expected), "{came}");
        };
        check(0, 0);
        check(1, 1);
        check(40, 20);
        check(100, 50);
        check(u64::MAX, 50);
    }
}
