//! Registering a device: the only time its key is shown.

use domain::{
    Action, Device, DeviceId, DeviceName, Event, Hot, Kind, Policy, SealedKey, State, Time, UserId,
    UserName,
};
use otp::{Algorithm, Digits, Secret, uri::OtpauthUri};
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use store::{Batch, NewDevice, Refusal, StoredDevice};
use zeroize::Zeroizing;

use crate::context::Context;
use crate::devices::{TRIES, period};
use crate::idempotency::{Kept, Reply, Turn};
use crate::judge::device_place;
use crate::{App, Error};

/// A device to be made, checked at the edge.
pub struct Registration {
    /// Its name.
    pub device: DeviceName,
    /// Whose it will be.
    pub user: UserName,
    /// The owner as the client wrote it, a JSON string or number.
    pub shown: Box<RawValue>,
    /// TOTP with its period, or HOTP.
    pub kind: Kind,
    /// Hash of its codes.
    pub algorithm: Algorithm,
    /// Length of its codes.
    pub digits: Digits,
    /// A named security level.
    pub policy: Option<String>,
    /// A name for people.
    pub label: Option<String>,
    /// Who issues the codes, when not the configured one.
    pub issuer: Option<String>,
    /// A key that the client brings along.
    pub secret: Option<Secret>,
    /// It waits for its first code before it is in force.
    pub require_confirmation: bool,
    /// Its current code may be read in debug mode.
    pub test: bool,
    /// Through which door it is made; `None` for the devices' own. Of another door a
    /// user has one device in force at most.
    pub door: Option<&'static str>,
}

/// What the one who registered is told, once.
#[derive(Serialize)]
pub struct Registered {
    /// The device's name.
    pub device_id: String,
    /// The key in base64.
    pub derived_key: String,
    /// The owner as the client wrote it.
    pub user_id: Box<RawValue>,
    /// The key in base32.
    pub secret: String,
    /// For the authenticator app.
    pub provisioning_uri: String,
    /// Hash of its codes.
    pub algorithm: &'static str,
    /// Length of its codes.
    pub digits: u8,
    /// Seconds per step; `null` for HOTP.
    pub period: Option<u32>,
    /// `active` or `pending`.
    pub status: &'static str,
    /// RFC 3339.
    pub created_at: String,
}

impl App {
    /// Makes a device. Its key is shown here and never again.
    ///
    /// # Errors
    /// [`Error::DeviceExists`], [`Error::TooManyDevices`].
    pub async fn register(
        &self,
        context: &Context,
        registration: &Registration,
    ) -> Result<Reply<Registered>, Error> {
        self.register_as(context, registration, |registered| registered)
            .await
    }

    /// The same, told in other words: what `view` makes of it is the answer, and what a
    /// repeated request gets.
    ///
    /// # Errors
    /// As [`App::register`], and [`Error::OtpEnabled`] at a door that has one already.
    pub(crate) async fn register_as<T: Serialize>(
        &self,
        context: &Context,
        registration: &Registration,
        view: fn(Registered) -> T,
    ) -> Result<Reply<T>, Error> {
        self.once(context, move |turn| async move {
            for _ in 0..TRIES {
                let done = self.try_register(context, registration, turn, view);
                if let Some(done) = done.await? {
                    return Ok(done);
                }
            }
            Err(Error::Busy)
        })
        .await
    }

    /// `None` when somebody else changed what this builds on.
    async fn try_register<T: Serialize>(
        &self,
        context: &Context,
        wanted: &Registration,
        turn: Turn<'_>,
        view: fn(Registered) -> T,
    ) -> Result<Option<T>, Error> {
        let now = self.store.now().await?;
        let mut batch = Batch::new();
        if let Some(old) = self.store.device(&wanted.device).await? {
            if old.device.state == State::Active {
                return Err(Error::DeviceExists);
            }
            batch.clear_dead_device(old.device.id, old.device.user);
        }
        let user = match self.store.user_by_name(&wanted.user).await? {
            Some(user) => {
                batch.lock(user);
                user
            }
            None => {
                let user = UserId(self.store.new_id().await?);
                batch.make_user(user, &wanted.user, now);
                user
            }
        };
        batch.require_room(user, self.settings.max_devices_per_user);
        if let Some(door) = wanted.door {
            batch.require_none_of_door(user, door);
        }
        let (new, registered) = self.make_device(wanted, user, now).await?;
        put_device(&mut batch, &new, context);
        let answer = view(registered);
        match turn.commit(batch, now, &answer, Kept::Secret).await? {
            Ok(()) => Ok(Some(answer)),
            Err(Refusal::DeviceExists) => Err(Error::DeviceExists),
            Err(Refusal::TooManyDevices) => Err(Error::TooManyDevices),
            Err(Refusal::DoorTaken) => Err(Error::OtpEnabled),
            Err(_) => Ok(None),
        }
    }

    /// A device that is about to be stored, and what is shown of it once.
    pub(crate) async fn make_device(
        &self,
        wanted: &Registration,
        user: UserId,
        now: Time,
    ) -> Result<(NewDevice, Registered), Error> {
        let id = DeviceId(self.store.new_id().await?);
        let room = &self.room;
        let born;
        let secret = if let Some(secret) = &wanted.secret {
            secret
        } else {
            born = room
                .keyring
                .birth_device_key(wanted.device.as_str(), room.random.as_ref());
            &born
        };
        let sealed = room
            .keyring
            .seal(device_place(id.0), secret.expose(), room.random.as_ref());
        let pending_ms = i64::try_from(self.settings.pending.as_millis()).unwrap_or(i64::MAX);
        let state = if wanted.require_confirmation {
            State::Pending(now.plus_millis(pending_ms))
        } else {
            State::Active
        };
        let device = Device {
            id,
            user,
            name: wanted.device.clone(),
            owner: wanted.user.canonical().to_owned(),
            kind: wanted.kind,
            algorithm: wanted.algorithm,
            digits: wanted.digits,
            policy: wanted.policy.clone(),
            state,
            key: SealedKey {
                version: sealed.version.0,
                bytes: sealed.bytes,
            },
            hot: Hot::default(),
        };
        let registered = self.shown_once(wanted, secret, state, now);
        let new = NewDevice {
            device,
            shown: wanted.shown.get().to_owned(),
            label: wanted.label.clone(),
            issuer: wanted.issuer.clone(),
            test: wanted.test,
            created_at: now,
            door: wanted.door,
        };
        Ok((new, registered))
    }

    fn shown_once(
        &self,
        wanted: &Registration,
        secret: &Secret,
        state: State,
        now: Time,
    ) -> Registered {
        let issuer = wanted.issuer.as_ref().unwrap_or(&self.settings.issuer);
        let uri = OtpauthUri {
            kind: uri_kind(wanted.kind),
            issuer: Some(issuer.clone()),
            account: account(wanted.label.as_ref(), wanted.shown.get()),
            secret: Secret::from_bytes(secret.expose().to_vec()),
            algorithm: wanted.algorithm,
            digits: wanted.digits,
        };
        Registered {
            device_id: wanted.device.as_str().to_owned(),
            derived_key: data_encoding::BASE64.encode(secret.expose()),
            user_id: wanted.shown.clone(),
            secret: secret.to_base32().to_string(),
            provisioning_uri: uri.to_uri().to_string(),
            algorithm: wanted.algorithm.as_str(),
            digits: wanted.digits.get(),
            period: period(wanted.kind),
            status: state.as_str(),
            created_at: now.to_rfc3339(),
        }
    }

    /// The URI of a stored device that nobody has used yet. Whoever asks has proved
    /// that it is theirs.
    pub(crate) fn stored_uri(&self, stored: &StoredDevice) -> Result<Zeroizing<String>, Error> {
        let device = &stored.device;
        let secret = self.room.keyring.open_secret(
            device_place(device.id.0),
            vault::KeyVersion(device.key.version),
            &device.key.bytes,
        )?;
        let issuer = stored.issuer.as_ref().unwrap_or(&self.settings.issuer);
        let uri = OtpauthUri {
            kind: uri_kind(device.kind),
            issuer: Some(issuer.clone()),
            account: account(stored.label.as_ref(), &stored.shown),
            secret,
            algorithm: device.algorithm,
            digits: device.digits,
        };
        Ok(uri.to_uri())
    }

    /// The security level of a registration, by its name.
    pub fn policy(&self, name: Option<&str>) -> Option<&Policy> {
        match name {
            None => Some(&self.settings.policies.default),
            Some(name) => self.settings.policies.named(name),
        }
    }
}

/// Stores a new device, and that it was registered.
pub(crate) fn put_device(batch: &mut Batch, new: &NewDevice, context: &Context) {
    let device = &new.device;
    let status = device.state.as_str();
    let event = Event::new(Action::DeviceRegistered, true, &context.origin())
        .about_user(device.user, &device.owner)
        .about_device(device.id, device.name.as_str())
        .with(&json!({ "kind": device.kind.as_str(), "status": status }));
    batch.insert_device(new);
    batch.record(event);
}

/// What the app shows: the label, or the owner as the client wrote it, a JSON string or
/// number.
fn account(label: Option<&String>, shown: &str) -> String {
    let name = || serde_json::from_str(shown).unwrap_or_else(|_| shown.to_owned());
    label.cloned().unwrap_or_else(name)
}

/// How a device that has accepted nothing yet counts.
fn uri_kind(kind: Kind) -> otp::uri::Kind {
    match kind {
        Kind::Totp { period } => otp::uri::Kind::Totp { period },
        Kind::Hotp => otp::uri::Kind::Hotp { counter: 0 },
    }
}
