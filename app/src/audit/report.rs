//! What a proof of the audit log says: how much it covered and every fault with its place.

use domain::chain::ChainName;
use domain::checkpoint::hex;
use serde::Serialize;

/// Findings listed one by one; more are counted only.
const MOST_FINDINGS: usize = 1000;

/// What a proof found.
#[derive(Clone, Debug, Serialize)]
pub struct AuditReport {
    /// What could be checked with the keys at hand.
    pub proof: Proof,
    /// Chains in the log.
    pub chains: u64,
    /// Events whose place in their chain was checked.
    pub events: u64,
    /// Of these, events whose personal fields an erasure removed.
    pub erased: u64,
    /// Checkpoints of the database that were checked.
    pub checkpoints: u64,
    /// The number of the exported checkpoint that was given.
    pub exported_checkpoint: Option<i64>,
    /// Every fault, at most 1000.
    pub findings: Vec<Finding>,
    /// Faults beyond these.
    pub more_findings: u64,
}

/// How much a proof proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// Links, MACs and signatures.
    Full,
    /// Links and checkpoint signatures: the MACs need the master secret.
    Links,
}

/// What is wrong at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// A row was changed.
    Edited,
    /// Events are missing between others.
    Missing,
    /// A row stands where none belongs.
    Inserted,
    /// An event stands at another place than its own.
    Reordered,
    /// The end of a chain is missing.
    CutTail,
    /// A whole chain is missing, though something else names it.
    VanishedChain,
    /// The head row is not the last event.
    HeadMismatch,
    /// Personal fields are gone without an erasure of that user.
    BlankWithoutErasure,
    /// A link was not written by a server that holds the keys.
    BadMac,
    /// Another history stands where a checkpoint or a later chain saw this one.
    Replaced,
    /// The beginning of a chain is gone without the server's signature.
    BadCut,
    /// A checkpoint that this server did not sign, or one is missing.
    BadCheckpoint,
}

/// One fault and its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What is wrong.
    pub kind: FindingKind,
    /// The chain's name in hexadecimal; `null` for what belongs to no chain.
    pub chain: Option<String>,
    /// The sequence number in the chain; the first one when it is about several.
    pub seq: Option<i64>,
    /// The last sequence number, when it is about several.
    pub last_seq: Option<i64>,
    /// The event's id as searches show it.
    pub event: Option<String>,
    /// One sentence for people.
    pub text: String,
}

impl Finding {
    /// A fault that concerns the log as a whole.
    pub(super) fn of_log(kind: FindingKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            chain: None,
            seq: None,
            last_seq: None,
            event: None,
            text: text.into(),
        }
    }

    /// A fault of a chain.
    pub(super) fn of_chain(kind: FindingKind, chain: ChainName, text: impl Into<String>) -> Self {
        Self {
            chain: Some(hex(&chain.0)),
            ..Self::of_log(kind, text)
        }
    }

    /// With the first and the last sequence number it is about.
    pub(super) fn at(mut self, first: i64, last: i64) -> Self {
        self.seq = Some(first);
        self.last_seq = (last != first).then_some(last);
        self
    }

    /// With the row it is about.
    pub(super) fn on_event(mut self, id: i64) -> Self {
        self.event = Some(id.to_string());
        self
    }
}

impl AuditReport {
    pub(super) fn new(proof: Proof) -> Self {
        Self {
            proof,
            chains: 0,
            events: 0,
            erased: 0,
            checkpoints: 0,
            exported_checkpoint: None,
            findings: Vec::new(),
            more_findings: 0,
        }
    }

    /// Nothing is wrong.
    pub fn holds(&self) -> bool {
        self.findings.is_empty() && self.more_findings == 0
    }

    pub(super) fn add(&mut self, finding: Finding) {
        if self.findings.len() < MOST_FINDINGS {
            self.findings.push(finding);
        } else {
            self.more_findings += 1;
        }
    }
}
