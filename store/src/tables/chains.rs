//! Chains and their heads: what a lane reads and writes at its start and in every batch, and what a proof reads.

use domain::Time;
use domain::chain::{ChainName, Head, Link};

use super::audit::{name, zeros_unless_fixed};
use crate::Store;
use crate::batch::{Batch, Expect};
use crate::error::{Refusal, StoreError};
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
    /// One statement, so that the heads belong to one moment.
    WITH_HEADS = "SELECT c.id, c.name, c.started_at, c.before_name, c.before_seq, c.before_link,
                    c.first_link, c.first_mac, c.cut_seq, c.cut_link, c.cut_at, c.cut_signature,
                    h.seq, h.link, h.mac, h.at
                  FROM chains c LEFT JOIN chain_heads h ON h.chain = c.id ORDER BY c.id";
    STRAY_HEADS = "SELECT h.chain FROM chain_heads h LEFT JOIN chains c ON c.id = h.chain
                   WHERE c.id IS NULL ORDER BY h.chain";
    NOT_INDEXED = "SELECT c.id, c.indexed_seq, h.seq FROM chains c
                   JOIN chain_heads h ON h.chain = c.id WHERE h.seq > c.indexed_seq ORDER BY c.id";
    INDEXED = "UPDATE chains SET indexed_seq = $3 WHERE id = $1 AND indexed_seq = $2";
    CUT = "UPDATE chains SET cut_seq = $3, cut_link = $4, cut_at = $5, cut_kid = $6,
             cut_signature = $7,
             indexed_seq = CASE WHEN indexed_seq < $3 THEN $3 ELSE indexed_seq END
           WHERE id = $1 AND cut_seq = $2";
}

/// A chain as stored. A binary field of a wrong length is read as zeros, see
/// [`super::audit::StoredEvent`].
#[derive(Clone, Debug)]
pub struct StoredChain {
    /// Its number, part of its events' ids.
    pub id: i64,
    /// Its random name.
    pub name: ChainName,
    /// When it began.
    pub started_at: Time,
    /// The newest chain at that time and where it stood.
    pub before: Option<(ChainName, Head)>,
    /// The link before its first event.
    pub first_link: Link,
    /// The MAC of that.
    pub first_mac: [u8; 16],
    /// Where retention cut it.
    pub cut: Option<StoredCut>,
    /// Its last event; `None` when the row is missing.
    pub head: Option<StoredHead>,
}

/// The head row of a chain.
#[derive(Clone, Copy, Debug)]
pub struct StoredHead {
    /// The last event, or the first link.
    pub head: Head,
    /// The MAC of the link.
    pub mac: [u8; 16],
    /// The latest time written to the chain.
    pub at: Time,
}

/// Where retention cut a chain: the last event that went.
#[derive(Clone, Debug)]
pub struct StoredCut {
    /// Its number and link.
    pub head: Head,
    /// When.
    pub at: Time,
    /// Over all of this.
    pub signature: Vec<u8>,
}

/// The events of a chain that the search index does not have yet: after number
/// `after`, up to and including `until`.
#[derive(Clone, Copy, Debug)]
pub struct Unindexed {
    /// The chain's number.
    pub chain: i64,
    /// The index has all up to here.
    pub after: i64,
    /// The chain's end.
    pub until: i64,
}

fn stored(mut row: Row) -> Result<StoredChain, StoreError> {
    let before = match row.maybe_bytes(3)? {
        None => None,
        Some(bytes) => {
            let head = Head {
                seq: row.maybe_int(4)?.unwrap_or(-1),
                link: Link(zeros_unless_fixed(row.maybe_bytes(5)?.unwrap_or_default())),
            };
            Some((name(bytes), head))
        }
    };
    let cut = match row.int(8)? {
        0 => None,
        seq => Some(StoredCut {
            head: Head {
                seq,
                link: Link(zeros_unless_fixed(row.maybe_bytes(9)?.unwrap_or_default())),
            },
            at: row.maybe_time(10)?.unwrap_or(Time::from_millis(0)),
            signature: row.maybe_bytes(11)?.unwrap_or_default(),
        }),
    };
    let head = match row.maybe_int(12)? {
        None => None,
        Some(seq) => Some(StoredHead {
            head: Head {
                seq,
                link: Link(zeros_unless_fixed(row.bytes(13)?)),
            },
            mac: zeros_unless_fixed(row.bytes(14)?),
            at: row.time(15)?,
        }),
    };
    Ok(StoredChain {
        id: row.int(0)?,
        name: name(row.bytes(1)?),
        started_at: row.time(2)?,
        before,
        first_link: Link(zeros_unless_fixed(row.bytes(6)?)),
        first_mac: zeros_unless_fixed(row.bytes(7)?),
        cut,
        head,
    })
}

impl Store {
    /// All chains with their heads as they stood at one moment, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn chains(&self) -> Result<Vec<StoredChain>, StoreError> {
        let rows = self.rows(WITH_HEADS, params![]).await?;
        rows.into_iter().map(stored).collect()
    }

    /// The numbers of head rows whose chain is not there.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn stray_heads(&self) -> Result<Vec<i64>, StoreError> {
        let rows = self.rows(STRAY_HEADS, params![]).await?;
        rows.iter().map(|row| row.int(0)).collect()
    }

    /// The ends of chains that the search index does not have yet.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn unindexed(&self) -> Result<Vec<Unindexed>, StoreError> {
        let rows = self.rows(NOT_INDEXED, params![]).await?;
        rows.iter()
            .map(|row| {
                Ok(Unindexed {
                    chain: row.int(0)?,
                    after: row.int(1)?,
                    until: row.int(2)?,
                })
            })
            .collect()
    }
}

impl Batch {
    /// States how far the search index has a chain; refused when somebody else moved
    /// it. Goes before the entries, so that two nodes do not write the same ones.
    pub fn mark_indexed(&mut self, chain: i64, from: i64, to: i64) {
        let refusal = Refusal::Missing;
        self.step(INDEXED, params![chain, from, to], Expect::One(refusal));
    }
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
