//! Where submissions wait: a bounded queue that wakes its consumer once a batch, not once a request.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::Time;
use tokio::sync::oneshot;

use super::{Reply, Submission};
use crate::error::StoreError;

/// A submission and whoever waits for its answer.
pub(crate) struct Waiting {
    pub submission: Submission,
    pub reply: oneshot::Sender<Reply>,
    /// How often its batch was rolled back because of others.
    pub tries: u32,
    /// The time of the first batch that found its user locked by somebody else.
    pub held_since: Option<Time>,
}

/// Waits for an answer, but not longer than that: the outcome is unknown then.
pub(crate) async fn answer<T>(
    longest: Duration,
    receiver: oneshot::Receiver<Result<T, StoreError>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(longest, receiver).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) | Err(_) => Err(StoreError::gone()),
    }
}

/// A first-in, first-out queue of that many places.
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    places: usize,
}

struct State<T> {
    waiting: VecDeque<T>,
    closed: bool,
    /// The consumer sleeps, and wants to be woken when so many wait.
    wake_at: Option<usize>,
}

impl<T> Queue<T> {
    pub(crate) fn new(places: usize) -> Self {
        Self {
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                closed: false,
                wake_at: None,
            }),
            places,
        }
    }

    /// Adds one; true when the consumer has to be woken. When the queue is full or
    /// closed the item is dropped, and with it whoever waits for it learns.
    pub(crate) fn push(&self, item: T) -> Result<bool, StoreError> {
        let mut state = self.lock();
        if state.closed {
            return Err(StoreError::gone());
        }
        if state.waiting.len() >= self.places {
            return Err(StoreError::Busy);
        }
        state.waiting.push_back(item);
        let wakes = state
            .wake_at
            .is_some_and(|enough| state.waiting.len() >= enough);
        if wakes {
            state.wake_at = None;
        }
        Ok(wakes)
    }

    /// Takes up to `most` items, and says how many waited.
    pub(crate) fn take(&self, most: usize, into: &mut Vec<T>) -> usize {
        let mut state = self.lock();
        // Whoever takes is awake.
        state.wake_at = None;
        let waited = state.waiting.len();
        let count = waited.min(most);
        into.extend(state.waiting.drain(..count));
        waited
    }

    /// Marks the consumer as asleep until so many wait; false when they do already.
    pub(crate) fn sleep_until(&self, enough: usize) -> bool {
        let mut state = self.lock();
        let sleeps = state.waiting.len() < enough && !state.closed;
        state.wake_at = sleeps.then_some(enough);
        sleeps
    }

    /// Marks the consumer as asleep; false when there is something to do first.
    pub(crate) fn sleep(&self) -> bool {
        self.sleep_until(1)
    }

    /// No more is taken in; what waits is still served.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
    }

    /// Closed and empty: the consumer may go.
    pub(crate) fn is_done(&self) -> bool {
        let state = self.lock();
        state.closed && state.waiting.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing in here can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_consumer_is_woken_once_however_many_arrive() {
        let queue = Queue::new(3);
        assert!(queue.sleep());
        assert!(queue.push(1).unwrap());
        assert!(!queue.push(2).unwrap());
        assert!(!queue.sleep());
        let mut taken = Vec::new();
        assert_eq!(queue.take(1, &mut taken), 2);
        assert_eq!(taken, [1]);
    }

    #[test]
    fn a_consumer_that_wants_several_is_woken_by_the_last_of_them() {
        let queue = Queue::new(5);
        assert!(queue.sleep_until(3));
        assert!(!queue.push(1).unwrap());
        assert!(!queue.push(2).unwrap());
        assert!(queue.push(3).unwrap());
        assert!(!queue.push(4).unwrap());
        assert!(!queue.sleep_until(4));
        assert!(queue.sleep_until(5));
        // It has more to do than it now asks for: it is awake.
        assert!(!queue.sleep());
        assert!(!queue.push(5).unwrap());
    }

    #[test]
    fn a_consumer_that_has_taken_meanwhile_is_not_woken() {
        let queue = Queue::new(5);
        assert!(queue.sleep_until(2));
        queue.push(1).unwrap();
        queue.take(1, &mut Vec::new());
        assert!(!queue.push(2).unwrap());
        assert!(!queue.push(3).unwrap());
    }

    #[test]
    fn a_full_or_closed_queue_refuses_and_serves_what_it_has() {
        let queue = Queue::new(1);
        queue.push(1).unwrap();
        assert!(matches!(queue.push(2), Err(StoreError::Busy)));
        queue.close();
        assert!(matches!(queue.push(3), Err(StoreError::Unavailable(None))));
        assert!(!queue.is_done());
        let mut taken = Vec::new();
        queue.take(9, &mut taken);
        assert_eq!(taken, [1]);
        assert!(queue.is_done());
    }
}
