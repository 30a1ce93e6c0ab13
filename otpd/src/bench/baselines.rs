//! What verifications are measured against, over the same connections: requests that do nothing, a bare handler, the database alone.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;

use super::bare;
use super::client::Target;
use super::measured::Measured;
use super::plan::Plan;
use super::postgres;
use super::request::Requests;
use super::rounds::Slices;
use super::run::{Run, driver_cpu, summed, used_since, workers};
use super::verify;
use super::workers::{Progress, Worker, on_all};

/// A bare handler that was asked for, with connections of its own.
pub(super) struct BareHandler {
    requests: Arc<Requests>,
    workers: Vec<Worker>,
    /// Ends with this, where it was not there before.
    _process: Option<bare::Process>,
}

impl Run<'_> {
    /// Single-row updates, if they were asked for.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub(super) fn row_updates(&mut self) -> anyhow::Result<Option<Measured>> {
        let Some(url) = &self.args.postgres_baseline else {
            return Ok(None);
        };
        let plan = postgres::Plan {
            url: url.expose(),
            connections: self.args.connections,
            rows: self.args.devices,
            order: self.args.order,
            seed: self.seed,
            length: self.baseline_length(),
            clock: self.clock,
        };
        postgres::measure(&plan, &mut self.workers, self.signals).map(Some)
    }

    /// The bare handler, if it was asked for, started where no address was given, and connected.
    ///
    /// # Errors
    /// When it cannot be started or reached.
    pub(super) fn bare_handler(&self) -> anyhow::Result<Option<BareHandler>> {
        let (url, process) = match &self.args.bare {
            None => return Ok(None),
            Some(Some(url)) => (url.clone(), None),
            Some(None) => {
                let process = bare::Process::start()?;
                (process.url.clone(), Some(process))
            }
        };
        let target = Arc::new(Target::resolve(&url)?);
        let requests = Requests::new(Arc::clone(&target), self.args.key.clone(), self.seed);
        let requests = Arc::new(requests);
        let mut others = workers(self.args, self.share.workers, &[target])?;
        for (other, worker) in others.iter_mut().zip(&self.workers) {
            other.devices = Arc::clone(&worker.devices);
            let own = u32::try_from(worker.devices.len())?;
            other.plan = Arc::new(Mutex::new(Plan::new(own)));
        }
        let connected = on_all(
            &mut others,
            &Progress::waiting("connecting to the bare handler", self.signals),
            |worker| verify::connect(worker, &requests),
        );
        for made in connected {
            made.with_context(|| format!("no bare handler answers at {url}"))?;
        }
        Ok(Some(BareHandler {
            requests,
            workers: others,
            _process: process,
        }))
    }

    /// Sends the same requests, codes and all, to a bare handler.
    pub(super) fn bare(&self, handler: &mut BareHandler, length: Duration) -> Slices {
        let mut phase = self.phase(length, None);
        phase.spends_nothing = true;
        let (requests, signals) = (&handler.requests, self.signals);
        let cpu = driver_cpu();
        let tallies = on_all(
            &mut handler.workers,
            &Progress::waiting("the bare handler", signals),
            |worker| verify::verify(worker, &phase, requests, signals),
        );
        Slices::new(summed(&tallies), phase.start, used_since(cpu))
    }

    /// Requests that do nothing.
    pub(super) fn livez(&mut self, length: Duration) -> Slices {
        let phase = self.phase(length, None);
        let (requests, signals) = (Arc::clone(&self.requests), self.signals);
        let cpu = driver_cpu();
        let tallies = on_all(
            &mut self.workers,
            &Progress::waiting("GET /livez", self.signals),
            |worker| verify::baseline(worker, &phase, &requests, signals),
        );
        Slices::new(summed(&tallies), phase.start, used_since(cpu))
    }
}
