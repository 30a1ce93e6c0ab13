//! The server's time as the driver estimates it, from the `Date` headers of its answers.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// This moment, for everything that the driver times.
#[expect(
    clippy::disallowed_methods,
    reason = "a measurement measures real time; no rule of the product depends on it"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// Maps moments of this process to the server's Unix milliseconds; it never runs backwards.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerClock {
    origin: Instant,
    origin_ms: u64,
}

impl ServerClock {
    /// The local clock, taken for the server's until answers say otherwise.
    #[expect(
        clippy::disallowed_methods,
        reason = "codes follow real time, and this is the one place that reads it"
    )]
    pub(super) fn local() -> Self {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            origin: now(),
            origin_ms: u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Server time in Unix milliseconds at `moment`.
    pub(super) fn at(&self, moment: Instant) -> u64 {
        let passed = moment.saturating_duration_since(self.origin);
        self.origin_ms
            .saturating_add(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX))
    }

    /// The same clock moved by `offset_ms`.
    pub(super) fn moved(self, offset_ms: i64) -> Self {
        Self {
            origin_ms: self.origin_ms.saturating_add_signed(offset_ms),
            ..self
        }
    }
}

/// What is known of the offset between the server's clock and the local one, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct OffsetBounds {
    low: i64,
    high: i64,
}

impl OffsetBounds {
    /// What one answer tells: its `Date` is the server's time cut to whole seconds at some moment between
    /// `sent_ms` and `received_ms` of the local clock.
    pub(super) fn from_date(date_seconds: i64, sent_ms: u64, received_ms: u64) -> Self {
        let date_ms = date_seconds.saturating_mul(1_000);
        Self {
            low: date_ms.saturating_sub_unsigned(received_ms),
            high: date_ms
                .saturating_add(1_000)
                .saturating_sub_unsigned(sent_ms),
        }
    }

    /// What both tell; when they contradict each other (a cached header, a clock that was set) the later
    /// one alone.
    pub(super) fn and(self, later: Self) -> Self {
        let both = Self {
            low: self.low.max(later.low),
            high: self.high.min(later.high),
        };
        if both.low <= both.high { both } else { later }
    }

    /// Whether the offset is known well enough to end the probing.
    pub(super) fn is_narrow(self) -> bool {
        self.high - self.low <= 250
    }

    /// The best guess: none where both clocks may agree (mostly it is one machine), else the middle.
    pub(super) fn offset_ms(self) -> i64 {
        if self.low <= 0 && self.high >= 0 {
            0
        } else {
            self.low.midpoint(self.high)
        }
    }
}

/// Seconds since 1970 of an HTTP date (RFC 9110, section 5.6.7, the preferred form), if it is one.
pub(super) fn http_date_seconds(value: &[u8]) -> Option<i64> {
    let text = str::from_utf8(value).ok()?;
    jiff::fmt::rfc2822::parse(text)
        .ok()
        .map(|time| time.timestamp().as_second())
}

/// Pause between two probes: they must fall at different places within a second to tell anything new.
pub(super) const PROBE_PAUSE: Duration = Duration::from_millis(55);

/// Probes at most, so that they cover a little more than a second.
pub(super) const PROBES: u32 = 22;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_dates_are_read() {
        fn check(text: &str, expected: Option<i64>) {
            assert_eq!(http_date_seconds(text.as_bytes()), expected, "{text}");
        }
        check("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777));
        check("Thu, 01 Jan 1970 00:00:00 GMT", Some(0));
        check("yesterday", None);
        check("", None);
    }

    #[test]
    fn probes_over_a_second_find_the_offset() {
        fn check(true_offset: i64) {
            let start = 1_000_000_000_000_u64;
            let mut known: Option<OffsetBounds> = None;
            for n in 0..u64::from(PROBES) {
                let sent = start + n * 56;
                let server_ms = sent.checked_add_signed(true_offset).unwrap();
                let date = i64::try_from(server_ms / 1_000).unwrap();
                let told = OffsetBounds::from_date(date, sent, sent + 1);
                known = Some(known.map_or(told, |before| before.and(told)));
            }
            let known = known.unwrap();
            assert!(known.is_narrow(), "{true_offset}: {known:?}");
            assert!(
                (known.offset_ms() - true_offset).abs() <= 60,
                "{true_offset}: {known:?}"
            );
        }
        for offset in [0, 20, -700, 4_321, 86_400_000, -86_400_123] {
            check(offset);
        }
    }

    #[test]
    fn a_contradiction_leaves_the_later_answer() {
        let old = OffsetBounds { low: -10, high: 10 };
        let new = OffsetBounds {
            low: 5_000,
            high: 6_000,
        };
        assert_eq!(old.and(new).offset_ms(), 5_500);
    }

    #[test]
    fn a_moved_clock_tells_the_servers_time() {
        let clock = ServerClock::local();
        let later = clock.origin + Duration::from_millis(1_500);
        assert_eq!(clock.moved(-500).at(later), clock.origin_ms + 1_000);
    }
}
