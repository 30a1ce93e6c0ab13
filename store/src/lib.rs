//! SQL for otpd: SQLite and PostgreSQL behind one set of statements, and the lanes that commit attempts.
//!
//! This crate knows no policy: what an attempt means is decided by the [`Judge`] that
//! it is handed. It knows no HTTP, no mail and no key.

mod batch;
mod error;
mod ids;
mod lane;
mod migrate;
mod postgres;
mod rate;
mod settings;
mod shared;
mod sql;
mod sqlite;
mod tables;
mod value;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use domain::Time;

pub use batch::Batch;
pub use error::{Refusal, StoreError};
pub use lane::{Answer, BatchFacts, Clock, Judge, Submission, Ticket};
pub use migrate::schema;
pub use postgres::baseline::{HotRows, HotUpdate};
pub use rate::RateCounters;
pub use settings::{Settings, Target};
pub use shared::{RedisReport, RedisSettings, SharedCounters};
pub use sqlite::Access;
pub use tables::accounts::StoredAccount;
pub use tables::audit::{Clues, CutTerm, Moment, NewCut, StoredEvent, TermEntry};
pub use tables::chains::{StoredChain, StoredCut, StoredHead, Unindexed};
pub use tables::challenges::{NewChallenge, StoredChallenge};
pub use tables::checkpoints::StoredCheckpoint;
pub use tables::counts::{slot_of, value_of};
pub use tables::devices::{DevicePage, NewDevice, SealedRow, StoredDevice};
pub use tables::idempotency::KeptAnswer;
pub use tables::keys::StoredKey;
pub use tables::meta::{MasterVersion, OwnKey};
pub use tables::outbox::StoredMail;
pub use tables::people::StoredPerson;
pub use tables::sessions::{NewSession, StoredSession};
pub use tables::stats::{HourStats, Totals};
pub use tables::sweeps;

use ids::Ids;
use value::{Row, Value};

/// A database that has not answered by then is away as far as the caller is concerned.
const LONGEST_READ: Duration = Duration::from_millis(1800);

/// What somebody waits for is there soon, or the database is away.
async fn soon<T>(read: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(LONGEST_READ, read)
        .await
        .unwrap_or_else(|_| Err(StoreError::gone()))
}

/// The system of record.
pub struct Store {
    db: Db,
    ids: Ids,
    clock: Arc<dyn Clock>,
    /// The last write came to nothing because of the database.
    writing_failed: AtomicBool,
    /// Attempts that have come since the start.
    attempts: AtomicU64,
}

enum Db {
    Sqlite(sqlite::Database),
    Postgres(postgres::Database),
}

impl Store {
    /// Opens the database; for writing it is migrated and every statement is
    /// prepared. Reads work from here on; writes after [`Store::start`].
    ///
    /// # Errors
    /// [`StoreError::Unusable`] with a sentence for whoever starts the server.
    pub async fn open(
        settings: &Settings,
        access: Access,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let db = match &settings.target {
            Target::Sqlite(path) => Db::Sqlite(sqlite::Database::open(path, access)?),
            Target::Postgres(url) => {
                Db::Postgres(postgres::Database::open(url, settings, access).await?)
            }
        };
        Ok(Self {
            db,
            ids: Ids::default(),
            clock,
            writing_failed: AtomicBool::new(false),
            attempts: AtomicU64::new(0),
        })
    }

    /// Commits the statements of a batch in a new database, before any chain has
    /// begun: what the judge needs to exist. The batch has no events and no locks.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when another process was faster: read again.
    pub async fn initialise(&self, batch: &Batch) -> Result<(), StoreError> {
        match &self.db {
            Db::Sqlite(db) => db.initialise(batch),
            Db::Postgres(db) => db.initialise(batch).await,
        }
    }

    /// Starts the lanes, each with a chain of its own: attempts and batches are taken
    /// from now on. Called once.
    ///
    /// # Errors
    /// When the chains cannot be begun.
    pub async fn start(&self, judge: Arc<dyn Judge>) -> Result<(), StoreError> {
        match &self.db {
            Db::Sqlite(db) => db.start(judge, Arc::clone(&self.clock)),
            Db::Postgres(db) => db.start(judge).await,
        }
    }

    /// Sends an attempt through its lane; the answer is committed when it comes.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the outcome is not known,
    /// [`StoreError::Busy`] when too much waits, and what the lane refuses.
    pub async fn attempt(&self, submission: Submission) -> Result<Answer, StoreError> {
        self.attempts.fetch_add(1, Relaxed);
        self.noted(match &self.db {
            Db::Sqlite(db) => db.attempt(submission).await,
            Db::Postgres(db) => db.attempt(submission).await,
        })
    }

    /// Commits a batch and returns its time.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when a condition did not hold: nothing was changed.
    pub async fn commit(&self, batch: Batch) -> Result<Time, StoreError> {
        self.noted(match &self.db {
            Db::Sqlite(db) => db.commit(batch).await,
            Db::Postgres(db) => db.commit(batch).await,
        })
    }

    /// Commits a batch that writes again what was read. On PostgreSQL that may stand in a commit
    /// whose wait for the standbys was cancelled, or on a server that takes no commits any more;
    /// once this returns, it outlives the loss of a server. SQLite shows nobody what is not
    /// synced, so nothing is written there.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when it is not there, and when the database cannot be written.
    pub async fn confirm(&self, batch: Batch) -> Result<(), StoreError> {
        match &self.db {
            Db::Sqlite(_) => Ok(()),
            Db::Postgres(db) => self.noted(db.confirm(batch).await),
        }
    }

    /// The server's time: the database's on PostgreSQL, the process clock on SQLite.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn now(&self) -> Result<Time, StoreError> {
        match &self.db {
            Db::Sqlite(_) => Ok(self.clock.now()),
            Db::Postgres(db) => soon(db.now()).await,
        }
    }

    /// An internal id that was never given out before and never will be again.
    ///
    /// # Errors
    /// When a new block of ids is needed and the database cannot be written.
    pub async fn new_id(&self) -> Result<i64, StoreError> {
        self.ids.next(self).await
    }

    /// Attempts that have come to this process since its start.
    pub fn attempts(&self) -> u64 {
        self.attempts.load(Relaxed)
    }

    /// Attempts that wait for their batch.
    pub fn waiting(&self) -> usize {
        match &self.db {
            Db::Sqlite(db) => db.waiting(),
            Db::Postgres(db) => db.waiting(),
        }
    }

    /// Whether the work that one process does for all is this one's, now: sweeps, and
    /// the upkeep of the audit log and of the keys. To be asked again every few seconds,
    /// since a process that asks no more loses it.
    ///
    /// # Errors
    /// When the database cannot be asked; it may be another process's by then.
    pub async fn lead(&self) -> Result<bool, StoreError> {
        match &self.db {
            Db::Sqlite(_) => Ok(true),
            Db::Postgres(db) => db.lead().await,
        }
    }

    /// Several processes may share this database.
    pub fn is_shared(&self) -> bool {
        match &self.db {
            Db::Sqlite(_) => false,
            Db::Postgres(_) => true,
        }
    }

    /// How often since the start a lane found that the database has lost or changed what
    /// was acknowledged, and began another chain: an older copy has taken its place.
    pub fn broken_chains(&self) -> u64 {
        match &self.db {
            Db::Sqlite(_) => 0,
            Db::Postgres(db) => db.broken_chains(),
        }
    }

    /// Whether the database server has been set to lose what it confirms: nothing is
    /// accepted until that is mended, and the log says which setting it is.
    pub fn is_unsafe(&self) -> bool {
        match &self.db {
            Db::Sqlite(_) => false,
            Db::Postgres(db) => db.is_unsafe(),
        }
    }

    /// Whether the database answers right now, and every lane serves.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        if let Db::Postgres(db) = &self.db
            && !db.serves()
        {
            return Err(StoreError::gone());
        }
        if self.writing_failed.load(Relaxed) {
            // Reading may go on working on a full disk: only a write tells.
            self.write_rows(tables::meta::TAKE_IDS, vec![Value::Int(1)])
                .await?;
            self.writing_failed.store(false, Relaxed);
        }
        self.rows(migrate::CURRENT, Vec::new()).await.map(drop)
    }

    /// Remembers whether the last write came to nothing.
    fn noted<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        let failed = matches!(
            result,
            Err(StoreError::Unavailable(_) | StoreError::Statement(_))
        );
        if failed != self.writing_failed.load(Relaxed) {
            self.writing_failed.store(failed, Relaxed);
        }
        result
    }

    /// Empties SQLite's write-ahead log into the database file, so that what was deleted
    /// stands nowhere any more; false when a reader holds it. PostgreSQL's log is its own
    /// business.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn empty_log(&self) -> Result<bool, StoreError> {
        match &self.db {
            Db::Sqlite(db) => db.empty_log().await,
            Db::Postgres(_) => Ok(true),
        }
    }

    /// Serves what waits and ends the lanes.
    pub async fn close(&self) {
        match &self.db {
            Db::Sqlite(db) => db.close().await,
            Db::Postgres(db) => db.close().await,
        }
    }

    /// A read that somebody waits for: answered soon, or not at all.
    async fn rows(&self, sql: &'static str, params: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        soon(self.patient_rows(sql, params)).await
    }

    /// A read over much of the data, which may take as long as the engine lets it.
    async fn patient_rows(
        &self,
        sql: &'static str,
        params: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        match &self.db {
            Db::Sqlite(db) => db.rows(sql, params).await,
            Db::Postgres(db) => db.rows(sql, params).await,
        }
    }

    async fn write_rows(
        &self,
        sql: &'static str,
        params: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        match &self.db {
            Db::Sqlite(db) => db.write_rows(sql, params).await,
            Db::Postgres(db) => db.write_rows(sql, params).await,
        }
    }

    async fn maybe_one(
        &self,
        sql: &'static str,
        params: Vec<Value>,
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(sql, params).await?.pop())
    }

    async fn one(&self, sql: &'static str, params: Vec<Value>) -> Result<Row, StoreError> {
        let row = self.maybe_one(sql, params).await?;
        row.ok_or_else(|| StoreError::Corrupt("a row is missing".into()))
    }
}
