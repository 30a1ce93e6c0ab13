//! The way into a lane: a queue that can be shut while the lane has no connection.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use crate::error::StoreError;
use crate::lane::queue::Queue;

/// Where work for one lane waits.
pub(super) struct Inbox<T> {
    queue: Queue<T>,
    wake: Notify,
    down: AtomicBool,
}

impl<T> Inbox<T> {
    pub(super) fn new(places: usize) -> Self {
        Self {
            queue: Queue::new(places),
            wake: Notify::new(),
            down: AtomicBool::new(false),
        }
    }

    /// Adds one. While the lane has no connection it is refused at once: whoever
    /// waits would wait in vain, and may ask again elsewhere.
    pub(super) fn push(&self, item: T) -> Result<(), StoreError> {
        if !self.is_open() {
            return Err(StoreError::gone());
        }
        if self.queue.push(item)? {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Takes up to `most` items, and says how many waited.
    pub(super) fn take(&self, most: usize, into: &mut Vec<T>) -> usize {
        self.queue.take(most, into)
    }

    /// Waits until there is something to do; false when nothing will ever come.
    pub(super) async fn rest(&self) -> bool {
        if self.queue.is_done() {
            return false;
        }
        if self.queue.sleep() {
            self.woken().await;
        }
        true
    }

    /// Waits until so many wait, or for the end.
    pub(super) async fn gathered(&self, enough: usize) {
        if self.queue.sleep_until(enough) {
            self.woken().await;
        }
    }

    /// Waits for the next item, or for the end.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// No more is taken in; what waits is still served.
    pub(super) fn close(&self) {
        self.queue.close();
        self.wake.notify_one();
    }

    /// Nothing will ever come.
    pub(super) fn is_done(&self) -> bool {
        self.queue.is_done()
    }

    /// The connection is gone: nothing is taken in, and what waits is dropped, so
    /// that whoever waits for it learns at once.
    pub(super) fn shut(&self) {
        self.down.store(true, Ordering::Release);
        self.queue.take(usize::MAX, &mut Vec::new());
    }

    /// There is a connection again.
    pub(super) fn reopen(&self) {
        self.down.store(false, Ordering::Release);
    }

    /// Whether work is taken in.
    pub(super) fn is_open(&self) -> bool {
        !self.down.load(Ordering::Acquire)
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_waits_is_dropped_with_the_connection_and_more_comes_with_the_next() {
        let inbox = Inbox::new(8);
        let (item, waiter) = tokio::sync::oneshot::channel::<()>();
        inbox.push(item).unwrap();
        inbox.shut();
        assert!(waiter.await.is_err());
        let refused = inbox.push(tokio::sync::oneshot::channel().0);
        assert!(matches!(refused, Err(StoreError::Unavailable(None))));
        inbox.reopen();
        inbox.push(tokio::sync::oneshot::channel().0).unwrap();
        assert_eq!(inbox.len(), 1);
    }

    #[tokio::test]
    async fn a_lane_at_rest_is_woken_by_work_and_by_the_end() {
        let inbox = Inbox::new(8);
        let rest = async { tokio::join!(inbox.rest(), async { inbox.push(1).unwrap() }).0 };
        assert!(rest.await);
        inbox.take(1, &mut Vec::new());
        let rest = async { tokio::join!(inbox.rest(), async { inbox.close() }).0 };
        assert!(rest.await);
        assert!(!inbox.rest().await);
    }
}
