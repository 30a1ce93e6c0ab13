//! PostgreSQL: what several nodes share. A pool for reading, lanes for attempts, one lane for batches.

pub(crate) mod address;
pub(crate) mod baseline;
mod connect;
mod inbox;
mod inspect;
mod lane;
mod line;
mod load;
mod manage;
mod readers;
mod save;
mod session;
mod tls;
mod trouble;
mod turns;
mod value;
mod watch;
mod writeback;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use domain::Time;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::batch::Batch;
use crate::error::StoreError;
use crate::lane::queue::{Waiting, answer};
use crate::lane::{Judge, Reply, Submission};
use crate::settings::Settings;
use crate::sql::statements;
use crate::sqlite::Access;
use crate::value::{Row, Value};
pub(crate) use connect::explain;
use connect::{Connected, NoWay, Place, Role};
use inbox::Inbox;
use inspect::settings;
use lane::Lane;
use line::Line;
use manage::{Manager, Work};
use readers::Readers;
use session::Session;
use turns::Turns;
use watch::Watch;

/// Attempts that may wait in one lane; more are told to come back.
const ATTEMPT_PLACES: usize = 4096;
const WORK_PLACES: usize = 1024;
/// Whoever has no answer by then is told that the outcome is unknown.
const LONGEST_WAIT: Duration = Duration::from_millis(1800);
/// The same for the lead, which a long queue does not take away: when the session that
/// holds it is gone, so is whatever waits for it, at once.
const LONGEST_WAIT_FOR_LEAD: Duration = Duration::from_secs(10);

statements! {
    /// Rounded down: a time that is not over must not seem so.
    CLOCK = "SELECT CAST(FLOOR(EXTRACT(EPOCH FROM clock_timestamp()) * 1000) AS BIGINT)";
    /// The lock belongs to the session, so it is free again as soon as its node has died.
    /// A node that hangs, and so asks no more, loses the session with it.
    /// Asked all the time, it also tells when a setting has become unsafe.
    LEAD = concat!("SELECT CAST(CASE WHEN pg_try_advisory_lock(CAST($1 AS BIGINT)) THEN 1 ELSE 0 END
              AS BIGINT),
              CASE WHEN current_setting('idle_session_timeout', true) IS NOT NULL
                THEN set_config('idle_session_timeout', '15s', false) END, ", settings!());
}

/// The lock of whoever does what only one does: "otpdlead" in ASCII, and so another one than
/// that of migrations, for which every node that starts waits.
const LEAD_KEY: i64 = 0x6f74_7064_6c65_6164;

/// An open database.
pub(crate) struct Database {
    place: Arc<Place>,
    readers: Readers,
    access: Access,
    lanes: usize,
    wait: Duration,
    writers: OnceLock<Writers>,
}

/// Everything that writes.
struct Writers {
    watch: Arc<Watch>,
    lanes: Vec<Arc<Inbox<Waiting>>>,
    turns: Arc<Turns>,
    work: Arc<Inbox<Work>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Database {
    /// Connects; for writing the server is examined, the schema migrated, and every
    /// statement prepared once, so that a typing error stops the start.
    pub(crate) async fn open(
        url: &str,
        settings: &Settings,
        access: Access,
    ) -> Result<Self, StoreError> {
        let place = Arc::new(Place::parse(url, access)?);
        let readers = Readers::new(Arc::clone(&place), settings.pool, settings.wait);
        prepare_schema(&place, access).await?;
        if access == Access::Write {
            let session = Session::open(&place, &every_statement()).await?;
            session.close().await;
        }
        Ok(Self {
            place,
            readers,
            access,
            lanes: settings.lanes.max(1),
            wait: settings.wait,
            writers: OnceLock::new(),
        })
    }

    /// Commits statements without events, before any chain has begun.
    pub(crate) async fn initialise(&self, batch: &Batch) -> Result<(), StoreError> {
        if self.access == Access::Read {
            return Err(read_only());
        }
        let session = Session::open(&self.place, &every_statement()).await?;
        manage::initialise(&session, batch).await?;
        session.close().await;
        Ok(())
    }

    /// Starts the lanes: from now on attempts and batches are taken.
    pub(crate) async fn start(&self, judge: Arc<dyn Judge>) -> Result<(), StoreError> {
        if self.access == Access::Read || self.writers.get().is_some() {
            return Err(read_only());
        }
        let writers = Writers::start(&self.place, self.lanes, self.wait, &judge).await?;
        // Started twice at the same time, the second one ends when it is dropped here.
        let _ = self.writers.set(writers);
        Ok(())
    }

    pub(crate) async fn rows(
        &self,
        sql: &'static str,
        params: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        self.readers.rows(sql, &params).await
    }

    /// The time of the database.
    pub(crate) async fn now(&self) -> Result<Time, StoreError> {
        let rows = self.readers.rows(CLOCK, &[]).await?;
        let row = rows.first();
        row.ok_or_else(|| StoreError::Corrupt("the database tells no time".into()))?
            .time(0)
    }

    pub(crate) async fn attempt(&self, submission: Submission) -> Reply {
        let (reply, receiver) = oneshot::channel();
        self.writers()?.watch.refuse_unsafe()?;
        let inbox = self.writers()?.gathering();
        inbox.push(Waiting {
            submission,
            reply,
            tries: 0,
            held_since: None,
        })?;
        answer(LONGEST_WAIT, receiver).await
    }

    pub(crate) async fn commit(&self, batch: Batch) -> Result<Time, StoreError> {
        let (reply, receiver) = oneshot::channel();
        self.writers()?.watch.refuse_unsafe()?;
        self.writers()?.work.push(Work::Batch(batch, reply))?;
        answer(LONGEST_WAIT, receiver).await
    }

    /// Commits a batch that writes again what was read. If it is refused, what was read is not
    /// where the commits go.
    pub(crate) async fn confirm(&self, batch: Batch) -> Result<(), StoreError> {
        let confirmed = self.commit(batch).await.map(drop);
        if matches!(confirmed, Err(StoreError::Refused(_))) {
            self.place.doubt_readers();
        }
        confirmed
    }

    /// A statement that both writes and returns rows, in a transaction of its own.
    pub(crate) async fn write_rows(
        &self,
        sql: &'static str,
        params: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        self.writers()?.watch.refuse_unsafe()?;
        self.work_rows(sql, params).await
    }

    async fn work_rows(
        &self,
        sql: &'static str,
        params: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        let (reply, receiver) = oneshot::channel();
        self.writers()?.work.push(Work::Rows(sql, params, reply))?;
        answer(LONGEST_WAIT, receiver).await
    }

    /// Whether the common work is this node's. Asked and held in the session of the lane
    /// that commits what comes of it: when that session is gone, so are both.
    pub(crate) async fn lead(&self) -> Result<bool, StoreError> {
        let key = vec![Value::Int(LEAD_KEY)];
        let (reply, receiver) = oneshot::channel();
        self.writers()?.work.push(Work::Rows(LEAD, key, reply))?;
        let mut rows = answer(LONGEST_WAIT_FOR_LEAD, receiver).await?;
        let Some(row) = rows.first_mut() else {
            return Ok(false);
        };
        let leads = row.int(0)? == 1;
        let found = (2..2 + inspect::COLUMNS).map(|place| row.text(place));
        let objection = inspect::objection(&found.collect::<Result<Vec<_>, _>>()?);
        Ok(self.writers()?.watch.settings(objection) && leads)
    }

    /// Whether the server runs with settings with which it loses what it confirms.
    pub(crate) fn is_unsafe(&self) -> bool {
        self.writers
            .get()
            .is_some_and(|writers| writers.watch.is_unsafe())
    }

    pub(crate) fn waiting(&self) -> usize {
        let lanes = self.writers.get().into_iter().flat_map(|w| &w.lanes);
        lanes.map(|inbox| inbox.len()).sum()
    }

    /// Whether every lane that was started is connected and at work. Without one of them the
    /// others go on, but other nodes are better off; without all, only reading goes on.
    pub(crate) fn serves(&self) -> bool {
        self.writers.get().is_none_or(Writers::serve)
    }

    /// Chains that lanes had to leave since the start.
    pub(crate) fn broken_chains(&self) -> u64 {
        let writers = self.writers.get();
        writers.map_or(0, |writers| writers.watch.broken())
    }

    /// Serves what waits, then ends the lanes and closes the connections.
    pub(crate) async fn close(&self) {
        if let Some(writers) = self.writers.get() {
            writers.close().await;
        }
        self.readers.close();
    }

    fn writers(&self) -> Result<&Writers, StoreError> {
        self.writers.get().ok_or_else(read_only)
    }
}

fn read_only() -> StoreError {
    StoreError::Unusable("the database was not opened for writing".into())
}

/// What a lane uses, and what the management lane uses besides.
fn every_statement() -> Vec<&'static str> {
    let all = line::statements().chain(management_statements());
    all.collect()
}

fn management_statements() -> impl Iterator<Item = &'static str> {
    crate::sql::all().chain(manage::ALL.iter().copied())
}

/// Examines and migrates the database, or only sees that its schema is ours.
async fn prepare_schema(place: &Place, access: Access) -> Result<(), StoreError> {
    let connected = place.connect(Role::Migration).await;
    let Connected { client, .. } = &connected.map_err(NoWay::into_unusable)?;
    match access {
        Access::Write => {
            crate::migrate::postgres(client).await?;
            writeback::spread(client).await;
            Ok(())
        }
        Access::Read => crate::migrate::require_current_postgres(client).await,
    }
}

impl Writers {
    async fn start(
        place: &Arc<Place>,
        number: usize,
        wait: Duration,
        judge: &Arc<dyn Judge>,
    ) -> Result<Self, StoreError> {
        let watch = Arc::new(Watch::default());
        let open = |statements| {
            let (place, judge, watch) = (Arc::clone(place), Arc::clone(judge), Arc::clone(&watch));
            Line::open(place, judge, watch, statements)
        };
        let turns = Arc::new(Turns::new(number));
        let mut lanes = Vec::new();
        let mut tasks = Vec::new();
        for place in 0..number {
            let line = open(line::statements().collect()).await?;
            let inbox = Arc::new(Inbox::new(ATTEMPT_PLACES));
            let (own, turn) = (Arc::clone(&inbox), (Arc::clone(&turns), place));
            let lane = Lane::new(line, own, turn, Arc::clone(judge), wait);
            tasks.push(tokio::spawn(lane.serve()));
            lanes.push(inbox);
        }
        let line = open(every_statement()).await?;
        let work = Arc::new(Inbox::new(WORK_PLACES));
        let manager = Manager::new(line, Arc::clone(&work), Arc::clone(judge));
        tasks.push(tokio::spawn(manager.serve()));
        Ok(Self {
            watch,
            lanes,
            turns,
            work,
            tasks: Mutex::new(tasks),
        })
    }

    /// Where an attempt goes: the lane that gathers, or the next one that has a connection.
    /// Attempts at one user may be in two lanes: the guard's lock decides between them.
    fn gathering(&self) -> &Inbox<Waiting> {
        let first = self.turns.gathering();
        let (before, from) = self.lanes.split_at(first);
        let mut order = from.iter().chain(before);
        order
            .find(|lane| lane.is_open())
            .unwrap_or(&self.lanes[first])
    }

    /// Whether every lane is connected and at work.
    fn serve(&self) -> bool {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = tasks.iter().any(JoinHandle::is_finished);
        !ended
            && !self.watch.is_unsafe()
            && self.work.is_open()
            && self.lanes.iter().all(|inbox| inbox.is_open())
    }

    fn shut(&self) {
        for inbox in &self.lanes {
            inbox.close();
        }
        self.work.close();
    }

    async fn close(&self) {
        self.shut();
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            // A lane that panicked has nothing left to wait for.
            let _ = task.await;
        }
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        // The lanes end by themselves when nobody can send to them any more.
        self.shut();
    }
}
