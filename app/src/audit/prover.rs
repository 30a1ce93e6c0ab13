//! Goes through all chains and gathers what is wrong with them.

use std::collections::{BTreeMap, HashMap};

use domain::Time;
use domain::chain::{self, ChainName, Head};
use store::{Store, StoredChain};
use vault::Root;

use super::checkpoints::{self, Trusted};
use super::claims::{By, Claim, Claims};
use super::index::Haste;
use super::pauses::Pauses;
use super::proof::{Keys, Proven, Scope};
use super::report::{AuditReport, Finding, FindingKind, Proof};
use super::retention::{CUT_CONTEXT, cut_message};
use super::suspects;
use super::walk::{Blank, Walk};
use crate::Error;

/// Events read at once: a short slice between other readers.
const SLICE: i64 = 200;
/// Events that are hashed before requests are looked at again, at least.
const FEW: usize = 25;
/// No chain has a larger number: see the ids of events.
const LAST_SEQ: i64 = (1 << 40) - 1;

/// A proof under way.
pub(super) struct Prover<'a> {
    store: &'a Store,
    keys: Keys<'a>,
    scope: Scope<'a>,
    report: AuditReport,
    claims: Claims,
    heads: BTreeMap<ChainName, Head>,
    erased: HashMap<i64, Time>,
    blanks: Vec<Blank>,
}

impl<'a> Prover<'a> {
    pub(super) fn new(store: &'a Store, keys: Keys<'a>, scope: Scope<'a>) -> Self {
        let proof = match keys.root {
            Some(_) => Proof::Full,
            None => Proof::Links,
        };
        Self {
            store,
            keys,
            scope,
            report: AuditReport::new(proof),
            claims: Claims::default(),
            heads: BTreeMap::new(),
            erased: HashMap::new(),
            blanks: Vec::new(),
        }
    }

    /// Proves the chains as they stood when they were read.
    pub(super) async fn run(mut self, chains: &[StoredChain]) -> Result<Proven, Error> {
        self.report.chains = chains.len() as u64;
        self.gather_claims(chains).await?;
        if let Scope::Whole(..) = self.scope {
            self.strays().await?;
        }
        let ids: BTreeMap<ChainName, i64> = chains.iter().map(|c| (c.name, c.id)).collect();
        for chain in chains {
            self.beginning(chain, &ids);
            self.chain(chain).await?;
        }
        let claims = std::mem::take(&mut self.claims);
        for (chain, claim) in claims.rest() {
            self.report.add(claim.vanished(chain));
        }
        self.settle_blanks().await?;
        Ok(Proven {
            report: self.report,
            heads: self.heads,
        })
    }

    /// What checkpoints, later chains and earlier proofs say.
    async fn gather_claims(&mut self, chains: &[StoredChain]) -> Result<(), Error> {
        for chain in chains {
            if let Some((name, head)) = chain.before {
                self.claims.add(name, head, By::Chain(chain.name));
            }
        }
        let (Scope::Since(known) | Scope::Whole(_, known)) = self.scope;
        for (name, head) in known {
            self.claims.add(*name, *head, By::Memory);
        }
        match self.scope {
            Scope::Since(_) => {}
            Scope::Whole(options, _) => {
                let trusted = Trusted {
                    instance: self.keys.instance,
                    public: self.keys.public,
                };
                let (claims, report) = (&mut self.claims, &mut self.report);
                let last = checkpoints::check_stored(self.store, &trusted, claims, report).await?;
                if let Some(checkpoint) = &options.checkpoint {
                    let trusted = Trusted {
                        public: options.public_key.unwrap_or(trusted.public),
                        ..trusted
                    };
                    checkpoints::check_exported(checkpoint, last, &trusted, claims, report);
                }
            }
        }
        Ok(())
    }

    /// Rows that belong to no chain. A chain is there before its events, so what has
    /// events before the chains are read again must be among them.
    async fn strays(&mut self) -> Result<(), Error> {
        let with_events = self.store.chains_with_events().await?;
        let known: Vec<i64> = self.store.chains().await?.iter().map(|c| c.id).collect();
        let unknown = |id: &i64| known.binary_search(id).is_err();
        for id in with_events.into_iter().filter(unknown) {
            let text = format!("There are events of chain number {id}, but no such chain.");
            let finding = Finding::of_log(FindingKind::VanishedChain, text);
            self.report.add(finding);
        }
        for id in self.store.stray_heads().await?.into_iter().filter(unknown) {
            let text = format!("There is a head row of chain number {id}, but no such chain.");
            let finding = Finding::of_log(FindingKind::VanishedChain, text);
            self.report.add(finding);
        }
        Ok(())
    }

    /// The chain's first link and its cut.
    fn beginning(&mut self, chain: &StoredChain, ids: &BTreeMap<ChainName, i64>) {
        let known = matches!(self.scope, Scope::Since(proven) if proven.contains_key(&chain.name));
        let find = |kind, text| Finding::of_chain(kind, chain.name, text).at(0, 0);
        let first = chain::first_link(chain.name, chain.started_at, chain.before);
        if !known && first != chain.first_link {
            let text = "The chain's own row was changed: its fields do not give its first link.";
            self.report.add(find(FindingKind::Edited, text));
        }
        let mac_holds = |root: &Root| root.chain_mac_matches(&chain.first_link.0, &chain.first_mac);
        if !known && !self.keys.root.is_none_or(mac_holds) {
            let text = "A server that holds the keys did not begin this chain.";
            self.report.add(find(FindingKind::BadMac, text));
        }
        let before = chain.before.and_then(|(name, _)| ids.get(&name));
        if before.is_some_and(|id| *id >= chain.id) {
            let text = "The chain's number was changed: the chain before it has a higher one.";
            self.report.add(find(FindingKind::Reordered, text));
        }
        if let Some(cut) = &chain.cut {
            let message = cut_message(chain.name, &cut.head, cut.at);
            let public = &self.keys.public;
            if !vault::verify_signature(public, CUT_CONTEXT, &message, &cut.signature) {
                let text = "This server did not sign the cut that took the chain's beginning.";
                let finding = Finding::of_chain(FindingKind::BadCut, chain.name, text);
                self.report.add(finding.at(1, cut.head.seq));
            }
        }
    }

    /// Where the proof of a chain begins.
    fn start(&self, chain: &StoredChain) -> Head {
        let beginning = Head {
            seq: 0,
            link: chain.first_link,
        };
        let start = chain.cut.as_ref().map_or(beginning, |cut| cut.head);
        match self.scope {
            Scope::Since(proven) => match proven.get(&chain.name) {
                Some(head) if head.seq > start.seq => *head,
                _ => start,
            },
            Scope::Whole(..) => start,
        }
    }

    async fn chain(&mut self, chain: &StoredChain) -> Result<(), Error> {
        let start = self.start(chain);
        let mut claims = self.claims.take(chain.name);
        if let Some(row) = &chain.head {
            let by = By::HeadRow;
            let head = row.head;
            claims.push(Claim { head, by });
            claims.sort_by_key(|claim| claim.head.seq);
        }
        let end = chain.head.as_ref().map_or(LAST_SEQ, |row| row.head.seq);
        if end < start.seq {
            let text = format!("The chain was proven or cut up to {}.", start.seq);
            let finding = Finding::of_chain(FindingKind::CutTail, chain.name, text);
            self.report.add(finding.at(end + 1, start.seq));
        }
        let end = end.max(start.seq);
        let mut walk = Walk::new(self.keys.root, chain.name, start, claims);
        self.feed(&mut walk, chain.id, start.seq, end).await?;
        let nothing_new = matches!(self.scope, Scope::Since(_)) && end == start.seq;
        let end = if nothing_new {
            end
        } else {
            self.edges(&mut walk, chain, end).await?
        };
        let unmet = walk.finish(end);
        suspects::settle(&mut walk);
        let (good, latest) = (walk.good.seq, walk.latest());
        let rows = good + walk.shift;
        self.take_in(walk);
        let furthest = unmet.iter().max_by_key(|claim| claim.head.seq);
        if let Some(claim) = furthest {
            self.report.add(claim.beyond(chain.name, good, rows));
        }
        self.head_row(chain, latest.filter(|_| good <= end));
        Ok(())
    }

    async fn feed(
        &self,
        walk: &mut Walk<'_>,
        chain: i64,
        after: i64,
        until: i64,
    ) -> Result<(), Error> {
        let mut pauses = Pauses::new(self.store, Haste::InTime, until - after);
        let mut after = after;
        while after < until {
            let rows = self.store.events_up(chain, after, until, SLICE).await?;
            let Some(last) = rows.last() else { break };
            after = last.seq;
            pauses.some_at_a_time(FEW, rows, |row| walk.row(row)).await;
            pauses.give_way().await;
        }
        Ok(())
    }

    /// Rows before the chain's beginning and behind its end. Returns where it ends.
    async fn edges(
        &mut self,
        walk: &mut Walk<'_>,
        chain: &StoredChain,
        end: i64,
    ) -> Result<i64, Error> {
        let cut = chain.cut.as_ref().map_or(0, |cut| cut.head.seq);
        let first = self.store.first_event(chain.id).await?;
        if let Some(first) = first.filter(|first| *first <= cut) {
            let text = "An event stands before the beginning of the chain.";
            let finding = Finding::of_chain(FindingKind::Inserted, chain.name, text);
            self.report.add(finding.at(first, first));
        }
        let Some((head, last)) = self.store.last_event(chain.id).await? else {
            return Ok(end);
        };
        if last <= head {
            return Ok(end);
        }
        self.feed(walk, chain.id, end, last).await?;
        if walk.good.seq > head {
            let text = format!(
                "The head row stands at event {head}, but the chain goes on to {}.",
                walk.good.seq
            );
            let finding = Finding::of_chain(FindingKind::HeadMismatch, chain.name, text);
            self.report.add(finding.at(head, head));
        }
        Ok(head.max(walk.good.seq))
    }

    fn head_row(&mut self, chain: &StoredChain, latest: Option<Time>) {
        let find = |text| Finding::of_chain(FindingKind::HeadMismatch, chain.name, text);
        let Some(row) = &chain.head else {
            self.report.add(find("The chain has no head row."));
            return;
        };
        let place = row.head.seq;
        let holds = |root: &Root| root.chain_mac_matches(&row.head.link.0, &row.mac);
        if !self.keys.root.is_none_or(holds) {
            let text = "A server that holds the keys did not write the head row.";
            self.report.add(find(text).at(place, place));
        }
        if latest.is_some_and(|latest| latest > row.at) {
            let text = "The head row is older than the last event.";
            self.report.add(find(text).at(place, place));
        }
    }

    fn take_in(&mut self, mut walk: Walk<'_>) {
        walk.findings.sort_by_key(|finding| finding.seq);
        self.report.events += walk.events;
        self.report.erased += walk.blanks.len() as u64;
        for finding in walk.findings {
            self.report.add(finding);
        }
        for (user, at) in walk.erased {
            let latest = self.erased.entry(user).or_insert(at);
            *latest = at.max(*latest);
        }
        self.blanks.extend(walk.blanks);
        self.heads.insert(walk.name, walk.good);
    }

    fn is_explained(&self, blank: &Blank) -> bool {
        let erased = blank.user.and_then(|user| self.erased.get(&user));
        erased.is_some_and(|at| *at >= blank.at)
    }

    /// Blanks that no erasure explains. An erasure may have been at work while we read:
    /// then its event came after what we took for the end, so we look there too.
    async fn settle_blanks(&mut self) -> Result<(), Error> {
        let blanks = std::mem::take(&mut self.blanks);
        if blanks.iter().any(|blank| !self.is_explained(blank)) {
            for chain in self.store.chains().await? {
                let (Some(row), Some(from)) = (&chain.head, self.heads.get(&chain.name)) else {
                    continue;
                };
                let mut walk = Walk::new(self.keys.root, chain.name, *from, Vec::new());
                let (from, until) = (from.seq, row.head.seq);
                self.feed(&mut walk, chain.id, from, until).await?;
                for (user, at) in walk.erased {
                    self.erased.insert(user, at);
                }
            }
        }
        for blank in blanks {
            if self.is_explained(&blank) {
                continue;
            }
            let text = "The personal fields are gone, but no erasure of the user explains it.";
            let kind = FindingKind::BlankWithoutErasure;
            let finding = Finding::of_chain(kind, blank.name, text)
                .at(blank.seq, blank.seq)
                .on_event(blank.id);
            self.report.add(finding);
        }
        Ok(())
    }
}
