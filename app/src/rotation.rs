//! Changing the master secret: a new version is made known, taken into use, and everything is sealed anew.

use domain::{Action, DeviceId, Event, Origin, SealedKey};
use store::{Batch, MasterVersion, OwnKey, Store, StoreError};
use vault::{KeyVersion, Keyring, MasterSecret, Place};

use crate::judge::device_place;
use crate::room::{Room, RoomError};
use crate::{App, Error};

/// Stated once everything is sealed under that version: older secrets can go.
fn sealed_under(version: KeyVersion) -> String {
    format!("sealed-under-{version}")
}

/// Keys sealed anew per batch: a short slice between attempts.
const SLICE: i64 = 64;

impl Room {
    /// Refuses to work without a secret that stored keys may still be sealed under.
    pub(crate) async fn require_secrets(
        keyring: &Keyring,
        store: &Store,
        versions: &[MasterVersion],
    ) -> Result<(), RoomError> {
        let missing = versions
            .iter()
            .map(|version| KeyVersion(version.version))
            .find(|version| !keyring.holds(*version));
        let Some(missing) = missing else {
            return Ok(());
        };
        let active = keyring.active();
        match store.fact(&sealed_under(active)).await? {
            Some(_) => Ok(()),
            None => Err(RoomError::Unfinished { active, missing }),
        }
    }

    /// Makes a secret that the database does not know its next version, and takes it
    /// into use at once. For a database that no other process uses.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn adopt(
        &mut self,
        store: &Store,
        secret: &MasterSecret,
    ) -> Result<KeyVersion, RoomError> {
        let versions = store.master_versions().await?;
        let last = versions.iter().map(|version| version.version).max();
        let version = KeyVersion(last.unwrap_or(0) + 1);
        let known = self.keyring.add_version(version, secret)?;
        let now = store.now().await?;
        let mut batch = Batch::new();
        batch.insert_master(&MasterVersion {
            version: version.0,
            check: known.check,
            created_at: now,
            active_at: Some(now),
        });
        store.initialise(&batch).await?;
        self.keyring.activate(version)?;
        Ok(version)
    }
}

impl App {
    /// Records that a new master secret was taken into use.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn record_new_master(&self, version: KeyVersion) -> Result<(), Error> {
        let origin = Origin {
            caller: "server".into(),
            ..Origin::default()
        };
        let detail = serde_json::json!({ "version": version.0 });
        let mut batch = Batch::new();
        batch.record(Event::new(Action::MasterSecretChanged, true, &origin).with(&detail));
        self.store.commit(batch).await?;
        Ok(())
    }

    /// Seals anew what is still sealed under an older master secret, unless that was
    /// finished before.
    ///
    /// # Errors
    /// When the database fails or a key cannot be opened.
    pub(crate) async fn finish_new_master(&self) -> Result<(), Error> {
        let active = self.room.keyring.active();
        if self.store.fact(&sealed_under(active)).await?.is_some() {
            return Ok(());
        }
        let count = self.reseal().await?;
        if count > 0 {
            tracing::info!(
                count,
                "all keys are sealed under the new master secret: MASTER_SECRET_PREVIOUS is needed no more"
            );
        }
        Ok(())
    }

    /// Seals everything that is sealed under an older master secret under the active
    /// one, and states that it is done. Returns how many keys it was.
    ///
    /// # Errors
    /// When the database fails or a key cannot be opened.
    pub async fn reseal(&self) -> Result<u64, Error> {
        let count = self.reseal_all().await?;
        let active = self.room.keyring.active();
        let now = self.store.now().await?;
        let mut batch = Batch::new();
        batch.set_fact_once(&sealed_under(active), &now.to_string());
        match self.store.commit(batch).await {
            // Refused: stated before.
            Ok(_) | Err(StoreError::Refused(_)) => Ok(count),
            Err(error) => Err(error.into()),
        }
    }

    async fn reseal_all(&self) -> Result<u64, Error> {
        let mut count = self.reseal_own_keys().await?;
        let active = self.room.keyring.active().0;
        let mut after = DeviceId(0);
        loop {
            let rows = self.store.sealed_under_others(active, after, SLICE).await?;
            let Some(last) = rows.last() else {
                return Ok(count);
            };
            after = last.id;
            let mut batch = Batch::new();
            for row in &rows {
                let key = &row.key;
                let place = device_place(row.id.0);
                let fresh = self.reseal_one(place, key.version, &key.bytes)?;
                // The guard's lock keeps a batch of attempts from judging half a change.
                batch.lock(row.user);
                batch.reseal_device(row.id, key.version, &fresh);
            }
            self.store.commit(batch).await?;
            count += rows.len() as u64;
        }
    }

    async fn reseal_own_keys(&self) -> Result<u64, Error> {
        let active = self.room.keyring.active().0;
        let keys: Vec<OwnKey> = self.store.own_keys().await?;
        let mut batch = Batch::new();
        let mut count = 0;
        for key in keys.iter().filter(|key| key.version != active) {
            let place = Place {
                table: "own_keys",
                id: key.id,
                column: "sealed",
            };
            let fresh = self.reseal_one(place, key.version, &key.sealed)?;
            batch.reseal_own_key(key.id, key.version, fresh.version, &fresh.bytes);
            count += 1;
        }
        if count > 0 {
            self.store.commit(batch).await?;
        }
        Ok(count)
    }

    fn reseal_one(&self, place: Place<'_>, version: u32, bytes: &[u8]) -> Result<SealedKey, Error> {
        let keyring: &Keyring = &self.room.keyring;
        let random = self.room.random.as_ref();
        let sealed = keyring.reseal(place, KeyVersion(version), bytes, random)?;
        Ok(SealedKey {
            version: sealed.version.0,
            bytes: sealed.bytes,
        })
    }
}
