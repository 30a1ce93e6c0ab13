//! Devices as their owners hold them: registered over HTTP, codes computed from the secret that was shown.

use otp::{Algorithm, Code, Digits, Secret, Totp, hotp};
use serde_json::{Value, json};

use super::http::{Answer, Client};
use super::surroundings::unix_seconds;

/// The steps around the present one that a wrong code must not match.
const NEAR: u64 = 40;

/// A registered device.
pub(crate) struct Device {
    /// Its name.
    pub id: String,
    /// Its owner's name.
    pub user: String,
    /// The secret in base32, as shown.
    pub base32: String,
    secret: Secret,
    digits: Digits,
    /// Seconds per step; `None` for a counter.
    period: Option<u32>,
}

impl Device {
    /// Registers a TOTP device.
    #[track_caller]
    pub(crate) fn totp(client: &mut Client, id: &str, user: &str) -> Self {
        Self::register(client, &json!({"device_id": id, "user_id": user}))
    }

    /// Registers a HOTP device of 8 digits, so that codes do not collide by chance.
    #[track_caller]
    pub(crate) fn hotp(client: &mut Client, id: &str, user: &str) -> Self {
        let body = json!({"device_id": id, "user_id": user, "kind": "hotp", "digits": 8});
        Self::register(client, &body)
    }

    /// Registers what the body says.
    #[track_caller]
    pub(crate) fn register(client: &mut Client, body: &Value) -> Self {
        Self::shown(&client.post("/api/v1/devices/register", body))
    }

    /// The authenticator of a person: all that is known of it is its URI.
    #[track_caller]
    pub(crate) fn of_uri(uri: &str) -> Self {
        let uri = otp::uri::OtpauthUri::parse(uri).expect("an otpauth URI");
        let otp::uri::Kind::Totp { period } = uri.kind else {
            panic!("people get TOTP");
        };
        Self {
            id: String::new(),
            user: uri.account,
            base32: uri.secret.to_base32().to_string(),
            secret: uri.secret,
            digits: uri.digits,
            period: Some(period),
        }
    }

    /// Reads the answer to a registration.
    #[track_caller]
    pub(crate) fn shown(answer: &Answer) -> Self {
        let answer = answer.expect(201);
        let data = &answer["data"];
        let text = |name: &str| data[name].as_str().expect("text").to_owned();
        let base32 = text("secret");
        let digits = data["digits"].as_u64().and_then(|n| u8::try_from(n).ok());
        Self {
            id: text("device_id"),
            user: text("user_id"),
            secret: Secret::from_base32(&base32).expect("base32"),
            base32,
            digits: Digits::new(digits.expect("a number")).expect("6 to 8"),
            period: data["period"].as_u64().and_then(|n| u32::try_from(n).ok()),
        }
    }

    /// The step of this moment; 0 for a counter.
    pub(crate) fn step(&self) -> u64 {
        let step = |period| Totp::new(period).step_at(unix_seconds());
        self.period.and_then(step).unwrap_or(0)
    }

    /// The code of a step or counter.
    pub(crate) fn code(&self, counter: u64) -> String {
        let code = hotp(&self.secret, Algorithm::Sha1, self.digits, counter);
        code.to_text().to_string()
    }

    /// The code that an app shows now.
    pub(crate) fn current(&self) -> String {
        self.code(self.step())
    }

    /// The key as bytes.
    pub(crate) fn key(&self) -> &[u8] {
        self.secret.expose()
    }

    /// The path of the device.
    pub(crate) fn path(&self) -> String {
        format!("/api/v1/devices/{}", self.id)
    }

    /// What is sent to have a code verified.
    pub(crate) fn question(&self, code: &str) -> Value {
        json!({"device_id": self.id, "otp": code})
    }

    /// Asks and gives the data of the answer.
    #[track_caller]
    pub(crate) fn verify(&self, client: &mut Client, code: &str) -> Value {
        let answer = client.post("/api/v1/otp/verify", &self.question(code));
        answer.expect(200)["data"].clone()
    }

    /// Asks and tells whether the code was accepted.
    #[track_caller]
    pub(crate) fn accepts(&self, client: &mut Client, code: &str) -> bool {
        self.verify(client, code)["valid"] == true
    }

    /// What the server tells of the device.
    #[track_caller]
    pub(crate) fn view(&self, client: &mut Client) -> Value {
        let answer = client.get(&self.path()).expect(200);
        if answer["data"].is_object() {
            answer["data"].clone()
        } else {
            answer
        }
    }
}

/// `count` codes that none of the devices shows, has shown lately or will show soon.
pub(crate) fn wrong_codes(devices: &[&Device], count: usize) -> Vec<String> {
    let digits = devices[0].digits;
    let mut right: Vec<Code> = Vec::new();
    for device in devices {
        let step = device.step();
        let near = step.saturating_sub(NEAR)..=step + NEAR;
        right.extend(near.map(|n| hotp(&device.secret, Algorithm::Sha1, digits, n)));
    }
    let all = (0..).map(|n| Code::from_integer(n * 37, digits).expect("short enough"));
    all.filter(|code| !right.iter().any(|other| other.equals(code)))
        .take(count)
        .map(|code| code.to_text().to_string())
        .collect()
}

/// A code that the device does not show.
pub(crate) fn wrong_code(device: &Device) -> String {
    wrong_codes(&[device], 1).remove(0)
}
