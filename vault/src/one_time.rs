//! What is good for one use: hashes of codes and tokens, mails that wait to be sent, and their random texts.

use data_encoding::BASE64URL_NOPAD;
use zeroize::Zeroizing;

use crate::error::OpenError;
use crate::random::{Random, secret_bytes};
use crate::root::Root;

const MAIL_LABEL: &[u8] = b"otpd/1/mail-at";

impl Root {
    /// The keyed hash under which a short code of this challenge is stored; compare with
    /// [`same_hash`](crate::same_hash).
    ///
    /// A code of six digits could be found from a plain hash, even a slow one, by trying them all;
    /// the key makes a copy of the database alone no oracle. Bound to the challenge, so that a hash
    /// copied to another row is that of no code there.
    pub fn hash_code(&self, challenge: i64, code: &str) -> [u8; 32] {
        // Unambiguous: the first part has a fixed length.
        self.one_time_code
            .of(&[&challenge.to_be_bytes(), code.as_bytes()])
    }

    /// The keyed hash under which a text of 60 random bits or more is stored and looked up: recovery
    /// codes, passes and tokens. `kind` is a constant per use ("recovery", "mfa"): the same text of
    /// another kind has another hash, so that no token can stand in for one of another kind.
    pub fn hash_token(&self, kind: &str, text: &str) -> [u8; 32] {
        self.one_time_token
            .of_fields([kind.as_bytes(), text.as_bytes()])
    }

    /// Seals a mail that waits in row `id` of the outbox: it holds a code or a token in plain text.
    /// Under a key of the root, so that a change of the master secret loses no mail; the root belongs
    /// to one database, which so binds the mail to it.
    pub fn seal_mail(&self, id: i64, plain: &[u8], random: &dyn Random) -> Vec<u8> {
        self.mail.seal(&mail_binding(id), plain, random)
    }

    /// Opens a waiting mail; the content is wiped on drop.
    ///
    /// # Errors
    /// [`OpenError::Damaged`], also for a mail of another row or database.
    pub fn open_mail(&self, id: i64, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        self.mail.open(&mail_binding(id), sealed)
    }
}

fn mail_binding(id: i64) -> [u8; MAIL_LABEL.len() + 8] {
    let mut bytes = [0; MAIL_LABEL.len() + 8];
    bytes[..MAIL_LABEL.len()].copy_from_slice(MAIL_LABEL);
    bytes[MAIL_LABEL.len()..].copy_from_slice(&id.to_be_bytes());
    bytes
}

/// A code of so many decimal digits, each code equally likely, leading zeros kept.
pub fn random_code(digits: u32, random: &dyn Random) -> Zeroizing<String> {
    let digits = digits as usize;
    // Allocated once: growing would leave a part of the code behind.
    let mut code = Zeroizing::new(String::with_capacity(digits));
    while code.len() < digits {
        for byte in *secret_bytes::<16>(random) {
            // 250 is the last multiple of ten below 256: the bytes above it would make the digits
            // 0 to 5 likelier than the others.
            if byte < 250 && code.len() < digits {
                code.push(char::from(b'0' + byte % 10));
            }
        }
    }
    code
}

/// A token of 256 random bits, as 43 characters of base64url without padding (RFC 4648, section 5).
pub fn token_secret(random: &dyn Random) -> Zeroizing<String> {
    let bytes = secret_bytes::<32>(random);
    Zeroizing::new(BASE64URL_NOPAD.encode(bytes.as_slice()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use data_encoding::HEXLOWER;

    use super::*;
    use crate::random::counting::Counting;

    fn root() -> Root {
        Root::generate(&Counting::new())
    }

    #[test]
    fn a_code_hash_depends_on_challenge_and_code() {
        let root = root();
        let hash = root.hash_code(7, "012345");
        assert_eq!(hash, root.hash_code(7, "012345"));
        for (challenge, code) in [
            (8, "012345"),
            (-7, "012345"),
            (7, "12345"),
            (7, "012346"),
            (7, ""),
        ] {
            assert_ne!(hash, root.hash_code(challenge, code), "{challenge} {code}");
        }
    }

    #[test]
    fn a_token_hash_depends_on_kind_text_and_their_border() {
        let root = root();
        let hash = root.hash_token("mfa", "text");
        assert_eq!(hash, root.hash_token("mfa", "text"));
        for (kind, text) in [
            ("enrolment", "text"),
            ("mfat", "ext"),
            ("mf", "atext"),
            ("mfa", "tex"),
        ] {
            assert_ne!(hash, root.hash_token(kind, text), "{kind} {text}");
        }
    }

    #[test]
    fn every_use_has_a_key_of_its_own() {
        let root = root();
        assert_ne!(
            root.hash_token("", ""),
            root.idempotency_fingerprint(b"", &[b""])
        );
        // The same bytes under the MAC: a length of zero and nothing else, twice.
        assert_ne!(
            root.hash_code(0, "\0\0\0\0\0\0\0\0"),
            root.hash_token("", "")
        );
    }

    #[test]
    fn a_mail_opens_in_its_row_only() {
        let root = root();
        let sealed = root.seal_mail(42, b"your code is 123456", &Counting::new());
        let opened = root.open_mail(42, &sealed).expect("opens");
        assert_eq!(opened.as_slice(), b"your code is 123456");
        let mut changed = sealed.clone();
        changed[24] ^= 1;
        let short = &sealed[..sealed.len() - 1];
        for (id, bytes) in [
            (43, &*sealed),
            (-42, &*sealed),
            (42, &*changed),
            (42, short),
        ] {
            assert_eq!(root.open_mail(id, bytes), Err(OpenError::Damaged), "{id}");
        }
    }

    #[test]
    fn a_code_uses_no_byte_that_would_bend_the_odds() {
        struct Script(Vec<u8>, AtomicU64);
        impl Random for Script {
            fn fill(&self, buffer: &mut [u8]) {
                for byte in buffer {
                    let at = self.1.fetch_add(1, Ordering::Relaxed) as usize;
                    *byte = self.0[at % self.0.len()];
                }
            }
        }
        #[track_caller]
        fn check(bytes: &[u8], digits: u32, code: &str) {
            let random = Script(bytes.to_vec(), AtomicU64::new(0));
            assert_eq!(random_code(digits, &random).as_str(), code);
        }
        check(&[0], 6, "000000");
        check(&[250, 251, 252, 253, 254, 255, 249], 6, "999999");
        check(
            &[0, 11, 22, 33, 44, 55, 66, 77, 88, 99, 9, 8],
            10,
            "0123456789",
        );
        check(&[7], 0, "");
        // More digits than one draw holds.
        check(&[3], 20, "33333333333333333333");
    }

    #[test]
    fn every_digit_is_equally_likely() {
        // All 256 bytes, once each: 250 digits, 25 of each.
        let code = random_code(250, &Counting::new());
        for digit in '0'..='9' {
            assert_eq!(code.matches(digit).count(), 25, "{digit}");
        }
    }

    #[test]
    fn a_token_holds_all_its_random_bits() {
        let token = token_secret(&Counting::new());
        assert_eq!(
            token.as_str(),
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
        );
    }

    /// Frozen: a rolling upgrade must accept and open what the release before has stored.
    #[test]
    fn values_are_frozen() {
        let root = root();
        assert_eq!(
            HEXLOWER.encode(&root.hash_code(42, "012345")),
            "c1c61af2eeb07f9a77b82abfc47ea60c324ba14b98bb3bd80a2010eed4b10754"
        );
        assert_eq!(
            HEXLOWER.encode(&root.hash_token("mfa", "text")),
            "cac6467c86aa94ed0a0bab60a87b33abaaf544d5c56b13eae536006b9f7d4ad7"
        );
        let mail = root.seal_mail(42, b"mail", &Counting::new());
        assert_eq!(
            HEXLOWER.encode(&mail),
            "000102030405060708090a0b0c0d0e0f101112131415161723070f1879acb4125a31ded7bc337bcbea158c02"
        );
    }
}
