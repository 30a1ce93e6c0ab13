//! What the server does by itself: some of it at every node, the rest at one node for all. Each round is short.

use std::sync::Arc;
use std::time::Duration;

use domain::Origin;
use domain::{Action, Event};
use store::{Batch, StoreError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::audit::Haste;
use crate::stats::start_of_day;
use crate::{App, Error};

const ROUND_EVERY: Duration = Duration::from_secs(60);
/// So long at most nobody does the common work after its node has died.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Rows per batch of a sweep: a short slice between attempts.
const SLICE: i64 = 2000;
/// So long a sweep goes on at most, if it is behind: then the others have their turn. A
/// slice takes some hundredths of a second, so this is far more than a busy server makes
/// between two rounds.
const LONGEST_SWEEP: Duration = Duration::from_secs(20);
/// Devices that were never confirmed, each removed in a batch of its own, and how often
/// in a round that many are looked for.
const PENDING: i64 = 200;
const PENDING_TURNS: usize = 10;
/// Idle addresses that are forgotten in one batch: a few statements each.
const ADDRESSES: usize = 200;
/// Between two sweeps of kept answers: a busy server keeps many, and not for long.
const OFTEN: Duration = Duration::from_secs(10);
/// Spans of the search index in a row: the other jobs have their turn during a backlog, too.
const INDEX_SPANS: usize = 20;

/// What one node does for all.
#[derive(Clone, Copy, Debug)]
enum Common {
    NewMaster,
    PendingDevices,
    Sessions,
    Challenges,
    IdleAddresses,
    SigningKeys,
    Retention,
    Statistics,
    Checkpoint,
    OldCheckpoints,
}

impl Common {
    const ALL: [Self; 10] = [
        Self::NewMaster,
        Self::PendingDevices,
        Self::Sessions,
        Self::Challenges,
        Self::IdleAddresses,
        Self::SigningKeys,
        Self::Retention,
        Self::Statistics,
        Self::Checkpoint,
        Self::OldCheckpoints,
    ];
}

impl App {
    /// Runs the jobs until the token is cancelled. A job that fails is tried again in
    /// its next round; the server goes on.
    pub async fn run_jobs(self: Arc<Self>, stop: CancellationToken) {
        let mail = tokio::spawn(Arc::clone(&self).run_mail(stop.clone()));
        let nodes = tokio::spawn(Arc::clone(&self).run_nodes(stop.clone()));
        let (said, lead) = watch::channel(false);
        let watch = tokio::spawn(Arc::clone(&self).watch_lead(said, stop.clone()));
        self.run_rounds(lead, &stop).await;
        self.last_round().await;
        for job in [mail, watch, nodes] {
            if job.await.is_err() {
                tracing::error!("a background job has broken off");
            }
        }
    }

    /// Asks all the time whose the common work is: also while a long round is under way.
    async fn watch_lead(self: Arc<Self>, said: watch::Sender<bool>, stop: CancellationToken) {
        loop {
            self.compare_clocks().await;
            let leads = match self.store.lead().await {
                Ok(leads) => leads,
                // There is no place to ask, but the session that holds it is there.
                Err(StoreError::Busy) => *said.borrow(),
                // Whoever cannot ask may have lost it.
                Err(_) => false,
            };
            if tell(&said, leads) && self.store.is_shared() {
                match leads {
                    true => tracing::info!("this node does the common work now"),
                    false => tracing::info!("this node leaves the common work to others"),
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    async fn run_rounds(&self, mut lead: watch::Receiver<bool>, stop: &CancellationToken) {
        let mut ticks = tokio::time::interval(ROUND_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut often = tokio::time::interval(OFTEN);
        often.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                // An event waits a round for the search index. A search reads what waits as it
                // is, and many events at a time cost less than few.
                _ = ticks.tick() => {
                    self.own_round().await;
                    self.common_round(&mut lead, stop).await;
                    self.catch_up(&lead, stop).await;
                }
                changed = lead.changed() => match changed {
                    Ok(()) => {
                        self.sweep_answers(&lead, stop).await;
                        self.common_round(&mut lead, stop).await;
                        self.catch_up(&lead, stop).await;
                    }
                    Err(_) => return,
                },
                _ = often.tick() => self.sweep_answers(&lead, stop).await,
            }
        }
    }

    /// What stands in this node's memory.
    async fn own_round(&self) {
        let jobs = [
            ("first start", self.look_for_root().await),
            ("refusals", self.record_refusals().await),
            ("signing keys", self.look_at_signing_keys().await),
        ];
        for (job, result) in jobs {
            if let Err(error) = result {
                tracing::warn!(job, %error, "a job failed and will be tried again");
            }
        }
    }

    /// What stands in the database, as long as it is this node's to do.
    async fn common_round(&self, lead: &mut watch::Receiver<bool>, stop: &CancellationToken) {
        for job in Common::ALL {
            if stop.is_cancelled() || !*lead.borrow_and_update() {
                return;
            }
            // All of it is whole batches: what is broken off here begins anew elsewhere.
            let done = tokio::select! {
                () = stop.cancelled() => return,
                done = self.run_common(job) => done,
            };
            if let Err(error) = done {
                tracing::warn!(?job, %error, "a job failed and will be tried again");
            }
        }
    }

    async fn run_common(&self, job: Common) -> Result<(), Error> {
        match job {
            Common::NewMaster => self.finish_new_master().await,
            Common::PendingDevices => self.sweep_pending().await,
            Common::Sessions => self.sweep_sessions().await,
            Common::Challenges => self.sweep_challenges().await,
            Common::IdleAddresses => self.sweep_addresses().await,
            Common::SigningKeys => self.care_for_signing_keys().await,
            Common::Retention => self.cut_old_events().await.map(drop),
            Common::Statistics => self.sweep_statistics().await,
            Common::Checkpoint => self.checkpoint_when_due().await,
            Common::OldCheckpoints => self.thin_checkpoints().await,
        }
    }

    /// Brings the search index of the audit up to date.
    async fn catch_up(&self, lead: &watch::Receiver<bool>, stop: &CancellationToken) {
        for _ in 0..INDEX_SPANS {
            if !*lead.borrow() {
                return;
            }
            // A span that is broken off begins anew: nothing of it is marked yet.
            let indexed = tokio::select! {
                () = stop.cancelled() => return,
                indexed = self.index_events(1, Haste::InTime) => indexed,
            };
            match indexed {
                Ok(false) => {}
                Ok(true) => return,
                Err(error) => {
                    tracing::warn!(%error, "the search index is behind and will be tried again");
                    return;
                }
            }
        }
    }

    async fn last_round(&self) {
        if let Err(error) = self.record_refusals().await {
            tracing::warn!(%error, "the last sums of refused requests are lost");
        }
        if let Err(error) = self.checkpoint_when_news().await {
            tracing::warn!(%error, "no last checkpoint was made");
        }
    }

    /// Sweeps slice after slice until one is not full: tables stay as small as what is in
    /// force, however much came and went in between.
    pub(crate) async fn in_slices<F>(&self, sweep: impl Fn(i64) -> F) -> Result<(), Error>
    where
        F: Future<Output = Result<i64, StoreError>>,
    {
        slices(LONGEST_SWEEP, sweep).await.map_err(Error::from)
    }

    /// Removes the kept answers whose time is over.
    async fn sweep_answers(&self, lead: &watch::Receiver<bool>, stop: &CancellationToken) {
        if !*lead.borrow() {
            return;
        }
        let sweep = async {
            let now = self.store.now().await?;
            self.in_slices(|most| self.store.sweep_answers(now, most))
                .await
        };
        // Broken off, a slice is removed or it is not: the next sweep begins anew.
        let swept = tokio::select! {
            () = stop.cancelled() => return,
            swept = sweep => swept,
        };
        if let Err(error) = swept {
            tracing::warn!(%error, "the kept answers were not swept; it will be tried again");
        }
    }

    /// Removes challenges that have been over for a day: until then a spent code is told
    /// from a wrong one, and a day's count is not forgotten.
    async fn sweep_challenges(&self) -> Result<(), Error> {
        const DAY_SECONDS: i64 = 86_400;
        let before = self.store.now().await?.plus_seconds(-DAY_SECONDS);
        self.in_slices(|most| self.store.sweep_challenges(before, most))
            .await
    }

    /// Removes email addresses for which nothing is stored any more: nobody can guess at
    /// addresses and leave a row for each. An address that logs in again is another user;
    /// the audit log keeps what was recorded.
    async fn sweep_addresses(&self) -> Result<(), Error> {
        self.in_slices(|most| self.forget_addresses(most)).await
    }

    /// Forgets some idle addresses, at most `most`; how many were idle.
    async fn forget_addresses(&self, most: i64) -> Result<i64, StoreError> {
        let idle = self.store.idle_addresses(most).await?;
        for some in idle.chunks(ADDRESSES) {
            let mut batch = Batch::new();
            for user in some {
                batch.forget_idle(*user);
            }
            match self.store.commit(batch).await {
                // Refused: one of them was erased in between; the others have time.
                Ok(_) | Err(StoreError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(i64::try_from(idle.len()).unwrap_or(most))
    }

    /// Removes the hours of days that are older than the retention of statistics.
    async fn sweep_statistics(&self) -> Result<(), Error> {
        let Some(retention) = self.settings.stats_retention else {
            return Ok(());
        };
        let retention = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        let oldest = self.store.now().await?.plus_millis(-retention);
        // Whole days, so that no day that is told is told in part.
        let before = start_of_day(oldest);
        self.in_slices(|most| self.store.sweep_stats(before, most))
            .await?;
        self.in_slices(|most| self.store.sweep_counts(before, most))
            .await?;
        self.in_slices(|most| self.store.sweep_delays(before, most))
            .await
    }

    /// Removes devices that were never confirmed.
    async fn sweep_pending(&self) -> Result<(), Error> {
        for _ in 0..PENDING_TURNS {
            if self.remove_pending().await? < PENDING {
                break;
            }
        }
        Ok(())
    }

    /// Removes some of them, at most [`PENDING`]; how many there were.
    async fn remove_pending(&self) -> Result<i64, Error> {
        let now = self.store.now().await?;
        let expired = self.store.expired_pending(now, PENDING).await?;
        let found = i64::try_from(expired.len()).unwrap_or(PENDING);
        for (device, user) in expired {
            let origin = Origin {
                caller: "server".into(),
                ..Origin::default()
            };
            let mut event = Event::new(Action::DeviceDeleted, true, &origin)
                .with(&serde_json::json!({ "reason": "never confirmed" }));
            event.user = Some(user);
            event.device = Some(device);
            let mut batch = Batch::new();
            batch.clear_dead_device(device, user);
            batch.record(event);
            match self.store.commit(batch).await {
                // Refused: confirmed or removed in between.
                Ok(_) | Err(StoreError::Refused(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(found)
    }
}

/// Calls with [`SLICE`] until less than that was done, or so long at most.
async fn slices<F, E>(longest: Duration, sweep: impl Fn(i64) -> F) -> Result<(), E>
where
    F: Future<Output = Result<i64, E>>,
{
    let all = async {
        while sweep(SLICE).await? >= SLICE {}
        Ok(())
    };
    // A slice that is cut off here is removed or it is not: the next round goes on.
    tokio::time::timeout(longest, all).await.unwrap_or(Ok(()))
}

/// Tells whether this node leads, and gives whether that is news: each word of it begins a
/// round of the common work, so the same one again wakes nobody.
fn tell(said: &watch::Sender<bool>, leads: bool) -> bool {
    said.send_if_modified(|led| std::mem::replace(led, leads) != leads)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// How many slices are swept of that many rows, and how many rows are left.
    async fn check(longest: Duration, rows: i64) -> (i64, i64) {
        let (left, done) = (Cell::new(rows), Cell::new(0));
        let sweep = async |most: i64| {
            tokio::time::sleep(Duration::from_micros(1)).await;
            let gone = left.get().min(most);
            left.set(left.get() - gone);
            done.set(done.get() + 1);
            Ok::<_, StoreError>(gone)
        };
        slices(longest, sweep).await.unwrap();
        (done.get(), left.get())
    }

    #[tokio::test]
    async fn a_sweep_goes_on_until_nothing_is_left_but_not_for_ever() {
        assert_eq!(check(LONGEST_SWEEP, 0).await, (1, 0));
        assert_eq!(check(LONGEST_SWEEP, SLICE - 1).await, (1, 0));
        assert_eq!(check(LONGEST_SWEEP, SLICE).await, (2, 0));
        // What a busy server makes in a minute, in one round.
        assert_eq!(check(LONGEST_SWEEP, 880_000).await, (441, 0));
        let (done, left) = check(Duration::from_millis(30), i64::MAX).await;
        assert!(done > 0 && left > 0, "{done} slices");
    }

    #[test]
    fn only_a_change_of_the_lead_begins_a_round() {
        let (said, mut lead) = watch::channel(false);
        let mut check = |leads, news| {
            assert_eq!(tell(&said, leads), news, "{leads}");
            assert_eq!(lead.has_changed().unwrap(), news, "{leads}");
            assert_eq!(*lead.borrow_and_update(), leads);
        };
        check(false, false);
        check(true, true);
        check(true, false);
        check(true, false);
        check(false, true);
        check(false, false);
    }
}
