//! Rate counters that several servers share in Redis or Valkey: asked within a time limit, and never needed.
//!
//! A counter may be lost at any moment, and the whole server may be away: nothing that a
//! verdict depends on is kept here. While it is away nobody waits for it: after the first
//! call that failed, callers are told at once to count by themselves, and one task tries
//! to come back.

mod address;
#[cfg(test)]
mod cluster_tests;
mod examine;
mod link;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::rate::{Decision, Rate};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::error::StoreError;
pub use examine::RedisReport;
use link::{Fault, Link};

/// Where the counters are and how long somebody waits for them.
#[derive(Clone)]
pub struct RedisSettings {
    /// `redis://…`, or `rediss://…` for TLS; `redis+cluster://one,two` and
    /// `rediss+cluster://one,two` for nodes of a cluster. It may hold a password.
    pub url: String,
    /// A PEM file with the authorities that the server's certificate may come from; the
    /// public ones unless given.
    pub authorities: Option<PathBuf>,
    /// The longest that making a connection may take.
    pub connect: Duration,
    /// The longest that a caller waits for an answer.
    pub answer: Duration,
}

/// A key is `otpd:{name}`. In a cluster the part in braces alone chooses the slot, and a
/// call names one key.
const PREFIX: &str = "otpd";

/// How often an idle connection is tried, so that a server that froze is known of before
/// somebody has to wait for it.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Pauses between tries to come back: at first and at most, each shortened by up to half
/// so that the servers of a site do not come all at once.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The counters in Redis. Dropping it ends the connection.
pub struct SharedCounters {
    inner: Arc<Inner>,
    keeper: JoinHandle<()>,
}

struct Inner {
    target: link::Target,
    script: redis::Script,
    connect: Duration,
    answer: Duration,
    link: Mutex<State>,
    lost: Notify,
    nodes: AtomicU32,
    errors: AtomicU64,
    alone: AtomicU64,
    hasher: RandomState,
}

#[derive(Default)]
struct State {
    link: Option<Link>,
    /// Connections made so far: a late failure of an old one says nothing of the new one.
    made: u64,
    /// It was said that the server is away.
    told: bool,
}

/// One request as it is put to the script.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    pub rate: Rate,
    pub cost: u32,
    /// How far ahead of now the asking server remembers the counter to be, in µs.
    pub remembered_us: i64,
}

/// What the script answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    /// The clock of the Redis server, Unix µs, in whole milliseconds.
    pub now_us: i64,
    /// The counter after the request.
    pub tat_us: i64,
    /// 0: go ahead.
    pub retry_after_ms: i64,
}

impl Counted {
    pub(crate) fn decision(self) -> Decision {
        match self.retry_after_ms {
            0 => Decision::Allowed {
                new_tat: self.tat_us,
            },
            retry_after_ms => Decision::Limited { retry_after_ms },
        }
    }
}

impl SharedCounters {
    /// Makes a connection, or begins to try if there is nothing to connect to: a server
    /// starts without its Redis all the same.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] when the settings can never work.
    pub async fn open(settings: &RedisSettings) -> Result<Self, StoreError> {
        let inner = Arc::new(Inner::new(link::target(settings)?, settings));
        inner.look().await;
        let keeper = tokio::spawn(Arc::clone(&inner).keep());
        Ok(Self { inner, keeper })
    }

    /// Whether the last call was answered.
    pub fn is_there(&self) -> bool {
        self.inner.state().link.is_some()
    }

    /// Among how many servers the limits are divided while Redis is away.
    pub fn nodes(&self) -> u32 {
        self.inner.nodes.load(Ordering::Relaxed)
    }

    /// States how many servers are at work.
    pub fn set_nodes(&self, nodes: u32) {
        self.inner.nodes.store(nodes, Ordering::Relaxed);
    }

    /// Calls to Redis that failed, those included that only try to come back.
    pub fn errors(&self) -> u64 {
        self.inner.errors.load(Ordering::Relaxed)
    }

    /// Requests that this server counted by itself because Redis was away.
    pub fn counted_alone(&self) -> u64 {
        self.inner.alone.load(Ordering::Relaxed)
    }

    /// Counts a request of the source with that name. `None` when the server has not
    /// answered in time, or has not answered lately: the caller decides by itself.
    pub(crate) async fn count(&self, name: &[u8; 16], question: &Question) -> Option<Counted> {
        let counted = self.inner.count(name, question).await;
        if counted.is_none() {
            self.inner.alone.fetch_add(1, Ordering::Relaxed);
        }
        counted
    }
}

impl Drop for SharedCounters {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Inner {
    fn new(target: link::Target, settings: &RedisSettings) -> Self {
        Self {
            target,
            script: redis::Script::new(link::SCRIPT),
            connect: settings.connect,
            answer: settings.answer,
            link: Mutex::default(),
            lost: Notify::new(),
            nodes: AtomicU32::new(1),
            errors: AtomicU64::new(0),
            alone: AtomicU64::new(0),
            hasher: RandomState::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn count(&self, name: &[u8; 16], question: &Question) -> Option<Counted> {
        let link = self.state().link.clone()?;
        match self.ask(&link, &key(name), question).await {
            Ok(counted) => Some(counted),
            Err(fault) => {
                self.lose(link.number, &fault);
                None
            }
        }
    }

    async fn ask(&self, link: &Link, key: &str, question: &Question) -> Result<Counted, Fault> {
        let asked = link.ask(&self.script, key, question);
        let answer = tokio::time::timeout(self.answer, asked).await;
        answer.unwrap_or(Err(Fault::Silent(self.answer)))
    }

    /// Takes a connection that failed out of use.
    fn lose(&self, number: u64, fault: &Fault) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state();
        if state.link.as_ref().is_some_and(|it| it.number == number) {
            state.link = None;
            self.lost.notify_one();
        }
        if state.link.is_none() && !std::mem::replace(&mut state.told, true) {
            tracing::warn!(%fault, "Redis is away: each server counts its part of the limits by itself");
        }
    }

    /// Takes a connection that has just answered into use.
    fn find(&self, link: Link) {
        let mut state = self.state();
        state.link = Some(link);
        if std::mem::take(&mut state.told) {
            tracing::info!("Redis is back: the servers count together");
        }
    }

    /// Tries the connection, or to make one; true if there is one.
    async fn look(&self) -> bool {
        let current = self.state().link.clone();
        let (number, answered) = match current {
            Some(link) => (link.number, self.probe(&link).await),
            None => {
                let number = {
                    let mut state = self.state();
                    state.made += 1;
                    state.made
                };
                (number, self.come_back(number).await)
            }
        };
        if let Err(fault) = &answered {
            self.lose(number, fault);
        }
        answered.is_ok()
    }

    async fn come_back(&self, number: u64) -> Result<(), Fault> {
        let link = Link::make(&self.target, number, self.connect).await?;
        self.probe(&link).await?;
        self.find(link);
        Ok(())
    }

    /// A real count on a key of its own: a server that answers and cannot write is no use.
    async fn probe(&self, link: &Link) -> Result<(), Fault> {
        let question = Question {
            rate: Rate::new(1, 1, 1000).map_err(|_| Fault::Unusable)?,
            cost: 1,
            remembered_us: 0,
        };
        let key = format!("{PREFIX}:{{probe}}");
        self.ask(link, &key, &question).await.map(drop)
    }

    /// Keeps a connection, for ever. Pauses grow until a connection has lasted for a while,
    /// so that a server that comes and goes does not make everybody wait again and again.
    async fn keep(self: Arc<Self>) {
        let mut failures = u32::from(!self.is_linked());
        loop {
            if failures == 0 {
                let _ = tokio::time::timeout(LOOK_EVERY, self.lost.notified()).await;
                failures = u32::from(!self.is_linked() || !self.look().await);
                continue;
            }
            tokio::time::sleep(self.pause(failures)).await;
            failures = if self.look().await && self.lasts().await {
                0
            } else {
                (failures + 1).min(16)
            };
        }
    }

    fn is_linked(&self) -> bool {
        self.state().link.is_some()
    }

    /// Whether a connection that was just made is still in use at the next look.
    async fn lasts(&self) -> bool {
        let lost = tokio::time::timeout(LOOK_EVERY, async {
            while self.is_linked() {
                self.lost.notified().await;
            }
        });
        lost.await.is_err()
    }

    fn pause(&self, failures: u32) -> Duration {
        let whole = FIRST_PAUSE
            .saturating_mul(1 << (failures - 1).min(8))
            .min(LONGEST_PAUSE);
        let millis = u64::try_from(whole.as_millis()).unwrap_or(u64::MAX);
        let errors = self.errors.load(Ordering::Relaxed);
        let less = self.hasher.hash_one(errors) % (millis / 2 + 1);
        Duration::from_millis(millis - less)
    }
}

/// The key of the counter with that name.
fn key(name: &[u8; 16]) -> String {
    let mut key = format!("{PREFIX}:{{");
    for byte in name {
        // Writing to a text cannot fail.
        let _ = write!(key, "{byte:02x}");
    }
    key.push('}');
    key
}
