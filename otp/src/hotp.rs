//! The code of a counter (RFC 4226 section 5) and the search for the counter of a code.

use std::ops::RangeInclusive;

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::{Choice, ConditionallySelectable};

use crate::{Algorithm, Code, Digits, Secret};

/// The code for a counter (RFC 4226 section 5.3). With the step of a time as the counter it is
/// the TOTP code (RFC 6238 section 4.2).
#[must_use]
pub fn hotp(secret: &Secret, algorithm: Algorithm, digits: Digits, counter: u64) -> Code {
    Code::from_truncated(Keyed::new(secret, algorithm).truncated(counter), digits)
}

/// The highest counter of `counters` whose code is `code`; `None` when there is none.
///
/// Every counter of the range is computed, whether or not one has matched, and compared in
/// constant time: neither the time nor the work tells which counter matched, or how nearly one
/// did. The highest is what the caller must mark as spent: were it a lower one, the same
/// digits would be accepted once more where two counters of the range share a code.
///
/// The code is judged at its own length. **Compare [`Code::digits`] with the device's first**:
/// against a device of eight digits, a code of six is a hundred times easier to guess.
/// The range is the caller's to bound: each counter costs one HMAC, and each adds a chance to
/// guess right.
#[must_use]
pub fn highest_match(
    secret: &Secret,
    algorithm: Algorithm,
    code: &Code,
    counters: RangeInclusive<u64>,
) -> Option<u64> {
    let keyed = Keyed::new(secret, algorithm);
    let mut found = Choice::from(0);
    let mut highest = 0;
    // An inclusive range ends after u64::MAX without overflow.
    for counter in counters {
        let matches = code.is_of(keyed.truncated(counter));
        highest.conditional_assign(&counter, matches);
        found |= matches;
    }
    bool::from(found).then_some(highest)
}

/// The lowest counter `s` of `starts` whose code is `first` while that of `s + 1` is `second`:
/// two codes in a row re-align a device that has drifted (RFC 4226 section 7.4).
///
/// `s` lies in the range; `s + 1` may lie just past its end, so spend `s + 1`. There is no
/// counter after 2⁶⁴ − 1. Codes of different lengths never match. As in [`highest_match`],
/// everything is computed and compared in constant time, the device's length is the caller's to
/// check, and so is the bound of the range.
#[must_use]
pub fn consecutive_match(
    secret: &Secret,
    algorithm: Algorithm,
    first: &Code,
    second: &Code,
    starts: RangeInclusive<u64>,
) -> Option<u64> {
    if first.digits() != second.digits() || starts.is_empty() {
        return None;
    }
    let keyed = Keyed::new(secret, algorithm);
    let mut found = Choice::from(0);
    let mut lowest = 0;
    let mut previous = 0;
    // Whether the code of `previous` was `first`.
    let mut begun = Choice::from(0);
    // One further than the range, as `second` may stand there. At u64::MAX there is no further
    // one; that last start is then never paired, as it must be.
    for counter in *starts.start()..=starts.end().saturating_add(1) {
        let truncated = keyed.truncated(counter);
        let pair = begun & second.is_of(truncated);
        lowest.conditional_assign(&previous, pair & !found);
        found |= pair;
        begun = first.is_of(truncated);
        previous = counter;
    }
    bool::from(found).then_some(lowest)
}

/// HMAC with the key already worked in, to be cloned for each counter: half the work of starting
/// anew. The states wipe themselves when dropped (the `zeroize` features in `Cargo.toml`).
#[allow(
    clippy::large_enum_variant,
    reason = "it lives on the stack for one call and is never moved or stored"
)]
enum Keyed {
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
    Sha512(Hmac<Sha512>),
}

impl Keyed {
    fn new(secret: &Secret, algorithm: Algorithm) -> Self {
        let key = secret.expose();
        match algorithm {
            Algorithm::Sha1 => Self::Sha1(keyed(key)),
            Algorithm::Sha256 => Self::Sha256(keyed(key)),
            Algorithm::Sha512 => Self::Sha512(keyed(key)),
        }
    }

    /// The truncated HMAC of a counter, 31 bits (RFC 4226 section 5.3, steps 1 and 2).
    fn truncated(&self, counter: u64) -> u32 {
        match self {
            Self::Sha1(mac) => truncate(mac.clone(), counter),
            Self::Sha256(mac) => truncate(mac.clone(), counter),
            Self::Sha512(mac) => truncate(mac.clone(), counter),
        }
    }
}

fn keyed<M: KeyInit>(key: &[u8]) -> M {
    M::new_from_slice(key).expect("HMAC takes a key of any length (RFC 2104 section 2)")
}

/// Dynamic truncation. The offset comes from the *last* byte whatever the hash: RFC 4226 says
/// byte 19, its SHA-1's last; RFC 6238's reference code says the last.
fn truncate<M: Mac>(mut mac: M, counter: u64) -> u32 {
    mac.update(&counter.to_be_bytes());
    // Wipes itself when dropped, so it is read in place and not turned into an array.
    let output = mac.finalize();
    let bytes = output.as_bytes();
    // At most 15, and the shortest hash has 20 bytes. It picks the place to read by a secret
    // value, but within 19 bytes, of a hash that serves for one counter and hides the key.
    let offset = usize::from(bytes[bytes.len() - 1] & 0xf);
    let word = [
        bytes[offset],
        bytes[offset + 1],
        bytes[offset + 2],
        bytes[offset + 3],
    ];
    // Without the top bit, so that signed and unsigned arithmetic agree.
    u32::from_be_bytes(word) & 0x7fff_ffff
}

#[cfg(test)]
mod tests;
