//! The two things that only the program may take from the system: the time and randomness.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use domain::Time;
use zeroize::{Zeroize, Zeroizing};

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
///
/// Keys and nonces come straight from the system. Salts and request ids, which are no secrets and
/// of which every verification needs two, are cut from a block that the system filled for the
/// thread: a system call each would be a noticeable part of the hot path.
#[derive(Clone, Copy, Debug)]
pub struct SystemRandom;

/// The longest buffer that is cut from a block: a salt, a request id.
const SHORT: usize = 16;
/// One system call fills that much.
const BLOCK: usize = 1024;

/// Random bytes in stock. Each is handed out once and wiped as it goes; what is left is wiped at
/// the end of the thread. The program never goes on in a forked process, where a copy of the
/// stock would be handed out a second time: it starts other programs only by `exec`.
struct Stock {
    block: Zeroizing<[u8; BLOCK]>,
    used: usize,
}

thread_local! {
    static STOCK: RefCell<Stock> = RefCell::new(Stock {
        block: Zeroizing::new([0; BLOCK]),
        used: BLOCK,
    });
}

impl Stock {
    /// Fills a buffer of at most [`BLOCK`] bytes.
    fn fill(&mut self, buffer: &mut [u8]) {
        if BLOCK - self.used < buffer.len() {
            from_system(self.block.as_mut_slice());
            self.used = 0;
        }
        let cut = &mut self.block[self.used..][..buffer.len()];
        buffer.copy_from_slice(cut);
        cut.zeroize();
        self.used += buffer.len();
    }
}

impl vault::Random for SystemRandom {
    fn fill(&self, buffer: &mut [u8]) {
        if buffer.len() > SHORT {
            return from_system(buffer);
        }
        // Nothing is in stock any more when the thread is ending.
        let filled = STOCK.try_with(|stock| stock.borrow_mut().fill(buffer));
        if filled.is_err() {
            from_system(buffer);
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place where randomness is drawn"
)]
fn from_system(buffer: &mut [u8]) {
    if let Err(error) = getrandom::fill(buffer) {
        // A server that goes on with predictable keys is worse than none.
        tracing::error!(%error, "the system has no random numbers");
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use vault::Random;

    use super::*;

    #[test]
    fn nothing_is_handed_out_twice() {
        fn check(length: usize) {
            // Several blocks, on two threads.
            let draw = move || -> Vec<Vec<u8>> {
                let mut buffer = vec![0; length];
                let draws = 0..1000;
                draws
                    .map(|_| {
                        SystemRandom.fill(&mut buffer);
                        buffer.clone()
                    })
                    .collect()
            };
            let other = std::thread::spawn(draw);
            let mut seen: HashSet<Vec<u8>> = draw().into_iter().collect();
            seen.extend(other.join().unwrap());
            assert_eq!(seen.len(), 2000, "{length}");
        }
        for length in [9, 16, 17, 32] {
            check(length);
        }
    }

    #[test]
    fn a_stock_keeps_nothing_of_what_it_gave() {
        let mut stock = Stock {
            block: Zeroizing::new([0; BLOCK]),
            used: BLOCK,
        };
        let mut given = [0; SHORT];
        for number in 1..=2 * BLOCK / SHORT {
            stock.fill(&mut given);
            assert_ne!(given, [0; SHORT], "{number}");
            assert!(stock.block[..stock.used].iter().all(|byte| *byte == 0));
            assert_eq!(stock.used % BLOCK, number * SHORT % BLOCK);
        }
    }
}
