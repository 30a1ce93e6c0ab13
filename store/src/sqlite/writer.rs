//! The writer thread: attempts in batches, everything else in short slices between them.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use domain::Time;
use rusqlite::Connection;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, oneshot};

use super::connect::{self, classify};
use super::lane::Lane;
use super::log::Log;
use super::manage;
use crate::batch::Batch;
use crate::error::StoreError;
use crate::lane::chain::{self, Tail};
use crate::lane::queue::{Queue, Waiting, answer};
use crate::lane::{BatchFacts, Clock, Judge, Reply, Submission};
use crate::tables::chains;
use crate::value::{Row, Value};

/// Attempts that may wait; more are told to come back.
const ATTEMPT_PLACES: usize = 8192;
const WORK_PLACES: usize = 1024;
/// Attempts in one transaction: large enough that the sync is shared by all clients
/// of a busy server, small enough that the first one does not wait for the last.
const LARGEST_BATCH: usize = 256;
/// A batch of so many is not waited for to become larger.
const WELL_SHARED: usize = 64;
/// The runtime looks at its sockets so often, at most, before a batch that grows is begun.
const MOST_ROUNDS: u32 = 8;
/// Whatever keeps the runtime busy, what waits when a batch has ended is not kept longer.
const LONGEST_GATHERING: Duration = Duration::from_millis(5);
/// Answers that leave before the sockets are looked at again, for each thread of the runtime:
/// together with as many requests that come in fewer than the tasks after which it does so.
const AT_ONCE: usize = 20;
/// An attempt that has no answer by then is told that its outcome is unknown.
const LONGEST_WAIT: Duration = Duration::from_millis(1800);
const LONGEST_WORK: Duration = Duration::from_secs(10);

/// Work other than attempts.
enum Work {
    Batch(Batch, oneshot::Sender<Result<Time, StoreError>>),
    Rows(
        &'static str,
        Vec<Value>,
        oneshot::Sender<Result<Vec<Row>, StoreError>>,
    ),
    EmptyLog(oneshot::Sender<Result<bool, StoreError>>),
}

/// Answers on their way out of the thread: one hand-off a batch.
type Outbox = mpsc::UnboundedSender<Vec<(oneshot::Sender<Reply>, Reply)>>;

struct Shared {
    attempts: Queue<Waiting>,
    work: Queue<Work>,
    /// The thread wants to be woken once those who are about to hand in an attempt have done so.
    bell: Notify,
}

pub(crate) struct Writer {
    shared: Arc<Shared>,
    thread: Thread,
    handle: Mutex<Option<JoinHandle<()>>>,
    /// Answers the bell.
    ringing: tokio::task::AbortHandle,
}

impl Writer {
    pub(crate) fn start(
        mut connection: Connection,
        path: &Path,
        judge: Arc<dyn Judge>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let log = Log::watch(&mut connection, path)?;
        let shared = Arc::new(Shared {
            attempts: Queue::new(ATTEMPT_PLACES),
            work: Queue::new(WORK_PLACES),
            bell: Notify::new(),
        });
        let tail = begin_chain(&connection, judge.as_ref(), clock.as_ref())?;
        let (outbox, answers) = mpsc::unbounded_channel();
        tokio::spawn(deliver(answers));
        let desk = Desk {
            shared: Arc::clone(&shared),
            judge,
            clock,
            tail,
            outbox,
        };
        let handle = std::thread::Builder::new()
            .name("writer".into())
            .spawn(move || desk.serve(&connection, log))
            .map_err(StoreError::lost)?;
        let thread = handle.thread().clone();
        let (rung, sleeper) = (Arc::clone(&shared), thread.clone());
        let ringing = async move { ring(&rung.attempts, &rung.bell, || sleeper.unpark()).await };
        let ringing = tokio::spawn(ringing).abort_handle();
        Ok(Self {
            shared,
            thread,
            handle: Mutex::new(Some(handle)),
            ringing,
        })
    }

    pub(crate) async fn attempt(&self, submission: Submission) -> Reply {
        let (reply, receiver) = oneshot::channel();
        let waiting = Waiting {
            submission,
            reply,
            tries: 0,
            held_since: None,
        };
        if self.shared.attempts.push(waiting)? {
            self.shared.bell.notify_one();
        }
        answer(LONGEST_WAIT, receiver).await
    }

    pub(crate) async fn commit(&self, batch: Batch) -> Result<Time, StoreError> {
        let (reply, receiver) = oneshot::channel();
        self.work(Work::Batch(batch, reply))?;
        answer(LONGEST_WORK, receiver).await
    }

    pub(crate) async fn write_rows(
        &self,
        sql: &'static str,
        params: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        let (reply, receiver) = oneshot::channel();
        self.work(Work::Rows(sql, params, reply))?;
        answer(LONGEST_WORK, receiver).await
    }

    pub(crate) async fn empty_log(&self) -> Result<bool, StoreError> {
        let (reply, receiver) = oneshot::channel();
        self.work(Work::EmptyLog(reply))?;
        answer(LONGEST_WORK, receiver).await
    }

    pub(crate) fn waiting(&self) -> usize {
        self.shared.attempts.len()
    }

    pub(crate) async fn close(&self) {
        self.shared.attempts.close();
        self.shared.work.close();
        self.thread.unpark();
        let handle = self
            .handle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(handle) = handle {
            // A writer that panicked has nothing left to wait for.
            let _ = tokio::task::spawn_blocking(move || handle.join()).await;
        }
        self.ringing.abort();
    }

    fn work(&self, work: Work) -> Result<(), StoreError> {
        // The thread sleeps on both queues: it wakes for either.
        self.shared.work.push(work)?;
        self.thread.unpark();
        Ok(())
    }
}

/// Sends a batch of answers from inside the runtime, where waking a task is cheap: some at
/// a time, since the tasks that do not fit into a thread's queue wait for much longer.
async fn deliver(mut answers: mpsc::UnboundedReceiver<Vec<(oneshot::Sender<Reply>, Reply)>>) {
    let at_once = AT_ONCE * Handle::current().metrics().num_workers();
    while let Some(batch) = answers.recv().await {
        let mut left = batch.len();
        for (reply, answer) in batch {
            // The client may have gone; its attempt is counted all the same.
            let _ = reply.send(answer);
            left -= 1;
            if left > 0 && left.is_multiple_of(at_once) {
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Wakes the thread when it wants to be, but only after other tasks that are ready have had their
/// turn, and again while that brings more attempts. The first of many would otherwise wake it at once,
/// and on a processor that it shares with the runtime it would sync a batch of one while the others
/// are read. (Measured with 2,560 clients on one core: 30 % of all batches were of one.)
async fn ring<T>(attempts: &Queue<T>, bell: &Notify, wake: impl Fn()) {
    loop {
        bell.notified().await;
        let mut waiting = attempts.len();
        for _ in 0..MOST_ROUNDS {
            // At most 61 tasks of this thread.
            tokio::task::yield_now().await;
            let before = std::mem::replace(&mut waiting, attempts.len());
            if waiting <= before || waiting >= WELL_SHARED {
                break;
            }
        }
        wake();
    }
}

/// The chain of this process begins; its first link names the newest one there is.
fn begin_chain(
    connection: &Connection,
    judge: &dyn Judge,
    clock: &dyn Clock,
) -> Result<Tail, StoreError> {
    let newest = connect::rows(connection, chains::NEWEST, &[])?.pop();
    let before = chains::newest(newest)?;
    let latest = connect::rows(connection, chains::LATEST_TIME, &[])?.pop();
    let latest = latest.map_or(Ok(None), |row| row.maybe_time(0))?;
    connection
        .execute_batch("BEGIN IMMEDIATE")
        .map_err(classify)?;
    let id = connect::rows(connection, chains::TAKE_ID, &[])?
        .pop()
        .ok_or_else(|| StoreError::Corrupt("no id for a chain".into()))?
        .int(0)?;
    let now = clock.now();
    let new = chain::begin(id, latest.map_or(now, |at| at.max(now)), before, judge);
    let head = chains::head_params(id, &new.tail.head, new.first_mac, new.tail.at);
    connect::rows(connection, chains::INSERT, &chains::insert_params(&new))?;
    connect::rows(connection, chains::INSERT_HEAD, &head)?;
    connection.execute_batch("COMMIT").map_err(classify)?;
    Ok(new.tail)
}

/// Everything the thread works with.
struct Desk {
    shared: Arc<Shared>,
    judge: Arc<dyn Judge>,
    clock: Arc<dyn Clock>,
    tail: Tail,
    outbox: Outbox,
}

impl Desk {
    fn serve(mut self, connection: &Connection, mut log: Log) {
        let mut lane = match Lane::prepare(connection) {
            Ok(lane) => lane,
            Err(error) => {
                tracing::error!(%error, "the writer cannot start");
                self.shared.attempts.close();
                self.shared.work.close();
                return;
            }
        };
        let mut batch = Vec::with_capacity(LARGEST_BATCH);
        let mut work = Vec::with_capacity(1);
        loop {
            let waiting = self.shared.attempts.take(LARGEST_BATCH, &mut batch);
            if !batch.is_empty() {
                self.attempts(&mut lane, &mut batch, waiting);
                self.gather(waiting);
            }
            self.shared.work.take(1, &mut work);
            if let Some(work) = work.pop() {
                self.manage(connection, work, &mut log);
            } else if batch.is_empty() && waiting == 0 && !self.rest() {
                break;
            }
            log.look_after(connection);
        }
        log.end(connection);
    }

    /// Lets a batch grow that would be smaller than the one `before`.
    fn gather(&self, before: usize) {
        if !(1..before.min(WELL_SHARED)).contains(&self.shared.attempts.len()) {
            return;
        }
        // Somebody else's wake-up may be left over. For work it is not forgotten.
        std::thread::park_timeout(Duration::ZERO);
        if self.shared.work.len() == 0 {
            self.shared.bell.notify_one();
            std::thread::park_timeout(LONGEST_GATHERING);
        }
    }

    /// Sleeps until there is something to do; false when nothing will ever come.
    fn rest(&self) -> bool {
        if self.shared.attempts.is_done() && self.shared.work.is_done() {
            return false;
        }
        if self.shared.attempts.sleep() && self.shared.work.sleep() {
            std::thread::park();
        }
        true
    }

    fn attempts(&mut self, lane: &mut Lane<'_>, batch: &mut Vec<Waiting>, waiting: usize) {
        let submissions: Vec<&Submission> = batch.iter().map(|w| &w.submission).collect();
        let result = self
            .tail
            .time(self.clock.now())
            .and_then(|at| lane.run(&submissions, &self.tail, at, self.judge.as_ref()));
        let answers: Vec<_> = match result {
            Ok((replies, tail)) => {
                self.tail = tail;
                let replies = batch.drain(..).map(|waiting| waiting.reply).zip(replies);
                replies.collect()
            }
            Err(error) => {
                tracing::error!(%error, cause = ?std::error::Error::source(&error), "a batch failed");
                let fail = |waiting: Waiting| (waiting.reply, Err(error.same()));
                batch.drain(..).map(fail).collect()
            }
        };
        let facts = BatchFacts {
            attempts: answers.len(),
            waiting,
        };
        self.judge.committed(&facts);
        // The receiver goes with the runtime, and with it everybody who waits.
        let _ = self.outbox.send(answers);
    }

    fn manage(&mut self, connection: &Connection, work: Work, log: &mut Log) {
        match work {
            Work::Batch(batch, reply) => {
                let result = self.tail.time(self.clock.now()).and_then(|at| {
                    manage::run(connection, batch, &self.tail, at, self.judge.as_ref())
                });
                let _ = reply.send(result.map(|tail| {
                    self.tail = tail;
                    self.tail.at
                }));
            }
            Work::Rows(sql, params, reply) => {
                let _ = reply.send(connect::rows(connection, sql, &params));
            }
            Work::EmptyLog(reply) => {
                let _ = reply.send(log.empty(connection));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACES: usize = 1_000_000;

    /// How many wait when the thread is woken, of so many tasks that hand in so many each.
    async fn found(tasks: usize, each: usize) -> usize {
        let shared = Arc::new((Queue::new(PLACES), Notify::new()));
        let (found, mut at_last) = mpsc::unbounded_channel();
        let rung = Arc::clone(&shared);
        let wake = move || found.send(rung.0.len()).unwrap();
        let rung = Arc::clone(&shared);
        let ringing = tokio::spawn(async move { ring(&rung.0, &rung.1, wake).await });
        assert!(shared.0.sleep());
        for _ in 0..tasks {
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                for _ in 0..each {
                    match shared.0.push(()) {
                        Ok(true) => shared.1.notify_one(),
                        Ok(false) => {}
                        Err(_) => break,
                    }
                    tokio::task::yield_now().await;
                }
            });
        }
        let found = at_last.recv().await.unwrap();
        shared.0.close();
        ringing.abort();
        found
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn the_thread_is_woken_after_those_that_are_ready_but_not_after_all_that_keep_coming() {
        let found = |tasks, each| async move { tokio::spawn(found(tasks, each)).await.unwrap() };
        assert_eq!(found(1, 1).await, 1);
        assert_eq!(found(30, 1).await, 30);
        assert!((WELL_SHARED..=90).contains(&found(30, 3).await));
        // They would go on for much longer.
        assert!((WELL_SHARED..PLACES / 4).contains(&found(100, PLACES).await));
    }
}
