//! What a connection is waiting for, and until when it may.
//!
//! A timer per request would be a lock and an allocation on the fastest path of the server (and
//! hyper's own `header_read_timeout` is such a timer, running through idle times as well, so that
//! idle connections could not live longer than slow headers). Instead each connection notes what
//! it does in a few atomics, and has one timer that is looked at again only when it fires or when
//! an earlier deadline comes up.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::Waker,
    time::Duration,
};

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

use super::{TransportSettings, TransportStats};

/// How long a connection that was asked to finish, or that only swallows the rest of a request
/// nobody reads, may stay without doing anything else.
const PARTING: u64 = 2_000;

/// The most bytes of an unread body that the protocol is left to skip: a piece that comes along with
/// the header, so that a small request keeps its connection when it is refused.
const SMALL_REST: u64 = 4096;

const NEVER: u64 = u64::MAX;

/// The patience of the settings, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    header: u64,
    idle: u64,
}

impl Patience {
    pub(super) fn new(settings: &TransportSettings) -> Self {
        Self::of(settings.header_timeout, settings.idle_timeout)
    }

    pub(super) fn of(header: Duration, idle: Duration) -> Self {
        Self {
            header: millis(header),
            idle: millis(idle),
        }
    }
}

/// What to do with a connection whose deadline may have passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing is overdue before this instant.
    WaitUntil(Instant),
    /// Idle for too long: ask it to finish.
    Finish,
    /// Close it now.
    Cut,
}

/// The state of one connection. Times are milliseconds since it was opened. All of it is written
/// by the connection's own task, except that the requests of HTTP/2 end on theirs; nothing here
/// publishes other memory, so relaxed ordering is enough.
#[derive(Debug)]
pub(super) struct Activity {
    pub(super) stats: Arc<TransportStats>,
    opened: Instant,
    patience: Patience,
    /// Requests handed to the router whose answers are not yet handed to the protocol.
    in_flight: AtomicU32,
    /// Part of a request's header may have come, or none has ever come.
    in_header: AtomicBool,
    /// When the header began or the last answer ended.
    since: AtomicU64,
    /// When the client stopped taking our bytes; `NEVER` while it takes them.
    blocked_since: AtomicU64,
    /// When swallowing unread bytes must end.
    linger_until: AtomicU64,
    multiplexed: AtomicBool,
    finishing: AtomicBool,
    body_unread: AtomicBool,
    /// Bytes of the unread body that may come at once after the answer.
    body_rest: AtomicU64,
    body_abandoned: AtomicBool,
    body_late: AtomicBool,
    sent_away: AtomicBool,
    /// A request has begun that we have not let in yet.
    held: AtomicBool,
    /// Wakes the connection's task to look whether it was sent away.
    task: AtomicWaker,
}

impl Activity {
    /// A connection that has just been opened and owes us its first request.
    #[expect(
        clippy::disallowed_methods,
        reason = "measures a socket's silence by the clock that tokio's timers use; nothing of the product is decided by it"
    )]
    pub(super) fn new(patience: Patience, stats: Arc<TransportStats>) -> Self {
        Self {
            stats,
            opened: Instant::now(),
            patience,
            in_flight: AtomicU32::new(0),
            in_header: AtomicBool::new(true),
            since: AtomicU64::new(0),
            blocked_since: AtomicU64::new(NEVER),
            linger_until: AtomicU64::new(NEVER),
            multiplexed: AtomicBool::new(false),
            finishing: AtomicBool::new(false),
            body_unread: AtomicBool::new(false),
            body_rest: AtomicU64::new(0),
            body_abandoned: AtomicBool::new(false),
            body_late: AtomicBool::new(false),
            sent_away: AtomicBool::new(false),
            held: AtomicBool::new(false),
            task: AtomicWaker::new(),
        }
    }

    /// Since when this connection has had no request under way; `None` while it has one, or has been
    /// asked to go already.
    pub(super) fn standing_since(&self) -> Option<Instant> {
        let stands = self.in_flight.load(Relaxed) == 0
            && !self.is_held()
            && !self.finishing.load(Relaxed)
            && !self.sent_away.load(Relaxed);
        stands.then(|| self.instant(self.since.load(Relaxed)))
    }

    /// A request waits for its turn, or waits no more. Its time is ours, not the client's.
    pub(super) fn hold(&self, held: bool) {
        self.held.store(held, Relaxed);
        if !held && self.in_header.load(Relaxed) {
            self.since.store(self.now(), Relaxed);
        }
    }

    /// Whether a request has come that is not let in yet.
    pub(super) fn is_held(&self) -> bool {
        self.held.load(Relaxed)
    }

    /// Somebody else needs the place.
    pub(super) fn send_away(&self) {
        self.sent_away.store(true, Relaxed);
        self.task.wake();
    }

    /// Whether somebody else gets the place now: a request that has come meanwhile goes first.
    fn is_to_go(&self) -> bool {
        self.sent_away.load(Relaxed)
            && !self.finishing.load(Relaxed)
            && self.in_flight.load(Relaxed) == 0
            && !self.is_held()
    }

    /// The task to wake; one for the connection's whole life.
    pub(super) fn belongs_to(&self, task: &Waker) {
        self.task.register(task);
    }

    fn now(&self) -> u64 {
        millis(self.opened.elapsed())
    }

    /// A header has come whole. The guard lives until the answer has been handed to the protocol.
    pub(super) fn request_begins(self: &Arc<Self>, multiplexed: bool) -> InFlight {
        self.in_flight.fetch_add(1, Relaxed);
        self.in_header.store(false, Relaxed);
        self.body_unread.store(false, Relaxed);
        self.body_rest.store(0, Relaxed);
        self.body_abandoned.store(false, Relaxed);
        if multiplexed {
            self.multiplexed.store(true, Relaxed);
        }
        InFlight(Arc::clone(self))
    }

    /// A body was dropped before its end. `left` is what was still to come, in bytes, when that is
    /// known.
    pub(super) fn body_left_unread(&self, left: Option<u64>) {
        self.body_unread.store(true, Relaxed);
        self.body_rest.store(left.unwrap_or(0), Relaxed);
        if left.is_none_or(|left| left > SMALL_REST) {
            self.body_abandoned.store(true, Relaxed);
        }
    }

    /// Whether more was left unread of the request in hand than the protocol skips by itself: the
    /// connection ends with its answer.
    pub(super) fn has_abandoned_body(&self) -> bool {
        self.body_abandoned.load(Relaxed)
    }

    /// A body did not come in time.
    pub(super) fn body_came_late(&self) {
        self.stats.count_timeout();
        self.body_late.store(true, Relaxed);
    }

    /// Whether a body of this connection was given up.
    pub(super) fn has_late_body(&self) -> bool {
        self.body_late.load(Relaxed)
    }

    /// The connection was asked to finish: once nothing is in flight it gets little time.
    pub(super) fn finish(&self) {
        self.finishing.store(true, Relaxed);
        if !self.in_header.load(Relaxed) {
            self.since.store(self.now(), Relaxed);
        }
    }

    /// Whether bytes that come in now begin a request. Between two requests of HTTP/1 they can only
    /// be the next header. HTTP/2 has control frames at any time, so there only whole requests count
    /// as activity.
    pub(super) fn expects_header(&self) -> bool {
        self.in_flight.load(Relaxed) == 0
            && !self.in_header.load(Relaxed)
            && !self.multiplexed.load(Relaxed)
    }

    /// Whether so many bytes, the first after the answer, can all be of the body that nobody read:
    /// the protocol skips that only if it is there at once. If the protocol had it already, these
    /// bytes begin the next header, as those who call this have seen for most of them.
    pub(super) fn passes_for_unread_body(&self, bytes: u64) -> bool {
        bytes <= self.body_rest.swap(0, Relaxed)
    }

    /// A header has begun.
    pub(super) fn header_begins(&self) {
        self.since.store(self.now(), Relaxed);
        self.in_header.store(true, Relaxed);
    }

    pub(super) fn blocked(&self) {
        if self.blocked_since.load(Relaxed) == NEVER {
            self.blocked_since.store(self.now(), Relaxed);
        }
    }

    pub(super) fn unblocked(&self) {
        if self.blocked_since.load(Relaxed) != NEVER {
            self.blocked_since.store(NEVER, Relaxed);
        }
    }

    /// Unread bytes are being swallowed, from now on for a moment only.
    pub(super) fn lingers(&self) {
        if self.linger_until.load(Relaxed) == NEVER {
            let until = self.now().saturating_add(PARTING);
            self.linger_until.store(until, Relaxed);
        }
    }

    /// Whether a body was dropped before its end.
    pub(super) fn has_unread_body(&self) -> bool {
        self.body_unread.load(Relaxed)
    }

    fn write_due(&self) -> u64 {
        self.blocked_since
            .load(Relaxed)
            .saturating_add(self.patience.idle)
            .min(self.linger_until.load(Relaxed))
    }

    fn read_due(&self) -> u64 {
        if self.in_flight.load(Relaxed) > 0 || self.is_held() {
            // The router's time is its own affair.
            return NEVER;
        }
        let patience = if self.in_header.load(Relaxed) {
            self.patience.header
        } else if self.finishing.load(Relaxed) {
            PARTING
        } else {
            self.patience.idle
        };
        self.since.load(Relaxed).saturating_add(patience)
    }

    /// The earliest instant at which something is overdue, in the unit of [`Alarm::set_for`].
    pub(super) fn due(&self) -> u64 {
        if self.is_to_go() {
            return 0;
        }
        self.write_due().min(self.read_due())
    }

    /// Looks at the clock and decides.
    pub(super) fn judge(&self) -> Verdict {
        let now = self.now();
        if self.write_due() <= now {
            if self.linger_until.load(Relaxed) == NEVER {
                self.stats.count_timeout();
            }
            return Verdict::Cut;
        }
        if self.is_to_go() {
            // A header that has begun may never end.
            return match self.in_header.load(Relaxed) {
                true => Verdict::Cut,
                false => Verdict::Finish,
            };
        }
        if self.read_due() <= now {
            if self.in_header.load(Relaxed) {
                self.stats.count_timeout();
                return Verdict::Cut;
            }
            return if self.finishing.load(Relaxed) {
                Verdict::Cut
            } else {
                Verdict::Finish
            };
        }
        // Requests of HTTP/2 end on other tasks: look again even if nothing is due.
        let again = self
            .due()
            .min(now.saturating_add(self.patience.idle.max(1)));
        Verdict::WaitUntil(self.instant(again))
    }

    /// `due` as an instant.
    pub(super) fn instant(&self, due: u64) -> Instant {
        self.opened + Duration::from_millis(due)
    }

    /// An instant in the unit of [`Activity::due`].
    pub(super) fn since_opening(&self, instant: Instant) -> u64 {
        millis(instant.duration_since(self.opened))
    }
}

/// A request whose answer is not finished.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Activity>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.since.store(self.0.now(), Relaxed);
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(NEVER)
}
