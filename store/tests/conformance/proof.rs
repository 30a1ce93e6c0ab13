//! Proves the stored chains from their rows: no gap, each link over the one before, each chain naming its predecessor.

use domain::Time;
use domain::chain::{ChainName, Covered, Head, Link, first_link, link, personal_digest};

use crate::database::{Cell, Database};

/// A chain that was proven.
#[derive(Clone, Copy, Debug)]
pub struct Proven {
    pub name: ChainName,
    pub before: Option<ChainName>,
    /// Its events.
    pub length: i64,
}

fn fixed<const N: usize>(cell: &Cell) -> [u8; N] {
    cell.bytes().try_into().unwrap()
}

/// Proves all chains, oldest first.
pub async fn chains(database: &Database) -> Vec<Proven> {
    let rows = database
        .query(
            "SELECT c.id, c.name, c.started_at, c.before_name, c.before_seq, c.before_link,
               c.first_link, h.seq, h.link
             FROM chains c JOIN chain_heads h ON h.chain = c.id ORDER BY c.id",
        )
        .await;
    let mut proven = Vec::new();
    for row in rows {
        proven.push(chain(database, &row).await);
    }
    proven
}

async fn chain(database: &Database, row: &[Cell]) -> Proven {
    let name = ChainName(fixed(&row[1]));
    let before = row[4].maybe_int().map(|seq| {
        let link = Link(fixed(&row[5]));
        (ChainName(fixed(&row[3])), Head { seq, link })
    });
    let first = first_link(name, Time::from_millis(row[2].int()), before);
    assert_eq!(first, Link(fixed(&row[6])), "the first link");
    let chain = row[0].int();
    let (from, to) = (chain << 40, (chain + 1) << 40);
    let events = database
        .query(&format!(
            "SELECT id, at, action, success, user_id, device_id, caller, request_id, detail,
               personal, salt, link
             FROM events WHERE id >= {from} AND id < {to} ORDER BY id"
        ))
        .await;
    let mut last = first;
    for (seq, event) in (1..).zip(&events) {
        assert_eq!(event[0].int(), from + seq, "a gap in chain {chain}");
        last = link(&last, name, seq, &covered(event));
        assert_eq!(last, Link(fixed(&event[11])), "link {seq} of chain {chain}");
    }
    let length = i64::try_from(events.len()).unwrap();
    assert_eq!(row[7].int(), length, "the head of chain {chain}");
    assert_eq!(Link(fixed(&row[8])), last, "the head of chain {chain}");
    Proven {
        name,
        before: before.map(|(name, _)| name),
        length,
    }
}

fn covered(event: &[Cell]) -> Covered<'_> {
    Covered {
        at: Time::from_millis(event[1].int()),
        action: event[2].text(),
        success: event[3].int(),
        user: event[4].maybe_int(),
        device: event[5].maybe_int(),
        caller: event[6].text(),
        request_id: event[7].text(),
        detail: event[8].text(),
        personal_digest: personal_digest(&fixed(&event[10]), event[9].text()),
    }
}

/// All events of all chains.
pub async fn events(database: &Database) -> i64 {
    chains(database)
        .await
        .iter()
        .map(|chain| chain.length)
        .sum()
}
