//! The opened vault of a running server: keyring, root key, checkpoint key, randomness.

use std::sync::Arc;

use store::{Batch, MasterVersion, OwnKey, Store, StoreError};
use vault::{
    InstanceId, KeyVersion, Keyring, KnownVersion, MasterSecret, Place, Random, Root, SigningKey,
    SigningSeed, UnlockError,
};

use domain::checkpoint::{hex, unhex};

const INSTANCE: &str = "instance";
const ROOT: &str = "root";
pub(crate) const CHECKPOINT: &str = "checkpoint";
const ROOT_ID: i64 = 1;
const CHECKPOINT_ID: i64 = 2;

/// What only the running server holds in the open.
pub struct Room {
    /// Seals and opens device keys.
    pub(crate) keyring: Keyring,
    /// MACs and hashes that outlive a master secret.
    pub(crate) root: Root,
    /// Signs checkpoints.
    pub(crate) checkpoint_key: SigningKey,
    /// The binary's source of randomness.
    pub(crate) random: Arc<dyn Random>,
}

/// Why the keys of a database cannot be opened: each a sentence for whoever starts
/// the server.
#[derive(Debug, thiserror::Error)]
pub enum RoomError {
    /// Reading or writing the database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The master secret is missing or wrong.
    #[error(transparent)]
    Unlock(#[from] UnlockError),
    /// A key of the server's own cannot be opened.
    #[error("a key of the server's own cannot be opened")]
    Open(#[from] vault::OpenError),
    /// The vault refused a new version.
    #[error(transparent)]
    Vault(#[from] vault::VaultError),
    /// A change of the master secret has not been finished.
    #[error(
        "the change to version {active} of the master secret is not finished, and keys may still \
         be sealed under version {missing}: give that one as MASTER_SECRET_PREVIOUS until the log \
         says that it is needed no more"
    )]
    Unfinished {
        /// The version in use.
        active: KeyVersion,
        /// A version that was not given.
        missing: KeyVersion,
    },
    /// What is stored is not what this server wrote.
    #[error("the database is damaged: {0}")]
    Damaged(&'static str),
    /// There is no instance in this database yet.
    #[error("the database is empty: start the server once before using this command")]
    Empty,
}

/// The highest id that a key had before ids were given out in blocks.
pub(crate) const LAST_FIXED_ID: i64 = CHECKPOINT_ID;

/// What the seal of one of the server's own keys is bound to.
pub(crate) fn place(id: i64) -> Place<'static> {
    Place {
        table: "own_keys",
        id,
        column: "sealed",
    }
}

impl Room {
    /// True for a database in which no keys have been made yet.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn is_new(store: &Store) -> Result<bool, StoreError> {
        Ok(store.fact(INSTANCE).await?.is_none())
    }

    /// Makes instance, first master version, root key and checkpoint key.
    ///
    /// # Errors
    /// When the database cannot be written, or another process was faster.
    pub async fn create(
        store: &Store,
        secret: &MasterSecret,
        random: Arc<dyn Random>,
    ) -> Result<Self, RoomError> {
        let instance = InstanceId::generate(random.as_ref());
        let keyring = Keyring::create(instance, secret);
        let root = Root::generate(random.as_ref());
        let seed = SigningSeed::generate(random.as_ref());
        let checkpoint_key = SigningKey::from_seed(&seed);
        let now = store.now().await?;
        let mut batch = Batch::new();
        batch.set_fact_once(INSTANCE, &hex(&instance.0));
        for known in keyring.known() {
            batch.insert_master(&MasterVersion {
                version: known.version.0,
                check: known.check,
                created_at: now,
                active_at: Some(now),
            });
        }
        let root_sealed = root.seal(&keyring, place(ROOT_ID), random.as_ref());
        let seed_sealed = seed.seal(&keyring, place(CHECKPOINT_ID), random.as_ref());
        let public = Some(checkpoint_key.public().to_vec());
        for (id, purpose, sealed, public) in [
            (ROOT_ID, ROOT, root_sealed, None),
            (CHECKPOINT_ID, CHECKPOINT, seed_sealed, public),
        ] {
            batch.insert_own_key(&OwnKey {
                id,
                purpose: purpose.into(),
                version: sealed.version.0,
                sealed: sealed.bytes,
                public,
                created_at: now,
                active_at: Some(now),
                retired_at: None,
            });
        }
        store.initialise(&batch).await?;
        Ok(Self {
            keyring,
            root,
            checkpoint_key,
            random,
        })
    }

    /// Opens the keys of an existing database. A secret that the database does not know
    /// becomes a new version when another one given is the active one.
    ///
    /// # Errors
    /// [`RoomError::Unlock`] when the secrets do not belong to the database.
    pub async fn open(
        store: &Store,
        secrets: Vec<MasterSecret>,
        random: Arc<dyn Random>,
    ) -> Result<(Self, Vec<MasterSecret>), RoomError> {
        let instance = store.fact(INSTANCE).await?.ok_or(RoomError::Empty)?;
        let instance = unhex(&instance).ok_or(RoomError::Damaged("the instance id"))?;
        let versions = store.master_versions().await?;
        let active = versions
            .iter()
            .filter(|version| version.active_at.is_some())
            .map(|version| KeyVersion(version.version))
            .max()
            .ok_or(RoomError::Damaged("no master secret is active"))?;
        let known: Vec<KnownVersion> = versions.iter().map(known).collect();
        let unlocked = Keyring::unlock(InstanceId(instance), &known, active, secrets)?;
        let keyring = unlocked.keyring;
        Self::require_secrets(&keyring, store, &versions).await?;
        let own = store.own_keys().await?;
        let find = |purpose: &str| own.iter().find(|key| key.purpose == purpose);
        let root = find(ROOT).ok_or(RoomError::Damaged("the root key is missing"))?;
        let root = Root::open(
            &keyring,
            place(root.id),
            KeyVersion(root.version),
            &root.sealed,
        )?;
        let seed = find(CHECKPOINT).ok_or(RoomError::Damaged("the checkpoint key is missing"))?;
        let version = KeyVersion(seed.version);
        let seed = SigningSeed::open(&keyring, place(seed.id), version, &seed.sealed)?;
        let room = Self {
            checkpoint_key: SigningKey::from_seed(&seed),
            keyring,
            root,
            random,
        };
        Ok((room, unlocked.unknown))
    }

    /// The database this room belongs to.
    pub fn instance(&self) -> [u8; 16] {
        self.keyring.instance().0
    }

    /// The public half of the key that signs checkpoints.
    pub(crate) fn checkpoint_public(&self) -> [u8; 32] {
        self.checkpoint_key.public()
    }
}

fn known(version: &MasterVersion) -> KnownVersion {
    KnownVersion {
        version: KeyVersion(version.version),
        check: version.check,
    }
}
