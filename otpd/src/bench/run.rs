//! One run from first probe to last deletion.

use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, bail};

use super::args::{BenchArgs, Order};
use super::client::{Connection, Target};
use super::clock::{OffsetBounds, PROBE_PAUSE, PROBES, ServerClock, http_date_seconds, now};
use super::devices::{self, Enrolled, Share};
use super::plan::{Plan, devices_needed, start_delay};
use super::report::{Ratios, Report};
use super::request::Requests;
use super::rounds::Rounds;
use super::tally::Tally;
use super::verify::{self, Phase};
use super::workers::{Progress, Signals, Worker, on_all};

/// How long one probe of the server's clock may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs `otpd bench` and prints what it found; fails the process when any answer was not an acceptance.
///
/// Blocks until the run is over; an interrupt ends it early and still deletes the devices.
///
/// # Errors
/// When nothing could be measured: no server, a key without the scopes, a refused registration.
pub fn run(args: BenchArgs) -> anyhow::Result<ExitCode> {
    let signals = Arc::new(Signals::default());
    stop_on_interrupt(Arc::clone(&signals))?;
    let report = measure(&args, &signals)?;
    report.print(args.json).context("writing the report")?;
    Ok(if report.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs the whole benchmark and deletes its devices, whatever came of it.
pub(super) fn measure(args: &BenchArgs, signals: &Arc<Signals>) -> anyhow::Result<Report> {
    let mut run = Run::prepare(args, signals)?;
    let measured = run.measure();
    let left = run.clean_up();
    match measured {
        Ok(report) => Ok(Report {
            devices_left: left,
            ..report
        }),
        Err(error) if left > 0 => {
            Err(error.context(format!("{left} devices may be left on the server")))
        }
        Err(error) => Err(error),
    }
}

/// A run under way.
pub(super) struct Run<'a> {
    /// What was asked for.
    pub(super) args: &'a BenchArgs,
    /// Why it may end early.
    pub(super) signals: &'a Arc<Signals>,
    /// In wire form.
    pub(super) requests: Arc<Requests>,
    /// Its threads.
    pub(super) workers: Vec<Worker>,
    /// Which devices are whose.
    pub(super) share: Share,
    /// The server's time.
    pub(super) clock: ServerClock,
    /// What sets this run's devices apart.
    pub(super) seed: [u8; 4],
    /// A connection of its own that looks at `/livez` meanwhile.
    pub(super) watcher: Option<Worker>,
    notes: Vec<String>,
}

impl<'a> Run<'a> {
    /// Resolves the address, finds the server there and learns its time.
    fn prepare(args: &'a BenchArgs, signals: &'a Arc<Signals>) -> anyhow::Result<Self> {
        let targets = args
            .url
            .iter()
            .map(|url| Target::resolve(url).map(Arc::new));
        let targets = targets.collect::<anyhow::Result<Vec<_>>>()?;
        let Some(target) = targets.first() else {
            bail!("no address")
        };
        let seed = match &args.filled {
            Some(seed) => seed.run(),
            None => random_seed()?,
        };
        let requests = Arc::new(Requests::new(Arc::clone(target), args.key.clone(), seed));
        // A worker without a connection or a device would end the run at once.
        let count = args.threads.min(args.connections).min(args.devices);
        let workers = workers(args, count, &targets)?;
        let watcher = args.watch.then(|| Worker::new(count, 1, &targets));
        let share = Share {
            devices: args.devices,
            workers: count,
        };
        let clock = ServerClock::local();
        let mut run = Self {
            args,
            signals,
            requests,
            workers,
            share,
            clock,
            seed,
            watcher: watcher.transpose()?,
            notes: Vec::new(),
        };
        run.learn_time()?;
        Ok(run)
    }

    fn learn_time(&mut self) -> anyhow::Result<()> {
        let (clock, request) = (self.clock, self.requests.livez());
        let Some(first) = self.workers.first_mut() else {
            bail!("no worker")
        };
        let known = first.on_first(async |connection| probe(connection, clock, &request).await);
        match known.with_context(|| format!("no otpd answers at {}", self.args.url.join(", ")))? {
            Some(bounds) => self.clock = clock.moved(bounds.offset_ms()),
            None => self
                .notes
                .push("the server sends no Date header; its clock is taken for ours".to_owned()),
        }
        Ok(())
    }

    fn measure(&mut self) -> anyhow::Result<Report> {
        let (registered, registration_seconds) = self.enrol()?;
        let postgres = self.row_updates()?;
        let bare = self.bare_handler()?;
        self.wait_for_start()?;
        let warming = Duration::from_secs(self.args.warm.into());
        let warm = (self.args.warm > 0).then(|| self.verify(warming, "warming up").tally);
        let Rounds {
            livez,
            bare,
            verify: verified,
            watched,
        } = self.rounds(bare);
        let verify = verified.measured();
        if self.signals.interrupted() {
            self.notes.push("interrupted".to_owned());
        }
        let exhausted = self.signals.exhausted.load(Ordering::Relaxed);
        let rate = self.args.rate.map_or(verify.per_second, f64::from);
        // A run that gave out in its warm-up saw the rate there.
        let seen = if verify.accepted > 0 {
            rate
        } else {
            warm.as_ref().map_or(0.0, warm_rate(self.args.warm))
        };
        let needed = (exhausted && seen > 0.0)
            .then(|| devices_needed(seen, self.args.seconds + self.args.warm));
        let report = Report {
            url: self.args.url.join(", "),
            connections: self.args.connections,
            threads: self.share.workers,
            devices: registered,
            registration_seconds,
            stored: self.stored(),
            order: self.args.order.word(),
            rate: self.args.rate,
            livez,
            bare,
            postgres,
            verify,
            watched,
            ratios: Ratios::default(),
            warm_faults: warm.as_ref().map_or(0, Tally::faults),
            exhausted,
            devices_needed: needed,
            devices_left: 0,
            notes: std::mem::take(&mut self.notes),
        };
        Ok(report.with_ratios())
    }

    /// Devices in the database, when they were filled in.
    fn stored(&self) -> Option<u32> {
        let filled = self.args.filled.is_some();
        filled.then(|| self.args.stored.unwrap_or(self.args.devices))
    }

    /// Gives each worker its devices, new ones or some of those filled in; returns how many there are
    /// and the seconds that their registration took.
    fn enrol(&mut self) -> anyhow::Result<(u32, Option<f64>)> {
        let began = now();
        let (share, seed, order) = (self.share, self.seed, self.args.order);
        let made = match (&self.args.filled, self.stored()) {
            (Some(filled), Some(stored)) => {
                let place = (stored, self.args.offset);
                let workers = self.workers.iter();
                let devices = workers
                    .map(|worker| Ok(devices::filled(worker.index, share, filled, place, order)));
                devices.collect()
            }
            _ => self.register(),
        };
        let mut count = 0;
        for (worker, devices) in self.workers.iter_mut().zip(made) {
            let mut devices = devices?;
            if order == Order::Random {
                devices::shuffle(&mut devices, seed);
            }
            let own = u32::try_from(devices.len())?;
            count += own;
            worker.plan = Arc::new(Mutex::new(Plan::new(own)));
            worker.devices = devices.into();
        }
        if self.signals.interrupted() {
            bail!("interrupted");
        }
        let seconds = began.elapsed().as_secs_f64();
        Ok((count, self.args.filled.is_none().then_some(seconds)))
    }

    /// Registers all devices, each worker its own.
    fn register(&mut self) -> Vec<anyhow::Result<Vec<Enrolled>>> {
        let (share, requests, signals) = (self.share, Arc::clone(&self.requests), self.signals);
        let progress = Progress::counting("registering", share.devices, self.signals);
        on_all(&mut self.workers, &progress, |worker| {
            devices::register(worker, share, &requests, signals)
        })
    }

    /// Waits until each device has all its steps to give, then sees to it that all connections stand.
    fn wait_for_start(&mut self) -> anyhow::Result<()> {
        let (clock, requests, signals) = (self.clock, Arc::clone(&self.requests), self.signals);
        let made = on_all(
            &mut self.workers,
            &Progress::waiting("waiting for a good moment", self.signals),
            |worker| {
                let until = now() + start_delay(clock.at(now()));
                while now() < until && !signals.interrupted() {
                    let rest = until.saturating_duration_since(now());
                    std::thread::park_timeout(rest.min(Duration::from_millis(100)));
                }
                verify::connect(worker, &requests)
            },
        );
        made.into_iter()
            .collect::<Result<(), _>>()
            .context("the server no longer answers GET /livez")
    }

    /// Deletes what was registered, unless told not to; returns how many devices are left.
    fn clean_up(&mut self) -> u32 {
        let claimed = |workers: &[Worker]| {
            workers
                .iter()
                .map(|worker| worker.claimed)
                .max()
                .unwrap_or(0)
        };
        if self.args.filled.is_some() {
            return 0;
        }
        if self.args.no_cleanup {
            return claimed(&self.workers);
        }
        let (share, requests, signals) = (self.share, Arc::clone(&self.requests), self.signals);
        let progress = Progress::counting("deleting", claimed(&self.workers), self.signals);
        on_all(&mut self.workers, &progress, |worker| {
            devices::delete(worker, share, &requests, signals)
        })
        .iter()
        .sum()
    }

    /// A phase that starts now.
    pub(super) fn phase(&self, length: Duration, rate: Option<u32>) -> Phase {
        Phase {
            start: now(),
            length,
            rate,
            connections: self.args.connections,
            workers: self.share.workers,
            clock: self.clock,
            spends_nothing: false,
        }
    }
}

/// The driver's threads with their shares of the connections.
pub(super) fn workers(
    args: &BenchArgs,
    count: u32,
    targets: &[Arc<Target>],
) -> anyhow::Result<Vec<Worker>> {
    let made = (0..count).map(|index| {
        let connections = args.connections / count + u32::from(index < args.connections % count);
        Worker::new(index, connections, targets)
    });
    made.collect::<Result<_, _>>()
        .context("starting the driver's threads")
}

/// What the server's clock says, by probes spread over a second; nothing when it does not say.
async fn probe(
    connection: &mut Connection,
    clock: ServerClock,
    request: &[u8],
) -> Result<Option<OffsetBounds>, anyhow::Error> {
    let mut known: Option<OffsetBounds> = None;
    for _ in 0..PROBES {
        let sent = clock.at(now());
        let response = connection.exchange_within(PROBE_TIMEOUT, request).await?;
        let received = clock.at(now());
        if response.status != 200 {
            bail!("GET /livez was answered {}", response.status);
        }
        let Some(date) = response.header("date").and_then(http_date_seconds) else {
            return Ok(None);
        };
        let told = OffsetBounds::from_date(date, sent, received);
        let bounds = known.map_or(told, |before| before.and(told));
        known = Some(bounds);
        if bounds.is_narrow() {
            break;
        }
        tokio::time::sleep(PROBE_PAUSE).await;
    }
    Ok(known)
}

/// What sets this run's devices apart from those of any other run.
#[expect(
    clippy::disallowed_methods,
    reason = "the driver draws its own names: it runs apart from the server's wiring"
)]
fn random_seed() -> anyhow::Result<[u8; 4]> {
    let mut seed = [0; 4];
    getrandom::fill(&mut seed).context("no randomness from the system")?;
    Ok(seed)
}

/// Acceptances per second of a warm-up of this length.
fn warm_rate(seconds: u32) -> impl Fn(&Tally) -> f64 {
    move |tally| tally.accepted as f64 / f64::from(seconds)
}

/// The tallies of all workers in one.
pub(super) fn summed(tallies: &[Tally]) -> Tally {
    tallies.iter().fold(Tally::new(), |mut sum, tally| {
        sum.add(tally);
        sum
    })
}

/// CPU time of this process so far, where `/proc` tells it, in its grain of 10 ms.
pub(super) fn driver_cpu() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Fields 14 and 15 of proc_pid_stat(5); counted behind the name, which may hold spaces.
    let fields = stat.rsplit_once(')')?.1;
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse().unwrap_or(0))
        .sum();
    Some(Duration::from_millis(ticks * 10))
}

/// CPU time since that moment.
pub(super) fn used_since(before: Option<Duration>) -> Option<Duration> {
    Some(driver_cpu()?.saturating_sub(before?))
}

/// Ends the run at the first interrupt, the process at the second.
fn stop_on_interrupt(signals: Arc<Signals>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("waiting for signals")?;
    // Detached: it ends with the process.
    std::thread::spawn(move || {
        runtime.block_on(async {
            if tokio::signal::ctrl_c().await.is_ok() {
                signals.interrupted.store(true, Ordering::Relaxed);
            }
            if tokio::signal::ctrl_c().await.is_ok() {
                std::process::exit(130);
            }
        });
    });
    Ok(())
}
