//! What `cargo xtask bench` measured: the figures as they are kept, and how they are read from the driver's answer.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Everything one call measured.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) machine: Machine,
    /// A short check, whose figures say little.
    pub(crate) quick: bool,
    /// Seconds of each measurement.
    pub(crate) seconds: u32,
    pub(crate) runs: Vec<Run>,
    /// At half the load that was reached.
    pub(crate) half: Vec<Half>,
    /// At ten times that load.
    pub(crate) flood: Vec<Flood>,
    /// Transactions per second of pgbench, 32 clients, single-row updates.
    pub(crate) pgbench: Option<f64>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: u64,
    pub(crate) system: String,
    pub(crate) postgres: String,
    pub(crate) version: String,
    /// How the program was built, as far as is known.
    pub(crate) build: String,
}

/// As fast as answers come.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Run {
    /// `SQLite`, `PostgreSQL` or `two nodes`.
    pub(crate) scene: String,
    pub(crate) connections: u32,
    /// Devices in the database.
    pub(crate) stored: u32,
    /// `in_turn` or `random`.
    pub(crate) order: String,
    pub(crate) per_second: f64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) p99_9_us: u64,
    /// Answers that were no acceptance.
    pub(crate) faults: u64,
    pub(crate) livez: Option<f64>,
    pub(crate) bare: Option<f64>,
    /// Single-row updates over as many connections.
    pub(crate) updates: Option<f64>,
    /// Resident memory of the server (of both nodes) after it, in KiB.
    pub(crate) rss_kib: u64,
    /// All codes were spent before the time was up.
    #[serde(default)]
    pub(crate) exhausted: bool,
}

/// At a constant rate that the server bears.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Half {
    pub(crate) scene: String,
    pub(crate) stored: u32,
    pub(crate) rate: u32,
    pub(crate) per_second: f64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    /// Answers that were no acceptance, and what was due and never sent.
    pub(crate) faults: u64,
    #[serde(default)]
    pub(crate) exhausted: bool,
}

/// At a rate that nobody could bear.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Flood {
    pub(crate) scene: String,
    pub(crate) stored: u32,
    pub(crate) connections: u32,
    /// Verifications per second that were due.
    pub(crate) asked: u32,
    /// That the driver managed to send and have answered.
    pub(crate) answered: f64,
    /// Of these, acceptances.
    pub(crate) goodput: f64,
    /// Answers of another kind, the refusals with 503.
    pub(crate) refused: u64,
    /// Wrong verdicts and requests without an answer: there must be none.
    pub(crate) failed: u64,
    /// `GET /livez` meanwhile.
    pub(crate) livez_p99_us: u64,
    pub(crate) livez_max_us: u64,
    #[serde(default)]
    pub(crate) exhausted: bool,
}

impl Run {
    /// Reads the driver's answer.
    pub(crate) fn read(scene: &str, answer: &Value, rss_kib: u64) -> Result<Self> {
        let phase = Phase(&answer["verify"]);
        let other = |name: &str| answer[name]["per_second"].as_f64();
        let connections = answer["connections"].as_u64();
        let stored = answer["stored"].as_u64().or(answer["devices"].as_u64());
        Ok(Self {
            scene: scene.to_owned(),
            connections: u32::try_from(connections.context("no `connections`")?)?,
            stored: u32::try_from(stored.context("no `devices`")?)?,
            order: answer["order"].as_str().context("no `order`")?.to_owned(),
            per_second: phase.per_second()?,
            p50_us: phase.latency("p50")?,
            p99_us: phase.latency("p99")?,
            p99_9_us: phase.latency("p99_9")?,
            faults: phase.faults(),
            livez: other("livez"),
            bare: other("bare"),
            updates: other("postgres"),
            rss_kib,
            exhausted: answer["exhausted"].as_bool().context("no `exhausted`")?,
        })
    }
}

impl Half {
    /// Reads the driver's answer.
    pub(crate) fn read(scene: &str, answer: &Value, rate: u32) -> Result<Self> {
        let run = Run::read(scene, answer, 0)?;
        let unsent = answer["verify"]["unsent"].as_u64().unwrap_or(0);
        Ok(Self {
            scene: run.scene,
            stored: run.stored,
            rate,
            per_second: run.per_second,
            p50_us: run.p50_us,
            p99_us: run.p99_us,
            faults: run.faults + unsent,
            exhausted: run.exhausted,
        })
    }
}

impl Flood {
    /// Reads the driver's answer.
    pub(crate) fn read(scene: &str, answer: &Value, asked: u32) -> Result<Self> {
        let run = Run::read(scene, answer, 0)?;
        let phase = Phase(&answer["verify"]);
        let seconds = answer["verify"]["seconds"].as_f64().context("no time")?;
        let answers = answer["verify"]["answers"].as_u64().context("no answers")?;
        let watched = Phase(&answer["watched"]);
        Ok(Self {
            scene: run.scene,
            stored: run.stored,
            connections: run.connections,
            asked,
            answered: answers as f64 / seconds.max(1e-9),
            goodput: run.per_second,
            refused: phase.sum("refused"),
            failed: phase.sum("rejected") + phase.sum("failed"),
            livez_p99_us: watched.latency("p99")?,
            livez_max_us: watched.latency("max")?,
            exhausted: run.exhausted,
        })
    }
}

/// One phase of the driver's answer.
struct Phase<'a>(&'a Value);

impl Phase<'_> {
    fn per_second(&self) -> Result<f64> {
        let rate = self.0["per_second"].as_f64();
        rate.context("the driver's answer has no `per_second`")
    }

    fn latency(&self, name: &str) -> Result<u64> {
        let latency = self.0["latency_us"][name].as_u64();
        latency.with_context(|| format!("the driver's answer has no latency `{name}`"))
    }

    /// How many answers of that kind.
    fn sum(&self, kind: &str) -> u64 {
        let counts = self.0[kind].as_object().into_iter().flatten();
        counts.filter_map(|(_, count)| count.as_u64()).sum()
    }

    fn faults(&self) -> u64 {
        self.sum("rejected") + self.sum("refused") + self.sum("failed")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer() -> Value {
        json!({
            "connections": 64, "devices": 600, "stored": 1_000, "order": "random",
            "exhausted": true,
            "livez": {"per_second": 90.0}, "bare": {"per_second": 80.0}, "postgres": null,
            "verify": {
                "seconds": 2.0, "answers": 50, "per_second": 20.0, "accepted": 40, "unsent": 5,
                "rejected": {"rejected": 1}, "refused": {"503 busy": 7}, "failed": {"closed": 2},
                "latency_us": {"p50": 1, "p99": 2, "p99_9": 3, "max": 4},
            },
            "watched": {"latency_us": {"p50": 5, "p99": 6, "p99_9": 7, "max": 8}},
        })
    }

    #[test]
    fn every_answer_is_counted_where_it_belongs() {
        let run = Run::read("SQLite", &answer(), 9).unwrap();
        assert_eq!((run.stored, run.connections, run.faults), (1_000, 64, 10));
        assert_eq!(
            (run.livez, run.bare, run.updates),
            (Some(90.0), Some(80.0), None)
        );
        let half = Half::read("SQLite", &answer(), 10).unwrap();
        assert!(run.exhausted && half.exhausted);
        assert_eq!(half.faults, 15, "what was due and never sent is a fault");
        let flood = Flood::read("SQLite", &answer(), 200).unwrap();
        assert_eq!((flood.refused, flood.failed), (7, 3));
        assert_eq!((flood.answered, flood.goodput), (25.0, 20.0));
        assert_eq!((flood.livez_p99_us, flood.livez_max_us), (6, 8));
    }

    #[test]
    fn an_answer_without_a_figure_is_no_figure() {
        let mut broken = answer();
        broken["verify"]["latency_us"]["p99"] = Value::Null;
        assert!(Run::read("SQLite", &broken, 0).is_err());
    }
}
