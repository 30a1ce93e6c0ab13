//! Our own tokens: JSON Web Signatures in compact form (RFC 7515), claims (RFC 7519), EdDSA (RFC 8037).

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::sign::{SigningKey, kid_of, verify_bytes};

/// Longer texts are refused before anything is decoded.
const MOST_BYTES: usize = 8 * 1024;

/// The public half of a signing key, as verifiers know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// By what a token names it, see [`kid_of`].
    pub kid: String,
    /// The 32 bytes of RFC 8032, section 5.1.5.
    pub key: [u8; 32],
}

impl PublicKey {
    /// The key together with its name.
    pub fn new(key: [u8; 32]) -> PublicKey {
        let kid = kid_of(&key);
        PublicKey { kid, key }
    }
}

/// Why a token is refused: for metrics and tests. A client is told no more than that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TokenError {
    /// Not three parts of canonical base64url, a header or claims that are no plain JSON object, a
    /// member given twice, a header member that is not understood, or more than 8 KiB.
    #[error("the token is malformed")]
    Malformed,
    /// Its `alg` or `typ` is not the one that this place accepts.
    #[error("the token is of another type")]
    WrongType,
    /// Its `kid` names no key of the given set.
    #[error("the token names a key that is not known here")]
    UnknownKey,
    /// Signature and content do not belong together.
    #[error("the signature of the token does not hold")]
    BadSignature,
    /// `exp` is missing or no integer.
    #[error("the token has no time of expiry")]
    MissingExpiry,
}

/// Signs `claims`, which must be an object with an integer `exp`, or [`verify_token`] refuses the
/// token. `typ` is a constant per kind of token, such as `at+jwt`.
///
/// The text that is signed consists of base64url and a dot; what [`SigningKey::sign`] signs begins
/// with a zero byte. One can therefore never be passed off as the other.
pub fn sign_token(key: &SigningKey, typ: &str, claims: &Value) -> String {
    let header = json!({ "alg": "EdDSA", "kid": key.kid(), "typ": typ });
    let mut token = BASE64URL_NOPAD.encode(header.to_string().as_bytes());
    token.push('.');
    BASE64URL_NOPAD.encode_append(claims.to_string().as_bytes(), &mut token);
    let signature = key.sign_bytes(token.as_bytes());
    token.push('.');
    BASE64URL_NOPAD.encode_append(&signature, &mut token);
    token
}

/// The claims of a token that one of `keys` has signed for this `typ`.
///
/// The header decides nothing but which of `keys` to use: `alg` and `typ` must be exactly what is
/// asked for here, and a header with any member besides `alg`, `typ` and `kid` is refused, so that
/// no `crit`, `jwk`, `jku` or `x5c` is ever followed. `exp` is there and fits an `i64`; whether it
/// and other times have passed is the caller's to judge. Numbers that are not integers are no `exp`,
/// even where RFC 7519 would let them pass.
///
/// # Errors
/// [`TokenError`]; claims are read only after the signature holds.
pub fn verify_token(
    keys: &[PublicKey],
    typ: &str,
    token: &str,
) -> Result<Map<String, Value>, TokenError> {
    let parts = Parts::split(token)?;
    let header = parts.header()?;
    let member = |name: &str| header.get(name).and_then(Value::as_str);
    if member("alg") != Some("EdDSA") || member("typ") != Some(typ) {
        return Err(TokenError::WrongType);
    }
    if header.len() != 3 {
        return Err(TokenError::Malformed);
    }
    let kid = member("kid").ok_or(TokenError::Malformed)?;
    let key = keys.iter().find(|key| key.kid == kid);
    let key = key.ok_or(TokenError::UnknownKey)?;
    if !verify_bytes(&key.key, parts.signed.as_bytes(), &parts.signature) {
        return Err(TokenError::BadSignature);
    }
    parts.claims()
}

/// The public key as JSON Web Key (RFC 8037, section 2), for the published set.
pub fn jwk(key: &PublicKey) -> Value {
    json!({
        "kty": "OKP",
        "crv": "Ed25519",
        "x": BASE64URL_NOPAD.encode(&key.key),
        "kid": key.kid,
        "alg": "EdDSA",
        "use": "sig",
    })
}

/// A token taken apart, nothing of it believed yet.
pub(crate) struct Parts<'a> {
    /// Header and claims as they were sent: what the signature is made over.
    pub(crate) signed: &'a str,
    header: &'a str,
    claims: &'a str,
    pub(crate) signature: Vec<u8>,
}

impl<'a> Parts<'a> {
    pub(crate) fn split(token: &'a str) -> Result<Parts<'a>, TokenError> {
        if token.len() > MOST_BYTES {
            return Err(TokenError::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        if claims.contains('.') {
            return Err(TokenError::Malformed);
        }
        Ok(Parts {
            signed,
            header,
            claims,
            signature: decode(signature)?,
        })
    }

    pub(crate) fn header(&self) -> Result<Map<String, Value>, TokenError> {
        object(self.header)
    }

    /// The claims; to be called when the signature holds.
    pub(crate) fn claims(&self) -> Result<Map<String, Value>, TokenError> {
        let claims = object(self.claims)?;
        match claims.get("exp").and_then(Value::as_i64) {
            Some(_) => Ok(claims),
            None => Err(TokenError::MissingExpiry),
        }
    }

    /// The claims of somebody else's token, whose `exp` may have a fraction (RFC 7519,
    /// section 2).
    pub(crate) fn claims_of_others(&self) -> Result<Map<String, Value>, TokenError> {
        let claims = object(self.claims)?;
        match claims.get("exp").and_then(Value::as_f64) {
            Some(_) => Ok(claims),
            None => Err(TokenError::MissingExpiry),
        }
    }
}

/// Strict: no padding, no white space, no bits left over, so that one token has one text.
fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    BASE64URL_NOPAD
        .decode(part.as_bytes())
        .map_err(|_| TokenError::Malformed)
}

fn object(part: &str) -> Result<Map<String, Value>, TokenError> {
    let Unambiguous(map) =
        serde_json::from_slice(&decode(part)?).map_err(|_| TokenError::Malformed)?;
    Ok(map)
}

/// An object without a member given twice: of two, one reader may take the first and another the last
/// (RFC 7515, section 4; RFC 7519, section 4).
struct Unambiguous(Map<String, Value>);

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Unambiguous, D::Error> {
        deserializer.deserialize_map(Members).map(Unambiguous)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Map<String, Value>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut map = Map::new();
        while let Some((name, value)) = access.next_entry::<String, Value>()? {
            if map.insert(name, value).is_some() {
                return Err(A::Error::custom("a member is given twice"));
            }
        }
        Ok(map)
    }
}

#[cfg(test)]
mod tests;
