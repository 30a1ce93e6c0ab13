//! Signing keys and their lives: next, active, retired. At most one of a purpose is next.

use domain::Time;

use super::meta::{OwnKey, own_key};
use crate::Store;
use crate::batch::{Batch, Expect};
use crate::error::{Refusal, StoreError};
use crate::sql::statements;
use crate::value::params;

// The bytes of `ADD` stand without a `CAST`: SQLite knows no `BYTEA` and would make them
// a number, and PostgreSQL takes the type of a bare parameter from the column.
//
// No guard stands over these keys. So every change first writes one row that is there
// for this alone, and whoever comes second waits and sees what the first has committed.
statements! {
    TURN = "INSERT INTO meta (name, value) VALUES ('signing_keys', '')
            ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    OF_PURPOSE = "SELECT id, purpose, key_version, sealed, public_key, created_at, active_at, retired_at
                  FROM own_keys WHERE purpose = $1 ORDER BY id";
    ADD = "INSERT INTO own_keys (id, purpose, key_version, sealed, public_key, created_at,
             active_at, retired_at)
           SELECT CAST($1 AS BIGINT), CAST($2 AS TEXT), CAST($3 AS BIGINT), $4, $5,
             CAST($6 AS BIGINT), CAST($7 AS BIGINT), NULL
           WHERE NOT EXISTS (SELECT 1 FROM own_keys WHERE purpose = CAST($2 AS TEXT)
             AND retired_at IS NULL AND (active_at IS NULL) = (CAST($7 AS BIGINT) IS NULL))
           ON CONFLICT (id) DO NOTHING";
    ACTIVATE = "UPDATE own_keys SET active_at = $2
                WHERE id = $1 AND active_at IS NULL AND retired_at IS NULL";
    RETIRE = "UPDATE own_keys SET retired_at = $2
              WHERE id = $1 AND active_at IS NOT NULL AND retired_at IS NULL";
    REMOVE = "DELETE FROM own_keys WHERE id = $1 AND retired_at IS NOT NULL";
}

impl Store {
    /// The keys of one purpose, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn signing_keys(&self, purpose: &str) -> Result<Vec<OwnKey>, StoreError> {
        let rows = self.rows(OF_PURPOSE, params![purpose]).await?;
        rows.into_iter().map(own_key).collect()
    }
}

impl Batch {
    /// Stores a key that is active or next; refused with [`Refusal::KeyChanged`] when
    /// its purpose has such a key.
    pub fn add_signing_key(&mut self, key: &OwnKey) {
        let params = params![
            key.id,
            key.purpose.as_str(),
            i64::from(key.version),
            key.sealed.as_slice(),
            key.public.clone(),
            key.created_at,
            key.active_at,
        ];
        self.signing_step(ADD, params);
    }

    /// Takes the next key into use; refused with [`Refusal::KeyChanged`] when it is not
    /// next any more. The active one is retired in the same batch, by the caller.
    pub fn activate_signing_key(&mut self, id: i64, at: Time) {
        self.signing_step(ACTIVATE, params![id, at]);
    }

    /// Takes the active key out of use; refused with [`Refusal::KeyChanged`] when it is
    /// not active any more.
    pub fn retire_signing_key(&mut self, id: i64, at: Time) {
        self.signing_step(RETIRE, params![id, at]);
    }

    /// Removes a retired key; refused with [`Refusal::KeyChanged`] when it is not retired.
    pub fn remove_signing_key(&mut self, id: i64) {
        self.signing_step(REMOVE, params![id]);
    }

    fn signing_step(&mut self, sql: &'static str, params: Vec<crate::value::Value>) {
        self.step(TURN, params![], Expect::Any);
        self.step(sql, params, Expect::One(Refusal::KeyChanged));
    }
}
