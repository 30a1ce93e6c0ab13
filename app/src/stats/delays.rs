//! How long codes take from their sending to their acceptance: mean, median, 95th percentile.

use std::collections::BTreeMap;

use domain::Time;

use super::{BucketStats, share, start_of};

/// One row of the histogram: the hour, the slot, how many, and their sum in seconds.
type Row = (Time, i64, i64, i64);

/// Puts the figures into their buckets. The rows are sorted by hour.
pub(super) fn fill(buckets: &mut BTreeMap<i64, BucketStats>, rows: &[Row], length: i64) {
    let mut gathered: BTreeMap<i64, Histogram> = BTreeMap::new();
    for (hour, slot, count, seconds) in rows {
        let histogram = gathered.entry(start_of(*hour, length).millis());
        histogram.or_default().add(*slot, *count, *seconds);
    }
    for (start, histogram) in gathered {
        if let Some(bucket) = buckets.get_mut(&start) {
            bucket.issue_to_verify_mean_seconds = histogram.mean();
            bucket.issue_to_verify_median_seconds = histogram.quantile(50);
            bucket.issue_to_verify_p95_seconds = histogram.quantile(95);
        }
    }
}

#[derive(Default)]
struct Histogram {
    slots: BTreeMap<i64, i64>,
    count: i64,
    seconds: i64,
}

impl Histogram {
    fn add(&mut self, slot: i64, count: i64, seconds: i64) {
        *self.slots.entry(slot).or_default() += count;
        self.count += count;
        self.seconds += seconds;
    }

    fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| share(self.seconds, self.count))
    }

    /// The smallest delay that so many percent do not exceed (nearest rank), in seconds.
    fn quantile(&self, percent: i64) -> Option<f64> {
        let rank = (self.count * percent + 99) / 100;
        let mut seen = 0;
        let mut slots = self.slots.iter();
        let (slot, _) = slots.find(|(_, count)| {
            seen += **count;
            seen >= rank
        })?;
        Some(share(store::value_of(*slot), 1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_follow_the_histogram() {
        let mut histogram = Histogram::default();
        assert_eq!((histogram.mean(), histogram.quantile(50)), (None, None));
        for seconds in 1..=100 {
            histogram.add(store::slot_of(seconds * 1000), 1, seconds);
        }
        assert_eq!(histogram.mean(), Some(50.5));
        let near = |percent, expected: f64| {
            let found = histogram.quantile(percent).unwrap();
            assert!((found / expected - 1.0).abs() < 0.08, "{percent}: {found}");
        };
        near(50, 50.0);
        near(95, 95.0);
        near(100, 100.0);
    }
}
