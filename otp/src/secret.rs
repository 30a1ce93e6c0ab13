//! The shared key of one authenticator, kept so that it cannot be printed, copied or left behind.

use zeroize::Zeroizing;

use crate::base32::{self, Base32Error};

/// The key that an authenticator and the server share.
///
/// It is wiped when dropped. It has no `Debug`, `Display`, `Clone` or `==`, so it cannot slip into
/// a log, multiply, or be compared in a way that takes time by content:
///
/// ```compile_fail,E0277
/// println!("{:?}", otp::Secret::from_bytes(vec![0; 20]));
/// ```
/// ```compile_fail,E0599
/// let twice = otp::Secret::from_bytes(vec![0; 20]).clone();
/// ```
///
/// RFC 4226 section 4 (R6) asks for 128 bits at least and recommends 160. The crate takes keys of
/// any length, for keys made elsewhere are what they are: ask [`Secret::bits`].
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the raw key. No copy is made; the vector's memory is wiped in the end.
    #[must_use]
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Reads a base32 key as people copy it: any case, with or without padding, with spaces,
    /// line ends and dashes. The text itself is the caller's to wipe.
    ///
    /// # Errors
    /// [`Base32Error`] when the text is empty, holds another character, or has an impossible
    /// length.
    pub fn from_base32(text: &str) -> Result<Self, Base32Error> {
        base32::decode(text).map(Self)
    }

    /// The key as upper-case base32 without padding, in a text that is wiped when dropped.
    #[must_use]
    pub fn to_base32(&self) -> Zeroizing<String> {
        base32::encode(&self.0)
    }

    /// The raw key. The name is long enough to find every use of it in a review.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The length in bits.
    #[must_use]
    pub fn bits(&self) -> usize {
        self.0.len() * 8
    }
}

impl zeroize::ZeroizeOnDrop for Secret {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_base32_name_the_same_key() {
        let bytes = Secret::from_bytes(b"12345678901234567890".to_vec());
        assert_eq!(
            bytes.to_base32().as_str(),
            "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
        );
        assert_eq!(bytes.bits(), 160);

        let text = Secret::from_base32("gezdgnbv-gy3tqojq-gezdgnbv-gy3tqojq").expect("base32");
        assert_eq!(text.expose(), bytes.expose());
    }
}
