//! Declares SQL statements as constants, so that all of them can be prepared at start.

/// Declares statements and the list of them, `ALL`.
macro_rules! statements {
    ($($(#[doc = $doc:literal])* $name:ident = $text:expr;)+) => {
        $($(#[doc = $doc])* pub(crate) const $name: &str = $text;)+
        /// Every statement of this file.
        pub(crate) const ALL: &[&str] = &[$($name),+];
    };
}
pub(crate) use statements;

/// Every statement that both engines share.
pub(crate) fn all() -> impl Iterator<Item = &'static str> {
    use crate::tables::{
        accounts, audit, chains, challenges, checkpoints, counts, devices, enrolments, idempotency,
        keys, meta, nodes, outbox, people, recovery, sessions, signing, stats, users,
    };
    [
        accounts::ALL,
        audit::ALL,
        checkpoints::ALL,
        chains::ALL,
        challenges::ALL,
        counts::ALL,
        devices::ALL,
        enrolments::ALL,
        idempotency::ALL,
        keys::ALL,
        meta::ALL,
        nodes::ALL,
        outbox::ALL,
        people::ALL,
        recovery::ALL,
        sessions::ALL,
        signing::ALL,
        stats::ALL,
        users::ALL,
    ]
    .into_iter()
    .flatten()
    .copied()
}

/// SQLite numbers `$n` by first appearance, `?n` by the number: the same statement
/// for SQLite.
pub(crate) fn for_sqlite(text: &str) -> String {
    text.replace('$', "?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_statement_uses_a_dollar_for_anything_but_a_parameter() {
        for text in all() {
            for part in text.split('$').skip(1) {
                assert!(part.starts_with(|c: char| c.is_ascii_digit()), "{text}");
            }
            assert!(!text.contains('*'), "no star: {text}");
        }
    }
}
