//! Opening the database file: the lock that keeps other processes out, the settings that make commits durable.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::error::StoreError;
use crate::value::{Row, Value};

/// How long the writer waits for another connection's lock.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// What a process wants to do with the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Serve, or change something offline: no other process may do so at the same time.
    Write,
    /// Look.
    Read,
}

/// The file `<database>.lock`, locked for as long as this value lives.
pub(crate) struct LockFile {
    _file: File,
}

impl LockFile {
    /// Takes the lock, or says who holds it.
    ///
    /// # Errors
    /// When another process holds it or the folder cannot be written.
    pub(crate) fn take(database: &Path) -> Result<Self, StoreError> {
        let path = beside(database, ".lock");
        let unusable = |error: std::io::Error| {
            StoreError::Unusable(format!("cannot use {}: {error}", path.display()))
        };
        let file = private(&path, true).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Unusable(format!(
                "{} is in use by another otpd process: stop it first",
                database.display()
            ))),
            Err(TryLockError::Error(error)) => Err(unusable(error)),
        }
    }
}

fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// A file that only its owner can read.
fn private(path: &Path, create: bool) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(create)
        .truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn explain(path: &Path, error: &dyn std::error::Error) -> StoreError {
    StoreError::Unusable(format!(
        "cannot open the database {}: {error}",
        path.display()
    ))
}

/// The one connection that writes.
pub(crate) fn for_writing(path: &Path) -> Result<Connection, StoreError> {
    private(path, true).map_err(|e| explain(path, &e))?;
    let connection = Connection::open(path).map_err(|e| explain(path, &e))?;
    let set = |connection: &Connection| {
        // A commit is on the disk before it is answered (FULL syncs the log each time);
        // checkpoints are the writer's business, between commits. What is deleted is
        // overwritten: an erased person stands in no free page.
        connection.execute_batch(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             PRAGMA wal_autocheckpoint = 0;
             PRAGMA secure_delete = ON;
             PRAGMA cache_size = -32768;
             PRAGMA temp_store = MEMORY;",
        )?;
        connection.busy_timeout(PATIENCE)
    };
    set(&connection).map_err(|e| explain(path, &e))?;
    connection.set_prepared_statement_cache_capacity(64);
    crate::migrate::sqlite(&connection)?;
    check_statements(&connection)?;
    Ok(connection)
}

/// The connection that writes the log back beside the one that writes it.
pub(crate) fn for_log(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open(path).map_err(|e| explain(path, &e))?;
    // The file is synced before the log may begin anew. It reads nothing twice.
    let settings = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                    PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = 0;";
    let set = connection.execute_batch(settings);
    set.map_err(|e| explain(path, &e))?;
    Ok(connection)
}

/// The file itself, for whoever waits until all of it is on the disk.
pub(super) fn for_syncing(path: &Path) -> Result<File, StoreError> {
    private(path, false).map_err(|e| explain(path, &e))
}

/// A connection that only reads.
pub(crate) fn for_reading(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|e| explain(path, &e))?;
    connection
        .execute_batch("PRAGMA busy_timeout = 1000; PRAGMA cache_size = -4096;")
        .map_err(|e| explain(path, &e))?;
    connection.set_prepared_statement_cache_capacity(64);
    crate::migrate::require_current(&connection)?;
    Ok(connection)
}

/// A typing error in a statement stops the server before it listens.
fn check_statements(connection: &Connection) -> Result<(), StoreError> {
    for text in crate::sql::all() {
        connection
            .prepare(&crate::sql::for_sqlite(text))
            .map_err(|error| StoreError::Unusable(format!("{error} in: {text}")))?;
    }
    Ok(())
}

/// Tells a database that cannot be used right now from a defect.
pub(crate) fn classify(error: rusqlite::Error) -> StoreError {
    let away = matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
        )
    );
    if away {
        StoreError::lost(error)
    } else {
        StoreError::Statement(Box::new(error))
    }
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        use rusqlite::types::{ToSqlOutput, ValueRef};
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(value) => ValueRef::Integer(*value),
            Self::Text(value) => ValueRef::Text(value.as_bytes()),
            Self::Bytes(value) => ValueRef::Blob(value),
        }))
    }
}

/// Runs a statement to its end and gives it back reset.
pub(crate) fn rows(
    connection: &Connection,
    sql: &'static str,
    params: &[Value],
) -> Result<Vec<Row>, StoreError> {
    let mut statement = connection
        .prepare_cached(&crate::sql::for_sqlite(sql))
        .map_err(classify)?;
    let width = statement.column_count();
    let mut found = statement
        .query(rusqlite::params_from_iter(params))
        .map_err(classify)?;
    let mut rows = Vec::new();
    while let Some(row) = found.next().map_err(classify)? {
        let field = |place| row.get_ref(place).map(value).map_err(classify);
        rows.push(Row((0..width).map(field).collect::<Result<_, _>>()?));
    }
    Ok(rows)
}

fn value(field: rusqlite::types::ValueRef<'_>) -> Value {
    use rusqlite::types::ValueRef;
    match field {
        ValueRef::Integer(value) => Value::Int(value),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
        // No column of ours is REAL; STRICT tables keep it that way.
        ValueRef::Null | ValueRef::Real(_) => Value::Null,
    }
}
