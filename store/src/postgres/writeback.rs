//! Has PostgreSQL write pages out as it goes, also where it works by itself.

use std::time::Duration;

use tokio_postgres::Client;

use super::explain;

/// The statement that sets it for whoever works on this database: autovacuum, which nobody else
/// can tell, and our readers. A value that somebody chose stays, 0 as well.
const STATEMENT: &str = "
    SELECT format('ALTER DATABASE %I SET backend_flush_after = ''256kB''', datname),
           pg_has_role(datdba, 'USAGE')
    FROM pg_database, pg_settings
    WHERE datname = current_database() AND name = 'backend_flush_after' AND source = 'default'";

/// A start does not wait for a standby for its sake, nor long for whoever does the same.
const AT_ONCE: &str =
    "SET synchronous_commit = local; SET lock_timeout = '1s'; SET statement_timeout = '1s'";
const LIMIT: Duration = Duration::from_secs(4);

/// What is left to the operating system goes to the disk at once after half a minute, and
/// commits wait for hundreds of MB. Nothing rests on this but how long they take, so a server that
/// knows no such setting, and a user who may not set it, serve as well.
///
/// The connection is of no use for anything else afterwards.
pub(super) async fn spread(client: &Client) {
    match tokio::time::timeout(LIMIT, set(client)).await {
        Ok(Ok(None)) => {}
        Ok(Ok(Some(true))) => {
            tracing::info!("PostgreSQL writes this database's pages out as it goes from now on");
        }
        Ok(Ok(Some(false))) => {
            tracing::info!(
                "only the database's owner can have PostgreSQL write its pages out as it goes: \
                 see backend_flush_after in docs/operations.md if commits stall"
            );
        }
        Ok(Err(error)) => {
            tracing::debug!(error = explain(&error), "backend_flush_after is not set");
        }
        Err(_) => tracing::debug!("no answer while backend_flush_after was to be set"),
    }
}

/// Whether it was set, or could not be; nothing when there is nothing to set.
async fn set(client: &Client) -> Result<Option<bool>, tokio_postgres::Error> {
    client.batch_execute(AT_ONCE).await?;
    let Some(row) = client.query_opt(STATEMENT, &[]).await? else {
        return Ok(None);
    };
    let (statement, may): (String, bool) = (row.try_get(0)?, row.try_get(1)?);
    if may {
        client.batch_execute(&statement).await?;
    }
    Ok(Some(may))
}
