//! What a run found, as a table for people and as one JSON object.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::tally::Tally;

/// The result of a whole run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The server's address as given.
    pub(super) url: String,
    /// Connections used.
    pub(super) connections: u32,
    /// Driver threads used.
    pub(super) threads: u32,
    /// Devices registered.
    pub(super) devices: u32,
    /// Seconds that their registration took.
    pub(super) registration_seconds: f64,
    /// Verifications per second asked for, when the rate was constant.
    pub(super) rate: Option<u32>,
    /// `GET /livez` over the same connections.
    pub(super) livez: Option<Measured>,
    /// The verifications.
    pub(super) verify: Measured,
    /// Verifications per second over `/livez` per second.
    pub(super) ratio: Option<f64>,
    /// Requests of the warm-up that were not accepted.
    pub(super) warm_faults: u64,
    /// Whether the devices gave out before the time was up.
    pub(super) exhausted: bool,
    /// Devices that a run of the asked length needs at the rate seen, when these were too few.
    pub(super) devices_needed: Option<u64>,
    /// Devices left on the server.
    pub(super) devices_left: u32,
    /// What a reader should know besides.
    pub(super) notes: Vec<String>,
}

/// One measured phase.
#[derive(Debug, Serialize)]
pub(super) struct Measured {
    /// From the start to the last answer.
    pub(super) seconds: f64,
    /// Expected answers per second.
    pub(super) per_second: f64,
    /// Answers that were the one that had to come.
    pub(super) accepted: u64,
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
    /// The phase that began at `start`; `cpu` is what the driver used meanwhile.
    pub(super) fn new(tally: &Tally, start: Instant, cpu: Option<Duration>) -> Self {
        let seconds = tally.last.map_or(0.0, |last| {
            last.saturating_duration_since(start).as_secs_f64()
        });
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
            accepted: tally.accepted,
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

    fn is_clean(&self) -> bool {
        self.accepted > 0
            && self.rejected.is_empty()
            && self.refused.is_empty()
            && self.failed.is_empty()
    }

    fn row(&self, name: &str) -> String {
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
            "{name:<12}{:>12.0}{:>12}{:>9.1}{p50:>10}{p99:>10}{p99_9:>10}{max:>10}{cpu:>12}",
            self.per_second, self.accepted, self.seconds
        )
    }

    fn write_faults(&self, name: &str, out: &mut impl fmt::Write) -> fmt::Result {
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

impl Report {
    /// Whether every request of the run got the answer that had to come.
    pub(super) fn is_clean(&self) -> bool {
        self.verify.is_clean()
            && self.warm_faults == 0
            && self.livez.as_ref().is_none_or(Measured::is_clean)
    }

    /// Writes the report to standard output, in JSON or as a table.
    ///
    /// # Errors
    /// When standard output is gone.
    pub(super) fn print(&self, json: bool) -> io::Result<()> {
        let text = if json {
            format!("{}\n", serde_json::to_string(self)?)
        } else {
            self.to_string()
        };
        io::stdout().lock().write_all(text.as_bytes())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            url,
            connections,
            threads,
            devices,
            registration_seconds,
            ..
        } = self;
        let pace = self
            .rate
            .map_or("as fast as answers come".to_owned(), |rate| {
                format!("{rate}/s asked for")
            });
        writeln!(
            f,
            "{url}, {connections} connections, {threads} driver threads, {pace}"
        )?;
        let per_second = f64::from(*devices) / registration_seconds.max(1e-9);
        writeln!(
            f,
            "{devices} devices registered in {registration_seconds:.1} s, {per_second:.0}/s\n"
        )?;
        writeln!(
            f,
            "{:<12}{:>12}{:>12}{:>9}{:>10}{:>10}{:>10}{:>10}{:>12}",
            "",
            "per second",
            "accepted",
            "seconds",
            "p50 µs",
            "p99 µs",
            "p99.9 µs",
            "max µs",
            "driver µs"
        )?;
        if let Some(livez) = &self.livez {
            writeln!(f, "{}", livez.row("GET /livez"))?;
        }
        writeln!(f, "{}", self.verify.row("verify"))?;
        if let Some(ratio) = self.ratio {
            writeln!(f, "verify to /livez: {ratio:.3}")?;
        }
        let mut faults = String::new();
        if let Some(livez) = &self.livez {
            livez.write_faults("GET /livez", &mut faults)?;
        }
        self.verify.write_faults("verify", &mut faults)?;
        if self.warm_faults > 0 {
            writeln!(faults, "warm-up: {} not accepted", self.warm_faults)?;
        }
        let verdict = if self.is_clean() {
            "every answer was an acceptance"
        } else {
            "NOT every answer was an acceptance"
        };
        writeln!(f, "\n{verdict}\n{faults}{}", self.remarks())
    }
}

impl Report {
    /// What a reader should know besides the numbers, a line each.
    fn remarks(&self) -> String {
        let mut lines = self.notes.clone();
        if self.exhausted {
            let needed = self.devices_needed.map_or(String::new(), |n| {
                format!(": this rate needs --devices {n}")
            });
            lines.push(format!(
                "the devices had no code left to send before the time was up{needed}"
            ));
        }
        if self.verify.unsent > 0 {
            lines.push(format!(
                "{} verifications were due and never sent: the rate was not reached",
                self.verify.unsent
            ));
        }
        if self.devices_left > 0 {
            lines.push(format!(
                "{} devices are left on the server",
                self.devices_left
            ));
        }
        lines
            .iter()
            .fold(String::new(), |text, line| text + "note: " + line + "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock::now;
    use super::super::tally::Outcome;
    use super::*;

    fn report(faults: &[Outcome]) -> Report {
        let start = now();
        let mut tally = Tally::new();
        for n in 1..=1_000 {
            let latency = Duration::from_micros(n);
            tally.answered(
                200,
                Outcome::Accepted,
                latency,
                start + Duration::from_secs(2),
            );
        }
        for fault in faults {
            let copy = match fault {
                Outcome::Rejected(reason) => Outcome::Rejected(reason.clone()),
                other => Outcome::Refused(format!("{other:?}")),
            };
            tally.answered(200, copy, Duration::ZERO, start);
        }
        Report {
            url: "http://127.0.0.1:8004".to_owned(),
            connections: 64,
            threads: 1,
            devices: 400,
            registration_seconds: 0.5,
            rate: None,
            livez: None,
            verify: Measured::new(&tally, start, Some(Duration::from_millis(5))),
            ratio: Some(0.25),
            warm_faults: 0,
            exhausted: true,
            devices_needed: Some(4_000),
            devices_left: 0,
            notes: vec![],
        }
    }

    #[test]
    fn the_table_says_what_was_found() {
        let text = report(&[]).to_string();
        for part in [
            "400 devices registered in 0.5 s, 800/s",
            "verify to /livez: 0.250",
            "every answer was",
            "--devices 4000",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        let row: Vec<&str> = text
            .lines()
            .find(|line| line.starts_with("verify "))
            .unwrap()
            .split_whitespace()
            .collect();
        assert_eq!(
            row,
            [
                "verify", "500", "1000", "2.0", "500", "990", "999", "1000", "5.0"
            ]
        );
    }

    #[test]
    fn one_rejection_spoils_a_run() {
        assert!(report(&[]).is_clean());
        let spoiled = report(&[Outcome::Rejected("locked".to_owned())]);
        assert!(!spoiled.is_clean());
        let text = spoiled.to_string();
        assert!(
            text.contains("NOT every") && text.contains("verify: 1 rejected: locked"),
            "{text}"
        );
    }

    #[test]
    fn json_is_one_object_on_one_line() {
        let json = serde_json::to_string(&report(&[])).unwrap();
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert!(!json.contains('\n'));
        assert_eq!(value["verify"]["per_second"], 500.0);
        assert_eq!(value["verify"]["status"]["2xx"], 1_000);
        assert_eq!(value["verify"]["latency_us"]["p99_9"], 999);
        assert_eq!(value["devices_needed"], 4_000);
    }
}
