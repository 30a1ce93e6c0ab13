//! A lane for attempts: gathers what waits, locks and reads, judges, commits, and only then answers.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use domain::{Subject, Time};

use super::inbox::Inbox;
use super::line::{Line, Recovery};
use super::load::{self, Blind, OwnHead};
use super::save;
use super::session::Call;
use super::trouble::Trouble;
use super::turns::Turns;
use crate::error::StoreError;
use crate::lane::chain::Tail;
use crate::lane::fold::{Loaded, Writes, fold};
use crate::lane::queue::Waiting;
use crate::lane::{BatchFacts, Judge, Reply, Submission};

/// Attempts in one transaction: large enough that two round trips and a sync are
/// shared by all clients of a busy server, small enough that the first one does not
/// wait for the last.
const LARGEST_BATCH: usize = 256;
/// How often a batch that was rolled back because of others is tried.
const MOST_TRIES: u32 = 3;
/// Between two looks at users whom somebody else works on, when nothing else waits:
/// about as long as their commit takes.
const HELD_PAUSE: Duration = Duration::from_millis(2);

/// One lane of this node.
pub(super) struct Lane {
    line: Line,
    inbox: Arc<Inbox<Waiting>>,
    turns: Arc<Turns>,
    /// Which of them this one is.
    place: usize,
    judge: Arc<dyn Judge>,
    /// How long an attempt waits for a user whom somebody else works on, in milliseconds.
    wait_ms: i64,
}

/// The inbox of a lane that serves: shut when this is dropped.
struct Open(Arc<Inbox<Waiting>>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.shut();
    }
}

/// What became of a batch.
enum Outcome {
    /// It is answered, or is tried again at once.
    Over,
    /// Somebody works on each of its users.
    Held,
    /// The connection is gone, perhaps with the chain's end if it was lost in the commit.
    Lost(Option<Tail>),
}

/// A batch that came to an end.
struct Ended {
    /// One for each attempt; `None` is for the next batch.
    replies: Vec<Option<Reply>>,
    at: Time,
    tail: Tail,
}

/// A batch that did not.
enum Stop {
    /// The connection is gone. When the commit had been sent, here is the chain's end
    /// if it arrived.
    Lost(Option<Tail>, Trouble),
    /// Rolled back, worth another try.
    Again(Trouble),
    /// Rolled back.
    Failed(StoreError),
}

impl Lane {
    pub(super) fn new(
        line: Line,
        inbox: Arc<Inbox<Waiting>>,
        (turns, place): (Arc<Turns>, usize),
        judge: Arc<dyn Judge>,
        wait: Duration,
    ) -> Self {
        Self {
            line,
            inbox,
            turns,
            place,
            judge,
            wait_ms: i64::try_from(wait.as_millis()).unwrap_or(i64::MAX),
        }
    }

    /// Serves until the inbox is closed and empty.
    pub(super) async fn serve(mut self) {
        let turns = Arc::clone(&self.turns);
        // Also when this panics: nothing may wait behind a lane that is gone.
        let open = Open(Arc::clone(&self.inbox));
        let mut batch = Vec::with_capacity(LARGEST_BATCH);
        loop {
            let held = batch.len();
            if held == 0 {
                turns.wait(&self.inbox).await;
            }
            let room = LARGEST_BATCH - held;
            let waiting = held + self.inbox.take(room, &mut batch);
            let lost = if batch.is_empty() {
                let inbox = Arc::clone(&self.inbox);
                tokio::select! {
                    more = inbox.rest() => if more { None } else { break },
                    () = self.line.ended() => Some((None, turns.leave(self.place))),
                }
            } else {
                let (place, turn) = (self.place, turns.begin(self.place, batch.len()));
                match turns.watch(place, self.run(&mut batch, waiting)).await {
                    Outcome::Lost(maybe) => Some((maybe, turn.away())),
                    outcome => {
                        // Asleep it keeps nobody waiting.
                        drop(turn);
                        if matches!(outcome, Outcome::Held) {
                            tokio::time::sleep(HELD_PAUSE).await;
                        }
                        // Whoever has waited for this one is before it.
                        tokio::task::yield_now().await;
                        None
                    }
                }
            };
            if let Some((maybe, _away)) = lost {
                // Nobody is told more than that the outcome is not known, and nothing
                // is judged again: a second judgement could count one guess twice or
                // find its own code spent.
                batch.clear();
                if self.line.recover(maybe, &self.inbox).await == Recovery::Over {
                    break;
                }
            }
        }
        drop(open);
        self.line.close().await;
    }

    /// Serves a batch and leaves in it what is for the next one.
    async fn run(&mut self, batch: &mut Vec<Waiting>, waiting: usize) -> Outcome {
        let submissions: Vec<&Submission> = batch.iter().map(|w| &w.submission).collect();
        match self.transact(&submissions).await {
            Ok(ended) => {
                self.line.tail = ended.tail;
                let attempts = ended.replies.iter().flatten().count();
                self.answer(batch, ended.replies, ended.at);
                if attempts == 0 {
                    return Outcome::Held;
                }
                self.judge.committed(&BatchFacts { attempts, waiting });
            }
            Err(Stop::Again(trouble)) => {
                tracing::warn!(cause = ?trouble, "a batch was rolled back and is tried again");
                try_again(batch);
            }
            Err(Stop::Failed(error)) => {
                let cause = std::error::Error::source(&error);
                tracing::error!(%error, ?cause, "a batch failed");
                for waiting in batch.drain(..) {
                    // The client may have gone.
                    let _ = waiting.reply.send(Err(error.same()));
                }
            }
            Err(Stop::Lost(maybe, trouble)) => {
                tracing::error!(cause = ?trouble, "a batch was lost");
                return Outcome::Lost(maybe);
            }
        }
        Outcome::Over
    }

    /// Sends the answers out and keeps the rest.
    fn answer(&self, batch: &mut Vec<Waiting>, replies: Vec<Option<Reply>>, at: Time) {
        for (mut waiting, reply) in std::mem::take(batch).into_iter().zip(replies) {
            let since = *waiting.held_since.get_or_insert(at);
            match reply {
                // The client may have gone; its attempt is counted all the same.
                Some(reply) => drop(waiting.reply.send(reply)),
                None if at.since(since) >= self.wait_ms => {
                    let _ = waiting.reply.send(Err(StoreError::Busy));
                }
                None if waiting.reply.is_closed() => {}
                None => batch.push(waiting),
            }
        }
    }

    /// Nothing is answered from here: the caller does that once the commit is certain.
    async fn transact(&self, submissions: &[&Submission]) -> Result<Ended, Stop> {
        let seen = match load::load(&self.line, submissions).await {
            Ok(seen) => seen,
            Err(Blind::Trouble(Trouble::Lost(error))) => {
                return Err(Stop::Lost(None, Trouble::Lost(error)));
            }
            Err(Blind::Trouble(trouble)) => {
                return Err(self.undo(Stop::before_commit(trouble)).await);
            }
            Err(Blind::Unreadable(error)) => return Err(self.undo(Stop::Failed(error)).await),
        };
        let own = self.line.ours(seen.own).map_err(Stop::before_commit)?;
        let loaded = (seen.loaded, seen.taken);
        let (replies, writes) = match self.judge(submissions, loaded, &own) {
            Ok(judged) => judged,
            Err(error) => return Err(self.undo(Stop::Failed(error)).await),
        };
        let nothing_new = writes.is_empty();
        if nothing_new && !replies.iter().flatten().flatten().any(|told| told.replayed) {
            self.line.roll_back().await.map_err(Stop::before_commit)?;
        } else {
            let session = self.line.session().map_err(Stop::before_commit)?;
            let calls = match nothing_new {
                // What is told again may stand in a commit of another lane or node whose wait
                // for the standbys was cancelled. They have it once they have a later one.
                true => vec![load::touch(self.line.tail.chain), Call::new(load::COMMIT)],
                false => save::calls(&writes),
            };
            let committed = session.round_trip(calls).await;
            committed.map_err(|failure| match failure.trouble {
                Trouble::Lost(error) => Stop::Lost(Some(writes.tail.clone()), Trouble::Lost(error)),
                // The `COMMIT` behind the failed statement has ended the transaction.
                trouble => Stop::before_commit(trouble),
            })?;
        }
        Ok(Ended {
            replies,
            at: writes.at,
            tail: writes.tail,
        })
    }

    /// The pure part: the judge over all attempts whose users are locked.
    fn judge(
        &self,
        submissions: &[&Submission],
        (loaded, taken): (Loaded, HashSet<Subject>),
        own: &OwnHead,
    ) -> Result<(Vec<Option<Reply>>, Writes), StoreError> {
        let tail = &self.line.tail;
        let at = self.line.time(own)?;
        let is_taken = |s: &Submission| taken.contains(&s.attempt.subject);
        let ours: Vec<&Submission> = submissions
            .iter()
            .copied()
            .filter(|s| !is_taken(s))
            .collect();
        let (replies, writes) = fold(&ours, loaded, tail, at, self.judge.as_ref())?;
        let mut replies = replies.into_iter();
        let place = |s: &&Submission| if is_taken(s) { None } else { replies.next() };
        Ok((submissions.iter().map(place).collect(), writes))
    }

    async fn undo(&self, stop: Stop) -> Stop {
        match self.line.roll_back().await {
            Ok(()) => stop,
            Err(trouble) => Stop::Lost(None, trouble),
        }
    }
}

impl Stop {
    fn before_commit(trouble: Trouble) -> Self {
        match trouble {
            lost @ Trouble::Lost(_) => Self::Lost(None, lost),
            again @ Trouble::Again(_) => Self::Again(again),
            failed @ Trouble::Failed(_) => Self::Failed(failed.into_error()),
        }
    }
}

fn try_again(batch: &mut Vec<Waiting>) {
    for mut waiting in std::mem::take(batch) {
        waiting.tries += 1;
        if waiting.tries < MOST_TRIES {
            batch.push(waiting);
        } else {
            // The client may have gone.
            let _ = waiting.reply.send(Err(StoreError::Busy));
        }
    }
}
