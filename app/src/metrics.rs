//! What the server counts for operators; `docs/metrics.md` is the list of names.

mod mail;
mod redis;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use domain::Method;
use domain::verify::Verdict;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use store::{Answer, BatchFacts, StoreError};

use crate::{App, Error};

use mail::MailCounters;
use redis::RedisCounters;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

/// Counters that the hot path adds to without a look-up.
pub(crate) struct Metrics {
    registry: Mutex<Registry>,
    accepted: Counter,
    rejected: Counter,
    locked: Counter,
    inactive: Counter,
    replayed: Counter,
    unknown: Counter,
    skew: Histogram,
    latency: Histogram,
    batch_size: Histogram,
    queue_depth: Gauge,
    database_errors: Counter,
    busy: Counter,
    clock_behind: Counter,
    unauthenticated: Counter,
    rate_limited: Counter,
    locks: Counter,
    connections: Gauge<u64, AtomicU64>,
    connections_refused: Counter,
    chains_broken: Counter,
    pub(crate) mail: MailCounters,
    redis: RedisCounters,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("otpd");
        let results = Family::<ResultLabel, Counter>::default();
        let result = |word| results.get_or_create_owned(&ResultLabel { result: word });
        let metrics = Self {
            accepted: result("accepted"),
            rejected: result("rejected"),
            locked: result("locked"),
            inactive: result("inactive"),
            replayed: result("replayed"),
            unknown: result("unknown"),
            skew: Histogram::new([-2.0, -1.0, 0.0, 1.0, 2.0]),
            latency: Histogram::new([
                0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0,
            ]),
            batch_size: Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0]),
            queue_depth: Gauge::default(),
            database_errors: Counter::default(),
            busy: Counter::default(),
            clock_behind: Counter::default(),
            unauthenticated: Counter::default(),
            rate_limited: Counter::default(),
            locks: Counter::default(),
            connections: Gauge::default(),
            connections_refused: Counter::default(),
            chains_broken: Counter::default(),
            mail: MailCounters::new(&mut registry),
            redis: RedisCounters::new(&mut registry),
            registry: Mutex::new(Registry::default()),
        };
        metrics.register(&mut registry, results);
        *lock(&metrics.registry) = registry;
        metrics
    }

    /// Those without labels: their names and what they count.
    fn plain_counters(&self) -> [(&str, &str, &Counter); 7] {
        [
            (
                "database_errors",
                "Requests that the database failed",
                &self.database_errors,
            ),
            (
                "busy",
                "Requests refused because too much waited",
                &self.busy,
            ),
            (
                "clock_behind",
                "Requests refused because the clock stood back",
                &self.clock_behind,
            ),
            (
                "chains_broken",
                "Audit chains left because the database had lost or changed their end",
                &self.chains_broken,
            ),
            (
                "unauthenticated",
                "Requests without a valid credential",
                &self.unauthenticated,
            ),
            (
                "rate_limited",
                "Requests refused by a rate limit",
                &self.rate_limited,
            ),
            (
                "locks",
                "Times that a wrong code locked or disabled a user",
                &self.locks,
            ),
        ]
    }

    fn register(&self, registry: &mut Registry, results: Family<ResultLabel, Counter>) {
        for (name, help, metric) in self.plain_counters() {
            registry.register(name, help, metric.clone());
        }
        registry.register("verifications", "Codes judged, by result", results);
        registry.register(
            "verification_skew_steps",
            "Steps between the server's time and the accepted code",
            self.skew.clone(),
        );
        registry.register(
            "verification_seconds",
            "From the arrival of a verification to its committed answer",
            self.latency.clone(),
        );
        registry.register(
            "commit_batch_size",
            "Attempts per committed batch",
            self.batch_size.clone(),
        );
        registry.register(
            "queue_depth",
            "Attempts that waited when the last batch was taken",
            self.queue_depth.clone(),
        );
        registry.register("connections", "Open connections", self.connections.clone());
        registry.register(
            "connections_refused",
            "Connections closed at once because their address had too many",
            self.connections_refused.clone(),
        );
    }

    pub(crate) fn batch(&self, batch: &BatchFacts) {
        #[allow(clippy::cast_precision_loss, reason = "batches are small")]
        self.batch_size.observe(batch.attempts as f64);
        self.queue_depth
            .set(i64::try_from(batch.waiting).unwrap_or(i64::MAX));
    }

    /// Counts a judged code by its result.
    pub(crate) fn verification(&self, answer: &Answer, seconds: f64) {
        self.latency.observe(seconds);
        if answer.replayed {
            self.replayed.inc();
            return;
        }
        match answer.verdict {
            Verdict::Accepted { skew } => {
                self.accepted.inc();
                #[allow(clippy::cast_precision_loss, reason = "a window is a few steps")]
                self.skew.observe(skew as f64);
            }
            Verdict::Proven(proof) => {
                self.accepted.inc();
                if proof.method == Method::Otp {
                    #[allow(clippy::cast_precision_loss, reason = "a window is a few steps")]
                    self.skew.observe(proof.skew as f64);
                }
            }
            Verdict::Rejected | Verdict::Spent => {
                self.rejected.inc();
                if answer.locked_until.is_some() || answer.attempts_remaining == 0 {
                    self.locks.inc();
                }
            }
            Verdict::Locked => drop(self.locked.inc()),
            Verdict::Inactive | Verdict::NoFactor => drop(self.inactive.inc()),
            Verdict::Unknown => drop(self.unknown.inc()),
            _ => {}
        }
    }

    /// Counts what kept an attempt from being judged.
    pub(crate) fn failed(&self, error: &StoreError) {
        match error {
            StoreError::Busy => drop(self.busy.inc()),
            StoreError::ClockBehind { .. } => drop(self.clock_behind.inc()),
            StoreError::Unavailable(_) | StoreError::Statement(_) | StoreError::Corrupt(_) => {
                self.database_errors.inc();
            }
            StoreError::Refused(_)
            | StoreError::IdempotencyReused
            | StoreError::CallerRevoked
            | StoreError::Unusable(_) => {}
        }
    }

    pub(crate) fn unauthenticated(&self) {
        self.unauthenticated.inc();
    }

    pub(crate) fn rate_limited(&self) {
        self.rate_limited.inc();
    }
}

fn lock(registry: &Mutex<Registry>) -> std::sync::MutexGuard<'_, Registry> {
    registry
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl App {
    /// All metrics in the `OpenMetrics` text format. What only the front
    /// knows: the connections open now, and those refused since the start.
    ///
    /// # Errors
    /// When a value cannot be written as text, which is a defect.
    pub fn metrics_text(&self, connections: u64, refused: u64) -> Result<String, Error> {
        self.metrics.connections.set(connections);
        let counted = self.metrics.connections_refused.inner();
        counted.store(refused, Ordering::Relaxed);
        let broken = self.metrics.chains_broken.inner();
        broken.store(self.store.broken_chains(), Ordering::Relaxed);
        if let Some(shared) = &self.limits.shared {
            self.metrics.redis.take(shared);
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &lock(&self.metrics.registry))
            .map_err(|error| Error::Internal(Box::new(error)))?;
        Ok(text)
    }
}
