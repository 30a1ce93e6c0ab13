//! The lanes of a node take turns, unless so much waits that more than one has enough to do.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::Notify;

use super::inbox::Inbox;

/// So many attempts are worth a transaction of their own beside another one.
const ENOUGH: usize = 24;
/// The longest that anybody waits for others to gather: about as long as a commit takes.
const PATIENCE: Duration = Duration::from_millis(2);

/// Which lanes are at work. Much of what a transaction costs does not depend on how many
/// attempts it holds. So a lane that has few lets another one finish first: meanwhile more come.
#[derive(Debug, Default)]
pub(super) struct Turns {
    at_work: AtomicUsize,
    freed: Notify,
}

/// A lane at work, until this is dropped.
pub(super) struct Turn<'a>(&'a Turns);

impl Turns {
    /// Waits until it is worth to begin with what is in the inbox; not at all if that is nothing.
    pub(super) async fn wait<T>(&self, inbox: &Inbox<T>) {
        let gather = async {
            while self.at_work.load(Relaxed) > 0 && (1..ENOUGH).contains(&inbox.len()) {
                tokio::select! {
                    () = self.freed.notified() => {}
                    // Also when no more will come.
                    () = inbox.gathered(ENOUGH) => break,
                }
            }
        };
        // An attempt may wait that long; whoever is at work may be stuck.
        let _ = tokio::time::timeout(PATIENCE, gather).await;
    }

    /// A lane begins.
    pub(super) fn begin(&self) -> Turn<'_> {
        self.at_work.fetch_add(1, Relaxed);
        Turn(self)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.at_work.fetch_sub(1, Relaxed);
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::{Pin, pin};
    use std::task::Poll;

    use super::*;

    enum Event {
        OtherEnds,
        Come(usize),
        Stop,
    }

    /// Whether it still waits.
    async fn waits(wait: Pin<&mut impl Future<Output = ()>>) -> bool {
        let mut wait = wait;
        poll_fn(|cx| Poll::Ready(wait.as_mut().poll(cx).is_pending())).await
    }

    /// A lane with that many attempts, while another one is at work: whether it waits, at
    /// first and when something has happened.
    async fn check(waiting: usize, at_first: bool, event: Event, then: bool) {
        let (turns, inbox) = (Turns::default(), Inbox::new(2 * ENOUGH));
        (0..waiting).for_each(|item| inbox.push(item).unwrap());
        let mut other = Some(turns.begin());
        let mut wait = pin!(turns.wait(&inbox));
        assert_eq!(waits(wait.as_mut()).await, at_first, "{waiting}");
        match event {
            Event::OtherEnds => other = None,
            Event::Come(number) => (0..number).for_each(|item| inbox.push(item).unwrap()),
            Event::Stop => inbox.close(),
        }
        if at_first {
            assert_eq!(waits(wait.as_mut()).await, then, "{waiting}");
        }
        drop(other);
    }

    #[tokio::test]
    async fn few_attempts_wait_for_the_lane_at_work() {
        check(1, true, Event::OtherEnds, false).await;
        check(ENOUGH - 1, true, Event::OtherEnds, false).await;
    }

    #[tokio::test]
    async fn enough_attempts_and_none_do_not_wait() {
        check(ENOUGH, false, Event::OtherEnds, false).await;
        check(0, false, Event::OtherEnds, false).await;
    }

    #[tokio::test]
    async fn those_who_gather_meanwhile_go_together() {
        check(4, true, Event::Come(ENOUGH - 5), true).await;
        check(4, true, Event::Come(ENOUGH - 4), false).await;
    }

    #[tokio::test]
    async fn nobody_waits_once_the_server_stops() {
        check(4, true, Event::Stop, false).await;
    }

    #[tokio::test]
    async fn nobody_waits_when_no_lane_is_at_work() {
        let (turns, inbox) = (Turns::default(), Inbox::new(1));
        drop(turns.begin());
        inbox.push(0).unwrap();
        assert!(!waits(pin!(turns.wait(&inbox))).await);
    }

    #[tokio::test]
    async fn a_lane_that_is_stuck_keeps_no_other_one() {
        let (turns, inbox) = (Turns::default(), Inbox::new(1));
        inbox.push(0).unwrap();
        let _stuck = turns.begin();
        let mut wait = pin!(turns.wait(&inbox));
        assert!(waits(wait.as_mut()).await);
        let long = Duration::from_secs(60);
        assert!(tokio::time::timeout(long, wait).await.is_ok());
    }
}
