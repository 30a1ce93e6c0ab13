//! What others say about a chain: places that a checkpoint, a later chain or the head row names.

use std::collections::BTreeMap;
use std::fmt;

use domain::chain::{ChainName, Head};
use domain::checkpoint::hex;

use super::report::{Finding, FindingKind};

/// Who says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// The chain's own head row.
    HeadRow,
    /// A chain that began later.
    Chain(ChainName),
    /// A checkpoint of the database.
    Checkpoint(i64),
    /// A checkpoint from outside.
    Exported(i64),
    /// What this process proved before.
    Memory,
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HeadRow => f.write_str("The head row"),
            Self::Chain(name) => write!(f, "The later chain {}", hex(&name.0)),
            Self::Checkpoint(id) => write!(f, "Checkpoint {id}"),
            Self::Exported(id) => write!(f, "The exported checkpoint {id}"),
            Self::Memory => f.write_str("An earlier proof"),
        }
    }
}

/// That a chain had a certain event at a certain place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub head: Head,
    pub by: By,
}

impl Claim {
    /// The chain has another event at that place.
    pub(super) fn contradicted(&self, chain: ChainName) -> Finding {
        let seq = self.head.seq;
        let (kind, text) = match self.by {
            By::HeadRow => (
                FindingKind::HeadMismatch,
                "The head row is not the last event of the chain.".to_owned(),
            ),
            by => (
                FindingKind::Replaced,
                format!("{by} saw another history up to this event."),
            ),
        };
        Finding::of_chain(kind, chain, text).at(seq, seq)
    }

    /// The chain ends at `end`, before that place; `rows` is the number that its last
    /// row bears.
    pub(super) fn beyond(&self, chain: ChainName, end: i64, rows: i64) -> Finding {
        let seq = self.head.seq;
        if self.by == By::HeadRow && seq <= rows {
            return self.contradicted(chain);
        }
        let text = format!(
            "{} names event {seq}, but the chain ends at {end}.",
            self.by
        );
        Finding::of_chain(FindingKind::CutTail, chain, text).at(end + 1, seq)
    }

    /// The whole chain is not there.
    pub(super) fn vanished(&self, chain: ChainName) -> Finding {
        let seq = self.head.seq;
        let text = format!(
            "{} names this chain up to event {seq}; it is gone.",
            self.by
        );
        Finding::of_chain(FindingKind::VanishedChain, chain, text)
    }
}

/// All claims, by the chain that they speak of.
#[derive(Default)]
pub(super) struct Claims(BTreeMap<ChainName, Vec<Claim>>);

impl Claims {
    /// Adds a claim; one that was made before is not kept twice.
    pub(super) fn add(&mut self, chain: ChainName, head: Head, by: By) {
        let of_chain = self.0.entry(chain).or_default();
        if of_chain.last().is_none_or(|last| last.head != head) {
            of_chain.push(Claim { head, by });
        }
    }

    /// The claims about a chain, ascending; they are gone from here.
    pub(super) fn take(&mut self, chain: ChainName) -> Vec<Claim> {
        let mut claims = self.0.remove(&chain).unwrap_or_default();
        claims.sort_by_key(|claim| claim.head.seq);
        claims
    }

    /// One claim for each chain that nobody took.
    pub(super) fn rest(self) -> Vec<(ChainName, Claim)> {
        let last = |claims: Vec<Claim>| claims.into_iter().max_by_key(|claim| claim.head.seq);
        let mut rest: Vec<_> = self
            .0
            .into_iter()
            .filter_map(|(chain, claims)| Some((chain, last(claims)?)))
            .collect();
        rest.sort_by_key(|(chain, _)| *chain);
        rest
    }
}
