//! Runs every check and every test, one step after the other, and ends with one line that sums up.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::postgres::Postgres;
use crate::redis::Redis;
use crate::summary::Summary;
use crate::{alerts, tidy, tools};

/// Gives the tests a PostgreSQL server of the caller's instead of a throw-away one.
const DATABASE: &str = "TEST_DATABASE_URL";

/// Gives the tests a Redis or Valkey server of the caller's instead of a throw-away one.
const REDIS: &str = "TEST_REDIS_URL";

/// Tells the invariant tests how long to go on; unset means short.
const LENGTH: &str = "OTPD_TEST_LENGTH";

/// How long output may still arrive after `cargo test` has ended.
const LAST_OUTPUT: Duration = Duration::from_secs(2);

/// Runs all checks and tests; true if nothing failed and something ran.
pub(crate) fn everything(root: &Path, filter: Option<&str>) -> bool {
    let mut steps = Steps::default();
    steps.check("format", || cargo(root, &["fmt", "--all", "--check"]));
    steps.check("lints", || {
        let arguments = ["clippy", "--workspace", "--all-targets", "--locked"];
        cargo(root, &[&arguments[..], &["--", "-D", "warnings"]].concat())
    });
    steps.check("tidy", || {
        if !tidy::run(root)? {
            bail!("see above");
        }
        Ok(())
    });
    let mut arguments = vec!["test", "--workspace", "--locked", "--no-fail-fast"];
    arguments.extend(filter);
    steps.test(root, &arguments, &[]);
    steps.finish()
}

/// Runs the invariant tests at full length; true if nothing failed and something ran.
pub(crate) fn endurance(root: &Path) -> bool {
    let mut steps = Steps::default();
    let arguments = [
        "test",
        "--locked",
        "--no-fail-fast",
        "--package=otpd",
        "--test=invariants",
    ];
    steps.test(root, &arguments, &[(LENGTH, "full")]);
    steps.finish()
}

/// The steps taken so far.
#[derive(Default)]
struct Steps {
    failed: Vec<String>,
    summary: Summary,
}

impl Steps {
    /// Takes one step; a failure is kept for the end and stops nothing.
    fn check<T>(&mut self, name: &str, step: impl FnOnce() -> Result<T>) -> Option<T> {
        println!("\n== {name}");
        let start = Instant::now();
        let result = step();
        println!("== {name}: {:.1} s", start.elapsed().as_secs_f64());
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                println!("{name} failed: {error:#}");
                self.failed.push(format!("{name}: {error:#}"));
                None
            }
        }
    }

    /// Brings up what the tests need, runs them and counts.
    fn test(&mut self, root: &Path, arguments: &[&str], extra: &[(&str, &str)]) {
        let Some(surroundings) = self.check("prerequisites", || Surroundings::prepare(root)) else {
            return;
        };
        self.check("alerts", || alerts::check(root, &surroundings.path));
        let mut summary = Summary::default();
        self.check("tests", || {
            let child = Command::new(cargo_program())
                .args(arguments)
                .current_dir(root)
                .env("PATH", &surroundings.path)
                .env(DATABASE, &surroundings.database)
                .env(REDIS, &surroundings.redis)
                .envs(extra.iter().copied())
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
                .context("cannot start cargo")?;
            count(child, &mut summary)
        });
        self.summary = summary;
    }

    /// Failed tests, and one for each step that failed for another reason.
    fn failures(&self) -> u64 {
        let tests_step = usize::from(self.summary.failed > 0);
        self.summary.failed + self.failed.len().saturating_sub(tests_step) as u64
    }

    /// Prints every failure and the last line.
    fn finish(self) -> bool {
        let failures = self.failures();
        println!();
        for name in &self.summary.names {
            println!("failed test: {name}");
        }
        for step in &self.failed {
            println!("failed step: {step}");
        }
        println!("{} passed, {failures} failed", self.summary.passed);
        failures == 0
    }
}

/// What the tests find in their environment.
struct Surroundings {
    path: OsString,
    database: OsString,
    redis: OsString,
    /// Held so that the servers live as long as the tests.
    _servers: (Option<Postgres>, Option<Redis>),
}

impl Surroundings {
    fn prepare(root: &Path) -> Result<Self> {
        let given = |name| std::env::var_os(name).filter(|url| !url.is_empty());
        let (database, redis) = (given(DATABASE), given(REDIS));
        let path = tools::ensure(root, database.is_none())?;
        let (database, postgres) = match database {
            Some(url) => {
                println!("PostgreSQL: the one {DATABASE} names");
                (url, None)
            }
            None => {
                let server = Postgres::start()?;
                println!("PostgreSQL: throw-away, {}", server.url());
                (OsString::from(server.url()), Some(server))
            }
        };
        let (redis, own) = match redis {
            Some(url) => {
                println!("Redis: the one {REDIS} names");
                (url, None)
            }
            None => {
                let server = Redis::start()?;
                println!("Redis: throw-away, {}", server.url());
                (OsString::from(server.url()), Some(server))
            }
        };
        Ok(Self {
            path,
            database,
            redis,
            _servers: (postgres, own),
        })
    }
}

/// The cargo that started this program, so that the toolchain is the same.
fn cargo_program() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn cargo(root: &Path, arguments: &[&str]) -> Result<()> {
    let status = Command::new(cargo_program())
        .args(arguments)
        .current_dir(root)
        .status()
        .context("cannot start cargo")?;
    if !status.success() {
        bail!("cargo {}: {status}", arguments.join(" "));
    }
    Ok(())
}

/// Passes the output of `cargo test` on, counts, and judges the run.
fn count(mut child: Child, summary: &mut Summary) -> Result<()> {
    let output = child.stdout.take().context("cargo has no output")?;
    let lines = lines(output);
    let mut ended: Option<Instant> = None;
    loop {
        match lines.recv_timeout(Duration::from_millis(200)) {
            Ok(line) => {
                println!("{line}");
                summary.read(&line);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            // A process that a failed test left behind may hold the output open for ever.
            Err(RecvTimeoutError::Timeout) => match ended {
                Some(end) if end.elapsed() > LAST_OUTPUT => break,
                Some(_) => {}
                None => ended = child.try_wait()?.map(|_| Instant::now()),
            },
        }
    }
    judge(child.wait()?.success(), summary)
}

/// A run is good if cargo says so, something ran, and nothing was passed over.
fn judge(cargo_content: bool, summary: &Summary) -> Result<()> {
    if summary.failed > 0 {
        bail!("{} tests failed", summary.failed);
    }
    if !cargo_content {
        bail!("a test program did not build or did not reach its end");
    }
    if summary.ignored > 0 {
        bail!("{} tests were not run", summary.ignored);
    }
    if summary.passed == 0 {
        bail!("no test ran");
    }
    Ok(())
}

fn lines(output: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output
            .read_until(b'\n', &mut line)
            .is_ok_and(|length| length > 0)
        {
            let text = String::from_utf8_lossy(&line).trim_end().to_string();
            line.clear();
            if sender.send(text).is_err() {
                return;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cargo_content: bool, counts: (u64, u64, u64), fault: Option<&str>) {
        let (passed, failed, ignored) = counts;
        let summary = Summary {
            passed,
            failed,
            ignored,
            names: Vec::new(),
        };
        let found = judge(cargo_content, &summary).err().map(|e| e.to_string());
        assert_eq!(found.as_deref(), fault, "{cargo_content} {counts:?}");
    }

    #[test]
    fn a_run_is_good_only_if_tests_ran_and_none_was_passed_over() {
        check(true, (5, 0, 0), None);
        check(false, (5, 2, 0), Some("2 tests failed"));
        check(
            false,
            (5, 0, 0),
            Some("a test program did not build or did not reach its end"),
        );
        check(true, (5, 0, 1), Some("1 tests were not run"));
        check(true, (0, 0, 0), Some("no test ran"));
    }

    #[test]
    fn every_failed_step_is_counted_once() {
        let check = |steps: &[&str], failed, failures| {
            let steps = Steps {
                failed: steps.iter().map(ToString::to_string).collect(),
                summary: Summary {
                    failed,
                    ..Summary::default()
                },
            };
            assert_eq!(steps.failures(), failures, "{:?} {failed}", steps.failed);
        };
        check(&[], 0, 0);
        check(&["format"], 0, 1);
        check(&["tests"], 3, 3);
        check(&["tests"], 0, 1);
        check(&["format", "lints", "tests"], 3, 5);
    }
}
