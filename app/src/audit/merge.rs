//! All chains as one log, newest event first, without any index.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use domain::Time;
use store::{Moment, Store, StoredEvent};

use super::search::{AuditQuery, Found, MOST_LOOKED_AT, Span, moment};
use crate::Error;

/// Events of a chain read at once.
const SLICE: i64 = 100;

/// A chain on its way back from its end. Within a chain, times never fall.
struct Stream {
    chain: i64,
    /// Read down to here, exclusive.
    below: i64,
    /// The last event before the beginning.
    floor: i64,
    /// The latest time in the chain.
    latest: Time,
    placed: bool,
    read: VecDeque<StoredEvent>,
}

/// The chains in the order of their next events. A chain is read only when its turn
/// may have come: one that ended long ago costs nothing.
pub(super) struct Merge<'a> {
    store: &'a Store,
    span: Span,
    streams: Vec<Stream>,
    /// The next event of each stream, or what it cannot be later than.
    next: BinaryHeap<(Moment, Reverse<usize>)>,
}

impl<'a> Merge<'a> {
    /// The chains as they stand now: what is written from here on is not seen.
    pub(super) async fn new(store: &'a Store, span: Span) -> Result<Self, Error> {
        let mut merge = Self {
            store,
            span,
            streams: Vec::new(),
            next: BinaryHeap::new(),
        };
        for chain in store.chains().await? {
            let Some(row) = chain.head else { continue };
            let floor = chain.cut.map_or(0, |cut| cut.head.seq);
            let outside = row.at < span.from || chain.started_at > span.below.at;
            if row.head.seq <= floor || outside {
                continue;
            }
            let latest = Moment {
                at: row.at,
                id: i64::MAX,
            };
            let number = Reverse(merge.streams.len());
            merge.next.push((latest.min(span.below), number));
            merge.streams.push(Stream {
                chain: chain.id,
                below: row.head.seq + 1,
                floor,
                latest: row.at,
                placed: false,
                read: VecDeque::new(),
            });
        }
        Ok(merge)
    }

    /// The next matching events, up to that many.
    pub(super) async fn take(mut self, query: &AuditQuery, wanted: usize) -> Result<Found, Error> {
        let mut events = Vec::new();
        let mut looked_at = 0;
        while let Some((at, Reverse(number))) = self.next.pop() {
            let stream = &mut self.streams[number];
            let is_next = |event: &StoredEvent| moment(event) == at;
            if stream.read.front().is_some_and(is_next)
                && let Some(event) = stream.read.pop_front()
            {
                looked_at += 1;
                let looked_until = moment(&event);
                if query.matches(&event) {
                    events.push(event);
                }
                if events.len() >= wanted || looked_at >= MOST_LOOKED_AT {
                    return Ok(Found {
                        events,
                        looked_until: Some(looked_until),
                    });
                }
            }
            self.advance(number).await?;
        }
        Ok(Found {
            events,
            looked_until: None,
        })
    }

    /// Makes the next event of a stream known, if it has one in the span.
    async fn advance(&mut self, number: usize) -> Result<(), Error> {
        let stream = &mut self.streams[number];
        if !stream.placed {
            stream.placed = true;
            place(self.store, stream, self.span).await?;
        }
        if stream.read.is_empty() && stream.below > stream.floor + 1 {
            let (below, floor) = (stream.below, stream.floor);
            let page = self.store.events_down(stream.chain, below, floor, SLICE);
            stream.read = page.await?.into();
            stream.below = stream.read.back().map_or(floor, |event| event.seq);
        }
        if let Some(event) = stream.read.front().filter(|event| self.span.holds(event)) {
            self.next.push((moment(event), Reverse(number)));
        }
        Ok(())
    }
}

/// Moves a stream back to the end of the span, by halves.
async fn place(store: &Store, stream: &mut Stream, span: Span) -> Result<(), Error> {
    if stream.latest < span.below.at {
        return Ok(());
    }
    let (mut inside, mut outside) = (stream.floor, stream.below);
    while outside - inside > 1 {
        let middle = inside + (outside - inside) / 2;
        let event = store.event_moment(stream.chain, middle).await?;
        // One that is gone was cut in the meantime: it was an old one.
        if event.is_none_or(|moment| moment < span.below) {
            inside = middle;
        } else {
            outside = middle;
        }
    }
    stream.below = outside;
    Ok(())
}
