//! A mail that waits: the parts of its letter, sealed, so that the database holds neither code nor address in plain.

use std::time::Duration;

use domain::{EmailAddress, EmailError, Time, UserId};
use serde::{Deserialize, Serialize};
use store::{Batch, StoredMail};
use vault::OpenError;
use zeroize::Zeroizing;

use super::letter::{CodeLetter, Letter, LetterError};
use crate::{App, Error};

/// More than the parts take, so that no growing buffer leaves a code behind in memory.
const ROOM: usize = 4096;

/// A code on its way to an address.
pub(crate) struct CodeMail<'a> {
    /// The user behind the address.
    pub user: UserId,
    /// Who gets it.
    pub to: &'a EmailAddress,
    /// The code, in ASCII digits.
    pub code: &'a str,
    /// From now to then it can be used; after that nobody wants the mail.
    pub lifetime: Duration,
    /// When it is posted.
    pub now: Time,
}

/// What is sealed. Each try composes the same letter of it.
#[derive(Serialize, Deserialize)]
struct Parts<'a> {
    to: String,
    // Digits have no escapes, so the code stays in the buffer, which is wiped.
    code: &'a str,
    issuer: String,
    lifetime_seconds: u64,
    written_at_ms: i64,
    id: [u8; 16],
}

/// Why a waiting mail cannot be read. Nothing of the mail is in the message.
#[derive(Debug, thiserror::Error)]
pub(super) enum SealedError {
    #[error("its seal does not open")]
    Seal(#[from] OpenError),
    #[error("its content is not what this server wrote")]
    Content,
    #[error(transparent)]
    Letter(#[from] LetterError),
}

impl From<serde_json::Error> for SealedError {
    /// The cause may repeat the content, and this is logged.
    fn from(_: serde_json::Error) -> Self {
        Self::Content
    }
}

impl From<EmailError> for SealedError {
    fn from(_: EmailError) -> Self {
        Self::Content
    }
}

impl App {
    /// Posts the mail with the batch: it is sent once the batch is committed, soon when
    /// [`super::Mailroom::wake`] is called.
    pub(crate) async fn post_code(
        &self,
        batch: &mut Batch,
        mail: &CodeMail<'_>,
    ) -> Result<(), Error> {
        let id = self.store.new_id().await?;
        let mut message_id = [0; 16];
        self.room.random.fill(&mut message_id);
        let parts = Parts {
            to: mail.to.canonical().to_owned(),
            code: mail.code,
            issuer: self.settings.issuer.clone(),
            lifetime_seconds: mail.lifetime.as_secs(),
            written_at_ms: mail.now.millis(),
            id: message_id,
        };
        let mut plain = Zeroizing::new(Vec::with_capacity(ROOM));
        serde_json::to_writer(&mut *plain, &parts)?;
        let random = self.room.random.as_ref();
        let lifetime = i64::try_from(mail.lifetime.as_millis()).unwrap_or(i64::MAX);
        batch.post_mail(&StoredMail {
            id,
            user: Some(mail.user),
            sealed: self.room.root.seal_mail(id, &plain, random),
            created_at: mail.now,
            expires_at: mail.now.plus_millis(lifetime),
            next_try: mail.now,
            tries: 0,
        });
        Ok(())
    }

    /// The letter of a waiting mail.
    pub(super) fn letter(&self, mail: &StoredMail) -> Result<Letter, SealedError> {
        let plain = self.room.root.open_mail(mail.id, &mail.sealed)?;
        let parts: Parts<'_> = serde_json::from_slice(&plain)?;
        let to = EmailAddress::parse(&parts.to)?;
        Ok(Letter::with_code(&CodeLetter {
            from: &self.settings.mail.from,
            to: &to,
            issuer: &parts.issuer,
            code: parts.code,
            lifetime: Duration::from_secs(parts.lifetime_seconds),
            now: Time::from_millis(parts.written_at_ms),
            id: parts.id,
        })?)
    }

    /// To whom a waiting mail goes; `None` when it cannot be read.
    pub(super) fn addressee(&self, mail: &StoredMail) -> Option<EmailAddress> {
        let plain = self.room.root.open_mail(mail.id, &mail.sealed).ok()?;
        let parts: Parts<'_> = serde_json::from_slice(&plain).ok()?;
        EmailAddress::parse(&parts.to).ok()
    }
}
