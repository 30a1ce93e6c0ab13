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
    /// Each dependency: `ok` or `unavailable`.
    pub checks: Checks,
}

/// Each dependency.
#[derive(Debug, Serialize)]
pub struct Checks {
    /// The system of record.
    pub database: &'static str,
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
    /// Asks every dependency.
    pub async fn health(&self) -> (Readiness, Health) {
        let database = self.store.ping().await;
        let (readiness, word) = match database {
            Ok(()) => (Readiness::Ready, "ok"),
            Err(_) => (Readiness::NotReady, "unavailable"),
        };
        let health = Health {
            status: word,
            version: env!("CARGO_PKG_VERSION"),
            checks: Checks { database: word },
        };
        (readiness, health)
    }
}
