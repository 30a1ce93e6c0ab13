//! A connection that writes, with the chain that is its own, through losses of the connection.

use std::sync::Arc;
use std::time::Duration;

use domain::Time;
use domain::chain::Head;

use super::connect::Place;
use super::inbox::Inbox;
use super::load::{self, BEGIN, COMMIT, OWN_HEAD, OwnHead, read_head};
use super::save;
use super::session::{Call, Done, Session};
use super::trouble::Trouble;
use super::value::row;
use super::watch::Watch;
use crate::error::StoreError;
use crate::lane::Judge;
use crate::lane::chain::{self, Tail};
use crate::tables::{chains, stats};

const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// A connection and a chain.
pub(super) struct Line {
    place: Arc<Place>,
    judge: Arc<dyn Judge>,
    watch: Arc<Watch>,
    statements: Vec<&'static str>,
    /// `None` only while a lost one is being replaced.
    session: Option<Session>,
    pub(super) tail: Tail,
}

/// The statements of every line.
pub(super) fn statements() -> impl Iterator<Item = &'static str> {
    let lists = [super::ALL, load::ALL, save::ALL, chains::ALL, stats::ALL];
    lists.into_iter().flatten().copied()
}

/// How an interruption ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Recovery {
    /// There is a connection again, and the chain's end is known.
    Back,
    /// The server stops: this lane is over.
    Over,
}

impl Line {
    /// Connects, prepares the statements, and begins a chain.
    pub(super) async fn open(
        place: Arc<Place>,
        judge: Arc<dyn Judge>,
        watch: Arc<Watch>,
        statements: Vec<&'static str>,
    ) -> Result<Self, StoreError> {
        let session = Session::open(&place, &statements).await?;
        let tail = begin(&session, judge.as_ref()).await?;
        Ok(Self {
            place,
            judge,
            watch,
            statements,
            session: Some(session),
            tail,
        })
    }

    /// The connection, unless it has been dropped.
    pub(super) fn session(&self) -> Result<&Session, Trouble> {
        self.session.as_ref().ok_or(Trouble::Lost(None))
    }

    /// Locks the chain's end and asks where it stands and what time it is: [`OWN_HEAD`] or
    /// one that asks for more, by parameters that follow.
    pub(super) fn own_head<'a>(&self, statement: &'static str) -> Call<'a> {
        let call = Call::new(statement).with(self.tail.chain);
        call.with(self.watch.looked())
    }

    /// The time of a batch: the database's, but never before what any chain has stored.
    pub(super) fn time(&self, own: &OwnHead) -> Result<Time, StoreError> {
        let mark = self.watch.mark(own.clock, own.mark);
        self.tail.time_after(own.clock, mark)
    }

    /// Returns when the connection has ended.
    pub(super) async fn ended(&mut self) {
        if let Some(session) = &mut self.session {
            session.ended().await;
        }
    }

    /// Ends the transaction, whatever became of it.
    pub(super) async fn roll_back(&self) -> Result<(), Trouble> {
        self.session()?.call(Call::new(load::ROLLBACK)).await?;
        Ok(())
    }

    /// Gets a new connection and learns what became of the last batch.
    ///
    /// `maybe` is the chain's end if that batch was committed. The batch had locked
    /// the head, and every batch moves it: once the head can be locked again the old
    /// transaction is over, and where the head stands tells how it ended.
    pub(super) async fn recover<T>(&mut self, maybe: Option<Tail>, inbox: &Inbox<T>) -> Recovery {
        inbox.shut();
        // Not closed in order and nothing cancelled: either could hang like the
        // connection itself, and a cancellation could hit somebody else's statement.
        self.session = None;
        tracing::error!(chain = self.tail.chain, "a lane lost its connection");
        let mut pause = SHORTEST_PAUSE;
        let mut said = String::new();
        loop {
            if inbox.is_done() {
                return Recovery::Over;
            }
            match self.reconnect(maybe.as_ref()).await {
                Ok(()) => break,
                Err(error) => {
                    let now = error.to_string();
                    if now != said {
                        tracing::warn!(chain = self.tail.chain, error = now, "no connection yet");
                    }
                    said = now;
                }
            }
            let sleep = tokio::time::sleep(pause + self.jitter(pause));
            tokio::select! {
                () = sleep => {}
                () = inbox.woken() => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        tracing::info!(chain = self.tail.chain, "a lane is connected again");
        self.place.doubt_readers();
        inbox.reopen();
        Recovery::Back
    }

    async fn reconnect(&mut self, maybe: Option<&Tail>) -> Result<(), StoreError> {
        let session = Session::open(&self.place, &self.statements).await?;
        // That the last batch stands there does not say that the standbys have it. They
        // have all that came before a commit that has waited for them.
        let calls = vec![
            Call::new(BEGIN),
            self.own_head(OWN_HEAD),
            load::touch(self.tail.chain),
            Call::new(COMMIT),
        ];
        let done = session.round_trip(calls).await;
        let done = done.map_err(|failure| failure.trouble.into_error())?;
        let found = done.get(1).map(|done| &done.rows[..]).unwrap_or_default();
        let head = read_head(found)?.map(|own| own.head);
        match maybe {
            Some(tail) if head == Some(tail.head) => self.tail = tail.clone(),
            _ if head == Some(self.tail.head) => {}
            _ => self.begin_anew(&session, head).await?,
        }
        self.session = Some(session);
        Ok(())
    }

    /// The database has this chain otherwise than it was confirmed: a standby was promoted
    /// that lagged, a backup was put in place, or somebody else wrote. What there is of it
    /// is left as it is, for a checkpoint to tell what is missing, and another one begins
    /// as at a start: users are served again, and no event hides the break.
    async fn begin_anew(
        &mut self,
        session: &Session,
        found: Option<Head>,
    ) -> Result<(), StoreError> {
        let tail = begin(session, self.judge.as_ref()).await?;
        tracing::error!(
            chain = self.tail.chain,
            confirmed = self.tail.head.seq,
            found = found.map(|head| head.seq),
            new_chain = tail.chain,
            "the database has lost or changed acknowledged events: a new chain begins; \
             `otpd audit verify` with the last exported checkpoint tells what is missing"
        );
        self.watch.left_chain();
        self.tail = tail;
        Ok(())
    }

    /// The chain's end where this lane left it. Otherwise the connection leads to another
    /// database than before, and is of no use.
    pub(super) fn ours(&self, own: Option<OwnHead>) -> Result<OwnHead, Trouble> {
        let ours = own.filter(|own| own.head == self.tail.head);
        ours.ok_or_else(|| {
            let chain = self.tail.chain;
            tracing::error!(chain, "a chain does not end where this lane left it");
            Trouble::Lost(None)
        })
    }

    /// Up to the pause again, so that the lanes of all nodes do not come at once.
    fn jitter(&self, pause: Duration) -> Duration {
        let mut random = [0];
        self.judge.random(&mut random);
        pause * u32::from(random[0]) / 256
    }

    /// Takes leave of the database.
    pub(super) async fn close(self) {
        if let Some(session) = self.session {
            session.close().await;
        }
    }
}

/// The chain of this line begins; its first link names the newest one there is.
async fn begin(session: &Session, judge: &dyn Judge) -> Result<Tail, StoreError> {
    // The first statement locks the counter until the commit, so chains begin one
    // after the other, and each names the one before it.
    let reads = vec![
        Call::new(BEGIN),
        Call::new(chains::TAKE_ID),
        Call::new(chains::NEWEST),
        Call::new(chains::LATEST_TIME),
        Call::new(super::CLOCK),
    ];
    let done = session.round_trip(reads).await;
    let done = done.map_err(|failure| failure.trouble.into_error())?;
    let mut answers = done.into_iter().skip(1);
    let mut next = || first(answers.next());
    let missing = || StoreError::Corrupt("a chain cannot begin".into());
    let id = next()?.ok_or_else(missing)?.int(0)?;
    let before = chains::newest(next()?)?;
    let latest = next()?.map_or(Ok(None), |row| row.maybe_time(0))?;
    let now = next()?.ok_or_else(missing)?.time(0)?;
    let started = latest.map_or(now, |at: Time| at.max(now));
    let new = chain::begin(id, started, before, judge);
    let head = chains::head_params(id, &new.tail.head, new.first_mac, new.tail.at);
    let writes = vec![
        Call::of_values(chains::INSERT, chains::insert_params(&new)),
        Call::of_values(chains::INSERT_HEAD, head),
        Call::new(COMMIT),
    ];
    let done = session.round_trip(writes).await;
    done.map_err(|failure| failure.trouble.into_error())?;
    Ok(new.tail)
}

/// The first row of an answer.
fn first(done: Option<Done>) -> Result<Option<crate::value::Row>, StoreError> {
    let rows = done.map(|done| done.rows).unwrap_or_default();
    rows.first().map(row).transpose()
}
