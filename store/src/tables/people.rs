//! Users with what stands beside them in other tables: lists, the export, the erasure.

use domain::{Guard, Time, UserId, UserName};

use super::devices::{DevicePage, StoredDevice};
use super::users::guard;
use crate::Store;
use crate::batch::{Batch, Expect};
use crate::error::{Refusal, StoreError};
use crate::sql::statements;
use crate::value::{Row, params};

/// A user as [`stored`] reads it; `$1` is the time.
macro_rules! whole_person {
    () => {
        "SELECT u.id, u.name, u.created_at,
           g.failures, g.locked_until, g.disabled_at, g.days,
           (SELECT CAST(COUNT(1) AS BIGINT) FROM accounts a WHERE a.user_id = u.id),
           (SELECT CAST(COUNT(1) AS BIGINT) FROM devices d WHERE d.user_id = u.id
              AND d.deactivated_at IS NULL AND d.pending_until IS NULL),
           (SELECT CAST(COUNT(1) AS BIGINT) FROM devices d WHERE d.user_id = u.id
              AND d.deactivated_at IS NULL AND d.pending_until > $1),
           (SELECT CAST(COUNT(1) AS BIGINT) FROM recovery_codes r WHERE r.user_id = u.id
              AND r.used_at IS NULL AND r.pending_for IS NULL),
           (SELECT MAX(h.last_used) FROM devices d JOIN device_hot h ON h.id = d.id
              WHERE d.user_id = u.id),
           g.recovery_from, g.recovery_tries
         FROM users u JOIN guards g ON g.id = u.id "
    };
}

/// Nothing stands for the user but the name.
macro_rules! nothing_left {
    () => {
        "NOT EXISTS (SELECT 1 FROM challenges c WHERE c.user_id = users.id)
           AND NOT EXISTS (SELECT 1 FROM devices d WHERE d.user_id = users.id)
           AND NOT EXISTS (SELECT 1 FROM sessions s WHERE s.user_id = users.id)
           AND NOT EXISTS (SELECT 1 FROM accounts a WHERE a.user_id = users.id)
           AND NOT EXISTS (SELECT 1 FROM recovery_codes r WHERE r.user_id = users.id)
           AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.user_id = users.id)"
    };
}

statements! {
    /// Names that begin with `email:`, by the index of names.
    IDLE_ADDRESSES = concat!("SELECT id FROM users WHERE name >= 'email:' AND name < 'email;' AND ",
        nothing_left!(), " ORDER BY id LIMIT $1");
    FORGET_USER = concat!("DELETE FROM users WHERE id = $1 AND ", nothing_left!());
    FORGET_GUARD = "DELETE FROM guards WHERE id = $1
                    AND NOT EXISTS (SELECT 1 FROM users u WHERE u.id = $1)";
    BY_NAME = concat!(whole_person!(), "WHERE u.name = $2");
    PAGE = concat!(whole_person!(), "WHERE u.id < $2 ORDER BY u.id DESC LIMIT $3");
    LIVE_CHALLENGES = "SELECT kind, CAST(COUNT(1) AS BIGINT) FROM challenges
                       WHERE user_id = $1 AND expires_at > $2 AND uses_left > 0
                       GROUP BY kind ORDER BY kind";
    ERASE_HOT = "DELETE FROM device_hot WHERE id IN (SELECT id FROM devices WHERE user_id = $1)";
    ERASE_DEVICES = "DELETE FROM devices WHERE user_id = $1";
    ERASE_CHALLENGES = "DELETE FROM challenges WHERE user_id = $1";
    ERASE_CODES = "DELETE FROM recovery_codes WHERE user_id = $1";
    ERASE_ACCOUNT = "DELETE FROM accounts WHERE user_id = $1";
    ERASE_SESSIONS = "DELETE FROM sessions WHERE user_id = $1";
    ERASE_MAILS = "DELETE FROM outbox WHERE user_id = $1";
    ERASE_ANSWERS = "DELETE FROM idempotency WHERE user_id = $1";
    ERASE_GUARD = "DELETE FROM guards WHERE id = $1";
    ERASE_USER = "DELETE FROM users WHERE id = $1";
}

/// What is deleted with a user before the guard and the user.
const ERASED: [&str; 8] = [
    ERASE_HOT,
    ERASE_DEVICES,
    ERASE_CHALLENGES,
    ERASE_CODES,
    ERASE_ACCOUNT,
    ERASE_SESSIONS,
    ERASE_MAILS,
    ERASE_ANSWERS,
];

/// A user with the numbers that a list shows.
#[derive(Clone, Debug)]
pub struct StoredPerson {
    /// The internal id.
    pub id: UserId,
    /// The name in its canonical form.
    pub name: String,
    /// When any door first heard of them.
    pub created_at: Time,
    /// The guess budget as it was when read.
    pub guard: Guard,
    /// They can log in with a password.
    pub has_account: bool,
    /// Devices in force.
    pub active_devices: i64,
    /// Devices that wait for their first code and whose time is not over.
    pub pending_devices: i64,
    /// Recovery codes that are in force and not used.
    pub recovery_codes_left: i64,
    /// When a code of any stored device was last accepted.
    pub last_verified_at: Option<Time>,
}

fn stored(mut row: Row) -> Result<StoredPerson, StoreError> {
    Ok(StoredPerson {
        id: UserId(row.int(0)?),
        name: row.text(1)?,
        created_at: row.time(2)?,
        guard: guard(
            row.int(3)?,
            row.maybe_int(4)?,
            row.maybe_int(5)?,
            &row.text(6)?,
            (row.maybe_int(12)?, row.int(13)?),
        )?,
        has_account: row.int(7)? != 0,
        active_devices: row.int(8)?,
        pending_devices: row.int(9)?,
        recovery_codes_left: row.int(10)?,
        last_verified_at: row.maybe_time(11)?,
    })
}

impl Store {
    /// The user of that name with the numbers that a list shows.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn person(&self, name: &UserName) -> Result<Option<StoredPerson>, StoreError> {
        let params = params![self.now().await?, name.canonical()];
        let row = self.maybe_one(BY_NAME, params).await?;
        row.map(stored).transpose()
    }

    /// A page of users, newest first like the list of devices: those that come after
    /// `after` in that order, so those made before it. `UserId(i64::MAX)` is where the
    /// list begins.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn people(&self, after: UserId, limit: i64) -> Result<Vec<StoredPerson>, StoreError> {
        let params = params![self.now().await?, after.0, limit];
        let rows = self.rows(PAGE, params).await?;
        rows.into_iter().map(stored).collect()
    }

    /// All stored devices of a user, newest first, whatever their state.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn devices_of(&self, user: UserId) -> Result<Vec<StoredDevice>, StoreError> {
        let page = DevicePage {
            user: Some(user),
            status: "",
            before: None,
            limit: i64::MAX,
        };
        // Before all times: the time of no pending device is over.
        self.devices(&page, Time::from_millis(0)).await
    }

    /// Some email addresses for which nothing is stored but their name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn idle_addresses(&self, limit: i64) -> Result<Vec<UserId>, StoreError> {
        let rows = self.patient_rows(IDLE_ADDRESSES, params![limit]).await?;
        rows.into_iter().map(|row| row.int(0).map(UserId)).collect()
    }

    /// How many challenges of each kind are live for a user, by kind.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn passes_of(&self, user: UserId) -> Result<Vec<(String, i64)>, StoreError> {
        let params = params![user.0, self.now().await?];
        let rows = self.rows(LIVE_CHALLENGES, params).await?;
        rows.into_iter()
            .map(|mut row| Ok((row.text(0)?, row.int(1)?)))
            .collect()
    }
}

impl Batch {
    /// Deletes a user for whom nothing is stored but the name; one for whom something has
    /// come in the meantime stays.
    pub fn forget_idle(&mut self, user: UserId) {
        self.lock(user);
        self.step(FORGET_USER, params![user.0], Expect::Any);
        self.step(FORGET_GUARD, params![user.0], Expect::Any);
    }

    /// Deletes a user with everything that belongs to them, under the guard's lock;
    /// refused with [`Refusal::UserGone`] when there is no such user. Audit records stay.
    pub fn erase_person(&mut self, user: UserId) {
        self.lock(user);
        for sql in ERASED {
            self.step(sql, params![user.0], Expect::Any);
        }
        for sql in [ERASE_GUARD, ERASE_USER] {
            self.step(sql, params![user.0], Expect::One(Refusal::UserGone));
        }
    }
}
