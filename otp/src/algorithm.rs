//! The three hash functions that HOTP and TOTP may use inside HMAC (RFC 6238 section 1.2).

use std::fmt;
use std::str::FromStr;

/// The hash function inside HMAC.
///
/// SHA-1 is what every authenticator app supports, and the default of the `otpauth:` format.
/// Its known collisions do not weaken HMAC (RFC 6194 section 3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Algorithm {
    /// HMAC-SHA-1, the only one that RFC 4226 defines.
    #[default]
    Sha1,
    /// HMAC-SHA-256.
    Sha256,
    /// HMAC-SHA-512.
    Sha512,
}

impl Algorithm {
    /// Every algorithm, weakest first.
    pub const ALL: [Self; 3] = [Self::Sha1, Self::Sha256, Self::Sha512];

    /// The name used in `otpauth:` URIs: `SHA1`, `SHA256` or `SHA512`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names none of the three algorithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the algorithm must be SHA1, SHA256 or SHA512")]
pub struct AlgorithmError;

impl FromStr for Algorithm {
    type Err = AlgorithmError;

    /// Reads the spellings found in the field, in any case: `SHA1`, `SHA-1`, `HmacSHA1`,
    /// `HMAC-SHA1` and `HMAC-SHA-1`, and the same for 256 and 512.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("HMAC").map_or(upper.as_str(), |rest| {
            rest.strip_prefix('-').unwrap_or(rest)
        });
        match name {
            "SHA1" | "SHA-1" => Ok(Self::Sha1),
            "SHA256" | "SHA-256" => Ok(Self::Sha256),
            "SHA512" | "SHA-512" => Ok(Self::Sha512),
            _ => Err(AlgorithmError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_every_usual_spelling() {
        let check =
            |text: &str, expected| assert_eq!(text.parse::<Algorithm>(), expected, "{text:?}");

        check("SHA1", Ok(Algorithm::Sha1));
        check("sha1", Ok(Algorithm::Sha1));
        check("SHA-1", Ok(Algorithm::Sha1));
        check("HmacSHA1", Ok(Algorithm::Sha1));
        check("hmac-sha-256", Ok(Algorithm::Sha256));
        check("Sha256", Ok(Algorithm::Sha256));
        check("sha-512", Ok(Algorithm::Sha512));
        check("HMACSHA512", Ok(Algorithm::Sha512));

        check("", Err(AlgorithmError));
        check("HMAC", Err(AlgorithmError));
        check("MD5", Err(AlgorithmError));
        check("SHA224", Err(AlgorithmError));
        check("SHA 1", Err(AlgorithmError));
        check(" SHA1", Err(AlgorithmError));
        check("SHA--1", Err(AlgorithmError));
        check("SHA-5-1-2", Err(AlgorithmError));
    }

    #[test]
    fn what_is_written_is_read_back() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.as_str().parse(), Ok(algorithm));
            assert_eq!(algorithm.to_string(), algorithm.as_str());
        }
        assert_eq!(Algorithm::default(), Algorithm::Sha1);
    }
}
