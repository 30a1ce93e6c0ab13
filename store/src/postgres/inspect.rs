//! Looks at the server before anything is trusted to it.

/// What is asked of a server, as the columns that [`objection`] takes.
macro_rules! settings {
    () => {
        "CAST(pg_is_in_recovery() AS TEXT),
         current_setting('default_transaction_read_only'), current_setting('server_encoding'),
         current_setting('fsync'), current_setting('full_page_writes'),
         current_setting('synchronous_commit'), current_setting('zero_damaged_pages'),
         current_setting('ignore_checksum_failure'), current_setting('data_sync_retry')"
    };
}
pub(super) use settings;

/// The same as a query.
pub(super) const SETTINGS: &str = concat!("SELECT ", settings!());
pub(super) const COLUMNS: usize = 3 + DURABLE.len();

/// Settings with which a server loses what it has confirmed, in the order of the columns:
/// the name, the only safe value, and what happens with another. `synchronous_commit` is
/// what this connection asked for, whatever the server's default is: something between
/// us and the server has kept it from being set when it is not `on`.
const DURABLE: [(&str, &str, &str); 6] = [
    ("fsync", "on", "a power cut can undo what it has confirmed"),
    ("full_page_writes", "on", "a power cut can damage its files"),
    (
        "synchronous_commit",
        "on",
        "it confirms what is not on the disk",
    ),
    (
        "zero_damaged_pages",
        "off",
        "it empties damaged pages and goes on",
    ),
    (
        "ignore_checksum_failure",
        "off",
        "it goes on with damaged pages",
    ),
    (
        "data_sync_retry",
        "off",
        "it can take for written what a failed sync has lost",
    ),
];

/// What speaks against a server that cannot be written to, or that may forget what it has
/// confirmed: a code accepted twice after a power cut is what we are here to prevent.
pub(super) fn objection(found: &[String]) -> Option<String> {
    let [standby, read_only, encoding, durable @ ..] = found else {
        return Some("the database server tells too few settings".into());
    };
    if standby != "false" {
        return Some("the database is a read-only standby: connect to the primary".into());
    }
    if read_only != "off" {
        return Some(
            "the database is read-only (default_transaction_read_only = on): connect to the \
             primary, or set it to off for this user and database"
                .into(),
        );
    }
    if encoding != "UTF8" {
        return Some(format!(
            "the database has the encoding {encoding}: create one with ENCODING 'UTF8'"
        ));
    }
    let mut pairs = DURABLE.iter().zip(durable);
    let ((name, safe, danger), value) = pairs.find(|((_, safe, _), value)| value != safe)?;
    Some(format!(
        "the database server runs with {name} = {value}, so that {danger}: set {name} = {safe}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_dangerous_setting_is_named() {
        fn check(place: usize, value: &str, says: Option<&str>) {
            let good = [
                "false", "off", "UTF8", "on", "on", "on", "off", "off", "off",
            ];
            let mut found = good.map(String::from);
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
        check(2, "SQL_ASCII", Some("SQL_ASCII"));
        check(3, "off", Some("set fsync = on"));
        check(4, "off", Some("set full_page_writes = on"));
        check(5, "off", Some("set synchronous_commit = on"));
        check(5, "local", Some("synchronous_commit = local"));
        check(6, "on", Some("set zero_damaged_pages = off"));
        check(7, "on", Some("set ignore_checksum_failure = off"));
        check(8, "on", Some("set data_sync_retry = off"));
    }
}
