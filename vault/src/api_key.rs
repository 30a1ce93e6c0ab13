//! API keys are stored hashed: this makes the hash.

use crate::root::Root;

impl Root {
    /// The keyed hash under which the secret part of an API key is stored; compare with
    /// [`same_hash`](crate::same_hash).
    ///
    /// One HMAC and no slow hash, because a key made here has 256 random bits and cannot be guessed.
    /// A shorter one from the environment is protected by the key of the hash: a copy of the
    /// database alone is no oracle for it.
    pub fn hash_api_key(&self, secret: &str) -> [u8; 32] {
        self.api_key.of(&[secret.as_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use crate::random::counting::Counting;
    use crate::{Root, same_hash};

    #[test]
    fn only_the_same_key_has_the_same_hash() {
        let root = Root::generate(&Counting::new());
        let stored = root.hash_api_key("otpd_secret");
        assert!(same_hash(&stored, &root.hash_api_key("otpd_secret")));
        for other in ["", "otpd_secre", "otpd_secret ", "otpd_secreT"] {
            assert!(!same_hash(&stored, &root.hash_api_key(other)), "{other:?}");
        }
    }

    /// Frozen: with another value every issued API key would stop working.
    #[test]
    fn hash_is_frozen() {
        let hash = Root::generate(&Counting::new()).hash_api_key("otpd_secret");
        assert_eq!(
            HEXLOWER.encode(&hash),
            "d3cc54a9b7bdd09e7cfa1f03813a909f267b261225f488702b12d771b20ae934"
        );
    }
}
