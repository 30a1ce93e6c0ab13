//! A database of a test's own, and a way past the server to look into it and to tamper with it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;
use tokio_postgres::{NoTls, SimpleQueryMessage};

use super::surroundings::{unix_seconds, variable};

/// What stores the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// One file, one node.
    Sqlite,
    /// A server, any number of nodes.
    Postgres,
}

impl Engine {
    /// How many nodes a test of this engine runs.
    pub(crate) fn nodes(self) -> usize {
        match self {
            Self::Sqlite => 1,
            Self::Postgres => 2,
        }
    }
}

/// A row as text; bytes are `\x` and hexadecimal digits.
pub(crate) type Row = Vec<Option<String>>;

/// A database, removed when dropped.
pub(crate) struct Database {
    place: Place,
    folder: TempDir,
}

enum Place {
    Sqlite,
    /// The server's address and the database's name; `true` if it is to be removed.
    Postgres(String, String, bool),
}

impl Database {
    /// A new one of that engine.
    pub(crate) fn new(engine: Engine) -> Self {
        match engine {
            Engine::Sqlite => Self::at(Place::Sqlite),
            Engine::Postgres => Self::postgres("template0"),
        }
    }

    /// One on a server of the test's own, which takes it along when it goes.
    pub(crate) fn on_server(server: &str) -> Self {
        let name = new_name();
        simple_query(server, &format!("CREATE DATABASE {name}"));
        Self::at(Place::Postgres(server.to_owned(), name, false))
    }

    /// A copy, to be made while nothing is connected.
    pub(crate) fn copy(&self) -> Self {
        match &self.place {
            Place::Sqlite => {
                let copy = Self::new(Engine::Sqlite);
                for ending in ["", "-wal"] {
                    let name = format!("otpd.db{ending}");
                    let from = self.folder.path().join(&name);
                    if from.exists() {
                        std::fs::copy(from, copy.folder.path().join(&name)).expect("a copy");
                    }
                }
                copy
            }
            Place::Postgres(_, name, _) => Self::postgres(name),
        }
    }

    fn postgres(template: &str) -> Self {
        let server = variable("TEST_DATABASE_URL");
        let server = server.expect("set TEST_DATABASE_URL or run `cargo xtask test`");
        let name = new_name();
        let create = format!("CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE {template}");
        simple_query(&server, &create);
        Self::at(Place::Postgres(server, name, true))
    }

    fn at(place: Place) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("otpd-invariants-")
            .tempdir();
        let folder = folder.expect("a folder");
        Self { place, folder }
    }

    /// A folder that goes with the database.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The file of a SQLite database.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("otpd.db")
    }

    /// Its address in the form that users write.
    pub(crate) fn url(&self) -> String {
        match &self.place {
            Place::Sqlite => format!("sqlite:///{}", self.file().display()),
            Place::Postgres(server, name, _) => with_path(server, name),
        }
    }

    /// Runs a query and gives its rows, or runs one or several other statements.
    pub(crate) fn query(&self, sql: &str) -> Vec<Row> {
        match &self.place {
            Place::Sqlite => query_file(&self.file(), sql),
            Place::Postgres(..) => simple_query(&self.url(), sql),
        }
    }

    /// The one value that a query gives.
    #[track_caller]
    pub(crate) fn value(&self, sql: &str) -> String {
        let rows = self.query(sql);
        let value = rows.first().and_then(|row| row.first()).cloned().flatten();
        value.unwrap_or_else(|| panic!("no value: {sql}"))
    }

    /// The one number that a query gives.
    #[track_caller]
    pub(crate) fn number(&self, sql: &str) -> i64 {
        self.value(sql).parse().expect("a number")
    }

    /// The names of all tables.
    pub(crate) fn tables(&self) -> Vec<String> {
        let sql = match &self.place {
            Place::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'table'",
            Place::Postgres(..) => {
                "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
            }
        };
        let rows = self.query(sql).into_iter();
        rows.filter_map(|row| row.into_iter().next().flatten())
            .collect()
    }

    /// Everything in it, as text.
    pub(crate) fn dump(&self) -> String {
        let mut text = String::new();
        for table in self.tables() {
            for row in self.query(&format!("SELECT * FROM {table}")) {
                text += &format!("{table}: {row:?}\n");
            }
        }
        text
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Place::Postgres(server, name, true) = &self.place {
            let (server, sql) = (server.clone(), format!("DROP DATABASE {name} WITH (FORCE)"));
            // A thread of its own: what cannot be removed does not make the test wrong.
            let removal = std::thread::spawn(move || simple_query(&server, &sql));
            let _ = removal.join();
        }
    }
}

/// Unlike every other name of this run and of those before.
fn new_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!(
        "otpd_inv_{}_{}_{number}",
        std::process::id(),
        unix_seconds()
    )
}

/// The same server, another database.
fn with_path(url: &str, database: &str) -> String {
    let (address, options) = match url.split_once('?') {
        Some((address, options)) => (address, format!("?{options}")),
        None => (url, String::new()),
    };
    let (scheme, rest) = address.split_once("://").expect("a URL");
    let server = rest.split_once('/').map_or(rest, |(server, _)| server);
    format!("{scheme}://{server}/{database}{options}")
}

/// Runs statements on a PostgreSQL server by the protocol in which everything is text.
pub(crate) fn simple_query(url: &str, sql: &str) -> Vec<Row> {
    try_simple_query(url, sql).unwrap_or_else(|error| panic!("{error:?} in: {sql}"))
}

/// The same on a server that may be gone.
pub(crate) fn try_simple_query(url: &str, sql: &str) -> Result<Vec<Row>, tokio_postgres::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        let connection = tokio::spawn(connection);
        let mut rows = Vec::new();
        for message in client.simple_query(sql).await? {
            if let SimpleQueryMessage::Row(row) = message {
                let field = |place| row.get(place).map(str::to_owned);
                rows.push((0..row.len()).map(field).collect());
            }
        }
        drop(client);
        // It ends by itself once the client is gone.
        let _ = connection.await;
        Ok(rows)
    })
}

fn query_file(file: &Path, sql: &str) -> Vec<Row> {
    use rusqlite::types::ValueRef;
    let connection = rusqlite::Connection::open(file).expect("a database");
    let limit = std::time::Duration::from_secs(10);
    connection.busy_timeout(limit).expect("a setting");
    let failed = |error: rusqlite::Error| -> ! { panic!("{error} in: {sql}") };
    if !sql.starts_with("SELECT") {
        connection.execute_batch(sql).unwrap_or_else(|e| failed(e));
        return Vec::new();
    }
    let mut statement = connection.prepare(sql).unwrap_or_else(|e| failed(e));
    let width = statement.column_count();
    let mut rows = statement.raw_query();
    let mut found = Vec::new();
    while let Some(row) = rows.next().unwrap_or_else(|e| failed(e)) {
        let field = |place| match row.get_ref(place).expect("a column") {
            ValueRef::Null => None,
            ValueRef::Integer(value) => Some(value.to_string()),
            ValueRef::Real(value) => Some(value.to_string()),
            ValueRef::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
            ValueRef::Blob(bytes) => {
                let hex = data_encoding::HEXLOWER.encode(bytes);
                Some(format!("\\x{hex}"))
            }
        };
        found.push((0..width).map(field).collect());
    }
    found
}
