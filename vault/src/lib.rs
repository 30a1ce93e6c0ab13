//! The room of keys: the only crate that can open a stored key, sign, or compute a keyed hash.
//!
//! It knows no SQL, no HTTP and no clock, and asks its caller for randomness through [`Random`].
//! `README.md` beside this crate has the key hierarchy, the labels and the sealed layout on one page.
//!
//! ```text
//! MasterSecret (one per KeyVersion, given by the operator)
//!   └─ HKDF ─ seal, check, device-birth      Keyring: changes with the master
//! Root (32 random bytes per database, stored sealed)
//!   └─ HKDF ─ audit-chain, api-key, ...      Root: survives every change of master
//! SigningSeed (32 random bytes per purpose, stored sealed)
//!   └─ Ed25519                               SigningKey
//! ```
//!
//! Types that hold a secret have no `Debug`, no `Display` and no `Clone`, and wipe it on drop.

mod api_key;
mod caller_token;
mod chain;
mod derive;
mod device_key;
mod error;
mod idempotency;
mod instance;
mod keyring;
mod mac;
mod master;
mod one_time;
mod password;
mod place;
mod random;
mod rate_key;
mod root;
mod seal;
mod search;
mod sign;
mod spoken;
mod token;

pub use caller_token::{SharedSecret, verify_shared};
pub use error::{OpenError, UnlockError, VaultError};
pub use instance::{InstanceId, KeyVersion};
pub use keyring::{Keyring, KnownVersion, Unlocked};
pub use mac::same_hash;
pub use master::MasterSecret;
pub use one_time::{random_code, token_secret};
pub use password::{PasswordFault, PasswordHasher, check_password};
pub use place::Place;
pub use random::Random;
pub use root::Root;
pub use seal::Sealed;
pub use sign::{SigningKey, SigningSeed, verify_signature};
pub use spoken::{Spoken, normalise_spoken, pass_code, recovery_code};
pub use token::{PublicKey, TokenError, jwk, sign_token, verify_token};
