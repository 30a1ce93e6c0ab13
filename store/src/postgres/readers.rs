//! Connections for reading, shared by everything that is not a lane.

use std::time::Duration;

use deadpool_postgres::{
    ClientWrapper, Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError,
    RecyclingMethod, Runtime, TimeoutType,
};
use futures_util::TryStreamExt;
use tokio_postgres::Error;

use super::connect::{CONNECT_LIMIT, Place, Role};
use super::trouble::Trouble;
use super::value::row;
use crate::error::StoreError;
use crate::value::{Row, Value};

/// As long as the server lets a query run.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// A pool of connections that only read.
pub(super) struct Readers {
    pool: Pool,
}

impl Readers {
    /// At most that many connections, each made when it is first needed. `wait` is how
    /// long a query waits for one.
    pub(super) fn new(place: &Place, size: usize, wait: Duration) -> Result<Self, StoreError> {
        let config = ManagerConfig {
            // A broken connection is known without asking, and a reader leaves nothing
            // behind: it only ever sends single statements.
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_config(place.config.clone(), place.tls.clone(), config);
        let pool = Pool::builder(manager)
            .max_size(size.max(1))
            .wait_timeout(Some(wait))
            .create_timeout(Some(CONNECT_LIMIT))
            .recycle_timeout(Some(CONNECT_LIMIT))
            .post_create(Hook::async_fn(|client: &mut ClientWrapper, _| {
                Box::pin(async move {
                    let set = client.batch_execute(Role::Reader.settings()).await;
                    set.map_err(HookError::Backend)
                })
            }))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| StoreError::Unusable(format!("no pool of connections: {error}")))?;
        Ok(Self { pool })
    }

    /// Runs a query and reads its answer to the end.
    pub(super) async fn rows(
        &self,
        sql: &'static str,
        params: &[Value],
    ) -> Result<Vec<Row>, StoreError> {
        let client = self.pool.get().await.map_err(no_connection)?;
        let rows = match limited(&client, sql, params).await {
            Ok(rows) => rows,
            Err(trouble @ Trouble::Lost(_)) => {
                // Not put back: an answer may be under way in it.
                drop(Object::take(client));
                return Err(trouble.into_error());
            }
            Err(trouble) => return Err(trouble.into_error()),
        };
        rows.iter().map(row).collect()
    }

    /// Closes the connections.
    pub(super) fn close(&self) {
        self.pool.close();
    }
}

async fn limited(
    client: &ClientWrapper,
    sql: &'static str,
    params: &[Value],
) -> Result<Vec<tokio_postgres::Row>, Trouble> {
    match tokio::time::timeout(LONGEST_WAIT, query(client, sql, params)).await {
        Ok(rows) => rows.map_err(Trouble::of),
        Err(_) => Err(Trouble::Lost(None)),
    }
}

async fn query(
    client: &ClientWrapper,
    sql: &'static str,
    params: &[Value],
) -> Result<Vec<tokio_postgres::Row>, Error> {
    let statement = client.prepare_cached(sql).await?;
    client
        .query_raw(&statement, params)
        .await?
        .try_collect()
        .await
}

fn no_connection(error: PoolError) -> StoreError {
    match error {
        PoolError::Timeout(TimeoutType::Wait) => StoreError::Busy,
        other => StoreError::lost(other),
    }
}
