//! Events as searches and proofs read them.

use crate::sql::statements;

statements! {
    COUNT_AFTER = "SELECT CAST(COUNT(1) AS BIGINT) FROM events WHERE id > $1";
}
