//! Who is inside, so that at the connection limit somebody who only stands around makes room for somebody who waits outside.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::activity::Activity;

/// Whoever was served or came in so lately may stay: a client between two requests is at work.
const STAY: Duration = Duration::from_secs(1);

/// The connections there are.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    connections: HashMap<u64, Arc<Activity>>,
    /// The number of the next one.
    next: u64,
}

/// A connection among the others until this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    crowd: Arc<Crowd>,
    number: u64,
}

impl Crowd {
    /// One more.
    pub(super) fn enter(self: &Arc<Self>, activity: &Arc<Activity>) -> Place {
        let mut inside = self.lock();
        let number = inside.next;
        inside.next += 1;
        inside.connections.insert(number, Arc::clone(activity));
        Place {
            crowd: Arc::clone(self),
            number,
        }
    }

    /// Asks the connection to leave that has been without a request for longest, if that is long
    /// enough. It looks at all of them, which is done only at the limit while somebody waits.
    #[expect(
        clippy::disallowed_methods,
        reason = "compares with when a socket fell silent, by the same clock; nothing of the product is decided by it"
    )]
    pub(super) fn make_room(&self) {
        let now = Instant::now();
        let inside = self.lock();
        let standing = inside.connections.values();
        let standing = standing.filter_map(|activity| Some((activity.standing_since()?, activity)));
        if let Some((since, activity)) = standing.min_by_key(|(since, _)| *since)
            && now.saturating_duration_since(since) >= STAY
        {
            activity.send_away();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        // Nothing in here can panic half-way through a change.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.lock().connections.remove(&self.number);
    }
}
