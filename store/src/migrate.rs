//! Migrations: one list of texts for both engines, run once each, in order, resumable.

use rusqlite::Connection;
use tokio_postgres::Client;

use crate::error::StoreError;
use crate::postgres::explain;
use crate::sqlite::classify;

/// A step from one version of the schema to the next.
pub(crate) struct Migration {
    pub version: i64,
    pub text: &'static str,
}

/// All steps, ascending without a gap.
pub(crate) const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        text: include_str!("../migrations/0001_verifier.sql"),
    },
    Migration {
        version: 2,
        text: include_str!("../migrations/0002_doors.sql"),
    },
    Migration {
        version: 3,
        text: include_str!("../migrations/0003_nodes.sql"),
    },
    Migration {
        version: 4,
        text: include_str!("../migrations/0004_kept_answers.sql"),
    },
    Migration {
        version: 5,
        text: include_str!("../migrations/0005_ends.sql"),
    },
];

pub(crate) const CREATE_TABLE: &str =
    "CREATE TABLE IF NOT EXISTS migrations (version BIGINT PRIMARY KEY)";
pub(crate) const CURRENT: &str = "SELECT CAST(COALESCE(MAX(version), 0) AS BIGINT) FROM migrations";
pub(crate) const RECORD: &str = "INSERT INTO migrations (version) VALUES ($1)";

/// The version that this server needs.
pub(crate) fn latest() -> i64 {
    MIGRATIONS.last().map_or(0, |migration| migration.version)
}

/// A database written by a newer server is not touched.
pub(crate) fn refuse_newer(found: i64) -> Result<(), StoreError> {
    if found > latest() {
        return Err(StoreError::Unusable(format!(
            "the database has schema version {found}, this otpd knows up to {}: start the newer \
             otpd that wrote it",
            latest()
        )));
    }
    Ok(())
}

/// Tables whose rows are updated all the time: room in the page for the new version
/// of a row keeps PostgreSQL from touching any index.
const UPDATED_OFTEN: [(&str, u8); 6] = [
    ("device_hot", 50),
    ("guards", 70),
    ("chain_heads", 20),
    ("stats", 50),
    ("stat_counts", 50),
    ("stat_delays", 50),
];

/// The statements of a migration for SQLite.
pub(crate) fn for_sqlite(text: &str) -> String {
    statements(text)
        .map(|statement| {
            let statement = statement
                .replace(" BIGINT", " INTEGER")
                .replace(" BYTEA", " BLOB");
            if !statement.contains("CREATE TABLE") {
                return format!("{statement};\n");
            }
            // A table whose key is not one integer is stored in the order of its key.
            let keyed = statement.contains("PRIMARY KEY (")
                || statement.contains("TEXT PRIMARY KEY")
                || statement.contains("BLOB PRIMARY KEY");
            let rowid = if keyed { ", WITHOUT ROWID" } else { "" };
            format!("{statement} STRICT{rowid};\n")
        })
        .collect()
}

/// The statements of a migration for PostgreSQL.
pub(crate) fn for_postgres(text: &str) -> String {
    statements(text)
        .map(|statement| {
            let statement = statement.replace(" TEXT", " TEXT COLLATE \"C\"");
            let room = UPDATED_OFTEN
                .iter()
                .find(|(table, _)| statement.contains(&format!("CREATE TABLE {table} (")));
            match room {
                Some((_, percent)) => format!("{statement} WITH (fillfactor = {percent});\n"),
                None => format!("{statement};\n"),
            }
        })
        .collect()
}

/// The statements of a text, without comments.
fn statements(text: &str) -> impl Iterator<Item = String> + '_ {
    let code = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("--"))
        .collect::<Vec<_>>()
        .join("\n");
    code.split(';')
        .map(|statement| statement.trim().to_owned())
        .filter(|statement| !statement.is_empty())
        .collect::<Vec<_>>()
        .into_iter()
}

fn current(connection: &Connection) -> Result<i64, StoreError> {
    connection
        .query_row(CURRENT, [], |row| row.get(0))
        .map_err(classify)
}

/// Brings a SQLite database to the version that this server needs. Each step is one
/// transaction, so a kill leaves a whole version behind.
pub(crate) fn sqlite(connection: &Connection) -> Result<(), StoreError> {
    connection
        .execute_batch(&for_sqlite(CREATE_TABLE))
        .map_err(classify)?;
    let found = current(connection)?;
    refuse_newer(found)?;
    for migration in MIGRATIONS.iter().filter(|m| m.version > found) {
        connection
            .execute_batch("BEGIN IMMEDIATE")
            .map_err(classify)?;
        let apply = connection
            .execute_batch(&for_sqlite(migration.text))
            .and_then(|()| connection.execute(&crate::sql::for_sqlite(RECORD), [migration.version]))
            .and_then(|_| connection.execute_batch("COMMIT"));
        apply.map_err(|error| {
            StoreError::Unusable(format!("migration {}: {error}", migration.version))
        })?;
    }
    Ok(())
}

/// Brings a PostgreSQL database to the version that this server needs, one process at
/// a time. Each step is one transaction, so a kill leaves a whole version behind. The
/// lock is the connection's and goes with it.
pub(crate) async fn postgres(client: &Client) -> Result<(), StoreError> {
    let unusable = |error| StoreError::Unusable(format!("migration: {}", explain(&error)));
    let lock = format!("SELECT pg_advisory_lock({LOCK})");
    client.batch_execute(&lock).await.map_err(unusable)?;
    let create = for_postgres(CREATE_TABLE);
    client.batch_execute(&create).await.map_err(unusable)?;
    let found = current_postgres(client).await.map_err(unusable)?;
    refuse_newer(found)?;
    for migration in MIGRATIONS.iter().filter(|m| m.version > found) {
        let record = RECORD.replace("$1", &migration.version.to_string());
        let steps = for_postgres(migration.text);
        let transaction = format!("BEGIN;\n{steps}{record};\nCOMMIT");
        let applied = client.batch_execute(&transaction).await;
        applied.map_err(|error| {
            let version = migration.version;
            StoreError::Unusable(format!("migration {version}: {}", explain(&error)))
        })?;
    }
    let unlock = format!("SELECT pg_advisory_unlock({LOCK})");
    client.batch_execute(&unlock).await.map_err(unusable)
}

/// The advisory lock of migrations: "otpd" in ASCII.
const LOCK: i64 = 0x6f74_7064;

async fn current_postgres(client: &Client) -> Result<i64, tokio_postgres::Error> {
    client.query_one(CURRENT, &[]).await?.try_get(0)
}

/// For connections that only read: the schema has to be the one we know.
pub(crate) async fn require_current_postgres(client: &Client) -> Result<(), StoreError> {
    let found = current_postgres(client).await;
    require(found.map_err(|_| not_ours())?)
}

/// For a connection that only reads: the schema has to be the one we know.
pub(crate) fn require_current(connection: &Connection) -> Result<(), StoreError> {
    require(current(connection).map_err(|_| not_ours())?)
}

fn not_ours() -> StoreError {
    StoreError::Unusable("this is not a database of otpd, or it is empty".into())
}

fn require(found: i64) -> Result<(), StoreError> {
    refuse_newer(found)?;
    if found < latest() {
        return Err(StoreError::Unusable(format!(
            "the database has schema version {found}, this otpd needs {}: run `otpd migrate`",
            latest()
        )));
    }
    Ok(())
}

/// The schema as SQLite has it, for readers (`store/schema.sql`).
pub fn schema() -> String {
    let mut text = String::from(
        "-- The schema of otpd as SQLite has it. Generated from store/migrations by\n\
         -- `cargo xtask generate`; do not edit.\n\n",
    );
    for migration in MIGRATIONS {
        text.push_str(&for_sqlite(migration.text));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_schema_is_the_one_in_force() {
        let committed = include_str!("../schema.sql");
        assert!(committed == schema(), "run `cargo xtask generate`");
    }

    #[test]
    fn versions_ascend_without_a_gap() {
        for (place, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(migration.version, place as i64 + 1);
        }
    }

    #[test]
    fn the_types_are_mapped_for_each_engine() {
        let text = "-- a; comment\nCREATE TABLE t (a BYTEA PRIMARY KEY, b BIGINT, c TEXT);\n";
        assert_eq!(
            for_sqlite(text),
            "CREATE TABLE t (a BLOB PRIMARY KEY, b INTEGER, c TEXT) STRICT, WITHOUT ROWID;\n"
        );
        assert_eq!(
            for_postgres(text),
            "CREATE TABLE t (a BYTEA PRIMARY KEY, b BIGINT, c TEXT COLLATE \"C\");\n"
        );
    }

    #[test]
    fn a_second_run_changes_nothing_and_a_newer_schema_is_refused() {
        let connection = Connection::open_in_memory().unwrap();
        sqlite(&connection).unwrap();
        sqlite(&connection).unwrap();
        assert_eq!(current(&connection).unwrap(), latest());
        connection
            .execute(RECORD.replace('$', "?").as_str(), [latest() + 1])
            .unwrap();
        let text = sqlite(&connection).unwrap_err().to_string();
        assert!(text.contains("start the newer otpd"), "{text}");
    }
}
