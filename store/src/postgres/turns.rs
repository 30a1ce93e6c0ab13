//! The lanes of a node take turns: what comes gathers in one of them, and two work side by side only where each has enough.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::Notify;

use super::inbox::Inbox;

/// So many attempts are worth a transaction of their own beside another one.
const ENOUGH: usize = 24;
/// The longest that anybody waits for others to gather: about as long as a commit takes.
const PATIENCE: Duration = Duration::from_millis(2);

/// A lane that is at work for so long is stuck: nobody waits for it, and nothing gathers in it.
const STUCK: Duration = Duration::from_millis(100);

/// Which lanes are at work, and which one gathers. Much of what a transaction costs does not
/// depend on how many attempts it holds. So what comes gathers in one lane, and a lane that has
/// few lets another one finish first: meanwhile more come.
///
/// Several threads look and change at once; what is stale is so for one transaction.
#[derive(Debug)]
pub(super) struct Turns {
    lanes: Vec<Lane>,
    gathering: AtomicUsize,
    begun: AtomicUsize,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Lane {
    /// How many attempts it works on; 0 is idle, [`PASSED_OVER`] stuck.
    attempts: AtomicUsize,
    /// Which beginning it was, of all lanes.
    began: AtomicUsize,
}

/// In place of a number of attempts: nobody is to count on this lane.
const PASSED_OVER: usize = usize::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    AtWork { attempts: usize, began: usize },
    PassedOver,
}

/// A lane at work or away, until this is dropped.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    lane: usize,
}

impl Turns {
    pub(super) fn new(lanes: usize) -> Self {
        Self {
            lanes: (0..lanes).map(|_| Lane::default()).collect(),
            gathering: AtomicUsize::new(0),
            begun: AtomicUsize::new(0),
            freed: Notify::new(),
        }
    }

    /// The lane that is to get what comes now: one that begins soon.
    pub(super) fn gathering(&self) -> usize {
        self.gathering.load(Relaxed)
    }

    /// Waits until it is worth to begin with what is in the inbox; not at all if that is nothing.
    pub(super) async fn wait<T>(&self, inbox: &Inbox<T>) {
        let gather = async {
            while let Some(enough) = self.enough()
                && (1..enough).contains(&inbox.len())
            {
                tokio::select! {
                    () = self.freed.notified() => {}
                    // Also when no more will come.
                    () = inbox.gathered(enough) => break,
                }
            }
        };
        // An attempt may wait that long; whoever is at work may be stuck.
        let _ = tokio::time::timeout(PATIENCE, gather).await;
    }

    /// A lane begins with so many attempts. What comes from now on is for another one.
    pub(super) fn begin(&self, lane: usize, attempts: usize) -> Turn<'_> {
        if let Some(of) = self.lanes.get(lane) {
            of.began.store(self.begun.fetch_add(1, Relaxed), Relaxed);
            of.attempts.store(attempts, Relaxed);
        }
        self.hand_on(lane);
        Turn { turns: self, lane }
    }

    /// A lane has lost its connection without being at work: see [`Turn::away`].
    pub(super) fn leave(&self, lane: usize) -> Turn<'_> {
        Turn { turns: self, lane }.away()
    }

    /// Does the work of a lane that has begun.
    pub(super) async fn watch<F: Future>(&self, lane: usize, work: F) -> F::Output {
        let mut work = pin!(work);
        if let Ok(done) = tokio::time::timeout(STUCK, work.as_mut()).await {
            return done;
        }
        self.pass_over(lane);
        work.await
    }

    fn pass_over(&self, lane: usize) {
        let of = self.lanes.get(lane);
        // One that has ended its turn is left as it is.
        let stuck = |attempts: usize| (attempts > 0).then_some(PASSED_OVER);
        let passed = of.map(|of| of.attempts.fetch_update(Relaxed, Relaxed, stuck));
        if let Some(Ok(_)) = passed {
            self.hand_on(lane);
            self.freed.notify_one();
        }
    }

    fn hand_on(&self, lane: usize) {
        if self.gathering() == lane {
            self.gathering.store(self.after(lane), Relaxed);
        }
    }

    /// The lane that is to gather once this one has begun: one that is idle, or else the one
    /// that began first, or else itself.
    fn after(&self, lane: usize) -> usize {
        let number = self.lanes.len();
        let others = (1..number).map(|step| (lane + step) % number);
        let able = others.filter_map(|other| match self.state(other) {
            State::Idle => Some((None, other)),
            State::AtWork { began, .. } => Some((Some(began), other)),
            State::PassedOver => None,
        });
        able.min_by_key(|(began, _)| *began)
            .map_or(lane, |(_, other)| other)
    }

    /// How many have to wait in a lane for it to begin beside those at work: as many as one of
    /// them has, so that the lanes share what there is, and one commits while another reads.
    /// `None` when none is at work.
    fn enough(&self) -> Option<usize> {
        let states = (0..self.lanes.len()).map(|lane| self.state(lane));
        let (lanes, attempts) = states.fold((0, 0), |(lanes, sum), state| match state {
            State::AtWork { attempts, .. } => (lanes + 1, sum + attempts),
            State::Idle | State::PassedOver => (lanes, sum),
        });
        (lanes > 0).then(|| ENOUGH.max(attempts / lanes.max(1)))
    }

    fn state(&self, lane: usize) -> State {
        let Some(of) = self.lanes.get(lane) else {
            return State::PassedOver;
        };
        match of.attempts.load(Relaxed) {
            0 => State::Idle,
            PASSED_OVER => State::PassedOver,
            attempts => State::AtWork {
                attempts,
                began: of.began.load(Relaxed),
            },
        }
    }
}

impl Turn<'_> {
    /// The lane has lost its connection. What comes until this is dropped is for another one.
    pub(super) fn away(self) -> Self {
        if let Some(of) = self.turns.lanes.get(self.lane) {
            of.attempts.store(PASSED_OVER, Relaxed);
        }
        self.turns.hand_on(self.lane);
        self.turns.freed.notify_one();
        self
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let Self { turns, lane } = *self;
        if let Some(of) = turns.lanes.get(lane) {
            of.attempts.store(0, Relaxed);
        }
        // An idle lane begins sooner than one at work.
        if turns.state(turns.gathering()) != State::Idle {
            turns.gathering.store(lane, Relaxed);
        }
        turns.freed.notify_one();
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

    /// A lane with that many attempts, while another one is at work with `other` of them:
    /// whether it waits, at first and when something has happened.
    async fn check(other: usize, waiting: usize, at_first: bool, event: Event, then: bool) {
        let (turns, inbox) = (Turns::new(2), Inbox::new(256));
        (0..waiting).for_each(|item| inbox.push(item).unwrap());
        let mut other = Some(turns.begin(0, other));
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
        check(1, 1, true, Event::OtherEnds, false).await;
        check(1, ENOUGH - 1, true, Event::OtherEnds, false).await;
        check(100, 99, true, Event::OtherEnds, false).await;
    }

    #[tokio::test]
    async fn enough_attempts_and_none_do_not_wait() {
        check(ENOUGH, ENOUGH, false, Event::OtherEnds, false).await;
        check(100, 100, false, Event::OtherEnds, false).await;
        check(100, 0, false, Event::OtherEnds, false).await;
    }

    #[tokio::test]
    async fn those_who_gather_meanwhile_go_together() {
        check(1, 4, true, Event::Come(ENOUGH - 5), true).await;
        check(1, 4, true, Event::Come(ENOUGH - 4), false).await;
        check(100, 4, true, Event::Come(95), true).await;
        check(100, 4, true, Event::Come(96), false).await;
    }

    #[tokio::test]
    async fn nobody_waits_once_the_server_stops() {
        check(1, 4, true, Event::Stop, false).await;
    }

    #[tokio::test]
    async fn nobody_waits_when_no_lane_is_at_work() {
        let (turns, inbox) = (Turns::new(2), Inbox::new(1));
        drop(turns.begin(0, 1));
        inbox.push(0).unwrap();
        assert!(!waits(pin!(turns.wait(&inbox))).await);
    }

    #[tokio::test]
    async fn a_lane_that_is_stuck_keeps_no_other_one() {
        let (turns, inbox) = (Turns::new(2), Inbox::new(1));
        inbox.push(0).unwrap();
        let _stuck = turns.begin(0, 1);
        let mut wait = pin!(turns.wait(&inbox));
        assert!(waits(wait.as_mut()).await);
        let long = Duration::from_secs(60);
        assert!(tokio::time::timeout(long, wait).await.is_ok());
    }

    #[track_caller]
    fn gathers(turns: &Turns, expected: usize) {
        assert_eq!(turns.gathering(), expected);
    }

    #[test]
    fn what_comes_gathers_in_a_lane_that_begins_soon() {
        let turns = Turns::new(3);
        gathers(&turns, 0);
        let zero = turns.begin(0, 1);
        gathers(&turns, 1);
        let two = turns.begin(2, 1);
        gathers(&turns, 1);
        let one = turns.begin(1, 1);
        // All are at work; the one that began first.
        gathers(&turns, 0);
        drop(two);
        gathers(&turns, 2);
        drop((zero, one));
        gathers(&turns, 2);
        drop(turns.begin(2, 1));
        gathers(&turns, 0);
    }

    #[test]
    fn nothing_gathers_in_a_lane_that_is_away() {
        let turns = Turns::new(2);
        let away = turns.leave(0);
        gathers(&turns, 1);
        drop(turns.begin(1, 1));
        gathers(&turns, 1);
        // Nor does anybody wait for it.
        assert_eq!(turns.enough(), None);
        drop(away);
        let one = turns.begin(1, 1);
        gathers(&turns, 0);
        drop(one);
        turns.pass_over(0);
        gathers(&turns, 0);
    }

    #[tokio::test]
    async fn a_lane_that_takes_too_long_is_passed_over_until_it_ends() {
        let turns = Turns::new(2);
        let work = async {
            let one = turns.begin(1, 1);
            let zero = turns.begin(0, 1);
            drop(one);
            gathers(&turns, 1);
            let one = turns.begin(1, 1);
            gathers(&turns, 0);
            tokio::time::sleep(2 * STUCK).await;
            gathers(&turns, 1);
            assert_eq!(turns.enough(), Some(ENOUGH), "the other one is at work");
            drop(one);
            assert_eq!(turns.enough(), None);
            drop(zero);
        };
        turns.watch(0, work).await;
        drop(turns.begin(1, 1));
        gathers(&turns, 0);
        assert_eq!(turns.watch(0, std::future::ready(7)).await, 7);
    }

    #[test]
    fn a_lane_alone_gathers_what_comes() {
        let turns = Turns::new(1);
        let turn = turns.begin(0, 1);
        gathers(&turns, 0);
        drop(turn);
        gathers(&turns, 0);
    }
}
