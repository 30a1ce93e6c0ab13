//! Requests wait for their turn in here, so that whoever asks whether the server lives need not wait behind all of them.
//!
//! A runtime works through its ready tasks in the order in which they became ready. With
//! thousands of clients that all want something, the question of a load balancer would be
//! answered when every request before it has been read, judged and answered. So a request is
//! only read and looked at when its bytes come, which takes a tenth of the time; then it waits in
//! here until it is let in, some at a time. In between the runtime looks at the sockets.

use std::collections::VecDeque;
use std::sync::atomic::{
    AtomicBool, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use tokio::sync::Notify;

/// Requests let in at once for each thread of the runtime. A runtime looks at its sockets after
/// 61 tasks; so many requests and, over SQLite, as many answers that leave stay below. (Measured
/// there with 2,560 clients: with 32 of each one `/livez` in a hundred waited for 80 to 100 ms,
/// with 20 for 15.)
const PER_THREAD: usize = 20;

/// What a request begins with that never waits.
const AT_ONCE: [&[u8]; 2] = [b"GET /livez", b"GET /readyz"];

/// Where all requests come through.
#[derive(Debug)]
pub(super) struct Turnstile {
    /// Requests that are let in until the sockets have been looked at again.
    at_once: usize,
    /// Those let in since then.
    let_in: AtomicUsize,
    waiting: Mutex<VecDeque<Arc<Ticket>>>,
    wanted: Notify,
}

/// A request that waits.
#[derive(Debug, Default)]
pub(super) struct Ticket {
    may_pass: AtomicBool,
    task: AtomicWaker,
}

impl Ticket {
    /// Ready once the request is let in.
    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.task.register(cx.waker());
        match self.may_pass.load(Acquire) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

impl Turnstile {
    /// For a runtime with that many threads.
    pub(super) fn new(threads: usize) -> Self {
        Self {
            at_once: PER_THREAD * threads.max(1),
            let_in: AtomicUsize::new(0),
            waiting: Mutex::default(),
            wanted: Notify::new(),
        }
    }

    /// Lets a request in that begins so, or gives out a ticket to wait with.
    pub(super) fn enter(&self, begins: &[u8]) -> Result<(), Arc<Ticket>> {
        if AT_ONCE.iter().any(|path| begins.starts_with(path)) {
            return Ok(());
        }
        let before = self.let_in.fetch_add(1, Relaxed);
        if before == 0 {
            self.wanted.notify_one();
        }
        if before < self.at_once {
            return Ok(());
        }
        let ticket = Arc::new(Ticket::default());
        self.lock().push_back(Arc::clone(&ticket));
        self.wanted.notify_one();
        Err(ticket)
    }

    /// Lets in those who wait, first come, first served. To be run beside the connections for
    /// as long as there are any.
    pub(super) async fn turn(&self) {
        loop {
            self.wanted.notified().await;
            loop {
                // What is ready has its turn, and the sockets are looked at.
                tokio::task::yield_now().await;
                if self.next_round() == 0 {
                    break;
                }
            }
        }
    }

    /// How many were let in.
    fn next_round(&self) -> usize {
        let next: Vec<_> = {
            let mut waiting = self.lock();
            let some = waiting.len().min(self.at_once);
            self.let_in.store(some, Relaxed);
            waiting.drain(..some).collect()
        };
        for ticket in &next {
            ticket.may_pass.store(true, Release);
            ticket.task.wake();
        }
        next.len()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Ticket>>> {
        // Nothing in here can panic half-way through a change.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    const POST: &[u8] = b"POST /verify HTTP/1.1";

    #[tokio::test]
    async fn as_many_as_may_are_let_in_at_once_and_the_others_in_order() {
        let turnstile = Arc::new(Turnstile::new(1));
        let tickets: Vec<_> = (0..3 * PER_THREAD)
            .filter_map(|_| turnstile.enter(POST).err())
            .collect();
        assert_eq!(tickets.len(), 2 * PER_THREAD);
        let may_pass = |range: std::ops::Range<usize>| {
            let tickets = tickets[range].iter();
            tickets.filter(|it| it.may_pass.load(Acquire)).count()
        };
        assert_eq!(may_pass(0..tickets.len()), 0);
        assert_eq!(turnstile.next_round(), PER_THREAD);
        assert_eq!(may_pass(0..PER_THREAD), PER_THREAD);
        assert_eq!(may_pass(PER_THREAD..tickets.len()), 0);
        // Nobody overtakes those who wait.
        assert!(turnstile.enter(POST).is_err());
        assert_eq!(turnstile.next_round(), PER_THREAD);
        assert_eq!(turnstile.next_round(), 1);
        assert_eq!(turnstile.next_round(), 0);
        assert!(turnstile.enter(POST).is_ok());
    }

    #[tokio::test]
    async fn whoever_asks_for_life_never_waits() {
        let turnstile = Turnstile::new(1);
        while turnstile.enter(POST).is_ok() {}
        for begins in ["GET /livez HTTP/1.1\r\n", "GET /readyz HTTP/1.1\r\n"] {
            assert!(turnstile.enter(begins.as_bytes()).is_ok(), "{begins}");
        }
        assert!(turnstile.enter(b"GET /health").is_err());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn everybody_who_waits_is_let_in() {
        let turnstile = Arc::new(Turnstile::new(1));
        let turning = Arc::clone(&turnstile);
        let turning = tokio::spawn(async move { turning.turn().await });
        for _ in 0..50 {
            let clients = (0..40).map(|_| {
                let turnstile = Arc::clone(&turnstile);
                tokio::spawn(async move {
                    for _ in 0..10 {
                        if let Err(ticket) = turnstile.enter(POST) {
                            poll_fn(|cx| ticket.poll(cx)).await;
                        }
                    }
                })
            });
            let all = futures_util::future::join_all(clients.collect::<Vec<_>>());
            let limit = Duration::from_secs(20);
            let all = tokio::time::timeout(limit, all).await;
            assert!(all.expect("nobody is forgotten").iter().all(Result::is_ok));
        }
        turning.abort();
    }
}
