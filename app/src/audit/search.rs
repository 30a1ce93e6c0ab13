//! Searches of the audit log: complete and newest first, while writes go on.

use domain::{Action, DeviceName, Time, UserName};
use serde::Serialize;
use serde_json::Value;
use store::{Moment, StoredEvent};

use super::index::{Haste, personal};
use super::merge::Merge;
use crate::page::Page;
use crate::{App, Error};

/// Indexed events read at once.
const SLICE: i64 = 200;
/// Events looked at for one page; a page that would need more ends there, with a cursor.
pub(super) const MOST_LOOKED_AT: usize = 20_000;
/// Events that a search reads without an index; when there are more, it first indexes.
const LONGEST_TAIL: i64 = 2000;
/// Spans that a search indexes at most before it reads the rest as it is.
const MOST_SPANS: usize = 2;

/// What is searched for. All filters must hold.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    /// Events that name the device.
    pub device: Option<DeviceName>,
    /// Events that name the user.
    pub user: Option<UserName>,
    /// Events of that action.
    pub action: Option<Action>,
    /// Events that did what was asked, or did not.
    pub success: Option<bool>,
    /// Not before this time.
    pub from: Option<Time>,
    /// Before this time.
    pub to: Option<Time>,
    /// From where an earlier page ended.
    pub cursor: Option<String>,
    /// 1 to 200.
    pub limit: u32,
}

/// An event as clients see it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AuditEntry {
    /// Its number in the database, as text.
    pub id: String,
    /// The device it names; `null` for none or after an erasure.
    pub device_id: Option<String>,
    /// The canonical name of the user; `null` for none or after an erasure.
    pub user_id: Option<String>,
    /// What happened.
    pub action: String,
    /// Whether it did what was asked.
    pub success: bool,
    /// RFC 3339.
    pub timestamp: String,
    /// The client's address.
    pub ip_address: Option<String>,
    /// What the client calls itself.
    pub user_agent: Option<String>,
    /// The request that asked.
    pub request_id: Option<String>,
    /// The credential that asked.
    pub caller: String,
    /// More, as an object.
    pub additional_data: Option<Value>,
}

impl AuditEntry {
    fn of(event: &StoredEvent) -> Self {
        let personal = personal(event);
        let owned = |text: Option<std::sync::Arc<str>>| text.map(|text| text.to_string());
        let mut data = serde_json::from_str(&event.detail).ok();
        if let Some(reason) = owned(personal.reason) {
            let object = data.get_or_insert_with(|| Value::Object(serde_json::Map::new()));
            if let Value::Object(fields) = object {
                fields.insert("reason".into(), reason.into());
            }
        }
        Self {
            id: event.id.to_string(),
            device_id: owned(personal.device_id),
            user_id: owned(personal.user_id),
            action: event.action.clone(),
            success: event.success != 0,
            timestamp: event.at.to_rfc3339(),
            ip_address: owned(personal.ip_address),
            user_agent: owned(personal.user_agent),
            request_id: Some(event.request_id.clone()).filter(|id| !id.is_empty()),
            caller: event.caller.clone(),
            additional_data: data,
        }
    }
}

/// The place of an event in the order of searches: its time, then its id.
pub(super) fn moment(event: &StoredEvent) -> Moment {
    Moment {
        at: event.at,
        id: event.id,
    }
}

fn write_cursor(moment: Moment) -> String {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&moment.at.millis().to_be_bytes());
    bytes[8..].copy_from_slice(&moment.id.to_be_bytes());
    data_encoding::BASE64URL_NOPAD.encode(&bytes)
}

fn read_cursor(text: &str) -> Option<Moment> {
    let bytes = data_encoding::BASE64URL_NOPAD
        .decode(text.as_bytes())
        .ok()?;
    let bytes: [u8; 16] = bytes.try_into().ok()?;
    let number = i128::from_be_bytes(bytes);
    // The two halves, as they were written.
    let at = i64::try_from(number >> 64).ok()?;
    let id = i64::from_be_bytes(bytes[8..].try_into().ok()?);
    Some(Moment {
        at: Time::from_millis(at),
        id,
    })
}

/// The part of time that a page may show: from `from`, before `below`.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub from: Time,
    pub below: Moment,
}

impl Span {
    fn of(query: &AuditQuery) -> Result<Self, Error> {
        let end = Moment {
            at: query.to.unwrap_or(Time::from_millis(i64::MAX)),
            id: i64::MIN,
        };
        let cursor = match &query.cursor {
            None => end,
            Some(text) => read_cursor(text)
                .ok_or_else(|| Error::invalid("?cursor", "Is not a cursor of this list."))?,
        };
        Ok(Self {
            from: query.from.unwrap_or(Time::from_millis(i64::MIN)),
            below: end.min(cursor),
        })
    }

    pub(super) fn holds(&self, event: &StoredEvent) -> bool {
        event.at >= self.from && moment(event) < self.below
    }
}

/// What was found for a page, newest first, and up to where everything was looked at:
/// `None` when that is the end.
pub(super) struct Found {
    pub events: Vec<StoredEvent>,
    pub looked_until: Option<Moment>,
}

impl AuditQuery {
    pub(super) fn matches(&self, event: &StoredEvent) -> bool {
        let action = self
            .action
            .is_none_or(|action| event.action == action.as_str());
        let success = self
            .success
            .is_none_or(|success| (event.success != 0) == success);
        if !(action && success) {
            return false;
        }
        if self.device.is_none() && self.user.is_none() {
            return true;
        }
        let personal = personal(event);
        let device = self.device.as_ref().map(DeviceName::as_str);
        let user = self.user.as_ref().map(UserName::canonical);
        device.is_none_or(|name| personal.device_id.as_deref() == Some(name))
            && user.is_none_or(|name| personal.user_id.as_deref() == Some(name))
    }
}

impl App {
    /// A page of events, newest first. A page may be short, even empty, and still have
    /// a cursor: then few of very many events match.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a cursor that is none.
    pub async fn search_audit(&self, query: &AuditQuery) -> Result<Page<AuditEntry>, Error> {
        if let (Some(from), Some(to)) = (query.from, query.to)
            && from > to
        {
            return Err(Error::invalid("?from", "Must not be after `to`."));
        }
        let span = Span::of(query)?;
        let limit = query.limit as usize;
        let mut found = match self.term(query) {
            Some(term) => self.by_term(query, term, span).await?,
            None => {
                let merge = Merge::new(&self.store, span).await?;
                merge.take(query, limit + 1).await?
            }
        };
        let more = found.events.len() > limit;
        found.events.truncate(limit);
        let next = if more {
            found.events.last().map(moment)
        } else {
            found.looked_until
        };
        Ok(Page {
            data: found.events.iter().map(AuditEntry::of).collect(),
            next_cursor: next.map(write_cursor),
        })
    }

    /// The term that finds the fewest events that may match, if one finds them all.
    fn term(&self, query: &AuditQuery) -> Option<i64> {
        let terms = self.terms();
        if let Some(device) = &query.device {
            return Some(terms.device(device.as_str()));
        }
        if let Some(user) = &query.user {
            return Some(terms.user(user.canonical()));
        }
        match query.action {
            // Accepted ones are not indexed by their action.
            Some(Action::OtpVerification) if query.success != Some(false) => None,
            Some(action) => Some(terms.action(action.as_str())),
            None if query.success == Some(false) => Some(terms.failed()),
            None => None,
        }
    }

    /// Reads the index and what it does not have yet. What the index lacks is read
    /// first: an event that is indexed in between is found twice rather than not at all.
    async fn by_term(&self, query: &AuditQuery, term: i64, span: Span) -> Result<Found, Error> {
        let wanted = query.limit as usize + 1;
        let mut events = self.not_indexed(query, span).await?;
        let mut below = span.below;
        let (mut looked_at, mut indexed) = (0, 0);
        let mut looked_until = None;
        loop {
            let page = self.store.events_by_term(term, below, span.from, SLICE);
            let page = page.await?;
            looked_at += page.len();
            let Some(last) = page.last().map(moment) else {
                break;
            };
            let matching = page.into_iter().filter(|event| query.matches(event));
            let before = events.len();
            events.extend(matching);
            indexed += events.len() - before;
            below = last;
            if indexed >= wanted || looked_at >= MOST_LOOKED_AT {
                // Older events that were not indexed have to wait for their page.
                events.retain(|event| moment(event) >= last);
                looked_until = Some(last);
                break;
            }
        }
        events.sort_unstable_by_key(|event| std::cmp::Reverse(moment(event)));
        events.dedup_by_key(|event| event.id);
        Ok(Found {
            events,
            looked_until,
        })
    }

    /// The matching events that the index does not have, in no order.
    async fn not_indexed(&self, query: &AuditQuery, span: Span) -> Result<Vec<StoredEvent>, Error> {
        let mut behind = self.store.unindexed().await?;
        let length: i64 = behind.iter().map(|chain| chain.until - chain.after).sum();
        if length > LONGEST_TAIL {
            // What is not indexed is read as it is: a command beside a running server
            // cannot write.
            if let Err(error) = self.index_events(MOST_SPANS, Haste::Now).await {
                tracing::debug!(%error, "the search index was not brought up to date");
            }
            behind = self.store.unindexed().await?;
        }
        let mut events = Vec::new();
        for chain in behind {
            let mut after = chain.after;
            while after < chain.until {
                let page = self.store.events_up(chain.chain, after, chain.until, SLICE);
                let page = page.await?;
                let Some(last) = page.last() else { break };
                after = last.seq;
                let fits = |event: &StoredEvent| span.holds(event) && query.matches(event);
                events.extend(page.into_iter().filter(fits));
            }
        }
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let check = |at: i64, id: i64| {
            let moment = Moment {
                at: Time::from_millis(at),
                id,
            };
            assert_eq!(read_cursor(&write_cursor(moment)), Some(moment));
        };
        check(0, 0);
        check(1_700_000_000_000, 1 << 50);
        check(-1, -1);
        check(i64::MAX, i64::MIN);
        for text in ["", "x", "AAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(read_cursor(text), None, "{text}");
        }
    }
}
