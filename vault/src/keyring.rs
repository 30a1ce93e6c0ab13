//! The keyring: the master secrets that this node was given, by version, and all that is sealed with them.

use std::sync::atomic::{AtomicUsize, Ordering};

use zeroize::Zeroizing;

use crate::derive::{Material, Purpose};
use crate::error::{OpenError, UnlockError, VaultError};
use crate::instance::{InstanceId, KeyVersion};
use crate::mac::{Mac, same_hash};
use crate::master::{MasterSecret, check_value};
use crate::place::Place;
use crate::random::Random;
use crate::seal::{Sealed, Sealer};

/// A version of the master secret as the database knows it: by its check value alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownVersion {
    /// Its number.
    pub version: KeyVersion,
    /// What [`MasterSecret::check_value`] gave for it.
    pub check: [u8; 32],
}

/// What [`Keyring::unlock`] found.
pub struct Unlocked {
    /// Every given secret that the database knows.
    pub keyring: Keyring,
    /// Given secrets that the database does not know, each once, in the given order: candidates for a
    /// new version, see [`Keyring::add_version`].
    pub unknown: Vec<MasterSecret>,
}

/// The subkeys of the master secrets that this node holds. All are wiped on drop.
///
/// The set is settled at start; only which of them seals can change while the server runs.
pub struct Keyring {
    instance: InstanceId,
    /// Never empty and never shrinking, so that `active` always points into it.
    masters: Vec<Master>,
    active: AtomicUsize,
}

struct Master {
    known: KnownVersion,
    sealer: Sealer,
    device_birth: Mac,
}

impl Master {
    fn derive(material: &Material, known: KnownVersion) -> Master {
        Master {
            known,
            sealer: Sealer::new(&material.subkey(Purpose::MasterSeal)),
            device_birth: Mac::new(&material.subkey(Purpose::MasterDeviceBirth)),
        }
    }
}

impl Keyring {
    /// The keyring of a brand-new database: `secret` becomes [`KeyVersion::FIRST`].
    ///
    /// The caller stores [`Keyring::known`] and the active version before anything sealed.
    pub fn create(instance: InstanceId, secret: &MasterSecret) -> Keyring {
        let material = secret.material(instance);
        let known = KnownVersion {
            version: KeyVersion::FIRST,
            check: check_value(&material),
        };
        Keyring {
            instance,
            masters: vec![Master::derive(&material, known)],
            active: AtomicUsize::new(0),
        }
    }

    /// The keyring of an existing database: finds by check value which secret is which version.
    ///
    /// The order of `secrets` does not matter. Known versions without a secret are left out: what
    /// they sealed cannot be opened here ([`Keyring::holds`]).
    ///
    /// # Errors
    /// When the active version cannot be used; see [`UnlockError`] for who is to do what.
    pub fn unlock(
        instance: InstanceId,
        known: &[KnownVersion],
        active: KeyVersion,
        secrets: Vec<MasterSecret>,
    ) -> Result<Unlocked, UnlockError> {
        if !known.iter().any(|known| known.version == active) {
            return Err(UnlockError::ActiveUnknown { active });
        }
        if secrets.is_empty() {
            return Err(UnlockError::NoSecret);
        }
        let mut masters: Vec<Master> = Vec::with_capacity(known.len());
        let mut unknown: Vec<MasterSecret> = Vec::new();
        for secret in secrets {
            let material = secret.material(instance);
            let check = check_value(&material);
            match known.iter().find(|known| same_hash(&known.check, &check)) {
                Some(known) if masters.iter().any(|held| held.known == *known) => {}
                Some(known) => masters.push(Master::derive(&material, *known)),
                None if unknown
                    .iter()
                    .any(|other| same_hash(&other.check_value(instance), &check)) => {}
                None => unknown.push(secret),
            }
        }
        let position = masters.iter().position(|held| held.known.version == active);
        let Some(position) = position else {
            let given = masters.iter().map(|held| held.known.version).max();
            return Err(match given {
                Some(given) => UnlockError::OtherVersion { active, given },
                None => UnlockError::WrongSecret { active },
            });
        };
        let keyring = Keyring {
            instance,
            masters,
            active: AtomicUsize::new(position),
        };
        Ok(Unlocked { keyring, unknown })
    }

    /// Adds a new master secret under a version that the caller has reserved in the database, and
    /// returns what is to be stored for it. It seals nothing before [`Keyring::activate`].
    ///
    /// # Errors
    /// [`VaultError::VersionTaken`] or [`VaultError::SecretTaken`] when either is held already.
    pub fn add_version(
        &mut self,
        version: KeyVersion,
        secret: &MasterSecret,
    ) -> Result<KnownVersion, VaultError> {
        let material = secret.material(self.instance);
        let check = check_value(&material);
        for held in &self.masters {
            if held.known.version == version {
                return Err(VaultError::VersionTaken(version));
            }
            if same_hash(&held.known.check, &check) {
                return Err(VaultError::SecretTaken(held.known.version));
            }
        }
        let known = KnownVersion { version, check };
        self.masters.push(Master::derive(&material, known));
        Ok(known)
    }

    /// Seals with this version from now on. To be called when the database says so, which it does
    /// only when every live node holds the version.
    ///
    /// # Errors
    /// [`VaultError::VersionNotHeld`]; the version active before stays so.
    pub fn activate(&self, version: KeyVersion) -> Result<(), VaultError> {
        let position = self
            .masters
            .iter()
            .position(|held| held.known.version == version)
            .ok_or(VaultError::VersionNotHeld(version))?;
        // Relaxed: the index points into a list that nobody can change through a shared reference.
        self.active.store(position, Ordering::Relaxed);
        Ok(())
    }

    /// The version that seals now.
    pub fn active(&self) -> KeyVersion {
        self.active_master().known.version
    }

    /// Whether what this version sealed can be opened here.
    pub fn holds(&self, version: KeyVersion) -> bool {
        self.master(version).is_ok()
    }

    /// Every version held, as the database is to know it.
    pub fn known(&self) -> impl Iterator<Item = KnownVersion> {
        self.masters.iter().map(|held| held.known)
    }

    /// The database that this keyring belongs to.
    pub fn instance(&self) -> InstanceId {
        self.instance
    }

    /// Seals `plain` with the active version, bound to its place in this database.
    pub fn seal(&self, place: Place<'_>, plain: &[u8], random: &dyn Random) -> Sealed {
        let master = self.active_master();
        let version = master.known.version;
        let bound_to = place.binding(self.instance, version);
        Sealed {
            version,
            bytes: master.sealer.seal(&bound_to, plain, random),
        }
    }

    /// Opens a sealed value; the content is wiped on drop, but its type can be printed: what has a
    /// type of its own is opened by [`Keyring::open_secret`], [`Root::open`](crate::Root::open) or
    /// [`SigningSeed::open`](crate::SigningSeed::open).
    ///
    /// # Errors
    /// [`OpenError`]; nothing of the content is released then.
    pub fn open(
        &self,
        place: Place<'_>,
        version: KeyVersion,
        bytes: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let bound_to = place.binding(self.instance, version);
        self.master(version)?.sealer.open(&bound_to, bytes)
    }

    /// Seals a value again with the active version: rotation, without the content leaving this room.
    ///
    /// # Errors
    /// [`OpenError`] when it cannot be opened; the caller then leaves the row as it is.
    pub fn reseal(
        &self,
        place: Place<'_>,
        version: KeyVersion,
        bytes: &[u8],
        random: &dyn Random,
    ) -> Result<Sealed, OpenError> {
        let plain = self.open(place, version, bytes)?;
        Ok(self.seal(place, &plain, random))
    }

    /// Opens what must be a key of 32 bytes.
    pub(crate) fn open_key(
        &self,
        place: Place<'_>,
        version: KeyVersion,
        bytes: &[u8],
    ) -> Result<Zeroizing<[u8; 32]>, OpenError> {
        let plain = self.open(place, version, bytes)?;
        let mut key = Zeroizing::new([0; 32]);
        if plain.len() != key.len() {
            return Err(OpenError::Damaged);
        }
        key.copy_from_slice(&plain);
        Ok(key)
    }

    /// The state of the active version that new device keys are made with.
    pub(crate) fn device_birth(&self) -> &Mac {
        &self.active_master().device_birth
    }

    fn active_master(&self) -> &Master {
        &self.masters[self.active.load(Ordering::Relaxed)]
    }

    fn master(&self, version: KeyVersion) -> Result<&Master, OpenError> {
        self.masters
            .iter()
            .find(|held| held.known.version == version)
            .ok_or(OpenError::VersionNotHeld(version))
    }
}

#[cfg(test)]
pub(crate) mod samples {
    use super::*;

    pub(crate) const INSTANCE: InstanceId = InstanceId([9; 16]);
    pub(crate) const PLACE: Place<'static> = Place {
        table: "device_keys",
        id: 42,
        column: "secret",
    };

    /// A secret of 40 times the same letter.
    pub(crate) fn secret(letter: char) -> MasterSecret {
        MasterSecret::new(letter.to_string().repeat(40)).expect("long enough")
    }

    /// The keyring of a database made with the secret `a`.
    pub(crate) fn keyring() -> Keyring {
        Keyring::create(INSTANCE, &secret('a'))
    }
}

#[cfg(test)]
mod tests;
