//! The text of an API key, `otpd_<id>_<secret>`: taking it apart and composing it.
//!
//! The id finds the stored key, the secret proves it. Ids hold no underscore, so the
//! first two underscores always part the text, whatever the secret's alphabet. Keys
//! made here are lower-case base32 throughout: one word to double-click, nothing to
//! escape in a shell, URL or configuration file.
//!
//! Nothing in this file compares a secret; that is done on its hash, elsewhere and in
//! constant time. The types that hold one have no `Debug`, so none can reach a log.

use std::fmt;
use std::sync::Arc;

use data_encoding::BASE32_NOPAD;
use zeroize::Zeroizing;

/// What every key begins with, so that secret scanners and people recognise one.
const PREFIX: &str = "otpd_";

/// The longest id.
const MAX_ID: usize = 32;

/// The shortest secret: 32 characters of the poorest alphabet (hex) are 128 bits.
const MIN_SECRET: usize = 32;

/// The longest secret, which bounds the hashing of what strangers send.
const MAX_SECRET: usize = 128;

/// The public name of a key: 1–32 of `A-Za-z0-9`. Cheap to clone; free to log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Arc<str>);

impl KeyId {
    /// The id written in `text`, or `None` if it is not 1–32 of `A-Za-z0-9`.
    pub fn parse(text: &str) -> Option<KeyId> {
        is_id(text).then(|| KeyId(text.into()))
    }

    /// A new id of 16 characters from 80 random bits. Ids are public and checked for
    /// uniqueness by the store; they need not be hard to guess, only unlikely to clash.
    pub fn from_random(random: [u8; 10]) -> KeyId {
        KeyId(BASE32_NOPAD.encode(&random).to_ascii_lowercase().into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A presented key taken apart; borrows from the text of the request.
#[derive(Clone, Copy)]
pub struct ApiKeyRef<'a> {
    /// 1–32 of `A-Za-z0-9`.
    pub id: &'a str,
    /// 32–128 of `A-Za-z0-9_-`. Never log it.
    pub secret: &'a str,
}

impl<'a> ApiKeyRef<'a> {
    /// Takes `otpd_<id>_<secret>` apart, or answers `None` if `text` is anything else.
    /// There is no error to explain: to the caller each bad credential looks alike.
    pub fn parse(text: &'a str) -> Option<ApiKeyRef<'a>> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        (is_id(id) && is_secret(secret)).then_some(ApiKeyRef { id, secret })
    }
}

/// The secret part of a new key: 52 characters for 256 random bits. Wiped on drop.
pub struct KeySecret(Zeroizing<String>);

impl KeySecret {
    /// Writes 32 bytes from a cryptographic generator as lower-case base32.
    pub fn from_random(random: &[u8; 32]) -> KeySecret {
        let mut text = Zeroizing::new(BASE32_NOPAD.encode(random));
        text.make_ascii_lowercase();
        KeySecret(text)
    }

    /// The secret itself, to be hashed for storage.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// The whole text of a new key, to be shown once to whoever made it. Wiped on drop.
pub struct ApiKeyText(Zeroizing<String>);

impl ApiKeyText {
    /// Puts `otpd_<id>_<secret>` together.
    pub fn compose(id: &KeyId, secret: &KeySecret) -> ApiKeyText {
        let length = PREFIX.len() + id.0.len() + 1 + secret.0.len();
        // Sized beforehand: a string that grows leaves copies of its text behind.
        let mut text = Zeroizing::new(String::with_capacity(length));
        for part in [PREFIX, id.as_str(), "_", secret.expose()] {
            text.push_str(part);
        }
        ApiKeyText(text)
    }

    /// The text itself, for the one answer that shows it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

fn is_id(text: &str) -> bool {
    (1..=MAX_ID).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn is_secret(text: &str) -> bool {
    (MIN_SECRET..=MAX_SECRET).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(text: &str) -> Option<(&str, &str)> {
        ApiKeyRef::parse(text).map(|key| (key.id, key.secret))
    }

    #[test]
    fn a_key_is_taken_apart_at_its_first_underscores() {
        fn check(id: &str, secret: &str, fits: bool) {
            let text = format!("otpd_{id}_{secret}");
            assert_eq!(parts(&text), fits.then_some((id, secret)), "{text}");
        }
        let secret = "s".repeat(32);
        check("a", &secret, true);
        check("AZaz09", &secret, true);
        check(&"i".repeat(32), &secret, true);
        check(&"i".repeat(33), &secret, false);
        check("", &secret, false);
        check("a-b", &secret, false);
        check("a.b", &secret, false);
        check("é", &secret, false);
        check("a", &"s".repeat(31), false);
        check("a", &"s".repeat(128), true);
        check("a", &"s".repeat(129), false);
        check("a", "abcdefghijklmnop_-_-ABCDEFGH0123", true);
        check("a", &"_".repeat(32), true);
        check("a", &format!("{secret}="), false);
        check("a", &format!("{secret}\n"), false);
        check("a", &format!(" {secret}"), false);
    }

    #[test]
    fn anything_else_is_no_key() {
        fn check(text: &str) {
            assert!(parts(text).is_none(), "{text}");
        }
        let secret = "s".repeat(32);
        check("");
        check("otpd_");
        check("otpd__");
        check("otpd_a");
        check(&format!("OTPD_a_{secret}"));
        check(&format!("otpd-a-{secret}"));
        check(&format!("otpd_{secret}"));
        check(&format!("otpd__{secret}"));
        check(&format!(" otpd_a_{secret}"));
        check(&format!("Bearer otpd_a_{secret}"));
    }

    #[test]
    fn an_id_is_short_and_alphanumeric() {
        fn check(text: &str, fits: bool) {
            assert_eq!(
                KeyId::parse(text).map(|id| id.to_string()),
                fits.then(|| text.into())
            );
        }
        check("env", true);
        check("0", true);
        check("", false);
        check("a_b", false);
        check("a b", false);
        check(&"x".repeat(33), false);
    }

    #[test]
    fn new_keys_are_lower_case_base32() {
        assert_eq!(KeyId::from_random([0xff; 10]).as_str(), "7777777777777777");
        // RFC 4648 section 10: "foobar" is MZXW6YTBOI.
        assert_eq!(
            KeyId::from_random(*b"foobar\0\0\0\0").as_str(),
            "mzxw6ytboiaaaaaa"
        );
        assert_eq!(KeySecret::from_random(&[0; 32]).expose(), "a".repeat(52));
    }

    proptest! {
        #[test]
        fn a_composed_key_comes_apart_again(id: [u8; 10], secret: [u8; 32]) {
            let (id, secret) = (KeyId::from_random(id), KeySecret::from_random(&secret));
            let text = ApiKeyText::compose(&id, &secret);
            prop_assert_eq!(parts(text.expose()), Some((id.as_str(), secret.expose())));
            prop_assert_eq!(KeyId::parse(id.as_str()), Some(id));
            let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
            prop_assert!(text.expose().bytes().all(plain));
        }
    }
}
