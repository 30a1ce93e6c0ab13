//! The judge that the store's lanes are given: the rules of `domain` with the keys of the vault.

use std::sync::Arc;

use domain::chain::Link;
use domain::verify::{Attempt, Outcome, Secrets, User};
use domain::{ChallengeId, Device, Policies, Time};
use store::BatchFacts;
use vault::{KeyVersion, Place};

use crate::metrics::Metrics;
use crate::room::Room;

/// Table and column that a device key's seal is bound to.
pub(crate) fn device_place(device: i64) -> Place<'static> {
    Place {
        table: "devices",
        id: device,
        column: "sealed",
    }
}

pub(crate) struct Judge {
    pub room: Arc<Room>,
    pub policies: Policies,
    pub metrics: Arc<Metrics>,
}

impl store::Judge for Judge {
    fn attempt(&self, user: &mut User, attempt: &Attempt, now: Time) -> Outcome {
        domain::verify::attempt(user, attempt, now, &self.policies, self)
    }

    fn mac(&self, link: &Link) -> [u8; 16] {
        self.room.root.chain_mac(&link.0)
    }

    fn random(&self, buffer: &mut [u8]) {
        self.room.random.fill(buffer);
    }

    fn committed(&self, batch: &BatchFacts) {
        self.metrics.batch(batch);
    }
}

impl Secrets for Judge {
    fn open(&self, device: &Device) -> Option<otp::Secret> {
        let version = KeyVersion(device.key.version);
        let place = device_place(device.id.0);
        self.room
            .keyring
            .open_secret(place, version, &device.key.bytes)
            .inspect_err(|error| {
                tracing::error!(device = device.id.0, %error, "a device key cannot be opened");
            })
            .ok()
    }

    fn hash_code(&self, challenge: ChallengeId, code: &otp::Code) -> [u8; 32] {
        self.room.root.hash_code(challenge.0, &code.to_text())
    }
}
