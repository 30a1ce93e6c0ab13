//! A device: an enrolled authenticator, its facts, its state, and the few numbers that a verification changes.

use otp::{Algorithm, Digits};

use crate::ids::{DeviceId, UserId};
use crate::names::DeviceName;
use crate::time::Time;

/// How a device counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// RFC 6238: a step lasts this many seconds, T0 is 0.
    Totp {
        /// Seconds a step lasts.
        period: u32,
    },
    /// RFC 4226: one counter value per code.
    Hotp,
}

impl Kind {
    /// The word of the contract: `totp` or `hotp`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Totp { .. } => "totp",
            Self::Hotp => "hotp",
        }
    }
}

/// Whether a device counts as a factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Waits for its first right code until that time; is no factor yet.
    Pending(Time),
    /// In force.
    Active,
    /// Not accepted anywhere since that time.
    Deactivated(Time),
}

impl State {
    /// From the two stored times.
    pub fn from_times(pending_until: Option<Time>, deactivated_at: Option<Time>) -> Self {
        match (deactivated_at, pending_until) {
            (Some(at), _) => Self::Deactivated(at),
            (None, Some(until)) => Self::Pending(until),
            (None, None) => Self::Active,
        }
    }

    /// The word of the contract: `pending`, `active` or `deactivated`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending(_) => "pending",
            Self::Active => "active",
            Self::Deactivated(_) => "deactivated",
        }
    }
}

/// A device key as it is stored: sealed, to be opened by the vault alone.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedKey {
    /// The version of the master secret it is sealed under.
    pub version: u32,
    /// Nonce, ciphertext and tag.
    pub bytes: Vec<u8>,
}

/// The numbers that a verification changes, stored apart from everything else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hot {
    /// The lowest step (TOTP) or counter (HOTP) that may still be accepted.
    pub next: i64,
    /// Acceptances so far.
    pub used: i64,
    /// When the last one was.
    pub last_used: Option<Time>,
    /// How far the device's clock is ahead of ours, learnt slowly, in milliseconds.
    pub drift_ms: i64,
    /// One more than the last step a repetition of which was counted as a failure.
    pub replayed: i64,
}

/// A device as the judge sees it.
#[derive(Clone)]
pub struct Device {
    /// Internal id.
    pub id: DeviceId,
    /// Whose it is.
    pub user: UserId,
    /// The `device_id` of the contract.
    pub name: DeviceName,
    /// The owner's canonical name, for the audit.
    pub owner: String,
    /// How it counts.
    pub kind: Kind,
    /// Hash of its codes.
    pub algorithm: Algorithm,
    /// Length of its codes.
    pub digits: Digits,
    /// The security level it was registered under, if a named one.
    pub policy: Option<String>,
    /// Whether it is a factor.
    pub state: State,
    /// Its key, sealed.
    pub key: SealedKey,
    /// What verifications change.
    pub hot: Hot,
}
