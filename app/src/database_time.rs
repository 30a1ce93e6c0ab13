//! The database's time as this node knows it: by its own clock, and what that lacked at the last look.
//!
//! Whether a credential has expired is asked with every call, also where no query is
//! due. Nodes whose clocks disagree must not disagree about that (I-14).

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use domain::Time;

use crate::App;

/// How far the database's clock is ahead of this node's, in milliseconds.
#[derive(Default)]
pub(crate) struct Ahead(AtomicI64);

impl App {
    /// The time by which this node tells whether a credential has expired.
    pub(crate) fn now(&self) -> Time {
        self.clock.now().plus_millis(self.ahead.0.load(Relaxed))
    }

    /// Looks at the clock of a database that others share. One that cannot be reached
    /// has not changed its mind.
    pub(crate) async fn compare_clocks(&self) {
        if !self.store.is_shared() {
            return;
        }
        let before = self.clock.now();
        if let Ok(theirs) = self.store.now().await {
            // It was asked somewhere between the two: the middle is nearest to all cases.
            let way = self.clock.now().since(before);
            self.ahead.0.store(theirs.since(before) - way / 2, Relaxed);
        }
    }
}
