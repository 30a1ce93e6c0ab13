//! A management batch on SQLite: one transaction in the writer.

use domain::Time;
use rusqlite::{CachedStatement, Connection};

use super::connect::{self, classify};
use crate::batch::{Batch, Step};
use crate::error::{Refusal, StoreError};
use crate::lane::chain::Tail;
use crate::lane::{EventRow, Judge};
use crate::tables::audit::{self, TermEntry};
use crate::tables::stats::Tally;
use crate::tables::{chains, stats, users};
use crate::value::{Value, params};

/// Commits the batch or leaves everything as it was. Returns the chain's new end.
pub(crate) fn run(
    connection: &Connection,
    batch: Batch,
    tail: &Tail,
    at: Time,
    judge: &dyn Judge,
) -> Result<Tail, StoreError> {
    connection
        .execute_batch("BEGIN IMMEDIATE")
        .map_err(classify)?;
    let result = apply(connection, batch, tail, at, judge).and_then(|tail| {
        connection.execute_batch("COMMIT").map_err(classify)?;
        Ok(tail)
    });
    if result.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK").map_err(classify)?;
    }
    result
}

/// Commits the statements of a batch before any chain has begun.
pub(crate) fn initialise(connection: &Connection, batch: &Batch) -> Result<(), StoreError> {
    connection
        .execute_batch("BEGIN IMMEDIATE")
        .map_err(classify)?;
    let steps = || {
        run_steps(connection, &batch.steps)?;
        connection.execute_batch("COMMIT").map_err(classify)
    };
    let result = steps();
    if result.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK").map_err(classify)?;
    }
    result
}

fn apply(
    connection: &Connection,
    batch: Batch,
    tail: &Tail,
    at: Time,
    judge: &dyn Judge,
) -> Result<Tail, StoreError> {
    // The writer is the only one: there is nothing to lock, but the guard has to exist.
    for guard in batch.sorted_guards() {
        if connect::rows(connection, users::GUARD, &[Value::Int(guard)])?.is_empty() {
            return Err(StoreError::Refused(Refusal::UserGone));
        }
    }
    run_steps(connection, &batch.steps)?;
    insert_terms(connection, &batch.terms)?;
    for (sql, params) in batch.additions(at, tail.chain) {
        execute(connection, sql, &params)?;
    }
    let mut tail = tail.clone();
    let mut tally = Tally::default();
    let mut last_mac = None;
    for event in batch.events {
        tally.count_change(&event);
        let row = tail.append(event, at, judge)?;
        last_mac = Some(row.mac);
        execute(connection, chains::INSERT_EVENT, &event_params(row))?;
    }
    if let Some(mac) = last_mac {
        let head = chains::head_params(tail.chain, &tail.head, mac, at);
        execute(connection, chains::SAVE_HEAD, &head)?;
    }
    if !tally.is_empty() {
        execute(connection, stats::ADD, &tally.params(at, tail.chain))?;
    }
    Ok(tail)
}

/// Many steps in a row are often the same statement: it is looked up once for all of them.
fn run_steps(connection: &Connection, steps: &[Step]) -> Result<(), StoreError> {
    for same in steps.chunk_by(|one, next| std::ptr::eq(one.sql, next.sql)) {
        let mut statement = prepared(connection, same[0].sql)?;
        for step in same {
            let params = rusqlite::params_from_iter(&step.params);
            let changed = statement.execute(params).map_err(classify)?;
            step.check(changed as u64)?;
        }
    }
    Ok(())
}

fn insert_terms(connection: &Connection, entries: &[TermEntry]) -> Result<(), StoreError> {
    if entries.is_empty() {
        return Ok(());
    }
    let mut statement = prepared(connection, audit::INSERT_TERM)?;
    for entry in entries {
        let fields = (entry.term, entry.at, entry.event);
        statement.execute(fields).map_err(classify)?;
    }
    Ok(())
}

fn prepared<'c>(
    connection: &'c Connection,
    sql: &'static str,
) -> Result<CachedStatement<'c>, StoreError> {
    connection
        .prepare_cached(&crate::sql::for_sqlite(sql))
        .map_err(classify)
}

fn execute(
    connection: &Connection,
    sql: &'static str,
    params: &[Value],
) -> Result<u64, StoreError> {
    let mut statement = prepared(connection, sql)?;
    let changed = statement
        .execute(rusqlite::params_from_iter(params))
        .map_err(classify)?;
    Ok(changed as u64)
}

fn event_params(row: EventRow) -> Vec<Value> {
    params![
        row.id,
        row.at,
        row.event.action.as_str(),
        i64::from(row.event.success),
        row.event.user.map(|id| id.0),
        row.event.device.map(|id| id.0),
        &*row.event.caller,
        &*row.event.request_id,
        row.event.detail,
        row.personal,
        row.salt,
        row.link,
        row.mac,
    ]
}
