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
    /// In the order of their numbers, so that what stays of a day is always its end.
    THIN = "DELETE FROM checkpoints WHERE id IN
            (SELECT c.id FROM checkpoints c WHERE c.at < $1 AND EXISTS
               (SELECT 1 FROM checkpoints n
                WHERE n.id = (SELECT CAST(MIN(m.id) AS BIGINT) FROM checkpoints m WHERE m.id > c.id)
                  AND n.at < $1 AND n.at / 86400000 = c.at / 86400000)
             ORDER BY c.id LIMIT $2)";
}

/// A checkpoint as stored.
#[derive(Clone, Debug)]
pub struct StoredCheckpoint {
    /// Its number, from 1; gaps are what was thinned out.
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
    /// Removes up to `limit` checkpoints made before that time whose successor was made
    /// before it too, on the same day (UTC).
    pub fn thin_checkpoints(&mut self, before: Time, limit: i64) {
        self.step(THIN, params![before, limit], Expect::Any);
    }

    /// Stores a checkpoint; refused when its number is taken.
    pub fn insert_checkpoint(&mut self, checkpoint: &StoredCheckpoint) {
        let params = params![checkpoint.id, checkpoint.at, checkpoint.body.as_str()];
        self.step(INSERT, params, Expect::One(Refusal::Missing));
    }
}
