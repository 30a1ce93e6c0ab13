//! What the server does by itself: sweeps, sums, sealing anew, upkeep of the audit log. Each round is short.

use std::sync::Arc;
use std::time::Duration;

use domain::Origin;
use domain::{Action, Event};
use store::Batch;
use tokio_util::sync::CancellationToken;

use crate::{App, Error};

const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Rows per batch of a sweep: a short slice between attempts.
const SLICE: i64 = 200;
/// Spans of the search index between two looks at whether the server stops, and how
/// often in a round: a larger backlog is worked off in several.
const INDEX_SPANS: usize = 2;
const INDEX_TURNS: usize = 100;

impl App {
    /// Runs the jobs until the token is cancelled. A job that fails is tried again in
    /// its next round; the server goes on.
    pub async fn run_jobs(self: Arc<Self>, stop: CancellationToken) {
        let mail = tokio::spawn(Arc::clone(&self).run_mail(stop.clone()));
        let mut ticks = tokio::time::interval(SWEEP_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick() => {
                    self.round().await;
                    self.catch_up(&stop).await;
                }
            }
        }
        self.last_round().await;
        if mail.await.is_err() {
            tracing::error!("the sending of mail has broken off");
        }
    }

    async fn round(&self) {
        let jobs = [
            ("new master secret", self.finish_new_master().await),
            ("first start", self.look_for_root().await),
            ("refusals", self.record_refusals().await),
            ("kept answers", self.sweep_answers().await),
            ("pending devices", self.sweep_pending().await),
            ("sessions", self.sweep_sessions().await),
            ("challenges", self.sweep_challenges().await),
            ("idle addresses", self.sweep_addresses().await),
            ("signing keys", self.care_for_signing_keys().await),
            ("retention", self.cut_old_events().await.map(drop)),
            ("checkpoint", self.checkpoint_when_due().await),
            ("old checkpoints", self.thin_checkpoints().await),
        ];
        for (job, result) in jobs {
            if let Err(error) = result {
                tracing::warn!(job, %error, "a job failed and will be tried again");
            }
        }
    }

    /// Brings the search index of the audit up to date.
    async fn catch_up(&self, stop: &CancellationToken) {
        for _ in 0..INDEX_TURNS {
            if stop.is_cancelled() {
                return;
            }
            match self.index_events(INDEX_SPANS).await {
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

    async fn sweep_answers(&self) -> Result<(), Error> {
        let now = self.store.now().await?;
        let mut batch = Batch::new();
        batch.sweep_answers(now, SLICE * 10);
        self.store.commit(batch).await?;
        Ok(())
    }

    /// Removes challenges that have been over for a day: until then a spent code is told
    /// from a wrong one, and a day's count is not forgotten.
    async fn sweep_challenges(&self) -> Result<(), Error> {
        const DAY_SECONDS: i64 = 86_400;
        let before = self.store.now().await?.plus_seconds(-DAY_SECONDS);
        let mut batch = Batch::new();
        batch.sweep_challenges(before, SLICE * 10);
        self.store.commit(batch).await?;
        Ok(())
    }

    /// Removes email addresses for which nothing is stored any more: nobody can guess at
    /// addresses and leave a row for each. An address that logs in again is another user;
    /// the audit log keeps what was recorded.
    async fn sweep_addresses(&self) -> Result<(), Error> {
        let idle = self.store.idle_addresses(SLICE * 10).await?;
        for some in idle.chunks(usize::try_from(SLICE).unwrap_or(usize::MAX)) {
            let mut batch = Batch::new();
            for user in some {
                batch.forget_idle(*user);
            }
            match self.store.commit(batch).await {
                // Refused: one of them was erased in between; the others have time.
                Ok(_) | Err(store::StoreError::Refused(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Removes devices that were never confirmed.
    async fn sweep_pending(&self) -> Result<(), Error> {
        let now = self.store.now().await?;
        let expired = self.store.expired_pending(now, SLICE).await?;
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
                Ok(_) | Err(store::StoreError::Refused(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
