//! The measured phases: verifications, and the baseline of requests that do nothing.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::client::{Connection, Failure};
use super::clock::{ServerClock, now};
use super::devices::Enrolled;
use super::plan::{Plan, Turn};
use super::request::{Requests, VerifyRequest};
use super::tally::{Outcome, Tally};
use super::workers::{Signals, Worker, lock};

/// How long answers may take after the end of a phase before they count as missing.
const GRACE: Duration = Duration::from_secs(10);

/// Pause after a failure, so that a server that is gone is not stormed.
const FAILURE_PAUSE: Duration = Duration::from_millis(100);

/// Longest sleep before a look at whether the run is still wanted.
const LONGEST_SLEEP: Duration = Duration::from_millis(500);

/// From one look at `/livez` to the next, beside the verifications.
const WATCH_PAUSE: Duration = Duration::from_millis(20);

/// How late the runtime's timer may wake us: it counts in milliseconds, and so does the system call below it.
const TIMER_GRAIN: Duration = Duration::from_millis(2);

/// How long after the end of a phase what was due before it is still sent. So a server that keeps up is
/// judged by how late its last answers were, and only one that is further behind leaves some unsent.
const LATE: Duration = Duration::from_millis(500);

/// What a measured phase needs to know besides its worker.
#[derive(Clone, Debug)]
pub(super) struct Phase {
    /// When it starts, the same moment for all workers.
    pub(super) start: Instant,
    /// How long it lasts.
    pub(super) length: Duration,
    /// Requests per second over all connections of the run, or as many as come.
    pub(super) rate: Option<u32>,
    /// Connections of the whole run.
    pub(super) connections: u32,
    /// Workers of the whole run.
    pub(super) workers: u32,
    /// The server's time.
    pub(super) clock: ServerClock,
    /// The server spends nothing: devices without a step left begin anew.
    pub(super) spends_nothing: bool,
}

impl Phase {
    fn end(&self) -> Instant {
        self.start + self.length
    }

    /// The pace of one connection; the connections of a constant rate take turns.
    fn pace(&self, worker: u32, connection: usize) -> Pace {
        let Some(rate) = self.rate else {
            return Pace::Closed;
        };
        let interval = Duration::from_secs(1) * self.connections / rate;
        let place = connection as u32 * self.workers + worker;
        Pace::Open {
            due: self.start + interval * place / self.connections,
            interval,
        }
    }
}

/// When a connection sends its next request.
enum Pace {
    /// As soon as it has its answer.
    Closed,
    /// At fixed moments, whether or not the server keeps up.
    Open { due: Instant, interval: Duration },
}

impl Pace {
    /// Waits for the next request's moment and returns what its latency counts from: nothing means the
    /// moment of sending.
    ///
    /// At a constant rate that is the moment the request was due, so a server that stalls is charged for
    /// every request that should have been under way meanwhile. Only when the connection was idle then,
    /// lateness up to the timer's grain is not charged: it is the driver's own.
    async fn wait(&mut self, signals: &Signals) -> Option<Instant> {
        let Self::Open { due, interval } = self else {
            return None;
        };
        let moment = *due;
        *due += *interval;
        let mut present = now();
        if present >= moment {
            return Some(moment);
        }
        while present < moment && !signals.stop() {
            tokio::time::sleep_until(moment.min(present + LONGEST_SLEEP).into()).await;
            present = now();
        }
        Some(present.min(moment + TIMER_GRAIN))
    }

    /// Whether the next request lies beyond the end.
    fn is_over(&self, end: Instant) -> bool {
        matches!(self, Self::Open { due, .. } if *due >= end)
    }

    /// Requests that are due before `end` and were not sent.
    fn unsent(&self, end: Instant) -> u64 {
        match self {
            Self::Open { due, interval } => {
                let left = end.saturating_duration_since(*due).as_nanos();
                u64::try_from(left.div_ceil(interval.as_nanos().max(1))).unwrap_or(u64::MAX)
            }
            Self::Closed => 0,
        }
    }
}

/// Verifies over all connections of a worker until time, devices or the user's patience are at an end.
pub(super) fn verify(
    worker: &mut Worker,
    phase: &Phase,
    requests: &Requests,
    signals: &Arc<Signals>,
) -> Tally {
    let tally = Arc::new(Mutex::new(Tally::new()));
    let template = requests.verify();
    let (plan, devices, index) = (
        Arc::clone(&worker.plan),
        Arc::clone(&worker.devices),
        worker.index,
    );
    let deadline = phase.end() + GRACE;
    let (_, cut_off) = worker.on_each(Some(deadline), |number, connection| {
        let stream = Stream {
            pace: phase.pace(index, number),
            phase: phase.clone(),
            plan: Arc::clone(&plan),
            devices: Arc::clone(&devices),
            signals: Arc::clone(signals),
            tally: Arc::clone(&tally),
        };
        stream.verify(connection, template.clone())
    });
    finished(&tally, cut_off)
}

/// Requests `/livez` over all connections of a worker, each as fast as it goes.
pub(super) fn baseline(
    worker: &mut Worker,
    phase: &Phase,
    requests: &Requests,
    signals: &Arc<Signals>,
) -> Tally {
    let tally = Arc::new(Mutex::new(Tally::new()));
    let request: Arc<[u8]> = requests.livez().into();
    let end = phase.end();
    let (_, cut_off) = worker.on_each(Some(end + GRACE), |_, mut connection| {
        let (tally, signals, request) = (
            Arc::clone(&tally),
            Arc::clone(signals),
            Arc::clone(&request),
        );
        async move {
            while !signals.interrupted() {
                let sent = now();
                if sent >= end {
                    break;
                }
                let answer = connection.exchange(&request).await;
                let answer =
                    answer.map(|response| (response.status, Outcome::of_success(&response)));
                settle(&tally, answer, sent).await;
            }
            (connection, ())
        }
    });
    finished(&tally, cut_off)
}

/// Requests `/livez` on the worker's only connection every [`WATCH_PAUSE`] until the end.
pub(super) fn watch(
    worker: &mut Worker,
    phase: &Phase,
    requests: &Requests,
    signals: &Arc<Signals>,
) -> Tally {
    let tally = Mutex::new(Tally::new());
    let request = requests.livez();
    let end = phase.end();
    worker.on_first(async |connection| {
        while !signals.stop() && now() < end {
            let sent = now();
            let answer = connection.exchange_within(GRACE, &request).await;
            let answer = answer.map(|response| (response.status, Outcome::of_success(&response)));
            settle(&tally, answer, sent).await;
            tokio::time::sleep_until((sent + WATCH_PAUSE).into()).await;
        }
    });
    finished(&tally, 0)
}

/// Makes sure that every connection stands, since a server may have closed what was idle for a while.
///
/// # Errors
/// When some connection cannot be made.
pub(super) fn connect(worker: &mut Worker, requests: &Requests) -> Result<(), Failure> {
    let request: Arc<[u8]> = requests.livez().into();
    let (made, _) = worker.on_each(None, |_, mut connection| {
        let request = Arc::clone(&request);
        async move {
            let mut made = connection
                .exchange_within(GRACE, &request)
                .await
                .map(|_| ());
            if made.is_err() {
                made = connection
                    .exchange_within(GRACE, &request)
                    .await
                    .map(|_| ());
            }
            (connection, made)
        }
    });
    made.into_iter().collect()
}

/// The verifications of one connection.
struct Stream {
    pace: Pace,
    phase: Phase,
    plan: Arc<Mutex<Plan>>,
    devices: Arc<[Enrolled]>,
    signals: Arc<Signals>,
    tally: Arc<Mutex<Tally>>,
}

impl Stream {
    /// The next device's turn; nothing when all have sent what they may.
    fn take(&self, present: Instant) -> Option<Turn> {
        let now_ms = self.phase.clock.at(present);
        let mut plan = lock(&self.plan);
        let turn = plan.take(now_ms);
        if turn.is_some() || !self.phase.spends_nothing {
            return turn;
        }
        *plan = Plan::new(u32::try_from(self.devices.len()).unwrap_or(u32::MAX));
        plan.take(now_ms)
    }

    async fn verify(
        mut self,
        mut connection: Connection,
        mut request: VerifyRequest,
    ) -> (Connection, ()) {
        let end = self.phase.end();
        while !self.pace.is_over(end) {
            let due = self.pace.wait(&self.signals).await;
            let present = now();
            let late = due.map_or(Duration::ZERO, |_| LATE);
            if self.signals.stop() {
                break;
            }
            if present >= end + late {
                lock(&self.tally).unsent += self.pace.unsent(end) + u64::from(due.is_some());
                break;
            }
            let Some(turn) = self.take(present) else {
                self.signals.exhausted.store(true, Ordering::Relaxed);
                break;
            };
            let device = &self.devices[turn.device as usize];
            let code = device.code(turn.step).to_text();
            let sent = due.unwrap_or_else(now);
            let answer = connection
                .exchange(request.filled(device.number, &code))
                .await;
            let answer = answer.map(|response| {
                let outcome = match Outcome::of_verification(&response) {
                    Outcome::Rejected(_) if device.has_twin(turn.step) => Outcome::Twin,
                    other => other,
                };
                (response.status, outcome)
            });
            lock(&self.plan).give_back(turn);
            settle(&self.tally, answer, sent).await;
        }
        (connection, ())
    }
}

/// Counts what came of a request that was due or sent at `sent`.
async fn settle(tally: &Mutex<Tally>, answer: Result<(u16, Outcome), Failure>, sent: Instant) {
    match answer {
        Ok((status, outcome)) => {
            let came = now();
            lock(tally).answered(status, outcome, came.saturating_duration_since(sent), came);
        }
        Err(failure) => {
            lock(tally).failed(failure);
            tokio::time::sleep(FAILURE_PAUSE).await;
        }
    }
}

/// The tally of a phase, in which each connection that was cut off had one request without an answer.
fn finished(tally: &Mutex<Tally>, cut_off: usize) -> Tally {
    let mut tally = lock(tally).clone();
    for _ in 0..cut_off {
        tally.failed(Failure::TimedOut);
    }
    tally
}
