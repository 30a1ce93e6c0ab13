//! Mails on their way: posted with the change they tell of, taken by one node at a time.

use domain::{Time, UserId};

use crate::Store;
use crate::batch::{Batch, Expect};
use crate::error::{Refusal, StoreError};
use crate::sql::statements;
use crate::value::{Row, params};

statements! {
    DUE = "SELECT id, user_id, sealed, created_at, expires_at, next_try, tries FROM outbox
           WHERE next_try <= $1 ORDER BY next_try, id LIMIT $2";
    OF = "SELECT id, user_id, sealed, created_at, expires_at, next_try, tries FROM outbox
          WHERE user_id = $1 ORDER BY id";
    POST = "INSERT INTO outbox (id, user_id, sealed, created_at, expires_at, next_try, tries)
            VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING";
    TAKE = "UPDATE outbox SET next_try = $3, tries = tries + 1
            WHERE id = $1 AND next_try = $2 AND next_try < $3";
    POSTPONE = "UPDATE outbox SET next_try = $3 WHERE id = $1 AND next_try = $2";
    REMOVE = "DELETE FROM outbox WHERE id = $1";
    WAITING = "SELECT CAST(COUNT(1) AS BIGINT), MIN(created_at) FROM outbox";
}

/// A mail as stored.
#[derive(Clone, Debug)]
pub struct StoredMail {
    /// Its id, which the seal is bound to.
    pub id: i64,
    /// Whom it is about.
    pub user: Option<UserId>,
    /// The mail, sealed.
    pub sealed: Vec<u8>,
    /// When it was posted.
    pub created_at: Time,
    /// From then on nobody wants it.
    pub expires_at: Time,
    /// Not before then it is tried again.
    pub next_try: Time,
    /// How often it was taken.
    pub tries: i64,
}

fn stored(mut row: Row) -> Result<StoredMail, StoreError> {
    Ok(StoredMail {
        id: row.int(0)?,
        user: row.maybe_int(1)?.map(UserId),
        sealed: row.bytes(2)?,
        created_at: row.time(3)?,
        expires_at: row.time(4)?,
        next_try: row.time(5)?,
        tries: row.int(6)?,
    })
}

impl Store {
    /// Some mails whose next try has come, the longest due first; those whose time is
    /// over come too, to be removed.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn due_mails(&self, now: Time, limit: i64) -> Result<Vec<StoredMail>, StoreError> {
        let rows = self.rows(DUE, params![now, limit]).await?;
        rows.into_iter().map(stored).collect()
    }

    /// The mails that wait and are about a user, the oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn mails_of(&self, user: UserId) -> Result<Vec<StoredMail>, StoreError> {
        let rows = self.rows(OF, params![user.0]).await?;
        rows.into_iter().map(stored).collect()
    }

    /// How many mails wait, and since when the oldest does.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn waiting_mails(&self) -> Result<(i64, Option<Time>), StoreError> {
        let row = self.one(WAITING, params![]).await?;
        Ok((row.int(0)?, row.maybe_time(1)?))
    }
}

impl Batch {
    /// Posts a mail.
    pub fn post_mail(&mut self, mail: &StoredMail) {
        let params = params![
            mail.id,
            mail.user.map(|user| user.0),
            mail.sealed.as_slice(),
            mail.created_at,
            mail.expires_at,
            mail.next_try,
            mail.tries,
        ];
        self.step(POST, params, Expect::One(Refusal::Missing));
    }

    /// Takes a mail that was read with `seen_next_try` until `next_try`, which has to be
    /// later; refused with [`Refusal::MailTaken`] when somebody else was faster. So no
    /// two nodes send the same mail at once.
    pub fn take_mail(&mut self, id: i64, seen_next_try: Time, next_try: Time) {
        let params = params![id, seen_next_try, next_try];
        self.step(TAKE, params, Expect::One(Refusal::MailTaken));
    }

    /// Lets a mail that was taken until `taken_until` be tried again at another time, by
    /// whoever is first then; refused with [`Refusal::MailTaken`] when it is not held any
    /// more.
    pub fn postpone_mail(&mut self, id: i64, taken_until: Time, next_try: Time) {
        let params = params![id, taken_until, next_try];
        self.step(POSTPONE, params, Expect::One(Refusal::MailTaken));
    }

    /// Removes a mail that was sent or given up; it may be gone already.
    pub fn remove_mail(&mut self, id: i64) {
        self.step(REMOVE, params![id], Expect::Any);
    }
}
