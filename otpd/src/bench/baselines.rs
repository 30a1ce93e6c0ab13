//! What verifications are measured against, over the same connections: requests that do nothing, a bare handler, the database alone.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;

use super::args::BenchArgs;
use super::bare;
use super::client::Target;
use super::measured::Measured;
use super::plan::Plan;
use super::postgres;
use super::request::Requests;
use super::run::{Run, driver_cpu, summed, used_since, workers};
use super::verify;
use super::workers::{Progress, on_all};

/// Longest baseline measurement, in seconds: it needs no more to be steady.
const BASELINE_SECONDS: u32 = 3;

/// What is measured before the verifications.
pub(super) struct Baselines {
    /// `GET /livez`.
    pub(super) livez: Option<Measured>,
    /// The bare handler.
    pub(super) bare: Option<Measured>,
    /// Single-row updates.
    pub(super) postgres: Option<Measured>,
}

impl Run<'_> {
    /// Measures what was asked for, one after the other.
    ///
    /// # Errors
    /// When the bare handler or the database cannot be reached.
    pub(super) fn baselines(&mut self) -> anyhow::Result<Baselines> {
        let livez = (!self.args.no_baseline).then(|| self.livez());
        let bare = match self.args.bare.clone() {
            Some(Some(url)) => Some(self.bare(&url)?),
            Some(None) => {
                let process = bare::Process::start()?;
                Some(self.bare(&process.url)?)
            }
            None => None,
        };
        let postgres = match &self.args.postgres_baseline {
            Some(url) => {
                let plan = postgres::Plan {
                    url: url.expose(),
                    connections: self.args.connections,
                    rows: self.args.devices,
                    order: self.args.order,
                    seed: self.seed,
                    length: baseline_length(self.args),
                    clock: self.clock,
                };
                Some(postgres::measure(&plan, &mut self.workers, self.signals)?)
            }
            None => None,
        };
        Ok(Baselines {
            livez,
            bare,
            postgres,
        })
    }

    /// Sends the same requests, codes and all, over as many new connections to a bare handler.
    fn bare(&mut self, url: &str) -> anyhow::Result<Measured> {
        let target = Arc::new(Target::resolve(url)?);
        let requests = Requests::new(Arc::clone(&target), self.args.key.clone(), self.seed);
        let requests = Arc::new(requests);
        let mut others = workers(self.args, self.share.workers, &[target])?;
        for (other, worker) in others.iter_mut().zip(&self.workers) {
            other.devices = Arc::clone(&worker.devices);
            let own = u32::try_from(worker.devices.len())?;
            other.plan = Arc::new(Mutex::new(Plan::new(own)));
        }
        let signals = self.signals;
        let connected = on_all(
            &mut others,
            &Progress::waiting("connecting to the bare handler", signals),
            |worker| verify::connect(worker, &requests),
        );
        for made in connected {
            made.with_context(|| format!("no bare handler answers at {url}"))?;
        }
        let mut phase = self.phase(0, None);
        phase.length = baseline_length(self.args);
        phase.spends_nothing = true;
        let cpu = driver_cpu();
        let tallies = on_all(
            &mut others,
            &Progress::waiting("the bare handler", signals),
            |worker| verify::verify(worker, &phase, &requests, signals),
        );
        Ok(Measured::new(
            &summed(&tallies),
            phase.start,
            used_since(cpu),
        ))
    }

    fn livez(&mut self) -> Measured {
        let mut phase = self.phase(0, None);
        phase.length = baseline_length(self.args);
        let (requests, signals) = (Arc::clone(&self.requests), self.signals);
        let cpu = driver_cpu();
        let tallies = on_all(
            &mut self.workers,
            &Progress::waiting("GET /livez", self.signals),
            |worker| verify::baseline(worker, &phase, &requests, signals),
        );
        Measured::new(&summed(&tallies), phase.start, used_since(cpu))
    }
}

fn baseline_length(args: &BenchArgs) -> Duration {
    Duration::from_secs(args.seconds.min(BASELINE_SECONDS).into())
}
