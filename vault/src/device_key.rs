//! Device keys: made at birth from fresh randomness, and opened for the judge that checks codes.

use zeroize::Zeroizing;

use crate::error::OpenError;
use crate::instance::KeyVersion;
use crate::keyring::Keyring;
use crate::mac::length_prefix;
use crate::place::Place;
use crate::random::{Random, secret_bytes};

impl Keyring {
    /// The key of a device that is being enrolled: 32 bytes, HMAC-SHA256 of the active version's
    /// subkey over the length-prefixed device id and 32 fresh random bytes.
    ///
    /// The random bytes are not kept, so the key cannot be derived again, not even with the master
    /// secret: it exists sealed only, and registering the same id again gives another key. The HMAC
    /// keeps it unpredictable even if the randomness should one day turn out weak.
    pub fn birth_device_key(&self, device_id: &str, random: &dyn Random) -> otp::Secret {
        let fresh = secret_bytes::<32>(random);
        let id = device_id.as_bytes();
        let parts: [&[u8]; 3] = [&length_prefix(id), id, fresh.as_slice()];
        let key = Zeroizing::new(self.device_birth().of(&parts));
        otp::Secret::from_bytes(key.to_vec())
    }

    /// Opens a stored device key, as the judge needs it. Once per verification, so nothing but the
    /// binding and the key itself is allocated.
    ///
    /// # Errors
    /// [`OpenError`], as for [`Keyring::open`].
    pub fn open_secret(
        &self,
        place: Place<'_>,
        version: KeyVersion,
        bytes: &[u8],
    ) -> Result<otp::Secret, OpenError> {
        let mut plain = self.open(place, version, bytes)?;
        // Moves the buffer: no copy is left to wipe.
        Ok(otp::Secret::from_bytes(std::mem::take(&mut *plain)))
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use crate::keyring::samples::{INSTANCE, PLACE, keyring, secret};
    use crate::random::counting::Counting;
    use crate::{Keyring, OpenError};

    fn born(keyring: &Keyring, device_id: &str, random: &Counting) -> Vec<u8> {
        keyring
            .birth_device_key(device_id, random)
            .expose()
            .to_vec()
    }

    #[test]
    fn the_same_device_never_gets_the_same_key() {
        let (keyring, random) = (keyring(), Counting::new());
        let first = born(&keyring, "phone", &random);
        assert_eq!(first.len(), 32);
        assert_ne!(first, born(&keyring, "phone", &random));
    }

    #[test]
    fn id_and_master_matter_even_with_equal_randomness() {
        let base = born(&keyring(), "phone", &Counting::new());
        assert_eq!(base, born(&keyring(), "phone", &Counting::new()));
        assert_ne!(base, born(&keyring(), "phone2", &Counting::new()));
        let other = Keyring::create(INSTANCE, &secret('b'));
        assert_ne!(base, born(&other, "phone", &Counting::new()));
    }

    /// Frozen, so that an outside review can compute it again. Stored keys do not depend on it.
    #[test]
    fn birth_is_frozen() {
        assert_eq!(
            HEXLOWER.encode(&born(&keyring(), "phone", &Counting::new())),
            "01227ecff28ebea02f7927bab5d992d5730efdcaf80e2a09ed9ac007670916d9"
        );
    }

    #[test]
    fn a_born_key_survives_sealing() {
        let (keyring, random) = (keyring(), Counting::new());
        let key = keyring.birth_device_key("phone", &random);
        let sealed = keyring.seal(PLACE, key.expose(), &random);
        let opened = keyring
            .open_secret(PLACE, sealed.version, &sealed.bytes)
            .expect("opens");
        assert_eq!(opened.expose(), key.expose());

        let mut bytes = sealed.bytes;
        bytes[30] ^= 1;
        let refused = keyring.open_secret(PLACE, sealed.version, &bytes).err();
        assert_eq!(refused, Some(OpenError::Damaged));
    }
}
