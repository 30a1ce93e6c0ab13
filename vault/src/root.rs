//! The root key of one database: what its MACs and hashes are made with, whatever becomes of the masters.

use zeroize::Zeroizing;

use crate::derive::{Material, Purpose, SubKey};
use crate::error::OpenError;
use crate::instance::KeyVersion;
use crate::keyring::Keyring;
use crate::mac::Mac;
use crate::place::Place;
use crate::random::{Random, secret_bytes};
use crate::seal::{Sealed, Sealer};

/// The keyed states of everything that must survive a change of the master secret: the audit chain,
/// API-key hashes, idempotency, search terms, one-time codes and tokens, waiting mails, names of shared
/// counters. Made once per database, stored sealed. All wiped on drop.
///
/// Its methods stand beside their purpose: `chain.rs`, `api_key.rs`, `idempotency.rs`, `search.rs`,
/// `one_time.rs`, `rate_key.rs`.
pub struct Root {
    key: Zeroizing<[u8; 32]>,
    pub(crate) audit_chain: Mac,
    pub(crate) api_key: Mac,
    pub(crate) idempotency_id: Mac,
    pub(crate) idempotency_fingerprint: Mac,
    pub(crate) idempotency_answer: SubKey,
    pub(crate) search_term: Mac,
    pub(crate) one_time_code: Mac,
    pub(crate) one_time_token: Mac,
    pub(crate) mail: Sealer,
    pub(crate) rate_key: Mac,
}

impl Root {
    /// The root of a brand-new database; the caller stores what [`Root::seal`] gives.
    pub fn generate(random: &dyn Random) -> Root {
        Root::derive(secret_bytes(random))
    }

    /// The root key, sealed like any other key: at first, and again when the master changes.
    pub fn seal(&self, keyring: &Keyring, place: Place<'_>, random: &dyn Random) -> Sealed {
        keyring.seal(place, self.key.as_slice(), random)
    }

    /// The root of an existing database.
    ///
    /// # Errors
    /// [`OpenError`]; the server must then not start.
    pub fn open(
        keyring: &Keyring,
        place: Place<'_>,
        version: KeyVersion,
        bytes: &[u8],
    ) -> Result<Root, OpenError> {
        Ok(Root::derive(keyring.open_key(place, version, bytes)?))
    }

    /// No salt: the root key is random already and belongs to one database only.
    fn derive(key: Zeroizing<[u8; 32]>) -> Root {
        let material = Material::extract(b"", key.as_slice());
        let mac = |purpose| Mac::new(&material.subkey(purpose));
        Root {
            audit_chain: mac(Purpose::RootAuditChain),
            api_key: mac(Purpose::RootApiKey),
            idempotency_id: mac(Purpose::RootIdempotencyId),
            idempotency_fingerprint: mac(Purpose::RootIdempotencyFingerprint),
            idempotency_answer: material.subkey(Purpose::RootIdempotencyAnswer),
            search_term: mac(Purpose::RootSearchTerm),
            one_time_code: mac(Purpose::RootOneTimeCode),
            one_time_token: mac(Purpose::RootOneTimeToken),
            mail: Sealer::new(&material.subkey(Purpose::RootMail)),
            rate_key: mac(Purpose::RootRateKey),
            key,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyring::samples::{INSTANCE, PLACE, keyring, secret};
    use crate::random::counting::Counting;

    #[test]
    fn the_root_survives_a_change_of_master() {
        let random = Counting::new();
        let mut old = keyring();
        let root = Root::generate(&random);
        let (hash, link) = (root.hash_api_key("secret"), root.chain_mac(&[1; 32]));
        let (code, mail) = (
            root.hash_code(1, "123456"),
            root.seal_mail(1, b"x", &random),
        );
        let sealed = root.seal(&old, PLACE, &random);

        let added = old.add_version(KeyVersion(2), &secret('b')).expect("free");
        old.activate(KeyVersion(2)).expect("held");
        let resealed = old
            .reseal(PLACE, sealed.version, &sealed.bytes, &random)
            .expect("opens");
        let new = Keyring::unlock(INSTANCE, &[added], KeyVersion(2), vec![secret('b')]);
        let new = new.expect("unlocks").keyring;
        let root = Root::open(&new, PLACE, resealed.version, &resealed.bytes);
        let root = root.expect("opens");
        assert_eq!(root.hash_api_key("secret"), hash);
        assert!(root.chain_mac_matches(&[1; 32], &link));
        assert_eq!(root.hash_code(1, "123456"), code);
        assert_eq!(root.open_mail(1, &mail).expect("opens").as_slice(), b"x");
    }

    #[test]
    fn what_is_no_root_key_is_refused() {
        let (keyring, random) = (keyring(), Counting::new());
        for length in [0, 31, 33] {
            let sealed = keyring.seal(PLACE, &vec![1; length], &random);
            let opened = Root::open(&keyring, PLACE, sealed.version, &sealed.bytes);
            assert_eq!(opened.err(), Some(OpenError::Damaged), "{length} bytes");
        }
    }

    #[test]
    fn two_roots_share_nothing() {
        let random = Counting::new();
        let (left, right) = (Root::generate(&random), Root::generate(&random));
        assert_ne!(left.hash_api_key("secret"), right.hash_api_key("secret"));
        assert_ne!(left.chain_mac(&[1; 32]), right.chain_mac(&[1; 32]));
        assert_ne!(left.hash_code(1, "123456"), right.hash_code(1, "123456"));
        assert_ne!(left.hash_token("pass", "x"), right.hash_token("pass", "x"));
        let mail = left.seal_mail(1, b"x", &random);
        assert_eq!(right.open_mail(1, &mail), Err(OpenError::Damaged));
        assert_ne!(
            left.search_term("user", "x"),
            right.search_term("user", "x")
        );
        assert_ne!(
            left.idempotency_id("c", "r", "k"),
            right.idempotency_id("c", "r", "k")
        );
    }
}
