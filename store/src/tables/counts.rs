//! Rarer counters by name and the delays of sent codes, per hour and chain.

use domain::{Action, Ask, Event, Time, Verdict};

use super::stats::hour_of;
use crate::Store;
use crate::batch::Batch;
use crate::error::StoreError;
use crate::sql::statements;
use crate::value::{Value, params};

statements! {
    ADD_COUNT = "INSERT INTO stat_counts (bucket, chain, name, count) VALUES ($1, $2, $3, 1)
                 ON CONFLICT (bucket, chain, name) DO UPDATE SET count = stat_counts.count + 1";
    ADD_DELAY = "INSERT INTO stat_delays (bucket, chain, slot, count, seconds) VALUES ($1, $2, $3, 1, $4)
                 ON CONFLICT (bucket, chain, slot) DO UPDATE SET count = stat_delays.count + 1,
                   seconds = stat_delays.seconds + excluded.seconds";
    COUNTS = "SELECT bucket, name, CAST(SUM(count) AS BIGINT) FROM stat_counts
              WHERE bucket >= $1 AND bucket < $2 GROUP BY bucket, name ORDER BY bucket, name";
    DELAYS = "SELECT bucket, slot, CAST(SUM(count) AS BIGINT), CAST(SUM(seconds) AS BIGINT)
              FROM stat_delays WHERE bucket >= $1 AND bucket < $2
              GROUP BY bucket, slot ORDER BY bucket, slot";
    SWEEP_COUNTS = "DELETE FROM stat_counts WHERE (bucket, chain, name) IN
                    (SELECT bucket, chain, name FROM stat_counts WHERE bucket < $1
                     ORDER BY bucket, chain, name LIMIT $2) RETURNING CAST(1 AS BIGINT)";
    SWEEP_DELAYS = "DELETE FROM stat_delays WHERE (bucket, chain, slot) IN
                    (SELECT bucket, chain, slot FROM stat_delays WHERE bucket < $1
                     ORDER BY bucket, chain, slot LIMIT $2) RETURNING CAST(1 AS BIGINT)";
}

/// Slots to an octave, as a power of two.
const SLOT_BITS: u32 = 3;
const SLOTS: i64 = 1 << SLOT_BITS;

/// The slot of the histogram that a delay of that many milliseconds falls into; a
/// negative one counts as none.
///
/// Below 8 ms each millisecond has a slot of its own. From there on each doubling is
/// cut into eight slots of the same width, so that a slot is 6 to 13 % of its value wide.
#[must_use]
pub fn slot_of(delay_ms: i64) -> i64 {
    let delay = delay_ms.max(0);
    if delay < SLOTS {
        return delay;
    }
    let octave = delay.ilog2() - SLOT_BITS;
    (i64::from(octave) + 1) * SLOTS + ((delay >> octave) & (SLOTS - 1))
}

/// The middle of a slot in milliseconds: what a delay in it is told as, at most 7 % off.
#[must_use]
pub fn value_of(slot: i64) -> i64 {
    // The last slot that a delay can have; no other is ever written.
    let slot = slot.clamp(0, slot_of(i64::MAX));
    if slot < SLOTS {
        return slot;
    }
    let octave = slot / SLOTS - 1;
    let width = 1 << octave;
    ((SLOTS + slot % SLOTS) << octave) + width / 2
}

/// The counter of an attempt that is none of the verifications of [`super::stats`].
pub(crate) fn name_of(ask: &Ask, verdict: &Verdict) -> Option<&'static str> {
    let names = match ask {
        Ask::Emailed(_) => ["email_accepted", "email_locked", "email_rejected"],
        Ask::Login { .. } => [
            "login_2fa_accepted",
            "login_2fa_locked",
            "login_2fa_rejected",
        ],
        Ask::Spoken(_) => ["recovery_accepted", "recovery_locked", "recovery_rejected"],
        _ => return None,
    };
    let [accepted, locked, rejected] = names;
    Some(match verdict {
        Verdict::Proven(_) => accepted,
        Verdict::Locked => locked,
        _ => rejected,
    })
}

/// The counter of a change that is none of those of [`super::stats`].
pub(crate) fn name_of_change(event: &Event) -> Option<&'static str> {
    match (event.action, event.success) {
        (Action::Login, true) => Some("login_accepted"),
        (Action::Login, false) => Some("login_rejected"),
        (Action::CodeIssued, _) => Some("issued"),
        (Action::EmailCodeSent, _) => Some("email_sent"),
        (Action::MailFailed, _) => Some("mail_failed"),
        (Action::SignedUp, _) => Some("signup"),
        _ => None,
    }
}

/// The parameters of [`ADD_COUNT`].
pub(crate) fn count_params(name: &str, at: Time, chain: i64) -> Vec<Value> {
    params![hour_of(at), chain, name]
}

/// The parameters of [`ADD_DELAY`].
pub(crate) fn delay_params(seconds: i64, at: Time, chain: i64) -> Vec<Value> {
    let seconds = seconds.max(0);
    let slot = slot_of(seconds.saturating_mul(1000));
    params![hour_of(at), chain, slot, seconds]
}

impl Store {
    /// The named counters of the hours in `[from, to)`, over all chains: the beginning
    /// of the hour, the name, how often.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn counts(
        &self,
        from: Time,
        to: Time,
    ) -> Result<Vec<(Time, String, i64)>, StoreError> {
        let rows = self.patient_rows(COUNTS, params![from, to]).await?;
        rows.into_iter()
            .map(|mut row| Ok((row.time(0)?, row.text(1)?, row.int(2)?)))
            .collect()
    }

    /// The delays of the hours in `[from, to)`, over all chains: the beginning of the
    /// hour, the slot (see [`slot_of`]), how many, and their sum in seconds.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn delays(
        &self,
        from: Time,
        to: Time,
    ) -> Result<Vec<(Time, i64, i64, i64)>, StoreError> {
        let rows = self.patient_rows(DELAYS, params![from, to]).await?;
        rows.iter()
            .map(|row| Ok((row.time(0)?, row.int(1)?, row.int(2)?, row.int(3)?)))
            .collect()
    }

    /// Removes some named counters of hours that began before that time, at most `limit`
    /// rows; how many.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn sweep_counts(&self, before: Time, limit: i64) -> Result<i64, StoreError> {
        let gone = self
            .write_rows(SWEEP_COUNTS, params![before, limit])
            .await?;
        Ok(i64::try_from(gone.len()).unwrap_or(limit))
    }

    /// The same of delays.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn sweep_delays(&self, before: Time, limit: i64) -> Result<i64, StoreError> {
        let gone = self
            .write_rows(SWEEP_DELAYS, params![before, limit])
            .await?;
        Ok(i64::try_from(gone.len()).unwrap_or(limit))
    }
}

impl Batch {
    /// Counts one under that name, in the hour and the chain of the commit. A batch that
    /// initialises a database counts nothing: it has no chain.
    pub fn count(&mut self, name: &'static str) {
        self.counts.push(name);
    }

    /// Counts a code that was accepted that many seconds after it was sent; see
    /// [`Batch::count`].
    pub fn count_delay(&mut self, seconds: i64) {
        self.delays.push(seconds);
    }

    /// The statements of what the batch counts.
    pub(crate) fn additions(&self, at: Time, chain: i64) -> Vec<(&'static str, Vec<Value>)> {
        let counts = self.counts.iter();
        let counts = counts.map(|name| (ADD_COUNT, count_params(name, at, chain)));
        let delays = self.delays.iter();
        let delays = delays.map(|delay| (ADD_DELAY, delay_params(*delay, at, chain)));
        counts.chain(delays).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_falls_into_its_slot() {
        fn check(delay_ms: i64, slot: i64) {
            assert_eq!(slot_of(delay_ms), slot, "{delay_ms} ms");
        }
        check(i64::MIN, 0);
        check(0, 0);
        check(7, 7);
        check(8, 8);
        check(15, 15);
        check(16, 16);
        check(17, 16);
        check(18, 17);
        check(31, 23);
        check(32, 24);
        check(1000, 63);
        check(1023, 63);
        check(1024, 64);
    }

    #[test]
    fn slots_ascend_without_a_gap_and_are_narrow() {
        let mut begin = 0;
        for delay_ms in 1..200_000 {
            let grown = slot_of(delay_ms) - slot_of(delay_ms - 1);
            assert!(matches!(grown, 0 | 1), "{delay_ms}");
            if grown == 1 {
                let width = delay_ms - begin;
                assert!(width == 1 || width * 8 <= begin, "from {begin}");
                begin = delay_ms;
            }
        }
        for slot in 0..=slot_of(i64::MAX) {
            assert_eq!(slot_of(value_of(slot)), slot);
        }
    }

    #[test]
    fn the_value_of_a_slot_is_near() {
        for delay_ms in (1..100_000).chain([i64::MAX / 3, i64::MAX]) {
            let told = value_of(slot_of(delay_ms));
            let off = i128::from((told - delay_ms).abs());
            assert!(
                off * 100 <= i128::from(delay_ms) * 7,
                "{delay_ms} as {told}"
            );
        }
    }

    #[test]
    fn a_delay_is_counted_in_whole_seconds() {
        let at = Time::from_millis(7_200_001);
        assert_eq!(
            delay_params(1, at, 3),
            params![7_200_000, 3, slot_of(1000), 1]
        );
        assert_eq!(delay_params(-1, at, 3), params![7_200_000, 3, 0, 0]);
    }
}
