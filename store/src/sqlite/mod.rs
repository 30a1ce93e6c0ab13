//! SQLite: the embedded default. One writer thread, a few reader threads, one process.

mod connect;
mod lane;
mod log;
mod manage;
mod readers;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rusqlite::Connection;

use crate::batch::Batch;
use crate::error::StoreError;
use crate::lane::{Clock, Judge, Reply, Submission};
use crate::value::{Row, Value};
use domain::Time;

pub use connect::Access;
use connect::LockFile;
pub(crate) use connect::classify;
use readers::Readers;
use writer::Writer;

/// An open database file.
pub(crate) struct Database {
    readers: Readers,
    path: PathBuf,
    /// The connection that will write, until the writer takes it.
    connection: Mutex<Option<Connection>>,
    writer: OnceLock<Writer>,
    /// Held for as long as this process may write.
    _lock: Option<LockFile>,
}

impl Database {
    /// Opens the file; for writing it is made when missing and migrated, and the lock
    /// file is taken so that no other process writes.
    pub(crate) fn open(path: &Path, access: Access) -> Result<Self, StoreError> {
        let (lock, connection) = match access {
            Access::Write => (
                Some(LockFile::take(path)?),
                Some(connect::for_writing(path)?),
            ),
            Access::Read => (None, None),
        };
        Ok(Self {
            readers: Readers::start(path, 2)?,
            path: path.to_owned(),
            connection: Mutex::new(connection),
            writer: OnceLock::new(),
            _lock: lock,
        })
    }

    /// Commits statements without events, before any chain has begun.
    pub(crate) fn initialise(&self, batch: &Batch) -> Result<(), StoreError> {
        let connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let connection = connection.as_ref().ok_or_else(read_only)?;
        manage::initialise(connection, batch)
    }

    /// Starts the writer: from now on attempts and batches are taken.
    pub(crate) fn start(
        &self,
        judge: Arc<dyn Judge>,
        clock: Arc<dyn Clock>,
    ) -> Result<(), StoreError> {
        let connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .ok_or_else(read_only)?;
        // The connection was there to take, so no other call has set the writer.
        let writer = Writer::start(connection, &self.path, judge, clock)?;
        let _ = self.writer.set(writer);
        Ok(())
    }

    pub(crate) async fn rows(
        &self,
        sql: &'static str,
        params: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        self.readers.rows(sql, params).await
    }

    pub(crate) async fn attempt(&self, submission: Submission) -> Reply {
        self.writer()?.attempt(submission).await
    }

    pub(crate) async fn commit(&self, batch: Batch) -> Result<Time, StoreError> {
        self.writer()?.commit(batch).await
    }

    /// A statement that both writes and returns rows, in a transaction of its own.
    pub(crate) async fn write_rows(
        &self,
        sql: &'static str,
        params: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        self.writer()?.write_rows(sql, params).await
    }

    pub(crate) async fn empty_log(&self) -> Result<bool, StoreError> {
        self.writer()?.empty_log().await
    }

    pub(crate) fn waiting(&self) -> usize {
        self.writer.get().map_or(0, Writer::waiting)
    }

    /// Serves what waits, then ends the writer.
    pub(crate) async fn close(&self) {
        if let Some(writer) = self.writer.get() {
            writer.close().await;
        }
    }

    fn writer(&self) -> Result<&Writer, StoreError> {
        self.writer.get().ok_or_else(read_only)
    }
}

fn read_only() -> StoreError {
    StoreError::Unusable("the database was not opened for writing".into())
}
