//! The attempts lane on SQLite: row by row with held statements, one transaction a batch.

use domain::verify::Subject;
use domain::{Ask, Device, DeviceId, DeviceName, Guard, Hot, SealedKey, Time, UserId};
use rusqlite::{Connection, OptionalExtension, Row, Statement, params_from_iter};

use self::person::Person;
use super::connect::classify;
use crate::error::StoreError;
use crate::lane::chain::Tail;
use crate::lane::fold::{Kept, Loaded, Writes, fold};
use crate::lane::{EventRow, Judge, Reply, Submission};
use crate::sql::for_sqlite;
use crate::tables::devices::Facts;
use crate::tables::users::guard;
use crate::tables::{chains, counts, idempotency, recovery, stats};

mod person;

/// The columns of a device as [`read_device`] takes them.
macro_rules! device_columns {
    () => {
        "SELECT d.id, d.user_id, d.owner, d.kind, d.algorithm, d.digits, d.period,
           d.policy, d.key_version, d.sealed, d.pending_until, d.deactivated_at,
           h.next, h.used, h.last_used, h.drift_ms, h.replayed"
    };
}

/// What the judge needs to know of a device, in one look-up.
const LOAD: &str = concat!(
    device_columns!(),
    ", g.failures, g.locked_until, g.disabled_at, g.days, g.recovery_from, g.recovery_tries
     FROM devices d JOIN device_hot h ON h.id = d.id JOIN guards g ON g.id = d.user_id
     WHERE d.name = ?1"
);
const LOAD_OWN: &str = concat!(
    device_columns!(),
    ", d.name FROM devices d JOIN device_hot h ON h.id = d.id
     WHERE d.user_id = ?1 AND d.deactivated_at IS NULL"
);
const SAVE_HOT: &str = "UPDATE device_hot SET next = ?2, used = ?3, last_used = ?4, drift_ms = ?5,
      replayed = ?6 WHERE id = ?1";
const SAVE_GUARD: &str = "UPDATE guards SET failures = ?2, locked_until = ?3, disabled_at = ?4,
      days = ?5, recovery_from = ?6, recovery_tries = ?7 WHERE id = ?1";
const CONFIRM: &str = "UPDATE devices SET pending_until = NULL WHERE id = ?1";

/// The statements of a batch, prepared once and held.
pub(crate) struct Lane<'c> {
    begin: Statement<'c>,
    commit: Statement<'c>,
    rollback: Statement<'c>,
    load: Statement<'c>,
    load_kept: Statement<'c>,
    save_hot: Statement<'c>,
    save_guard: Statement<'c>,
    confirm: Statement<'c>,
    void_codes: Statement<'c>,
    enforce_codes: Statement<'c>,
    person: Person<'c>,
    event: Statement<'c>,
    head: Statement<'c>,
    stats: Statement<'c>,
    keep: Statement<'c>,
    count: Statement<'c>,
    delay: Statement<'c>,
}

impl<'c> Lane<'c> {
    pub(crate) fn prepare(connection: &'c Connection) -> Result<Self, StoreError> {
        let prepare = |sql: &str| connection.prepare(sql).map_err(classify);
        Ok(Self {
            begin: prepare("BEGIN IMMEDIATE")?,
            commit: prepare("COMMIT")?,
            rollback: prepare("ROLLBACK")?,
            load: prepare(LOAD)?,
            load_kept: prepare(&for_sqlite(idempotency::BY_ID))?,
            save_hot: prepare(SAVE_HOT)?,
            save_guard: prepare(SAVE_GUARD)?,
            confirm: prepare(CONFIRM)?,
            void_codes: prepare(&for_sqlite(recovery::VOID_BEFORE))?,
            enforce_codes: prepare(&for_sqlite(recovery::PUT_IN_FORCE))?,
            person: Person::prepare(connection)?,
            event: prepare(&for_sqlite(chains::INSERT_EVENT))?,
            head: prepare(&for_sqlite(chains::SAVE_HEAD))?,
            stats: prepare(&for_sqlite(stats::ADD))?,
            keep: prepare(&for_sqlite(idempotency::KEEP))?,
            count: prepare(&for_sqlite(counts::ADD_COUNT))?,
            delay: prepare(&for_sqlite(counts::ADD_DELAY))?,
        })
    }

    /// Judges and commits; an error means that nothing was changed.
    pub(crate) fn run(
        &mut self,
        submissions: &[&Submission],
        tail: &Tail,
        at: Time,
        judge: &dyn Judge,
    ) -> Result<(Vec<Reply>, Tail), StoreError> {
        self.begin.execute([]).map_err(classify)?;
        let result = self.transact(submissions, tail, at, judge);
        if result.is_err() {
            // After a failed commit the transaction may be over already.
            let _ = self.rollback.execute([]);
        }
        result
    }

    fn transact(
        &mut self,
        submissions: &[&Submission],
        tail: &Tail,
        at: Time,
        judge: &dyn Judge,
    ) -> Result<(Vec<Reply>, Tail), StoreError> {
        let loaded = self.load(submissions, at)?;
        let (replies, writes) = fold(submissions, loaded, tail, at, judge)?;
        let tail = self.save(writes)?;
        self.commit.execute([]).map_err(classify)?;
        Ok((replies, tail))
    }

    fn load(&mut self, submissions: &[&Submission], at: Time) -> Result<Loaded, StoreError> {
        let mut loaded = Loaded::default();
        for submission in submissions {
            let attempt = &submission.attempt;
            match &attempt.subject {
                subject if loaded.owners.contains_key(subject) => {}
                Subject::Device(name) => self.load_device(name, &mut loaded)?,
                Subject::User(name) => self.person.load(name, &mut loaded)?,
            }
            if let Ask::Login { login, .. } = attempt.ask {
                self.person.load_login(login.0, &mut loaded)?;
            }
            if let Some(ticket) = &submission.idempotency {
                let kept = self
                    .load_kept
                    .query_row((ticket.id, at.millis()), kept)
                    .optional()
                    .map_err(classify)?;
                loaded.kept.extend(kept.map(|kept| (ticket.id, kept)));
            }
        }
        Ok(loaded)
    }

    fn load_device(&mut self, name: &DeviceName, loaded: &mut Loaded) -> Result<(), StoreError> {
        let mut rows = self.load.query([name.as_str()]).map_err(classify)?;
        if let Some(row) = rows.next().map_err(classify)? {
            let guard = read_guard(row, 17)?;
            loaded.add(read_device(row, name.clone())?, || guard);
        }
        Ok(())
    }

    fn save(&mut self, writes: Writes) -> Result<Tail, StoreError> {
        for (id, hot) in &writes.hot {
            let last_used = hot.last_used.map(Time::millis);
            let fields = (
                id,
                hot.next,
                hot.used,
                last_used,
                hot.drift_ms,
                hot.replayed,
            );
            changed_one(self.save_hot.execute(fields))?;
        }
        for (id, guard) in &writes.guards {
            changed_one(self.save_guard.execute(guard_fields(*id, guard)))?;
        }
        for id in &writes.confirmed {
            changed_one(self.confirm.execute([id]))?;
            // A set of recovery codes may have waited for it: any number of them.
            self.void_codes.execute([id]).map_err(classify)?;
            self.enforce_codes.execute([id]).map_err(classify)?;
        }
        self.person.save(&writes)?;
        if let Some(mac) = writes.events.last().map(|row| row.mac) {
            let head = writes.tail.head;
            let fields = (
                writes.tail.chain,
                head.seq,
                head.link.0,
                mac,
                writes.at.millis(),
            );
            changed_one(self.head.execute(fields))?;
        }
        for row in &writes.events {
            self.append(row)?;
        }
        if !writes.tally.is_empty() {
            let numbers = writes.tally.numbers(writes.at, writes.tail.chain);
            changed_one(self.stats.execute(params_from_iter(numbers)))?;
        }
        let (at, chain) = (writes.at, writes.tail.chain);
        for name in &writes.counts {
            let fields = counts::count_params(name, at, chain);
            changed_one(self.count.execute(params_from_iter(fields)))?;
        }
        for seconds in &writes.delays {
            let fields = counts::delay_params(*seconds, at, chain);
            changed_one(self.delay.execute(params_from_iter(fields)))?;
        }
        for row in &writes.kept {
            let expires_at = row.expires_at.millis();
            let now = writes.at.millis();
            let fields = (row.id, row.fingerprint, &row.answer, expires_at, now);
            changed_one(self.keep.execute(fields))?;
        }
        Ok(writes.tail)
    }

    fn append(&mut self, row: &EventRow) -> Result<(), StoreError> {
        let event = &row.event;
        let fields = rusqlite::params![
            row.id,
            row.at.millis(),
            event.action.as_str(),
            event.success,
            event.user.map(|id| id.0),
            event.device.map(|id| id.0),
            &*event.caller,
            &*event.request_id,
            event.detail,
            row.personal,
            row.salt,
            row.link,
            row.mac,
        ];
        changed_one(self.event.execute(fields))
    }
}

/// The writer holds the only write lock: a count other than one is a defect.
fn changed_one(result: rusqlite::Result<usize>) -> Result<(), StoreError> {
    match result.map_err(classify)? {
        1 => Ok(()),
        count => Err(StoreError::Corrupt(format!(
            "a statement of a batch changed {count} rows"
        ))),
    }
}

fn kept(row: &Row<'_>) -> rusqlite::Result<Kept> {
    Ok(Kept {
        fingerprint: row.get(0)?,
        answer: row.get(1)?,
    })
}

fn read_device(row: &Row<'_>, name: DeviceName) -> Result<Device, StoreError> {
    let facts = Facts {
        kind: row.get(3).map_err(classify)?,
        algorithm: row.get(4).map_err(classify)?,
        digits: row.get(5).map_err(classify)?,
        period: row.get(6).map_err(classify)?,
        pending_until: row.get(10).map_err(classify)?,
        deactivated_at: row.get(11).map_err(classify)?,
    };
    Ok(Device {
        id: DeviceId(row.get(0).map_err(classify)?),
        user: UserId(row.get(1).map_err(classify)?),
        name,
        owner: row.get(2).map_err(classify)?,
        kind: facts.kind()?,
        algorithm: facts.algorithm()?,
        digits: facts.digits()?,
        policy: row.get(7).map_err(classify)?,
        state: facts.state(),
        key: SealedKey {
            version: row.get(8).map_err(classify)?,
            bytes: row.get(9).map_err(classify)?,
        },
        hot: hot(row).map_err(classify)?,
    })
}

/// The guard whose columns begin at that place.
fn read_guard(row: &Row<'_>, first: usize) -> Result<Guard, StoreError> {
    let days = row.get_ref(first + 3).map_err(classify)?;
    let days = days
        .as_str()
        .map_err(|_| StoreError::Corrupt("a guard row".into()))?;
    let recovery = (
        row.get(first + 4).map_err(classify)?,
        row.get(first + 5).map_err(classify)?,
    );
    guard(
        row.get(first).map_err(classify)?,
        row.get(first + 1).map_err(classify)?,
        row.get(first + 2).map_err(classify)?,
        days,
        recovery,
    )
}

type GuardFields = (i64, u32, Option<i64>, Option<i64>, String, Option<i64>, u32);

fn guard_fields(id: i64, guard: &Guard) -> GuardFields {
    (
        id,
        guard.failures,
        guard.locked_until.map(Time::millis),
        guard.disabled_at.map(Time::millis),
        guard.days_text(),
        guard.recovery_from.map(Time::millis),
        guard.recovery_tries,
    )
}

fn hot(row: &Row<'_>) -> rusqlite::Result<Hot> {
    Ok(Hot {
        next: row.get(12)?,
        used: row.get(13)?,
        last_used: row.get::<_, Option<i64>>(14)?.map(Time::from_millis),
        drift_ms: row.get(15)?,
        replayed: row.get(16)?,
    })
}
