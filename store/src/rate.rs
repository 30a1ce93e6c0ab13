//! Rate counters in memory: bounded, sharded, judged by the rule of `domain::rate`.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, PoisonError};

use domain::Time;
use domain::rate::{Decision, Rate, decide};

const SHARDS: usize = 16;
/// Sources remembered at most, in all shards together.
const MOST_SOURCES: usize = 65_536;

/// Counters of one limit, by source.
pub struct RateCounters<K> {
    rate: Rate,
    shards: Vec<Mutex<HashMap<K, i64>>>,
    hasher: RandomState,
}

impl<K: Eq + Hash + Clone> RateCounters<K> {
    /// Counters that start empty.
    pub fn new(rate: Rate) -> Self {
        Self {
            rate,
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }

    /// Counts `cost` for that source if the rate allows it; a cost of 0 only asks.
    pub fn charge(&self, source: &K, now: Time, cost: u32) -> Decision {
        let shard = self.hasher.hash_one(source) as usize % SHARDS;
        let mut counters = self.shards[shard]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let decision = decide(counters.get(source).copied(), now, &self.rate, cost);
        if let Decision::Allowed { new_tat } = decision
            && cost > 0
        {
            if counters.len() >= MOST_SOURCES / SHARDS && !counters.contains_key(source) {
                make_room(&mut counters, now);
            }
            counters.insert(source.clone(), new_tat);
        }
        decision
    }
}

/// Forgets sources that have nothing left to remember; if most have, the half that is
/// nearest to that. So a flood of addresses pushes out what it brought itself, and
/// making room costs one look at each source per many that come in.
fn make_room<K: Eq + Hash>(counters: &mut HashMap<K, i64>, now: Time) {
    let now_us = now.millis().saturating_mul(1000);
    counters.retain(|_, tat| *tat > now_us);
    let half = MOST_SOURCES / SHARDS / 2;
    if counters.len() > half {
        let mut tats: Vec<i64> = counters.values().copied().collect();
        let (_, median, _) = tats.select_nth_unstable(half);
        let median = *median;
        let mut spare = counters.len() - half;
        counters.retain(|_, tat| {
            let goes = spare > 0 && *tat <= median;
            spare -= usize::from(goes);
            !goes
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters() -> RateCounters<u32> {
        RateCounters::new(Rate::new(60, 60_000, 60).unwrap())
    }

    #[test]
    fn sources_are_counted_apart() {
        let counters = counters();
        let now = Time::from_millis(1_700_000_000_000);
        let allowed = |source| matches!(counters.charge(&source, now, 1), Decision::Allowed { .. });
        for _ in 0..60 {
            assert!(allowed(1));
        }
        assert!(!allowed(1));
        assert!(allowed(2));
    }

    #[test]
    fn memory_stays_bounded_under_a_flood_of_sources() {
        let counters = counters();
        let now = Time::from_millis(1_700_000_000_000);
        for source in 0..200_000 {
            counters.charge(&source, now, 1);
        }
        let kept: usize = counters
            .shards
            .iter()
            .map(|s| s.lock().unwrap().len())
            .sum();
        assert!(kept <= MOST_SOURCES, "{kept}");
    }
}
