//! The last round trip of a batch: writes each changed row once, appends the events, and commits.

use domain::Time;

use super::load::COMMIT;
use super::session::Call;
use crate::lane::EventRow;
use crate::lane::chain::Tail;
use crate::lane::fold::{KeptRow, Writes};
use crate::sql::statements;
use crate::tables::audit::TermEntry;
use crate::tables::counts;
use crate::tables::stats::{self, Tally};

// The `COMMIT` is sent together with the writes, before anybody has counted how many
// rows they changed. So the database counts: a statement that changed another number
// than it was given divides by zero, which fails the transaction, and the `COMMIT`
// that follows rolls it back. The rows are locked by this transaction, so this can
// only happen for `SAVE_KEPT` (the same idempotency key was used at the same time for
// users who share no lock; the next try finds the kept answer) or by a defect.
statements! {
    SAVE_HOT = "WITH changed AS (
                  UPDATE device_hot AS h SET next = v.next, used = v.used, last_used = v.last_used,
                    drift_ms = v.drift_ms, replayed = v.replayed
                  FROM unnest(CAST($1 AS BIGINT[]), CAST($2 AS BIGINT[]), CAST($3 AS BIGINT[]),
                    CAST($4 AS BIGINT[]), CAST($5 AS BIGINT[]), CAST($6 AS BIGINT[]))
                    AS v (id, next, used, last_used, drift_ms, replayed)
                  WHERE h.id = v.id RETURNING 1)
                SELECT 1 / CAST(COUNT(1) = CARDINALITY($1) AS INTEGER) FROM changed";
    SAVE_GUARDS = "WITH changed AS (
                     UPDATE guards AS g SET failures = v.failures, locked_until = v.locked_until,
                       disabled_at = v.disabled_at, days = v.days,
                       recovery_from = v.recovery_from, recovery_tries = v.recovery_tries
                     FROM unnest(CAST($1 AS BIGINT[]), CAST($2 AS BIGINT[]), CAST($3 AS BIGINT[]),
                       CAST($4 AS BIGINT[]), CAST($5 AS TEXT[]), CAST($6 AS BIGINT[]),
                       CAST($7 AS BIGINT[]))
                       AS v (id, failures, locked_until, disabled_at, days, recovery_from,
                         recovery_tries)
                     WHERE g.id = v.id RETURNING 1)
                   SELECT 1 / CAST(COUNT(1) = CARDINALITY($1) AS INTEGER) FROM changed";
    CONFIRM = "WITH changed AS (
                 UPDATE devices SET pending_until = NULL
                 WHERE id = ANY(CAST($1 AS BIGINT[])) RETURNING 1)
               SELECT 1 / CAST(COUNT(1) = CARDINALITY($1) AS INTEGER) FROM changed";
    VOID_CODES = "DELETE FROM recovery_codes WHERE pending_for IS NULL AND user_id IN
                    (SELECT r.user_id FROM recovery_codes r
                     WHERE r.pending_for = ANY(CAST($1 AS BIGINT[])))";
    ENFORCE_CODES = "UPDATE recovery_codes SET pending_for = NULL
                     WHERE pending_for = ANY(CAST($1 AS BIGINT[]))";
    SAVE_CHALLENGES = "WITH changed AS (
                         UPDATE challenges AS c SET uses_left = v.uses_left,
                           failures = v.failures, locked_until = v.locked_until, day = v.day,
                           day_failures = v.day_failures
                         FROM unnest(CAST($1 AS BIGINT[]), CAST($2 AS BIGINT[]),
                           CAST($3 AS BIGINT[]), CAST($4 AS BIGINT[]), CAST($5 AS BIGINT[]),
                           CAST($6 AS BIGINT[]))
                           AS v (id, uses_left, failures, locked_until, day, day_failures)
                         WHERE c.id = v.id RETURNING 1)
                       SELECT 1 / CAST(COUNT(1) = CARDINALITY($1) AS INTEGER) FROM changed";
    USE_RECOVERY = "WITH changed AS (
                      UPDATE recovery_codes SET used_at = $2
                      WHERE id = ANY(CAST($1 AS BIGINT[])) AND used_at IS NULL RETURNING 1)
                    SELECT 1 / CAST(COUNT(1) = CARDINALITY(CAST($1 AS BIGINT[])) AS INTEGER)
                    FROM changed";
    APPEND = "INSERT INTO events (id, at, action, success, user_id, device_id, caller, request_id,
                detail, personal, personal_digest, salt, link, mac)
              SELECT v.id, CAST($2 AS BIGINT), v.action, v.success, v.user_id, v.device_id, v.caller,
                v.request_id, v.detail, v.personal, NULL, v.salt, v.link, v.mac
              FROM unnest(CAST($1 AS BIGINT[]), CAST($3 AS TEXT[]), CAST($4 AS BIGINT[]),
                CAST($5 AS BIGINT[]), CAST($6 AS BIGINT[]), CAST($7 AS TEXT[]), CAST($8 AS TEXT[]),
                CAST($9 AS TEXT[]), CAST($10 AS TEXT[]), CAST($11 AS BYTEA[]), CAST($12 AS BYTEA[]),
                CAST($13 AS BYTEA[]))
                AS v (id, action, success, user_id, device_id, caller, request_id, detail, personal,
                  salt, link, mac)";
    INSERT_TERMS = "INSERT INTO event_terms (term, at, event)
                    SELECT v.term, v.at, v.event
                    FROM unnest(CAST($1 AS BIGINT[]), CAST($2 AS BIGINT[]), CAST($3 AS BIGINT[]))
                      AS v (term, at, event)
                    ON CONFLICT (term, at, event) DO NOTHING";
    SAVE_HEAD = "WITH changed AS (
                   UPDATE chain_heads SET seq = $2, link = $3, mac = $4, at = $5
                   WHERE chain = $1 AND seq = CAST($2 AS BIGINT) - CAST($6 AS BIGINT) RETURNING 1)
                 SELECT 1 / COUNT(1) FROM changed";
    SAVE_KEPT = "WITH changed AS (
                   INSERT INTO idempotency (id, fingerprint, answer, expires_at)
                   SELECT v.id, v.fingerprint, v.answer, v.expires_at
                   FROM unnest(CAST($1 AS BYTEA[]), CAST($2 AS BYTEA[]), CAST($3 AS BYTEA[]),
                     CAST($4 AS BIGINT[])) AS v (id, fingerprint, answer, expires_at)
                   ON CONFLICT (id) DO UPDATE SET fingerprint = excluded.fingerprint,
                     answer = excluded.answer, expires_at = excluded.expires_at
                   WHERE idempotency.expires_at <= $5 RETURNING 1)
                 SELECT 1 / CAST(COUNT(1) = CARDINALITY($1) AS INTEGER) FROM changed";
}

/// Everything that a batch of attempts changes, and its commit.
pub(super) fn calls(writes: &Writes) -> Vec<Call<'_>> {
    let mut calls = Vec::new();
    if !writes.hot.is_empty() {
        calls.push(save_hot(writes));
    }
    if !writes.guards.is_empty() {
        calls.push(save_guards(writes));
    }
    if !writes.confirmed.is_empty() {
        let confirmed = &writes.confirmed[..];
        calls.push(Call::new(CONFIRM).with(confirmed));
        // A set of recovery codes may have waited for it: any number of them.
        calls.push(Call::new(VOID_CODES).with(confirmed));
        calls.push(Call::new(ENFORCE_CODES).with(confirmed));
    }
    if !writes.challenges.is_empty() {
        calls.push(save_challenges(writes));
    }
    if !writes.recovery.is_empty() {
        let used = Call::new(USE_RECOVERY).with(&writes.recovery[..]);
        calls.push(used.with(writes.at.millis()));
    }
    calls.extend(append(
        &writes.events,
        &writes.tail,
        writes.at,
        &writes.tally,
    ));
    let (at, chain) = (writes.at, writes.tail.chain);
    for name in &writes.counts {
        let fields = counts::count_params(name, at, chain);
        calls.push(Call::of_values(counts::ADD_COUNT, fields));
    }
    for seconds in &writes.delays {
        let fields = counts::delay_params(*seconds, at, chain);
        calls.push(Call::of_values(counts::ADD_DELAY, fields));
    }
    if !writes.kept.is_empty() {
        calls.push(keep(&writes.kept, writes.at));
    }
    calls.push(Call::new(COMMIT));
    calls
}

/// The events of a batch with their chain's new end and the statistics.
pub(super) fn append<'a>(
    events: &'a [EventRow],
    tail: &'a Tail,
    at: Time,
    tally: &Tally,
) -> Vec<Call<'a>> {
    let mut calls = Vec::new();
    if let Some(last) = events.last() {
        calls.push(insert_events(events, at));
        calls.push(
            Call::new(SAVE_HEAD)
                .with(tail.chain)
                .with(tail.head.seq)
                .with(&tail.head.link.0[..])
                .with(&last.mac[..])
                .with(at.millis())
                .with(i64::try_from(events.len()).unwrap_or(i64::MAX)),
        );
    }
    if !tally.is_empty() {
        calls.push(Call::of_values(stats::ADD, tally.params(at, tail.chain)));
    }
    calls
}

/// Entries of the search index.
pub(super) fn insert_terms(entries: &[TermEntry]) -> Call<'_> {
    Call::new(INSERT_TERMS)
        .with(column(entries, |entry| entry.term))
        .with(column(entries, |entry| entry.at))
        .with(column(entries, |entry| entry.event))
}

/// One column of rows, as the array that `unnest` takes apart again.
fn column<'a, R, T>(rows: &'a [R], field: impl Fn(&'a R) -> T) -> Vec<T> {
    rows.iter().map(field).collect()
}

fn save_hot(writes: &Writes) -> Call<'_> {
    let rows = &writes.hot;
    Call::new(SAVE_HOT)
        .with(column(rows, |(id, _)| *id))
        .with(column(rows, |(_, hot)| hot.next))
        .with(column(rows, |(_, hot)| hot.used))
        .with(column(rows, |(_, hot)| hot.last_used.map(Time::millis)))
        .with(column(rows, |(_, hot)| hot.drift_ms))
        .with(column(rows, |(_, hot)| hot.replayed))
}

fn save_guards(writes: &Writes) -> Call<'_> {
    let rows = &writes.guards;
    Call::new(SAVE_GUARDS)
        .with(column(rows, |(id, _)| *id))
        .with(column(rows, |(_, guard)| i64::from(guard.failures)))
        .with(column(rows, |(_, guard)| {
            guard.locked_until.map(Time::millis)
        }))
        .with(column(rows, |(_, guard)| {
            guard.disabled_at.map(Time::millis)
        }))
        .with(column(rows, |(_, guard)| guard.days_text()))
        .with(column(rows, |(_, guard)| {
            guard.recovery_from.map(Time::millis)
        }))
        .with(column(rows, |(_, guard)| i64::from(guard.recovery_tries)))
}

fn save_challenges(writes: &Writes) -> Call<'_> {
    let rows = &writes.challenges;
    Call::new(SAVE_CHALLENGES)
        .with(column(rows, |one| one.id.0))
        .with(column(rows, |one| i64::from(one.uses_left)))
        .with(column(rows, |one| i64::from(one.failures)))
        .with(column(rows, |one| one.locked_until.map(Time::millis)))
        .with(column(rows, |one| one.day))
        .with(column(rows, |one| i64::from(one.day_failures)))
}

fn insert_events(rows: &[EventRow], at: Time) -> Call<'_> {
    Call::new(APPEND)
        .with(column(rows, |row| row.id))
        .with(at.millis())
        .with(column(rows, |row| row.event.action.as_str()))
        .with(column(rows, |row| i64::from(row.event.success)))
        .with(column(rows, |row| row.event.user.map(|id| id.0)))
        .with(column(rows, |row| row.event.device.map(|id| id.0)))
        .with(column(rows, |row| &*row.event.caller))
        .with(column(rows, |row| &*row.event.request_id))
        .with(column(rows, |row| &*row.event.detail))
        .with(column(rows, |row| &*row.personal))
        .with(column(rows, |row| &row.salt[..]))
        .with(column(rows, |row| &row.link[..]))
        .with(column(rows, |row| &row.mac[..]))
}

/// Sorted by their ids, so that two batches that keep the same answers wait for each
/// other in one direction only.
fn keep(rows: &[KeptRow], at: Time) -> Call<'_> {
    Call::new(SAVE_KEPT)
        .with(column(rows, |row| &row.id[..]))
        .with(column(rows, |row| &row.fingerprint[..]))
        .with(column(rows, |row| &row.answer[..]))
        .with(column(rows, |row| row.expires_at.millis()))
        .with(at.millis())
}
