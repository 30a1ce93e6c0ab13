//! Chains and their heads: what a lane reads and writes at its start and in every batch.

use domain::Time;
use domain::chain::{ChainName, Head, Link};

use crate::error::StoreError;
use crate::lane::chain::NewChain;
use crate::sql::statements;
use crate::value::{Row, Value, params};

statements! {
    NEWEST = "SELECT c.name, h.seq, h.link FROM chains c JOIN chain_heads h ON h.chain = c.id
              ORDER BY c.id DESC LIMIT 1";
    LATEST_TIME = "SELECT CAST(MAX(at) AS BIGINT) FROM chain_heads";
    /// Chains are counted by themselves: an event's id has room for few of them.
    TAKE_ID = "INSERT INTO id_blocks (kind, next) VALUES ('chain', 1)
               ON CONFLICT (kind) DO UPDATE SET next = id_blocks.next + 1 RETURNING next";
    INSERT = "INSERT INTO chains (id, name, started_at, before_name, before_seq, before_link,
                first_link, first_mac, cut_seq, indexed_seq)
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0)";
    INSERT_HEAD = "INSERT INTO chain_heads (chain, seq, link, mac, at) VALUES ($1, $2, $3, $4, $5)";
    SAVE_HEAD = "UPDATE chain_heads SET seq = $2, link = $3, mac = $4, at = $5 WHERE chain = $1";
    HEAD = "SELECT seq, link, at FROM chain_heads WHERE chain = $1";
    INSERT_EVENT = "INSERT INTO events (id, at, action, success, user_id, device_id, caller,
                      request_id, detail, personal, personal_digest, salt, link, mac)
                    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, NULL, $11, $12, $13)";
}

/// The newest chain and where it stands, from a row of [`NEWEST`].
pub(crate) fn newest(row: Option<Row>) -> Result<Option<(ChainName, Head)>, StoreError> {
    row.map(|mut row| {
        let head = Head {
            seq: row.int(1)?,
            link: Link(row.fixed(2)?),
        };
        Ok((ChainName(row.fixed(0)?), head))
    })
    .transpose()
}

/// The parameters of [`INSERT`].
pub(crate) fn insert_params(new: &NewChain) -> Vec<Value> {
    params![
        new.tail.chain,
        new.tail.name.0,
        new.tail.at,
        new.before.map(|(name, _)| name.0.to_vec()),
        new.before.map(|(_, head)| head.seq),
        new.before.map(|(_, head)| head.link.0.to_vec()),
        new.first_link.0,
        new.first_mac,
    ]
}

/// The parameters of [`INSERT_HEAD`] and [`SAVE_HEAD`].
pub(crate) fn head_params(chain: i64, head: &Head, mac: [u8; 16], at: Time) -> Vec<Value> {
    params![chain, head.seq, head.link.0, mac, at]
}
