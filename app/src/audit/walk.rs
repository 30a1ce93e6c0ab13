//! Follows one chain event by event and notes where it does not lead on.

use domain::Time;
use domain::chain::{self, ChainName, Covered, Head, Link};
use store::StoredEvent;
use vault::Root;

use super::report::{Finding, FindingKind};

/// How far events may have been renumbered for the chain to be found again behind them.
const LARGEST_SHIFT: i64 = 64;
/// Misfits in a row that are looked at together; then their links are taken as given.
const MOST_ODD: usize = 1000;
/// Misfits of a chain that are settled together.
const MOST_KEPT: usize = 2000;
/// Comparisons that one chain is worth when events may have changed places.
const MOST_COMPARISONS: u32 = 1_000_000;

/// A row that does not follow from what was proven before it.
pub(super) struct Odd {
    pub row: StoredEvent,
    /// The place it stands at, renumbering before it undone.
    pub stands: i64,
    /// What its link would have to be if only links were changed before it.
    pub computed: Link,
}

/// Misfits between two places that are proven.
pub(super) struct Group {
    /// The last proven event before them.
    pub after: Head,
    /// The last place that is theirs.
    pub until: i64,
    /// How much further than they belong the rows behind them stand.
    pub shift: i64,
    pub rows: Vec<Odd>,
}

/// An event without its personal fields.
pub(super) struct Blank {
    pub name: ChainName,
    pub id: i64,
    pub seq: i64,
    pub user: Option<i64>,
    pub at: Time,
}

/// A chain being followed.
pub(super) struct Walk<'a> {
    root: Option<&'a Root>,
    pub name: ChainName,
    /// The last event that is proven.
    pub good: Head,
    /// Rows stand this much further than they belong.
    pub shift: i64,
    odd: Vec<Odd>,
    pub groups: Vec<Group>,
    /// Places that others claim to know, ascending; see [`super::claims`].
    claims: std::vec::IntoIter<super::claims::Claim>,
    pub findings: Vec<Finding>,
    pub blanks: Vec<Blank>,
    /// Users that were erased, and when.
    pub erased: Vec<(i64, Time)>,
    pub events: u64,
    latest: Option<Time>,
    kept: usize,
    /// See [`MOST_COMPARISONS`].
    pub comparisons_left: u32,
}

impl<'a> Walk<'a> {
    /// Begins after a proven place. Without the root, MACs are not looked at.
    pub(super) fn new(
        root: Option<&'a Root>,
        name: ChainName,
        start: Head,
        claims: Vec<super::claims::Claim>,
    ) -> Self {
        let mut walk = Self {
            root,
            name,
            good: start,
            shift: 0,
            odd: Vec::new(),
            groups: Vec::new(),
            claims: claims.into_iter(),
            findings: Vec::new(),
            blanks: Vec::new(),
            erased: Vec::new(),
            events: 0,
            latest: None,
            kept: 0,
            comparisons_left: MOST_COMPARISONS,
        };
        // What was claimed about places before the start was looked at when they were there.
        walk.skip_claims(start.seq);
        walk.check_claims();
        walk
    }

    /// The next row of the chain, in the order of ids.
    pub(super) fn row(&mut self, row: StoredEvent) {
        self.events += 1;
        self.note(&row);
        let next = self.good.seq + 1;
        if self.odd.is_empty() && self.fits(&self.good.link, next, &row) {
            if row.seq - next != self.shift {
                let text = format!("The event belongs at place {next}; its number was changed.");
                self.find(FindingKind::Reordered, &row, text);
            }
            self.proven(next, &row);
        } else if let Some(place) = self.resume(&row) {
            self.shift = row.seq - place;
            self.close_group(place - 1);
            self.proven(place, &row);
        } else {
            self.keep_odd(row);
        }
    }

    /// The time of the last row.
    pub(super) fn latest(&self) -> Option<Time> {
        self.latest
    }

    /// The rows end here; `end` is the number of the last place that may be one.
    /// Returns claims that reach further than the chain.
    pub(super) fn finish(&mut self, end: i64) -> Vec<super::claims::Claim> {
        if let Some(last) = self.odd.last() {
            let head = Head {
                seq: last.stands,
                link: last.row.link,
            };
            let until = last.stands.min(end).max(self.good.seq);
            self.close_group(until);
            if head.seq <= end {
                self.good = head;
            }
            self.skip_claims(until + 1);
        }
        let rest = std::mem::replace(&mut self.claims, Vec::new().into_iter());
        rest.collect()
    }

    /// True when the row's content, after that link and at that place, gives its link.
    pub(super) fn fits(&self, previous: &Link, seq: i64, row: &StoredEvent) -> bool {
        self.link(previous, seq, row) == row.link
    }

    /// Whether a server with the keys wrote the row's link.
    pub(super) fn mac_holds(&self, row: &StoredEvent) -> bool {
        self.root
            .is_none_or(|root| root.chain_mac_matches(&row.link.0, &row.mac))
    }

    fn link(&self, previous: &Link, seq: i64, row: &StoredEvent) -> Link {
        chain::link(previous, self.name, seq, &covered(row))
    }

    fn note(&mut self, row: &StoredEvent) {
        self.latest = Some(row.at);
        if row.personal.is_none() {
            self.blanks.push(Blank {
                name: self.name,
                id: row.id,
                seq: row.seq,
                user: row.user,
                at: row.at,
            });
        }
        if row.personal.is_some() && row.personal_digest.is_some() {
            let text = "The event has its personal fields and yet the mark of an erasure.";
            self.find(FindingKind::Edited, row, text);
        }
    }

    /// The row is the event that belongs at that place.
    fn proven(&mut self, place: i64, row: &StoredEvent) {
        self.shift = row.seq - place;
        if !self.mac_holds(row) {
            let text = "The event's link was not written by a server that holds the keys.";
            self.find(FindingKind::BadMac, row, text);
        } else if row.action == domain::Action::UserErased.as_str()
            && let Some(user) = row.user
        {
            self.erased.push((user, row.at));
        }
        self.good = Head {
            seq: place,
            link: row.link,
        };
        self.check_claims();
    }

    /// The place at which the chain goes on with this row, if it does.
    fn resume(&self, row: &StoredEvent) -> Option<i64> {
        let last = self.odd.last()?;
        // Only the links before it were changed, or only the content of the row before
        // it, which may also have been moved.
        let stands = row.seq - self.shift;
        if self.fits(&last.computed, stands, row) {
            return Some(stands);
        }
        let fits =
            |place: &i64| *place > self.good.seq + 1 && self.fits(&last.row.link, *place, row);
        std::iter::once(stands)
            .chain((1..=LARGEST_SHIFT).flat_map(|by| [stands - by, stands + by]))
            .find(fits)
    }

    fn keep_odd(&mut self, row: StoredEvent) {
        if self.odd.len() >= MOST_ODD {
            self.give_up_place();
        }
        let stands = row.seq - self.shift;
        let previous = self.odd.last().map_or(self.good.link, |odd| odd.computed);
        let computed = self.link(&previous, stands, &row);
        self.odd.push(Odd {
            row,
            stands,
            computed,
        });
    }

    /// Too many misfits to search among: goes on from the last one as it stands.
    fn give_up_place(&mut self) {
        if let Some(last) = self.odd.last() {
            let good = Head {
                seq: last.stands.max(self.good.seq),
                link: last.row.link,
            };
            self.close_group(good.seq);
            self.good = good;
        }
    }

    fn close_group(&mut self, until: i64) {
        let rows = std::mem::take(&mut self.odd);
        self.kept += rows.len();
        self.groups.push(Group {
            after: self.good,
            until,
            shift: self.shift,
            rows,
        });
        if self.kept > MOST_KEPT {
            self.kept = 0;
            super::suspects::settle(self);
        }
        self.skip_claims(until + 1);
    }

    /// Forgets claims about places before `seq`.
    fn skip_claims(&mut self, seq: i64) {
        while self
            .claims
            .as_slice()
            .first()
            .is_some_and(|claim| claim.head.seq < seq)
        {
            self.claims.next();
        }
    }

    fn check_claims(&mut self) {
        while let Some(claim) = self.claims.as_slice().first()
            && claim.head.seq == self.good.seq
        {
            if claim.head.link != self.good.link {
                let finding = claim.contradicted(self.name);
                self.findings.push(finding);
            }
            self.claims.next();
        }
    }

    /// Adds a finding; of a run of alike ones the first is widened.
    pub(super) fn find(&mut self, kind: FindingKind, row: &StoredEvent, text: impl Into<String>) {
        if let Some(last) = self.findings.last_mut()
            && last.kind == kind
            && last.last_seq.or(last.seq) == Some(row.seq - 1)
            && matches!(kind, FindingKind::Edited | FindingKind::BadMac)
        {
            last.last_seq = Some(row.seq);
            return;
        }
        let finding = Finding::of_chain(kind, self.name, text)
            .at(row.seq, row.seq)
            .on_event(row.id);
        self.findings.push(finding);
    }
}

/// What the link of a stored event covers.
fn covered(row: &StoredEvent) -> Covered<'_> {
    let personal_digest = match &row.personal {
        Some(personal) => chain::personal_digest(&row.salt.unwrap_or_default(), personal),
        None => row.personal_digest.unwrap_or_default(),
    };
    Covered {
        at: row.at,
        action: &row.action,
        success: row.success,
        user: row.user,
        device: row.device,
        caller: &row.caller,
        request_id: &row.request_id,
        detail: &row.detail,
        personal_digest,
    }
}
