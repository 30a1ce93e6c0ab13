//! An authenticator: what a person holds after a registration, with codes of any time.

use otp::uri::{Kind, OtpauthUri};
use otp::{Algorithm, Digits, Secret, hotp};
use serde_json::{Value, json};

use crate::answer::{Answer, text};
use crate::harness::Server;

/// Steps on either side that no wrong code may belong to.
const FAR: u64 = 130;

/// A registered device as its owner knows it.
pub(crate) struct Device {
    pub(crate) id: String,
    pub(crate) uri: OtpauthUri,
}

impl Device {
    /// From the `data` of a registration, by its provisioning URI alone, as an app does.
    pub(crate) fn from_registration(data: &Value) -> Self {
        Self {
            id: text(data, "device_id").to_owned(),
            uri: OtpauthUri::parse(text(data, "provisioning_uri")).unwrap(),
        }
    }

    /// From a provisioning URI alone.
    pub(crate) fn from_uri(uri: &str) -> Self {
        Self {
            id: "unknown".into(),
            uri: OtpauthUri::parse(uri).unwrap(),
        }
    }

    fn step(&self, server: &Server) -> u64 {
        let seconds = u64::try_from(server.now().seconds()).unwrap();
        match self.uri.kind {
            Kind::Totp { period } => seconds / u64::from(period),
            Kind::Hotp { counter } => counter,
        }
    }

    /// The code of a counter or step.
    pub(crate) fn at(&self, counter: u64) -> String {
        let uri = &self.uri;
        hotp(&uri.secret, uri.algorithm, uri.digits, counter)
            .to_text()
            .to_string()
    }

    /// The code of now.
    pub(crate) fn code(&self, server: &Server) -> String {
        self.at(self.step(server))
    }

    /// The code that many steps from now.
    pub(crate) fn code_in(&self, server: &Server, steps: i64) -> String {
        self.at(self.step(server).checked_add_signed(steps).unwrap())
    }

    /// A code that is wrong now and was not right for an hour.
    pub(crate) fn wrong(&self, server: &Server) -> String {
        self.wrong_codes(server).next().unwrap()
    }

    /// Different wrong codes, without end.
    pub(crate) fn wrong_codes(&self, server: &Server) -> impl Iterator<Item = String> {
        let now = self.step(server);
        let near: Vec<String> = (now.saturating_sub(FAR)..now + FAR)
            .map(|step| self.at(step))
            .collect();
        let width = usize::from(self.uri.digits.get());
        (0_u32..)
            .map(move |number| format!("{number:0width$}"))
            .filter(move |code| !near.contains(code))
    }
}

impl Server {
    /// Registers a device with the defaults.
    pub(crate) async fn device(&self, id: &str, user: &str) -> Device {
        self.device_with(json!({ "device_id": id, "user_id": user }))
            .await
    }

    /// Registers a device as that body says.
    pub(crate) async fn device_with(&self, body: Value) -> Device {
        Device::from_registration(&self.register(body).await.data(201))
    }

    pub(crate) async fn register(&self, body: Value) -> Answer {
        self.post("/api/v1/devices/register", body).await
    }

    /// Verifies a code and returns the `data` of the answer.
    pub(crate) async fn verify(&self, device: &Device, code: &str) -> Value {
        let body = json!({ "device_id": device.id, "otp": code });
        self.post("/api/v1/otp/verify", body).await.data(200)
    }

    /// Whether a code is accepted.
    pub(crate) async fn accepts(&self, device: &Device, code: &str) -> bool {
        self.verify(device, code).await["valid"] == true
    }

    /// Fails so often, with different wrong codes, past the locks in between.
    pub(crate) async fn fail(&self, device: &Device, times: usize) -> Value {
        let mut last = Value::Null;
        let codes: Vec<String> = device.wrong_codes(self).take(times).collect();
        for code in codes {
            last = self.verify(device, &code).await;
        }
        last
    }

    pub(crate) async fn look(&self, id: &str) -> Value {
        self.get(&format!("/api/v1/devices/{id}")).await.data(200)
    }

    pub(crate) async fn deactivate(&self, id: &str) -> Answer {
        self.call("POST", &format!("/api/v1/devices/{id}/deactivate"))
            .await
    }
}

/// A key that a person brings along: 20 bytes, the ASCII digits of RFC 4226.
pub(crate) const RFC_SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

/// An authenticator for a key that was not taken from a URI.
pub(crate) fn own(secret: &str) -> Device {
    Device {
        id: "own".into(),
        uri: OtpauthUri {
            kind: Kind::Hotp { counter: 0 },
            issuer: None,
            account: "own".into(),
            secret: Secret::from_base32(secret).unwrap(),
            algorithm: Algorithm::default(),
            digits: Digits::default(),
        },
    }
}
