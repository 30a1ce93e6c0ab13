//! What is counted of the shared rate counters.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use store::SharedCounters;

/// Counters of Redis; all 0 where there is none.
pub(crate) struct RedisCounters {
    errors: Counter,
    alone: Counter,
    connected: Gauge<u64, AtomicU64>,
    nodes: Gauge<u64, AtomicU64>,
}

impl RedisCounters {
    /// Counters that stand in the registry.
    pub(super) fn new(registry: &mut Registry) -> Self {
        let counters = Self {
            errors: Counter::default(),
            alone: Counter::default(),
            connected: Gauge::default(),
            nodes: Gauge::default(),
        };
        let about = "Calls to Redis that failed or were not answered in time";
        registry.register("redis_errors", about, counters.errors.clone());
        let about = "Requests that this server counted by itself because Redis was away";
        registry.register("redis_counted_alone", about, counters.alone.clone());
        let about = "Whether Redis answers: 1 or 0";
        registry.register("redis_connected", about, counters.connected.clone());
        let about = "Servers among which the limits are divided while Redis is away";
        registry.register("redis_nodes", about, counters.nodes.clone());
        counters
    }

    /// Takes over what the shared counters know of themselves.
    pub(super) fn take(&self, shared: &SharedCounters) {
        let store = |counter: &Counter, number| counter.inner().store(number, Ordering::Relaxed);
        store(&self.errors, shared.errors());
        store(&self.alone, shared.counted_alone());
        self.connected.set(u64::from(shared.is_there()));
        self.nodes.set(u64::from(shared.nodes()));
    }
}
