//! Challenges: issued and emailed codes, passes, logins that wait, enrolments.

use domain::{Challenge, ChallengeId, ChallengeKind, Time, UserId};

use crate::Store;
use crate::batch::{Batch, Expect};
use crate::error::{Refusal, StoreError};
use crate::sql::statements;
use crate::value::{Row, Value, params};

/// A challenge, in the order that [`Fields`] has.
macro_rules! whole_challenge {
    () => {
        "SELECT id, user_id, kind, hash, created_at, expires_at, uses_left, failures, locked_until,
           day, day_failures, context FROM challenges "
    };
}

statements! {
    BY_ID = concat!(whole_challenge!(), "WHERE id = $1");
    OF_KIND = concat!(whole_challenge!(), "WHERE user_id = $1 AND kind = $2 ORDER BY id DESC LIMIT $3");
    /// Those that any attempt at the person may answer.
    JUDGED = "SELECT id, user_id, kind, hash, created_at, expires_at, uses_left, failures,
                locked_until, day, day_failures FROM challenges
              WHERE user_id = $1 AND kind IN ('issued', 'emailed', 'pass')";
    LOGIN = "SELECT id, user_id, kind, hash, created_at, expires_at, uses_left, failures,
               locked_until, day, day_failures FROM challenges WHERE id = $1 AND kind = 'login'";
    INSERT = "INSERT INTO challenges (id, user_id, kind, hash, context, created_at, expires_at,
                uses_left, failures, locked_until, day, day_failures)
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, NULL, 0, 0)";
    /// The only one of its kind that the user has. The parameters of [`INSERT`].
    INSERT_ONLY = "INSERT INTO challenges (id, user_id, kind, hash, context, created_at, expires_at,
                uses_left, failures, locked_until, day, day_failures)
              SELECT CAST($1 AS BIGINT), CAST($2 AS BIGINT), CAST($3 AS TEXT), $4,
                CAST($5 AS TEXT), CAST($6 AS BIGINT), CAST($7 AS BIGINT), CAST($8 AS BIGINT), 0, NULL, 0, 0
              WHERE NOT EXISTS (SELECT 1 FROM challenges
                WHERE user_id = CAST($2 AS BIGINT) AND kind = CAST($3 AS TEXT))";
    FAIL_FIRST = "UPDATE challenges SET failures = 1, day = $2, day_failures = 1
                  WHERE id = $1 AND failures = 0";
    /// The count of wrong codes stays, unless the code before it is long over.
    REPLACE = "UPDATE challenges SET hash = $2, context = $3, created_at = $4, expires_at = $5,
                 uses_left = 1, failures = CASE WHEN locked_until IS NULL AND expires_at + CAST($6 AS BIGINT) <= $4
                   THEN 0 ELSE failures END
               WHERE id = $1 AND created_at = $7";
    SPEND_KIND = "UPDATE challenges SET uses_left = 0 WHERE user_id = $1 AND kind = $2";
    DELETE_KIND = "DELETE FROM challenges WHERE user_id = $1 AND kind = $2";
    /// An address keeps its count of the day.
    SWEEP = "DELETE FROM challenges WHERE id IN
             (SELECT id FROM challenges WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)
             RETURNING CAST(1 AS BIGINT)";
}

/// A challenge with what the judge does not need to know.
#[derive(Clone, Debug)]
pub struct StoredChallenge {
    /// What the judge sees.
    pub challenge: Challenge,
    /// A JSON object; what is in it is the caller's business.
    pub context: String,
}

/// A challenge about to be made.
pub struct NewChallenge {
    /// Its id.
    pub id: ChallengeId,
    /// Whose it is.
    pub user: UserId,
    /// What it is about.
    pub kind: ChallengeKind,
    /// Keyed hash of the right answer; `None` where nothing can be right.
    pub hash: Option<[u8; 32]>,
    /// See [`StoredChallenge::context`].
    pub context: String,
    /// When it is made.
    pub created_at: Time,
    /// Its end.
    pub expires_at: Time,
    /// How often it can be answered.
    pub uses: u32,
}

impl NewChallenge {
    fn params(&self) -> Vec<Value> {
        params![
            self.id.0,
            self.user.0,
            self.kind.as_str(),
            self.hash,
            self.context.as_str(),
            self.created_at,
            self.expires_at,
            i64::from(self.uses),
        ]
    }
}

/// The columns of a challenge up to the context, as an engine reads them.
pub(crate) struct Fields {
    pub id: i64,
    pub user: i64,
    pub kind: String,
    pub hash: Option<Vec<u8>>,
    pub created_at: i64,
    pub expires_at: i64,
    pub uses_left: i64,
    pub failures: i64,
    pub locked_until: Option<i64>,
    pub day: i64,
    pub day_failures: i64,
}

impl Fields {
    pub(crate) fn challenge(self) -> Result<Challenge, StoreError> {
        let corrupt = || StoreError::Corrupt("a challenge row".into());
        let count = |number: i64| u32::try_from(number).map_err(|_| corrupt());
        let hash = self.hash.map(<[u8; 32]>::try_from).transpose();
        Ok(Challenge {
            id: ChallengeId(self.id),
            user: UserId(self.user),
            kind: ChallengeKind::from_word(&self.kind).ok_or_else(corrupt)?,
            hash: hash.map_err(|_| corrupt())?,
            created_at: Time::from_millis(self.created_at),
            expires_at: Time::from_millis(self.expires_at),
            uses_left: count(self.uses_left)?,
            failures: count(self.failures)?,
            locked_until: self.locked_until.map(Time::from_millis),
            day: self.day,
            day_failures: count(self.day_failures)?,
        })
    }
}

fn stored(mut row: Row) -> Result<StoredChallenge, StoreError> {
    let fields = Fields {
        id: row.int(0)?,
        user: row.int(1)?,
        kind: row.text(2)?,
        hash: row.maybe_bytes(3)?,
        created_at: row.int(4)?,
        expires_at: row.int(5)?,
        uses_left: row.int(6)?,
        failures: row.int(7)?,
        locked_until: row.maybe_int(8)?,
        day: row.int(9)?,
        day_failures: row.int(10)?,
    };
    Ok(StoredChallenge {
        challenge: fields.challenge()?,
        context: row.text(11)?,
    })
}

impl Store {
    /// The challenge of that id.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn challenge(&self, id: ChallengeId) -> Result<Option<StoredChallenge>, StoreError> {
        let row = self.maybe_one(BY_ID, params![id.0]).await?;
        row.map(stored).transpose()
    }

    /// A user's challenges of that kind, newest first, `limit` at most.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn challenges_of(
        &self,
        user: UserId,
        kind: ChallengeKind,
        limit: i64,
    ) -> Result<Vec<StoredChallenge>, StoreError> {
        let params = params![user.0, kind.as_str(), limit];
        let rows = self.rows(OF_KIND, params).await?;
        rows.into_iter().map(stored).collect()
    }

    /// Removes some challenges that ended before that time, at most `limit`; how many.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn sweep_challenges(&self, before: Time, limit: i64) -> Result<i64, StoreError> {
        let gone = self.write_rows(SWEEP, params![before, limit]).await?;
        Ok(i64::try_from(gone.len()).unwrap_or(limit))
    }
}

impl Batch {
    /// Makes a challenge.
    pub fn make_challenge(&mut self, new: &NewChallenge) {
        self.lock(new.user);
        self.step(INSERT, new.params(), Expect::One(Refusal::Missing));
    }

    /// Makes a challenge of a kind that a user has one of; refused when there is one.
    pub fn make_only_challenge(&mut self, new: &NewChallenge) {
        self.lock(new.user);
        let refusal = Refusal::ChallengeChanged;
        self.step(INSERT_ONLY, new.params(), Expect::One(refusal));
    }

    /// The same with a first wrong answer, given on that UTC day (days since 1970).
    pub fn make_failed_challenge(&mut self, new: &NewChallenge, day: i64) {
        self.make_only_challenge(new);
        let refusal = Refusal::ChallengeChanged;
        self.step(FAIL_FIRST, params![new.id.0, day], Expect::One(refusal));
    }

    /// Puts a new code into a challenge that lives on: the count of wrong ones stays,
    /// unless the code before has been over for longer than `forget_ms`. Refused when
    /// the challenge is gone, or its code is not the one made at `seen` any more.
    pub fn replace_code(&mut self, new: &NewChallenge, seen: Time, forget_ms: i64) {
        self.lock(new.user);
        let params = params![
            new.id.0,
            new.hash,
            new.context.as_str(),
            new.created_at,
            new.expires_at,
            forget_ms,
            seen,
        ];
        let refusal = Refusal::ChallengeChanged;
        self.step(REPLACE, params, Expect::One(refusal));
    }

    /// Leaves nothing of a user's challenges of that kind but that they were there.
    pub fn spend_challenges(&mut self, user: UserId, kind: ChallengeKind) {
        self.lock(user);
        let params = params![user.0, kind.as_str()];
        self.step(SPEND_KIND, params, Expect::Any);
    }

    /// Removes a user's challenges of that kind.
    pub fn clear_challenges(&mut self, user: UserId, kind: ChallengeKind) {
        self.lock(user);
        let params = params![user.0, kind.as_str()];
        self.step(DELETE_KIND, params, Expect::Any);
    }
}
