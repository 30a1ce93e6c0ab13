//! A connection with its prepared statements, and how several of them go out in one round trip.

use std::collections::{HashMap, HashSet};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::TryStreamExt;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Row, Statement};

use super::connect::{Connected, NoWay, Place, Role, Wire, explain};
use super::trouble::Trouble;
use crate::error::StoreError;
use crate::value::Value;

/// How long a round trip may take before its connection is dropped. Shorter than the
/// `statement_timeout` of a lane: see [`Role::settings`].
pub(super) const ROUND_TRIP: Duration = Duration::from_millis(1400);

type Param<'a> = Box<dyn ToSql + Sync + Send + 'a>;

/// A statement with its parameters.
pub(super) struct Call<'a> {
    sql: &'static str,
    params: Vec<Param<'a>>,
}

impl<'a> Call<'a> {
    pub(super) fn new(sql: &'static str) -> Self {
        let params = Vec::new();
        Self { sql, params }
    }

    pub(super) fn of_values(sql: &'static str, values: Vec<Value>) -> Self {
        let params = values.into_iter().map(|v| Box::new(v) as Param<'a>);
        Self {
            sql,
            params: params.collect(),
        }
    }

    /// Adds a parameter.
    pub(super) fn with(mut self, param: impl ToSql + Sync + Send + 'a) -> Self {
        self.params.push(Box::new(param));
        self
    }
}

/// What a statement gave back.
pub(super) struct Done {
    pub(super) rows: Vec<Row>,
    pub(super) changed: u64,
}

/// The first statement of a round trip that failed, and how.
pub(super) struct Failure {
    pub(super) place: usize,
    pub(super) trouble: Trouble,
}

/// A connection that knows its statements. Dropped, it closes at once.
pub(super) struct Session {
    client: Client,
    wire: Wire,
    prepared: HashMap<&'static str, Statement>,
}

impl Session {
    /// Connects and prepares the statements.
    pub(super) async fn open(
        place: &Place,
        statements: &[&'static str],
    ) -> Result<Self, StoreError> {
        let connected = place.connect(Role::Lane).await;
        let Connected { client, wire, .. } = connected.map_err(NoWay::into_unusable)?;
        let prepare = async |sql| match client.prepare(sql).await {
            Ok(statement) => Ok((sql, statement)),
            Err(error) => match Trouble::of(error) {
                Trouble::Again(error) | Trouble::Failed(error) => {
                    Err(StoreError::Unusable(format!(
                        "the database refuses a statement: {} in: {sql}",
                        explain(&error)
                    )))
                }
                lost @ Trouble::Lost(_) => Err(lost.into_error()),
            },
        };
        let once: HashSet<&'static str> = statements.iter().copied().collect();
        let all = futures_util::future::try_join_all(once.into_iter().map(prepare));
        let prepared = match tokio::time::timeout(10 * ROUND_TRIP, all).await {
            Ok(prepared) => prepared?.into_iter().collect(),
            Err(_) => return Err(StoreError::gone()),
        };
        Ok(Self {
            client,
            wire,
            prepared,
        })
    }

    /// Sends all statements at once and waits for all answers: one round trip.
    ///
    /// In a transaction a failed statement makes all that follow fail, and a `COMMIT`
    /// after it roll back although it answers as if nothing had happened. So only
    /// when *every* answer is good has anything been committed. A commit that the server
    /// confirms while it warns that no standby has it is one of unknown outcome.
    pub(super) async fn round_trip(&self, calls: Vec<Call<'_>>) -> Result<Vec<Done>, Failure> {
        let sent = in_order(calls.iter().map(|call| self.run(call)));
        let answered = tokio::time::timeout(ROUND_TRIP, sent).await;
        if self.wire.has_doubt() {
            return Err(Failure {
                place: 0,
                trouble: Trouble::Lost(None),
            });
        }
        match answered {
            Ok(Ok(answers)) => Ok(answers),
            Ok(Err((place, error))) => Err(Failure {
                place,
                trouble: Trouble::of(error),
            }),
            Err(_) => Err(Failure {
                place: 0,
                trouble: Trouble::Lost(None),
            }),
        }
    }

    /// Sends one statement.
    pub(super) async fn call(&self, call: Call<'_>) -> Result<Done, Trouble> {
        let done = self.round_trip(vec![call]).await;
        let mut done = done.map_err(|failure| failure.trouble)?;
        done.pop().ok_or(Trouble::Lost(None))
    }

    async fn run(&self, call: &Call<'_>) -> Result<Done, Error> {
        let params = call
            .params
            .iter()
            .map(|param| &**param as &(dyn ToSql + Sync));
        let stream = match self.prepared.get(call.sql) {
            Some(statement) => self.client.query_raw(statement, params).await?,
            // A session prepares all that it is used for; this only costs a round trip more.
            None => self.client.query_raw(call.sql, params).await?,
        };
        let mut stream = std::pin::pin!(stream);
        let mut rows = Vec::new();
        while let Some(row) = stream.try_next().await? {
            rows.push(row);
        }
        Ok(Done {
            rows,
            changed: stream.rows_affected().unwrap_or(0),
        })
    }

    /// Returns when the connection has ended.
    pub(super) async fn ended(&mut self) {
        self.wire.ended().await;
    }

    /// Takes leave of the server.
    pub(super) async fn close(self) {
        let Self {
            client, mut wire, ..
        } = self;
        drop(client);
        // A server that does not answer is left behind by dropping the connection.
        let _ = tokio::time::timeout(ROUND_TRIP, wire.ended()).await;
    }
}

/// Runs futures at the same time, first polling them in order: the driver sends a
/// statement when it is first polled, so this is the order in which they arrive. A
/// statement that fails before it is sent keeps the later ones, among them a
/// `COMMIT`, from being sent at all.
async fn in_order<F, T, E>(futures: impl Iterator<Item = F>) -> Result<Vec<T>, (usize, E)>
where
    F: Future<Output = Result<T, E>>,
{
    let mut running: Vec<Pin<Box<F>>> = futures.map(Box::pin).collect();
    let mut results: Vec<Option<Result<T, E>>> = running.iter().map(|_| None).collect();
    let mut sending = true;
    let mut unsent = false;
    poll_fn(|context| {
        let mut pending = false;
        for (future, result) in running.iter_mut().zip(&mut results) {
            if result.is_none() {
                match future.as_mut().poll(context) {
                    Poll::Ready(output) => {
                        unsent = sending && output.is_err();
                        *result = Some(output);
                    }
                    Poll::Pending => pending = true,
                }
            }
            if unsent {
                return Poll::Ready(());
            }
        }
        sending = false;
        if pending {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    })
    .await;
    let mut values = Vec::with_capacity(results.len());
    for (place, result) in results.into_iter().enumerate() {
        match result {
            Some(Ok(value)) => values.push(value),
            Some(Err(error)) => return Err((place, error)),
            // Not answered: a later one could not be sent, and its error follows.
            None => {}
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    async fn statement(
        name: usize,
        outcome: Result<usize, &'static str>,
        at_once: bool,
        sent: &RefCell<Vec<usize>>,
    ) -> Result<usize, &'static str> {
        if at_once && outcome.is_err() {
            return outcome;
        }
        sent.borrow_mut().push(name);
        tokio::task::yield_now().await;
        outcome
    }

    async fn check(
        outcomes: &[(Result<usize, &'static str>, bool)],
        expected: Result<Vec<usize>, (usize, &'static str)>,
        expected_sent: &[usize],
    ) {
        let sent = RefCell::new(Vec::new());
        let futures = outcomes.iter().enumerate();
        let futures = futures.map(|(name, (out, now))| statement(name, *out, *now, &sent));
        assert_eq!(in_order(futures).await, expected);
        assert_eq!(*sent.borrow(), expected_sent);
    }

    #[tokio::test]
    async fn statements_go_out_in_order_and_the_first_error_counts() {
        let ok = |value| (Ok(value), false);
        check(&[], Ok(vec![]), &[]).await;
        check(&[ok(5), ok(6)], Ok(vec![5, 6]), &[0, 1]).await;
        let answers = [ok(5), (Err("late"), false), (Err("later"), false)];
        check(&answers, Err((1, "late")), &[0, 1, 2]).await;
    }

    #[tokio::test]
    async fn nothing_is_sent_after_a_statement_that_could_not_be() {
        let calls = [(Ok(5), false), (Err("unfit"), true), (Ok(7), false)];
        check(&calls, Err((1, "unfit")), &[0]).await;
    }
}
