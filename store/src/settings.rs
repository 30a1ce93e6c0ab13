//! Where the database is and how much of it a process may use.

use std::path::PathBuf;
use std::time::Duration;

/// Which database.
#[derive(Clone, Debug)]
pub enum Target {
    /// A file, for one process.
    Sqlite(PathBuf),
    /// A `postgresql://` URL, for any number of processes.
    Postgres(String),
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
