//! The search index: filled behind the commits, in sorted slices.

use domain::{Action, Personal};
use store::{Batch, StoreError, StoredEvent, Unindexed};
use vault::Root;

use crate::{App, Error};

/// Events whose terms are sorted together. The terms are hashes: of many that are sorted,
/// several fall on one page of the index, which is then written once for all of them.
const SPAN: i64 = 5000;
/// Terms per batch: a short slice between attempts.
const SLICE: usize = 500;

/// The personal fields of an event; none when they were erased or cannot be read.
pub(super) fn personal(event: &StoredEvent) -> Personal {
    let text = event.personal.as_deref();
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

    /// All terms of an event. Accepted verifications, the bulk of a log, are not
    /// indexed by their action.
    pub(super) fn of(&self, event: &StoredEvent) -> Vec<i64> {
        let mut terms = Vec::with_capacity(4);
        let personal = personal(event);
        terms.extend(personal.device_id.as_deref().map(|name| self.device(name)));
        match (personal.user_id.as_deref(), event.user) {
            (Some(name), _) => terms.push(self.user(name)),
            (None, Some(id)) if personal != Personal::default() => {
                terms.push(self.unnamed_user(id));
            }
            (None, _) => {}
        }
        if event.success == 0 || event.action != Action::OtpVerification.as_str() {
            terms.push(self.action(&event.action));
        }
        if event.success == 0 {
            terms.push(self.failed());
        }
        terms
    }
}

impl App {
    pub(super) fn terms(&self) -> Terms<'_> {
        Terms(&self.room.root)
    }

    /// Indexes up to that many spans; true when the index has everything that was
    /// there at the last look.
    pub(crate) async fn index_events(&self, most: usize) -> Result<bool, Error> {
        let mut left = most;
        loop {
            let behind = self.store.unindexed().await?;
            if behind.is_empty() {
                return Ok(true);
            }
            for chain in behind {
                if left == 0 {
                    return Ok(false);
                }
                left -= 1;
                self.index_span(chain).await?;
            }
        }
    }

    async fn index_span(&self, chain: Unindexed) -> Result<(), Error> {
        let Unindexed {
            chain,
            after,
            until,
        } = chain;
        let events = self.store.events_up(chain, after, until, SPAN).await?;
        let full = i64::try_from(events.len()).is_ok_and(|count| count >= SPAN);
        let last = events.last().map_or(until, |event| event.seq);
        let reached = if full { last } else { until };
        let terms = self.terms();
        let mut entries: Vec<_> = events
            .iter()
            .flat_map(|event| terms.of(event).into_iter().map(move |term| (term, event)))
            .map(|(term, event)| (term, event.at, event.id))
            .collect();
        entries.sort_unstable();
        let mut slices = entries.chunks(SLICE).peekable();
        loop {
            let slice = slices.next().unwrap_or_default();
            let done = slices.peek().is_none();
            let mut batch = Batch::new();
            // Each slice makes sure that nobody else has indexed the span meanwhile: an
            // erasure that had, and took its terms out again, would find them put back.
            batch.mark_indexed(chain, after, if done { reached } else { after });
            for (term, at, event) in slice {
                batch.insert_term(*term, *at, *event);
            }
            match self.store.commit(batch).await {
                Ok(_) if !done => {}
                // Refused: another node was faster.
                Ok(_) | Err(StoreError::Refused(_)) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
