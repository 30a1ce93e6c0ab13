//! API keys: stored as keyed hashes, found by id.

use domain::Time;

use crate::Store;
use crate::batch::{Batch, Expect};
use crate::error::{Refusal, StoreError};
use crate::sql::statements;
use crate::value::{Row, params};

statements! {
    BY_ID = "SELECT id, hash, name, scopes, created_by, created_at, expires_at, revoked_at
             FROM api_keys WHERE id = $1";
    PAGE = "SELECT id, hash, name, scopes, created_by, created_at, expires_at, revoked_at
            FROM api_keys WHERE id > $1 ORDER BY id LIMIT $2";
    INSERT = "INSERT INTO api_keys (id, hash, name, scopes, created_by, created_at, expires_at, revoked_at)
              VALUES ($1, $2, $3, $4, $5, $6, $7, NULL) ON CONFLICT (id) DO NOTHING";
    REVOKE = "UPDATE api_keys SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";
    CONFIRM = "UPDATE api_keys SET revoked_at = revoked_at
               WHERE id = $1 AND revoked_at IS NOT NULL";
    COUNT = "SELECT CAST(COUNT(1) AS BIGINT) FROM api_keys";
}

/// A stored API key.
#[derive(Clone, Debug)]
pub struct StoredKey {
    /// The public part.
    pub id: String,
    /// Keyed hash of the secret part.
    pub hash: [u8; 32],
    /// A name for people.
    pub name: String,
    /// Space-separated scopes.
    pub scopes: String,
    /// The caller that made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: Time,
    /// From then on it is refused.
    pub expires_at: Option<Time>,
    /// Since then it is refused.
    pub revoked_at: Option<Time>,
}

fn stored(mut row: Row) -> Result<StoredKey, StoreError> {
    Ok(StoredKey {
        id: row.text(0)?,
        hash: row.fixed(1)?,
        name: row.text(2)?,
        scopes: row.text(3)?,
        created_by: row.text(4)?,
        created_at: row.time(5)?,
        expires_at: row.maybe_time(6)?,
        revoked_at: row.maybe_time(7)?,
    })
}

impl Store {
    /// The key of that id, revoked or not.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn api_key(&self, id: &str) -> Result<Option<StoredKey>, StoreError> {
        let row = self.maybe_one(BY_ID, params![id]).await?;
        row.map(stored).transpose()
    }

    /// A page of keys by id.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn api_keys(&self, after: &str, limit: i64) -> Result<Vec<StoredKey>, StoreError> {
        let rows = self.rows(PAGE, params![after, limit]).await?;
        rows.into_iter().map(stored).collect()
    }

    /// How many keys were ever made.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn count_api_keys(&self) -> Result<i64, StoreError> {
        self.one(COUNT, params![]).await?.int(0)
    }
}

impl Batch {
    /// Stores a key; refused when its id is taken.
    pub fn insert_key(&mut self, key: &StoredKey) {
        let params = params![
            key.id.as_str(),
            key.hash,
            key.name.as_str(),
            key.scopes.as_str(),
            key.created_by.as_str(),
            key.created_at,
            key.expires_at,
        ];
        self.step(INSERT, params, Expect::One(Refusal::KeyExists));
    }

    /// Revokes a key; refused when it is unknown or revoked already.
    pub fn revoke_key(&mut self, id: &str, at: Time) {
        self.step(REVOKE, params![id, at], Expect::One(Refusal::KeyGone));
    }

    /// Writes once more that a key is revoked; refused when it is unknown or in force. Once this
    /// is committed, so is the revocation, wherever it was read before.
    pub fn confirm_revoked_key(&mut self, id: &str) {
        self.step(CONFIRM, params![id], Expect::One(Refusal::KeyGone));
    }
}
