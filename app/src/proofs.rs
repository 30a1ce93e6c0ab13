//! Tokens that a person holds between two steps: a login that waits, an enrolment to be confirmed.
//!
//! A token is `<challenge>.<secret>`: the number finds the row, the secret of 256 random
//! bits proves the right to it. Only its keyed hash is stored, under the name of its use,
//! so that no token stands in for one of another use.

use domain::{ChallengeId, ChallengeKind};
use store::StoredChallenge;
use vault::{same_hash, token_secret};

use crate::{App, Error};

/// The use of a token, which its hash is bound to.
#[derive(Clone, Copy)]
pub(crate) enum Use {
    /// A login that has passed its first step.
    Login,
    /// An enrolment that has not been confirmed.
    Enrolment,
}

impl Use {
    fn word(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Enrolment => "enrolment",
        }
    }

    fn kind(self) -> ChallengeKind {
        match self {
            Self::Login => ChallengeKind::Login,
            Self::Enrolment => ChallengeKind::Enrolment,
        }
    }
}

/// A token in the making.
pub(crate) struct NewToken {
    /// The challenge that it will belong to.
    pub id: ChallengeId,
    /// What is stored.
    pub hash: [u8; 32],
    /// What is handed out, once.
    pub text: String,
}

impl App {
    /// A token for a challenge that is about to be made.
    pub(crate) async fn new_token(&self, purpose: Use) -> Result<NewToken, Error> {
        let id = self.store.new_id().await?;
        let secret = token_secret(self.room.random.as_ref());
        Ok(NewToken {
            id: ChallengeId(id),
            hash: self.room.root.hash_token(purpose.word(), &secret),
            text: format!("{id}.{}", secret.as_str()),
        })
    }

    /// The challenge that a token names and the hash of its secret, not compared yet;
    /// `None` for a text that is no token.
    pub(crate) fn read_token(&self, purpose: Use, text: &str) -> Option<(ChallengeId, [u8; 32])> {
        let (id, secret) = text.split_once('.')?;
        let number = id.parse().ok().filter(|number: &i64| *number > 0)?;
        // One token has one text.
        let canonical = number.to_string() == id;
        let hash = self.room.root.hash_token(purpose.word(), secret);
        canonical.then_some((ChallengeId(number), hash))
    }

    /// The challenge behind a token of that use, whether it is live or not.
    pub(crate) async fn proven_challenge(
        &self,
        purpose: Use,
        text: &str,
    ) -> Result<Option<StoredChallenge>, Error> {
        let Some((id, hash)) = self.read_token(purpose, text) else {
            return Ok(None);
        };
        let found = self.store.challenge(id).await?;
        Ok(found.filter(|found| {
            let known = found.challenge.hash.as_ref();
            found.challenge.kind == purpose.kind() && known.is_some_and(|it| same_hash(it, &hash))
        }))
    }
}
