//! Ed25519 signatures (RFC 8032), each bound to the context it is made for.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::error::OpenError;
use crate::instance::KeyVersion;
use crate::keyring::Keyring;
use crate::mac::length_prefix;
use crate::place::Place;
use crate::random::{Random, secret_bytes};
use crate::seal::Sealed;

/// Begins every message signed here. Its first byte is zero, which begins no text: a signature for
/// a context can never be taken for that of a token (RFC 7515 signs base64url text), nor the other
/// way round.
const LABEL: &[u8] = b"\0otpd/1/signature";

/// The private half of a signing key as it is stored. Wiped on drop.
pub struct SigningSeed(Zeroizing<[u8; 32]>);

impl SigningSeed {
    /// A new seed; one per purpose of signing.
    pub fn generate(random: &dyn Random) -> SigningSeed {
        SigningSeed(secret_bytes(random))
    }

    /// Sealed for storage.
    pub fn seal(&self, keyring: &Keyring, place: Place<'_>, random: &dyn Random) -> Sealed {
        keyring.seal(place, self.0.as_slice(), random)
    }

    /// Opens a stored seed.
    ///
    /// # Errors
    /// [`OpenError`], as for [`Keyring::open`].
    pub fn open(
        keyring: &Keyring,
        place: Place<'_>,
        version: KeyVersion,
        bytes: &[u8],
    ) -> Result<SigningSeed, OpenError> {
        keyring.open_key(place, version, bytes).map(SigningSeed)
    }
}

/// A key pair that is ready to sign. Its private half is wiped on drop.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: [u8; 32],
    kid: String,
}

impl SigningKey {
    /// Computes the public half from the seed, so that no stored public key can disagree with it.
    pub fn from_seed(seed: &SigningSeed) -> SigningKey {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.0.as_slice())
            .expect("every 32 bytes are an Ed25519 seed (RFC 8032, section 5.1.5)");
        let mut public = [0; 32];
        public.copy_from_slice(pair.public_key().as_ref());
        SigningKey {
            pair,
            public,
            kid: kid_of(&public),
        }
    }

    /// Signs `message` for one `context`, a constant such as `audit-checkpoint`.
    pub fn sign(&self, context: &str, message: &[u8]) -> [u8; 64] {
        self.sign_bytes(&in_context(context, message))
    }

    /// The public half, to be published.
    pub fn public(&self) -> [u8; 32] {
        self.public
    }

    /// The name by which verifiers look the public key up: its JWK thumbprint (RFC 7638).
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Signs the bytes alone, without a context: for tokens, whose signed text begins with no zero byte.
    pub(crate) fn sign_bytes(&self, bytes: &[u8]) -> [u8; 64] {
        let mut signature = [0; 64];
        signature.copy_from_slice(self.pair.sign(bytes).as_ref());
        signature
    }
}

/// Whether `signature` is that of `message` for this `context`.
pub fn verify_signature(
    public: &[u8; 32],
    context: &str,
    message: &[u8],
    signature: &[u8],
) -> bool {
    verify_bytes(public, &in_context(context, message), signature)
}

/// The JWK thumbprint of a public key (RFC 7638, RFC 8037 section 2), 43 characters of base64url.
pub(crate) fn kid_of(public: &[u8; 32]) -> String {
    let x = BASE64URL_NOPAD.encode(public);
    // The members in the order, and without the white space, that RFC 7638 prescribes.
    let jwk = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    BASE64URL_NOPAD.encode(&Sha256::digest(jwk))
}

/// Counterpart of [`SigningKey::sign_bytes`].
pub(crate) fn verify_bytes(public: &[u8; 32], bytes: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public)
        .verify(bytes, signature)
        .is_ok()
}

fn in_context(context: &str, message: &[u8]) -> Vec<u8> {
    let context = context.as_bytes();
    [LABEL, &length_prefix(context), context, message].concat()
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    use super::*;
    use crate::keyring::samples::{PLACE, keyring};
    use crate::random::counting::Counting;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        let bytes = HEXLOWER.decode(text.as_bytes()).expect("hex");
        bytes.try_into().expect("length")
    }

    fn key(seed: [u8; 32]) -> SigningKey {
        SigningKey::from_seed(&SigningSeed(Zeroizing::new(seed)))
    }

    /// RFC 8032, section 7.1, tests 1 to 3.
    #[test]
    fn ed25519_is_wired_as_in_the_rfc() {
        #[track_caller]
        fn check(seed: &str, public: &str, message: &[u8], signature: &str) {
            let key = key(hex(seed));
            assert_eq!(key.public(), hex(public));
            assert_eq!(key.sign_bytes(message), hex(signature));
            assert!(verify_bytes(&hex(public), message, &hex::<64>(signature)));
        }
        check(
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            b"",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bac\
             c61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        );
        check(
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            &[0x72],
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e\
             458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        );
        check(
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            &[0xaf, 0x82],
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290\
             ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        );
    }

    /// RFC 8037, appendix A.3.
    #[test]
    fn kid_is_the_thumbprint_of_the_rfc() {
        let public = hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        assert_eq!(
            kid_of(&public),
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
        );
    }

    #[test]
    fn a_signature_holds_for_its_context_message_and_key_only() {
        let (signer, stranger) = (key([1; 32]), key([2; 32]));
        let signature = signer.sign("checkpoint", b"heads");
        let check = |public: [u8; 32], context: &str, message: &[u8], holds: bool| {
            assert_eq!(
                verify_signature(&public, context, message, &signature),
                holds
            );
        };
        check(signer.public(), "checkpoint", b"heads", true);
        check(signer.public(), "retention", b"heads", false);
        check(signer.public(), "checkpoin", b"theads", false);
        check(signer.public(), "checkpointh", b"eads", false);
        check(signer.public(), "checkpoint", b"head", false);
        check(stranger.public(), "checkpoint", b"heads", false);
        assert!(
            !verify_bytes(&signer.public(), b"heads", &signature),
            "bare message"
        );
    }

    #[test]
    fn a_damaged_signature_is_refused() {
        let signer = key([1; 32]);
        let signature = signer.sign("checkpoint", b"heads");
        let verify =
            |bytes: &[u8]| verify_signature(&signer.public(), "checkpoint", b"heads", bytes);
        for length in 0..64 {
            assert!(!verify(&signature[..length]), "{length} bytes");
        }
        for position in 0..64 {
            let mut changed = signature;
            changed[position] ^= 1;
            assert!(!verify(&changed), "byte {position}");
        }
    }

    #[test]
    fn a_seed_survives_sealing() {
        let (keyring, random) = (keyring(), Counting::new());
        let seed = SigningSeed::generate(&random);
        let sealed = seed.seal(&keyring, PLACE, &random);
        let opened = SigningSeed::open(&keyring, PLACE, sealed.version, &sealed.bytes);
        let opened = SigningKey::from_seed(&opened.expect("opens"));
        assert_eq!(opened.kid(), SigningKey::from_seed(&seed).kid());

        let short = keyring.seal(PLACE, &[1; 31], &random);
        let refused = SigningSeed::open(&keyring, PLACE, short.version, &short.bytes);
        assert_eq!(refused.err(), Some(OpenError::Damaged));
    }

    /// Frozen: exported checkpoints must verify for as long as somebody keeps them.
    #[test]
    fn signature_is_frozen() {
        assert_eq!(
            HEXLOWER.encode(&key([1; 32]).sign("checkpoint", b"heads")),
            "dce243a4a4f237b44f76fbc5c25d86e378501d24f723fd6f35b3ce174c8218ee2ebcbb4f38dfc39a4831a1c97bb621fb8b2c1bc977bc78bde63f08e671a31d01"
        );
    }

    proptest! {
        #[test]
        fn every_seed_signs_what_its_public_key_verifies(
            seed in any::<[u8; 32]>(),
            context in "[a-z-]{0,20}",
            message in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let key = key(seed);
            let signature = key.sign(&context, &message);
            prop_assert!(verify_signature(&key.public(), &context, &message, &signature));
        }
    }
}
