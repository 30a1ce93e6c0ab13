//! Tokens that callers bring along, signed with a secret they share with us: HS256 (RFC 7518, section 3.2).

use hmac::{Hmac, KeyInit, Mac as _};
use serde_json::{Map, Value};
use sha2::Sha256;

use crate::error::VaultError;
use crate::token::{Parts, TokenError};

const LEAST_BYTES: usize = 32;

/// The secret that a caller signs its tokens with, as a keyed state. Wiped on drop.
///
/// It only ever verifies: nothing here is signed with it, so that no answer of ours can be one of
/// the caller's tokens.
pub struct SharedSecret(Hmac<Sha256>);

impl SharedSecret {
    /// Takes the bytes as they are. The caller wipes its own copy.
    ///
    /// # Errors
    /// [`VaultError::SharedSecretTooShort`] below 32 bytes.
    pub fn new(bytes: &[u8]) -> Result<SharedSecret, VaultError> {
        if bytes.len() < LEAST_BYTES {
            return Err(VaultError::SharedSecretTooShort);
        }
        Ok(SharedSecret(
            Hmac::new_from_slice(bytes).expect("HMAC takes a key of any length (RFC 2104)"),
        ))
    }
}

/// The claims of a token that is signed with `secret`.
///
/// `alg` must be exactly `HS256`, and `typ` absent or `JWT` in any case: our own tokens have other
/// types, another algorithm and keys that are never given to this function, so none of them passes,
/// and no public key is ever the key of an HMAC. `crit` is refused (RFC 7515, section 4.1.11); other
/// members are not looked at, since libraries add a `kid` of their own. `exp` is there and fits an
/// `i64`; times, audience and scopes are the caller's to judge.
///
/// # Errors
/// [`TokenError`], never `UnknownKey`; claims are read only after the signature holds.
pub fn verify_shared(secret: &SharedSecret, token: &str) -> Result<Map<String, Value>, TokenError> {
    let parts = Parts::split(token)?;
    let header = parts.header()?;
    if header.get("alg").and_then(Value::as_str) != Some("HS256") {
        return Err(TokenError::WrongType);
    }
    let typ = header
        .get("typ")
        .map(|typ| typ.as_str().unwrap_or_default());
    if typ.is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT")) {
        return Err(TokenError::WrongType);
    }
    if header.contains_key("crit") {
        return Err(TokenError::Malformed);
    }
    // In constant time; a tag of another length than 32 bytes is refused.
    secret
        .0
        .clone()
        .chain_update(parts.signed.as_bytes())
        .verify_slice(&parts.signature)
        .map_err(|_| TokenError::BadSignature)?;
    parts.claims_of_others()
}

#[cfg(test)]
mod tests;
