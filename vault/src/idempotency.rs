//! Idempotency without a store of secrets: keyed ids and fingerprints, and answers sealed under the header value.

use zeroize::Zeroizing;

use crate::derive::{Material, Purpose};
use crate::error::OpenError;
use crate::random::Random;
use crate::root::Root;
use crate::seal::Sealer;

const ANSWER_LABEL: &[u8] = b"otpd/1/answer-of";

impl Root {
    /// The id under which a call is remembered: who called, which route, and the header value.
    /// Hashed, because the header value opens the sealed answer.
    pub fn idempotency_id(&self, caller: &str, route: &str, header_value: &str) -> [u8; 32] {
        let fields = [caller, route, header_value].map(str::as_bytes);
        self.idempotency_id.of_fields(fields)
    }

    /// By what a repeated call is told from a different one: the body and whatever else decides its
    /// meaning. Keyed, because a plain hash of a verify body could be searched for the code.
    pub fn idempotency_fingerprint(&self, body: &[u8], parts: &[&[u8]]) -> [u8; 32] {
        let fields = std::iter::once(body).chain(parts.iter().copied());
        self.idempotency_fingerprint.of_fields(fields)
    }

    /// Seals an answer that holds a secret so that only the same header value opens it again; the
    /// server itself cannot without it, since it stores that value hashed. `id` is what
    /// [`Root::idempotency_id`] gave.
    pub fn seal_answer(
        &self,
        header_value: &str,
        id: &[u8; 32],
        plain: &[u8],
        random: &dyn Random,
    ) -> Vec<u8> {
        self.answer_sealer(header_value, id)
            .seal(&answer_binding(id), plain, random)
    }

    /// Opens such an answer for a repeated call; the content is wiped on drop.
    ///
    /// # Errors
    /// [`OpenError::Damaged`], also for another header value or id.
    pub fn open_answer(
        &self,
        header_value: &str,
        id: &[u8; 32],
        bytes: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        self.answer_sealer(header_value, id)
            .open(&answer_binding(id), bytes)
    }

    fn answer_sealer(&self, header_value: &str, id: &[u8; 32]) -> Sealer {
        let material = Material::extract(id, self.idempotency_answer.as_slice());
        Sealer::new(&material.subkey_for(Purpose::Answer, header_value.as_bytes()))
    }
}

fn answer_binding(id: &[u8; 32]) -> [u8; ANSWER_LABEL.len() + 32] {
    let mut bytes = [0; ANSWER_LABEL.len() + 32];
    bytes[..ANSWER_LABEL.len()].copy_from_slice(ANSWER_LABEL);
    bytes[ANSWER_LABEL.len()..].copy_from_slice(id);
    bytes
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;
    use crate::random::counting::Counting;

    fn root() -> Root {
        Root::generate(&Counting::new())
    }

    #[test]
    fn an_id_depends_on_each_part_and_its_borders() {
        let root = root();
        let id = root.idempotency_id("caller", "/route", "key");
        assert_eq!(id, root.idempotency_id("caller", "/route", "key"));
        for (caller, route, key) in [
            ("calle", "r/route", "key"),
            ("caller/", "route", "key"),
            ("caller", "/routek", "ey"),
            ("Caller", "/route", "key"),
            ("caller", "/route2", "key"),
            ("caller", "/route", "key2"),
        ] {
            let other = root.idempotency_id(caller, route, key);
            assert_ne!(id, other, "{caller} {route} {key}");
        }
    }

    #[test]
    fn a_fingerprint_depends_on_each_part_and_its_borders() {
        let root = root();
        let base = root.idempotency_fingerprint(b"body", &[b"query"]);
        assert_eq!(base, root.idempotency_fingerprint(b"body", &[b"query"]));
        for (body, parts) in [
            (&b"bodyquery"[..], &[][..]),
            (b"bodyq", &[&b"uery"[..]]),
            (b"body", &[b"query", b""]),
            (b"body", &[b"que", b"ry"]),
            (b"bodY", &[b"query"]),
        ] {
            assert_ne!(base, root.idempotency_fingerprint(body, parts));
        }
    }

    #[test]
    fn id_and_fingerprint_have_keys_of_their_own() {
        let root = root();
        assert_ne!(
            root.idempotency_id("a", "b", "c"),
            root.idempotency_fingerprint(b"a", &[b"b", b"c"])
        );
    }

    #[test]
    fn an_answer_opens_with_its_header_value_only() {
        let root = root();
        let id = root.idempotency_id("caller", "/route", "key");
        let other_id = root.idempotency_id("caller", "/route", "key2");
        let bytes = root.seal_answer("key", &id, b"{\"secret\":1}", &Counting::new());
        let opened = root.open_answer("key", &id, &bytes).expect("opens");
        assert_eq!(opened.as_slice(), b"{\"secret\":1}");

        let mut changed = bytes.clone();
        changed[24] ^= 1;
        let stranger = Root::generate(&{
            let random = Counting::new();
            random.fill(&mut [0]);
            random
        });
        for refused in [
            root.open_answer("key2", &id, &bytes),
            root.open_answer("", &id, &bytes),
            root.open_answer("key", &other_id, &bytes),
            root.open_answer("key", &id, &changed),
            root.open_answer("key", &id, &bytes[..39]),
            stranger.open_answer("key", &id, &bytes),
        ] {
            assert_eq!(refused, Err(OpenError::Damaged));
        }
    }

    /// Frozen: a rolling upgrade must find and open what the release before has stored.
    #[test]
    fn values_are_frozen() {
        let root = root();
        let id = root.idempotency_id("caller", "/route", "key");
        assert_eq!(
            HEXLOWER.encode(&id),
            "1384780732a87a54325668d12df933ac297af549cbef8534208e267d3cba12f1"
        );
        let fingerprint = root.idempotency_fingerprint(b"body", &[b"query"]);
        assert_eq!(
            HEXLOWER.encode(&fingerprint),
            "a63f12229c782bed4a06c456be9c022be62039827bc28571de6f96a9056987a1"
        );
        let answer = root.seal_answer("key", &id, b"answer", &Counting::new());
        assert_eq!(
            HEXLOWER.encode(&answer),
            "000102030405060708090a0b0c0d0e0f1011121314151617f9b22fd79c3e92f8e29940020db7def40e31e1680085"
        );
    }
}
