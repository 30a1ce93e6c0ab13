//! What is counted of mails on their way.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::ResultLabel;

/// Counters of mails.
pub(crate) struct MailCounters {
    /// The mail server has taken it, or it lies in the outbox folder.
    pub(crate) sent: Counter,
    /// A try failed; another one follows.
    pub(crate) deferred: Counter,
    /// Given up.
    pub(crate) failed: Counter,
    /// Mails that wait, as last seen.
    pub(crate) waiting: Gauge,
}

impl MailCounters {
    /// Counters that stand in the registry.
    pub(super) fn new(registry: &mut Registry) -> Self {
        let results = Family::<ResultLabel, Counter>::default();
        let result = |word| results.get_or_create_owned(&ResultLabel { result: word });
        let counters = Self {
            sent: result("sent"),
            deferred: result("deferred"),
            failed: result("failed"),
            waiting: Gauge::default(),
        };
        registry.register("mails", "Tries to hand a mail over, by result", results);
        let about = "Mails that were not handed over yet";
        registry.register("mails_waiting", about, counters.waiting.clone());
        counters
    }
}
