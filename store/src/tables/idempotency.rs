//! First answers, kept so that a repeated request gets them again.

use domain::Time;

use crate::Store;
use crate::batch::{Batch, Expect};
use crate::error::{Refusal, StoreError};
use crate::sql::statements;
use crate::value::params;

statements! {
    BY_ID = "SELECT fingerprint, answer FROM idempotency WHERE id = $1 AND expires_at > $2";
    KEEP = "INSERT INTO idempotency (id, fingerprint, answer, expires_at) VALUES ($1, $2, $3, $4)
            ON CONFLICT (id) DO UPDATE SET fingerprint = excluded.fingerprint,
              answer = excluded.answer, expires_at = excluded.expires_at
            WHERE idempotency.expires_at <= $5";
    /// The same of an answer about a user.
    KEEP_ABOUT = "INSERT INTO idempotency (id, fingerprint, answer, expires_at, user_id)
            VALUES ($1, $2, $3, $4, $6)
            ON CONFLICT (id) DO UPDATE SET fingerprint = excluded.fingerprint,
              answer = excluded.answer, expires_at = excluded.expires_at,
              user_id = excluded.user_id
            WHERE idempotency.expires_at <= $5";
    CONFIRM = "UPDATE idempotency SET answer = answer WHERE id = $1 AND answer = $2";
    SWEEP = "DELETE FROM idempotency WHERE id IN
             (SELECT id FROM idempotency WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)
             RETURNING CAST(1 AS BIGINT)";
}

/// A kept answer of a management call.
pub struct KeptAnswer {
    /// Keyed hash of the body it answered.
    pub fingerprint: [u8; 32],
    /// The answer, sealed by the caller when it holds a secret.
    pub answer: Vec<u8>,
}

impl Store {
    /// The kept answer of that id, unless its time is over.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn kept_answer(
        &self,
        id: &[u8; 32],
        now: Time,
    ) -> Result<Option<KeptAnswer>, StoreError> {
        let row = self.maybe_one(BY_ID, params![*id, now]).await?;
        row.map(|mut row| {
            Ok(KeptAnswer {
                fingerprint: row.fixed(0)?,
                answer: row.bytes(1)?,
            })
        })
        .transpose()
    }

    /// Removes some answers whose time is over, at most `limit`; how many.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn sweep_answers(&self, now: Time, limit: i64) -> Result<i64, StoreError> {
        let gone = self.write_rows(SWEEP, params![now, limit]).await?;
        Ok(i64::try_from(gone.len()).unwrap_or(limit))
    }
}

impl Batch {
    /// Keeps an answer; refused when one is kept already. It is about the user whom the
    /// batch's event or else its lock names, if any, and goes when that user is erased.
    pub fn keep_answer(
        &mut self,
        id: [u8; 32],
        fingerprint: [u8; 32],
        answer: Vec<u8>,
        now: Time,
        expires_at: Time,
    ) {
        let about = self.events.iter().find_map(|event| event.user);
        let about = about.map(|user| user.0).or(self.guards.first().copied());
        let params = params![id, fingerprint, answer, expires_at, now, about];
        self.step(KEEP_ABOUT, params, Expect::One(Refusal::IdempotencyTaken));
    }

    /// Writes a kept answer once more as it is; refused when it is not there. Once this is
    /// committed, so is the answer and what was done with it, wherever it was read before.
    pub fn confirm_answer(&mut self, id: [u8; 32], answer: Vec<u8>) {
        self.step(CONFIRM, params![id, answer], Expect::One(Refusal::Missing));
    }
}
