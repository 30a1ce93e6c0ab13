//! A database of a test's own, and a way past the store to look into it.

use std::path::PathBuf;

use tokio_postgres::NoTls;
use tokio_postgres::types::Type;

use crate::judge::random;

/// A field of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Null,
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
}

impl Cell {
    pub fn int(&self) -> i64 {
        match self {
            Self::Int(value) => *value,
            other => panic!("{other:?} is no number"),
        }
    }

    pub fn maybe_int(&self) -> Option<i64> {
        match self {
            Self::Null => None,
            other => Some(other.int()),
        }
    }

    pub fn text(&self) -> &str {
        match self {
            Self::Text(value) => value,
            other => panic!("{other:?} is no text"),
        }
    }

    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(value) => value,
            other => panic!("{other:?} is no bytes"),
        }
    }
}

/// Where a test's data is; it goes when this is dropped.
pub enum Database {
    Sqlite(tempfile::TempDir),
    Postgres(Temporary),
}

/// A PostgreSQL database that is removed in the end.
pub struct Temporary {
    server: String,
    name: String,
}

impl Database {
    pub fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    pub async fn postgres() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "the address of the tests' server is no setting of the product"
        )]
        let server = std::env::var("TEST_DATABASE_URL");
        let server = server.expect("set TEST_DATABASE_URL or run `cargo xtask test`");
        let name = format!("otpd_test_{:016x}", random());
        let client = connect(&server).await;
        let create = format!("CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0");
        client.batch_execute(&create).await.unwrap();
        Self::Postgres(Temporary { server, name })
    }

    /// The file of a SQLite database.
    pub fn file(&self) -> PathBuf {
        match self {
            Self::Sqlite(folder) => folder.path().join("otpd.db"),
            Self::Postgres(_) => panic!("not a file"),
        }
    }

    /// The address of a PostgreSQL database.
    pub fn url(&self) -> String {
        match self {
            Self::Sqlite(_) => panic!("not a server"),
            Self::Postgres(database) => with_path(&database.server, &database.name),
        }
    }

    /// The same database by way of that port of this machine.
    pub fn url_at(&self, port: u16) -> String {
        let url = self.url();
        let (scheme, rest) = url.split_once("://").expect("a URL");
        let (server, path) = rest.split_once('/').expect("a path");
        let user = server.rsplit_once('@').map_or("", |(user, _)| user);
        format!("{scheme}://{user}@127.0.0.1:{port}/{path}")
    }

    /// A connection of the test's own.
    pub async fn connect(&self) -> tokio_postgres::Client {
        connect(&self.url()).await
    }

    /// Runs a statement past the store.
    pub async fn execute(&self, sql: &str) {
        match self {
            Self::Sqlite(_) => self.open_file().execute_batch(sql).unwrap(),
            Self::Postgres(_) => self.connect().await.batch_execute(sql).await.unwrap(),
        }
    }

    /// Reads past the store.
    pub async fn query(&self, sql: &str) -> Vec<Vec<Cell>> {
        match self {
            Self::Sqlite(_) => query_file(&self.open_file(), sql),
            Self::Postgres(_) => {
                let rows = self.connect().await.query(sql, &[]).await.unwrap();
                rows.iter().map(cells).collect()
            }
        }
    }

    /// Reads one number past the store.
    pub async fn number(&self, sql: &str) -> i64 {
        self.query(sql).await[0][0].int()
    }

    fn open_file(&self) -> rusqlite::Connection {
        let connection = rusqlite::Connection::open(self.file()).unwrap();
        connection
            .busy_timeout(std::time::Duration::from_secs(5))
            .unwrap();
        connection
    }
}

/// Connects without TLS.
pub async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// The same server, another database.
fn with_path(url: &str, database: &str) -> String {
    let (address, options) = url
        .split_once('?')
        .map_or((url, String::new()), |(address, options)| {
            (address, format!("?{options}"))
        });
    let (scheme, rest) = address.split_once("://").expect("a URL");
    let server = rest.split_once('/').map_or(rest, |(server, _)| server);
    format!("{scheme}://{server}/{database}{options}")
}

fn query_file(connection: &rusqlite::Connection, sql: &str) -> Vec<Vec<Cell>> {
    use rusqlite::types::Value;
    let mut statement = connection.prepare(sql).unwrap();
    let width = statement.column_count();
    let cell = |value| match value {
        Value::Integer(value) => Cell::Int(value),
        Value::Text(value) => Cell::Text(value),
        Value::Blob(value) => Cell::Bytes(value),
        Value::Null | Value::Real(_) => Cell::Null,
    };
    let rows = statement.query_map([], |row| {
        (0..width).map(|place| row.get(place).map(cell)).collect()
    });
    rows.unwrap().map(Result::unwrap).collect()
}

fn cells(row: &tokio_postgres::Row) -> Vec<Cell> {
    let cell = |place: usize| match *row.columns()[place].type_() {
        Type::INT8 => row.get::<_, Option<i64>>(place).map(Cell::Int),
        Type::INT4 => row
            .get::<_, Option<i32>>(place)
            .map(|v| Cell::Int(v.into())),
        Type::BYTEA => row.get::<_, Option<Vec<u8>>>(place).map(Cell::Bytes),
        _ => row.get::<_, Option<String>>(place).map(Cell::Text),
    };
    let all = (0..row.len()).map(|place| cell(place).unwrap_or(Cell::Null));
    all.collect()
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let (server, drop) = (
            self.server.clone(),
            format!("DROP DATABASE {} WITH (FORCE)", self.name),
        );
        // A runtime of its own: the test's may be gone or busy.
        let removal = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.map(|runtime| {
                runtime.block_on(async { connect(&server).await.batch_execute(&drop).await })
            })
        });
        // What cannot be removed now does not make the test wrong.
        let _ = removal.join();
    }
}
