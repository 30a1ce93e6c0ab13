//! What the lines of one node know together about their database.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use domain::Time;

use crate::error::StoreError;

/// Shared by all lines of a node.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The latest time that any chain had when it was last looked at.
    mark: AtomicI64,
    /// The database's clock at that look.
    looked: AtomicI64,
    /// Chains that had to be left because the database has them otherwise.
    broken: AtomicU64,
    /// The server has been set to lose what it confirms.
    is_unsafe: AtomicBool,
}

impl Watch {
    /// For the database, which looks at all chains only when its clock is not in the
    /// second that begins there: once a second, and whenever the clock went back.
    pub(super) fn looked(&self) -> i64 {
        self.looked.load(Ordering::Relaxed)
    }

    /// Takes what a look has found, and says what time is not to be fallen behind. A mark
    /// never falls: also what a database has lost since was the time once.
    pub(super) fn mark(&self, clock: Time, found: Option<Time>) -> Time {
        if let Some(found) = found {
            self.mark.fetch_max(found.millis(), Ordering::Relaxed);
            self.looked.store(clock.millis(), Ordering::Relaxed);
        }
        Time::from_millis(self.mark.load(Ordering::Relaxed))
    }

    /// One more chain was left.
    pub(super) fn left_chain(&self) {
        self.broken.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were.
    pub(super) fn broken(&self) -> u64 {
        self.broken.load(Ordering::Relaxed)
    }

    /// Takes what speaks against the server's settings now, and says whether nothing does.
    pub(super) fn settings(&self, objection: Option<String>) -> bool {
        let was_unsafe = self.is_unsafe.swap(objection.is_some(), Ordering::AcqRel);
        match objection {
            Some(reason) if !was_unsafe => {
                tracing::error!(reason, "nothing is accepted from now on");
            }
            None if was_unsafe => tracing::info!("the server's settings are safe again"),
            _ => {}
        }
        !self.is_unsafe()
    }

    /// Whether something did when it was last looked at.
    pub(super) fn is_unsafe(&self) -> bool {
        self.is_unsafe.load(Ordering::Acquire)
    }

    /// Refuses work while it does.
    pub(super) fn refuse_unsafe(&self) -> Result<(), StoreError> {
        match self.is_unsafe() {
            true => Err(StoreError::lost(UnsafeSettings)),
            false => Ok(()),
        }
    }
}

/// Said when it began; this is for the log of each request.
#[derive(Debug, thiserror::Error)]
#[error("the database server runs with unsafe settings")]
struct UnsafeSettings;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_never_falls_and_a_look_is_remembered() {
        let watch = Watch::default();
        let check = |clock: i64, found: Option<i64>, mark: i64, looked: i64| {
            let found = found.map(Time::from_millis);
            let told = watch.mark(Time::from_millis(clock), found);
            assert_eq!((told.millis(), watch.looked()), (mark, looked));
        };
        check(10, Some(9), 9, 10);
        check(500, None, 9, 10);
        check(2000, Some(1900), 1900, 2000);
        check(50, Some(1800), 1900, 50);
    }
}
