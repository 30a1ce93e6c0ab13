//! One measured phase: how many answers of which kind, and how long they took.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::tally::Tally;

/// One measured phase.
#[derive(Debug, Serialize)]
pub(super) struct Measured {
    /// From the start to the last answer, of each turn where there were several.
    pub(super) seconds: f64,
    /// Expected answers per second.
    pub(super) per_second: f64,
    /// All answers, whatever they said.
    answers: u64,
    /// Answers that were the one that had to come.
    pub(super) accepted: u64,
    /// Codes that rightly were refused, as they are those of a spent step, too.
    pub(super) twins: u64,
    /// Verdicts of `"valid": false`, by reason.
    rejected: BTreeMap<String, u64>,
    /// Other answers, by status and problem code.
    refused: BTreeMap<String, u64>,
    /// Requests without a usable answer, by kind.
    failed: BTreeMap<String, u64>,
    /// Answers by class of status.
    status: BTreeMap<String, u64>,
    /// Requests of a constant rate that were due and never sent.
    pub(super) unsent: u64,
    /// Latencies of all answers, in microseconds.
    latency_us: Latencies,
    /// CPU time that the driver itself used, where the system tells.
    driver_cpu_seconds: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Latencies {
    p50: u64,
    p99: u64,
    p99_9: u64,
    max: u64,
}

impl Measured {
    /// What came within those seconds; `cpu` is what the driver used meanwhile.
    pub(super) fn new(tally: &Tally, seconds: f64, cpu: Option<Duration>) -> Self {
        let at = |quantile| tally.latency_us.value_at_quantile(quantile);
        let classes = tally
            .classes
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0);
        Self {
            seconds,
            per_second: if seconds > 0.0 {
                tally.accepted as f64 / seconds
            } else {
                0.0
            },
            answers: tally.latency_us.len(),
            accepted: tally.accepted,
            twins: tally.twins,
            rejected: tally.rejected.clone(),
            refused: tally.refused.clone(),
            failed: tally.failed.clone(),
            status: classes
                .map(|(class, count)| (format!("{class}xx"), *count))
                .collect(),
            unsent: tally.unsent,
            latency_us: Latencies {
                p50: at(0.5),
                p99: at(0.99),
                p99_9: at(0.999),
                max: tally.latency_us.max(),
            },
            driver_cpu_seconds: cpu.map(|cpu| cpu.as_secs_f64()),
        }
    }

    /// Whether every answer was the one that had to come.
    pub(super) fn is_clean(&self) -> bool {
        self.accepted > 0
            && self.rejected.is_empty()
            && self.refused.is_empty()
            && self.failed.is_empty()
    }

    /// A line of the table.
    pub(super) fn row(&self, name: &str) -> String {
        let Latencies {
            p50,
            p99,
            p99_9,
            max,
        } = self.latency_us;
        let cpu = match self.driver_cpu_seconds {
            Some(cpu) if self.accepted > 0 => format!("{:.1}", cpu * 1e6 / self.accepted as f64),
            _ => "-".to_owned(),
        };
        format!(
            "{name:<16}{:>12.0}{:>12}{:>9.1}{p50:>10}{p99:>10}{p99_9:>10}{max:>10}{cpu:>12}",
            self.per_second, self.accepted, self.seconds
        )
    }

    /// A line for each kind of answer that was another one.
    pub(super) fn write_faults(&self, name: &str, out: &mut impl fmt::Write) -> fmt::Result {
        for (kind, counts) in [
            ("rejected", &self.rejected),
            ("answered", &self.refused),
            ("failed", &self.failed),
        ] {
            for (what, count) in counts {
                writeln!(out, "{name}: {count} {kind}: {what}")?;
            }
        }
        Ok(())
    }
}
