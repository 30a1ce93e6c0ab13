//! One call of `otpd bench` over a scene, and of pgbench beside it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::scene::{Scene, command, program_of_postgres, psql};
use crate::postgres::Postgres;

/// Rows of pgbench's table.
const ROWS: u32 = 60_000;

/// What the driver is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order<'a> {
    pub(crate) connections: u32,
    pub(crate) devices: u32,
    /// The first of the stored devices that is driven.
    pub(crate) offset: u32,
    pub(crate) order: &'a str,
    pub(crate) seconds: u32,
    pub(crate) rate: Option<u32>,
    /// Ask `/livez` beside it.
    pub(crate) watch: bool,
    /// Measure the baselines too: the bare handler there, and this database.
    pub(crate) bare: Option<&'a str>,
    pub(crate) updates: Option<&'a str>,
}

impl Order<'_> {
    fn words(&self, scene: &Scene) -> Vec<String> {
        let mut words: Vec<String> = [
            ("--url", scene.urls.join(",")),
            ("--filled", scene.seed.clone()),
            ("--stored", scene.stored.to_string()),
            ("--offset", self.offset.to_string()),
            ("--devices", self.devices.to_string()),
            ("--connections", self.connections.to_string()),
            ("--order", self.order.to_owned()),
            ("--seconds", self.seconds.to_string()),
        ]
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect();
        words.push("--json".to_owned());
        if let Some(rate) = self.rate {
            words.extend(["--rate".to_owned(), rate.to_string()]);
        }
        if self.watch {
            words.push("--watch".to_owned());
        }
        match self.bare {
            Some(url) => words.extend(["--bare".to_owned(), url.to_owned()]),
            None => words.push("--no-baseline".to_owned()),
        }
        if let Some(url) = self.updates {
            words.extend(["--postgres-baseline".to_owned(), url.to_owned()]);
        }
        words
    }
}

/// Drives the scene and returns the driver's answer, which may tell of faults.
pub(crate) fn drive(program: &Path, scene: &Scene, order: &Order<'_>) -> Result<Value> {
    let output = driver(program, scene, order).output();
    answer(&output.context("cannot start the driver")?)
}

/// The same, with a `look` at something else every `spacing` for as long as it takes.
pub(crate) fn drive_beside(
    program: &Path,
    scene: &Scene,
    order: &Order<'_>,
    spacing: Duration,
    mut look: impl FnMut() -> Result<()>,
) -> Result<Value> {
    // Its answer is one object of a few KiB, which fits into a pipe that nobody empties yet.
    let mut child = driver(program, scene, order)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start the driver")?;
    while child.try_wait()?.is_none() {
        if let Err(error) = look() {
            // It may just have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
            return Err(error);
        }
        std::thread::sleep(spacing);
    }
    answer(&child.wait_with_output()?)
}

fn driver(program: &Path, scene: &Scene, order: &Order<'_>) -> Command {
    let mut command = command(&scene.kind.bound_to(1), program);
    command
        .arg("bench")
        .args(order.words(scene))
        .env("OTPD_BENCH_KEY", &scene.key)
        .stdin(Stdio::null());
    command
}

/// The driver's exit code says whether all was accepted; so does its answer, which is kept.
fn answer(output: &Output) -> Result<Value> {
    serde_json::from_slice(&output.stdout).with_context(|| {
        let said = String::from_utf8_lossy(&output.stderr);
        format!("the driver measured nothing: {}", said.trim())
    })
}

/// Transactions per second of pgbench: 32 clients, one row each.
pub(crate) fn pgbench(server: &Postgres, seconds: u32) -> Result<f64> {
    psql(server, "DROP TABLE IF EXISTS pgbench_hot")?;
    psql(
        server,
        "CREATE TABLE pgbench_hot (id BIGINT PRIMARY KEY, next BIGINT NOT NULL, used BIGINT NOT NULL, \
         last_used BIGINT, drift_ms BIGINT NOT NULL, replayed BIGINT NOT NULL) WITH (fillfactor = 50)",
    )?;
    psql(
        server,
        &format!(
            "INSERT INTO pgbench_hot SELECT n, 0, 0, 0, 0, 0 FROM generate_series(1, {ROWS}) AS n"
        ),
    )?;
    let mut script = tempfile::NamedTempFile::new()?;
    writeln!(script, "\\set id random(1, {ROWS})")?;
    writeln!(
        script,
        "UPDATE pgbench_hot SET next = next + 1, used = used + 1, last_used = 1 WHERE id = :id;"
    )?;
    let output = Command::new(program_of_postgres("pgbench")?)
        .args([
            "--no-vacuum",
            "--protocol=prepared",
            "--client=32",
            "--jobs=2",
        ])
        .arg(format!("--time={seconds}"))
        .arg(format!("--file={}", script.path().display()))
        .arg(server.url())
        .stdin(Stdio::null())
        .output()
        .context("cannot run pgbench")?;
    psql(server, "DROP TABLE pgbench_hot")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "pgbench: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    tps(&said).context("pgbench says no number of transactions")
}

/// `tps = 5432.1 (without initial connection time)`.
fn tps(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("tps = "))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_per_second_are_read_from_pgbench() {
        let text = "latency average = 5.8 ms\ntps = 5432.1 (without initial connection time)\n";
        assert_eq!(tps(text), Some(5432.1));
        assert_eq!(tps("pgbench: error"), None);
    }
}
