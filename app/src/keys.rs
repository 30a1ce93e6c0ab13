//! API keys: made, listed, revoked.

use domain::api_key::{ApiKeyText, KeyId, KeySecret};
use domain::{Action, Event, Scopes, Time};
use serde::Serialize;
use serde_json::json;
use store::{Batch, StoreError, StoredKey};
use vault::Random;
use zeroize::Zeroizing;

use crate::context::Context;
use crate::idempotency::{Kept, Reply};
use crate::page::Page;
use crate::{App, Error};

/// A cursor before every id: ids are made of `a-z` and `2-7`.
const BEFORE_ALL: &str = "0";

/// A key to be made, checked at the edge.
pub struct NewKey {
    /// A name for people, 1 to 128 characters.
    pub name: String,
    /// What it may do.
    pub scopes: Scopes,
    /// Seconds until it is refused.
    pub expires_in: Option<u32>,
}

/// What the maker is told, once.
#[derive(Serialize)]
pub struct MadeKey {
    /// The public part.
    pub id: String,
    /// The whole credential: shown here and never again.
    pub key: String,
    /// A name for people.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<&'static str>,
    /// When it was made.
    pub created_at: String,
    /// From then on it is refused.
    pub expires_at: Option<String>,
}

/// What anybody with the right may see of a key.
#[derive(Serialize)]
pub struct KeyView {
    /// The public part; `env` for the key of the environment.
    pub id: String,
    /// A name for people.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<&'static str>,
    /// `active`, `expired`, `revoked`, or `env`: removed only by a restart without it.
    pub status: &'static str,
    /// Who made it.
    pub created_by: String,
    /// When it was made; `null` for the key of the environment.
    pub created_at: Option<String>,
    /// From then on it is refused.
    pub expires_at: Option<String>,
    /// Since then it is refused.
    pub revoked_at: Option<String>,
}

/// The answer to a revocation.
#[derive(Serialize)]
pub struct RevokedKey {
    /// The public part.
    pub id: String,
    /// Always true.
    pub revoked: bool,
}

/// A key on its way to its first owner.
pub struct FirstKey {
    stored: StoredKey,
    made: MadeKey,
}

impl FirstKey {
    /// The whole credential.
    pub fn text(&self) -> &str {
        &self.made.key
    }

    /// Puts it in force with that batch; refused when there is a first key already.
    pub(crate) fn put_into(&self, batch: &mut Batch, context: &Context) {
        batch.set_fact_once("first-key", &self.stored.id);
        batch.insert_key(&self.stored);
        batch.record(created(&self.stored, context));
    }
}

impl App {
    /// Makes a key with scopes that the caller has itself, and that does not outlive it.
    ///
    /// # Errors
    /// [`Error::ScopeTooWide`], and [`Error::Invalid`] for a key that would live longer
    /// than the one that makes it.
    pub async fn make_key(&self, context: &Context, new: &NewKey) -> Result<Reply<MadeKey>, Error> {
        if !context.caller.scopes().covers(&new.scopes) {
            return Err(Error::ScopeTooWide);
        }
        self.once(context, move |turn| async move {
            let now = self.store.now().await?;
            let (stored, made) = self.fresh_key(context, new, now);
            self.require_mortal(context, &stored).await?;
            let mut batch = Batch::new();
            batch.insert_key(&stored);
            batch.record(created(&stored, context));
            match turn.commit(batch, now, &made, Kept::Secret).await? {
                Ok(()) => Ok(made),
                Err(_) => Err(Error::Busy),
            }
        })
        .await
    }

    /// A key that ends must not leave one behind that goes on: its end would be no end.
    async fn require_mortal(&self, context: &Context, new: &StoredKey) -> Result<(), Error> {
        let Some(maker) = context.caller.key_id() else {
            return Ok(());
        };
        let maker = self.store.api_key(&maker).await?;
        let end = maker.ok_or(Error::Unauthenticated)?.expires_at;
        let Some(end) = end.filter(|end| new.expires_at.is_none_or(|new| new > *end)) else {
            return Ok(());
        };
        let end = end.to_rfc3339();
        Err(Error::invalid(
            "/expires_in",
            format!("A key cannot outlive the key that makes it, which expires at {end}."),
        ))
    }

    fn fresh_key(&self, context: &Context, new: &NewKey, now: Time) -> (StoredKey, MadeKey) {
        let random = self.room.random.as_ref();
        let id = KeyId::from_random(filled(random));
        let secret = KeySecret::from_random(&Zeroizing::new(filled(random)));
        let text = ApiKeyText::compose(&id, &secret);
        let expires_at = new
            .expires_in
            .map(|seconds| now.plus_millis(i64::from(seconds) * 1000));
        let stored = StoredKey {
            id: id.as_str().to_owned(),
            hash: self.room.root.hash_api_key(secret.expose()),
            name: new.name.clone(),
            scopes: new.scopes.to_string(),
            created_by: context.caller.name().to_string(),
            created_at: now,
            expires_at,
            revoked_at: None,
        };
        let made = MadeKey {
            id: stored.id.clone(),
            key: text.expose().to_owned(),
            name: new.name.clone(),
            scopes: words(new.scopes),
            created_at: now.to_rfc3339(),
            expires_at: expires_at.map(Time::to_rfc3339),
        };
        (stored, made)
    }

    /// Keys by id, revoked ones included; the key of the environment comes first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn api_keys(&self, cursor: Option<&str>, limit: u32) -> Result<Page<KeyView>, Error> {
        let shows_environment = cursor.is_none() && self.environment_key.is_some();
        let room = limit.saturating_sub(u32::from(shows_environment));
        let after = cursor.unwrap_or("");
        let now = self.store.now().await?;
        let keys = self.store.api_keys(after, i64::from(room) + 1).await?;
        let none_of_some = room == 0 && !keys.is_empty();
        let mut page = Page::cut(keys, room, |key| key.id.clone()).map(|key| Ok(view(key, now)))?;
        if shows_environment {
            page.data.insert(0, environment_view());
        }
        if none_of_some {
            page.next_cursor = Some(BEFORE_ALL.to_owned());
        }
        Ok(page)
    }

    /// Revokes a key: once this returns, it is refused everywhere. A key may revoke
    /// itself, and those that may do nothing that it may not do.
    ///
    /// # Errors
    /// [`Error::KeyNotFound`] when it is unknown, and [`Error::ScopeTooWide`].
    pub async fn revoke_key(&self, context: &Context, id: &str) -> Result<RevokedKey, Error> {
        let stored = self.store.api_key(id).await?.ok_or(Error::KeyNotFound)?;
        let is_itself = context.caller.key_id().is_some_and(|own| *own == *id);
        let scopes = Scopes::parse_known(&stored.scopes);
        if !is_itself && !context.caller.scopes().covers(&scopes) {
            return Err(Error::ScopeTooWide);
        }
        let mut is_revoked = stored.revoked_at.is_some();
        // A second round when somebody else revoked it in between, or when the revocation that was
        // read is lost with a server.
        for _ in 0..2 {
            let done = match is_revoked {
                // Whoever did that may have been told that the outcome is not known.
                true => {
                    let mut batch = Batch::new();
                    batch.confirm_revoked_key(id);
                    self.store.confirm(batch).await
                }
                false => self.commit_revocation(context, id).await,
            };
            match done {
                Ok(()) => {
                    self.keys.forget(id);
                    return Ok(RevokedKey {
                        id: id.to_owned(),
                        revoked: true,
                    });
                }
                Err(StoreError::Refused(_)) => is_revoked = !is_revoked,
                Err(error) => return Err(error.into()),
            }
        }
        // It changes while we look, or it is lost with a server from which we have read.
        Err(StoreError::Unavailable(None).into())
    }

    async fn commit_revocation(&self, context: &Context, id: &str) -> Result<(), StoreError> {
        let now = self.store.now().await?;
        let mut batch = Batch::new();
        batch.revoke_key(id, now);
        let event = Event::new(Action::KeyRevoked, true, &context.origin());
        batch.record(event.with(&json!({ "key": id })));
        self.store.commit(batch).await.map(drop)
    }

    /// The first key of a new database, with every scope, not yet in force: whoever
    /// gives it away does so before it is stored. `None` when there is a key already.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(crate) async fn prepare_first_key(
        &self,
        context: &Context,
    ) -> Result<Option<FirstKey>, Error> {
        if self.store.count_api_keys().await? > 0 {
            return Ok(None);
        }
        let new = NewKey {
            name: "first start".into(),
            scopes: Scopes::NONE.with(domain::Scope::Admin),
            expires_in: None,
        };
        let now = self.store.now().await?;
        let (stored, made) = self.fresh_key(context, &new, now);
        Ok(Some(FirstKey { stored, made }))
    }
}

fn created(stored: &StoredKey, context: &Context) -> Event {
    let detail = json!({ "key": stored.id, "scopes": stored.scopes });
    Event::new(Action::KeyCreated, true, &context.origin()).with(&detail)
}

fn filled<const N: usize>(random: &dyn Random) -> [u8; N] {
    let mut bytes = [0; N];
    random.fill(&mut bytes);
    bytes
}

fn words(scopes: Scopes) -> Vec<&'static str> {
    scopes.iter().map(domain::Scope::as_str).collect()
}

fn view(key: &StoredKey, now: Time) -> KeyView {
    let status = if key.revoked_at.is_some() {
        "revoked"
    } else if key.expires_at.is_some_and(|end| end <= now) {
        "expired"
    } else {
        "active"
    };
    KeyView {
        id: key.id.clone(),
        name: key.name.clone(),
        scopes: words(Scopes::parse_known(&key.scopes)),
        status,
        created_by: key.created_by.clone(),
        created_at: Some(key.created_at.to_rfc3339()),
        expires_at: key.expires_at.map(Time::to_rfc3339),
        revoked_at: key.revoked_at.map(Time::to_rfc3339),
    }
}

fn environment_view() -> KeyView {
    KeyView {
        id: "env".into(),
        name: "API_KEY of the environment".into(),
        scopes: vec!["admin"],
        status: "env",
        created_by: "env".into(),
        created_at: None,
        expires_at: None,
        revoked_at: None,
    }
}
