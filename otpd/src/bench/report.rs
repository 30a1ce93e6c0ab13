//! What a run found, as a table for people and as one JSON object.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};

use serde::Serialize;

use super::measured::Measured;

/// The result of a whole run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The server's address as given.
    pub(super) url: String,
    /// Connections used.
    pub(super) connections: u32,
    /// Driver threads used.
    pub(super) threads: u32,
    /// Devices driven.
    pub(super) devices: u32,
    /// Seconds that their registration took, unless they were there before.
    pub(super) registration_seconds: Option<f64>,
    /// Devices that were filled in before, when the run's are among those.
    pub(super) stored: Option<u32>,
    /// Which device came next.
    pub(super) order: &'static str,
    /// Verifications per second asked for, when the rate was constant.
    pub(super) rate: Option<u32>,
    /// `GET /livez` over the same connections.
    pub(super) livez: Option<Measured>,
    /// The verifications.
    pub(super) verify: Measured,
    /// The bare handler over as many connections.
    pub(super) bare: Option<Measured>,
    /// Single-row updates of PostgreSQL over as many connections.
    pub(super) postgres: Option<Measured>,
    /// `GET /livez` once in a while beside the verifications.
    pub(super) watched: Option<Measured>,
    /// Verifications per second over those.
    pub(super) ratios: Ratios,
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

/// Verifications per second over what was measured beside them.
#[derive(Debug, Default, Serialize)]
pub(super) struct Ratios {
    /// Over `GET /livez`.
    pub(super) livez: Option<f64>,
    /// Over the bare handler.
    pub(super) bare: Option<f64>,
    /// Over single-row updates.
    pub(super) postgres: Option<f64>,
}

impl Report {
    /// The ratios to what this report holds.
    pub(super) fn with_ratios(mut self) -> Self {
        let to = |other: &Option<Measured>| {
            let other = other.as_ref().map(|other| other.per_second);
            let other = other.filter(|rate| *rate > 0.0);
            other.map(|rate| self.verify.per_second / rate)
        };
        self.ratios = Ratios {
            livez: to(&self.livez),
            bare: to(&self.bare),
            postgres: to(&self.postgres),
        };
        self
    }

    /// Each phase that was measured, by its name in the table.
    fn phases(&self) -> impl Iterator<Item = (&'static str, &Measured)> {
        let named = [
            ("GET /livez", self.livez.as_ref()),
            ("bare handler", self.bare.as_ref()),
            ("row update", self.postgres.as_ref()),
            ("verify", Some(&self.verify)),
            ("/livez beside", self.watched.as_ref()),
        ];
        named
            .into_iter()
            .filter_map(|(name, phase)| Some((name, phase?)))
    }

    /// Whether every request of the run got the answer that had to come.
    pub(super) fn is_clean(&self) -> bool {
        self.warm_faults == 0 && self.phases().all(|(_, phase)| phase.is_clean())
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
        writeln!(f, "{}\n", self.origin())?;
        writeln!(
            f,
            "{:<16}{:>12}{:>12}{:>9}{:>10}{:>10}{:>10}{:>10}{:>12}",
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
        for (name, phase) in self.phases() {
            writeln!(f, "{}", phase.row(name))?;
        }
        for (name, ratio) in [
            ("/livez", self.ratios.livez),
            ("the bare handler", self.ratios.bare),
            ("single-row updates", self.ratios.postgres),
        ] {
            if let Some(ratio) = ratio {
                writeln!(f, "verify to {name}: {ratio:.3}")?;
            }
        }
        let mut faults = String::new();
        for (name, phase) in self.phases() {
            phase.write_faults(name, &mut faults)?;
        }
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
    /// Where the devices come from.
    fn origin(&self) -> String {
        let devices = self.devices;
        match (self.registration_seconds, self.stored) {
            (Some(seconds), _) => {
                let per_second = f64::from(devices) / seconds.max(1e-9);
                format!("{devices} devices registered in {seconds:.1} s, {per_second:.0}/s")
            }
            (None, stored) => {
                let stored = stored.unwrap_or(devices);
                format!("{devices} devices of {stored} that were filled in before")
            }
        }
    }

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
        if self.verify.twins > 0 {
            lines.push(format!(
                "{} codes were also those of a step already spent, and rightly refused",
                self.verify.twins
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
    use std::time::Duration;

    use super::super::clock::now;
    use super::super::tally::{Outcome, Tally};
    use super::*;

    fn accepted(count: u64, end: std::time::Instant) -> Tally {
        let mut tally = Tally::new();
        for n in 1..=count {
            tally.answered(200, Outcome::Accepted, Duration::from_micros(n), end);
        }
        tally
    }

    /// A phase of two seconds.
    fn phase(count: u64) -> Measured {
        let start = now();
        let tally = accepted(count, start + Duration::from_secs(2));
        Measured::new(&tally, 2.0, None)
    }

    fn report(faults: &[Outcome]) -> Report {
        let start = now();
        let mut tally = accepted(1_000, start + Duration::from_secs(2));
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
            registration_seconds: Some(0.5),
            stored: None,
            order: "in_turn",
            rate: None,
            livez: None,
            bare: Some(phase(2_000)),
            postgres: None,
            watched: None,
            verify: Measured::new(&tally, 2.0, Some(Duration::from_millis(5))),
            ratios: Ratios::default(),
            warm_faults: 0,
            exhausted: true,
            devices_needed: Some(4_000),
            devices_left: 0,
            notes: vec![],
        }
        .with_ratios()
    }

    #[test]
    fn the_table_says_what_was_found() {
        let text = report(&[]).to_string();
        for part in [
            "400 devices registered in 0.5 s, 800/s",
            "verify to the bare handler: 0.500",
            "every answer was",
            "--devices 4000",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        let row: Vec<&str> = text
            .lines()
            .find(|line| line.starts_with("verify  "))
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
        assert_eq!(value["ratios"]["bare"], 0.5);
        assert_eq!(value["ratios"]["livez"], serde_json::Value::Null);
    }
}
