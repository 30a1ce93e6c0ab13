//! Events as searches and proofs read them, and what upkeep does to them: index, cut, blank.

use domain::chain::{ChainName, Link};
use domain::{Time, UserId};

use crate::Store;
use crate::batch::{Batch, Expect};
use crate::error::{Refusal, StoreError};
use crate::lane::chain::{SEQ_BITS, event_id, place};
use crate::sql::statements;
use crate::value::{Row, params};

statements! {
    UP = "SELECT id, at, action, success, user_id, device_id, caller, request_id, detail,
            personal, personal_digest, salt, link, mac
          FROM events WHERE id > $1 AND id <= $2 ORDER BY id LIMIT $3";
    DOWN = "SELECT id, at, action, success, user_id, device_id, caller, request_id, detail,
              personal, personal_digest, salt, link, mac
            FROM events WHERE id < $1 AND id > $2 ORDER BY id DESC LIMIT $3";
    BY_TERM = "SELECT e.id, e.at, e.action, e.success, e.user_id, e.device_id, e.caller,
                 e.request_id, e.detail, e.personal, e.personal_digest, e.salt, e.link, e.mac
               FROM event_terms t JOIN events e ON e.id = t.event
               WHERE t.term = $1 AND (t.at, t.event) < ($2, $3) AND t.at >= $4
               ORDER BY t.at DESC, t.event DESC LIMIT $5";
    FIRST = "SELECT id FROM events WHERE id >= $1 AND id <= $2 ORDER BY id LIMIT 1";
    TIME = "SELECT at FROM events WHERE id = $1";
    NEXT = "SELECT id FROM events WHERE id > $1 ORDER BY id LIMIT 1";
    /// Both in one statement, so that a batch committed in between cannot part them.
    LAST = "SELECT h.seq, (SELECT MAX(e.id) FROM events e WHERE e.id > $2 AND e.id <= $3)
            FROM chain_heads h WHERE h.chain = $1";
    CLUES = "SELECT id, at, action, success, user_id, personal
             FROM events WHERE id > $1 AND id <= $2 ORDER BY id LIMIT $3";
    INSERT_TERM = "INSERT INTO event_terms (term, at, event) VALUES ($1, $2, $3)
                   ON CONFLICT (term, at, event) DO NOTHING";
    DELETE_TERM = "DELETE FROM event_terms WHERE term = $1 AND at = $2 AND event = $3";
    DELETE_TERMS = "DELETE FROM event_terms
                    WHERE term = $1 AND at >= $2 AND at <= $3 AND event > $4 AND event <= $5";
    DELETE = "DELETE FROM events WHERE id > $1 AND id <= $2";
    /// The salt tells that these are the fields the digest was made of.
    BLANK = "UPDATE events SET personal = NULL, salt = NULL, personal_digest = $2
             WHERE id = $1 AND salt = $3";
    USER_NAME = "SELECT name FROM users WHERE id = $1";
}

/// The largest sequence number that an id has room for.
const LAST_SEQ: i64 = (1 << SEQ_BITS) - 1;

/// A stored event. A binary field of a wrong length cannot be ours: it is read as
/// zeros, which match no hash, so that whoever wrote it is found by the proof.
#[derive(Clone, Debug)]
pub struct StoredEvent {
    /// Chain and sequence number in one.
    pub id: i64,
    /// The chain's number.
    pub chain: i64,
    /// The number in its chain, from 1.
    pub seq: i64,
    /// When.
    pub at: Time,
    /// The action's word.
    pub action: String,
    /// 1 or 0.
    pub success: i64,
    /// Internal user id.
    pub user: Option<i64>,
    /// Internal device id.
    pub device: Option<i64>,
    /// The credential that asked.
    pub caller: String,
    /// The request that asked.
    pub request_id: String,
    /// JSON text, or empty.
    pub detail: String,
    /// JSON text of the personal fields, unless they were erased.
    pub personal: Option<String>,
    /// What an erasure left of them.
    pub personal_digest: Option<[u8; 32]>,
    /// Goes into their digest; erased with them.
    pub salt: Option<[u8; 16]>,
    /// See `domain::chain::link`.
    pub link: Link,
    /// The vault's MAC of the link.
    pub mac: [u8; 16],
}

/// What a search may find an event by, and nothing else of it: the index reads all events.
#[derive(Clone, Debug)]
pub struct Clues {
    /// See [`StoredEvent::id`].
    pub id: i64,
    /// See [`StoredEvent::seq`].
    pub seq: i64,
    /// See [`StoredEvent::at`].
    pub at: Time,
    /// See [`StoredEvent::action`].
    pub action: String,
    /// See [`StoredEvent::success`].
    pub success: i64,
    /// See [`StoredEvent::user`].
    pub user: Option<i64>,
    /// See [`StoredEvent::personal`].
    pub personal: Option<String>,
}

/// An entry of the search index: the term, and the event's time and id. They sort as they
/// are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TermEntry {
    /// The keyed hash of a word.
    pub term: i64,
    /// When the event was, in milliseconds since 1970.
    pub at: i64,
    /// The event's id.
    pub event: i64,
}

/// An exclusive upper end of the log: events before this time, or at this time with a
/// smaller id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// The time.
    pub at: Time,
    /// The id of an event.
    pub id: i64,
}

/// The beginning of a chain that retention removes.
pub struct NewCut<'a> {
    /// The chain's number.
    pub chain: i64,
    /// Where it was cut before.
    pub from: i64,
    /// The last event to go.
    pub seq: i64,
    /// Its link, kept.
    pub link: Link,
    /// When.
    pub at: Time,
    /// The key that signed this.
    pub kid: &'a str,
    /// Its signature.
    pub signature: [u8; 64],
}

/// Entries of the search index that go with a cut: one term's within a time.
pub struct CutTerm {
    /// The term.
    pub term: i64,
    /// The first of its events' times.
    pub first: Time,
    /// The last one.
    pub last: Time,
}

pub(super) fn zeros_unless_fixed<const N: usize>(bytes: Vec<u8>) -> [u8; N] {
    bytes.try_into().unwrap_or([0; N])
}

fn stored(mut row: Row) -> Result<StoredEvent, StoreError> {
    let id = row.int(0)?;
    let (chain, seq) = place(id);
    Ok(StoredEvent {
        id,
        chain,
        seq,
        at: row.time(1)?,
        action: row.text(2)?,
        success: row.int(3)?,
        user: row.maybe_int(4)?,
        device: row.maybe_int(5)?,
        caller: row.text(6)?,
        request_id: row.text(7)?,
        detail: row.text(8)?,
        personal: row.maybe_text(9)?,
        personal_digest: row.maybe_bytes(10)?.map(zeros_unless_fixed),
        salt: row.maybe_bytes(11)?.map(zeros_unless_fixed),
        link: Link(zeros_unless_fixed(row.bytes(12)?)),
        mac: zeros_unless_fixed(row.bytes(13)?),
    })
}

fn clues(mut row: Row) -> Result<Clues, StoreError> {
    let id = row.int(0)?;
    Ok(Clues {
        id,
        seq: place(id).1,
        at: row.time(1)?,
        action: row.text(2)?,
        success: row.int(3)?,
        user: row.maybe_int(4)?,
        personal: row.maybe_text(5)?,
    })
}

impl Store {
    /// Events of a chain in their order: after number `after`, up to and including `until`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn events_up(
        &self,
        chain: i64,
        after: i64,
        until: i64,
        limit: i64,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let params = params![event_id(chain, after), event_id(chain, until), limit];
        let rows = self.rows(UP, params).await?;
        rows.into_iter().map(stored).collect()
    }

    /// What the events of a chain are found by, in their order: after number `after`, up to
    /// and including `until`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn clues_up(
        &self,
        chain: i64,
        after: i64,
        until: i64,
        limit: i64,
    ) -> Result<Vec<Clues>, StoreError> {
        let params = params![event_id(chain, after), event_id(chain, until), limit];
        let rows = self.rows(CLUES, params).await?;
        rows.into_iter().map(clues).collect()
    }

    /// Events of a chain, last first: before number `below`, after `above`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn events_down(
        &self,
        chain: i64,
        below: i64,
        above: i64,
        limit: i64,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let params = params![event_id(chain, below), event_id(chain, above), limit];
        let rows = self.rows(DOWN, params).await?;
        rows.into_iter().map(stored).collect()
    }

    /// Indexed events of a term, newest first: before `below`, not before `from`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn events_by_term(
        &self,
        term: i64,
        below: Moment,
        from: Time,
        limit: i64,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let params = params![term, below.at, below.id, from, limit];
        let rows = self.rows(BY_TERM, params).await?;
        rows.into_iter().map(stored).collect()
    }

    /// When an event was; `None` when it is not there.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn event_moment(&self, chain: i64, seq: i64) -> Result<Option<Moment>, StoreError> {
        let id = event_id(chain, seq);
        let row = self.maybe_one(TIME, params![id]).await?;
        row.map(|row| {
            Ok(Moment {
                at: row.time(0)?,
                id,
            })
        })
        .transpose()
    }

    /// The numbers of all chains that have events, whether or not the chain is known.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn chains_with_events(&self) -> Result<Vec<i64>, StoreError> {
        let mut chains = Vec::new();
        let mut after = i64::MIN;
        while let Some(row) = self.maybe_one(NEXT, params![after]).await? {
            let (chain, _) = place(row.int(0)?);
            chains.push(chain);
            after = event_id(chain, LAST_SEQ);
        }
        Ok(chains)
    }

    /// The number of the first event of a chain.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn first_event(&self, chain: i64) -> Result<Option<i64>, StoreError> {
        let params = params![event_id(chain, 0), event_id(chain, LAST_SEQ)];
        let row = self.maybe_one(FIRST, params).await?;
        row.map(|row| Ok(place(row.int(0)?).1)).transpose()
    }

    /// What the head row of a chain says is its last event, and what is: sequence
    /// numbers at one moment. `None` without a head row; 0 without an event.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn last_event(&self, chain: i64) -> Result<Option<(i64, i64)>, StoreError> {
        let params = params![chain, event_id(chain, 0), event_id(chain, LAST_SEQ)];
        let row = self.maybe_one(LAST, params).await?;
        row.map(|row| Ok((row.int(0)?, row.maybe_int(1)?.map_or(0, |id| place(id).1))))
            .transpose()
    }

    /// The name of a user.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn user_name(&self, user: UserId) -> Result<Option<String>, StoreError> {
        let row = self.maybe_one(USER_NAME, params![user.0]).await?;
        row.map(|mut row| row.text(0)).transpose()
    }
}

impl Batch {
    /// Makes events known to searches of their terms; an entry that is there stays.
    pub fn insert_terms(&mut self, mut entries: Vec<TermEntry>) {
        self.terms.append(&mut entries);
    }

    /// Makes an event unknown to searches of a term.
    pub fn delete_term(&mut self, term: i64, at: Time, event: i64) {
        self.step(DELETE_TERM, params![term, at, event], Expect::Any);
    }

    /// Removes the events of a chain up to a number, with their entries in the search
    /// index; refused when the chain was cut meanwhile.
    pub fn cut_chain(&mut self, cut: &NewCut<'_>, terms: &[CutTerm]) {
        self.move_cut(cut);
        let (after, until) = (event_id(cut.chain, cut.from), event_id(cut.chain, cut.seq));
        self.step(DELETE, params![after, until], Expect::Any);
        for CutTerm { term, first, last } in terms {
            let params = params![*term, *first, *last, after, until];
            self.step(DELETE_TERMS, params, Expect::Any);
        }
    }

    /// Replaces the personal fields of an event by their digest, unless they are gone.
    pub fn blank_event(&mut self, event: i64, salt: [u8; 16], digest: [u8; 32]) {
        self.step(BLANK, params![event, digest, salt], Expect::Any);
    }

    fn move_cut(&mut self, cut: &NewCut<'_>) {
        let params = params![
            cut.chain,
            cut.from,
            cut.seq,
            cut.link.0,
            cut.at,
            cut.kid,
            cut.signature,
        ];
        let refusal = Refusal::Missing;
        self.step(super::chains::CUT, params, Expect::One(refusal));
    }
}

/// The name of a chain as stored, zeros when it cannot be ours.
pub(super) fn name(bytes: Vec<u8>) -> ChainName {
    ChainName(zeros_unless_fixed(bytes))
}
