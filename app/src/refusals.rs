//! Refused requests, summed up per source and minute for the audit: a flood writes a few lines, not millions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::{Action, Event, Origin};
use serde_json::json;
use store::Batch;

use crate::{App, Error};

/// Sources named apart per minute; the rest is summed up under `*`.
const MOST_SOURCES: usize = 1000;

#[derive(Default)]
pub(crate) struct Refusals {
    sums: Mutex<HashMap<(Action, Arc<str>), u64>>,
}

impl Refusals {
    pub(crate) fn rate_limited(&self, source: Arc<str>) {
        self.add(Action::RateLimited, source);
    }

    pub(crate) fn authentication_failed(&self, source: Arc<str>) {
        self.add(Action::AuthenticationFailed, source);
    }

    fn add(&self, action: Action, source: Arc<str>) {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        let known = sums.contains_key(&(action, Arc::clone(&source)));
        let source = if known || sums.len() < MOST_SOURCES {
            source
        } else {
            "*".into()
        };
        *sums.entry((action, source)).or_insert(0) += 1;
    }

    fn take(&self) -> HashMap<(Action, Arc<str>), u64> {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *sums)
    }

    fn put_back(&self, taken: HashMap<(Action, Arc<str>), u64>) {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, count) in taken {
            *sums.entry(key).or_insert(0) += count;
        }
    }
}

impl App {
    /// Writes the sums of the last minute into the audit. Called once a minute and at
    /// shutdown.
    ///
    /// # Errors
    /// When the database cannot be written; the sums are kept for the next time.
    pub async fn record_refusals(&self) -> Result<(), Error> {
        let taken = self.refusals.take();
        if taken.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new();
        for ((action, source), count) in &taken {
            let origin = Origin {
                caller: "server".into(),
                ip_address: Some(Arc::clone(source)),
                ..Origin::default()
            };
            batch.record(Event::new(*action, false, &origin).with(&json!({ "count": count })));
        }
        match self.store.commit(batch).await {
            Ok(_) => Ok(()),
            Err(error) => {
                self.refusals.put_back(taken);
                Err(error.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_bounded_and_lose_nothing() {
        let refusals = Refusals::default();
        for number in 0..5000_u32 {
            refusals.rate_limited(number.to_string().into());
        }
        refusals.authentication_failed("1".into());
        let taken = refusals.take();
        assert!(taken.len() <= MOST_SOURCES + 2, "{}", taken.len());
        assert_eq!(taken.values().sum::<u64>(), 5001);
        refusals.put_back(taken);
        assert_eq!(refusals.take().values().sum::<u64>(), 5001);
    }
}
