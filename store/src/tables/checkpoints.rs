//! Signed checkpoints of the audit chains.

use domain::Time;

use crate::Store;
use crate::batch::{Batch, Expect};
use crate::error::{Refusal, StoreError};
use crate::sql::statements;
use crate::value::{Row, params};

statements! {
    LATEST = "SELECT id, at, body FROM checkpoints ORDER BY id DESC LIMIT 1";
    AFTER = "SELECT id, at, body FROM checkpoints WHERE id > $1 ORDER BY id LIMIT $2";
    INSERT = "INSERT INTO checkpoints (id, at, body) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING";
}

/// A checkpoint as stored.
#[derive(Clone, Debug)]
pub struct StoredCheckpoint {
    /// Its number, from 1 without a gap.
    pub id: i64,
    /// When it was made.
    pub at: Time,
    /// The JSON of `domain::checkpoint::Checkpoint`.
    pub body: String,
}

fn stored(mut row: Row) -> Result<StoredCheckpoint, StoreError> {
    Ok(StoredCheckpoint {
        id: row.int(0)?,
        at: row.time(1)?,
        body: row.text(2)?,
    })
}

impl Store {
    /// The newest checkpoint.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn latest_checkpoint(&self) -> Result<Option<StoredCheckpoint>, StoreError> {
        let row = self.maybe_one(LATEST, params![]).await?;
        row.map(stored).transpose()
    }

    /// Checkpoints in the order of their numbers, after `after`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn checkpoints(
        &self,
        after: i64,
        limit: i64,
    ) -> Result<Vec<StoredCheckpoint>, StoreError> {
        let rows = self.rows(AFTER, params![after, limit]).await?;
        rows.into_iter().map(stored).collect()
    }
}

impl Batch {
    /// Stores a checkpoint; refused when its number is taken.
    pub fn insert_checkpoint(&mut self, checkpoint: &StoredCheckpoint) {
        let params = params![checkpoint.id, checkpoint.at, checkpoint.body.as_str()];
        self.step(INSERT, params, Expect::One(Refusal::Missing));
    }
}
