//! The keys that sign tokens: next, active, retired; shared by all nodes through the database.

use std::sync::{Arc, PoisonError, RwLock};

use domain::{Action, Event, Time};
use serde_json::{Value, json};
use store::{Batch, OwnKey, Refusal, StoreError};
use vault::{KeyVersion, PublicKey, SigningKey, SigningSeed};

use crate::context::Context;
use crate::room::{self, Room};
use crate::{App, Caller, Error};

/// How long others may keep the published keys, in seconds.
pub const JWKS_MAX_AGE: i64 = 300;
/// A key is known to everybody once it has been published for that long.
const PUBLISHED_MS: i64 = 2 * JWKS_MAX_AGE * 1000;
/// Retired keys are published on: far longer than any token lives.
const RETIRED_MS: i64 = 86_400_000;
/// An unknown key id makes this node look for new keys, but not more often than this.
const LOOK_AGAIN_MS: i64 = 5_000;
/// How often a set of keys is read again that others changed in between.
const TRIES: usize = 4;

/// What a signing key is for: one key never serves two purposes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Proofs of a verification for other services.
    Assertion,
    /// Access tokens of sessions.
    Access,
}

impl Purpose {
    const ALL: [Self; 2] = [Self::Assertion, Self::Access];

    fn word(self) -> &'static str {
        match self {
            Self::Assertion => "assertion",
            Self::Access => "access-token",
        }
    }

    /// The `typ` of its tokens (RFC 7519, section 5.1).
    pub(crate) fn typ(self) -> &'static str {
        match self {
            Self::Assertion => "2fa+jwt",
            Self::Access => "at+jwt",
        }
    }
}

/// The keys of one purpose as they were read.
struct Keys {
    active: Arc<SigningKey>,
    active_id: i64,
    active_since: Time,
    /// The id of the next one, and since when it is published.
    next: Option<(i64, Time)>,
    /// All that are published, retired ones too, with the end of those.
    published: Vec<PublicKey>,
    retired: Vec<(i64, Time)>,
}

struct KeySet {
    assertion: Keys,
    access: Keys,
    read_at: Time,
}

impl KeySet {
    fn of(&self, purpose: Purpose) -> &Keys {
        match purpose {
            Purpose::Assertion => &self.assertion,
            Purpose::Access => &self.access,
        }
    }
}

/// The keys that this node knows.
#[derive(Default)]
pub(crate) struct Signing(RwLock<Option<Arc<KeySet>>>);

impl Signing {
    fn known(&self) -> Option<Arc<KeySet>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn put(&self, set: KeySet) -> Arc<KeySet> {
        let set = Arc::new(set);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&set));
        set
    }
}

impl App {
    /// Makes the keys of a new database and reads those of another, so that the next ones
    /// are published from the first moment.
    ///
    /// # Errors
    /// When the database cannot be read or written.
    pub async fn prepare_signing_keys(&self) -> Result<(), Error> {
        self.read_signing_keys().await.map(drop)
    }

    /// The public keys for whoever verifies our tokens (RFC 7517).
    ///
    /// # Errors
    /// When they are not known yet and the database cannot be read.
    pub async fn published_keys(&self) -> Result<Value, Error> {
        let set = self.signing_keys().await?;
        let all = Purpose::ALL.iter().flat_map(|p| &set.of(*p).published);
        let keys: Vec<Value> = all.map(vault::jwk).collect();
        Ok(json!({ "keys": keys }))
    }

    /// Signs the claims with the active key of that purpose.
    pub(crate) async fn sign_token(
        &self,
        purpose: Purpose,
        claims: &Value,
    ) -> Result<String, Error> {
        let set = self.signing_keys().await?;
        let key = &set.of(purpose).active;
        Ok(vault::sign_token(key, purpose.typ(), claims))
    }

    /// The claims of a token of that purpose that one of our own keys has signed. Times
    /// and everything else are the caller's to judge.
    pub(crate) async fn open_token(
        &self,
        purpose: Purpose,
        token: &str,
    ) -> Result<serde_json::Map<String, Value>, Error> {
        let set = self.signing_keys().await?;
        let verify =
            |set: &KeySet| vault::verify_token(&set.of(purpose).published, purpose.typ(), token);
        let found = match verify(&set) {
            Err(vault::TokenError::UnknownKey) => {
                // Another node may have made it a moment ago.
                let now = self.store.now().await?;
                match now.since(set.read_at) >= LOOK_AGAIN_MS {
                    true => verify(&*self.read_signing_keys().await?),
                    false => Err(vault::TokenError::UnknownKey),
                }
            }
            found => found,
        };
        found.map_err(|_| Error::Unauthenticated)
    }

    async fn signing_keys(&self) -> Result<Arc<KeySet>, Error> {
        match self.signing.known() {
            Some(set) => Ok(set),
            None => self.read_signing_keys().await,
        }
    }

    /// Reads all keys, and makes those that are missing.
    async fn read_signing_keys(&self) -> Result<Arc<KeySet>, Error> {
        let set = KeySet {
            assertion: self.read_purpose(Purpose::Assertion).await?,
            access: self.read_purpose(Purpose::Access).await?,
            read_at: self.store.now().await?,
        };
        Ok(self.signing.put(set))
    }

    async fn read_purpose(&self, purpose: Purpose) -> Result<Keys, Error> {
        for _ in 0..TRIES {
            let rows = self.store.signing_keys(purpose.word()).await?;
            if let Some(keys) = self.keys_of(&rows)?
                && keys.next.is_some()
            {
                return Ok(keys);
            }
            let has_active = rows.iter().any(is_active);
            let now = self.store.now().await?;
            let mut batch = Batch::new();
            let made = self
                .new_key(purpose, (!has_active).then_some(now), now)
                .await?;
            batch.add_signing_key(&made);
            match self.store.commit(batch).await {
                // Refused: another node was faster.
                Ok(_) | Err(StoreError::Refused(Refusal::KeyChanged)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Busy)
    }

    fn keys_of(&self, rows: &[OwnKey]) -> Result<Option<Keys>, Error> {
        let mut published = Vec::with_capacity(rows.len());
        for row in rows {
            let public = row.public.as_deref().unwrap_or_default();
            let public = public.try_into();
            let public = public.map_err(|_| Error::broken("a signing key is not readable"))?;
            published.push(PublicKey::new(public));
        }
        let Some(active) = rows.iter().find(|row| is_active(row)) else {
            return Ok(None);
        };
        let next = rows
            .iter()
            .find(|row| row.active_at.is_none() && row.retired_at.is_none());
        let retired = rows
            .iter()
            .filter_map(|row| Some((row.id, row.retired_at?)));
        Ok(Some(Keys {
            active: Arc::new(open(&self.room, active)?),
            active_id: active.id,
            active_since: active.active_at.unwrap_or(active.created_at),
            next: next.map(|row| (row.id, row.created_at)),
            retired: retired.collect(),
            published,
        }))
    }

    async fn new_key(
        &self,
        purpose: Purpose,
        active_at: Option<Time>,
        now: Time,
    ) -> Result<OwnKey, Error> {
        let mut id = self.store.new_id().await?;
        while id <= room::LAST_FIXED_ID {
            id = self.store.new_id().await?;
        }
        let random = self.room.random.as_ref();
        let seed = SigningSeed::generate(random);
        let sealed = seed.seal(&self.room.keyring, room::place(id), random);
        Ok(OwnKey {
            id,
            purpose: purpose.word().to_owned(),
            version: sealed.version.0,
            sealed: sealed.bytes,
            public: Some(SigningKey::from_seed(&seed).public().to_vec()),
            created_at: now,
            active_at,
            retired_at: None,
        })
    }

    /// Learns of keys that other nodes have made or retired. A job of each node.
    pub(crate) async fn look_at_signing_keys(&self) -> Result<(), Error> {
        self.read_signing_keys().await.map(drop)
    }

    /// Takes the next keys into use when the active ones are old enough, and forgets
    /// those that have been retired for long. A job.
    pub(crate) async fn care_for_signing_keys(&self) -> Result<(), Error> {
        let set = self.read_signing_keys().await?;
        let now = self.store.now().await?;
        let context = Context::local(Caller::Server);
        for purpose in Purpose::ALL {
            let keys = set.of(purpose);
            let age = now.since(keys.active_since);
            if age >= self.settings.signing_key_ms() && is_known(keys, now) {
                self.rotate(purpose, keys, &context, now).await?;
            }
            for (id, retired_at) in &keys.retired {
                if now.since(*retired_at) >= RETIRED_MS {
                    let mut batch = Batch::new();
                    batch.remove_signing_key(*id);
                    ignore_refusal(self.store.commit(batch).await)?;
                }
            }
        }
        Ok(())
    }

    /// Takes the next keys of all purposes into use now.
    ///
    /// # Errors
    /// [`Error::SigningKeyTooYoung`] when a next key has not been published for long
    /// enough: those who keep the published keys would refuse its tokens.
    pub async fn rotate_signing_keys(&self, context: &Context) -> Result<(), Error> {
        let set = self.read_signing_keys().await?;
        let now = self.store.now().await?;
        if !Purpose::ALL
            .iter()
            .all(|purpose| is_known(set.of(*purpose), now))
        {
            return Err(Error::SigningKeyTooYoung);
        }
        for purpose in Purpose::ALL {
            self.rotate(purpose, set.of(purpose), context, now).await?;
        }
        self.read_signing_keys().await.map(drop)
    }

    async fn rotate(
        &self,
        purpose: Purpose,
        keys: &Keys,
        context: &Context,
        now: Time,
    ) -> Result<(), Error> {
        let Some((next, _)) = keys.next else {
            return Ok(());
        };
        let fresh = self.new_key(purpose, None, now).await?;
        let mut batch = Batch::new();
        batch.retire_signing_key(keys.active_id, now);
        batch.activate_signing_key(next, now);
        batch.add_signing_key(&fresh);
        let event = Event::new(Action::SigningKeyRotated, true, &context.origin())
            .with(&json!({ "purpose": purpose.word(), "retired": keys.active.kid() }));
        batch.record(event);
        ignore_refusal(self.store.commit(batch).await)
    }
}

fn is_active(row: &OwnKey) -> bool {
    row.active_at.is_some() && row.retired_at.is_none()
}

/// Whether everybody who keeps the published keys for as long as we say has the next one.
fn is_known(keys: &Keys, now: Time) -> bool {
    keys.next
        .is_some_and(|(_, since)| now.since(since) >= PUBLISHED_MS)
}

/// Refused: another node has done it.
fn ignore_refusal(result: Result<Time, StoreError>) -> Result<(), Error> {
    match result {
        Ok(_) | Err(StoreError::Refused(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn open(room: &Room, row: &OwnKey) -> Result<SigningKey, Error> {
    let version = KeyVersion(row.version);
    let seed = SigningSeed::open(&room.keyring, room::place(row.id), version, &row.sealed)?;
    Ok(SigningKey::from_seed(&seed))
}
