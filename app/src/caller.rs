//! Who is asking: credentials are checked here, once per request.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use domain::api_key::ApiKeyRef;
use domain::{Scope, Scopes, Time};
use store::StoredKey;
use vault::same_hash;

use crate::limits::Source;
use crate::{App, Error};

/// The caller of an operation. Knows no HTTP, so another front can stand beside `web`.
#[derive(Clone, Debug)]
pub enum Caller {
    /// An API key of the database.
    Key {
        /// Its public part.
        id: Arc<str>,
        /// What it may do.
        scopes: Scopes,
    },
    /// Another service, by a token that it has signed.
    Jwt {
        /// Whom the token names; may be empty.
        subject: Arc<str>,
        /// A keyed hash of the whole subject: by it repetitions and limits tell callers
        /// apart whose shown names are alike.
        identity: Arc<str>,
        /// What it may do.
        scopes: Scopes,
    },
    /// The key given as `API_KEY` in the environment: may do everything.
    Environment,
    /// A person at a public door, without a credential of a service: may do nothing
    /// that needs a scope.
    Public,
    /// Somebody at the command line of the server's machine.
    CommandLine,
    /// The server itself, in its jobs.
    Server,
}

impl Caller {
    /// How the audit names the caller.
    pub fn name(&self) -> Arc<str> {
        match self {
            Self::Key { id, .. } => format!("key:{id}").into(),
            Self::Jwt { subject, .. } if subject.is_empty() => "jwt".into(),
            Self::Jwt { subject, .. } => format!("jwt:{subject}").into(),
            Self::Environment => "env".into(),
            Self::Public => "public".into(),
            Self::CommandLine => "cli".into(),
            Self::Server => "server".into(),
        }
    }

    /// What tells callers apart, where the name for the audit may be shortened.
    pub(crate) fn identity(&self) -> Arc<str> {
        match self {
            Self::Jwt { identity, .. } => Arc::clone(identity),
            other => other.name(),
        }
    }

    /// What the caller may do.
    pub fn scopes(&self) -> Scopes {
        match self {
            Self::Key { scopes, .. } | Self::Jwt { scopes, .. } => *scopes,
            Self::Public => Scopes::default(),
            Self::Environment | Self::CommandLine | Self::Server => Scopes::all(),
        }
    }

    /// Whether the caller has the scope.
    ///
    /// # Errors
    /// [`Error::Forbidden`] when it has not.
    pub fn require(&self, scope: Scope) -> Result<(), Error> {
        if self.scopes().allows(scope) {
            Ok(())
        } else {
            Err(Error::Forbidden(scope))
        }
    }

    /// The key to look at again inside the batch, when there is one.
    pub(crate) fn key_id(&self) -> Option<Arc<str>> {
        match self {
            Self::Key { id, .. } => Some(Arc::clone(id)),
            Self::Jwt { .. }
            | Self::Environment
            | Self::Public
            | Self::CommandLine
            | Self::Server => None,
        }
    }
}

/// How fresh the knowledge about an API key has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// The batch looks at the key again: a remembered one will do.
    CheckedInBatch,
    /// Nothing looks again: on a shared database the key is read anew.
    Now,
}

/// Keys remembered at most; the next one empties the memory.
const MOST_KEYS: usize = 10_000;

struct Remembered {
    hash: [u8; 32],
    caller: Arc<Caller>,
    expires_at: Option<Time>,
}

/// API keys seen lately, so that a verification needs no query for its caller.
#[derive(Default)]
pub(crate) struct KeyMemory {
    memory: RwLock<Memory>,
}

#[derive(Default)]
struct Memory {
    keys: HashMap<String, Remembered>,
    /// Counts what was forgotten: a key that was read before something was forgotten
    /// is not remembered, for it may be the one.
    forgotten: u64,
}

impl KeyMemory {
    fn get(&self, id: &str, hash: &[u8; 32], now: Time) -> Option<Arc<Caller>> {
        let memory = self.memory.read().unwrap_or_else(PoisonError::into_inner);
        let key = memory.keys.get(id)?;
        let alive = key.expires_at.is_none_or(|end| end > now);
        (same_hash(&key.hash, hash) && alive).then(|| Arc::clone(&key.caller))
    }

    /// To be taken before a key is read from the database.
    fn forgotten(&self) -> u64 {
        let memory = self.memory.read().unwrap_or_else(PoisonError::into_inner);
        memory.forgotten
    }

    /// Remembers a key, unless something was forgotten since it was read.
    fn put(&self, key: &StoredKey, caller: &Arc<Caller>, forgotten: u64) {
        let mut memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
        if memory.forgotten != forgotten {
            return;
        }
        if memory.keys.len() >= MOST_KEYS {
            memory.keys.clear();
        }
        let remembered = Remembered {
            hash: key.hash,
            caller: Arc::clone(caller),
            expires_at: key.expires_at,
        };
        memory.keys.insert(key.id.clone(), remembered);
    }

    /// Forgets a key, before its revocation is answered.
    pub(crate) fn forget(&self, id: &str) {
        let mut memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
        memory.keys.remove(id);
        memory.forgotten += 1;
    }
}

impl App {
    /// The caller behind a bearer credential.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] for anything that is no valid credential.
    pub async fn authenticate(
        &self,
        bearer: &str,
        freshness: Freshness,
    ) -> Result<Arc<Caller>, Error> {
        if let Some(caller) = self.environment_caller(bearer) {
            return Ok(caller);
        }
        let Some(key) = ApiKeyRef::parse(bearer) else {
            return self.jwt_caller(bearer).ok_or(Error::Unauthenticated);
        };
        let hash = self.room.root.hash_api_key(key.secret);
        let now = self.now();
        if (freshness == Freshness::CheckedInBatch || !self.store.is_shared())
            && let Some(caller) = self.keys.get(key.id, &hash, now)
        {
            return Ok(caller);
        }
        let forgotten = self.keys.forgotten();
        let stored = self.store.api_key(key.id).await?;
        let stored = stored.ok_or(Error::Unauthenticated)?;
        let alive = stored.revoked_at.is_none() && stored.expires_at.is_none_or(|end| end > now);
        if !alive {
            self.keys.forget(key.id);
        }
        if !same_hash(&stored.hash, &hash) || !alive {
            return Err(Error::Unauthenticated);
        }
        let caller = Arc::new(Caller::Key {
            id: stored.id.as_str().into(),
            scopes: Scopes::parse_known(&stored.scopes),
        });
        self.keys.put(&stored, &caller, forgotten);
        Ok(caller)
    }

    /// The caller behind what a client sent as its credential, or a counted failure of
    /// its source. A good credential is let through even when its address has used up its
    /// failures, so that a stranger behind the same address locks nobody out; what a bad
    /// one may cost, also then, is one look at one row.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`], [`Error::RateLimited`], or that the key cannot be
    /// read.
    pub async fn identify(
        &self,
        bearer: Option<&str>,
        freshness: Freshness,
        source: Source,
    ) -> Result<Arc<Caller>, Error> {
        if freshness == Freshness::CheckedInBatch
            && let Some(caller) = bearer.and_then(|bearer| self.remembered(bearer))
        {
            return Ok(caller);
        }
        // Boxed, as this is seldom: the future of each call would be as large as the
        // largest of what it may wait for, and is moved several times.
        Box::pin(self.identify_anew(bearer, freshness, source)).await
    }

    async fn identify_anew(
        &self,
        bearer: Option<&str>,
        freshness: Freshness,
        source: Source,
    ) -> Result<Arc<Caller>, Error> {
        let found = match bearer {
            Some(bearer) => self.authenticate(bearer, freshness).await,
            None => Err(Error::Unauthenticated),
        };
        self.proven(source, found).await
    }

    /// The caller behind a credential that is known to have been valid a moment ago.
    fn remembered(&self, bearer: &str) -> Option<Arc<Caller>> {
        if let Some(caller) = self.environment_caller(bearer) {
            return Some(caller);
        }
        let key = ApiKeyRef::parse(bearer)?;
        let hash = self.room.root.hash_api_key(key.secret);
        self.keys.get(key.id, &hash, self.now())
    }

    fn environment_caller(&self, bearer: &str) -> Option<Arc<Caller>> {
        let (hash, caller) = self.environment_key.as_ref()?;
        same_hash(hash, &self.room.root.hash_api_key(bearer)).then(|| Arc::clone(caller))
    }
}
