//! Devices: look at, deactivate, remove.

use domain::{Action, DeviceId, DeviceName, Event, Kind, State, Time, UserName};
use serde::Serialize;
use serde_json::value::RawValue;
use store::{Batch, DevicePage, StoredDevice};

use crate::context::Context;
use crate::idempotency::{Kept, Reply};
use crate::judge::device_place;
use crate::page::Page;
use crate::{App, Error};

/// Times that a change is tried again when the world has moved in between.
pub(crate) const TRIES: usize = 3;

/// What anybody with the right may see of a device: never its key.
#[derive(Serialize)]
pub struct DeviceView {
    /// The device's name.
    pub device_id: String,
    /// The owner as the client wrote it.
    pub user_id: Box<RawValue>,
    /// `totp` or `hotp`.
    pub kind: &'static str,
    /// Hash of its codes.
    pub algorithm: &'static str,
    /// Length of its codes.
    pub digits: u8,
    /// Seconds per step; `null` for HOTP.
    pub period: Option<u32>,
    /// A named security level.
    pub policy: Option<String>,
    /// A name for people.
    pub label: Option<String>,
    /// Who issues the codes.
    pub issuer: Option<String>,
    /// `active`, `pending` or `deactivated`.
    pub status: &'static str,
    /// In force.
    pub is_active: bool,
    /// Codes accepted.
    pub usage_count: i64,
    /// When the last one was.
    pub last_used: Option<String>,
    /// When it was registered.
    pub created_at: String,
    /// Since when it is not accepted.
    pub deactivated_at: Option<String>,
    /// The end of the user's lock.
    pub locked_until: Option<String>,
    /// The user's guesses are used up: the lock has no end, an administrator opens it.
    pub needs_unlock: bool,
    /// The user's wrong codes since the last right one.
    pub failed_attempts: u32,
    /// How far the device's clock is ahead, in seconds.
    pub drift_seconds: i64,
}

/// The answer to a deactivation.
#[derive(Serialize)]
pub struct Deactivated {
    /// The device's name.
    pub device_id: String,
    /// Always false.
    pub is_active: bool,
    /// Since when.
    pub deactivated_at: String,
}

/// The answer to a removal.
#[derive(Serialize)]
pub struct Deleted {
    /// The device's name.
    pub device_id: String,
    /// Always true.
    pub deleted: bool,
}

/// The current code of a test device.
#[derive(Serialize)]
pub struct TestCode {
    /// The device's name.
    pub device_id: String,
    /// Its code now.
    pub otp: String,
    /// Seconds that it stays the current one; `null` for HOTP.
    pub expires_in: Option<u32>,
}

/// What a list of devices asks for.
#[derive(Default)]
pub struct DeviceQuery {
    /// Only of that user.
    pub user: Option<UserName>,
    /// Only in that state.
    pub status: Option<String>,
    /// From where an earlier page ended.
    pub cursor: Option<String>,
    /// 1 to 200.
    pub limit: u32,
}

impl App {
    /// One device.
    ///
    /// # Errors
    /// [`Error::DeviceNotFound`].
    pub async fn device(&self, name: &DeviceName) -> Result<DeviceView, Error> {
        let now = self.store.now().await?;
        self.live_device(name, now).await?.as_view(now)
    }

    /// Devices, newest first.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a cursor that is none of ours.
    pub async fn devices(&self, query: &DeviceQuery) -> Result<Page<DeviceView>, Error> {
        let now = self.store.now().await?;
        let user = match &query.user {
            None => None,
            Some(name) => match self.store.user_by_name(name).await? {
                Some(user) => Some(user),
                None => return Ok(Page::empty()),
            },
        };
        let cursor = |text: &String| {
            let id = text.parse().ok().filter(|id| *id > 0);
            id.map(DeviceId)
                .ok_or_else(|| Error::invalid("?cursor", "This is not a cursor of this list."))
        };
        let before = query.cursor.as_ref().map(cursor).transpose()?;
        let page = DevicePage {
            user,
            status: query.status.as_deref().unwrap_or(""),
            before,
            limit: i64::from(query.limit) + 1,
        };
        let devices = self.store.devices(&page, now).await?;
        Page::cut(devices, query.limit, |device| {
            device.device.id.0.to_string()
        })
        .map(|device| device.as_view(now))
    }

    /// Ends a device for good; asking again gives the same answer.
    ///
    /// # Errors
    /// [`Error::DeviceNotFound`].
    pub async fn deactivate(
        &self,
        context: &Context,
        name: &DeviceName,
    ) -> Result<Reply<Deactivated>, Error> {
        self.once(context, move |turn| async move {
            for _ in 0..TRIES {
                let now = self.store.now().await?;
                let found = self.live_device(name, now).await?;
                if let State::Deactivated(at) = found.device.state {
                    let answer = deactivated(name, at);
                    // Kept too: the name may be registered again before a repetition
                    // comes, and that must not end the new device.
                    let mut batch = Batch::new();
                    batch.confirm_end_of_device(found.device.id, found.device.user);
                    if turn.commit(batch, now, &answer, Kept::Plain).await?.is_ok() {
                        return Ok(answer);
                    }
                    continue;
                }
                let mut batch = Batch::new();
                batch.deactivate_device(found.device.id, found.device.user, now);
                // Whoever holds the device may hold a session that it opened.
                self.end_all_sessions(&mut batch, found.device.user, now);
                batch.record(about(Action::DeviceDeactivated, &found, context));
                let answer = deactivated(name, now);
                if turn.commit(batch, now, &answer, Kept::Plain).await?.is_ok() {
                    return Ok(answer);
                }
            }
            Err(Error::Busy)
        })
        .await
    }

    /// Removes a device and its key.
    ///
    /// # Errors
    /// [`Error::DeviceNotFound`].
    pub async fn delete_device(
        &self,
        context: &Context,
        name: &DeviceName,
    ) -> Result<Deleted, Error> {
        for _ in 0..TRIES {
            let now = self.store.now().await?;
            let found = self.live_device(name, now).await?;
            let mut batch = Batch::new();
            batch.delete_device(found.device.id, found.device.user);
            self.end_all_sessions(&mut batch, found.device.user, now);
            batch.record(about(Action::DeviceDeleted, &found, context));
            match self.store.commit(batch).await {
                Ok(_) => {
                    return Ok(Deleted {
                        device_id: name.as_str().to_owned(),
                        deleted: true,
                    });
                }
                Err(store::StoreError::Refused(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Busy)
    }

    /// The current code of a device registered as a test device, in debug mode only.
    ///
    /// # Errors
    /// [`Error::NotFound`] outside debug mode, [`Error::NotATestDevice`].
    pub async fn test_code(
        &self,
        context: &Context,
        name: &DeviceName,
    ) -> Result<Reply<TestCode>, Error> {
        if !self.settings.test_codes() {
            return Err(Error::NotFound);
        }
        self.once(context, move |turn| async move {
            let now = self.store.now().await?;
            let found = self.live_device(name, now).await?;
            if !found.test {
                return Err(Error::NotATestDevice);
            }
            let answer = self.current_code(&found, now)?;
            let mut batch = Batch::new();
            batch.record(about(Action::TestCodeRead, &found, context));
            match turn.commit(batch, now, &answer, Kept::Secret).await? {
                Ok(()) => Ok(answer),
                Err(_) => Err(Error::Busy),
            }
        })
        .await
    }

    fn current_code(&self, found: &StoredDevice, now: Time) -> Result<TestCode, Error> {
        let device = &found.device;
        let key = self.room.keyring.open_secret(
            device_place(device.id.0),
            vault::KeyVersion(device.key.version),
            &device.key.bytes,
        )?;
        let (counter, expires_in) = match device.kind {
            Kind::Totp { period } => {
                let totp = otp::Totp { period, t0: 0 };
                let step = totp.step_at(now.seconds()).unwrap_or(0);
                (step, totp.remaining(now.seconds()))
            }
            Kind::Hotp => (u64::try_from(device.hot.next).unwrap_or(0), None),
        };
        let code = otp::hotp(&key, device.algorithm, device.digits, counter);
        Ok(TestCode {
            device_id: device.name.as_str().to_owned(),
            otp: code.to_text().to_string(),
            expires_in,
        })
    }

    /// A pending device whose time is over is gone, even if no job has removed it yet.
    async fn live_device(&self, name: &DeviceName, now: Time) -> Result<StoredDevice, Error> {
        let found = self.store.device(name).await?;
        found
            .filter(|found| !matches!(found.device.state, State::Pending(until) if until <= now))
            .ok_or(Error::DeviceNotFound)
    }
}

pub(crate) fn about(action: Action, found: &StoredDevice, context: &Context) -> Event {
    let device = &found.device;
    Event::new(action, true, &context.origin())
        .about_user(device.user, &device.owner)
        .about_device(device.id, device.name.as_str())
}

fn deactivated(name: &DeviceName, at: Time) -> Deactivated {
    Deactivated {
        device_id: name.as_str().to_owned(),
        is_active: false,
        deactivated_at: at.to_rfc3339(),
    }
}

pub(crate) fn period(kind: Kind) -> Option<u32> {
    match kind {
        Kind::Totp { period } => Some(period),
        Kind::Hotp => None,
    }
}

/// A stored device as clients see it.
pub(crate) trait AsView {
    fn as_view(&self, now: Time) -> Result<DeviceView, Error>;
}

impl AsView for StoredDevice {
    fn as_view(&self, now: Time) -> Result<DeviceView, Error> {
        let device = &self.device;
        let deactivated_at = match device.state {
            State::Deactivated(at) => Some(at),
            State::Pending(_) | State::Active => None,
        };
        let lock = self.guard.locked_until.filter(|until| *until > now);
        Ok(DeviceView {
            device_id: device.name.as_str().to_owned(),
            user_id: RawValue::from_string(self.shown.clone())?,
            kind: device.kind.as_str(),
            algorithm: device.algorithm.as_str(),
            digits: device.digits.get(),
            period: period(device.kind),
            policy: device.policy.clone(),
            label: self.label.clone(),
            issuer: self.issuer.clone(),
            status: device.state.as_str(),
            is_active: device.state == State::Active,
            usage_count: device.hot.used,
            last_used: device.hot.last_used.map(Time::to_rfc3339),
            created_at: self.created_at.to_rfc3339(),
            deactivated_at: deactivated_at.map(Time::to_rfc3339),
            locked_until: lock.map(Time::to_rfc3339),
            needs_unlock: self.guard.disabled_at.is_some(),
            failed_attempts: self.guard.failures,
            drift_seconds: device.hot.drift_ms / 1000,
        })
    }
}
