//! What can go wrong in the room, in sentences that an operator can act on and that hold no secret.

use thiserror::Error;

use crate::instance::KeyVersion;

/// A master secret or a change of the keyring was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum VaultError {
    /// Its check value in the database would let anyone who copies the database guess it offline.
    #[error(
        "the master secret is too short: it needs 32 characters or more, white space at its ends not \
         counted (make one with `openssl rand -base64 32`)"
    )]
    MasterSecretTooShort,
    /// Whoever sees one token signed with it can try guesses offline.
    #[error(
        "the shared secret for callers' tokens is too short: HS256 needs 32 bytes or more (RFC 7518, \
         section 3.2; make one with `openssl rand -base64 32`)"
    )]
    SharedSecretTooShort,
    /// A keyring never has two masters of one version.
    #[error("version {0} of the master secret is held already")]
    VersionTaken(KeyVersion),
    /// One secret under two numbers would look like a rotation and be none.
    #[error("the new master secret is the one already held as version {0}: choose another")]
    SecretTaken(KeyVersion),
    /// A version cannot be made active by a node that was not given its secret.
    #[error(
        "version {0} of the master secret was not given to this node: restart it with that secret"
    )]
    VersionNotHeld(KeyVersion),
}

/// A keyring could not be unlocked; the server must not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UnlockError {
    /// The caller passed no secret at all.
    #[error(
        "no master secret was given, and this database already has one: provide it as MASTER_SECRET"
    )]
    NoSecret,
    /// None of the given secrets is any version that this database knows.
    #[error(
        "the master secret does not belong to this database: it is not version {active}, with which \
         the stored keys are sealed; provide the secret that this database was made with"
    )]
    WrongSecret {
        /// The version that the database asks for.
        active: KeyVersion,
    },
    /// Only secrets of other versions were given.
    #[error(
        "the master secret given is version {given} of this database, which now uses version \
         {active}: provide version {active} as MASTER_SECRET and keep the other, while it is needed, \
         as MASTER_SECRET_PREVIOUS"
    )]
    OtherVersion {
        /// The version that the database asks for.
        active: KeyVersion,
        /// The highest version among the given secrets.
        given: KeyVersion,
    },
    /// The database itself is inconsistent.
    #[error(
        "the database names version {active} of the master secret as active but holds no check \
         value for it: the key table is damaged, restore it from a backup"
    )]
    ActiveUnknown {
        /// The version without a check value.
        active: KeyVersion,
    },
}

/// A sealed value could not be opened. Nothing of its content was released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OpenError {
    /// The secret that it is sealed with is missing.
    #[error(
        "the value is sealed with version {0} of the master secret, which was not given: provide it \
         as MASTER_SECRET_PREVIOUS"
    )]
    VersionNotHeld(KeyVersion),
    /// Authentication failed, or what was inside is not what belongs there.
    #[error("the sealed value is damaged, or was moved here from another row, column or database")]
    Damaged,
}
