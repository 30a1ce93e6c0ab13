//! Time, environment and waiting, each in one place, since the product's own code may have none of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A point in time to measure from.
#[expect(
    clippy::disallowed_methods,
    reason = "a test from outside measures the real thing"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Seconds since 1970, as an authenticator app reads them.
#[expect(
    clippy::disallowed_methods,
    reason = "the server under test has the machine's clock, so its users need it too"
)]
pub(crate) fn unix_seconds() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a time after 1970");
    i64::try_from(since.as_secs()).expect("a time before the end of times")
}

/// A variable of the test run, not of the product.
#[expect(
    clippy::disallowed_methods,
    reason = "the test runner speaks through its environment"
)]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Asks again and again until there is an answer; `None` when the time is over.
#[expect(
    clippy::disallowed_methods,
    reason = "another process gives no signal to wait for; the limit makes it end"
)]
pub(crate) fn until<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if start.elapsed() > limit {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Lets time pass in which others work.
pub(crate) fn let_pass(time: Duration) {
    until(time, || None::<()>);
}

/// How often something is done: in the everyday run, and in the full one that
/// `OTPD_TEST_LENGTH=full` asks for.
pub(crate) fn length(short: usize, full: usize) -> usize {
    if is_full() { full } else { short }
}

/// Whether the full run was asked for.
pub(crate) fn is_full() -> bool {
    variable("OTPD_TEST_LENGTH").as_deref() == Some("full")
}

/// Tells other threads to stop, also when this one has failed.
pub(crate) struct RaiseAtEnd<'a>(pub(crate) &'a AtomicBool);

impl Drop for RaiseAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
