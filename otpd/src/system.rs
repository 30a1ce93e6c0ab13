//! The two things that only the program may take from the system: the time and randomness.

use std::time::{SystemTime, UNIX_EPOCH};

use domain::Time;

/// The process clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl store::Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the clock is read"
    )]
    fn now(&self) -> Time {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Time::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// The operating system's random numbers.
#[derive(Clone, Copy, Debug)]
pub struct SystemRandom;

impl vault::Random for SystemRandom {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where randomness is drawn"
    )]
    fn fill(&self, buffer: &mut [u8]) {
        if let Err(error) = getrandom::fill(buffer) {
            // A server that goes on with predictable keys is worse than none.
            tracing::error!(%error, "the system has no random numbers");
            std::process::abort();
        }
    }
}
