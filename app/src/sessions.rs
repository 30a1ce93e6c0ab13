//! Sessions behind access tokens: opened by a login, looked at with every use, ended by their owner.

use domain::{Action, Event, Time, UserId, UserName};
use serde::Serialize;
use serde_json::{Map, Value, json};
use store::{Batch, NewSession, StoreError, StoredSession};

use crate::context::Context;
use crate::limits::Source;
use crate::signing::Purpose;
use crate::tokens::hex;
use crate::{App, Error};

/// An access token as a login answers with it.
#[derive(Serialize)]
pub struct Tokens {
    /// The token.
    pub access_token: String,
    /// The same, where old clients look for it.
    pub token: String,
    /// Always `bearer`.
    pub token_type: &'static str,
    /// Seconds that it lives.
    pub expires_in: i64,
}

/// A session that is alive.
#[derive(Clone, Debug)]
pub struct Session {
    /// The `sid` of its tokens.
    pub id: String,
    /// Whose it is.
    pub user: UserId,
    /// The canonical name.
    pub name: UserName,
    /// How it was opened, such as `pwd` and `otp`.
    pub amr: Vec<String>,
    /// When its owner proved who they are.
    pub auth_time: Time,
}

impl Session {
    /// Whether it was opened in that way, among others.
    pub fn has(&self, method: &str) -> bool {
        self.amr.iter().any(|word| word == method)
    }
}

/// The answer to an introspection (RFC 7662, section 2.2).
pub type Introspection = Map<String, Value>;

impl App {
    /// A session about to be opened, by these means. The caller puts it into a batch.
    pub(crate) fn new_session(&self, user: UserId, amr: &[&str], now: Time) -> NewSession {
        NewSession {
            id: hex(&self.random_bytes()[..16]),
            user,
            amr: amr.join(" "),
            auth_time: now,
            created_at: now,
            expires_at: now.plus_seconds(self.settings.session_seconds),
        }
    }

    /// The token of a session that has been committed.
    pub(crate) async fn access_token(
        &self,
        session: &NewSession,
        name: &UserName,
    ) -> Result<Tokens, Error> {
        let amr: Vec<&str> = session.amr.split(' ').collect();
        let issuer = &self.settings.public_url;
        let claims = json!({
            "iss": issuer,
            "sub": name.canonical(),
            "aud": issuer,
            "client_id": "otpd",
            "iat": session.created_at.seconds(),
            "exp": session.expires_at.seconds(),
            "jti": hex(&self.random_bytes()[..16]),
            "sid": session.id,
            "auth_time": session.auth_time.seconds(),
            "amr": amr,
        });
        let token = self.sign_token(Purpose::Access, &claims).await?;
        self.logged_in(name);
        Ok(Tokens {
            access_token: token.clone(),
            token,
            token_type: "bearer",
            expires_in: self.settings.session_seconds,
        })
    }

    /// The living session behind an access token. The session is read anew each time:
    /// one that has been ended anywhere is refused from then on.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] for anything else.
    pub async fn session(&self, token: &str) -> Result<Session, Error> {
        Ok(self.alive(token).await?.0)
    }

    /// The same for what came with a request of that source; one without a living
    /// session counts as a failure of it.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`], [`Error::RateLimited`].
    pub(crate) async fn session_of(
        &self,
        source: Source,
        bearer: Option<&str>,
    ) -> Result<Session, Error> {
        let found = match bearer {
            Some(token) => self.session(token).await,
            None => Err(Error::Unauthenticated),
        };
        self.proven(source, found).await
    }

    /// Whether a session has neither expired nor been ended.
    pub(crate) async fn session_lives(&self, id: &str, now: Time) -> Result<bool, Error> {
        let stored = self.store.session(id).await?;
        Ok(stored.is_some_and(|s| s.ended_at.is_none() && s.expires_at > now))
    }

    async fn alive(&self, token: &str) -> Result<(Session, Map<String, Value>), Error> {
        let claims = self.open_token(Purpose::Access, token).await?;
        let now = self.store.now().await?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let issuer = Some(self.settings.public_url.as_str());
        let ours = text("iss") == issuer && text("aud") == issuer;
        let expires = claims.get("exp").and_then(Value::as_i64);
        let fresh = expires.is_some_and(|end| end > now.seconds());
        let id = text("sid").filter(|_| ours && fresh);
        let id = id.ok_or(Error::Unauthenticated)?;
        let stored = self.store.session(id).await?;
        let living = |s: &StoredSession| s.ended_at.is_none() && s.expires_at > now;
        let stored = stored.filter(living).ok_or(Error::Unauthenticated)?;
        if text("sub") != Some(&stored.name) {
            return Err(Error::Unauthenticated);
        }
        let session = Session {
            user: stored.user,
            name: UserName::parse(&stored.name).map_err(|_| Error::Unauthenticated)?,
            amr: stored.amr.split(' ').map(str::to_owned).collect(),
            auth_time: stored.auth_time,
            id: stored.id,
        };
        Ok((session, claims))
    }

    /// Ends the session behind an access token.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when there is none, or none any more.
    pub async fn log_out(
        &self,
        context: &Context,
        source: Source,
        bearer: Option<&str>,
    ) -> Result<(), Error> {
        let session = self.session_of(source, bearer).await?;
        let now = self.store.now().await?;
        let mut batch = Batch::new();
        batch.end_session(&session.id, session.user, now);
        self.end_enrolments_of(&mut batch, session.user, &session.id);
        let event = Event::new(Action::LoggedOut, true, &context.origin())
            .about_user(session.user, session.name.canonical());
        batch.record(event);
        match self.store.commit(batch).await {
            Ok(_) => Ok(()),
            // Ended in between: of two logouts at once, one is told and recorded.
            Err(StoreError::Refused(_)) => Err(Error::Unauthenticated),
            Err(error) => Err(error.into()),
        }
    }

    /// What a service may know of a token (RFC 7662): its claims while its session
    /// lives, else only that it is not active.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn introspect(&self, token: &str) -> Result<Introspection, Error> {
        match self.alive(token).await {
            Ok((session, mut claims)) => {
                claims.insert("active".into(), true.into());
                claims.insert("token_type".into(), "bearer".into());
                claims.insert("username".into(), session.name.canonical().into());
                Ok(claims)
            }
            Err(Error::Unauthenticated) => {
                Ok(Map::from_iter([("active".to_owned(), Value::Bool(false))]))
            }
            Err(error) => Err(error),
        }
    }

    /// Removes sessions whose time is over.
    pub(crate) async fn sweep_sessions(&self) -> Result<(), Error> {
        let now = self.store.now().await?;
        self.in_slices(|most| self.store.sweep_sessions(now, most))
            .await
    }
}
