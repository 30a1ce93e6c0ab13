//! The root administrator: made at the first start, made anew by whoever has the server's machine.

use std::sync::{MutexGuard, PoisonError};

use domain::{Action, ChallengeKind, Event, Time, UserId, UserName};
use store::{Batch, StoreError};
use zeroize::Zeroizing;

use crate::audit::AuditQuery;
use crate::context::Context;
use crate::enrolment::Enrolling;
use crate::passwords::Password;
use crate::{App, Error, FirstKey};

/// The name of the root administrator.
pub(crate) const ROOT: &str = "root";
/// Characters of the password: 144 random bits.
const PASSWORD_LENGTH: usize = 24;

/// Pages of events that one look for a login of root reads at most; the next round of the
/// jobs looks again.
const PAGES: usize = 20;

/// Which logins of root are of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootLogins {
    /// Those at this node, from now on.
    Here,
    /// Any, at whatever node and however long ago.
    Ever,
}

/// Called when root logs in, or is found to have: true when that was the last time.
pub(crate) struct RootHook {
    logins: RootLogins,
    call: Box<dyn Fn() -> bool + Send>,
}

/// A root administrator that is not in force yet: whoever gives this away does so before
/// it is stored.
pub struct NewRoot {
    password: Zeroizing<String>,
    provisioning_uri: Zeroizing<String>,
    recovery_codes: Vec<String>,
    batch: Batch,
}

impl NewRoot {
    /// The name to log in with.
    pub fn name(&self) -> &'static str {
        ROOT
    }

    /// The password.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// For the authenticator app.
    pub fn provisioning_uri(&self) -> &str {
        &self.provisioning_uri
    }

    /// Ten codes, each good for one use when the phone is lost.
    pub fn recovery_codes(&self) -> &[String] {
        &self.recovery_codes
    }
}

/// What the first start gives away, once.
pub struct FirstStart {
    /// The first API key.
    pub key: FirstKey,
    /// The root administrator; `None` when somebody has that name already.
    pub root: Option<NewRoot>,
}

impl App {
    /// What a new database begins with, not yet in force. `None` when it has begun.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn prepare_first_start(
        &self,
        context: &Context,
    ) -> Result<Option<FirstStart>, Error> {
        let Some(key) = self.prepare_first_key(context).await? else {
            return Ok(None);
        };
        let name = root_name()?;
        let root = match self.store.user_by_name(&name).await? {
            Some(_) => None,
            None => Some(self.prepare_root(context).await?),
        };
        Ok(Some(FirstStart { key, root }))
    }

    /// Puts it in force; false when another node was faster.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn store_first_start(
        &self,
        context: &Context,
        first: FirstStart,
    ) -> Result<bool, Error> {
        let mut batch = first.root.map(|root| root.batch).unwrap_or_default();
        first.key.put_into(&mut batch, context);
        self.stored(batch).await
    }

    /// A root administrator with a new password and a new second factor, in the place of
    /// one that there may be.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn prepare_root(&self, context: &Context) -> Result<NewRoot, Error> {
        let name = root_name()?;
        let mut password = vault::token_secret(self.room.random.as_ref());
        password.truncate(PASSWORD_LENGTH);
        let hash = self.hash_password(Password::new(password.to_string()));
        let hash = hash.await?;
        let now = self.store.now().await?;
        let mut batch = Batch::new();
        let user = match self.store.user_by_name(&name).await? {
            Some(user) => {
                self.clear_root(&mut batch, user, now).await?;
                user
            }
            None => {
                let user = UserId(self.store.new_id().await?);
                batch.make_user(user, &name, now);
                user
            }
        };
        batch.make_account(user, ROOT, &hash, now);
        let enrolling = Enrolling::at_signup(user, &name, name.canonical());
        let enrolled = self.enrol(&mut batch, context, &enrolling, now).await?;
        let event = Event::new(Action::RootCreated, true, &context.origin());
        batch.record(event.about_user(user, name.canonical()));
        Ok(NewRoot {
            password,
            provisioning_uri: Zeroizing::new(enrolled.provisioning_uri),
            recovery_codes: enrolled.recovery_codes,
            batch,
        })
    }

    /// Puts a new root administrator in force; false when the world has moved since it
    /// was prepared.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn store_root(&self, root: NewRoot) -> Result<bool, Error> {
        self.stored(root.batch).await
    }

    async fn stored(&self, batch: Batch) -> Result<bool, Error> {
        match self.store.commit(batch).await {
            Ok(_) => Ok(true),
            Err(StoreError::Refused(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Everything by which the one before could log in.
    async fn clear_root(&self, batch: &mut Batch, user: UserId, now: Time) -> Result<(), Error> {
        batch.open_guard(user);
        for device in self.store.devices_of(user).await? {
            batch.delete_device(device.device.id, user);
        }
        batch.delete_recovery_codes(user);
        for kind in ChallengeKind::ALL {
            batch.clear_challenges(user, kind);
        }
        self.end_all_sessions(batch, user, now);
        if self.store.account(&root_name()?).await?.is_some() {
            batch.delete_account(user);
        }
        Ok(())
    }

    /// Has this called when root logs in here; with [`RootLogins::Ever`] also, by the next
    /// round of the jobs, when root has logged in already or at another node. It is
    /// called until it returns true.
    pub fn when_root_logs_in(&self, logins: RootLogins, call: impl Fn() -> bool + Send + 'static) {
        let call = Box::new(call);
        *self.hook() = Some(RootHook { logins, call });
    }

    /// Told of each session that is opened.
    pub(crate) fn logged_in(&self, name: &UserName) {
        if name.canonical() == ROOT {
            self.call_hook();
        }
    }

    /// A round of the job that finds out what happened at other nodes.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn look_for_root(&self) -> Result<(), Error> {
        let waits = |hook: &RootHook| hook.logins == RootLogins::Ever;
        let waits = self.hook().as_ref().is_some_and(waits);
        if waits && self.root_has_logged_in().await? {
            self.call_hook();
        }
        Ok(())
    }

    /// Whether root has ever logged in, at whatever node. Sessions tell it at once; when
    /// they are swept, the audit log still does.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn root_has_logged_in(&self) -> Result<bool, Error> {
        let name = root_name()?;
        let Some(user) = self.store.user_by_name(&name).await? else {
            return Ok(false);
        };
        if !self.store.sessions_of(user).await?.is_empty() {
            return Ok(true);
        }
        let mut query = AuditQuery {
            user: Some(name),
            // The first step of a login is recorded too, and is none.
            action: Some(Action::LoginSecondFactor),
            success: Some(true),
            limit: 1,
            ..AuditQuery::default()
        };
        for _ in 0..PAGES {
            let page = self.search_audit(&query).await?;
            if !page.data.is_empty() {
                return Ok(true);
            }
            if page.next_cursor.is_none() {
                break;
            }
            query.cursor = page.next_cursor;
        }
        Ok(false)
    }

    fn call_hook(&self) {
        let mut hook = self.hook();
        if hook.as_ref().is_some_and(|hook| (hook.call)()) {
            *hook = None;
        }
    }

    fn hook(&self) -> MutexGuard<'_, Option<RootHook>> {
        self.root_hook
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn root_name() -> Result<UserName, Error> {
    UserName::parse(ROOT).map_err(|_| Error::broken("the name of root"))
}
