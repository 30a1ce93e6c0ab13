//! Connections for reading, shared by everything that is not a lane.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::TryStreamExt;
use tokio::sync::Semaphore;
use tokio_postgres::{Client, Error, Statement};

use super::connect::{Connected, Mark, Place, Role, Wire};
use super::trouble::Trouble;
use super::value::row;
use crate::error::StoreError;
use crate::value::{Row, Value};

/// As long as the server lets a query run.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// A pool of connections that only read.
pub(super) struct Readers {
    place: Arc<Place>,
    free: Mutex<Vec<Reader>>,
    /// One for each connection there may be.
    permits: Semaphore,
    /// How long a query waits for one.
    wait: Duration,
}

/// One connection. Dropped, also by a caller who waits no longer, it closes at once: an
/// answer may be under way in it.
struct Reader {
    client: Client,
    _wire: Wire,
    prepared: HashMap<&'static str, Statement>,
    mark: Mark,
}

impl Readers {
    /// At most that many connections, each made when it is first needed.
    pub(super) fn new(place: Arc<Place>, size: usize, wait: Duration) -> Self {
        Self {
            place,
            free: Mutex::default(),
            permits: Semaphore::new(size.max(1)),
            wait,
        }
    }

    /// Runs a query and reads its answer to the end.
    pub(super) async fn rows(
        &self,
        sql: &'static str,
        params: &[Value],
    ) -> Result<Vec<Row>, StoreError> {
        let permit = tokio::time::timeout(self.wait, self.permits.acquire()).await;
        let _permit = permit
            .map_err(|_| StoreError::Busy)?
            .map_err(StoreError::lost)?;
        let mut reader = match self.take() {
            Some(reader) => reader,
            None => self.connect().await?,
        };
        let found = reader.rows(sql, params).await;
        // Whatever else it is, an answer shows that the connection serves.
        if !matches!(found, Err(Trouble::Lost(_))) {
            self.free().push(reader);
        }
        found
            .map_err(Trouble::into_error)?
            .iter()
            .map(row)
            .collect()
    }

    /// One that is connected, and to the host that takes the writes.
    fn take(&self) -> Option<Reader> {
        let mut free = self.free();
        free.retain(|reader| !reader.client.is_closed() && self.place.is_current(reader.mark));
        free.pop()
    }

    async fn connect(&self) -> Result<Reader, StoreError> {
        let connected = self.place.connect(Role::Reader).await;
        let Connected { client, wire, mark } = connected.map_err(StoreError::lost)?;
        Ok(Reader {
            client,
            _wire: wire,
            prepared: HashMap::new(),
            mark,
        })
    }

    /// Closes the connections.
    pub(super) fn close(&self) {
        self.permits.close();
        self.free().clear();
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Vec<Reader>> {
        // Nothing in here can panic half-way through a change.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader {
    async fn rows(
        &mut self,
        sql: &'static str,
        params: &[Value],
    ) -> Result<Vec<tokio_postgres::Row>, Trouble> {
        match tokio::time::timeout(LONGEST_WAIT, self.query(sql, params)).await {
            Ok(rows) => rows.map_err(Trouble::of),
            Err(_) => Err(Trouble::Lost(None)),
        }
    }

    async fn query(
        &mut self,
        sql: &'static str,
        params: &[Value],
    ) -> Result<Vec<tokio_postgres::Row>, Error> {
        let statement = match self.prepared.get(sql) {
            Some(statement) => statement.clone(),
            None => {
                let statement = self.client.prepare(sql).await?;
                self.prepared.insert(sql, statement.clone());
                statement
            }
        };
        let rows = self.client.query_raw(&statement, params).await?;
        rows.try_collect().await
    }
}
