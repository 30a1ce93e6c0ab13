//! Signed checkpoints of the audit chains.

use crate::sql::statements;

statements! {
    LATEST = "SELECT id, at, body FROM checkpoints ORDER BY id DESC LIMIT 1";
    INSERT = "INSERT INTO checkpoints (id, at, body) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING";
}
