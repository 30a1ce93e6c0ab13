//! The servers that are at work on one database: who was seen lately.

use domain::Time;

use crate::Store;
use crate::batch::{Batch, Expect};
use crate::error::StoreError;
use crate::sql::statements;
use crate::value::params;

statements! {
    SEEN = "INSERT INTO nodes (id, seen_at) VALUES ($1, $2)
            ON CONFLICT (id) DO UPDATE SET seen_at = $2";
    FORGET_SILENT = "DELETE FROM nodes WHERE seen_at < $1";
    FORGET = "DELETE FROM nodes WHERE id = $1";
    COUNT = "SELECT CAST(COUNT(id) AS BIGINT) FROM nodes WHERE seen_at >= $1";
}

impl Store {
    /// How many servers were seen since then, but never less than one: who asks is one.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn live_nodes(&self, since: Time) -> Result<u32, StoreError> {
        let count = self.one(COUNT, params![since]).await?.int(0)?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX).max(1))
    }
}

impl Batch {
    /// States that a server is at work, and forgets those that have been silent since
    /// `silent_since`.
    pub fn see_node(&mut self, id: &str, now: Time, silent_since: Time) {
        self.step(SEEN, params![id, now], Expect::Any);
        self.step(FORGET_SILENT, params![silent_since], Expect::Any);
    }

    /// Forgets a server that ends.
    pub fn forget_node(&mut self, id: &str) {
        self.step(FORGET, params![id], Expect::Any);
    }
}
