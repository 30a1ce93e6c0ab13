//! The management lane: one batch after the other, on a connection apart from the attempts.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use domain::Time;
use tokio::sync::oneshot;

use super::inbox::Inbox;
use super::line::{Line, Recovery};
use super::load::{BEGIN, COMMIT, OWN_HEAD, read_head};
use super::save;
use super::session::{Call, Failure, Session};
use super::trouble::Trouble;
use super::value::row;
use crate::batch::{Batch, Expect, Step};
use crate::error::{Refusal, StoreError};
use crate::lane::Judge;
use crate::lane::chain::Tail;
use crate::sql::statements;
use crate::tables::stats::Tally;
use crate::value::{Row, Value};

/// Between two looks at users whom somebody else works on, when nothing else waits:
/// about as long as their commit takes.
const HELD_PAUSE: Duration = Duration::from_millis(2);
/// So long a batch waits for them, in milliseconds: whoever sent it still listens then.
const LONGEST_HELD: i64 = 1500;

statements! {
    /// Nothing is waited for: the batches behind this one are about others.
    LOCK = "SELECT id FROM guards WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED";
    /// Whose guards there are, whoever holds them. Read after the lock, so what is here and
    /// was not locked is somebody else's.
    KNOWN = "SELECT id FROM guards WHERE id = ANY($1)";
}

/// Where the outcome of a batch goes.
type Asker = oneshot::Sender<Result<Time, StoreError>>;

/// Work for this lane.
pub(super) enum Work {
    Batch(Batch, Asker),
    Rows(
        &'static str,
        Vec<Value>,
        oneshot::Sender<Result<Vec<Row>, StoreError>>,
    ),
}

/// The one of this node.
pub(super) struct Manager {
    line: Line,
    inbox: Arc<Inbox<Work>>,
    judge: Arc<dyn Judge>,
    /// What stands aside meanwhile.
    held: VecDeque<Held>,
}

/// A batch about users of whom somebody else works on one at least. Nothing of it is done.
struct Held {
    batch: Batch,
    asker: Asker,
    /// The time of its first look at them.
    since: Time,
}

/// What was found when the guards of a batch were to be locked.
enum Guards {
    /// All are locked, at that time.
    Ours(Time),
    /// Somebody holds one of them, at that time.
    Held(Time),
}

/// A batch that changed nothing, or of which that is not known.
enum Stop {
    Lost(Option<Tail>, Trouble),
    /// The transaction is open still and has to be rolled back.
    Open(StoreError),
    /// The transaction is over.
    Over(StoreError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Open(error)
    }
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            lost @ Trouble::Lost(_) => Self::Lost(None, lost),
            other => Self::Open(other.into_error()),
        }
    }
}

impl Manager {
    pub(super) fn new(line: Line, inbox: Arc<Inbox<Work>>, judge: Arc<dyn Judge>) -> Self {
        let held = VecDeque::new();
        Self {
            line,
            inbox,
            judge,
            held,
        }
    }

    /// Serves until the inbox is closed and empty. One of those that stand aside has its
    /// turn after each of those that come.
    pub(super) async fn serve(mut self) {
        let mut work = Vec::with_capacity(1);
        let mut in_vain = false;
        loop {
            self.inbox.take(1, &mut work);
            let lost = match work.pop() {
                Some(work) => self.run(work).await,
                None if !self.held.is_empty() => {
                    if in_vain {
                        tokio::time::sleep(HELD_PAUSE).await;
                    }
                    None
                }
                None => {
                    let inbox = Arc::clone(&self.inbox);
                    tokio::select! {
                        more = inbox.rest() => if more { None } else { break },
                        () = self.line.ended() => Some(None),
                    }
                }
            };
            let waited = self.held.len();
            let lost = match lost {
                None => self.look_again().await,
                lost => lost,
            };
            in_vain = self.held.len() >= waited;
            if let Some(maybe) = lost {
                // Like what waits in the inbox: whoever asks learns at once.
                self.held.clear();
                if self.line.recover(maybe, &self.inbox).await == Recovery::Over {
                    break;
                }
            }
        }
        self.inbox.shut();
        self.line.close().await;
    }

    /// `Some` when the connection was lost, with the chain's end if it was lost in the
    /// commit.
    async fn run(&mut self, work: Work) -> Option<Option<Tail>> {
        match work {
            Work::Batch(batch, asker) => self.batch(batch, asker, None).await,
            Work::Rows(sql, values, reply) => match self.rows(sql, values).await {
                Ok(rows) => {
                    let _ = reply.send(rows);
                    None
                }
                Err(trouble) => {
                    let lost = matches!(trouble, Trouble::Lost(_));
                    let _ = reply.send(Err(trouble.into_error()));
                    lost.then_some(None)
                }
            },
        }
    }

    /// A statement that is its own transaction: its answer says that it is committed.
    async fn rows(
        &self,
        sql: &'static str,
        values: Vec<Value>,
    ) -> Result<Result<Vec<Row>, StoreError>, Trouble> {
        let call = Call::of_values(sql, values);
        let done = self.line.session()?.call(call).await?;
        Ok(done.rows.iter().map(row).collect())
    }

    /// Gives the batch that has stood aside the longest another turn.
    async fn look_again(&mut self) -> Option<Option<Tail>> {
        let held = self.held.pop_front()?;
        // Whoever was told that the outcome is not known gets none.
        if held.asker.is_closed() {
            return None;
        }
        self.batch(held.batch, held.asker, Some(held.since)).await
    }

    /// Commits a batch and says so, or puts it aside: see [`Manager::run`] for what comes
    /// back.
    async fn batch(
        &mut self,
        batch: Batch,
        asker: Asker,
        since: Option<Time>,
    ) -> Option<Option<Tail>> {
        let ended = match self.lock(&batch.sorted_guards()).await {
            Ok(Guards::Ours(at)) => self.transact(batch, at).await,
            Ok(Guards::Held(at)) => {
                let rolled_back = self.line.roll_back().await;
                let since = since.unwrap_or(at);
                if at.since(since) >= LONGEST_HELD {
                    let _ = asker.send(Err(StoreError::Busy));
                } else {
                    self.held.push_back(Held {
                        batch,
                        asker,
                        since,
                    });
                }
                return rolled_back.err().map(|_| None);
            }
            Err(stop) => Err(stop),
        };
        let (result, lost) = self.outcome(ended).await;
        // The client may have gone.
        let _ = asker.send(result);
        lost
    }

    /// What to say of a batch, and what [`Manager::run`] gives back of it.
    async fn outcome(
        &mut self,
        ended: Result<Tail, Stop>,
    ) -> (Result<Time, StoreError>, Option<Option<Tail>>) {
        match ended {
            Ok(tail) => {
                self.line.tail = tail;
                (Ok(self.line.tail.at), None)
            }
            Err(Stop::Over(error)) => (Err(error), None),
            Err(Stop::Open(error)) => match self.line.roll_back().await {
                Ok(()) => (Err(error), None),
                // The answer stands: what is not committed is rolled back.
                Err(_) => (Err(error), Some(None)),
            },
            Err(Stop::Lost(maybe, trouble)) => {
                tracing::error!(cause = ?trouble, "a batch was lost");
                (Err(trouble.into_error()), Some(maybe))
            }
        }
    }

    /// Does what a batch says, in the transaction that has locked its guards at that time.
    async fn transact(&self, batch: Batch, at: Time) -> Result<Tail, Stop> {
        let session = self.line.session()?;
        apply(session, &batch.steps).await?;
        let mut tail = self.line.tail.clone();
        tail.at = at;
        let additions = batch.additions(at, tail.chain);
        let mut tally = Tally::default();
        let mut events = Vec::with_capacity(batch.events.len());
        for event in batch.events {
            tally.count_change(&event);
            events.push(tail.append(event, at, self.judge.as_ref())?);
        }
        let mut calls = Vec::from_iter(save::append(&[], &events, &tail, at, &tally));
        if !batch.terms.is_empty() {
            calls.push(save::insert_terms(&batch.terms));
        }
        let additions = additions.into_iter();
        calls.extend(additions.map(|(sql, values)| Call::of_values(sql, values)));
        calls.push(Call::new(COMMIT));
        match session.round_trip(calls).await {
            Ok(_) => Ok(tail),
            Err(failure) => Err(match failure.trouble {
                lost @ Trouble::Lost(_) => Stop::Lost(Some(tail.clone()), lost),
                // The `COMMIT` behind the failed statement has ended the transaction.
                trouble => Stop::Over(trouble.into_error()),
            }),
        }
    }

    /// Opens the transaction, locks the guards as far as they are free, and says what time
    /// it is.
    async fn lock(&self, guards: &[i64]) -> Result<Guards, Stop> {
        let calls = vec![
            Call::new(BEGIN),
            Call::new(LOCK).with(guards),
            Call::new(KNOWN).with(guards),
            self.line.own_head(OWN_HEAD),
        ];
        let done = self.line.session()?.round_trip(calls).await;
        let done = done.map_err(|failure| failure.trouble)?;
        let rows = |place: usize| {
            done.get(place)
                .map(|done| &done.rows[..])
                .unwrap_or_default()
        };
        let (ours, known) = (rows(1).len(), rows(2).len());
        if known < guards.len() {
            return Err(StoreError::Refused(Refusal::UserGone).into());
        }
        let own = self.line.ours(read_head(rows(3))?)?;
        let at = self.line.time(&own)?;
        Ok(if ours == guards.len() {
            Guards::Ours(at)
        } else {
            Guards::Held(at)
        })
    }
}

/// Commits the statements of a batch before any chain has begun. After an error the
/// session has to be dropped.
pub(super) async fn initialise(session: &Session, batch: &Batch) -> Result<(), StoreError> {
    let begun = session.call(Call::new(BEGIN)).await;
    begun.map_err(Trouble::into_error)?;
    apply(session, &batch.steps)
        .await
        .map_err(|stop| match stop {
            Stop::Open(error) | Stop::Over(error) => error,
            Stop::Lost(_, trouble) => trouble.into_error(),
        })?;
    let committed = session.call(Call::new(COMMIT)).await;
    committed.map_err(Trouble::into_error).map(drop)
}

/// All steps in one round trip; the first that is refused speaks for the batch.
async fn apply(session: &Session, steps: &[Step]) -> Result<(), Stop> {
    let calls = steps.iter();
    let calls = calls.map(|step| Call::of_values(step.sql, step.params.clone()));
    let done = session.round_trip(calls.collect()).await;
    for (step, done) in steps.iter().zip(done.map_err(|f| refusal(steps, f))?) {
        step.check(done.changed)?;
    }
    Ok(())
}

/// A row that is there already, where one was expected to be made, is a refusal like
/// a row that did not change.
fn refusal(steps: &[Step], failure: Failure) -> Stop {
    match steps.get(failure.place).map(|step| step.expect) {
        Some(Expect::One(refusal)) if failure.trouble.is_duplicate() => {
            Stop::Open(StoreError::Refused(refusal))
        }
        _ => failure.trouble.into(),
    }
}
