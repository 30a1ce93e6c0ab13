//! What came back: every answer counted by kind, and how long each took.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Deserialize;

use super::client::Failure;
use super::response::Response;

/// Longest latency told apart, in microseconds.
const MAX_LATENCY_US: u64 = 120_000_000;

/// What one request led to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The answer that had to come.
    Accepted,
    /// A verdict of `"valid": false`, with its reason.
    Rejected(String),
    /// A right code refused because it is that of a spent step, too: it had to be.
    Twin,
    /// Another answer: its status and the problem's `code`, such as `503 storage_unavailable`.
    Refused(String),
    /// No usable answer.
    Failed(String),
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure.to_string())
    }
}

impl Outcome {
    /// Judges the answer to a verification whose code had to be accepted.
    pub(super) fn of_verification(response: &Response<'_>) -> Self {
        if response.status != 200 {
            return Self::refused(response);
        }
        // The usual answer, told without parsing: a driver must cost less than the server it measures.
        // No member that precedes `valid` can hold this text, for quotes inside JSON strings are escaped.
        const VALID: &[u8] = br#""valid":true"#;
        if response.body.windows(VALID.len()).any(|part| part == VALID) {
            return Self::Accepted;
        }
        match serde_json::from_slice::<Answer>(response.body) {
            Ok(Answer {
                data: Verdict { valid: true, .. },
            }) => Self::Accepted,
            Ok(Answer {
                data: Verdict { reason, .. },
            }) => Self::Rejected(word(reason.as_deref().unwrap_or("no_reason"))),
            Err(_) => Self::Failed("answer without a verdict".to_owned()),
        }
    }

    /// Judges the answer to a request that only has to succeed.
    pub(super) fn of_success(response: &Response<'_>) -> Self {
        if response.status == 200 {
            Self::Accepted
        } else {
            Self::refused(response)
        }
    }

    fn refused(response: &Response<'_>) -> Self {
        let problem = serde_json::from_slice::<Problem>(response.body).unwrap_or_default();
        Self::Refused(
            format!("{} {}", response.status, word(&problem.code))
                .trim_end()
                .to_owned(),
        )
    }
}

#[derive(Deserialize)]
struct Answer {
    data: Verdict,
}

#[derive(Deserialize)]
struct Verdict {
    valid: bool,
    reason: Option<String>,
}

/// The members of an error answer (RFC 9457) that the driver shows.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Problem {
    pub(super) code: String,
    pub(super) detail: String,
}

/// A word from the server made fit for a terminal and for a table of bounded size.
fn word(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_ascii_alphanumeric() || "_-.".contains(*c))
        .take(40)
        .collect()
}

/// All answers of one phase.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    /// The answers that had to come.
    pub(super) accepted: u64,
    /// Codes that rightly were refused, see [`Outcome::Twin`].
    pub(super) twins: u64,
    /// Verdicts of `"valid": false`, by reason.
    pub(super) rejected: BTreeMap<String, u64>,
    /// Other answers, by status and problem code.
    pub(super) refused: BTreeMap<String, u64>,
    /// Requests without a usable answer, by kind.
    pub(super) failed: BTreeMap<String, u64>,
    /// Answers by the first digit of their status, 2xx at index 2.
    pub(super) classes: [u64; 6],
    /// Requests of a constant rate that were due before the end and never sent.
    pub(super) unsent: u64,
    /// Latencies of all answers, in microseconds.
    pub(super) latency_us: Histogram<u64>,
    /// When the last answer came.
    pub(super) last: Option<Instant>,
}

impl Tally {
    /// Nothing counted yet.
    pub(super) fn new() -> Self {
        #[allow(
            clippy::unwrap_used,
            reason = "constant bounds: 1, at least twice as much, and 3 digits of at most 5"
        )]
        let latency_us = Histogram::new_with_bounds(1, MAX_LATENCY_US, 3).unwrap();
        Self {
            accepted: 0,
            twins: 0,
            rejected: BTreeMap::new(),
            refused: BTreeMap::new(),
            failed: BTreeMap::new(),
            classes: [0; 6],
            unsent: 0,
            latency_us,
            last: None,
        }
    }

    /// Counts an answer that has no status, because it did not come by HTTP; one that failed has no latency.
    pub(super) fn done(&mut self, outcome: Outcome, latency: Duration, now: Instant) {
        if !matches!(outcome, Outcome::Failed(_)) {
            self.latency_us
                .saturating_record(u64::try_from(latency.as_micros()).unwrap_or(MAX_LATENCY_US));
            self.last = Some(now);
        }
        self.count(outcome);
    }

    /// Counts an answer with this status that came at `now`, `latency` after it was due or sent.
    pub(super) fn answered(
        &mut self,
        status: u16,
        outcome: Outcome,
        latency: Duration,
        now: Instant,
    ) {
        self.classes[usize::from(status / 100).min(5)] += 1;
        self.latency_us
            .saturating_record(u64::try_from(latency.as_micros()).unwrap_or(MAX_LATENCY_US));
        self.last = Some(now);
        self.count(outcome);
    }

    /// Counts a request that got no answer.
    pub(super) fn failed(&mut self, why: impl Into<Outcome>) {
        self.count(why.into());
    }

    fn count(&mut self, outcome: Outcome) {
        let counts = match outcome {
            Outcome::Accepted => {
                self.accepted += 1;
                return;
            }
            Outcome::Twin => {
                self.twins += 1;
                return;
            }
            Outcome::Rejected(reason) => self.rejected.entry(reason),
            Outcome::Refused(status) => self.refused.entry(status),
            Outcome::Failed(kind) => self.failed.entry(kind),
        };
        *counts.or_default() += 1;
    }

    /// Adds what another worker counted in the same phase.
    pub(super) fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.twins += other.twins;
        self.unsent += other.unsent;
        for (mine, theirs) in [
            (&mut self.rejected, &other.rejected),
            (&mut self.refused, &other.refused),
            (&mut self.failed, &other.failed),
        ] {
            for (kind, count) in theirs {
                *mine.entry(kind.clone()).or_default() += count;
            }
        }
        for (mine, theirs) in self.classes.iter_mut().zip(other.classes) {
            *mine += theirs;
        }
        self.last = self.last.max(other.last);
        // Cannot fail: both have the bounds of `new`.
        let _ = self.latency_us.add(&other.latency_us);
    }

    /// Everything that was not the answer that had to come.
    pub(super) fn faults(&self) -> u64 {
        [&self.rejected, &self.refused, &self.failed]
            .iter()
            .flat_map(|counts| counts.values())
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock::now;
    use super::super::response::ResponseBuffer;
    use super::*;

    fn judged(status: &str, body: &str) -> Outcome {
        let text = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut buffer = ResponseBuffer::new();
        buffer.space()[..text.len()].copy_from_slice(text.as_bytes());
        buffer.arrived(text.len());
        let span = buffer.next().unwrap().unwrap();
        Outcome::of_verification(&buffer.get(&span))
    }

    #[test]
    fn verifications_are_judged() {
        fn check(status: &str, body: &str, expected: Outcome) {
            assert_eq!(judged(status, body), expected, "{status} {body}");
        }
        let rejected = |reason: &str| Outcome::Rejected(reason.to_owned());
        let refused = |what: &str| Outcome::Refused(what.to_owned());
        check(
            "200 OK",
            r#"{"success":true,"data":{"valid":true,"reason":null}}"#,
            Outcome::Accepted,
        );
        check("200 OK", r#"{"data": {"valid" : true}}"#, Outcome::Accepted);
        check(
            "200 OK",
            r#"{"data":{"valid":false,"reason":"rejected"}}"#,
            rejected("rejected"),
        );
        check(
            "200 OK",
            r#"{"data":{"valid":false,"reason":"locked\u001b[2J"}}"#,
            rejected("locked2J"),
        );
        check(
            "200 OK",
            r#"{"data":{"valid":false}}"#,
            rejected("no_reason"),
        );
        check(
            "200 OK",
            r#"{"data":{}}"#,
            Outcome::Failed("answer without a verdict".to_owned()),
        );
        check(
            "200 OK",
            r#"{"data":{"valid":false,"reason":"\"valid\":true"}}"#,
            rejected("validtrue"),
        );
        check(
            "503 Busy",
            r#"{"code":"storage_unavailable"}"#,
            refused("503 storage_unavailable"),
        );
        check("404 No", r#"{"valid":true}"#, refused("404"));
        check("502 Bad", "<html>", refused("502"));
    }

    #[test]
    fn everything_is_counted_and_added_up() {
        let present = now();
        let mut one = Tally::new();
        one.answered(200, Outcome::Accepted, Duration::from_micros(100), present);
        one.answered(
            200,
            Outcome::Rejected("locked".to_owned()),
            Duration::from_micros(300),
            present,
        );
        one.failed(Failure::Closed);
        let mut two = one.clone();
        two.answered(
            503,
            Outcome::Refused("503".to_owned()),
            Duration::from_secs(900),
            present,
        );
        two.unsent = 4;
        one.add(&two);
        assert_eq!((one.accepted, one.unsent, one.faults()), (2, 4, 5));
        assert_eq!(one.classes, [0, 0, 4, 0, 0, 1]);
        assert_eq!(one.rejected["locked"], 2);
        assert_eq!(one.latency_us.len(), 5);
        assert!(
            one.latency_us.max() >= MAX_LATENCY_US,
            "too long a latency is kept as the longest"
        );
    }
}
