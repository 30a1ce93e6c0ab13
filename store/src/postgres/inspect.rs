//! Looks at the server before anything is trusted to it.

use tokio_postgres::Client;

use super::trouble::Trouble;
use super::value::row;
use crate::error::StoreError;

const SETTINGS: &str = "SELECT CAST(pg_is_in_recovery() AS TEXT),
      current_setting('default_transaction_read_only'), current_setting('fsync'),
      current_setting('full_page_writes'), current_setting('server_encoding')";

/// Refuses a server that cannot be written to, or that may forget what it has
/// confirmed: a code accepted twice after a power cut is what we are here to prevent.
pub(super) async fn refuse_unsafe(client: &Client) -> Result<(), StoreError> {
    let rows = client.query(SETTINGS, &[]).await;
    let rows = rows.map_err(|error| Trouble::of(error).into_error())?;
    let mut row = rows
        .first()
        .map(row)
        .transpose()?
        .ok_or_else(|| StoreError::Corrupt("the server tells no settings".into()))?;
    let found: [String; 5] = [
        row.text(0)?,
        row.text(1)?,
        row.text(2)?,
        row.text(3)?,
        row.text(4)?,
    ];
    match objection(&found) {
        Some(sentence) => Err(StoreError::Unusable(sentence)),
        None => Ok(()),
    }
}

fn objection(found: &[String; 5]) -> Option<String> {
    let [standby, read_only, fsync, full_page_writes, encoding] = found.each_ref().map(|s| &**s);
    let unsafe_setting = |name, danger| {
        format!("the database server runs with {name} = off, so that {danger}: set {name} = on")
    };
    if standby != "false" {
        Some("the database is a read-only standby: connect to the primary".into())
    } else if read_only != "off" {
        Some(
            "the database is read-only (default_transaction_read_only = on): connect to the \
             primary, or set it to off for this user and database"
                .into(),
        )
    } else if fsync != "on" {
        Some(unsafe_setting(
            "fsync",
            "a power cut can undo what it has confirmed",
        ))
    } else if full_page_writes != "on" {
        Some(unsafe_setting(
            "full_page_writes",
            "a power cut can damage its files",
        ))
    } else if encoding != "UTF8" {
        Some(format!(
            "the database has the encoding {encoding}: create one with ENCODING 'UTF8'"
        ))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_dangerous_setting_is_named() {
        fn check(place: usize, value: &str, says: Option<&str>) {
            let mut found = ["false", "off", "on", "on", "UTF8"].map(String::from);
            found[place] = value.into();
            match (objection(&found), says) {
                (None, None) => {}
                (Some(sentence), Some(word)) => assert!(sentence.contains(word), "{sentence}"),
                (found, _) => panic!("{found:?} for {value} at {place}"),
            }
        }
        check(0, "false", None);
        check(0, "true", Some("standby"));
        check(1, "on", Some("default_transaction_read_only"));
        check(2, "off", Some("fsync"));
        check(3, "off", Some("full_page_writes"));
        check(4, "SQL_ASCII", Some("SQL_ASCII"));
    }
}
