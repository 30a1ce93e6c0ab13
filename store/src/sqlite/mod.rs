//! SQLite: the embedded default. One writer thread, a few reader threads, one process.

mod connect;
mod lane;
mod manage;
mod readers;
mod writer;

use std::path::Path;
use std::sync::Arc;

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
    writer: Option<Writer>,
    /// Held for as long as this process may write.
    _lock: Option<LockFile>,
}

impl Database {
    /// Opens the file; for writing it is made when missing and migrated, and the lock
    /// file is taken so that no other process writes.
    pub(crate) fn open(
        path: &Path,
        access: Access,
        judge: Arc<dyn Judge>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let lock = match access {
            Access::Write => Some(LockFile::take(path)?),
            Access::Read => None,
        };
        let writer = match access {
            Access::Write => Some(Writer::start(connect::for_writing(path)?, judge, clock)?),
            Access::Read => None,
        };
        Ok(Self {
            readers: Readers::start(path, 2)?,
            writer,
            _lock: lock,
        })
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

    pub(crate) fn waiting(&self) -> usize {
        self.writer.as_ref().map_or(0, Writer::waiting)
    }

    /// Serves what waits, then ends the writer.
    pub(crate) async fn close(&self) {
        if let Some(writer) = &self.writer {
            writer.close().await;
        }
    }

    fn writer(&self) -> Result<&Writer, StoreError> {
        self.writer
            .as_ref()
            .ok_or_else(|| StoreError::Unusable("the database was opened for reading".into()))
    }
}
