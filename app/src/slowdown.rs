//! Logins to an account that is asked for too often: each waits a little, a few at a time, before its password is judged.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::UserName;

use crate::limits::Source;
use crate::settings::PublicLimits;

/// Where they wait. What can be tried at an account is bounded by the places and the
/// pause, from one network and from however many; a place costs a timer and a name. They
/// are this server's own: several servers bound it to as many times as much.
pub(crate) struct Slowdown {
    pause: Duration,
    /// Places of one network at one name.
    of_network: usize,
    /// Places of one name for what is too much from all networks together.
    of_name: usize,
    /// Places of all names together.
    in_all: usize,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    in_all: usize,
    of_name: HashMap<UserName, usize>,
    of_network: HashMap<(UserName, Source), usize>,
}

/// A place, given back when it is dropped: also by a client that hangs up.
struct Place {
    waiting: Arc<Mutex<Waiting>>,
    network: (UserName, Source),
    /// It is one of those of its name.
    of_name: bool,
}

/// What there is too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crowd {
    /// Logins of one network at one account: they wait among themselves.
    Network,
    /// Logins of all networks at one account.
    Account,
}

impl Slowdown {
    pub(crate) fn new(limits: &PublicLimits) -> Self {
        Self {
            pause: limits.slow_login,
            of_network: limits.slow_logins_per_network,
            of_name: limits.slow_logins_per_account,
            in_all: limits.slow_logins,
            waiting: Arc::default(),
        }
    }

    /// Waits for the length of the pause. False at once when too many wait already.
    pub(crate) async fn wait(&self, name: &UserName, source: Source, crowd: Crowd) -> bool {
        let Some(_place) = self.place(name, source, crowd) else {
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

    fn place(&self, name: &UserName, source: Source, crowd: Crowd) -> Option<Place> {
        let mut waiting = lock(&self.waiting);
        let network = (name.clone(), source);
        let of_name = crowd == Crowd::Account;
        let full = waiting.in_all >= self.in_all
            || count(&waiting.of_network, &network) >= self.of_network
            || (of_name && count(&waiting.of_name, name) >= self.of_name);
        if full {
            return None;
        }
        waiting.in_all += 1;
        *waiting.of_network.entry(network.clone()).or_default() += 1;
        if of_name {
            *waiting.of_name.entry(name.clone()).or_default() += 1;
        }
        Some(Place {
            waiting: Arc::clone(&self.waiting),
            network,
            of_name,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = lock(&self.waiting);
        waiting.in_all -= 1;
        leave(&mut waiting.of_network, &self.network);
        if self.of_name {
            leave(&mut waiting.of_name, &self.network.0);
        }
    }
}

fn count<K: Eq + Hash>(places: &HashMap<K, usize>, key: &K) -> usize {
    places.get(key).copied().unwrap_or(0)
}

/// Who is not there takes no room.
fn leave<K: Eq + Hash>(places: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = places.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            places.remove(key);
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

    fn network(number: u8) -> Source {
        Source::of([198, 51, 100, number].into())
    }

    #[test]
    fn places_are_bounded_by_name_and_in_all_and_come_back() {
        let limits = PublicLimits {
            slow_logins_per_account: 2,
            slow_logins: 3,
            ..PublicLimits::default()
        };
        let room = Slowdown::new(&limits);
        let take = |text, from| room.place(&name(text), network(from), Crowd::Account);
        let first = take("alice", 1).unwrap();
        let _second = take("alice", 2).unwrap();
        assert!(take("alice", 3).is_none());
        let bobs = take("bob", 1).unwrap();
        assert!(take("carol", 1).is_none());
        drop(bobs);
        assert!(take("alice", 3).is_none());
        let _carols = take("carol", 1).unwrap();
        drop(first);
        let _third = take("alice", 3).unwrap();
        assert!(take("bob", 1).is_none());
        let waiting = lock(&room.waiting);
        assert_eq!((waiting.of_name.len(), waiting.of_network.len()), (2, 3));
    }

    #[test]
    fn a_network_has_places_of_its_own_at_each_name() {
        let limits = PublicLimits {
            slow_logins_per_network: 2,
            slow_logins_per_account: 3,
            ..PublicLimits::default()
        };
        let room = Slowdown::new(&limits);
        let take = |text, from, crowd| room.place(&name(text), network(from), crowd);
        let first = take("alice", 1, Crowd::Account).unwrap();
        let _second = take("alice", 1, Crowd::Account).unwrap();
        for crowd in [Crowd::Account, Crowd::Network] {
            assert!(take("alice", 1, crowd).is_none(), "{crowd:?}");
        }
        let _bobs = take("bob", 1, Crowd::Network).unwrap();
        let _third = take("alice", 2, Crowd::Account).unwrap();
        assert!(take("alice", 3, Crowd::Account).is_none());
        // What is too much for its network alone needs no place of the name, nor takes one.
        let _home = take("alice", 3, Crowd::Network).unwrap();
        drop(first);
        let _fourth = take("alice", 4, Crowd::Account).unwrap();
        assert!(take("alice", 5, Crowd::Account).is_none());
    }

    #[tokio::test]
    async fn who_hangs_up_gives_the_place_back() {
        let limits = PublicLimits {
            slow_logins_per_account: 1,
            slow_login: Duration::from_millis(20),
            ..PublicLimits::default()
        };
        let room = Arc::new(Slowdown::new(&limits));
        let alice = name("alice");
        let waits = tokio::spawn({
            let (room, alice) = (Arc::clone(&room), alice.clone());
            async move { room.wait(&alice, network(1), Crowd::Account).await }
        });
        while lock(&room.waiting).in_all == 0 {
            tokio::task::yield_now().await;
        }
        assert!(!room.wait(&alice, network(2), Crowd::Account).await);
        waits.abort();
        assert!(waits.await.is_err());
        assert!(room.wait(&alice, network(2), Crowd::Account).await);
        let waiting = lock(&room.waiting);
        assert_eq!((waiting.of_name.len(), waiting.of_network.len()), (0, 0));
    }
}
