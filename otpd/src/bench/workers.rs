//! The threads of the driver: each with its own runtime, connections and devices, so that none waits for another.

use std::future::Future;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use super::client::{Connection, Target};
use super::devices::Enrolled;
use super::plan::Plan;

/// Why a phase ends before its time, told to all workers.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// Some worker's devices have no step left to send.
    pub(super) exhausted: AtomicBool,
    /// The user wants to stop.
    pub(super) interrupted: AtomicBool,
    /// Units of work done, for the progress line.
    pub(super) progress: AtomicU32,
}

impl Signals {
    /// Whether to start no further request.
    pub(super) fn stop(&self) -> bool {
        self.exhausted.load(Ordering::Relaxed) || self.interrupted.load(Ordering::Relaxed)
    }

    /// Whether the user wants to stop.
    pub(super) fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
}

/// One thread's share of the run.
pub(super) struct Worker {
    /// Which of the workers this is, from 0.
    pub(super) index: u32,
    runtime: Runtime,
    targets: Vec<Arc<Target>>,
    connections: Vec<Connection>,
    /// Device numbers below this one may exist on the server, as far as they are this worker's.
    pub(super) claimed: u32,
    /// The devices it registered.
    pub(super) devices: Arc<[Enrolled]>,
    /// Whose turn it is among them.
    pub(super) plan: Arc<Mutex<Plan>>,
}

impl Worker {
    /// A worker with this many connections, not made yet, to each of the targets in turn, and no devices.
    ///
    /// # Errors
    /// When the system refuses a runtime its descriptors.
    pub(super) fn new(
        index: u32,
        connections: u32,
        targets: &[Arc<Target>],
    ) -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let all = targets.iter().cycle().take(connections as usize);
        Ok(Self {
            index,
            runtime,
            targets: targets.to_vec(),
            connections: all.cloned().map(Connection::new).collect(),
            claimed: 0,
            devices: Arc::new([]),
            plan: Arc::new(Mutex::new(Plan::new(0))),
        })
    }

    /// Runs something that brings its own connections.
    pub(super) fn block_on<T>(&mut self, job: impl Future<Output = T>) -> T {
        self.runtime.block_on(job)
    }

    /// Runs something on the worker's first connection alone.
    pub(super) fn on_first<T>(&mut self, job: impl AsyncFnOnce(&mut Connection) -> T) -> T {
        let Self {
            runtime,
            connections,
            ..
        } = self;
        runtime.block_on(job(&mut connections[0]))
    }

    /// Runs one task per connection until all are through or `deadline` has passed; returns what they
    /// made and how many were cut off. A task that is cut off loses its connection, which is made anew.
    pub(super) fn on_each<T, F>(
        &mut self,
        deadline: Option<Instant>,
        mut task: impl FnMut(usize, Connection) -> F,
    ) -> (Vec<T>, usize)
    where
        T: Send + 'static,
        F: Future<Output = (Connection, T)> + Send + 'static,
    {
        let mut tasks = JoinSet::new();
        let given = std::mem::take(&mut self.connections);
        let count = given.len();
        let mut made = Vec::with_capacity(count);
        self.runtime.block_on(async {
            for (index, connection) in given.into_iter().enumerate() {
                tasks.spawn(task(index, connection));
            }
            loop {
                let next = match deadline {
                    Some(deadline) => {
                        tokio::time::timeout_at(deadline.into(), tasks.join_next()).await
                    }
                    None => Ok(tasks.join_next().await),
                };
                match next {
                    Ok(Some(Ok((connection, product)))) => {
                        self.connections.push(connection);
                        made.push(product);
                    }
                    Ok(Some(Err(error))) if error.is_panic() => {
                        std::panic::resume_unwind(error.into_panic())
                    }
                    Ok(Some(Err(_))) => {}
                    Ok(None) | Err(_) => break,
                }
            }
            tasks.shutdown().await;
        });
        let cut_off = count - made.len();
        let lost = self.targets.iter().cycle().take(cut_off);
        self.connections.extend(lost.cloned().map(Connection::new));
        (made, cut_off)
    }
}

/// Runs one phase on all workers at once and returns what each made, in their order; meanwhile shows
/// progress on a terminal.
pub(super) fn on_all<T: Send>(
    workers: &mut [Worker],
    progress: &Progress<'_>,
    phase: impl Fn(&mut Worker) -> T + Sync,
) -> Vec<T> {
    let phase = &phase;
    thread::scope(|scope| {
        let threads: Vec<_> = workers
            .iter_mut()
            .map(|worker| scope.spawn(move || phase(worker)))
            .collect();
        progress.show_until(|| threads.iter().all(thread::ScopedJoinHandle::is_finished));
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    })
}

/// A line on the terminal that says how far a phase is.
#[derive(Debug)]
pub(super) struct Progress<'a> {
    /// What is being done, such as `registering`.
    what: &'a str,
    /// How many units make the whole, or none when only time passes.
    of: Option<u32>,
    /// Where the units done are counted.
    signals: &'a Signals,
}

impl<'a> Progress<'a> {
    /// Progress of a phase of `of` units, counted from none.
    pub(super) fn counting(what: &'a str, of: u32, signals: &'a Signals) -> Self {
        signals.progress.store(0, Ordering::Relaxed);
        Self {
            what,
            of: Some(of),
            signals,
        }
    }

    /// Progress of a phase that lasts for a given time.
    pub(super) fn waiting(what: &'a str, signals: &'a Signals) -> Self {
        Self {
            what,
            of: None,
            signals,
        }
    }

    fn show_until(&self, done: impl Fn() -> bool) {
        let mut err = std::io::stderr();
        if !err.is_terminal() {
            return;
        }
        while !done() {
            let line = match self.of {
                Some(of) => format!(
                    "{} {}/{of}",
                    self.what,
                    self.signals.progress.load(Ordering::Relaxed)
                ),
                None => format!("{} …", self.what),
            };
            // A terminal that went away is no reason to end a measurement.
            let _ = write!(err, "\r{line}\x1b[K");
            thread::park_timeout(Duration::from_millis(100));
        }
        let _ = write!(err, "\r\x1b[K");
    }
}

/// Locks what only a panicking task, which ends the run anyway, could have left half-done.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
