//! Where the database is and how much of it a process may use.

use std::path::PathBuf;
use std::time::Duration;

use crate::postgres::address;

/// Which database.
#[derive(Clone, Debug)]
pub enum Target {
    /// A file, for one process.
    Sqlite(PathBuf),
    /// A `postgresql://` URL, for any number of processes.
    Postgres(String),
}

impl Target {
    /// Whether a database server on this very machine has it, which needs processors of its own.
    /// `false` for an address that cannot be read, too.
    #[must_use]
    pub fn is_server_here(&self) -> bool {
        match self {
            Self::Sqlite(_) => false,
            Self::Postgres(url) => address::are_here(url),
        }
    }
}

/// Settings of this crate.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which database.
    pub target: Target,
    /// PostgreSQL: lanes for attempts, each with a connection of its own.
    pub lanes: usize,
    /// PostgreSQL: connections for everything else.
    pub pool: usize,
    /// How long a caller waits for a connection or for a user whom another node holds.
    pub wait: Duration,
}
