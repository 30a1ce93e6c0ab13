//! `otpauth:` URIs, the "Key Uri Format" that carries a key into an authenticator app.
//!
//! `otpauth://totp/Issuer:account?secret=…&issuer=Issuer&algorithm=SHA1&digits=6&period=30`
//!
//! The writer always states every parameter, for apps differ in their defaults. The reader takes
//! what Google Authenticator, PyOTP and others write. It refuses what could mean two things.

mod parse;
mod percent;

use std::fmt::Write as _;

use zeroize::Zeroizing;

use crate::{Algorithm, AlgorithmError, Base32Error, Digits, Secret};

/// What moves the counter of an authenticator, with its own parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Time.
    Totp {
        /// Seconds a step lasts, at least 1.
        period: u32,
    },
    /// Each use.
    Hotp {
        /// The counter of the next code.
        counter: u64,
    },
}

/// The contents of an `otpauth:` URI. It holds the key, so it has no `Debug` or `Display`.
pub struct OtpauthUri {
    /// TOTP or HOTP.
    pub kind: Kind,
    /// Who runs the account; an empty text counts as none.
    pub issuer: Option<String>,
    /// Whose account it is, such as an email address. Spaces in front do not survive the format.
    pub account: String,
    /// The shared key.
    pub secret: Secret,
    /// The hash function; SHA-1 when a URI names none.
    pub algorithm: Algorithm,
    /// The length of the codes; 6 when a URI names none.
    pub digits: Digits,
}

/// Why a text is not an `otpauth:` URI. It repeats nothing of the text, which may hold a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// It does not begin with `otpauth://`.
    #[error("the URI must begin with otpauth://")]
    Scheme,
    /// The type is neither `totp` nor `hotp`.
    #[error("the type must be totp or hotp")]
    Type,
    /// A `%` without two hexadecimal digits after it, or bytes that are not UTF-8.
    #[error("the percent-encoding is broken")]
    PercentEncoding,
    /// A parameter that decides something stands there twice.
    #[error("the parameter {0} is given twice")]
    Duplicate(&'static str),
    /// There is no `secret`, or an empty one.
    #[error("the parameter secret is missing")]
    MissingSecret,
    /// `secret` is not base32.
    #[error("the secret is not base32: {0}")]
    Secret(#[from] Base32Error),
    /// `algorithm` names none of the three.
    #[error(transparent)]
    Algorithm(#[from] AlgorithmError),
    /// `digits` is not 6, 7 or 8.
    #[error("digits must be 6, 7 or 8")]
    Digits,
    /// `period` is not a number of seconds from 1 to 2³² − 1.
    #[error("period must be a whole number of seconds, 1 or more")]
    Period,
    /// `counter` is not a number from 0 to 2⁶⁴ − 1.
    #[error("counter must be a whole number, 0 or more")]
    Counter,
    /// The issuer before the account is not that of the parameter `issuer`.
    #[error("the label and the parameter issuer name different issuers")]
    IssuerMismatch,
    /// `encoder` asks for codes that are not decimal digits, as Steam's.
    #[error("codes in a form other than decimal digits are not supported")]
    Encoder,
}

impl OtpauthUri {
    /// Reads an `otpauth:` URI.
    ///
    /// Scheme and type may be in any case; the label may be missing; the colon after the issuer
    /// may be encoded, and spaces may follow it; a `+` in a parameter is a space, as HTML forms
    /// write it. Missing parameters have the format's defaults: SHA-1, six digits, 30 seconds,
    /// counter 0. Parameters that mean nothing here (an image, the counter of a TOTP) are ignored.
    ///
    /// Where a label has a plain colon, that one ends the issuer and `%3A` is part of a name.
    /// Otherwise the first `%3A` ends the issuer, unless an empty `issuer` says there is none.
    ///
    /// # Errors
    /// [`UriError`], for the first fault found.
    pub fn parse(uri: &str) -> Result<Self, UriError> {
        parse::parse(uri)
    }

    /// Writes the URI, in a text that is wiped when dropped.
    ///
    /// Everything but letters, digits and `-._~` is percent-encoded in names, spaces as `%20`:
    /// apps show a `+` as it stands.
    #[must_use]
    pub fn to_uri(&self) -> Zeroizing<String> {
        let issuer = self.issuer.as_deref().filter(|issuer| !issuer.is_empty());
        let secret = self.secret.to_base32();
        // Room for all, names encoded threefold: a text that grows would leave unwiped copies.
        let names = 2 * issuer.map_or(0, str::len) + self.account.len();
        let capacity = 128 + 3 * names + secret.len();
        let mut uri = Zeroizing::new(String::with_capacity(capacity));

        uri.push_str(match self.kind {
            Kind::Totp { .. } => "otpauth://totp/",
            Kind::Hotp { .. } => "otpauth://hotp/",
        });
        if let Some(issuer) = issuer {
            percent::encode(issuer, &mut uri);
            uri.push(':');
        }
        percent::encode(&self.account, &mut uri);
        uri.push_str("?secret=");
        uri.push_str(&secret);
        // An account such as `email:dave` would otherwise be read as the issuer `email`.
        if issuer.is_some() || self.account.contains(':') {
            uri.push_str("&issuer=");
            percent::encode(issuer.unwrap_or_default(), &mut uri);
        }
        self.write_parameters(&mut uri);
        debug_assert!(uri.len() <= capacity, "the text must not have grown");
        uri
    }

    fn write_parameters(&self, uri: &mut String) {
        let (algorithm, digits) = (self.algorithm.as_str(), self.digits.get());
        let written = match self.kind {
            Kind::Totp { period } => {
                write!(
                    uri,
                    "&algorithm={algorithm}&digits={digits}&period={period}"
                )
            }
            Kind::Hotp { counter } => {
                write!(
                    uri,
                    "&algorithm={algorithm}&digits={digits}&counter={counter}"
                )
            }
        };
        debug_assert!(written.is_ok(), "writing to a String cannot fail");
    }
}

#[cfg(test)]
mod tests;
