//! Full load for minutes: what a look at the server every few seconds showed, and whether it stayed flat.

use serde::{Deserialize, Serialize};

use super::figures::Run;

const MINUTE: f64 = 60.0;

/// When the server has its working memory, in seconds of load.
const SETTLED: f64 = MINUTE;

/// A server under full load for minutes.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Soak {
    pub(crate) scene: String,
    pub(crate) connections: u32,
    /// Devices in the database, all of them driven.
    pub(crate) stored: u32,
    /// Seconds asked for.
    pub(crate) seconds: u32,
    pub(crate) per_second: f64,
    pub(crate) p99_us: u64,
    /// Answers that were no acceptance.
    pub(crate) faults: u64,
    pub(crate) exhausted: bool,
    pub(crate) samples: Vec<Sample>,
}

/// One look at the server.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Since the driver was started.
    pub(crate) seconds: f64,
    /// That the server has accepted so far, by its own count.
    pub(crate) verifications: u64,
    /// Resident memory, in KiB.
    pub(crate) rss_kib: u64,
    /// Open files and connections.
    pub(crate) descriptors: u64,
    /// Size of the database: on SQLite the file and its log, on PostgreSQL what the server says.
    pub(crate) bytes: u64,
}

/// The most of something since the server had settled. An allocator takes and gives back, so what it
/// happened to hold at two single moments says little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Course {
    pub(crate) first_quarter: u64,
    pub(crate) highest: u64,
    pub(crate) last_quarter: u64,
}

impl Course {
    /// Whether the last quarter rose at most a tenth above the first.
    pub(crate) fn is_flat(self) -> bool {
        self.last_quarter * 10 <= self.first_quarter * 11
    }
}

/// Bytes that the database grew by with each verification, since the server had settled: before that,
/// the first writes of a log that is written over later would count as growth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Growth {
    pub(crate) first_quarter: f64,
    pub(crate) last_quarter: f64,
}

impl Growth {
    /// Whether the last quarter cost at most a tenth more than the first.
    pub(crate) fn is_flat(self) -> bool {
        self.last_quarter <= self.first_quarter * 1.1
    }
}

impl Soak {
    pub(crate) fn new(run: Run, seconds: u32, samples: Vec<Sample>) -> Self {
        Self {
            scene: run.scene,
            connections: run.connections,
            stored: run.stored,
            seconds,
            per_second: run.per_second,
            p99_us: run.p99_us,
            faults: run.faults,
            exhausted: run.exhausted,
            samples,
        }
    }

    /// Resident memory in KiB.
    pub(crate) fn memory(&self) -> Option<Course> {
        self.course(|sample| sample.rss_kib)
    }

    /// Open files and connections.
    pub(crate) fn descriptors(&self) -> Option<Course> {
        self.course(|sample| sample.descriptors)
    }

    /// Seconds of load after which the first of a course was looked at.
    pub(crate) fn settled_after(&self) -> Option<f64> {
        let load = self.under_load();
        Some(settled(load)?.seconds - load.first()?.seconds)
    }

    /// Growth of the database; nothing when there are too few samples to tell quarters.
    pub(crate) fn growth(&self) -> Option<Growth> {
        let load = self.under_load();
        let (first, last) = (settled(load)?, load.last()?);
        let long = stretch(last.seconds - first.seconds);
        let at = |moment: f64| {
            load.iter().min_by(|one, other| {
                let distance = |sample: &Sample| (sample.seconds - moment).abs();
                distance(one).total_cmp(&distance(other))
            })
        };
        let between = |from: &Sample, to: &Sample| {
            let count = to.verifications.checked_sub(from.verifications)?;
            let bytes = to.bytes as f64 - from.bytes as f64;
            (count > 0).then(|| bytes / count as f64)
        };
        Some(Growth {
            first_quarter: between(first, at(first.seconds + long)?)?,
            last_quarter: between(at(last.seconds - long)?, last)?,
        })
    }

    /// Between the least and the most that was seen, in verifications a second from sample to sample.
    pub(crate) fn pace(&self) -> Option<(f64, f64)> {
        // The first interval begins before the load does.
        let load = self.under_load().get(1..)?;
        let rates = load.windows(2).filter_map(|pair| {
            let seconds = pair[1].seconds - pair[0].seconds;
            let count = pair[1].verifications.checked_sub(pair[0].verifications)?;
            (seconds > 0.0).then(|| count as f64 / seconds)
        });
        rates.fold(None, |seen, rate| {
            let (low, high) = seen.unwrap_or((rate, rate));
            Some((rate.min(low), rate.max(high)))
        })
    }

    fn course(&self, value: impl Fn(&Sample) -> u64) -> Option<Course> {
        let load = self.under_load();
        let (first, last) = (settled(load)?.seconds, load.last()?.seconds);
        let long = stretch(last - first);
        let highest = |from: f64, to: f64| {
            let seen = load.iter().filter(|s| (from..=to).contains(&s.seconds));
            seen.map(&value).max()
        };
        Some(Course {
            first_quarter: highest(first, first + long)?,
            highest: highest(first, last)?,
            last_quarter: highest(last - long, last)?,
        })
    }

    /// From the last sample before the first verification on.
    fn under_load(&self) -> &[Sample] {
        let idle = self.samples.iter();
        let idle = idle.take_while(|sample| sample.verifications == 0).count();
        self.samples.get(idle.saturating_sub(1)..).unwrap_or(&[])
    }
}

/// A quarter of so many seconds, in whole minutes where it is longer than one: once a minute the server
/// begins the work that it leaves for later, and both quarters are to hold as much of that.
fn stretch(seconds: f64) -> f64 {
    let quarter = seconds / 4.0;
    if quarter < MINUTE {
        quarter
    } else {
        (quarter / MINUTE).floor() * MINUTE
    }
}

/// The first sample after [`SETTLED`]; after a third of a soak that is too short for that.
fn settled(load: &[Sample]) -> Option<&Sample> {
    let (first, last) = (load.first()?, load.last()?);
    let wait = SETTLED.min((last.seconds - first.seconds) / 3.0);
    load.iter()
        .find(|sample| sample.seconds >= first.seconds + wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 600 s at 10 a second, a sample every 10 s, after 20 s without load; memory, descriptors and bytes
    /// are functions of the verifications.
    fn soak(of: impl Fn(u64) -> (u64, u64, u64)) -> Soak {
        let samples = (0..=62u32).map(|n| {
            let verifications = u64::from(n).saturating_sub(2) * 100;
            let (rss_kib, descriptors, bytes) = of(verifications);
            Sample {
                seconds: f64::from(n) * 10.0,
                verifications,
                rss_kib,
                descriptors,
                bytes,
            }
        });
        Soak::new(Run::default(), 600, samples.collect())
    }

    #[test]
    fn what_stays_flat_is_flat() {
        let flat = soak(|count| {
            (
                if count < 600 { count } else { 60_000 },
                80,
                7_000 + count * 300,
            )
        });
        let course = flat.memory().unwrap();
        assert_eq!(
            (course.first_quarter, course.highest, course.last_quarter),
            (60_000, 60_000, 60_000),
            "the warming up does not count"
        );
        assert!(course.is_flat() && flat.descriptors().unwrap().is_flat());
        assert_eq!(flat.settled_after(), Some(60.0));
        let growth = flat.growth().unwrap();
        assert_eq!((growth.first_quarter, growth.last_quarter), (300.0, 300.0));
        assert!(growth.is_flat());
        assert_eq!(flat.pace(), Some((10.0, 10.0)));
    }

    #[test]
    fn what_grows_is_not_flat() {
        let leak = soak(|count| (50_000 + count * 10, 70 + count / 100, count * count));
        assert!(!leak.memory().unwrap().is_flat());
        assert!(!leak.descriptors().unwrap().is_flat());
        let growth = leak.growth().unwrap();
        assert_eq!(
            (growth.first_quarter, growth.last_quarter),
            (2_400.0, 10_800.0)
        );
        assert!(!growth.is_flat());
    }

    #[test]
    fn work_that_comes_once_a_minute_is_in_both_quarters_alike() {
        let rounds = soak(|count| (1, 1, count * 300 + count / 600 * 90_000));
        let growth = rounds.growth().unwrap();
        assert_eq!((growth.first_quarter, growth.last_quarter), (450.0, 450.0));
        let check = |seconds, expected: f64| assert!((stretch(seconds) - expected).abs() < 1e-9);
        check(540.0, 120.0);
        check(240.0, 60.0);
        check(238.0, 59.5);
        check(6.0, 1.5);
    }

    #[test]
    fn a_height_that_went_away_is_told() {
        let peak = soak(|count| (if count == 3_000 { 90_000 } else { 50_000 }, 80, count));
        let course = peak.memory().unwrap();
        assert_eq!((course.highest, course.last_quarter), (90_000, 50_000));
        assert!(course.is_flat());
    }

    /// Up and down by two thirds all the time: high at the end and low a minute after the start is
    /// no growth, and a low end hides none.
    #[test]
    fn what_goes_up_and_down_is_judged_by_its_heights() {
        let swinging = |count: u64| 30_000 + count / 100 % 4 * 10_000;
        let flat = soak(|count| (swinging(count + 100), swinging(count + 300), count));
        for course in [flat.memory(), flat.descriptors()] {
            let course = course.unwrap();
            assert_eq!(
                (course.first_quarter, course.highest, course.last_quarter),
                (60_000, 60_000, 60_000)
            );
            assert!(course.is_flat());
        }
        let leak = soak(|count| (swinging(count) + count * 2, 80, count));
        let course = leak.memory().unwrap();
        assert!(!course.is_flat(), "{course:?}");
    }

    #[test]
    fn a_tenth_is_the_limit() {
        let check = |last_quarter, flat| {
            let course = Course {
                first_quarter: 100,
                highest: 111,
                last_quarter,
            };
            assert_eq!(course.is_flat(), flat, "{last_quarter}");
        };
        check(110, true);
        check(111, false);
        check(20, true);
    }

    #[test]
    fn without_load_there_is_nothing_to_say() {
        let none = Soak::default();
        assert!(none.memory().is_none() && none.growth().is_none() && none.pace().is_none());
        let idle = Soak {
            samples: vec![Sample::default(), Sample::default()],
            ..Soak::default()
        };
        assert!(idle.growth().is_none(), "no division by none");
    }
}
