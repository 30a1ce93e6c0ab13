//! The rate-limit rule: the generic cell rate algorithm (GCRA) as a pure function.
//!
//! One number a key says it all: the *theoretical arrival time* (TAT), in Unix
//! microseconds, at which the key's debt is paid off. Whoever keeps the number (a map
//! in memory, a script in Redis) adds nothing to the rule; a TAT at or before now
//! equals no TAT, so such an entry may be dropped.
//!
//! Only integers are used, and every intermediate value stays below 2^53 for times up
//! to the year 2184, so that a Lua script, whose numbers are doubles, computes the
//! same answers bit for bit. That script gets [`Rate::interval_us`],
//! [`Rate::tolerance_us`] and the cost, takes `now` from its server, and does what
//! [`decide`] does, line by line (`store/src/shared/gcra.lua`).

use crate::time::Time;

/// `per` requests in `period_ms`, with at most `burst` of them at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    per: u32,
    period_ms: i64,
    burst: u32,
}

/// The numbers make no usable rate. The message is written for the administrator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a rate needs a count, a period and a burst of 1 or more, and its burst must refill within 35 years"
)]
pub struct RateError;

/// What [`decide`] answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Go ahead, and keep `new_tat` (Unix microseconds) for the key.
    Allowed {
        /// The key's next theoretical arrival time.
        new_tat: i64,
    },
    /// Refuse; nothing is to be stored, for a refusal costs the caller nothing.
    Limited {
        /// The smallest number of milliseconds after which the same request passes if
        /// nothing else is spent meanwhile; [`NEVER`] if its cost exceeds the burst.
        retry_after_ms: i64,
    },
}

/// The `retry_after_ms` of a request that costs more than the whole burst.
pub const NEVER: i64 = i64::MAX;

/// 2^50 µs are 35 years. The largest value met is now + tolerance + price, and the price
/// is at most the tolerance: below 2^53, where doubles cease to be exact, until 2184.
const MAX_TOLERANCE_US: i64 = 1 << 50;

impl Rate {
    /// `per` requests in `period_ms` milliseconds, up to `burst` of them at once.
    ///
    /// # Errors
    /// [`RateError`] if a number is zero or negative, or if a spent burst would take
    /// more than 35 years to refill.
    pub const fn new(per: u32, period_ms: i64, burst: u32) -> Result<Rate, RateError> {
        if per == 0 || period_ms <= 0 || burst == 0 || period_ms > MAX_TOLERANCE_US / 1000 {
            return Err(RateError);
        }
        let rate = Rate {
            per,
            period_ms,
            burst,
        };
        if rate.interval_us() > MAX_TOLERANCE_US / burst as i64 {
            return Err(RateError);
        }
        Ok(rate)
    }

    /// The number of requests that each period allows.
    pub const fn per(&self) -> u32 {
        self.per
    }

    /// The length of the period in milliseconds.
    pub const fn period_ms(&self) -> i64 {
        self.period_ms
    }

    /// How many requests may come at once.
    pub const fn burst(&self) -> u32 {
        self.burst
    }

    /// Microseconds that one request costs, rounded up so that rounding never lets
    /// more through than the rate says. Above a million a second it stays at 1.
    pub const fn interval_us(&self) -> i64 {
        let period_us = self.period_ms * 1000;
        let per = self.per as i64;
        (period_us - 1) / per + 1
    }

    /// Microseconds that a key's TAT may lie ahead of now: the price of a whole burst.
    pub const fn tolerance_us(&self) -> i64 {
        self.interval_us() * self.burst as i64
    }

    /// What one of `nodes` servers may allow by itself while they cannot count together:
    /// together never more than this rate, but for the one at once that each keeps when
    /// there are more nodes than the burst has places.
    ///
    /// A request costs `nodes` times as long as before and the burst takes as long to
    /// refill, so a TAT kept under this rate stands for the same part of a share as it
    /// did of the whole.
    #[must_use]
    pub fn share(&self, nodes: u32) -> Rate {
        let nodes = nodes.max(1);
        let burst = (self.burst / nodes).max(1);
        let period_ms = self.period_ms.saturating_mul(i64::from(nodes));
        let slower = Rate::new(self.per, period_ms, burst);
        // Only a refill of more than 35 years is refused: then one at a time.
        slower.unwrap_or(Rate { burst: 1, ..*self })
    }
}

/// Judges a request of `cost` units made `now` by a key whose stored TAT is `tat`
/// (Unix microseconds, `None` if nothing is stored).
///
/// A cost of 0 peeks: it is answered like a cost of 1 but spends nothing.
///
/// A TAT further ahead than a full burst cannot come from this rate and clock: the
/// clock was set back, or the limit was lowered. It then counts as a burst just spent,
/// so a key waits at most one refill, however wrong the clock was.
pub fn decide(tat: Option<i64>, now: Time, rate: &Rate, cost: u32) -> Decision {
    if cost > rate.burst {
        return Decision::Limited {
            retry_after_ms: NEVER,
        };
    }
    let now_us = now.millis().saturating_mul(1000);
    let horizon = now_us.saturating_add(rate.tolerance_us());
    let paid_off = tat.unwrap_or(now_us).max(now_us).min(horizon);
    let price = rate.interval_us() * i64::from(cost.max(1));
    let next = paid_off.saturating_add(price);
    if next > horizon {
        let wait_us = next - horizon;
        return Decision::Limited {
            retry_after_ms: (wait_us - 1) / 1000 + 1,
        };
    }
    Decision::Allowed {
        new_tat: if cost == 0 { paid_off } else { next },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(per: u32, period_ms: i64, burst: u32) -> Rate {
        Rate::new(per, period_ms, burst).expect("a usable rate")
    }

    fn at(millis: i64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn unusable_rates_are_refused() {
        fn check(per: u32, period_ms: i64, burst: u32, usable: bool) {
            assert_eq!(Rate::new(per, period_ms, burst).is_ok(), usable);
        }
        check(1, 1, 1, true);
        check(0, 1, 1, false);
        check(1, 0, 1, false);
        check(1, -1, 1, false);
        check(1, 1, 0, false);
        check(u32::MAX, 1, u32::MAX, true);
        check(1, i64::MAX, 1, false);
        check(1, MAX_TOLERANCE_US / 1000, 1, true);
        check(1, MAX_TOLERANCE_US / 1000, 2, false);
        check(1, 86_400_000, u32::MAX, false);
    }

    #[test]
    fn a_burst_passes_then_one_an_interval() {
        // 60 a minute, 3 at once: one second each.
        let rate = rate(60, 60_000, 3);
        let mut tat = None;
        let mut check = |millis: i64, cost: u32, expected: Result<i64, i64>| {
            let answer = match decide(tat, at(millis), &rate, cost) {
                Decision::Allowed { new_tat } => {
                    tat = Some(new_tat);
                    Ok(new_tat)
                }
                Decision::Limited { retry_after_ms } => Err(retry_after_ms),
            };
            assert_eq!(answer, expected, "at {millis} ms, cost {cost}");
        };
        check(10_000, 1, Ok(11_000_000));
        check(10_000, 1, Ok(12_000_000));
        check(10_000, 0, Ok(12_000_000));
        check(10_000, 2, Err(1000));
        check(10_000, 1, Ok(13_000_000));
        check(10_000, 0, Err(1000));
        check(10_000, 1, Err(1000));
        check(10_001, 1, Err(999));
        check(10_999, 1, Err(1));
        check(11_000, 1, Ok(14_000_000));
        check(11_000, 3, Err(3000));
        check(14_000, 3, Ok(17_000_000));
        check(14_000, 4, Err(NEVER));
        check(99_000, 4, Err(NEVER));
        check(99_000, 0, Ok(99_000_000));
    }

    #[test]
    fn the_shares_of_all_nodes_are_the_rate() {
        fn check(whole: Rate, nodes: u32, share: Rate) {
            assert_eq!(whole.share(nodes), share, "{whole:?} among {nodes}");
        }
        check(rate(120, 60_000, 120), 0, rate(120, 60_000, 120));
        check(rate(120, 60_000, 120), 1, rate(120, 60_000, 120));
        check(rate(120, 60_000, 120), 3, rate(120, 180_000, 40));
        check(rate(5, 3_600_000, 5), 2, rate(5, 7_200_000, 2));
        check(rate(5, 3_600_000, 5), 9, rate(5, 32_400_000, 1));
        let slowest = rate(1, MAX_TOLERANCE_US / 1000, 1);
        check(slowest, 2, slowest);
    }

    #[test]
    fn a_clock_set_back_costs_one_refill_at_most() {
        let rate = rate(1, 1000, 5);
        let hour_ahead = Some(3_600_000_000);
        assert_eq!(
            decide(hour_ahead, at(0), &rate, 5),
            Decision::Limited {
                retry_after_ms: 5000
            }
        );
    }

    #[test]
    fn the_ends_of_time_do_not_panic() {
        for millis in [i64::MIN, -1, 0, i64::MAX] {
            for tat in [None, Some(i64::MIN), Some(0), Some(i64::MAX)] {
                for cost in [0, 1, u32::MAX] {
                    decide(tat, at(millis), &rate(1, 1000, u32::MAX / 8), cost);
                }
            }
        }
    }

    #[test]
    fn every_number_is_an_exact_double_until_2184() {
        let now = Time::parse_rfc3339("2184-01-01T00:00:00Z").expect("a time");
        let slowest = rate(1, MAX_TOLERANCE_US / 1000, 1);
        let spent = now.millis() * 1000 + slowest.tolerance_us();
        assert!(spent + slowest.interval_us() < 1 << 53);
        let refill_ms = MAX_TOLERANCE_US / 1000;
        assert_eq!(
            decide(Some(spent), now, &slowest, 1),
            Decision::Limited {
                retry_after_ms: refill_ms
            }
        );
    }

    fn any_rate() -> impl Strategy<Value = Rate> {
        (1..5000u32, 1..200_000i64, 1..50u32).prop_map(|(per, ms, burst)| rate(per, ms, burst))
    }

    proptest! {
        /// The promise of the limit: in every interval, from any accepted request to
        /// any later one, no more than the burst plus what the rate refills.
        #[test]
        fn no_interval_takes_more_than_burst_and_refill(
            rate in any_rate(),
            requests in prop::collection::vec((0..3000i64, 0..4u32), 1..120),
        ) {
            let (mut now, mut tat, mut accepted) = (1_700_000_000_000, None, Vec::new());
            for (pause, cost) in requests {
                now += pause;
                if let Decision::Allowed { new_tat } = decide(tat, at(now), &rate, cost) {
                    tat = Some(new_tat);
                    accepted.push((now, i64::from(cost)));
                }
            }
            for (first, (from, _)) in accepted.iter().enumerate() {
                let mut spent = 0;
                for (until, cost) in &accepted[first..] {
                    spent += cost;
                    // spent <= burst + elapsed * per / period, multiplied out.
                    let above_burst = spent - i64::from(rate.burst());
                    let refill = (until - from) * i64::from(rate.per());
                    prop_assert!(above_burst * rate.period_ms() <= refill);
                }
            }
        }

        /// Waiting exactly as told is enough, a millisecond less is not.
        #[test]
        fn retry_after_is_exact(
            rate in any_rate(),
            ahead_us in 0..20_000_000i64,
            now in 0..4_000_000_000_000i64,
            cost in 0..50u32,
        ) {
            let horizon = now * 1000 + rate.tolerance_us();
            let tat = Some((now * 1000 + ahead_us).min(horizon));
            if let Decision::Limited { retry_after_ms } = decide(tat, at(now), &rate, cost) {
                prop_assert_eq!(retry_after_ms == NEVER, cost > rate.burst());
                if retry_after_ms != NEVER {
                    let later = |ms| decide(tat, at(now + ms), &rate, cost);
                    let passes = matches!(later(retry_after_ms), Decision::Allowed { .. });
                    prop_assert!(passes);
                    let too_early = matches!(later(retry_after_ms - 1), Decision::Limited { .. });
                    prop_assert!(too_early);
                }
            }
        }

        /// A peek tells what the next request of cost 1 gets, and spends nothing.
        #[test]
        fn a_peek_foretells_and_spends_nothing(
            rate in any_rate(),
            ahead_us in -1_000_000..20_000_000i64,
            now in 0..4_000_000_000_000i64,
        ) {
            let tat = now * 1000 + ahead_us;
            let real = decide(Some(tat), at(now), &rate, 1);
            match decide(Some(tat), at(now), &rate, 0) {
                Decision::Allowed { new_tat } => {
                    prop_assert_eq!(decide(Some(new_tat), at(now), &rate, 1), real);
                    let passes = matches!(real, Decision::Allowed { .. });
                    prop_assert!(passes);
                }
                limited => prop_assert_eq!(limited, real),
            }
        }
    }
}
