//! The audit log: searched, proven, vouched for by checkpoints, cut by retention, blanked by erasure.
//!
//! How events are written is the lanes' business (`store`); how they hash onto each
//! other is `domain::chain`. Here they are read. `docs/audit.md` is the page for people.

mod checkpoints;
mod claims;
mod erasure;
mod index;
mod merge;
mod pauses;
mod proof;
mod prover;
mod report;
mod retention;
mod search;
mod suspects;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::BTreeMap;

use domain::chain::{ChainName, Head};
use tokio::sync::Mutex;

pub(crate) use index::Haste;
pub use proof::{AuditOptions, verify, verify_links_only};
pub use report::{AuditReport, Finding, FindingKind, Proof};
pub use search::{AuditEntry, AuditQuery};

/// How far this process has proven each chain itself; `None` before the first time.
#[derive(Default)]
pub(crate) struct Memory(Mutex<Option<BTreeMap<ChainName, Head>>>);
