//! What `cargo xtask bench` measured: the figures as they are kept, and how they are read from the driver's answer.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::soak::Soak;

/// What 99 of 100 answers take less than, at a load that is no burden, in microseconds.
pub(crate) const NORMAL_P99_US: u64 = 20_000;

/// Everything one call measured, or several calls that each took a part.
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
    /// At full speed for minutes.
    #[serde(default)]
    pub(crate) soak: Vec<Soak>,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: u64,
    pub(crate) system: String,
    pub(crate) postgres: String,
    /// What that was set to, where it is not as it comes.
    #[serde(default)]
    pub(crate) postgres_settings: String,
    pub(crate) version: String,
    /// How the program was built, as far as is known.
    pub(crate) build: String,
    /// What tells the program from another of the same version.
    #[serde(default)]
    pub(crate) fingerprint: String,
}

/// As fast as answers come.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Run {
    /// `SQLite`, `PostgreSQL` or `two nodes`.
    pub(crate) scene: String,
    pub(crate) connections: u32,
    /// Devices in the database.
    pub(crate) stored: u32,
    /// `in_turn`, `spread` (each device at the same distance from the one before) or `random`.
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
    /// Transactions per second of pgbench, 32 clients, single-row updates, right after it.
    #[serde(default)]
    pub(crate) pgbench: Option<f64>,
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
    /// Seconds asked for.
    #[serde(default)]
    pub(crate) seconds: u32,
    /// From the start to the last answer.
    #[serde(default)]
    pub(crate) lasted: f64,
    /// Resident memory of the server (of both nodes) at its end, in KiB.
    #[serde(default)]
    pub(crate) rss_kib: u64,
    /// The same servers at half the load, at once after it.
    #[serde(default)]
    pub(crate) after: Vec<After>,
}

/// A moment at half the load, after a flood.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct After {
    /// Seconds since the flood ended.
    pub(crate) from: f64,
    pub(crate) to: f64,
    pub(crate) half: Half,
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
            pgbench: None,
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

impl Half {
    /// Whether everything that was due was sent and accepted, and quickly.
    pub(crate) fn is_normal(&self) -> bool {
        !self.exhausted && self.faults == 0 && self.per_second > 0.0 && self.p99_us < NORMAL_P99_US
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
            seconds: 0,
            lasted: seconds,
            rss_kib: 0,
            after: Vec::new(),
        })
    }

    /// Seconds after its end from which on everything was normal; nothing when the last moment was not.
    pub(crate) fn normal_after(&self) -> Option<f64> {
        let normal = self.after.iter().rev();
        let first = normal.take_while(|after| after.half.is_normal()).last();
        first.map(|after| after.from)
    }
}

impl After {
    /// A run that ended `to` seconds after the flood did.
    pub(crate) fn new(half: Half, answer: &Value, to: f64) -> Result<Self> {
        let seconds = answer["verify"]["seconds"].as_f64().context("no time")?;
        let from = (to - seconds).max(0.0);
        Ok(Self { from, to, half })
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

    fn half(p99_us: u64, faults: u64) -> Half {
        Half {
            per_second: 10.0,
            p99_us,
            faults,
            ..Half::default()
        }
    }

    #[test]
    fn normal_is_all_accepted_and_quickly() {
        let check = |half: Half, normal| assert_eq!(half.is_normal(), normal, "{half:?}");
        check(half(19_999, 0), true);
        check(half(20_000, 0), false);
        check(half(1, 1), false);
        check(Half::default(), false);
        check(
            Half {
                exhausted: true,
                ..half(1, 0)
            },
            false,
        );
    }

    #[test]
    fn a_server_is_back_when_it_stays_so() {
        fn check(faults: &[u64], expected: Option<f64>) {
            let after = faults.iter().enumerate().map(|(place, faults)| After {
                from: place as f64 * 3.0 + 1.0,
                to: place as f64 * 3.0 + 3.0,
                half: half(1, *faults),
            });
            let flood = Flood {
                after: after.collect(),
                ..Flood::default()
            };
            assert_eq!(flood.normal_after(), expected, "{faults:?}");
        }
        check(&[0, 0, 0], Some(1.0));
        check(&[7, 0, 0], Some(4.0));
        check(&[0, 7, 0], Some(7.0));
        check(&[0, 0, 7], None);
        check(&[], None);
    }

    #[test]
    fn a_moment_after_a_flood_is_as_long_as_its_run() {
        let after = After::new(half(1, 0), &answer(), 5.0).unwrap();
        assert_eq!((after.from, after.to), (3.0, 5.0));
    }

    #[test]
    fn an_answer_without_a_figure_is_no_figure() {
        let mut broken = answer();
        broken["verify"]["latency_us"]["p99"] = Value::Null;
        assert!(Run::read("SQLite", &broken, 0).is_err());
    }
}
