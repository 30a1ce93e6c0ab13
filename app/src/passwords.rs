//! Passwords: hashed in a small pool with a bounded queue, and checked in the same way for names that nobody has.

use std::sync::Arc;

use domain::{Action, Event, UserName};
use store::{Batch, StoredAccount};
use tokio::sync::Semaphore;
use vault::PasswordHasher;
use zeroize::Zeroizing;

use crate::context::Context;
use crate::limits::Source;
use crate::settings::{PasswordCost, Settings};
use crate::{App, Error};

/// Costs of a test's hashes: a block and an iteration.
const TEST_KIB: u32 = 8;
const TEST_ITERATIONS: u32 = 1;

/// A password as somebody typed it; wiped when it has been used.
pub struct Password(Zeroizing<String>);

impl Password {
    /// Any text; whether it may become somebody's password is another question.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

/// The pool. Each hash keeps one processor busy and takes 19 MiB, so only a few are
/// computed at once, a few more wait, and the rest is told to come again.
pub(crate) struct Passwords {
    hasher: Arc<PasswordHasher>,
    threads: Arc<Semaphore>,
    /// Those who work and those who wait.
    places: Arc<Semaphore>,
}

impl Passwords {
    pub(crate) fn new(settings: &Settings) -> Self {
        let hasher = match settings.password_cost {
            PasswordCost::Full => PasswordHasher::new(),
            PasswordCost::Test => PasswordHasher::with_parameters(TEST_KIB, TEST_ITERATIONS),
        };
        let threads = settings.accounts.password_threads.max(1);
        let places = threads + settings.accounts.password_queue;
        Self {
            hasher: Arc::new(hasher),
            threads: Arc::new(Semaphore::new(threads)),
            places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
        }
    }

    async fn work<T: Send + 'static>(
        &self,
        task: impl FnOnce(&PasswordHasher) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| Error::Busy)?;
        let thread = Arc::clone(&self.threads).acquire_owned().await;
        let thread = thread.map_err(|_| Error::Busy)?;
        let hasher = Arc::clone(&self.hasher);
        let done = tokio::task::spawn_blocking(move || {
            // Kept until the work is done, even if the client has gone meanwhile:
            // hanging up must not make room for more work than there are threads.
            let _kept = (place, thread);
            task(&hasher)
        });
        done.await.map_err(|error| Error::Internal(Box::new(error)))
    }
}

impl App {
    /// The hash of a new password, as it is stored.
    pub(crate) async fn hash_password(&self, password: Password) -> Result<String, Error> {
        let random = Arc::clone(&self.room.random);
        let hashed = self
            .passwords
            .work(move |hasher| hasher.hash(password.text(), random.as_ref()));
        hashed.await
    }

    /// The account of that name, if this is its password. For a name that nobody has,
    /// the same limits count, the same work is done and the same answer is given, and
    /// something is written too: neither answer nor time tell who has an account.
    ///
    /// # Errors
    /// [`Error::RateLimited`], [`Error::Busy`], [`Error::InvalidCredentials`].
    pub(crate) async fn check_account(
        &self,
        context: &Context,
        source: Source,
        name: &UserName,
        password: Password,
    ) -> Result<StoredAccount, Error> {
        self.admit_login(source, name).await?;
        let account = self.store.account(name).await?;
        let stored = account.as_ref().map(|account| account.password.clone());
        let compared = self.passwords.work(move |hasher| match stored {
            Some(stored) => hasher.verify(password.text(), &stored),
            None => {
                hasher.verify_nobody(password.text());
                false
            }
        });
        let right = compared.await?;
        match account {
            Some(account) if right => Ok(account),
            account => {
                self.record_wrong_password(context, source, account).await?;
                Err(Error::InvalidCredentials)
            }
        }
    }

    /// Somebody's account gets an event; a name that nobody has is part of its source's
    /// sum, since strangers could fill the log with names, and is counted in a commit
    /// that takes as long.
    async fn record_wrong_password(
        &self,
        context: &Context,
        source: Source,
        account: Option<StoredAccount>,
    ) -> Result<(), Error> {
        let mut batch = Batch::new();
        match account {
            Some(account) => {
                let event = Event::new(Action::Login, false, &context.origin());
                batch.record(event.about_user(account.user, &account.name));
            }
            None => {
                self.refusals.authentication_failed(source.name());
                batch.count("login_unknown");
            }
        }
        self.metrics.unauthenticated();
        self.store.commit(batch).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(threads: usize, queue: usize) -> Passwords {
        Passwords {
            hasher: Arc::new(PasswordHasher::with_parameters(TEST_KIB, TEST_ITERATIONS)),
            threads: Arc::new(Semaphore::new(threads)),
            places: Arc::new(Semaphore::new(threads + queue)),
        }
    }

    #[tokio::test]
    async fn so_many_work_so_many_wait_and_the_rest_is_sent_away() {
        let pool = Arc::new(pool(2, 3));
        let (release, held) = std::sync::mpsc::channel::<()>();
        let held = Arc::new(std::sync::Mutex::new(held));
        let work = || {
            let (pool, held) = (Arc::clone(&pool), Arc::clone(&held));
            async move {
                let wait = move |_: &PasswordHasher| {
                    held.lock().unwrap().recv().unwrap();
                };
                pool.work(wait).await
            }
        };
        let started: Vec<_> = (0..5).map(|_| tokio::spawn(work())).collect();
        while pool.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(matches!(work().await, Err(Error::Busy)));
        // One that hangs up keeps its thread until the work is done.
        started[0].abort();
        tokio::task::yield_now().await;
        assert_eq!(pool.threads.available_permits(), 0);
        for _ in 0..5 {
            release.send(()).unwrap();
        }
        for (number, task) in started.into_iter().enumerate() {
            assert_eq!(task.await.is_ok(), number > 0);
        }
        assert!(pool.work(|_| ()).await.is_ok());
    }
}
