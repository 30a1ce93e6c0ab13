//! Single facts about the database, the versions of the master secret, the server's own keys.

use domain::Time;

use crate::Store;
use crate::batch::{Batch, Expect};
use crate::error::{Refusal, StoreError};
use crate::sql::statements;
use crate::value::{Row, params};

statements! {
    FACT = "SELECT value FROM meta WHERE name = $1";
    SET_FACT_ONCE = "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
    MASTER_KEYS = "SELECT version, check_value, created_at, active_at FROM master_keys ORDER BY version";
    INSERT_MASTER = "INSERT INTO master_keys (version, check_value, created_at, active_at)
                     VALUES ($1, $2, $3, $4) ON CONFLICT (version) DO NOTHING";
    OWN_KEYS = "SELECT id, purpose, key_version, sealed, public_key, created_at, active_at, retired_at
                FROM own_keys ORDER BY id";
    INSERT_OWN = "INSERT INTO own_keys (id, purpose, key_version, sealed, public_key, created_at,
                    active_at, retired_at)
                  VALUES ($1, $2, $3, $4, $5, $6, $7, NULL) ON CONFLICT (id) DO NOTHING";
    RESEAL_OWN = "UPDATE own_keys SET key_version = $3, sealed = $4 WHERE id = $1 AND key_version = $2";
    TAKE_IDS = "INSERT INTO id_blocks (kind, next) VALUES ('all', CAST($1 AS BIGINT) + 1)
                ON CONFLICT (kind) DO UPDATE SET next = id_blocks.next + CAST($1 AS BIGINT)
                RETURNING next";
}

/// A version of the master secret as the database knows it.
#[derive(Clone, Debug)]
pub struct MasterVersion {
    /// From 1.
    pub version: u32,
    /// Keyed check value.
    pub check: [u8; 32],
    /// When it was first seen.
    pub created_at: Time,
    /// Since when new keys are sealed under it; the highest such version is active.
    pub active_at: Option<Time>,
}

/// A sealed key of the server's own.
#[derive(Clone, Debug)]
pub struct OwnKey {
    /// Its id, which the seal is bound to.
    pub id: i64,
    /// What it is for.
    pub purpose: String,
    /// The master secret it is sealed under.
    pub version: u32,
    /// Nonce, ciphertext and tag.
    pub sealed: Vec<u8>,
    /// The public half, of a signing key.
    pub public: Option<Vec<u8>>,
    /// When it was made.
    pub created_at: Time,
    /// Since when it is used.
    pub active_at: Option<Time>,
    /// Since when it is not used for anything new.
    pub retired_at: Option<Time>,
}

fn version(number: i64) -> Result<u32, StoreError> {
    u32::try_from(number).map_err(|_| StoreError::Corrupt("a key version".into()))
}

/// A key from its columns in the order of [`OWN_KEYS`].
pub(crate) fn own_key(mut row: Row) -> Result<OwnKey, StoreError> {
    Ok(OwnKey {
        id: row.int(0)?,
        purpose: row.text(1)?,
        version: version(row.int(2)?)?,
        sealed: row.bytes(3)?,
        public: row.maybe_bytes(4)?,
        created_at: row.time(5)?,
        active_at: row.maybe_time(6)?,
        retired_at: row.maybe_time(7)?,
    })
}

impl Store {
    /// A fact by its name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn fact(&self, name: &str) -> Result<Option<String>, StoreError> {
        let row = self.maybe_one(FACT, params![name]).await?;
        row.map(|mut row| row.text(0)).transpose()
    }

    /// All versions of the master secret, ascending.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn master_versions(&self) -> Result<Vec<MasterVersion>, StoreError> {
        let rows = self.rows(MASTER_KEYS, params![]).await?;
        rows.into_iter()
            .map(|mut row| {
                Ok(MasterVersion {
                    version: version(row.int(0)?)?,
                    check: row.fixed(1)?,
                    created_at: row.time(2)?,
                    active_at: row.maybe_time(3)?,
                })
            })
            .collect()
    }

    /// The server's own keys, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn own_keys(&self) -> Result<Vec<OwnKey>, StoreError> {
        let rows = self.rows(OWN_KEYS, params![]).await?;
        rows.into_iter().map(own_key).collect()
    }
}

impl Batch {
    /// States a fact; refused when it is stated already.
    pub fn set_fact_once(&mut self, name: &str, value: &str) {
        let refusal = Refusal::Missing;
        self.step(SET_FACT_ONCE, params![name, value], Expect::One(refusal));
    }

    /// Makes a version of the master secret known.
    pub fn insert_master(&mut self, new: &MasterVersion) {
        let params = params![
            i64::from(new.version),
            new.check,
            new.created_at,
            new.active_at
        ];
        self.step(INSERT_MASTER, params, Expect::One(Refusal::Missing));
    }

    /// Stores a key of the server's own.
    pub fn insert_own_key(&mut self, key: &OwnKey) {
        let params = params![
            key.id,
            key.purpose.as_str(),
            i64::from(key.version),
            key.sealed.as_slice(),
            key.public.clone(),
            key.created_at,
            key.active_at,
        ];
        self.step(INSERT_OWN, params, Expect::One(Refusal::Missing));
    }

    /// Puts a key sealed anew in the place of the one that was read.
    pub fn reseal_own_key(&mut self, id: i64, from: u32, to: u32, sealed: &[u8]) {
        let params = params![id, i64::from(from), i64::from(to), sealed];
        self.step(RESEAL_OWN, params, Expect::Any);
    }
}
