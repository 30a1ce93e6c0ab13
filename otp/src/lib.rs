//! One-time passwords: HOTP (RFC 4226), TOTP (RFC 6238), base32 keys (RFC 4648) and `otpauth:` URIs.
//!
//! The crate knows no clock and no randomness: times, counters and keys are arguments, so every
//! function gives the same answer for the same arguments, for ever. It keeps no state either:
//! that a code is accepted only once is the caller's duty (RFC 6238 section 5.2), and
//! [`highest_match`] returns the counter that must be remembered for it.
//!
//! ```
//! use otp::{Algorithm, Code, Digits, Secret, Totp, highest_match, hotp, window};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let secret = Secret::from_base32("gezd gnbv gy3t qojq gezd gnbv gy3t qojq")?;
//! let totp = Totp::default();
//! let now = 59; // Unix seconds, from whatever clock the caller trusts
//!
//! let step = totp.step_at(now).ok_or("the clock is before 1970")?;
//! let shown = hotp(&secret, Algorithm::Sha1, Digits::default(), step);
//! assert_eq!(shown.to_text().as_str(), "287082");
//!
//! let typed = Code::parse("287082")?;
//! let spent = highest_match(&secret, Algorithm::Sha1, &typed, window(step, 1, 1));
//! assert_eq!(spent, Some(1));
//! # Ok(())
//! # }
//! ```

mod algorithm;
mod base32;
mod code;
mod hotp;
mod secret;
mod totp;
pub mod uri;

pub use algorithm::{Algorithm, AlgorithmError};
pub use base32::Base32Error;
pub use code::{Code, CodeError, Digits, DigitsError};
pub use hotp::{consecutive_match, highest_match, hotp};
pub use secret::Secret;
pub use totp::{Totp, window};
