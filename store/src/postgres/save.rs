//! The last round trip of a batch: writes each changed row once, appends the events, and commits.

use domain::{Hot, Time};

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
// that follows rolls it back. What is counted is what the changes return, which no plan
// can know before or leave out. The rows are locked by this transaction, so this can
// only happen for `SAVE_KEPT` (the same idempotency key was used at the same time for
// users who share no lock; the next try finds the kept answer) or by a defect.
statements! {
    SAVE_GUARDS = "WITH changed AS (
                     UPDATE guards AS g SET failures = v.failures, locked_until = v.locked_until,
                       disabled_at = v.disabled_at, days = v.days,
                       recovery_from = v.recovery_from, recovery_tries = v.recovery_tries
                     FROM (SELECT unnest(CAST($1 AS BIGINT[])) AS id,
                         unnest(CAST($2 AS BIGINT[])) AS failures,
                         unnest(CAST($3 AS BIGINT[])) AS locked_until,
                         unnest(CAST($4 AS BIGINT[])) AS disabled_at,
                         unnest(CAST($5 AS TEXT[])) AS days,
                         unnest(CAST($6 AS BIGINT[])) AS recovery_from,
                         unnest(CAST($7 AS BIGINT[])) AS recovery_tries) AS v
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
                         FROM (SELECT unnest(CAST($1 AS BIGINT[])) AS id,
                             unnest(CAST($2 AS BIGINT[])) AS uses_left,
                             unnest(CAST($3 AS BIGINT[])) AS failures,
                             unnest(CAST($4 AS BIGINT[])) AS locked_until,
                             unnest(CAST($5 AS BIGINT[])) AS day,
                             unnest(CAST($6 AS BIGINT[])) AS day_failures) AS v
                         WHERE c.id = v.id RETURNING 1)
                       SELECT 1 / CAST(COUNT(1) = CARDINALITY($1) AS INTEGER) FROM changed";
    USE_RECOVERY = "WITH changed AS (
                      UPDATE recovery_codes SET used_at = $2
                      WHERE id = ANY(CAST($1 AS BIGINT[])) AND used_at IS NULL RETURNING 1)
                    SELECT 1 / CAST(COUNT(1) = CARDINALITY(CAST($1 AS BIGINT[])) AS INTEGER)
                    FROM changed";
    /// Hot rows, events, the chain's new end and the statistics: what every batch writes,
    /// in one statement, because each one more costs both sides a good part of what a
    /// batch of few attempts costs. Its parts touch different tables, so their order does
    /// not matter; all of them run to their end, whatever is read of them.
    APPEND = concat!("WITH hot AS (
                UPDATE device_hot AS h SET next = v.next, used = v.used, last_used = v.last_used,
                  drift_ms = v.drift_ms, replayed = v.replayed
                FROM (SELECT unnest(CAST($1 AS BIGINT[])) AS id,
                    unnest(CAST($2 AS BIGINT[])) AS next,
                    unnest(CAST($3 AS BIGINT[])) AS used,
                    unnest(CAST($4 AS BIGINT[])) AS last_used,
                    unnest(CAST($5 AS BIGINT[])) AS drift_ms,
                    unnest(CAST($6 AS BIGINT[])) AS replayed) AS v
                WHERE h.id = v.id RETURNING 1),
              appended AS (
                INSERT INTO events (id, action, success, user_id, device_id, caller, request_id,
                  detail, personal, salt, link, mac, at)
                SELECT unnest(CAST($7 AS BIGINT[])), unnest(CAST($8 AS TEXT[])),
                  unnest(CAST($9 AS BIGINT[])), unnest(CAST($10 AS BIGINT[])),
                  unnest(CAST($11 AS BIGINT[])), unnest(CAST($12 AS TEXT[])),
                  unnest(CAST($13 AS TEXT[])), unnest(CAST($14 AS TEXT[])),
                  unnest(CAST($15 AS TEXT[])), unnest(CAST($16 AS BYTEA[])),
                  unnest(CAST($17 AS BYTEA[])), unnest(CAST($18 AS BYTEA[])),
                  CAST($19 AS BIGINT)),
              head AS (
                UPDATE chain_heads SET seq = $20, link = $21, mac = $22, at = $19
                WHERE chain = $24 AND seq = CAST($20 AS BIGINT) - CARDINALITY($7) RETURNING 1),
              counted AS (",
                stats::adding!("SELECT CAST($23 AS BIGINT), CAST($24 AS BIGINT),
                  CAST($25 AS BIGINT), CAST($26 AS BIGINT), CAST($27 AS BIGINT),
                  CAST($28 AS BIGINT), CAST($29 AS BIGINT)
                  WHERE GREATEST($25, $26, $27, $28, $29) > 0"), ")
              SELECT 1 / CAST((SELECT COUNT(1) FROM hot) = CARDINALITY($1) AS INTEGER),
                1 / (SELECT COUNT(1) FROM head)");
    INSERT_TERMS = "INSERT INTO event_terms (term, at, event)
                    SELECT unnest(CAST($1 AS BIGINT[])), unnest(CAST($2 AS BIGINT[])),
                      unnest(CAST($3 AS BIGINT[]))
                    ON CONFLICT (term, at, event) DO NOTHING";
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
    let (at, tail) = (writes.at, &writes.tail);
    calls.extend(append(&writes.hot, &writes.events, tail, at, &writes.tally));
    let chain = tail.chain;
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

/// The events of a batch with the hot rows that changed, their chain's new end and the
/// statistics; nothing where there are neither events nor hot rows.
pub(super) fn append<'a>(
    hot: &[(i64, Hot)],
    events: &'a [EventRow],
    tail: &'a Tail,
    at: Time,
    tally: &Tally,
) -> Option<Call<'a>> {
    if hot.is_empty() && events.is_empty() {
        return None;
    }
    let call = with_events(with_hot(Call::new(APPEND), hot), events)
        .with(at.millis())
        .with(tail.head.seq)
        .with(&tail.head.link.0[..])
        // Nothing changes without an event: where there is none, the table refuses this.
        .with(events.last().map(|last| &last.mac[..]));
    let numbers = tally.numbers(at, tail.chain);
    Some(numbers.into_iter().fold(call, Call::with))
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

fn with_hot<'a>(call: Call<'a>, rows: &[(i64, Hot)]) -> Call<'a> {
    call.with(column(rows, |(id, _)| *id))
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

fn with_events<'a>(call: Call<'a>, rows: &'a [EventRow]) -> Call<'a> {
    call.with(column(rows, |row| row.id))
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
