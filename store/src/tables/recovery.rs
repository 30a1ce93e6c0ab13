//! Recovery codes: keyed hashes, one row each; a set that waits for its device's confirmation.

use domain::{DeviceId, Time, UserId};

use crate::Store;
use crate::batch::{Batch, Expect};
use crate::error::{Refusal, StoreError};
use crate::sql::statements;
use crate::value::params;

statements! {
    /// What an attempt may use up.
    IN_FORCE = "SELECT id, hash FROM recovery_codes
                WHERE user_id = $1 AND used_at IS NULL AND pending_for IS NULL";
    LEFT = "SELECT CAST(COUNT(1) AS BIGINT) FROM recovery_codes
            WHERE user_id = $1 AND used_at IS NULL AND pending_for IS NULL";
    INSERT = "INSERT INTO recovery_codes (id, user_id, hash, pending_for, created_at, used_at)
              VALUES ($1, $2, $3, $4, $5, NULL)";
    DELETE_ALL = "DELETE FROM recovery_codes WHERE user_id = $1";
    DELETE_IN_FORCE = "DELETE FROM recovery_codes WHERE user_id = $1 AND pending_for IS NULL";
    DELETE_PENDING = "DELETE FROM recovery_codes WHERE user_id = $1 AND pending_for IS NOT NULL";
    DELETE_OF_DEVICE = "DELETE FROM recovery_codes WHERE user_id = $1 AND pending_for = $2";
    /// The set of an enrolment comes into force: first the old one goes.
    VOID_BEFORE = "DELETE FROM recovery_codes WHERE pending_for IS NULL AND user_id IN
                   (SELECT user_id FROM recovery_codes WHERE pending_for = $1)";
    PUT_IN_FORCE = "UPDATE recovery_codes SET pending_for = NULL WHERE pending_for = $1";
}

impl Store {
    /// How many recovery codes in force a user has left.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn recovery_codes_left(&self, user: UserId) -> Result<i64, StoreError> {
        self.one(LEFT, params![user.0]).await?.int(0)
    }
}

impl Batch {
    /// Makes one code, in force at once or when `pending_for` is confirmed.
    pub fn insert_recovery_code(
        &mut self,
        id: i64,
        user: UserId,
        hash: [u8; 32],
        pending_for: Option<DeviceId>,
        at: Time,
    ) {
        self.lock(user);
        let params = params![id, user.0, hash, pending_for.map(|id| id.0), at];
        self.step(INSERT, params, Expect::One(Refusal::Missing));
    }

    /// Removes a user's codes that are in force.
    pub fn void_recovery_codes(&mut self, user: UserId) {
        self.lock(user);
        self.step(DELETE_IN_FORCE, params![user.0], Expect::Any);
    }

    /// Removes a user's codes that wait for a confirmation.
    pub fn void_pending_recovery_codes(&mut self, user: UserId) {
        self.lock(user);
        self.step(DELETE_PENDING, params![user.0], Expect::Any);
    }

    /// Removes the codes that wait for a device's confirmation, which will not come any more.
    pub(crate) fn void_recovery_codes_for(&mut self, device: DeviceId, user: UserId) {
        self.step(DELETE_OF_DEVICE, params![user.0, device.0], Expect::Any);
    }

    /// Removes all of a user's codes.
    pub fn delete_recovery_codes(&mut self, user: UserId) {
        self.lock(user);
        self.step(DELETE_ALL, params![user.0], Expect::Any);
    }
}
