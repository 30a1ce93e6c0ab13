//! Seals bytes with XChaCha20-Poly1305: 24 random bytes of nonce, then ciphertext, then the tag.

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, Tag, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use crate::error::OpenError;
use crate::instance::KeyVersion;
use crate::random::Random;

const NONCE: usize = 24;
const TAG: usize = 16;

/// A sealed value as it is stored. Not a secret; its length is that of the plain value plus 40.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The master secret it was sealed with; stored beside the bytes.
    pub version: KeyVersion,
    /// Nonce, ciphertext and tag.
    pub bytes: Vec<u8>,
}

/// A cipher with its key set, built once per key. Wiped on drop.
pub(crate) struct Sealer(XChaCha20Poly1305);

impl Sealer {
    pub(crate) fn new(key: &[u8; 32]) -> Sealer {
        Sealer(XChaCha20Poly1305::new(key.into()))
    }

    /// Random nonces are safe here without any counter: with 192 bits a repetition stays out of
    /// reach however many values one key seals.
    pub(crate) fn seal(&self, bound_to: &[u8], plain: &[u8], random: &dyn Random) -> Vec<u8> {
        let mut nonce = [0; NONCE];
        random.fill(&mut nonce);
        // Exactly as long as needed: growing would leave a copy of the plain bytes behind.
        let mut bytes = Vec::with_capacity(NONCE + plain.len() + TAG);
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(plain);
        let tag = self
            .0
            .encrypt_inout_detached(&XNonce::from(nonce), bound_to, (&mut bytes[NONCE..]).into())
            .expect("the cipher refuses only messages of more than 256 GiB");
        bytes.extend_from_slice(&tag);
        bytes
    }

    /// The tag is compared, in constant time, before a byte is decrypted.
    pub(crate) fn open(
        &self,
        bound_to: &[u8],
        bytes: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (nonce, rest) = bytes
            .split_first_chunk::<NONCE>()
            .ok_or(OpenError::Damaged)?;
        let (ciphertext, tag) = rest.split_last_chunk::<TAG>().ok_or(OpenError::Damaged)?;
        let mut plain = Zeroizing::new(ciphertext.to_vec());
        self.0
            .decrypt_inout_detached(
                &XNonce::from(*nonce),
                bound_to,
                plain.as_mut_slice().into(),
                &Tag::from(*tag),
            )
            .map_err(|_| OpenError::Damaged)?;
        Ok(plain)
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    use super::*;
    use crate::random::counting::Counting;

    struct Fixed([u8; NONCE]);

    impl Random for Fixed {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.copy_from_slice(&self.0);
        }
    }

    /// draft-irtf-cfrg-xchacha-03, appendix A.3.1.
    #[test]
    fn cipher_is_wired_as_in_the_draft() {
        let mut key = [0; 32];
        let mut nonce = [0; NONCE];
        (0x80..)
            .zip(&mut key)
            .for_each(|(value, byte)| *byte = value);
        (0x40..)
            .zip(&mut nonce)
            .for_each(|(value, byte)| *byte = value);
        let bound_to = HEXLOWER.decode(b"50515253c0c1c2c3c4c5c6c7").expect("hex");
        let plain = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip \
                      for the future, sunscreen would be it.";
        let sealer = Sealer::new(&key);
        let bytes = sealer.seal(&bound_to, plain, &Fixed(nonce));
        assert_eq!(bytes.len(), bytes.capacity(), "no second allocation");
        assert_eq!(
            HEXLOWER.encode(&bytes),
            "404142434445464748494a4b4c4d4e4f5051525354555657\
             bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb\
             731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452\
             2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9\
             21f9664c97637da9768812f615c68b13b52e\
             c0875924c1c7987947deafd8780acf49"
        );
        assert_eq!(
            sealer.open(&bound_to, &bytes).expect("opens").as_slice(),
            plain
        );
    }

    #[test]
    fn every_truncation_is_refused() {
        let sealer = Sealer::new(&[1; 32]);
        let bytes = sealer.seal(b"here", b"twenty bytes of a key", &Counting::new());
        for length in 0..bytes.len() {
            assert_eq!(
                sealer.open(b"here", &bytes[..length]).err(),
                Some(OpenError::Damaged),
                "{length}"
            );
        }
    }

    #[test]
    fn sealing_twice_gives_different_bytes() {
        let (sealer, random) = (Sealer::new(&[1; 32]), Counting::new());
        assert_ne!(
            sealer.seal(b"", b"same", &random),
            sealer.seal(b"", b"same", &random)
        );
    }

    proptest! {
        #[test]
        fn opens_what_it_sealed_and_nothing_else(
            key in any::<[u8; 32]>(),
            nonce in any::<[u8; NONCE]>(),
            bound_to in prop::collection::vec(any::<u8>(), 0..40),
            plain in prop::collection::vec(any::<u8>(), 0..200),
            position in any::<prop::sample::Index>(),
            flip in 1u8..,
        ) {
            let sealer = Sealer::new(&key);
            let mut bytes = sealer.seal(&bound_to, &plain, &Fixed(nonce));
            prop_assert_eq!(sealer.open(&bound_to, &bytes), Ok(Zeroizing::new(plain)));

            let mut elsewhere = bound_to.clone();
            elsewhere.push(0);
            prop_assert_eq!(sealer.open(&elsewhere, &bytes), Err(OpenError::Damaged));
            let position = position.index(bytes.len());
            bytes[position] ^= flip;
            prop_assert_eq!(sealer.open(&bound_to, &bytes), Err(OpenError::Damaged));
        }
    }
}
