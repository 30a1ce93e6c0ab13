//! Accounts: who can log in with a password.

use domain::{Time, UserId, UserName};

use crate::Store;
use crate::batch::{Batch, Expect};
use crate::error::{Refusal, StoreError};
use crate::sql::statements;
use crate::value::{Row, params};

statements! {
    BY_NAME = "SELECT a.user_id, u.name, a.shown, a.password, a.created_at, a.changed_at
               FROM users u JOIN accounts a ON a.user_id = u.id WHERE u.name = $1";
    INSERT = "INSERT INTO accounts (user_id, shown, password, created_at, changed_at)
              VALUES ($1, $2, $3, $4, $4) ON CONFLICT (user_id) DO NOTHING";
    SET_PASSWORD = "UPDATE accounts SET password = $2, changed_at = $3 WHERE user_id = $1";
    PASSWORD_IS = "UPDATE accounts SET password = password WHERE user_id = $1 AND password = $2";
    DELETE = "DELETE FROM accounts WHERE user_id = $1";
}

/// An account as stored.
#[derive(Clone)]
pub struct StoredAccount {
    /// Whose.
    pub user: UserId,
    /// The user's name in its canonical form.
    pub name: String,
    /// The name as it was given at signup.
    pub shown: String,
    /// The hash of the password with its parameters, as text.
    pub password: String,
    /// When it was made.
    pub created_at: Time,
    /// When the password was last set.
    pub changed_at: Time,
}

fn stored(mut row: Row) -> Result<StoredAccount, StoreError> {
    Ok(StoredAccount {
        user: UserId(row.int(0)?),
        name: row.text(1)?,
        shown: row.text(2)?,
        password: row.text(3)?,
        created_at: row.time(4)?,
        changed_at: row.time(5)?,
    })
}

impl Store {
    /// The account of the user of that name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn account(&self, name: &UserName) -> Result<Option<StoredAccount>, StoreError> {
        let row = self.maybe_one(BY_NAME, params![name.canonical()]).await?;
        row.map(stored).transpose()
    }
}

impl Batch {
    /// Gives a user an account; refused with [`Refusal::UserExists`] when there is one.
    /// A user who is not made in the same batch has to be locked by the caller.
    pub fn make_account(&mut self, user: UserId, shown: &str, password_hash: &str, at: Time) {
        let params = params![user.0, shown, password_hash, at];
        self.step(INSERT, params, Expect::One(Refusal::UserExists));
    }

    /// Sets the password; refused with [`Refusal::UserGone`] when there is no account.
    pub fn set_password(&mut self, user: UserId, password_hash: &str, at: Time) {
        self.lock(user);
        let params = params![user.0, password_hash, at];
        self.step(SET_PASSWORD, params, Expect::One(Refusal::UserGone));
    }

    /// Goes on only while the password is the one that was checked; else
    /// [`Refusal::AccountChanged`]. So a login that was checked against the old password
    /// opens no session behind a change that has ended all of them.
    pub fn require_password(&mut self, user: UserId, password_hash: &str) {
        self.lock(user);
        let params = params![user.0, password_hash];
        self.step(PASSWORD_IS, params, Expect::One(Refusal::AccountChanged));
    }

    /// Removes the account and leaves the user; refused with [`Refusal::UserGone`] when
    /// there is none.
    pub fn delete_account(&mut self, user: UserId) {
        self.lock(user);
        self.step(DELETE, params![user.0], Expect::One(Refusal::UserGone));
    }
}
