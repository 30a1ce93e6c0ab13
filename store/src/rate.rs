//! Rate counters in memory: bounded, sharded, judged by the rule of `domain::rate`, and in step with shared ones.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::Time;
use domain::rate::{Decision, Rate, decide};

use crate::shared::{Question, SharedCounters};

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
        self.charge_by(&self.rate, source, now, cost)
    }

    /// The same among all servers that share the counters; `name` stands for the source
    /// there. While the shared ones cannot be asked, this server gives away its part of
    /// the limit, which begins where the whole stood when it last heard of it.
    ///
    /// What is remembered here is never more than what was counted there, so a source that
    /// is at its limit by that is refused without a question: neither a flood nor a loss of
    /// the shared counters lets more through this server than the limit.
    pub async fn charge_shared(
        &self,
        shared: &SharedCounters,
        name: &[u8; 16],
        source: &K,
        now: Time,
        cost: u32,
    ) -> Decision {
        let remembered = self.tat(source);
        let here = decide(remembered, now, &self.rate, cost);
        if matches!(here, Decision::Limited { .. }) {
            return here;
        }
        let now_us = now.millis().saturating_mul(1000);
        let question = Question {
            rate: self.rate,
            cost,
            remembered_us: remembered.map_or(0, |tat| tat.saturating_sub(now_us).max(0)),
        };
        let Some(counted) = shared.count(name, &question).await else {
            return self.charge_by(&self.rate.share(shared.nodes()), source, now, cost);
        };
        // By how far it is ahead, as the two clocks need not agree; and from the time before
        // the question, so that the way there and back is not counted.
        let ahead = counted.tat_us - counted.now_us;
        self.remember(source, now, now_us.saturating_add(ahead));
        counted.decision()
    }

    fn charge_by(&self, rate: &Rate, source: &K, now: Time, cost: u32) -> Decision {
        let mut counters = self.shard(source);
        let decision = decide(counters.get(source).copied(), now, rate, cost);
        if let Decision::Allowed { new_tat } = decision
            && cost > 0
        {
            keep(&mut counters, source, now, new_tat);
        }
        decision
    }

    fn tat(&self, source: &K) -> Option<i64> {
        self.shard(source).get(source).copied()
    }

    fn remember(&self, source: &K, now: Time, tat: i64) {
        let mut counters = self.shard(source);
        let known = counters.get(source).copied();
        if tat > known.unwrap_or(now.millis().saturating_mul(1000)) {
            keep(&mut counters, source, now, tat);
        }
    }

    fn shard(&self, source: &K) -> MutexGuard<'_, HashMap<K, i64>> {
        let shard = self.hasher.hash_one(source) as usize % SHARDS;
        self.shards[shard]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn keep<K: Eq + Hash + Clone>(counters: &mut HashMap<K, i64>, source: &K, now: Time, tat: i64) {
    if counters.len() >= MOST_SOURCES / SHARDS && !counters.contains_key(source) {
        make_room(counters, now);
    }
    counters.insert(source.clone(), tat);
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
