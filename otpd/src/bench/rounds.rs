//! The measured phases in turns: what verifications are compared with is measured between them, so that a machine that is slower for a while is so for both.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::baselines::BareHandler;
use super::measured::Measured;
use super::run::{Run, driver_cpu, summed, used_since};
use super::tally::Tally;
use super::verify;
use super::workers::{Progress, on_all};

/// Turns of each kind in a second of verifications, in a run that compares: a host that is shared
/// may give twice as much from one second to the next.
const ROUNDS_A_SECOND: u32 = 2;
/// Turns in a long run.
const MOST_ROUNDS: u32 = 12;

/// Longest measurement of a baseline, in seconds over all turns: it needs no more to be steady.
const BASELINE_SECONDS: u32 = 3;

/// What the turns of one kind found together.
pub(super) struct Slices {
    /// All answers.
    pub(super) tally: Tally,
    /// From the start to the last answer of each turn.
    seconds: f64,
    /// What the driver used meanwhile.
    cpu: Option<Duration>,
}

impl Slices {
    /// One turn, which began at `start`.
    pub(super) fn new(tally: Tally, start: Instant, cpu: Option<Duration>) -> Self {
        let lasted = |last: Instant| last.saturating_duration_since(start).as_secs_f64();
        Self {
            seconds: tally.last.map_or(0.0, lasted),
            tally,
            cpu,
        }
    }

    fn add(&mut self, later: &Self) {
        self.tally.add(&later.tally);
        self.seconds += later.seconds;
        self.cpu = self.cpu.zip(later.cpu).map(|(mine, more)| mine + more);
    }

    /// In figures.
    pub(super) fn measured(&self) -> Measured {
        Measured::new(&self.tally, self.seconds, self.cpu)
    }
}

/// What a run measured over its connections.
pub(super) struct Rounds {
    /// `GET /livez`.
    pub(super) livez: Option<Measured>,
    /// The bare handler.
    pub(super) bare: Option<Measured>,
    /// The verifications.
    pub(super) verify: Slices,
    /// `GET /livez` once in a while beside the verifications.
    pub(super) watched: Option<Measured>,
}

impl Run<'_> {
    /// Measures the baselines and the verifications, each in several turns where nothing speaks
    /// against it: a constant rate and a look at `/livez` go on without a break.
    pub(super) fn rounds(&mut self, mut bare: Option<BareHandler>) -> Rounds {
        let compares = bare.is_some() || !self.args.no_baseline;
        let rounds = match compares && self.args.rate.is_none() && !self.args.watch {
            true => (ROUNDS_A_SECOND * self.args.seconds).min(MOST_ROUNDS),
            false => 1,
        };
        let length = Duration::from_secs(self.args.seconds.into()) / rounds;
        let baseline = self.baseline_length() / rounds;
        let (mut livez, mut handler, signals) = (None, None, Arc::clone(self.signals));
        let mut round = || {
            if !self.args.no_baseline {
                include(&mut livez, self.livez(baseline));
            }
            if let Some(bare) = &mut bare {
                include(&mut handler, self.bare(bare, baseline));
            }
            self.verify_watched(length)
        };
        let (mut verify, watched) = round();
        for _ in 1..rounds {
            if signals.stop() {
                break;
            }
            verify.add(&round().0);
        }
        let measured = |slices: Option<Slices>| slices.map(|slices| slices.measured());
        Rounds {
            livez: measured(livez),
            bare: measured(handler),
            verify,
            watched,
        }
    }

    /// How long each baseline is measured, over all turns.
    pub(super) fn baseline_length(&self) -> Duration {
        Duration::from_secs(self.args.seconds.min(BASELINE_SECONDS).into())
    }

    /// Verifications, and what a look at `/livez` once in a while found meanwhile.
    fn verify_watched(&mut self, length: Duration) -> (Slices, Option<Measured>) {
        let Some(mut watcher) = self.watcher.take() else {
            return (self.verify(length, "verifying"), None);
        };
        let phase = self.phase(length, None);
        let (requests, signals) = (Arc::clone(&self.requests), self.signals);
        std::thread::scope(|scope| {
            let watching = scope.spawn(|| verify::watch(&mut watcher, &phase, &requests, signals));
            let verified = self.verify(length, "verifying");
            let watched = watching
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let watched = Slices::new(watched, phase.start, None);
            (verified, Some(watched.measured()))
        })
    }

    /// Verifications over all connections.
    pub(super) fn verify(&mut self, length: Duration, what: &str) -> Slices {
        let phase = self.phase(length, self.args.rate);
        let (requests, signals) = (Arc::clone(&self.requests), self.signals);
        let cpu = driver_cpu();
        let tallies = on_all(
            &mut self.workers,
            &Progress::waiting(what, self.signals),
            |worker| verify::verify(worker, &phase, &requests, signals),
        );
        Slices::new(summed(&tallies), phase.start, used_since(cpu))
    }
}

fn include(all: &mut Option<Slices>, later: Slices) {
    match all {
        Some(all) => all.add(&later),
        None => *all = Some(later),
    }
}
