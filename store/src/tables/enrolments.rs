//! Enrolments that wait for their first code: taken away with the session that began them.

use domain::UserId;

use crate::batch::{Batch, Expect};
use crate::sql::statements;
use crate::value::params;

/// The pending devices of a user that were made at that door, while a challenge stands
/// for them whose context is like the third parameter.
macro_rules! waiting {
    () => {
        "(SELECT d.id FROM devices d WHERE d.user_id = $1 AND d.door = $2
            AND d.pending_until IS NOT NULL AND d.deactivated_at IS NULL
            AND EXISTS (SELECT 1 FROM challenges c WHERE c.user_id = $1
              AND c.kind = 'enrolment' AND c.context LIKE $3))"
    };
}

statements! {
    DROP_CODES = concat!("DELETE FROM recovery_codes WHERE pending_for IN ", waiting!());
    DROP_HOT = concat!("DELETE FROM device_hot WHERE id IN ", waiting!());
    DROP_DEVICES = concat!("DELETE FROM devices WHERE id IN ", waiting!());
    DROP_RIGHT = "DELETE FROM challenges
                  WHERE user_id = $1 AND kind = 'enrolment' AND context LIKE $2";
}

impl Batch {
    /// Takes away the pending devices that were made at that door, with the recovery
    /// codes that wait for them and the right to confirm them, where the context of that
    /// right is like `pattern` (SQL's `LIKE`). Under the guard's lock: a code of theirs is
    /// judged before this or not at all.
    pub fn drop_enrolments(&mut self, user: UserId, door: &str, pattern: &str) {
        self.lock(user);
        for sql in [DROP_CODES, DROP_HOT, DROP_DEVICES] {
            self.step(sql, params![user.0, door, pattern], Expect::Any);
        }
        self.step(DROP_RIGHT, params![user.0, pattern], Expect::Any);
    }
}
