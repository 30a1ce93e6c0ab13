//! Recovery codes: made in sets of ten, shown once; and the verification of what people write down or read out.

use domain::verify::{Ask, Spoken, Subject, Verdict};
use domain::{Action, DeviceId, Event, Time, UserId, UserName};
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use store::{Answer, Batch};

use crate::context::Context;
use crate::idempotency::{Kept, Reply};
use crate::tokens::Wanted;
use crate::verify::{locked, told};
use crate::{App, Error};

/// Codes in a set.
const SET: usize = 10;

/// What a token is hashed for: the same text of another kind has another hash.
const RECOVERY: &str = "recovery";
pub(crate) const PASS: &str = "pass";

/// A text of the form of a recovery code or a pass, however it was typed.
pub struct SpokenText(vault::Spoken);

impl SpokenText {
    /// `None` for a text that can be neither.
    pub fn parse(text: &str) -> Option<Self> {
        vault::normalise_spoken(text).map(Self)
    }
}

/// A fresh set, shown once.
#[derive(Serialize)]
pub struct RecoveryCodes {
    /// The user as the client wrote it.
    pub user_id: Box<RawValue>,
    /// Ten codes, each good for one use.
    pub recovery_codes: Vec<String>,
}

/// The answer to a recovery code or a pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RecoveryVerified {
    /// What is said of it.
    #[serde(flatten)]
    pub standing: RecoveryStanding,
    /// The proof for another service, when one was asked for and the code was right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assertion: Option<String>,
    /// Present and true when this is the kept answer of an earlier request.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
}

/// What is said of a recovery code or a pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum RecoveryStanding {
    /// It was right, and one use of it is spent.
    Verified {
        /// What it was: `recovery` or `pass`.
        method: &'static str,
        /// Recovery codes that are left, whichever it was.
        remaining: u32,
        /// Uses of the pass that are left; of a recovery code there are none.
        #[serde(skip_serializing_if = "Option::is_none")]
        uses_left: Option<u32>,
    },
    /// It was wrong, or is used up.
    Rejected,
}

impl App {
    /// Puts a fresh set of recovery codes into the batch; its texts are shown once. In
    /// force at once, and the set in force is void; or, with `pending_for`, in force when
    /// that device is confirmed, and another set that waits is void.
    ///
    /// # Errors
    /// When no ids can be had.
    pub(crate) async fn make_recovery_codes(
        &self,
        batch: &mut Batch,
        user: UserId,
        pending_for: Option<DeviceId>,
        now: Time,
    ) -> Result<Vec<String>, Error> {
        match pending_for {
            None => batch.void_recovery_codes(user),
            Some(_) => batch.void_pending_recovery_codes(user),
        }
        let mut texts = Vec::with_capacity(SET);
        for _ in 0..SET {
            let text = vault::recovery_code(self.room.random.as_ref());
            let normal = vault::normalise_spoken(&text);
            let Some(vault::Spoken::Recovery(normal)) = normal else {
                return Err(Error::broken("a recovery code has not its form"));
            };
            let hash = self.room.root.hash_token(RECOVERY, &normal);
            let id = self.store.new_id().await?;
            batch.insert_recovery_code(id, user, hash, pending_for, now);
            texts.push(text.to_string());
        }
        Ok(texts)
    }

    /// Makes a fresh set for a user; the old one is void.
    ///
    /// # Errors
    /// [`Error::UserNotFound`].
    pub async fn renew_recovery_codes(
        &self,
        context: &Context,
        user: &UserName,
        shown: &RawValue,
    ) -> Result<Reply<RecoveryCodes>, Error> {
        self.once(context, move |turn| async move {
            let id = self.store.user_by_name(user).await?;
            let id = id.ok_or(Error::UserNotFound)?;
            let now = self.store.now().await?;
            let mut batch = Batch::new();
            let codes = self.make_recovery_codes(&mut batch, id, None, now).await?;
            let event = Event::new(Action::RecoveryCodesCreated, true, &context.origin())
                .about_user(id, user.canonical())
                .with(&json!({ "count": codes.len() }));
            batch.record(event);
            let answer = RecoveryCodes {
                user_id: shown.to_owned(),
                recovery_codes: codes,
            };
            match turn.commit(batch, now, &answer, Kept::Secret).await? {
                Ok(()) => Ok(answer),
                // The user has been erased in between.
                Err(_) => Err(Error::UserNotFound),
            }
        })
        .await
    }

    /// Judges a recovery code or a pass of a user, while codes are locked, too: a right
    /// one opens the lock. A wrong one is an answer.
    ///
    /// # Errors
    /// [`Error::UserNotFound`], [`Error::Locked`] after too many tries in an hour, and
    /// [`Error::Unavailable`] when the outcome is not known.
    pub async fn verify_recovery(
        &self,
        context: &Context,
        user: UserName,
        text: &SpokenText,
        wanted: Option<&Wanted>,
    ) -> Result<RecoveryVerified, Error> {
        let ask = Ask::Spoken(self.spoken(text));
        let answer = self
            .judged(context, Subject::User(user.clone()), ask)
            .await?;
        Ok(RecoveryVerified {
            standing: standing(&answer)?,
            assertion: self.vouch(context, wanted, &user, (&ask, &answer)).await?,
            replayed: answer.replayed,
        })
    }

    /// The text as the judge compares it.
    pub(crate) fn spoken(&self, text: &SpokenText) -> Spoken {
        let root = &self.room.root;
        match &text.0 {
            vault::Spoken::Recovery(text) => Spoken::Recovery(root.hash_token(RECOVERY, text)),
            vault::Spoken::Pass(text) => Spoken::Pass(root.hash_token(PASS, text)),
        }
    }
}

fn standing(answer: &Answer) -> Result<RecoveryStanding, Error> {
    match answer.verdict {
        Verdict::Proven(proof) => Ok(RecoveryStanding::Verified {
            method: proof.method.as_str(),
            remaining: proof.left.unwrap_or(0),
            uses_left: proof.uses_left,
        }),
        Verdict::Rejected => Ok(RecoveryStanding::Rejected),
        Verdict::Locked => Err(locked(answer)),
        Verdict::Unknown => Err(told(answer, Error::UserNotFound)),
        _ => Err(Error::broken("a code's verdict about a recovery code")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_the_members_of_the_contract() {
        fn check(standing: RecoveryStanding, replayed: bool, expected: &str) {
            let answer = RecoveryVerified {
                standing,
                assertion: None,
                replayed,
            };
            assert_eq!(serde_json::to_string(&answer).unwrap(), expected);
        }
        let verified = |method, uses_left| RecoveryStanding::Verified {
            method,
            remaining: 9,
            uses_left,
        };
        let text = r#"{"status":"verified","method":"recovery","remaining":9}"#;
        check(verified("recovery", None), false, text);
        let text = r#"{"status":"verified","method":"pass","remaining":9,"uses_left":0}"#;
        check(verified("pass", Some(0)), false, text);
        let text = r#"{"status":"rejected","replayed":true}"#;
        check(RecoveryStanding::Rejected, true, text);
    }
}
