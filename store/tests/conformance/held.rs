//! Rows that somebody holds, so that a lane waits in its commit.

use domain::DeviceId;
use tokio_postgres::Client;

use crate::database::Database;
use crate::world::until;

/// Keeps every commit that writes a device's hot row waiting until this one's.
pub async fn hold_hot_rows(database: &Database) -> Client {
    hold(database, "BEGIN; SELECT id FROM device_hot FOR UPDATE").await
}

/// The same of one device.
pub async fn hold_hot_row(database: &Database, device: DeviceId) -> Client {
    let number = device.0;
    let sql = format!("BEGIN; SELECT id FROM device_hot WHERE id = {number} FOR UPDATE");
    hold(database, &sql).await
}

async fn hold(database: &Database, sql: &str) -> Client {
    let holder = database.connect().await;
    holder.batch_execute(sql).await.unwrap();
    holder
}

/// How many connections of this database wait for a lock.
pub async fn blocked(database: &Database) -> i64 {
    database
        .number(
            "SELECT COUNT(1) FROM pg_stat_activity
             WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        .await
}

pub async fn until_it_waits_in_its_commit(database: &Database) {
    until("the lane waits in its commit", async || {
        blocked(database).await == 1
    })
    .await;
}
