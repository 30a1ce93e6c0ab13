//! The single-row update that verifications are measured against: the shape of the hot row, and nothing of what otpd does around it.

use tokio_postgres::{Client, Statement};

use super::connect::{Connected, NoWay, Place, Role, Wire};
use super::trouble::Trouble;
use crate::error::StoreError;
use crate::sqlite::Access;

const REMOVE: &str = "DROP TABLE IF EXISTS otpd_bench_hot";
const MAKE: &str = "CREATE TABLE otpd_bench_hot (
    id BIGINT PRIMARY KEY,
    next BIGINT NOT NULL,
    used BIGINT NOT NULL,
    last_used BIGINT,
    drift_ms BIGINT NOT NULL,
    replayed BIGINT NOT NULL
) WITH (fillfactor = 50)";
const FILL: &str = "INSERT INTO otpd_bench_hot (id, next, used, drift_ms, replayed)
    SELECT number, 0, 0, 0, 0 FROM generate_series(CAST(0 AS BIGINT), CAST($1 AS BIGINT) - 1) AS number";
const ADVANCE: &str = "UPDATE otpd_bench_hot
    SET next = $2, used = used + 1, last_used = $3, drift_ms = 0
    WHERE id = $1 AND next < $2";

/// A table of its own with rows of the shape that a verification changes, in any
/// PostgreSQL database; made for a measurement and removed after it.
pub struct HotRows {
    place: Place,
}

/// A connection of its own with the update prepared.
pub struct HotUpdate {
    client: Client,
    update: Statement,
    _wire: Wire,
}

impl HotRows {
    /// Makes the table with rows `0..rows`; one that an earlier measurement left is replaced.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be reached or refuses.
    pub async fn make(url: &str, rows: i64) -> Result<Self, StoreError> {
        let made = Self {
            place: Place::parse(url, Access::Write)?,
        };
        let Connected {
            client,
            wire: _wire,
            ..
        } = made.connected(Role::Migration).await?;
        run(&client, REMOVE).await?;
        run(&client, MAKE).await?;
        let filled = client.execute(FILL, &[&rows]).await;
        filled.map_err(refused)?;
        Ok(made)
    }

    /// A further connection, with the settings that a lane has.
    ///
    /// # Errors
    /// [`StoreError`] when there is no place for one more.
    pub async fn connect(&self) -> Result<HotUpdate, StoreError> {
        let Connected { client, wire, .. } = self.connected(Role::Lane).await?;
        let update = client.prepare(ADVANCE).await.map_err(refused)?;
        Ok(HotUpdate {
            client,
            update,
            _wire: wire,
        })
    }

    /// Removes the table.
    ///
    /// # Errors
    /// [`StoreError`] when the database is gone.
    pub async fn remove(self) -> Result<(), StoreError> {
        let Connected {
            client,
            wire: _wire,
            ..
        } = self.connected(Role::Migration).await?;
        run(&client, REMOVE).await
    }

    async fn connected(&self, role: Role) -> Result<Connected, StoreError> {
        self.place.connect(role).await.map_err(NoWay::into_unusable)
    }
}

async fn run(client: &Client, sql: &str) -> Result<(), StoreError> {
    client.batch_execute(sql).await.map_err(refused)
}

fn refused(error: tokio_postgres::Error) -> StoreError {
    Trouble::of(error).into_error()
}

impl HotUpdate {
    /// Advances a row to `step` in a transaction of its own, which is on the disk when
    /// this returns; false when the row stands there or beyond already.
    ///
    /// # Errors
    /// [`StoreError`] when the update failed or its outcome is not known.
    pub async fn advance(&self, id: i64, step: i64, now_ms: i64) -> Result<bool, StoreError> {
        let changed = self
            .client
            .execute(&self.update, &[&id, &step, &now_ms])
            .await;
        match changed {
            Ok(rows) => Ok(rows == 1),
            Err(error) => Err(refused(error)),
        }
    }
}
