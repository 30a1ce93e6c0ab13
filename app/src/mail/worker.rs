//! The postman: hands waiting mails over in the background, each by one node at a time.
//!
//! A mail stands in the database from the batch that made its code until it was handed
//! over or given up. Whoever takes it moves its next try on first: nobody else takes it
//! meanwhile, and if the process dies then, the mail is tried again after that time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::{Action, Event, Origin, Time};
use serde_json::{Value, json};
use store::{Batch, StoreError, StoredMail};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::retry::next_try;
use super::transport::{Post, PostError};
use crate::{App, Error};

/// Other nodes post mails too, and a try may be due again.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Looks after which the number of waiting mails is read anew.
const COUNT_EVERY: u32 = 10;
/// Mails that are sent at once, each over a connection of its own.
const AT_ONCE: usize = 8;
/// Mails looked at in one go; those whose time is over need no connection.
const SLICE: i64 = 100;
/// How much longer than one try may last a mail is kept from others.
const MARGIN_MS: i64 = 10_000;
/// What a mail that is being sent is given when the server stops.
const LAST_MOMENTS: Duration = Duration::from_secs(5);
/// A mail that has waited for longer is a sign that none gets out.
const LONG_WAIT_MS: i64 = 60_000;

/// The way out for mail and how it goes there.
#[derive(Default)]
pub(crate) struct Mailroom {
    /// There in a server that has started.
    post: Option<Post>,
    wake: Notify,
    /// Why the last try found no server that takes mail, in a sentence for anybody.
    trouble: Mutex<Option<&'static str>>,
}

impl Mailroom {
    /// A mailroom with that way out.
    pub(crate) fn with(post: Post) -> Self {
        Self {
            post: Some(post),
            ..Self::default()
        }
    }

    /// Has the waiting mails looked at now.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// What the last tries tell of trouble: a sentence without names and secrets.
    pub(crate) fn trouble(&self) -> Option<&'static str> {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes what was left of mails to that address.
    pub(crate) async fn forget(&self, address: &str) -> Result<(), PostError> {
        match &self.post {
            Some(post) => post.forget(address).await,
            None => Ok(()),
        }
    }

    fn note(&self, result: &Result<(), PostError>) {
        // Refused for good: the server works, and says that there is no such addressee.
        // Anybody may ask for a code to an address that is none.
        let trouble = result.as_ref().err().filter(|error| error.can_retry());
        let trouble = trouble.map(PostError::sentence);
        let mut kept = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *kept, trouble);
        drop(kept);
        match (before, trouble, result) {
            (None, Some(_), Err(error)) => tracing::warn!(%error, "mail does not go out"),
            (Some(_), None, _) => tracing::info!("mail goes out again"),
            (_, _, Err(error)) => tracing::debug!(%error, "a mail was not handed over"),
            _ => {}
        }
    }
}

impl App {
    /// Hands mails over until the token is cancelled; then those on their way are waited
    /// for, but not for long: they are tried again after the next start.
    pub(crate) async fn run_mail(self: Arc<Self>, stop: CancellationToken) {
        let mut sending = JoinSet::new();
        let mut looks: u32 = 0;
        let mut reachable = true;
        while !stop.is_cancelled() {
            let found = self.take_due(AT_ONCE - sending.len()).await;
            match &found {
                Err(error) if reachable => {
                    tracing::warn!(%error, "waiting mails cannot be looked at");
                }
                _ => {}
            }
            reachable = found.is_ok();
            for mail in found.unwrap_or_default() {
                let app = Arc::clone(&self);
                sending.spawn(async move { app.hand_over(mail).await });
            }
            if looks.is_multiple_of(COUNT_EVERY) {
                self.count_waiting().await;
            }
            looks = looks.wrapping_add(1);
            let full = sending.len() >= AT_ONCE;
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.mailroom.wake.notified(), if !full => {}
                Some(_) = sending.join_next() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
        let rest = async { while sending.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_MOMENTS, rest).await.is_err() {
            tracing::warn!("mails on their way were given up and will be sent after the start");
        }
    }

    /// Hands over what is due now, one after the other, and waits for it; how many mails
    /// were tried. The server does so by itself.
    ///
    /// # Errors
    /// When the waiting mails cannot be read.
    pub async fn deliver_mails(&self) -> Result<usize, Error> {
        let mut tried = 0;
        loop {
            let taken = self.take_due(AT_ONCE).await?;
            if taken.is_empty() {
                self.count_waiting().await;
                return Ok(tried);
            }
            tried += taken.len();
            for mail in taken {
                self.hand_over(mail).await;
            }
        }
    }

    /// Why mail does not get out, as far as can be told: a sentence for anybody.
    pub(crate) async fn mail_trouble(&self) -> Option<&'static str> {
        let now = self.store.now().await;
        let waiting = self.store.waiting_mails().await;
        let late = match (now, waiting) {
            (Ok(now), Ok((_, Some(oldest)))) => now.since(oldest) > LONG_WAIT_MS,
            _ => false,
        };
        let late = late.then_some("A mail has been waiting for more than a minute.");
        self.mailroom.trouble().or(late)
    }

    async fn count_waiting(&self) {
        if let Ok((count, _)) = self.store.waiting_mails().await {
            self.metrics.mail.waiting.set(count);
        }
    }

    /// Takes some of the due mails from all other nodes, and gives up those that nobody
    /// wants any more.
    async fn take_due(&self, most: usize) -> Result<Vec<StoredMail>, Error> {
        let mut taken = Vec::new();
        if most == 0 {
            return Ok(taken);
        }
        loop {
            let now = self.store.now().await?;
            let due = self.store.due_mails(now, SLICE).await?;
            let (over, due): (Vec<_>, Vec<_>) =
                due.into_iter().partition(|mail| mail.expires_at <= now);
            for mail in &over {
                self.give_up(mail, "expired").await?;
            }
            for mail in due.into_iter().take(most) {
                match self.take(mail, now).await {
                    Ok(mail) => taken.extend(mail),
                    // What was taken already is sent all the same.
                    Err(_) if !taken.is_empty() => break,
                    Err(error) => return Err(error),
                }
            }
            if over.is_empty() || !taken.is_empty() {
                return Ok(taken);
            }
        }
    }

    /// `None` when another node was faster.
    async fn take(&self, mail: StoredMail, now: Time) -> Result<Option<StoredMail>, Error> {
        let timeout = self.settings.mail.timeout.as_millis();
        let timeout = i64::try_from(timeout).unwrap_or(i64::MAX);
        let until = now.plus_millis(timeout.saturating_add(MARGIN_MS));
        let mut batch = Batch::new();
        batch.take_mail(mail.id, mail.next_try, until);
        match self.store.commit(batch).await {
            Ok(_) => Ok(Some(StoredMail {
                next_try: until,
                tries: mail.tries + 1,
                ..mail
            })),
            Err(StoreError::Refused(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn hand_over(&self, mail: StoredMail) {
        let done = match (self.letter(&mail), &self.mailroom.post) {
            (Ok(letter), Some(post)) => {
                let result = post.send(&letter).await;
                self.mailroom.note(&result);
                match result {
                    Ok(()) => self.handed_over(&mail).await,
                    Err(error) => self.not_handed_over(&mail, &error).await,
                }
            }
            (Ok(_), None) => Err(Error::broken("no way out for mail")),
            (Err(error), _) => {
                tracing::error!(mail = mail.id, %error, "a waiting mail cannot be read");
                self.give_up(&mail, "unreadable").await
            }
        };
        if let Err(error) = done {
            // It stays taken for a while; then it is tried again.
            tracing::warn!(mail = mail.id, %error, "what became of a mail cannot be noted");
        }
    }

    async fn handed_over(&self, mail: &StoredMail) -> Result<(), Error> {
        self.metrics.mail.sent.inc();
        let mut batch = Batch::new();
        batch.remove_mail(mail.id);
        self.store.commit(batch).await?;
        Ok(())
    }

    async fn not_handed_over(&self, mail: &StoredMail, error: &PostError) -> Result<(), Error> {
        if !error.can_retry() {
            return self.give_up(mail, "refused").await;
        }
        let now = self.store.now().await?;
        let tries = u32::try_from(mail.tries).unwrap_or(u32::MAX);
        let mut random = [0; 8];
        self.room.random.fill(&mut random);
        let next = next_try(tries, now, mail.expires_at, u64::from_le_bytes(random));
        let Some(next) = next else {
            return self.give_up(mail, "expired").await;
        };
        self.metrics.mail.deferred.inc();
        let mut batch = Batch::new();
        batch.postpone_mail(mail.id, mail.next_try, next);
        // Once for each mail: a server that is away for long does not fill the log.
        if mail.tries == 1 {
            let detail = json!({ "reason": error.word() });
            batch.record(self.mail_event(mail, Action::MailDeferred, &detail));
        }
        self.commit_unless_gone(batch).await.map(drop)
    }

    /// What became of a mail. The address is not in the record but as the name of the
    /// user, who can be erased.
    fn mail_event(&self, mail: &StoredMail, action: Action, detail: &Value) -> Event {
        let origin = Origin {
            caller: "server".into(),
            ..Origin::default()
        };
        let mut event = Event::new(action, false, &origin).with(detail);
        event.user = mail.user;
        match (mail.user, self.addressee(mail)) {
            (Some(user), Some(to)) => event.about_user(user, to.user_name().canonical()),
            _ => event,
        }
    }

    /// Removes a mail that will not be sent, and records it.
    async fn give_up(&self, mail: &StoredMail, reason: &'static str) -> Result<(), Error> {
        let detail = json!({ "reason": reason, "tries": mail.tries });
        let event = self.mail_event(mail, Action::MailFailed, &detail);
        let mut batch = Batch::new();
        // Only who holds it may: so two nodes do not both record it.
        batch.take_mail(mail.id, mail.next_try, mail.next_try.plus_millis(1));
        batch.remove_mail(mail.id);
        batch.record(event);
        batch.count("mail_failed");
        if self.commit_unless_gone(batch).await? {
            self.metrics.mail.failed.inc();
            tracing::warn!(mail = mail.id, reason, "a mail was given up");
        }
        Ok(())
    }

    /// False when somebody else has the mail now, or it was erased with its user.
    async fn commit_unless_gone(&self, batch: Batch) -> Result<bool, Error> {
        match self.store.commit(batch).await {
            Ok(_) => Ok(true),
            Err(StoreError::Refused(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_that_takes_no_mail_is_trouble() {
        fn check(results: &[Result<(), PostError>], content: bool) {
            let room = Mailroom::default();
            for result in results {
                room.note(result);
            }
            assert_eq!(room.trouble().is_none(), content, "{results:?}");
        }
        let refused = || Err(PostError::Refused(550));
        check(&[refused(), refused(), refused(), refused()], true);
        check(&[Err(PostError::NeedsUtf8)], true);
        check(&[Err(PostError::Deferred(450))], false);
        check(&[Err(PostError::Login(535))], false);
        check(&[Err(PostError::Unusable("away".into()))], false);
        check(&[Err(PostError::Unusable("away".into())), Ok(())], true);
        check(&[Err(PostError::Unusable("away".into())), refused()], true);
        check(
            &[refused(), Err(PostError::Slow(Duration::from_secs(1)))],
            false,
        );
    }
}
