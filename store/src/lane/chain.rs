//! The growing end of a chain, in the memory of the lane that owns it.

use domain::chain::{self, ChainName, Head, Link};
use domain::{Event, Time};

use super::{EventRow, Judge};
use crate::error::StoreError;

/// Sequence numbers take the low 40 bits of an event's id, the chain the rest.
pub(crate) const SEQ_BITS: u32 = 40;
/// How far the clock may stand behind what is stored before nothing is judged, in
/// milliseconds.
const CLOCK_TOLERANCE_MS: i64 = 2000;

/// The end of a chain. A batch works on a copy and puts it in place once committed.
#[derive(Clone, Debug)]
pub(crate) struct Tail {
    pub chain: i64,
    pub name: ChainName,
    pub head: Head,
    /// The latest time ever written: the clock never runs behind it.
    pub at: Time,
}

impl Tail {
    /// The time of a batch: the clock's, but never before what is stored.
    pub(crate) fn time(&self, clock: Time) -> Result<Time, StoreError> {
        self.time_after(clock, self.at)
    }

    /// The same where others write besides: never before what they have stored either.
    pub(crate) fn time_after(&self, clock: Time, mark: Time) -> Result<Time, StoreError> {
        let latest = self.at.max(mark);
        let behind_ms = latest.since(clock);
        if behind_ms > CLOCK_TOLERANCE_MS {
            return Err(StoreError::ClockBehind { behind_ms });
        }
        Ok(clock.max(latest))
    }

    /// Gives an event the next place.
    pub(crate) fn append(
        &mut self,
        event: Event,
        at: Time,
        judge: &dyn Judge,
    ) -> Result<EventRow, StoreError> {
        let personal = serde_json::to_string(&event.personal)
            .map_err(|error| StoreError::Corrupt(error.to_string()))?;
        let mut salt = [0; 16];
        judge.random(&mut salt);
        let digest = chain::personal_digest(&salt, &personal);
        let seq = self.head.seq + 1;
        let covered = chain::cover(&event, at, digest);
        let link = chain::link(&self.head.link, self.name, seq, &covered);
        let mac = judge.mac(&link);
        self.head = Head { seq, link };
        self.at = at;
        Ok(EventRow {
            id: event_id(self.chain, seq),
            at,
            event,
            personal,
            salt,
            link: link.0,
            mac,
        })
    }
}

/// The id of an event by its place.
pub(crate) fn event_id(chain: i64, seq: i64) -> i64 {
    (chain << SEQ_BITS) | seq
}

/// The place of an event by its id: chain and sequence number.
pub(crate) fn place(id: i64) -> (i64, i64) {
    (id >> SEQ_BITS, id & ((1 << SEQ_BITS) - 1))
}

/// A chain about to begin.
pub(crate) struct NewChain {
    pub tail: Tail,
    pub before: Option<(ChainName, Head)>,
    pub first_link: Link,
    pub first_mac: [u8; 16],
}

/// Begins a chain after the newest one there is.
pub(crate) fn begin(
    chain: i64,
    started: Time,
    before: Option<(ChainName, Head)>,
    judge: &dyn Judge,
) -> NewChain {
    let mut name = [0; 16];
    judge.random(&mut name);
    let name = ChainName(name);
    let first_link = chain::first_link(name, started, before);
    NewChain {
        tail: Tail {
            chain,
            name,
            head: Head {
                seq: 0,
                link: first_link,
            },
            at: started,
        },
        before,
        first_link,
        first_mac: judge.mac(&first_link),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_id_holds_its_place_and_sorts_by_it() {
        assert_eq!(place(event_id(7, 12)), (7, 12));
        assert!(event_id(7, (1 << 40) - 1) < event_id(8, 1));
    }

    #[test]
    fn the_clock_may_lag_a_little_and_then_the_batch_takes_the_stored_time() {
        let tail = Tail {
            chain: 1,
            name: ChainName([0; 16]),
            head: Head {
                seq: 0,
                link: Link([0; 32]),
            },
            at: Time::from_millis(10_000),
        };
        let check = |clock: i64, expected: Option<i64>| {
            let time = tail.time(Time::from_millis(clock)).ok();
            assert_eq!(time.map(Time::millis), expected, "{clock}");
        };
        check(10_001, Some(10_001));
        check(10_000, Some(10_000));
        check(8_000, Some(10_000));
        check(7_999, None);
        let check = |clock: i64, mark: i64, expected: Option<i64>| {
            let time = tail.time_after(Time::from_millis(clock), Time::from_millis(mark));
            assert_eq!(time.ok().map(Time::millis), expected, "{clock} {mark}");
        };
        check(10_001, 9_000, Some(10_001));
        check(9_000, 9_500, Some(10_000));
        check(9_000, 11_000, Some(11_000));
        check(9_000, 11_001, None);
    }
}
