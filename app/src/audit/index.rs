//! The search index: filled behind the commits, in sorted slices.

use domain::{Action, Personal};
use store::{Batch, Clues, StoreError, StoredEvent, TermEntry, Unindexed};
use vault::Root;

use super::pauses::Pauses;
use crate::{App, Error};

/// Events whose terms are sorted together. The terms are hashes: of many that are sorted,
/// several fall on one page of the index, which is then written once for all of them. In a
/// large index it takes many: their entries, 24 bytes each, are in memory meanwhile.
const SPAN: usize = 200_000;
/// Events read at a time: their terms take a millisecond.
const PAGE: i64 = 500;
/// Events of which the terms are made before requests are looked at again, at least.
const FEW: usize = 125;
/// Terms per batch, at least: attempts wait for them some milliseconds, no more.
const SLICE: usize = 200;
/// The entries of a span are sorted by the first bits of their terms at once, and by the
/// rest drawer by drawer, so that no sort holds the thread for long: 10 ms at most, when all
/// of a span are in one.
const DRAWERS: usize = 1 << DRAWER_BITS;
const DRAWER_BITS: u32 = 10;

/// How urgent the index is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Haste {
    /// Somebody waits for it.
    Now,
    /// It leaves most of the processor to the attempts that come, unless it is far behind.
    InTime,
}

/// The personal fields of an event; none when they were erased or cannot be read.
pub(super) fn personal(event: &StoredEvent) -> Personal {
    personal_of(event.personal.as_deref())
}

fn personal_of(text: Option<&str>) -> Personal {
    text.and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}

/// The words under which an event is found. Names are looked up by a keyed hash, so
/// that the index gives none away.
pub(super) struct Terms<'a>(pub &'a Root);

impl Terms<'_> {
    pub(super) fn device(&self, name: &str) -> i64 {
        self.0.search_term("device", name)
    }

    pub(super) fn user(&self, name: &str) -> i64 {
        self.0.search_term("user", name)
    }

    /// For events that name a user only by the internal id: an erasure looks for them.
    pub(super) fn unnamed_user(&self, id: i64) -> i64 {
        self.0.search_term("user id", &id.to_string())
    }

    pub(super) fn action(&self, word: &str) -> i64 {
        self.0.search_term("action", word)
    }

    pub(super) fn failed(&self) -> i64 {
        self.0.search_term("failed", "")
    }

    /// All terms of an event.
    pub(super) fn of(&self, event: &StoredEvent) -> impl Iterator<Item = i64> + use<> {
        let personal = event.personal.as_deref();
        self.of_parts(&event.action, event.success, event.user, personal)
    }

    /// Accepted verifications, the bulk of a log, are not indexed by their action.
    fn of_parts(
        &self,
        action: &str,
        success: i64,
        user: Option<i64>,
        personal: Option<&str>,
    ) -> impl Iterator<Item = i64> + use<> {
        let personal = personal_of(personal);
        let device = personal.device_id.as_deref().map(|name| self.device(name));
        let user = match (personal.user_id.as_deref(), user) {
            (Some(name), _) => Some(self.user(name)),
            (None, Some(id)) if personal != Personal::default() => Some(self.unnamed_user(id)),
            (None, _) => None,
        };
        let failed = success == 0;
        let named = failed || action != Action::OtpVerification.as_str();
        let action = named.then(|| self.action(action));
        let failed = failed.then(|| self.failed());
        [device, user, action, failed].into_iter().flatten()
    }
}

impl App {
    pub(super) fn terms(&self) -> Terms<'_> {
        Terms(&self.room.root)
    }

    /// Indexes what is there now, but up to that many spans; true when nothing of it is
    /// left. What comes meanwhile is not waited for: on a busy server that has no end, and
    /// few events at a time cost more than many.
    pub(crate) async fn index_events(&self, most: usize, haste: Haste) -> Result<bool, Error> {
        let mut wanted = self.store.unindexed().await?;
        let backlog: i64 = wanted.iter().map(|chain| chain.until - chain.after).sum();
        let mut left = most;
        while !wanted.is_empty() {
            for chain in &wanted {
                if left == 0 {
                    return Ok(false);
                }
                left -= 1;
                let mut pauses = Pauses::new(&self.store, haste, backlog);
                self.index_span(chain, &mut pauses).await?;
            }
            // Looked up anew, since others may be at it, too.
            let behind = self.store.unindexed().await?;
            wanted.retain_mut(|chain| {
                let now = behind.iter().find(|now| now.chain == chain.chain);
                chain.after = now.map_or(chain.until, |now| now.after);
                chain.after < chain.until
            });
        }
        Ok(true)
    }

    async fn index_span(&self, chain: &Unindexed, pauses: &mut Pauses<'_>) -> Result<(), Error> {
        let (drawers, reached) = self.entries(chain, pauses).await?;
        let mut slices = slices(drawers).peekable();
        loop {
            let slice = slices.next().unwrap_or_default();
            let done = slices.peek().is_none();
            let mut batch = Batch::new();
            // Each slice makes sure that nobody else has indexed the span meanwhile: an
            // erasure that had, and took its terms out again, would find them put back.
            let to = if done { reached } else { chain.after };
            batch.mark_indexed(chain.chain, chain.after, to);
            batch.insert_terms(slice);
            match self.store.commit(batch).await {
                Ok(_) if !done => pauses.give_way().await,
                // Refused: another node was faster.
                Ok(_) | Err(StoreError::Refused(_)) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The entries of a chain's next span, by drawers, and the number of its last event.
    async fn entries(
        &self,
        chain: &Unindexed,
        pauses: &mut Pauses<'_>,
    ) -> Result<(Vec<Vec<TermEntry>>, i64), Error> {
        let terms = self.terms();
        let mut drawers = vec![Vec::new(); DRAWERS];
        let (mut after, mut events) = (chain.after, 0);
        while after < chain.until && events < SPAN {
            let page = self.store.clues_up(chain.chain, after, chain.until, PAGE);
            let page = page.await?;
            after = page.last().map_or(chain.until, |last| last.seq);
            events += page.len();
            let file = |clues: &Clues| {
                let personal = clues.personal.as_deref();
                let parts = terms.of_parts(&clues.action, clues.success, clues.user, personal);
                for term in parts {
                    drawers[drawer(term)].push(TermEntry {
                        term,
                        at: clues.at.millis(),
                        event: clues.id,
                    });
                }
            };
            pauses.some_at_a_time(FEW, &page, file).await;
            pauses.give_way().await;
        }
        Ok((drawers, after))
    }
}

/// Where a term goes. Negative ones come first, as in the index.
fn drawer(term: i64) -> usize {
    (term.cast_unsigned() ^ (1 << 63)) as usize >> (u64::BITS - DRAWER_BITS)
}

/// The entries of drawers one after the other, as many at a time as make a slice: sorted,
/// and fewer than two slices' worth, however full a drawer is. (A rare action that has
/// become a common one has all its entries in one.)
fn slices(drawers: Vec<Vec<TermEntry>>) -> impl Iterator<Item = Vec<TermEntry>> {
    let mut drawers = drawers.into_iter();
    let mut rest = Vec::new().into_iter();
    std::iter::from_fn(move || {
        let mut slice: Vec<TermEntry> = rest.by_ref().take(SLICE).collect();
        while slice.len() < SLICE {
            let Some(mut drawer) = drawers.next() else {
                break;
            };
            drawer.sort_unstable();
            rest = drawer.into_iter();
            slice.extend(rest.by_ref().take(SLICE));
        }
        (!slice.is_empty()).then_some(slice)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sorts entries into drawers and takes them out again in slices.
    fn check(mut entries: Vec<TermEntry>) {
        let mut drawers = vec![Vec::new(); DRAWERS];
        for entry in &entries {
            drawers[drawer(entry.term)].push(*entry);
        }
        let mut found: Vec<TermEntry> = Vec::new();
        let mut left = entries.len();
        for slice in slices(drawers) {
            assert!(slice.len() < 2 * SLICE, "{}", slice.len());
            left -= slice.len();
            assert!(slice.len() >= SLICE || left == 0, "{}", slice.len());
            found.extend(slice);
        }
        entries.sort_unstable();
        assert!(found == entries);
    }

    /// The n-th of entries whose terms are spread over all 64 bits.
    fn entry(n: i64) -> TermEntry {
        TermEntry {
            term: n.wrapping_mul(-7_046_029_254_386_353_131),
            at: n,
            event: n,
        }
    }

    #[test]
    fn slices_hold_everything_in_the_order_of_the_index() {
        let edges = [i64::MIN, -1, 0, 1, i64::MAX].map(|term| TermEntry { term, ..entry(1) });
        check((0..20_000).map(entry).chain(edges).collect());
        check(Vec::new());
    }

    #[test]
    fn no_slice_grows_with_a_term_that_all_events_share() {
        for term in [i64::MIN, 5, i64::MAX] {
            let common = (0..20_003).map(|n| TermEntry { term, ..entry(n) });
            check((0..3_000).map(entry).chain(common).collect());
        }
    }
}
