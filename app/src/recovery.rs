//! Recovery codes: made in sets of ten, shown once; and the verification of what people write down or read out.

use domain::verify::Spoken;
use domain::{DeviceId, Time, UserId};
use store::Batch;

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

    /// The text as the judge compares it.
    pub(crate) fn spoken(&self, text: &SpokenText) -> Spoken {
        let root = &self.room.root;
        match &text.0 {
            vault::Spoken::Recovery(text) => Spoken::Recovery(root.hash_token(RECOVERY, text)),
            vault::Spoken::Pass(text) => Spoken::Pass(root.hash_token(PASS, text)),
        }
    }
}
