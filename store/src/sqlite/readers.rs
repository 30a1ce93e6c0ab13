//! Reader threads: each has a connection of its own and answers one query at a time.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use tokio::sync::oneshot;

use super::connect;
use crate::error::StoreError;
use crate::value::{Row, Value};

const LONGEST_WAIT: Duration = Duration::from_secs(10);

struct Query {
    sql: &'static str,
    params: Vec<Value>,
    reply: oneshot::Sender<Result<Vec<Row>, StoreError>>,
}

pub(crate) struct Readers {
    queries: mpsc::Sender<Query>,
}

impl Readers {
    pub(crate) fn start(path: &Path, threads: usize) -> Result<Self, StoreError> {
        let (queries, inbox) = mpsc::channel::<Query>();
        let inbox = Arc::new(Mutex::new(inbox));
        for number in 0..threads {
            let connection = connect::for_reading(path)?;
            let inbox = Arc::clone(&inbox);
            let serve = move || {
                // The lock is held while waiting, so idle readers queue up behind it.
                while let Some(query) = next(&inbox) {
                    let rows = connect::rows(&connection, query.sql, &query.params);
                    // Nobody waits any more when the client has gone.
                    let _ = query.reply.send(rows);
                }
            };
            std::thread::Builder::new()
                .name(format!("reader-{number}"))
                .spawn(serve)
                .map_err(StoreError::lost)?;
        }
        Ok(Self { queries })
    }

    pub(crate) async fn rows(
        &self,
        sql: &'static str,
        params: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        let (reply, answer) = oneshot::channel();
        let query = Query { sql, params, reply };
        self.queries.send(query).map_err(|_| StoreError::gone())?;
        match tokio::time::timeout(LONGEST_WAIT, answer).await {
            Ok(Ok(rows)) => rows,
            Ok(Err(_)) | Err(_) => Err(StoreError::gone()),
        }
    }
}

fn next(inbox: &Mutex<mpsc::Receiver<Query>>) -> Option<Query> {
    let inbox = inbox.lock().unwrap_or_else(PoisonError::into_inner);
    inbox.recv().ok()
}
