//! Checkpoints: made over what this process proved itself, stored, exported, checked.

use std::collections::BTreeMap;

use domain::Time;
use domain::chain::{ChainName, Head};
use domain::checkpoint::{CONTEXT, ChainHead, Checkpoint, ExportedHead, hex, message, sorted};
use store::{Batch, Store, StoreError, StoredCheckpoint};
use vault::verify_signature;

use super::claims::{By, Claims};
use super::proof::{AuditOptions, Keys, Scope, prove, summary};
use super::report::{AuditReport, Finding, FindingKind};
use crate::context::Context;
use crate::idempotency::{Kept, Reply, Turn};
use crate::{App, Error};

/// Checkpoints read at once.
const SLICE: i64 = 100;
/// Checkpoints of the last day before the newest one all stay; of an earlier day (UTC) the
/// last one does, which vouches for all that the others vouched for.
const ALL_STAY_MS: i64 = DAY_MS;
const DAY_MS: i64 = 24 * 3_600_000;
/// Checkpoints removed at once.
const THINNED: i64 = 200;
/// Times that another number is tried because another node took it.
const TRIES: usize = 5;

/// Whose checkpoints are believed.
#[derive(Clone, Copy)]
pub(super) struct Trusted {
    pub instance: [u8; 16],
    pub public: [u8; 32],
}

impl Trusted {
    /// The heads of a checkpoint, or what is wrong with it.
    fn heads(&self, checkpoint: &Checkpoint) -> Result<Vec<ChainHead>, &'static str> {
        let malformed = "is not in the form that this server writes";
        let (Some(heads), Some(message)) = (checkpoint.chain_heads(), checkpoint.signed_message())
        else {
            return Err(malformed);
        };
        if checkpoint.instance != hex(&self.instance) {
            return Err("is of another database");
        }
        let signature = data_encoding::HEXLOWER.decode(checkpoint.signature.as_bytes());
        let signature = signature.map_err(|_| malformed)?;
        if verify_signature(&self.public, CONTEXT, &message, &signature) {
            Ok(heads)
        } else {
            Err("does not bear the expected signature")
        }
    }

    fn stored_heads(&self, stored: &StoredCheckpoint) -> Result<Vec<ChainHead>, &'static str> {
        let checkpoint: Checkpoint = serde_json::from_str(&stored.body)
            .map_err(|_| "is not in the form that this server writes")?;
        if checkpoint.id != stored.id || checkpoint.at != stored.at.millis() {
            return Err("stands under another number or time than its own");
        }
        self.heads(&checkpoint)
    }
}

fn bad(what: &str, id: i64, reason: &str) -> Finding {
    let text = format!("{what} {id} {reason}.");
    Finding::of_log(FindingKind::BadCheckpoint, text)
}

/// Before that time a checkpoint goes when a later one of its day stays. It depends on what
/// is stored alone, so that whoever verifies comes to the same result.
fn thinned_before(newest: &StoredCheckpoint) -> Time {
    newest.at.plus_millis(-ALL_STAY_MS)
}

/// Tells gaps in the numbers that thinning out leaves from those that it does not.
#[derive(Default)]
struct Gaps {
    thinned_before: Option<Time>,
    last_day: Option<i64>,
}

impl Gaps {
    /// Whether checkpoints right before this one may be missing: it is old enough, and the
    /// first of its day.
    fn explained_by(&mut self, stored: &StoredCheckpoint) -> bool {
        let day = stored.at.millis().div_euclid(DAY_MS);
        let is_first = self.last_day.replace(day) != Some(day);
        is_first && self.thinned_before.is_some_and(|time| stored.at < time)
    }
}

/// Checks the checkpoints of the database and gathers what they claim. Returns the
/// number of the last one.
pub(super) async fn check_stored(
    store: &Store,
    trusted: &Trusted,
    claims: &mut Claims,
    report: &mut AuditReport,
) -> Result<i64, StoreError> {
    let newest = store.latest_checkpoint().await?;
    let mut gaps = Gaps {
        thinned_before: newest.as_ref().map(thinned_before),
        ..Gaps::default()
    };
    let mut expected = 1;
    loop {
        let page = store.checkpoints(expected - 1, SLICE).await?;
        if page.is_empty() {
            return Ok(expected - 1);
        }
        for stored in page {
            report.checkpoints += 1;
            if !gaps.explained_by(&stored) {
                for missing in (expected..stored.id).take(10) {
                    report.add(bad("Checkpoint", missing, "is missing"));
                }
            }
            expected = stored.id + 1;
            match trusted.stored_heads(&stored) {
                Err(reason) => report.add(bad("Checkpoint", stored.id, reason)),
                Ok(heads) => {
                    for entry in heads {
                        claims.add(entry.name, entry.head, By::Checkpoint(stored.id));
                    }
                }
            }
        }
    }
}

/// Checks a checkpoint from outside and gathers what it claims. `last` is the number of
/// the last one in the database.
pub(super) fn check_exported(
    checkpoint: &Checkpoint,
    last: i64,
    trusted: &Trusted,
    claims: &mut Claims,
    report: &mut AuditReport,
) {
    report.exported_checkpoint = Some(checkpoint.id);
    match trusted.heads(checkpoint) {
        Err(reason) => report.add(bad("The exported checkpoint", checkpoint.id, reason)),
        Ok(heads) => {
            for entry in heads {
                claims.add(entry.name, entry.head, By::Exported(checkpoint.id));
            }
            if checkpoint.id > last {
                let reason = "is not in the database any more";
                report.add(bad("The exported checkpoint", checkpoint.id, reason));
            }
        }
    }
}

impl App {
    /// Proves what came since the last checkpoint that this process made (the first
    /// time: since the last stored one that is ours, else everything), then signs where
    /// all chains stand.
    ///
    /// # Errors
    /// [`Error::AuditBroken`] when the log does not prove.
    pub async fn checkpoint(&self) -> Result<Checkpoint, Error> {
        self.checkpoint_in(Turn::free(self)).await
    }

    /// The same at most once per idempotency key.
    ///
    /// # Errors
    /// As [`App::checkpoint`].
    pub async fn checkpoint_once(&self, context: &Context) -> Result<Reply<Checkpoint>, Error> {
        self.once(context, move |turn| self.checkpoint_in(turn))
            .await
    }

    async fn checkpoint_in(&self, turn: Turn<'_>) -> Result<Checkpoint, Error> {
        let mut memory = self.audit.0.lock().await;
        let known = match &*memory {
            Some(heads) => Some(heads.clone()),
            None => self.stored_heads().await?,
        };
        let heads = self.prove_news(known).await?;
        let checkpoint = self.sign(&heads, turn).await?;
        *memory = Some(heads);
        Ok(checkpoint)
    }

    /// The newest checkpoint, to be kept elsewhere.
    ///
    /// # Errors
    /// [`Error::NoCheckpoint`].
    pub async fn latest_checkpoint(&self) -> Result<Checkpoint, Error> {
        let stored = self.store.latest_checkpoint().await?;
        let stored = stored.ok_or(Error::NoCheckpoint)?;
        Ok(serde_json::from_str(&stored.body)?)
    }

    /// Removes checkpoints of earlier days, all but the last one of each.
    pub(crate) async fn thin_checkpoints(&self) -> Result<(), Error> {
        let Some(newest) = self.store.latest_checkpoint().await? else {
            return Ok(());
        };
        let mut batch = Batch::new();
        batch.thin_checkpoints(thinned_before(&newest), THINNED);
        self.store.commit(batch).await?;
        Ok(())
    }

    /// Makes a checkpoint when there is news and the last one is old enough.
    pub(crate) async fn checkpoint_when_due(&self) -> Result<(), Error> {
        let now = self.store.now().await?;
        let interval = self.settings.checkpoint_interval.as_millis();
        let interval = i64::try_from(interval).unwrap_or(i64::MAX);
        let latest = self.store.latest_checkpoint().await?;
        let young = |stored: &StoredCheckpoint| now.since(stored.at) < interval;
        if latest.as_ref().is_some_and(young) {
            return Ok(());
        }
        self.checkpoint_when_news().await
    }

    /// Makes a checkpoint unless the last one says the same.
    pub(crate) async fn checkpoint_when_news(&self) -> Result<(), Error> {
        let known = self.stored_heads().await?.unwrap_or_default();
        let chains = self.store.chains().await?;
        let is_known = |chain: &store::StoredChain| {
            let head = chain.head.as_ref().map(|row| row.head);
            known.get(&chain.name).copied() == head
        };
        if !chains.iter().all(is_known) {
            self.checkpoint().await?;
        }
        Ok(())
    }

    /// What the last stored checkpoint says, when it is ours.
    async fn stored_heads(&self) -> Result<Option<BTreeMap<ChainName, Head>>, Error> {
        let trusted = Trusted {
            instance: self.room.instance(),
            public: self.room.checkpoint_public(),
        };
        let stored = self.store.latest_checkpoint().await?;
        let heads = stored.and_then(|stored| trusted.stored_heads(&stored).ok());
        Ok(heads.map(|heads| heads.iter().map(|entry| (entry.name, entry.head)).collect()))
    }

    async fn prove_news(
        &self,
        known: Option<BTreeMap<ChainName, Head>>,
    ) -> Result<BTreeMap<ChainName, Head>, Error> {
        let keys = Keys::of(&self.room);
        let nothing = BTreeMap::new();
        if let Some(known) = &known {
            let proven = prove(&self.store, keys, Scope::Since(known)).await?;
            if proven.report.holds() {
                return Ok(proven.heads);
            }
        }
        // What the news alone does not explain, such as an old erasure, the whole may.
        let options = AuditOptions::default();
        let known = known.as_ref().unwrap_or(&nothing);
        let proven = prove(&self.store, keys, Scope::Whole(&options, known)).await?;
        if proven.report.holds() {
            return Ok(proven.heads);
        }
        let findings = summary(&proven.report);
        tracing::error!(
            findings,
            "the audit log does not prove; no checkpoint is made"
        );
        Err(Error::AuditBroken)
    }

    async fn sign(
        &self,
        heads: &BTreeMap<ChainName, Head>,
        turn: Turn<'_>,
    ) -> Result<Checkpoint, Error> {
        let heads = heads.iter().map(|(name, head)| ChainHead {
            name: *name,
            head: *head,
        });
        let heads = sorted(heads.collect());
        for _ in 0..TRIES {
            let latest = self.store.latest_checkpoint().await?;
            let id = latest.map_or(0, |stored| stored.id) + 1;
            let now = self.store.now().await?;
            let checkpoint = self.signed(id, now, &heads);
            let mut batch = Batch::new();
            batch.insert_checkpoint(&StoredCheckpoint {
                id,
                at: now,
                body: serde_json::to_string(&checkpoint)?,
            });
            let kept = turn.commit(batch, now, &checkpoint, Kept::Plain).await?;
            // Refused: another node took the number.
            if kept.is_ok() {
                return Ok(checkpoint);
            }
        }
        Err(Error::Busy)
    }

    fn signed(&self, id: i64, at: Time, heads: &[ChainHead]) -> Checkpoint {
        let key = &self.room.checkpoint_key;
        let instance = self.room.instance();
        let signature = key.sign(CONTEXT, &message(&instance, id, at, heads));
        Checkpoint {
            id,
            instance: hex(&instance),
            at: at.millis(),
            heads: heads.iter().map(ExportedHead::from).collect(),
            kid: key.kid().to_owned(),
            public_key: hex(&key.public()),
            signature: hex(&signature),
        }
    }
}
