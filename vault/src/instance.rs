//! The two names that sealed values are bound to besides their place: the database and the master's version.

use std::fmt;

use crate::random::Random;

/// The random identity of one database. Not a secret.
///
/// It salts every derivation from a master secret and is bound into every sealed value, so that two
/// databases with the same master secret share no key and cannot exchange rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstanceId(pub [u8; 16]);

impl InstanceId {
    /// A new identity for a database that is being made.
    pub fn generate(random: &dyn Random) -> InstanceId {
        let mut bytes = [0; 16];
        random.fill(&mut bytes);
        InstanceId(bytes)
    }
}

/// The number of a master secret within one database; the first is 1. Stored beside each sealed value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyVersion(pub u32);

impl KeyVersion {
    /// The version of the master secret that a database begins with.
    pub const FIRST: KeyVersion = KeyVersion(1);
}

impl fmt::Display for KeyVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}
