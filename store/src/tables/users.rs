//! Users and their guards.

use domain::guard::Guard;
use domain::{Time, UserId, UserName};

use crate::Store;
use crate::batch::{Batch, Expect};
use crate::error::{Refusal, StoreError};
use crate::sql::statements;
use crate::value::params;

statements! {
    BY_NAME = "SELECT id FROM users WHERE name = $1";
    INSERT = "INSERT INTO users (id, name, created_at) VALUES ($1, $2, $3)
              ON CONFLICT (name) DO NOTHING";
    INSERT_GUARD = "INSERT INTO guards (id, failures, locked_until, disabled_at, days)
                    VALUES ($1, 0, NULL, NULL, '')";
    GUARD = "SELECT failures, locked_until, disabled_at, days, recovery_from, recovery_tries
             FROM guards WHERE id = $1";
    OPEN_GUARD = "UPDATE guards SET failures = 0, locked_until = NULL, disabled_at = NULL, days = '',
                    recovery_from = NULL, recovery_tries = 0 WHERE id = $1";
    HAS_ROOM = "UPDATE guards SET days = days WHERE id = $1 AND
                  (SELECT COUNT(1) FROM devices WHERE user_id = $1 AND deactivated_at IS NULL)
                  < CAST($2 AS BIGINT)";
    HAS_FACTOR = "UPDATE guards SET days = days WHERE id = $1 AND EXISTS
                    (SELECT 1 FROM devices WHERE user_id = $1
                     AND deactivated_at IS NULL AND pending_until IS NULL)";
    HAS_NONE_OF_DOOR = "UPDATE guards SET days = days WHERE id = $1 AND NOT EXISTS
                          (SELECT 1 FROM devices WHERE user_id = $1 AND door = $2
                           AND deactivated_at IS NULL AND pending_until IS NULL)";
}

/// The guard from its stored fields.
pub(crate) fn guard(
    failures: i64,
    locked_until: Option<i64>,
    disabled_at: Option<i64>,
    days: &str,
    (recovery_from, recovery_tries): (Option<i64>, i64),
) -> Result<Guard, StoreError> {
    Ok(Guard {
        failures: u32::try_from(failures).map_err(|_| corrupt())?,
        locked_until: locked_until.map(Time::from_millis),
        disabled_at: disabled_at.map(Time::from_millis),
        days: Guard::days_from_text(days).ok_or_else(corrupt)?,
        recovery_from: recovery_from.map(Time::from_millis),
        recovery_tries: u32::try_from(recovery_tries).map_err(|_| corrupt())?,
    })
}

fn corrupt() -> StoreError {
    StoreError::Corrupt("a guard row".into())
}

impl Store {
    /// The user of that name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn user_by_name(&self, name: &UserName) -> Result<Option<UserId>, StoreError> {
        let row = self.maybe_one(BY_NAME, params![name.canonical()]).await?;
        row.map(|row| row.int(0).map(UserId)).transpose()
    }

    /// The guess budget of a user, for display only: it may have changed since.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn guard(&self, user: UserId) -> Result<Option<Guard>, StoreError> {
        let row = self.maybe_one(GUARD, params![user.0]).await?;
        row.map(|mut row| {
            guard(
                row.int(0)?,
                row.maybe_int(1)?,
                row.maybe_int(2)?,
                &row.text(3)?,
                (row.maybe_int(4)?, row.int(5)?),
            )
        })
        .transpose()
    }
}

impl Batch {
    /// Makes a user with an open guard.
    pub fn make_user(&mut self, id: UserId, name: &UserName, at: Time) {
        self.made.push(id.0);
        let refusal = Refusal::UserExists;
        self.step(
            INSERT,
            params![id.0, name.canonical(), at],
            Expect::One(refusal),
        );
        self.step(INSERT_GUARD, params![id.0], Expect::One(Refusal::Missing));
    }

    /// Opens a user's guard.
    pub fn open_guard(&mut self, user: UserId) {
        self.lock(user);
        self.step(OPEN_GUARD, params![user.0], Expect::One(Refusal::UserGone));
    }

    /// Goes on only when the user has fewer than `most` devices that count.
    pub fn require_room(&mut self, user: UserId, most: i64) {
        let refusal = Refusal::TooManyDevices;
        self.step(HAS_ROOM, params![user.0, most], Expect::One(refusal));
    }

    /// Goes on only when the user has a device in force, under the guard's lock.
    pub fn require_factor(&mut self, user: UserId) {
        self.lock(user);
        let refusal = Refusal::DeviceChanged;
        self.step(HAS_FACTOR, params![user.0], Expect::One(refusal));
    }

    /// Goes on only when the user has no device in force that was made at that door.
    /// The guard of a user who was there before must be locked.
    pub fn require_none_of_door(&mut self, user: UserId, door: &str) {
        let refusal = Refusal::DoorTaken;
        let params = params![user.0, door];
        self.step(HAS_NONE_OF_DOOR, params, Expect::One(refusal));
    }
}
