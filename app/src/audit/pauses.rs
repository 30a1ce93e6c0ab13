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

    /// Works at a slice's rows, so many at a time that they take a fraction of a millisecond:
    /// requests that come meanwhile may wait for their thread several times over. Each turn they
    /// have may last for milliseconds, so it is more at a time the more events are left to do.
    pub(super) async fn some_at_a_time<T>(
        &self,
        few: usize,
        rows: impl IntoIterator<Item = T>,
        work: impl FnMut(T),
    ) {
        in_turns(at_once(few, self.longest), rows, work).await;
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

async fn in_turns<T>(at_once: usize, rows: impl IntoIterator<Item = T>, mut work: impl FnMut(T)) {
    for (place, row) in rows.into_iter().enumerate() {
        if place > 0 && place.is_multiple_of(at_once) {
            tokio::task::yield_now().await;
        }
        work(row);
    }
}

/// The rows that are worked at in one go: all of a slice where there are no pauses either.
fn at_once(few: usize, longest: u64) -> usize {
    match usize::try_from(longest) {
        Ok(longest @ 1..) => few * LONGEST as usize / longest,
        Ok(0) | Err(_) => usize::MAX,
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
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn no_row_is_left_out_and_few_are_worked_at_before_others_have_their_turn() {
        for (rows, expected) in [
            (0, vec![0]),
            (4, vec![4]),
            (5, vec![4, 1]),
            (12, vec![4; 3]),
        ] {
            let seen = std::cell::RefCell::new(Vec::new());
            let mut work = pin!(in_turns(4, 0..rows, |row| seen.borrow_mut().push(row)));
            let mut context = Context::from_waker(Waker::noop());
            let (mut turns, mut before) = (Vec::new(), 0);
            loop {
                let polled = work.as_mut().poll(&mut context);
                turns.push(seen.borrow().len() - before);
                before = seen.borrow().len();
                if polled == Poll::Ready(()) {
                    break;
                }
            }
            assert_eq!(turns, expected);
            assert!(seen.borrow().iter().copied().eq(0..rows));
        }
    }

    #[test]
    fn the_more_attempts_came_the_longer_is_the_pause() {
        for (came, expected) in [(0, 0), (1, 1), (2, 1), (41, 21), (100, 50)] {
            assert_eq!(pause(came), expected, "{came}");
        }
    }

    #[test]
    fn the_more_is_left_to_do_the_more_rows_are_worked_at_in_one_go() {
        for (backlog, expected) in [
            (0, 25),
            (1_000_000, 50),
            (1_900_000, 625),
            (2_000_000, usize::MAX),
        ] {
            assert_eq!(at_once(25, longest(backlog)), expected, "{backlog}");
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
