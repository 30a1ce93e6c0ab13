//! Says every few seconds that this server is at work, and counts those that are.

use std::sync::Arc;
use std::time::Duration;

use domain::checkpoint::hex;
use store::{Batch, SharedCounters};
use tokio_util::sync::CancellationToken;

use crate::{App, Error};

/// How often each server writes its row, where several share the limits.
const SEEN_EVERY: Duration = Duration::from_secs(5);
/// A server that was silent for so long is not counted: three rows, so that a late one
/// takes nothing from anybody.
const SILENT_SECONDS: i64 = 15;
/// A server that was silent for so long is forgotten.
const FORGOTTEN_SECONDS: i64 = 3600;

impl App {
    /// Keeps the number of servers among which the limits are divided while Redis is away.
    /// Nothing to do for a server without Redis or with a database of its own.
    pub(crate) async fn run_nodes(self: Arc<Self>, stop: CancellationToken) {
        let Some(shared) = &self.limits.shared else {
            return;
        };
        if !self.store.is_shared() {
            return;
        }
        let mut name = [0; 16];
        self.room.random.fill(&mut name);
        let name = hex(&name);
        let mut ticks = tokio::time::interval(SEEN_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick() => self.count_nodes(&name, shared).await,
            }
        }
        let mut batch = Batch::new();
        batch.forget_node(&name);
        if let Err(error) = self.store.commit(batch).await {
            tracing::debug!(%error, "the other servers will notice the end of this one by its silence");
        }
    }

    async fn count_nodes(&self, name: &str, shared: &SharedCounters) {
        match self.see(name).await {
            Ok(nodes) => shared.set_nodes(nodes),
            // Those that were there a moment ago are the best guess.
            Err(error) => tracing::debug!(%error, "the servers at work were not counted"),
        }
    }

    async fn see(&self, name: &str) -> Result<u32, Error> {
        let now = self.store.now().await?;
        let mut batch = Batch::new();
        batch.see_node(name, now, now.plus_seconds(-FORGOTTEN_SECONDS));
        self.store.commit(batch).await?;
        let since = now.plus_seconds(-SILENT_SECONDS);
        Ok(self.store.live_nodes(since).await?)
    }
}
