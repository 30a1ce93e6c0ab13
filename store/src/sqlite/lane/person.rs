//! What the lane reads and writes when something is asked of a person rather than a device.

use domain::{Challenge, DeviceName, Time, UserId, UserName};
use rusqlite::{Connection, Row, Statement};

use super::{changed_one, read_device, read_guard};
use crate::error::StoreError;
use crate::lane::fold::{Loaded, Writes};
use crate::sql::for_sqlite;
use crate::sqlite::connect::classify;
use crate::tables::challenges::{self, Fields};
use crate::tables::recovery;

const LOAD_PERSON: &str = "SELECT u.id, g.failures, g.locked_until, g.disabled_at, g.days,
      g.recovery_from, g.recovery_tries
    FROM users u JOIN guards g ON g.id = u.id WHERE u.name = ?1";
const SAVE_CHALLENGE: &str = "UPDATE challenges SET uses_left = ?2, failures = ?3,
      locked_until = ?4, day = ?5, day_failures = ?6 WHERE id = ?1";
const USE_RECOVERY: &str = "UPDATE recovery_codes SET used_at = ?2 WHERE id = ?1
      AND used_at IS NULL";

/// The statements of a person, prepared once and held.
pub(super) struct Person<'c> {
    person: Statement<'c>,
    devices: Statement<'c>,
    judged: Statement<'c>,
    login: Statement<'c>,
    recovery: Statement<'c>,
    save_challenge: Statement<'c>,
    use_recovery: Statement<'c>,
}

impl<'c> Person<'c> {
    pub(super) fn prepare(connection: &'c Connection) -> Result<Self, StoreError> {
        let prepare = |sql: &str| connection.prepare(sql).map_err(classify);
        Ok(Self {
            person: prepare(LOAD_PERSON)?,
            devices: prepare(super::LOAD_OWN)?,
            judged: prepare(&for_sqlite(challenges::JUDGED))?,
            login: prepare(&for_sqlite(challenges::LOGIN))?,
            recovery: prepare(&for_sqlite(recovery::IN_FORCE))?,
            save_challenge: prepare(SAVE_CHALLENGE)?,
            use_recovery: prepare(USE_RECOVERY)?,
        })
    }

    /// Everything that can change a verdict about the person of that name.
    pub(super) fn load(&mut self, name: &UserName, loaded: &mut Loaded) -> Result<(), StoreError> {
        let mut rows = self.person.query([name.canonical()]).map_err(classify)?;
        let Some(row) = rows.next().map_err(classify)? else {
            return Ok(());
        };
        let id: i64 = row.get(0).map_err(classify)?;
        loaded.add_person(UserId(id), name.clone(), read_guard(row, 1)?);
        drop(rows);
        let mut rows = self.devices.query([id]).map_err(classify)?;
        while let Some(row) = rows.next().map_err(classify)? {
            let name: String = row.get(17).map_err(classify)?;
            let name = DeviceName::parse(&name);
            let name = name.map_err(|_| StoreError::Corrupt("a device row".into()))?;
            loaded.add_own(read_device(row, name)?);
        }
        drop(rows);
        let mut rows = self.judged.query([id]).map_err(classify)?;
        while let Some(row) = rows.next().map_err(classify)? {
            loaded.add_challenge(read_challenge(row)?);
        }
        drop(rows);
        let mut rows = self.recovery.query([id]).map_err(classify)?;
        while let Some(row) = rows.next().map_err(classify)? {
            let code = row.get(0).map_err(classify)?;
            loaded.add_recovery(id, code, row.get(1).map_err(classify)?);
        }
        Ok(())
    }

    /// A login that an attempt names, if it is one of a person who is there.
    pub(super) fn load_login(&mut self, id: i64, loaded: &mut Loaded) -> Result<(), StoreError> {
        let mut rows = self.login.query([id]).map_err(classify)?;
        if let Some(row) = rows.next().map_err(classify)? {
            loaded.add_challenge(read_challenge(row)?);
        }
        Ok(())
    }

    pub(super) fn save(&mut self, writes: &Writes) -> Result<(), StoreError> {
        for one in &writes.challenges {
            let fields = (
                one.id.0,
                one.uses_left,
                one.failures,
                one.locked_until.map(Time::millis),
                one.day,
                one.day_failures,
            );
            changed_one(self.save_challenge.execute(fields))?;
        }
        for id in &writes.recovery {
            changed_one(self.use_recovery.execute((id, writes.at.millis())))?;
        }
        Ok(())
    }
}

fn read_challenge(row: &Row<'_>) -> Result<Challenge, StoreError> {
    let read = || -> rusqlite::Result<Fields> {
        Ok(Fields {
            id: row.get(0)?,
            user: row.get(1)?,
            kind: row.get(2)?,
            hash: row.get(3)?,
            created_at: row.get(4)?,
            expires_at: row.get(5)?,
            uses_left: row.get(6)?,
            failures: row.get(7)?,
            locked_until: row.get(8)?,
            day: row.get(9)?,
            day_failures: row.get(10)?,
        })
    };
    read().map_err(classify)?.challenge()
}
