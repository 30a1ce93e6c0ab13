//! Proves the whole audit log, or what came since an earlier proof.

use std::collections::{BTreeMap, HashMap};

use domain::chain::{ChainName, Head};
use domain::checkpoint::{Checkpoint, unhex};
use store::{Store, StoredChain};
use vault::Root;

use super::prover::Prover;
use super::report::AuditReport;
use crate::Error;
use crate::room::{CHECKPOINT, Room};

/// Times that a proof begins again because retention cut under it.
const TRIES: usize = 3;

/// What a proof is told beyond the database.
#[derive(Clone, Debug, Default)]
pub struct AuditOptions {
    /// A checkpoint that was kept elsewhere.
    pub checkpoint: Option<Checkpoint>,
    /// The key that must have signed it, when not this database's.
    pub public_key: Option<[u8; 32]>,
}

/// What checks are made with.
#[derive(Clone, Copy)]
pub(super) struct Keys<'a> {
    pub instance: [u8; 16],
    /// Absent without the master secret.
    pub root: Option<&'a Root>,
    /// The public half of the key that signs checkpoints and cuts.
    pub public: [u8; 32],
}

impl<'a> Keys<'a> {
    pub(super) fn of(room: &'a Room) -> Self {
        Self {
            instance: room.instance(),
            root: Some(&room.root),
            public: room.checkpoint_public(),
        }
    }
}

/// What is proven anew.
#[derive(Clone, Copy)]
pub(super) enum Scope<'a> {
    /// Everything; the places are known from before.
    Whole(&'a AuditOptions, &'a BTreeMap<ChainName, Head>),
    /// What came after these places.
    Since(&'a BTreeMap<ChainName, Head>),
}

/// A report, and where each chain was proven to end.
pub(super) struct Proven {
    pub report: AuditReport,
    pub heads: BTreeMap<ChainName, Head>,
}

/// Proves the whole log. The store may be open for reading only.
///
/// # Errors
/// When the database cannot be read; what is wrong in it stands in the report.
pub async fn verify(
    store: &Store,
    room: &Room,
    options: &AuditOptions,
) -> Result<AuditReport, Error> {
    let proven = prove(
        store,
        Keys::of(room),
        Scope::Whole(options, &BTreeMap::new()),
    )
    .await?;
    Ok(proven.report)
}

/// Proves what can be proven without the master secret: links and signatures. Somebody
/// who may write to the database can make links that hold; without MACs only a
/// checkpoint kept elsewhere shows that. `None` when there is no instance yet.
///
/// # Errors
/// When the database cannot be read.
pub async fn verify_links_only(
    store: &Store,
    options: &AuditOptions,
) -> Result<Option<AuditReport>, Error> {
    let instance = store.fact("instance").await?;
    let own = store.own_keys().await?;
    let stored = own.into_iter().find(|key| key.purpose == CHECKPOINT);
    let stored = stored.and_then(|key| key.public?.try_into().ok());
    let public = options.public_key.or(stored);
    let (Some(instance), Some(public)) = (instance.and_then(|text| unhex(&text)), public) else {
        return Ok(None);
    };
    let keys = Keys {
        instance,
        root: None,
        public,
    };
    let proven = prove(store, keys, Scope::Whole(options, &BTreeMap::new())).await?;
    Ok(Some(proven.report))
}

/// Retention may cut while we read; then what we read does not fit together, and we
/// begin again.
pub(super) async fn prove(
    store: &Store,
    keys: Keys<'_>,
    scope: Scope<'_>,
) -> Result<Proven, Error> {
    let mut tries = 1;
    loop {
        let chains = store.chains().await?;
        let proven = Prover::new(store, keys, scope).run(&chains).await?;
        if proven.report.holds() || tries >= TRIES || !was_cut(store, &chains).await? {
            return Ok(proven);
        }
        tries += 1;
    }
}

async fn was_cut(store: &Store, before: &[StoredChain]) -> Result<bool, Error> {
    let cut = |chain: &StoredChain| chain.cut.as_ref().map_or(0, |cut| cut.head.seq);
    let old: HashMap<i64, i64> = before.iter().map(|c| (c.id, cut(c))).collect();
    let now = store.chains().await?;
    Ok(now
        .iter()
        .any(|c| old.get(&c.id).is_some_and(|old| *old < cut(c))))
}

/// Describes the first findings for a log line.
pub(super) fn summary(report: &AuditReport) -> String {
    let shown = report.findings.iter().take(3).map(|finding| {
        let chain = finding.chain.as_deref().unwrap_or("-");
        let seq = finding.seq.unwrap_or(0);
        format!("{:?} in {chain} at {seq}", finding.kind)
    });
    shown.collect::<Vec<_>>().join("; ")
}
