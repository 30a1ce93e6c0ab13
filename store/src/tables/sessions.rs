//! Sessions behind access tokens.

use domain::{ChallengeId, ChallengeKind, Time, UserId};

use crate::Store;
use crate::batch::{Batch, Expect};
use crate::error::{Refusal, StoreError};
use crate::sql::statements;
use crate::value::{Row, Value, params};

statements! {
    BY_ID = "SELECT s.id, s.user_id, u.name, s.amr, s.auth_time, s.created_at, s.expires_at, s.ended_at
             FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.id = $1";
    OF_USER = "SELECT s.id, s.user_id, u.name, s.amr, s.auth_time, s.created_at, s.expires_at, s.ended_at
               FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.user_id = $1
               ORDER BY s.created_at DESC, s.id";
    OPEN_AFTER_LOGIN = "INSERT INTO sessions (id, user_id, amr, auth_time, created_at, expires_at, ended_at)
            SELECT CAST($1 AS TEXT), CAST($2 AS BIGINT), CAST($3 AS TEXT), CAST($4 AS BIGINT),
              CAST($5 AS BIGINT), CAST($6 AS BIGINT), NULL
            WHERE EXISTS (SELECT 1 FROM challenges WHERE id = CAST($7 AS BIGINT)
              AND user_id = CAST($2 AS BIGINT) AND kind = 'login')
            ON CONFLICT (id) DO NOTHING";
    OPEN_WITHOUT_FACTOR = "INSERT INTO sessions (id, user_id, amr, auth_time, created_at, expires_at, ended_at)
            SELECT CAST($1 AS TEXT), CAST($2 AS BIGINT), CAST($3 AS TEXT), CAST($4 AS BIGINT),
              CAST($5 AS BIGINT), CAST($6 AS BIGINT), NULL
            WHERE NOT EXISTS (SELECT 1 FROM devices WHERE user_id = CAST($2 AS BIGINT)
              AND deactivated_at IS NULL AND pending_until IS NULL)
            ON CONFLICT (id) DO NOTHING";
    END = "UPDATE sessions SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL";
    LIVES = "UPDATE sessions SET ended_at = NULL
             WHERE id = $1 AND user_id = $2 AND ended_at IS NULL";
    END_ALL = "UPDATE sessions SET ended_at = $3
               WHERE user_id = $1 AND id <> $2 AND ended_at IS NULL";
    SWEEP = "DELETE FROM sessions WHERE id IN
             (SELECT id FROM sessions WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2) RETURNING CAST(1 AS BIGINT)";
}

/// A session as stored.
#[derive(Clone, Debug)]
pub struct StoredSession {
    /// What the token names.
    pub id: String,
    /// Whose.
    pub user: UserId,
    /// The user's name in its canonical form.
    pub name: String,
    /// Space-separated methods (RFC 8176).
    pub amr: String,
    /// When the user proved who they are.
    pub auth_time: Time,
    /// When it was opened.
    pub created_at: Time,
    /// From then on it is over.
    pub expires_at: Time,
    /// Since when it was ended before its time.
    pub ended_at: Option<Time>,
}

/// A session about to be opened.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// See [`StoredSession::id`]; nobody else has it.
    pub id: String,
    /// Whose.
    pub user: UserId,
    /// See [`StoredSession::amr`].
    pub amr: String,
    /// See [`StoredSession::auth_time`].
    pub auth_time: Time,
    /// When it is opened.
    pub created_at: Time,
    /// See [`StoredSession::expires_at`].
    pub expires_at: Time,
}

impl NewSession {
    fn params(&self) -> Vec<Value> {
        params![
            self.id.as_str(),
            self.user.0,
            self.amr.as_str(),
            self.auth_time,
            self.created_at,
            self.expires_at,
        ]
    }
}

fn stored(mut row: Row) -> Result<StoredSession, StoreError> {
    Ok(StoredSession {
        id: row.text(0)?,
        user: UserId(row.int(1)?),
        name: row.text(2)?,
        amr: row.text(3)?,
        auth_time: row.time(4)?,
        created_at: row.time(5)?,
        expires_at: row.time(6)?,
        ended_at: row.maybe_time(7)?,
    })
}

impl Store {
    /// The session of that id, ended and expired ones included.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn session(&self, id: &str) -> Result<Option<StoredSession>, StoreError> {
        let row = self.maybe_one(BY_ID, params![id]).await?;
        row.map(stored).transpose()
    }

    /// All stored sessions of a user, newest first, ended and expired ones included.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn sessions_of(&self, user: UserId) -> Result<Vec<StoredSession>, StoreError> {
        let rows = self.patient_rows(OF_USER, params![user.0]).await?;
        rows.into_iter().map(stored).collect()
    }

    /// Removes some sessions whose time is over, ended or not, at most `limit`; how many.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn sweep_sessions(&self, before: Time, limit: i64) -> Result<i64, StoreError> {
        let gone = self.write_rows(SWEEP, params![before, limit]).await?;
        Ok(i64::try_from(gone.len()).unwrap_or(limit))
    }
}

impl Batch {
    /// Opens the session of a login whose second factor was right. Refused with
    /// [`Refusal::LoginOver`] when anything has ended the user's sessions since: that
    /// takes away their logins too, under the guard's lock that this takes as well. So a
    /// factor that was switched off between the verdict and this opens nothing.
    pub fn open_session(&mut self, new: &NewSession, login: ChallengeId) {
        self.lock(new.user);
        let mut params = new.params();
        params.push(Value::Int(login.0));
        let refusal = Refusal::LoginOver;
        self.step(OPEN_AFTER_LOGIN, params, Expect::One(refusal));
    }

    /// Opens a session that no second factor was asked for; refused with
    /// [`Refusal::FactorInForce`] when the user has an active device. Devices become
    /// active under the guard's lock only, so none does between the question and the
    /// commit.
    pub fn open_session_without_factor(&mut self, new: &NewSession) {
        self.lock(new.user);
        let refusal = Refusal::FactorInForce;
        self.step(OPEN_WITHOUT_FACTOR, new.params(), Expect::One(refusal));
    }

    /// Goes on only when that session of the user has not been ended.
    pub fn require_session(&mut self, id: &str, user: UserId) {
        self.lock(user);
        let refusal = Refusal::SessionOver;
        self.step(LIVES, params![id, user.0], Expect::One(refusal));
    }

    /// Ends a session; refused with [`Refusal::SessionOver`] when it has been ended.
    pub fn end_session(&mut self, id: &str, user: UserId, at: Time) {
        self.lock(user);
        let refusal = Refusal::SessionOver;
        self.step(END, params![id, at], Expect::One(refusal));
    }

    /// Ends all sessions of a user, or all but one, and the logins out of which others
    /// would come.
    pub fn end_sessions(&mut self, user: UserId, except: Option<&str>, at: Time) {
        self.lock(user);
        let params = params![user.0, except.unwrap_or_default(), at];
        self.step(END_ALL, params, Expect::Any);
        self.clear_challenges(user, ChallengeKind::Login);
    }
}
