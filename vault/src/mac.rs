//! HMAC-SHA256 (RFC 2104) with its keyed state held ready, and comparison in constant time.

use hmac::{Hmac, KeyInit, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A keyed HMAC-SHA256. Holding the state after the key saves two of four hash blocks per short
/// message, on paths that run once per verification. Wiped on drop.
pub(crate) struct Mac(Hmac<Sha256>);

impl Mac {
    pub(crate) fn new(key: &[u8; 32]) -> Mac {
        // A key of one whole block cannot be refused; HMAC itself pads a shorter one with zeros.
        let mut block = Zeroizing::new([0; 64]);
        block[..32].copy_from_slice(key);
        Mac(Hmac::new((&*block).into()))
    }

    /// The MAC of the plain concatenation: for messages whose parts have fixed lengths.
    pub(crate) fn of(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut state = self.0.clone();
        for part in parts {
            state.update(part);
        }
        state.finalize().into_bytes().into()
    }

    /// The MAC of fields, each after its length as eight big-endian bytes, so that no two different
    /// lists of fields are the same message.
    pub(crate) fn of_fields<'a>(&self, fields: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
        let mut state = self.0.clone();
        for field in fields {
            state.update(&length_prefix(field));
            state.update(field);
        }
        state.finalize().into_bytes().into()
    }
}

/// The length of a field as eight big-endian bytes.
pub(crate) fn length_prefix(field: &[u8]) -> [u8; 8] {
    (field.len() as u64).to_be_bytes()
}

/// Whether two hashes are the same, in a time that does not tell where they differ.
///
/// For everything this crate hashes with a key: API keys, idempotency ids and fingerprints.
pub fn same_hash(left: &[u8; 32], right: &[u8; 32]) -> bool {
    left.ct_eq(right).into()
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    use super::*;

    /// RFC 4231, test case 1 (a key of 20 bytes, here padded with zeros as HMAC does).
    #[test]
    fn hmac_is_wired_as_in_the_rfc() {
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        assert_eq!(
            HEXLOWER.encode(&Mac::new(&key).of(&[b"Hi ", b"There"])),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
    }

    #[test]
    fn same_hash_sees_every_byte() {
        let hash = [7; 32];
        assert!(same_hash(&hash, &[7; 32]));
        for position in 0..32 {
            let mut other = hash;
            other[position] ^= 1;
            assert!(!same_hash(&hash, &other), "byte {position}");
        }
    }

    proptest! {
        #[test]
        fn different_fields_give_different_macs(
            left in prop::collection::vec(prop::collection::vec(0u8..3, 0..4), 0..4),
            right in prop::collection::vec(prop::collection::vec(0u8..3, 0..4), 0..4),
        ) {
            let mac = Mac::new(&[1; 32]);
            let of = |fields: &[Vec<u8>]| mac.of_fields(fields.iter().map(Vec::as_slice));
            prop_assert_eq!(left == right, of(&left) == of(&right));
        }
    }
}
