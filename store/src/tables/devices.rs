//! Devices: the cold facts and the hot numbers.

use domain::{Device, DeviceId, DeviceName, Guard, Hot, Kind, SealedKey, State, Time, UserId};

use super::users::guard;
use crate::Store;
use crate::batch::{Batch, Expect};
use crate::error::{Refusal, StoreError};
use crate::sql::statements;
use crate::value::{Row, params};

/// A device with its hot numbers and its user's guard, in the order that [`stored`] reads.
macro_rules! whole_device {
    () => {
        "SELECT d.id, d.user_id, d.name, d.owner, d.shown, d.kind, d.algorithm, d.digits,
           d.period, d.policy, d.label, d.issuer, d.test, d.key_version, d.sealed,
           d.created_at, d.pending_until, d.deactivated_at,
           h.next, h.used, h.last_used, h.drift_ms, h.replayed,
           g.failures, g.locked_until, g.disabled_at, g.days, g.recovery_from, g.recovery_tries,
           d.door
         FROM devices d JOIN device_hot h ON h.id = d.id JOIN guards g ON g.id = d.user_id "
    };
}

statements! {
    BY_NAME = concat!(whole_device!(), "WHERE d.name = $1");
    OF_USER = concat!(whole_device!(), "WHERE d.user_id = $1 AND d.id < $2 AND
                 (d.deactivated_at IS NOT NULL OR d.pending_until IS NULL OR d.pending_until > $3) AND
                 CAST($4 AS TEXT) IN ('', CASE WHEN d.deactivated_at IS NOT NULL THEN 'deactivated'
                   WHEN d.pending_until IS NOT NULL THEN 'pending' ELSE 'active' END)
               ORDER BY d.id DESC LIMIT $5");
    ALL_DEVICES = concat!(whole_device!(), "WHERE d.id < $1 AND
                 (d.deactivated_at IS NOT NULL OR d.pending_until IS NULL OR d.pending_until > $2) AND
                 CAST($3 AS TEXT) IN ('', CASE WHEN d.deactivated_at IS NOT NULL THEN 'deactivated'
                   WHEN d.pending_until IS NOT NULL THEN 'pending' ELSE 'active' END)
               ORDER BY d.id DESC LIMIT $4");
    OF_DOOR = concat!(whole_device!(), "WHERE d.user_id = $1 AND d.door = $2
                 ORDER BY d.id DESC LIMIT $3");
    /// How many are in force, and when one of them was last used.
    IN_FORCE = "SELECT CAST(COUNT(1) AS BIGINT), MAX(h.last_used)
                FROM devices d JOIN device_hot h ON h.id = d.id
                WHERE d.user_id = $1 AND d.deactivated_at IS NULL AND d.pending_until IS NULL";
    INSERT = "INSERT INTO devices (id, user_id, name, owner, shown, kind, algorithm, digits, period,
                policy, label, issuer, test, key_version, sealed, created_at, pending_until,
                deactivated_at, door)
              VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
                NULL, $18)
              ON CONFLICT (name) DO NOTHING";
    INSERT_HOT = "INSERT INTO device_hot (id, next, used, last_used, drift_ms, replayed)
                  VALUES ($1, 0, 0, NULL, 0, 0)";
    DEACTIVATE = "UPDATE devices SET deactivated_at = $2, pending_until = NULL
                  WHERE id = $1 AND deactivated_at IS NULL";
    CONFIRM = "UPDATE devices SET deactivated_at = deactivated_at
               WHERE id = $1 AND deactivated_at IS NOT NULL";
    DELETE = "DELETE FROM devices WHERE id = $1";
    DELETE_IF_DEAD = "DELETE FROM devices WHERE id = $1
                      AND (deactivated_at IS NOT NULL OR pending_until IS NOT NULL)";
    DELETE_HOT = "DELETE FROM device_hot WHERE id = $1";
    /// Issued codes stand for a factor: with the last one in force they are void.
    VOID_ISSUED = "DELETE FROM challenges WHERE user_id = $1 AND kind = 'issued' AND NOT EXISTS
                     (SELECT 1 FROM devices d WHERE d.user_id = $1
                      AND d.deactivated_at IS NULL AND d.pending_until IS NULL)";
    EXPIRED_PENDING = "SELECT id, user_id FROM devices
                       WHERE deactivated_at IS NULL AND pending_until <= $1
                       ORDER BY pending_until LIMIT $2";
    SEALED_UNDER_OTHERS = "SELECT id, user_id, key_version, sealed FROM devices
                           WHERE key_version <> $1 AND id > $2 ORDER BY id LIMIT $3";
    RESEAL = "UPDATE devices SET key_version = $3, sealed = $4 WHERE id = $1 AND key_version = $2";
}

/// A device with everything that is stored about it.
pub struct StoredDevice {
    /// What the judge sees of it.
    pub device: Device,
    /// The owner as the client wrote it: a JSON string or number.
    pub shown: String,
    /// A name for people.
    pub label: Option<String>,
    /// Who issues the codes, for the authenticator app.
    pub issuer: Option<String>,
    /// Its current code may be asked for in debug mode.
    pub test: bool,
    /// When it was registered.
    pub created_at: Time,
    /// The user's guess budget as it was when read.
    pub guard: Guard,
    /// Through which door it was made; `None` for the devices' own.
    pub door: Option<String>,
}

/// A device about to be stored.
pub struct NewDevice {
    /// What the judge will see of it; `hot` is ignored, a device starts at 0.
    pub device: Device,
    /// See [`StoredDevice::shown`].
    pub shown: String,
    /// See [`StoredDevice::label`].
    pub label: Option<String>,
    /// See [`StoredDevice::issuer`].
    pub issuer: Option<String>,
    /// See [`StoredDevice::test`].
    pub test: bool,
    /// When it is registered.
    pub created_at: Time,
    /// See [`StoredDevice::door`].
    pub door: Option<&'static str>,
}

/// A device key on its way to another master secret.
pub struct SealedRow {
    /// Whose key.
    pub id: DeviceId,
    /// Whose guard to lock.
    pub user: UserId,
    /// As stored.
    pub key: SealedKey,
}

/// Which part of the devices a list asks for.
pub struct DevicePage<'a> {
    /// Only of that user.
    pub user: Option<UserId>,
    /// Only in that state: `active`, `pending`, `deactivated`; empty for all.
    pub status: &'a str,
    /// Only devices made before that one.
    pub before: Option<DeviceId>,
    /// At most that many.
    pub limit: i64,
}

fn corrupt() -> StoreError {
    StoreError::Corrupt("a device row".into())
}

/// The facts of a device in the order of the columns of [`BY_NAME`], up to the hot ones.
pub(crate) struct Facts {
    pub kind: String,
    pub algorithm: String,
    pub digits: i64,
    pub period: i64,
    pub pending_until: Option<i64>,
    pub deactivated_at: Option<i64>,
}

impl Facts {
    pub(crate) fn kind(&self) -> Result<Kind, StoreError> {
        match self.kind.as_str() {
            "totp" => Ok(Kind::Totp {
                period: u32::try_from(self.period).map_err(|_| corrupt())?,
            }),
            "hotp" => Ok(Kind::Hotp),
            _ => Err(corrupt()),
        }
    }

    pub(crate) fn algorithm(&self) -> Result<otp::Algorithm, StoreError> {
        self.algorithm.parse().map_err(|_| corrupt())
    }

    pub(crate) fn digits(&self) -> Result<otp::Digits, StoreError> {
        u8::try_from(self.digits)
            .ok()
            .and_then(|digits| otp::Digits::new(digits).ok())
            .ok_or_else(corrupt)
    }

    pub(crate) fn state(&self) -> State {
        State::from_times(
            self.pending_until.map(Time::from_millis),
            self.deactivated_at.map(Time::from_millis),
        )
    }
}

fn stored(mut row: Row) -> Result<StoredDevice, StoreError> {
    let facts = Facts {
        kind: row.text(5)?,
        algorithm: row.text(6)?,
        digits: row.int(7)?,
        period: row.int(8)?,
        pending_until: row.maybe_int(16)?,
        deactivated_at: row.maybe_int(17)?,
    };
    Ok(StoredDevice {
        device: Device {
            id: DeviceId(row.int(0)?),
            user: UserId(row.int(1)?),
            name: DeviceName::parse(&row.text(2)?).map_err(|_| corrupt())?,
            owner: row.text(3)?,
            kind: facts.kind()?,
            algorithm: facts.algorithm()?,
            digits: facts.digits()?,
            policy: row.maybe_text(9)?,
            state: facts.state(),
            key: SealedKey {
                version: u32::try_from(row.int(13)?).map_err(|_| corrupt())?,
                bytes: row.bytes(14)?,
            },
            hot: Hot {
                next: row.int(18)?,
                used: row.int(19)?,
                last_used: row.maybe_time(20)?,
                drift_ms: row.int(21)?,
                replayed: row.int(22)?,
            },
        },
        shown: row.text(4)?,
        label: row.maybe_text(10)?,
        issuer: row.maybe_text(11)?,
        test: row.int(12)? != 0,
        created_at: row.time(15)?,
        guard: guard(
            row.int(23)?,
            row.maybe_int(24)?,
            row.maybe_int(25)?,
            &row.text(26)?,
            (row.maybe_int(27)?, row.int(28)?),
        )?,
        door: row.maybe_text(29)?,
    })
}

impl Store {
    /// The device of that name, whatever its state.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn device(&self, name: &DeviceName) -> Result<Option<StoredDevice>, StoreError> {
        let row = self.maybe_one(BY_NAME, params![name.as_str()]).await?;
        row.map(stored).transpose()
    }

    /// A page of devices, newest first, without the pending ones whose time is over.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn devices(
        &self,
        page: &DevicePage<'_>,
        now: Time,
    ) -> Result<Vec<StoredDevice>, StoreError> {
        let before = page.before.map_or(i64::MAX, |id| id.0);
        let rows = match page.user {
            Some(user) => {
                let params = params![user.0, before, now, page.status, page.limit];
                self.rows(OF_USER, params).await?
            }
            None => {
                let params = params![before, now, page.status, page.limit];
                self.rows(ALL_DEVICES, params).await?
            }
        };
        rows.into_iter().map(stored).collect()
    }

    /// A user's devices that were made at that door, newest first, `limit` at most.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn devices_of_door(
        &self,
        user: UserId,
        door: &str,
        limit: i64,
    ) -> Result<Vec<StoredDevice>, StoreError> {
        let rows = self.rows(OF_DOOR, params![user.0, door, limit]).await?;
        rows.into_iter().map(stored).collect()
    }

    /// How many devices of a user are in force, and when one of them was last used.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn devices_in_force(&self, user: UserId) -> Result<(i64, Option<Time>), StoreError> {
        let row = self.one(IN_FORCE, params![user.0]).await?;
        Ok((row.int(0)?, row.maybe_time(1)?))
    }

    /// Some pending devices whose time is over, with their users.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn expired_pending(
        &self,
        now: Time,
        limit: i64,
    ) -> Result<Vec<(DeviceId, UserId)>, StoreError> {
        let rows = self.rows(EXPIRED_PENDING, params![now, limit]).await?;
        rows.iter()
            .map(|row| Ok((DeviceId(row.int(0)?), UserId(row.int(1)?))))
            .collect()
    }

    /// Some device keys that are not sealed under that version, from `after` on.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn sealed_under_others(
        &self,
        version: u32,
        after: DeviceId,
        limit: i64,
    ) -> Result<Vec<SealedRow>, StoreError> {
        let params = params![i64::from(version), after.0, limit];
        let rows = self.rows(SEALED_UNDER_OTHERS, params).await?;
        rows.into_iter()
            .map(|mut row| {
                Ok(SealedRow {
                    id: DeviceId(row.int(0)?),
                    user: UserId(row.int(1)?),
                    key: SealedKey {
                        version: u32::try_from(row.int(2)?).map_err(|_| corrupt())?,
                        bytes: row.bytes(3)?,
                    },
                })
            })
            .collect()
    }
}

impl Batch {
    /// Stores a device; refused when its name is taken.
    pub fn insert_device(&mut self, new: &NewDevice) {
        let device = &new.device;
        let period = match device.kind {
            Kind::Totp { period } => i64::from(period),
            Kind::Hotp => 0,
        };
        let pending_until = match device.state {
            State::Pending(until) => Some(until),
            State::Active | State::Deactivated(_) => None,
        };
        let params = params![
            device.id.0,
            device.user.0,
            device.name.as_str(),
            device.owner.as_str(),
            new.shown.as_str(),
            device.kind.as_str(),
            device.algorithm.as_str(),
            i64::from(device.digits.get()),
            period,
            device.policy.clone(),
            new.label.clone(),
            new.issuer.clone(),
            i64::from(new.test),
            i64::from(device.key.version),
            device.key.bytes.as_slice(),
            new.created_at,
            pending_until,
            new.door,
        ];
        self.step(INSERT, params, Expect::One(Refusal::DeviceExists));
        self.step(
            INSERT_HOT,
            params![device.id.0],
            Expect::One(Refusal::Missing),
        );
    }

    /// Ends a device for good; refused when it has ended in the meantime.
    pub fn deactivate_device(&mut self, id: DeviceId, user: UserId, at: Time) {
        self.lock(user);
        let refusal = Refusal::DeviceChanged;
        self.step(DEACTIVATE, params![id.0, at], Expect::One(refusal));
        self.void_recovery_codes_for(id, user);
        self.void_issued(user);
    }

    /// Writes once more that a device has ended; refused when it has not, or is gone. Once this is
    /// committed, so is its end, wherever it was read before.
    pub fn confirm_end_of_device(&mut self, id: DeviceId, user: UserId) {
        self.lock(user);
        let refusal = Refusal::DeviceChanged;
        self.step(CONFIRM, params![id.0], Expect::One(refusal));
    }

    /// Removes a device and its key.
    pub fn delete_device(&mut self, id: DeviceId, user: UserId) {
        self.lock(user);
        self.step(DELETE_HOT, params![id.0], Expect::Any);
        self.step(DELETE, params![id.0], Expect::One(Refusal::DeviceChanged));
        self.void_recovery_codes_for(id, user);
        self.void_issued(user);
    }

    /// For whatever takes a device out of force: codes that wait do not come back to life
    /// with the next one.
    fn void_issued(&mut self, user: UserId) {
        self.step(VOID_ISSUED, params![user.0], Expect::Any);
    }

    /// Removes a device that is deactivated or pending; refused when it is in force.
    pub fn clear_dead_device(&mut self, id: DeviceId, user: UserId) {
        self.lock(user);
        let refusal = Refusal::DeviceChanged;
        self.step(DELETE_IF_DEAD, params![id.0], Expect::One(refusal));
        self.step(DELETE_HOT, params![id.0], Expect::Any);
        self.void_recovery_codes_for(id, user);
    }

    /// Puts a key sealed anew in the place of the one that was read.
    pub fn reseal_device(&mut self, id: DeviceId, from: u32, key: &SealedKey) {
        let version = i64::from(key.version);
        let params = params![id.0, i64::from(from), version, key.bytes.as_slice()];
        self.step(RESEAL, params, Expect::Any);
    }
}
