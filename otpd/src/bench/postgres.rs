//! The database alone: the update that a verification commits, over as many connections, without otpd.

use std::collections::VecDeque;
use std::sync::{Arc, Barrier, Mutex, OnceLock};
use std::time::{Duration, Instant};

use anyhow::Context;
use store::{HotRows, HotUpdate};
use tokio::task::JoinSet;

use super::args::Order;
use super::clock::{ServerClock, now};
use super::devices::shuffle;
use super::measured::Measured;
use super::rounds::Slices;
use super::run::{driver_cpu, summed, used_since};
use super::tally::{Outcome, Tally};
use super::workers::{Progress, Signals, Worker, lock, on_all};

/// How long answers may take after the end before they count as missing.
const GRACE: Duration = Duration::from_secs(10);

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan<'a> {
    /// The database; a table of the measurement's own is made in it.
    pub(super) url: &'a str,
    /// Connections of the whole run.
    pub(super) connections: u32,
    /// Rows in the table; at least twice as many as connections are made.
    pub(super) rows: u32,
    /// Which row comes next.
    pub(super) order: Order,
    /// What a random order begins with.
    pub(super) seed: [u8; 4],
    /// How long.
    pub(super) length: Duration,
    /// For the time that is written into the rows.
    pub(super) clock: ServerClock,
}

/// A worker's rows that are free, each with its next step, the one that waited longest in front. A row
/// that is taken stays out until it is given back: two updates of it could overtake each other.
struct Turns(Mutex<VecDeque<(u32, i64)>>);

impl Turns {
    fn new(rows: Vec<u32>) -> Self {
        Self(Mutex::new(rows.into_iter().map(|row| (row, 1)).collect()))
    }

    /// The next row and the step that it goes to.
    fn take(&self) -> Option<(u32, i64)> {
        lock(&self.0).pop_front()
    }

    /// The row has gone to that step.
    fn give_back(&self, (row, step): (u32, i64)) {
        lock(&self.0).push_back((row, step + 1));
    }
}

/// Makes the table, measures on all workers at once, and removes the table.
///
/// # Errors
/// When the database cannot be reached, or has no place for so many connections.
pub(super) fn measure(
    plan: &Plan<'_>,
    workers: &mut [Worker],
    signals: &Arc<Signals>,
) -> anyhow::Result<Measured> {
    let count = u32::try_from(workers.len())?;
    let rows = plan.rows.max(2 * plan.connections);
    let Some(first) = workers.first_mut() else {
        anyhow::bail!("no worker")
    };
    let table = first.block_on(HotRows::make(plan.url, rows.into()))?;
    let (barrier, start) = (Barrier::new(workers.len()), OnceLock::new());
    let cpu = driver_cpu();
    let made = on_all(
        workers,
        &Progress::waiting("single-row updates", signals),
        |worker| {
            let share =
                plan.connections / count + u32::from(worker.index < plan.connections % count);
            let mut own: Vec<u32> = (worker.index..rows).step_by(count as usize).collect();
            if plan.order == Order::Random {
                shuffle(&mut own, plan.seed);
            }
            let connected = worker.block_on(connect(&table, share));
            // All are connected before anybody is timed; one that failed must not keep the others.
            barrier.wait();
            let start = *start.get_or_init(now);
            let turns = Arc::new(Turns::new(own));
            let end = start + plan.length;
            let clock = plan.clock;
            connected.map(|updates| worker.block_on(drive(updates, &turns, end, clock, signals)))
        },
    );
    let tallies: Result<Vec<Tally>, _> = made.into_iter().collect();
    if let Some(first) = workers.first_mut() {
        first.block_on(table.remove())?;
    }
    let start: Instant = start.get().copied().unwrap_or_else(now);
    let tallies = tallies.context("connecting to the database alone")?;
    Ok(Slices::new(summed(&tallies), start, used_since(cpu)).measured())
}

async fn connect(table: &HotRows, share: u32) -> Result<Vec<HotUpdate>, store::StoreError> {
    let mut updates = Vec::new();
    for _ in 0..share {
        updates.push(table.connect().await?);
    }
    Ok(updates)
}

/// Updates over all connections, each as fast as it goes, until the end.
async fn drive(
    updates: Vec<HotUpdate>,
    turns: &Arc<Turns>,
    end: Instant,
    clock: ServerClock,
    signals: &Arc<Signals>,
) -> Tally {
    let tally = Arc::new(Mutex::new(Tally::new()));
    let mut tasks = JoinSet::new();
    let count = updates.len();
    for update in updates {
        let (tally, turns, signals) = (Arc::clone(&tally), Arc::clone(turns), Arc::clone(signals));
        tasks.spawn(async move {
            while !signals.interrupted() {
                let sent = now();
                if sent >= end {
                    break;
                }
                // There are twice as many rows as connections, and a failure keeps one out.
                let Some((row, step)) = turns.take() else {
                    break;
                };
                let now_ms = i64::try_from(clock.at(sent)).unwrap_or(i64::MAX);
                let outcome = match update.advance(row.into(), step, now_ms).await {
                    Ok(true) => Outcome::Accepted,
                    Ok(false) => Outcome::Rejected("no_row_changed".to_owned()),
                    Err(error) => Outcome::Failed(error.to_string()),
                };
                let came = now();
                let failed = matches!(outcome, Outcome::Failed(_));
                let latency = came.saturating_duration_since(sent);
                lock(&tally).done(outcome, latency, came);
                if failed {
                    break;
                }
                turns.give_back((row, step));
            }
        });
    }
    let mut ended = 0;
    while let Ok(Some(_)) = tokio::time::timeout_at((end + GRACE).into(), tasks.join_next()).await {
        ended += 1;
    }
    tasks.shutdown().await;
    let mut tally = lock(&tally).clone();
    for _ in ended..count {
        tally.failed(Outcome::Failed("no answer in time".to_owned()));
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::super::client::Target;
    use super::*;

    #[test]
    fn a_row_goes_up_one_step_a_round_and_is_never_out_twice() {
        let turns = Turns::new(vec![4, 7]);
        let (first, second) = (turns.take().unwrap(), turns.take().unwrap());
        assert_eq!((first, second), ((4, 1), (7, 1)));
        assert_eq!(turns.take(), None);
        turns.give_back(second);
        turns.give_back(first);
        assert_eq!((turns.take(), turns.take()), (Some((7, 2)), Some((4, 2))));
    }

    #[test]
    fn every_update_changes_its_row() {
        #[expect(
            clippy::disallowed_methods,
            reason = "the test command hands the address over so"
        )]
        let url = std::env::var("TEST_DATABASE_URL");
        let url = url.expect("set TEST_DATABASE_URL or run `cargo xtask test`");
        let target = vec![Arc::new(Target::resolve("http://127.0.0.1:9").unwrap())];
        let mut workers: Vec<Worker> = (0..2)
            .map(|index| Worker::new(index, 1, &target).unwrap())
            .collect();
        let plan = Plan {
            url: &url,
            connections: 3,
            rows: 1,
            order: Order::Random,
            seed: [1; 4],
            length: Duration::from_millis(300),
            clock: ServerClock::local(),
        };
        let signals = Arc::new(Signals::default());
        let measured = measure(&plan, &mut workers, &signals).unwrap();
        assert!(measured.is_clean(), "{measured:?}");
    }
}
