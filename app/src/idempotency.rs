//! Retry-safe calls: the first answer of a management call is committed with its change and given again.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use domain::Time;
use domain::verify::{Ask, Verdict};
use serde::Serialize;
use serde_json::value::RawValue;
use store::{Batch, Refusal, StoreError, Ticket};

use crate::context::Context;
use crate::{App, Error};

/// What web knows of a request that carries an `Idempotency-Key`.
#[derive(Clone, Debug)]
pub struct Repeatable {
    /// The header's value, 1 to 64 characters.
    pub header: String,
    /// Method and path.
    pub route: String,
    /// What stood after the `?`; empty for nothing.
    pub query: String,
    /// The body as received.
    pub body: Vec<u8>,
}

/// An answer made just now, or the kept one of an earlier request.
pub enum Reply<T> {
    /// Made just now.
    Fresh(T),
    /// Kept: the JSON of the same type.
    Replayed(Box<RawValue>),
}

/// How long an answer is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// 24 hours.
    Plain,
    /// 10 minutes, for answers with a secret.
    Secret,
}

const PLAIN_MS: i64 = 24 * 3_600_000;
const SECRET_MS: i64 = 10 * 60_000;
/// Answers to verifications.
const VERIFICATION_MS: i64 = 60_000;

/// Ids whose first request is being worked on in this process.
#[derive(Default)]
pub(crate) struct Running(Mutex<HashSet<[u8; 32]>>);

/// One request's turn at a change: with a key, its answer is committed with it.
#[derive(Clone, Copy)]
pub(crate) struct Turn<'a> {
    app: &'a App,
    key: Option<Key<'a>>,
}

#[derive(Clone, Copy)]
struct Key<'a> {
    header: &'a str,
    id: [u8; 32],
    fingerprint: [u8; 32],
}

/// Keeps others with the same key waiting as long as it lives.
struct Alone<'a> {
    running: &'a Running,
    id: [u8; 32],
}

impl<'a> Alone<'a> {
    fn take(running: &'a Running, id: [u8; 32]) -> Result<Self, Error> {
        if lock(running).insert(id) {
            Ok(Self { running, id })
        } else {
            Err(Error::IdempotencyRunning)
        }
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        lock(self.running).remove(&self.id);
    }
}

fn lock(running: &Running) -> std::sync::MutexGuard<'_, HashSet<[u8; 32]>> {
    running.0.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stored<'a> {
    #[serde(borrow)]
    Answer(&'a RawValue),
    Error(&'a str),
}

impl App {
    /// Runs `operation` at most once per idempotency key. The operation gets its turn
    /// and commits through it.
    pub(crate) async fn once<'a, T, F, Fut>(
        &'a self,
        context: &'a Context,
        operation: F,
    ) -> Result<Reply<T>, Error>
    where
        T: Serialize,
        F: Fn(Turn<'a>) -> Fut,
        Fut: Future<Output = Result<T, Error>>,
    {
        // A second round only when another node kept an answer in between.
        for _ in 0..2 {
            let (turn, _alone) = match self.begin(context).await? {
                Begun::Replay(kept) => return kept,
                Begun::Turn(turn, alone) => (turn, alone),
            };
            match operation(turn).await {
                Ok(answer) => return Ok(Reply::Fresh(answer)),
                Err(Error::IdempotencyRunning) => {}
                Err(error) => match turn.keep_error(error).await {
                    Error::IdempotencyRunning => {}
                    error => return Err(error),
                },
            }
        }
        Err(Error::IdempotencyRunning)
    }

    async fn begin<'a, T>(&'a self, context: &'a Context) -> Result<Begun<'a, T>, Error> {
        let Some(repeatable) = &context.repeatable else {
            return Ok(Begun::Turn(Turn::free(self), None));
        };
        let (id, fingerprint) = self.hashes(context, repeatable);
        let alone = Alone::take(&self.running, id)?;
        let turn = Turn {
            app: self,
            key: Some(Key {
                header: &repeatable.header,
                id,
                fingerprint,
            }),
        };
        let now = self.store.now().await?;
        let Some(kept) = self.store.kept_answer(&id, now).await? else {
            return Ok(Begun::Turn(turn, Some(alone)));
        };
        if kept.fingerprint != fingerprint {
            return Err(Error::IdempotencyReused);
        }
        // What is told again may stand in a commit that nobody was told of, since its outcome was
        // not known.
        let mut batch = Batch::new();
        batch.confirm_answer(id, kept.answer.clone());
        match self.store.confirm(batch).await {
            Ok(()) => {}
            // It was swept in between, or it is lost with a server from which we have read. Then
            // nothing else is judged by what was read there.
            Err(StoreError::Refused(_)) => return Err(StoreError::Unavailable(None).into()),
            Err(error) => return Err(error.into()),
        }
        let root = &self.room.root;
        let plain = root.open_answer(&repeatable.header, &id, &kept.answer)?;
        let stored: Stored<'_> = serde_json::from_slice(&plain)?;
        Ok(Begun::Replay(match stored {
            Stored::Answer(answer) => Ok(Reply::Replayed(answer.to_owned())),
            Stored::Error(code) => Err(Error::Replayed(Box::new(from_code(code)?))),
        }))
    }

    fn hashes(&self, context: &Context, repeatable: &Repeatable) -> ([u8; 32], [u8; 32]) {
        let root = &self.room.root;
        let caller = context.caller.identity();
        let id = root.idempotency_id(&caller, &repeatable.route, &repeatable.header);
        let query = [repeatable.query.as_bytes()];
        // Without a query the fingerprint is the one of a release that knew none.
        let query: &[&[u8]] = match repeatable.query.as_str() {
            "" => &[],
            _ => &query,
        };
        (id, root.idempotency_fingerprint(&repeatable.body, query))
    }

    /// What a lane needs to give an attempt's first answer again.
    /// A verification's is kept for a minute, any other's for a day.
    pub(crate) fn ticket(&self, context: &Context, ask: &Ask) -> Option<Ticket> {
        let repeatable = context.repeatable.as_ref()?;
        let (id, fingerprint) = self.hashes(context, repeatable);
        Some(Ticket {
            id,
            fingerprint,
            lives_ms: match ask {
                Ask::Confirm(_) | Ask::Resynchronise(..) | Ask::Explain(_) => PLAIN_MS,
                _ => VERIFICATION_MS,
            },
            keeps: match ask {
                // Here a wrong code is an error, and so is a lock.
                Ask::IssuedOrAuthenticator(_) => |verdict| {
                    matches!(
                        verdict,
                        Verdict::Proven(_) | Verdict::NoFactor | Verdict::Unknown
                    )
                },
                Ask::Spoken(_) => |verdict| *verdict != Verdict::Locked,
                _ => |_| true,
            },
        })
    }
}

enum Begun<'a, T> {
    Turn(Turn<'a>, Option<Alone<'a>>),
    Replay(Result<Reply<T>, Error>),
}

impl<'a> Turn<'a> {
    /// The turn of a change that nobody can ask for twice.
    pub(crate) fn free(app: &'a App) -> Self {
        Self { app, key: None }
    }

    /// Commits the batch and, with it, the answer.
    pub(crate) async fn commit<T: Serialize>(
        &self,
        mut batch: Batch,
        now: Time,
        answer: &T,
        kept: Kept,
    ) -> Result<Result<(), Refusal>, Error> {
        if self.key.is_some() {
            let json = serde_json::value::to_raw_value(answer)?;
            let lives = match kept {
                Kept::Plain => PLAIN_MS,
                Kept::Secret => SECRET_MS,
            };
            self.keep(&mut batch, &Stored::Answer(&json), now, lives)?;
        }
        match self.app.store.commit(batch).await {
            Ok(_) => Ok(Ok(())),
            Err(StoreError::Refused(Refusal::IdempotencyTaken)) => Err(Error::IdempotencyRunning),
            Err(StoreError::Refused(refusal)) => Ok(Err(refusal)),
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps "not found" and "conflict": they are answers too. Gives the error back, or
    /// [`Error::IdempotencyRunning`] when an answer was kept in between: then it may be
    /// that very request, done at another node, that this one has met.
    async fn keep_error(&self, error: Error) -> Error {
        let Some(code) = kept_code(&error).filter(|_| self.key.is_some()) else {
            return error;
        };
        match self.try_keep_error(code).await {
            Ok(()) => error,
            Err(other) => other,
        }
    }

    async fn try_keep_error(&self, code: &'static str) -> Result<(), Error> {
        let now = self.app.store.now().await?;
        let mut batch = Batch::new();
        self.keep(&mut batch, &Stored::Error(code), now, PLAIN_MS)?;
        match self.app.store.commit(batch).await {
            Err(StoreError::Refused(Refusal::IdempotencyTaken)) => Err(Error::IdempotencyRunning),
            Ok(_) | Err(StoreError::Refused(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn keep(
        &self,
        batch: &mut Batch,
        stored: &Stored<'_>,
        now: Time,
        lives_ms: i64,
    ) -> Result<(), Error> {
        let Some(key) = &self.key else {
            return Ok(());
        };
        let plain = zeroize::Zeroizing::new(serde_json::to_vec(stored)?);
        let room = &self.app.room;
        let sealed = room
            .root
            .seal_answer(key.header, &key.id, &plain, room.random.as_ref());
        let expires_at = now.plus_millis(lives_ms);
        batch.keep_answer(key.id, key.fingerprint, sealed, now, expires_at);
        Ok(())
    }
}

type KeptError = (&'static str, fn() -> Error);

/// The errors that are kept, with the words they are kept under.
const KEPT_ERRORS: [KeptError; 11] = [
    ("device_not_found", || Error::DeviceNotFound),
    ("device_exists", || Error::DeviceExists),
    ("device_not_pending", || Error::DeviceNotPending),
    ("too_many_devices", || Error::TooManyDevices),
    ("user_not_found", || Error::UserNotFound),
    ("two_factor_not_enabled", || Error::TwoFactorNotEnabled),
    ("no_active_device", || Error::NoActiveDevice),
    ("otp_enabled", || Error::OtpEnabled),
    ("key_not_found", || Error::KeyNotFound),
    ("not_a_test_device", || Error::NotATestDevice),
    ("audit_broken", || Error::AuditBroken),
];

fn kept_code(error: &Error) -> Option<&'static str> {
    let same = std::mem::discriminant(error);
    KEPT_ERRORS
        .iter()
        .find(|(_, make)| std::mem::discriminant(&make()) == same)
        .map(|(code, _)| *code)
}

fn from_code(code: &str) -> Result<Error, Error> {
    KEPT_ERRORS
        .iter()
        .find(|(known, _)| *known == code)
        .map(|(_, make)| make())
        .ok_or_else(|| Error::broken("a kept answer is not readable"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kept_error_is_found_again_by_its_word() {
        for (code, make) in KEPT_ERRORS {
            assert_eq!(kept_code(&make()), Some(code));
            let again = from_code(code).unwrap();
            assert_eq!(kept_code(&again), Some(code));
        }
        assert_eq!(kept_code(&Error::Busy), None);
        assert!(from_code("busy").is_err());
    }
}
