//! The tables, one file each: statements, what they read, and what a batch may do to them.

pub(crate) mod accounts;
pub(crate) mod audit;
pub(crate) mod chains;
pub(crate) mod challenges;
pub(crate) mod checkpoints;
pub(crate) mod counts;
pub(crate) mod devices;
pub(crate) mod enrolments;
pub(crate) mod idempotency;
pub(crate) mod keys;
pub(crate) mod meta;
pub(crate) mod nodes;
pub(crate) mod outbox;
pub(crate) mod people;
pub(crate) mod recovery;
pub(crate) mod sessions;
pub(crate) mod signing;
pub(crate) mod stats;
pub(crate) mod users;

/// The statements that look all the time for what has come to an end, each with the index
/// that serves it: so tests can look at their plans. The tables may be large.
#[must_use]
pub fn sweeps() -> [(&'static str, &'static str); 4] {
    [
        ("idempotency_by_expiry", idempotency::SWEEP),
        ("devices_by_end_of_wait", devices::EXPIRED_PENDING),
        ("challenges_by_expiry", challenges::SWEEP),
        ("sessions_by_expiry", sessions::SWEEP),
    ]
}
