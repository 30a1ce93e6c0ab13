//! Whether the server can do its work right now.

use serde::Serialize;

use crate::App;

/// The answer to `/health`.
#[derive(Debug, Serialize)]
pub struct Health {
    /// `ok`, `degraded` or `unavailable`.
    pub status: &'static str,
    /// The version of the server.
    pub version: &'static str,
    /// Each dependency: `ok`, `degraded` or `unavailable`.
    pub checks: Checks,
    /// What is wrong, in words for anybody; absent when nothing is to be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
}

/// Sentences without names and secrets: nobody has to say who they are to read them.
#[derive(Debug, Serialize)]
pub struct Details {
    /// What became of the database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<&'static str>,
    /// Why mail does not go out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mail: Option<&'static str>,
}

const UNSAFE: &str = "The database server runs with a setting with which it can lose what it \
    has confirmed; the log names it. Nothing is accepted.";

/// Told until the server is started anew: by then somebody has read it.
const FORGOTTEN: &str = "The database has lost or changed what was acknowledged before: \
    a standby that lagged, or a backup, has taken its place. `otpd audit verify` with the \
    last exported checkpoint tells what is missing.";

/// Each dependency.
#[derive(Debug, Serialize)]
pub struct Checks {
    /// The system of record.
    pub database: &'static str,
    /// The way out for mail.
    pub mail: &'static str,
    /// What the servers count together in, where there is such a thing. Without it each
    /// counts its part, so it is never needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis: Option<&'static str>,
}

/// Whether requests should be sent here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Yes.
    Ready,
    /// No: nothing can be accepted.
    NotReady,
}

impl App {
    /// Asks every dependency. Codes are judged whether mail goes out or not, so without
    /// mail the server is ready all the same.
    pub async fn health(&self) -> (Readiness, Health) {
        let database = self.store.ping().await;
        let noted = match self.store.is_unsafe() {
            true => Some(UNSAFE),
            false => (self.store.broken_chains() > 0).then_some(FORGOTTEN),
        };
        let (readiness, database) = match (database, noted) {
            (Ok(()), None) => (Readiness::Ready, "ok"),
            (Ok(()), Some(_)) => (Readiness::Ready, "degraded"),
            (Err(_), _) => (Readiness::NotReady, "unavailable"),
        };
        let trouble = match readiness {
            Readiness::Ready => self.mail_trouble().await,
            Readiness::NotReady => self.mailroom.trouble(),
        };
        let word = |works| if works { "ok" } else { "degraded" };
        let mail = word(trouble.is_none());
        let shared = self.limits.shared.as_ref();
        let redis = shared.map(|shared| word(shared.is_there()));
        let status = match readiness {
            Readiness::Ready => {
                let others = [Some(database), redis];
                word(mail == "ok" && others.iter().flatten().all(|check| *check == "ok"))
            }
            Readiness::NotReady => database,
        };
        let health = Health {
            status,
            version: env!("CARGO_PKG_VERSION"),
            checks: Checks {
                database,
                mail,
                redis,
            },
            details: (noted.is_some() || trouble.is_some()).then_some(Details {
                database: noted,
                mail: trouble,
            }),
        };
        (readiness, health)
    }
}
