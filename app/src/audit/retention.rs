//! Retention: the beginning of each chain goes, its end is kept with a signature.

use std::collections::BTreeMap;

use domain::chain::{ChainName, Head};
use domain::checkpoint::hex;
use domain::{Action, Event, Origin, Time};
use serde_json::json;
use store::{Batch, CutTerm, NewCut, StoreError, StoredChain, StoredEvent};

use super::proof::summary;
use super::report::{AuditReport, Proof};
use super::suspects;
use super::walk::Walk;
use crate::{App, Error};

/// What a cut is signed for.
pub(super) const CUT_CONTEXT: &str = "otpd audit cut v1";
/// Events removed per batch: a short slice between attempts.
const SLICE: i64 = 500;
const DAY_MS: i64 = 24 * 3_600_000;

/// What is signed of a cut: chain, last event that went and its link, time.
pub(super) fn cut_message(name: ChainName, head: &Head, at: Time) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    bytes.extend_from_slice(&name.0);
    bytes.extend_from_slice(&head.seq.to_be_bytes());
    bytes.extend_from_slice(&head.link.0);
    bytes.extend_from_slice(&at.millis().to_be_bytes());
    bytes
}

/// A chain being cut.
struct Cutting {
    id: i64,
    name: ChainName,
    /// Cut up to here.
    cut: Head,
    /// The last event that is to go.
    target: i64,
}

/// Where a chain stopped.
enum Stop {
    /// Everything that was to go is gone, or another node cuts this chain.
    Done,
    /// Before an erasure of that time: blanks of older events may need it still.
    Erasure(Time),
}

impl App {
    /// Removes the events of days that are older than the retention, when there is one.
    /// Returns how many.
    ///
    /// # Errors
    /// [`Error::AuditBroken`] when what would go does not prove: evidence is not removed.
    pub(crate) async fn cut_old_events(&self) -> Result<i64, Error> {
        let Some(retention) = self.settings.retention else {
            return Ok(0);
        };
        let retention = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        let oldest = self.store.now().await?.plus_millis(-retention).millis();
        // Whole days, so that a cut and its own event are made once a day.
        self.cut_before(Time::from_millis(oldest - oldest.rem_euclid(DAY_MS)))
            .await
    }

    /// Removes the events before a time.
    pub(super) async fn cut_before(&self, before: Time) -> Result<i64, Error> {
        let mut cuttings = Vec::new();
        for chain in self.store.chains().await? {
            cuttings.extend(self.cutting(&chain, before).await?);
        }
        let start: i64 = cuttings.iter().map(|cutting| cutting.cut.seq).sum();
        self.cut_all(&mut cuttings).await?;
        Ok(cuttings.iter().map(|cutting| cutting.cut.seq).sum::<i64>() - start)
    }

    /// An erasure goes only once all older events are gone, in every chain, so that at
    /// any moment each blank is explained.
    async fn cut_all(&self, cuttings: &mut [Cutting]) -> Result<(), Error> {
        loop {
            let mut oldest: Option<(Time, usize)> = None;
            for (number, cutting) in cuttings.iter_mut().enumerate() {
                if let Stop::Erasure(at) = self.cut_chain(cutting, false).await? {
                    let here = (at, number);
                    oldest = Some(oldest.map_or(here, |other| other.min(here)));
                }
            }
            let Some((_, number)) = oldest else {
                return Ok(());
            };
            self.cut_chain(&mut cuttings[number], true).await?;
        }
    }

    async fn cutting(&self, chain: &StoredChain, before: Time) -> Result<Option<Cutting>, Error> {
        let Some(row) = &chain.head else {
            return Ok(None);
        };
        let beginning = Head {
            seq: 0,
            link: chain.first_link,
        };
        let cut = chain.cut.as_ref().map_or(beginning, |cut| cut.head);
        if chain.started_at >= before || cut.seq >= row.head.seq {
            return Ok(None);
        }
        // By halves: times never fall within a chain.
        let (mut old, mut young) = (cut.seq, row.head.seq + 1);
        while young - old > 1 {
            let middle = old + (young - old) / 2;
            let event = self.store.event_moment(chain.id, middle).await?;
            if event.is_none_or(|moment| moment.at < before) {
                old = middle;
            } else {
                young = middle;
            }
        }
        Ok((old > cut.seq).then_some(Cutting {
            id: chain.id,
            name: chain.name,
            cut,
            target: old,
        }))
    }

    /// Cuts to the target or to the next erasure; `past_one`: behind the one it stands at.
    async fn cut_chain(&self, cutting: &mut Cutting, past_one: bool) -> Result<Stop, Error> {
        let mut past_one = past_one;
        loop {
            let (after, target) = (cutting.cut.seq, cutting.target);
            let events = self.store.events_up(cutting.id, after, target, SLICE);
            let mut events = events.await?;
            let passed = usize::from(std::mem::take(&mut past_one));
            let erased = |event: &StoredEvent| event.action == Action::UserErased.as_str();
            let erasure = events.iter().skip(passed).position(erased);
            if let Some(place) = erasure {
                let stop = Stop::Erasure(events[place + passed].at);
                events.truncate(place + passed);
                if events.is_empty() {
                    return Ok(stop);
                }
            }
            if events.is_empty() || !self.cut_slice(cutting, events).await? {
                return Ok(Stop::Done);
            }
        }
    }

    /// Removes a slice after proving it; false when another node did.
    async fn cut_slice(
        &self,
        cutting: &mut Cutting,
        events: Vec<StoredEvent>,
    ) -> Result<bool, Error> {
        let count = events.len();
        let terms = self.cut_terms(&events);
        let head = self.prove_slice(cutting, events)?;
        let now = self.store.now().await?;
        let key = &self.room.checkpoint_key;
        let cut = NewCut {
            chain: cutting.id,
            from: cutting.cut.seq,
            seq: head.seq,
            link: head.link,
            at: now,
            kid: key.kid(),
            signature: key.sign(CUT_CONTEXT, &cut_message(cutting.name, &head, now)),
        };
        let mut batch = Batch::new();
        batch.cut_chain(&cut, &terms);
        let origin = Origin {
            caller: "server".into(),
            ..Origin::default()
        };
        let detail = json!({ "chain": hex(&cutting.name.0), "seq": head.seq, "events": count });
        batch.record(Event::new(Action::AuditCut, true, &origin).with(&detail));
        match self.store.commit(batch).await {
            Ok(_) => {
                cutting.cut = head;
                Ok(true)
            }
            Err(StoreError::Refused(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The last of the events, once they are proven to follow the cut.
    fn prove_slice(&self, cutting: &Cutting, events: Vec<StoredEvent>) -> Result<Head, Error> {
        let root = Some(&self.room.root);
        let last = events.last().map_or(cutting.cut.seq, |event| event.seq);
        let mut walk = Walk::new(root, cutting.name, cutting.cut, Vec::new());
        events.into_iter().for_each(|event| walk.row(event));
        walk.finish(last);
        suspects::settle(&mut walk);
        let mut report = AuditReport::new(Proof::Full);
        walk.findings.into_iter().for_each(|f| report.add(f));
        if report.holds() && walk.good.seq == last {
            return Ok(walk.good);
        }
        let findings = summary(&report);
        tracing::error!(findings, "old events do not prove and are not removed");
        Err(Error::AuditBroken)
    }

    /// The terms of the events, each with the time that its events span.
    fn cut_terms(&self, events: &[StoredEvent]) -> Vec<CutTerm> {
        let terms = self.terms();
        let mut spans: BTreeMap<i64, (Time, Time)> = BTreeMap::new();
        for event in events {
            for term in terms.of(event) {
                let span = spans.entry(term).or_insert((event.at, event.at));
                *span = (span.0.min(event.at), span.1.max(event.at));
            }
        }
        let cut_term = |(term, (first, last))| CutTerm { term, first, last };
        spans.into_iter().map(cut_term).collect()
    }
}
