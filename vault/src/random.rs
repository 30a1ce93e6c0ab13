//! Randomness as the room asks for it: handed in by the caller, never taken from the system here.

/// A source of cryptographically secure random bytes.
///
/// Every nonce and every new key comes from here, so an implementation outside tests must be the
/// operating system's generator, and never hand out the same bytes twice. It cannot report an error: one that cannot deliver must end the
/// process, because going on with a predictable buffer would give the keys away.
pub trait Random: Send + Sync {
    /// Overwrites the whole of `buffer` with random bytes.
    fn fill(&self, buffer: &mut [u8]);
}

/// `N` fresh random bytes that are wiped on drop.
pub(crate) fn secret_bytes<const N: usize>(random: &dyn Random) -> zeroize::Zeroizing<[u8; N]> {
    let mut bytes = zeroize::Zeroizing::new([0; N]);
    random.fill(bytes.as_mut_slice());
    bytes
}

#[cfg(test)]
pub(crate) mod counting {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::Random;

    /// Delivers 0, 1, 2, ... over all calls: tests can predict it, and no two nonces are alike.
    pub(crate) struct Counting(AtomicU8);

    impl Counting {
        pub(crate) fn new() -> Counting {
            Counting(AtomicU8::new(0))
        }
    }

    impl Random for Counting {
        fn fill(&self, buffer: &mut [u8]) {
            for byte in buffer {
                *byte = self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
