//! Logins to an account that is asked for too often: each waits a little, a few at a time, before its password is judged.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::UserName;

use crate::settings::PublicLimits;

/// Where they wait. What can be tried at an account is bounded by the places of a name
/// and the pause, from however many networks it comes; a place costs a timer and a name.
pub(crate) struct Slowdown {
    pause: Duration,
    /// Places of one name.
    of_name: usize,
    /// Places of all names together.
    in_all: usize,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    in_all: usize,
    of_name: HashMap<UserName, usize>,
}

/// A place, given back when it is dropped: also by a client that hangs up.
struct Place {
    waiting: Arc<Mutex<Waiting>>,
    name: UserName,
}

impl Slowdown {
    pub(crate) fn new(limits: &PublicLimits) -> Self {
        Self {
            pause: limits.slow_login,
            of_name: limits.slow_logins_per_account,
            in_all: limits.slow_logins,
            waiting: Arc::default(),
        }
    }

    /// Waits for the length of the pause. False at once when too many wait already.
    pub(crate) async fn wait(&self, name: &UserName) -> bool {
        let Some(_place) = self.place(name) else {
            return false;
        };
        tokio::time::sleep(self.pause).await;
        true
    }

    /// Whole seconds after which a place has become free.
    pub(crate) fn retry_after(&self) -> u32 {
        let seconds = self.pause.as_millis().div_ceil(1000);
        u32::try_from(seconds).unwrap_or(u32::MAX).max(1)
    }

    fn place(&self, name: &UserName) -> Option<Place> {
        let mut waiting = lock(&self.waiting);
        let of_name = waiting.of_name.get(name).copied().unwrap_or(0);
        if waiting.in_all >= self.in_all || of_name >= self.of_name {
            return None;
        }
        waiting.in_all += 1;
        waiting.of_name.insert(name.clone(), of_name + 1);
        Some(Place {
            waiting: Arc::clone(&self.waiting),
            name: name.clone(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = lock(&self.waiting);
        waiting.in_all -= 1;
        let left = waiting.of_name.get(&self.name).map_or(0, |count| count - 1);
        match left {
            0 => drop(waiting.of_name.remove(&self.name)),
            left => drop(waiting.of_name.insert(self.name.clone(), left)),
        }
    }
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> UserName {
        UserName::parse(text).unwrap()
    }

    #[test]
    fn places_are_bounded_by_name_and_in_all_and_come_back() {
        let limits = PublicLimits {
            slow_logins_per_account: 2,
            slow_logins: 3,
            ..PublicLimits::default()
        };
        let room = Slowdown::new(&limits);
        let take = |text| room.place(&name(text));
        let first = take("alice").unwrap();
        let _second = take("alice").unwrap();
        assert!(take("alice").is_none());
        let bobs = take("bob").unwrap();
        assert!(take("carol").is_none());
        drop(bobs);
        assert!(take("alice").is_none());
        let _carols = take("carol").unwrap();
        drop(first);
        let _third = take("alice").unwrap();
        assert!(take("bob").is_none());
        assert_eq!(lock(&room.waiting).of_name.len(), 2);
    }

    #[tokio::test]
    async fn who_hangs_up_gives_the_place_back() {
        let limits = PublicLimits {
            slow_logins_per_account: 1,
            slow_login: Duration::from_millis(20),
            ..PublicLimits::default()
        };
        let room = Arc::new(Slowdown::new(&limits));
        let waits = tokio::spawn({
            let room = Arc::clone(&room);
            async move { room.wait(&name("alice")).await }
        });
        while lock(&room.waiting).in_all == 0 {
            tokio::task::yield_now().await;
        }
        assert!(!room.wait(&name("alice")).await);
        waits.abort();
        assert!(waits.await.is_err());
        assert!(room.wait(&name("alice")).await);
        assert_eq!(lock(&room.waiting).of_name.len(), 0);
    }
}
