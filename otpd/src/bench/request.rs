//! The requests of a run in wire form: built once, patched in place, sent as they stand.

use std::sync::Arc;

use super::args::ApiKey;
use super::client::Target;

/// Digits of a device's number in its name; fixed, so that every request has the same length.
const NUMBER_WIDTH: usize = 7;

/// Digits of a code.
const CODE_WIDTH: usize = 6;

/// What the names of a run's devices begin with.
pub(super) fn run_name(seed: [u8; 4]) -> String {
    format!("bench-{:08x}", u32::from_be_bytes(seed))
}

/// The name of device `number` of a run.
pub(super) fn device_id(run: &str, number: u32) -> String {
    format!("{run}-{number:0NUMBER_WIDTH$}")
}

/// What all requests of one run share.
#[derive(Debug)]
pub(super) struct Requests {
    target: Arc<Target>,
    key: ApiKey,
    /// Marks the devices of this run: `bench-<hex>`.
    run: String,
}

impl Requests {
    /// Requests to `target` in the name of `key`; `seed` sets this run's devices apart from all others.
    pub(super) fn new(target: Arc<Target>, key: ApiKey, seed: [u8; 4]) -> Self {
        let run = run_name(seed);
        Self { target, key, run }
    }

    /// The name of device `number`, which is its user's name too.
    fn device_id(&self, number: u32) -> String {
        device_id(&self.run, number)
    }

    /// `GET /livez`, which takes no credential.
    pub(super) fn livez(&self) -> Vec<u8> {
        let Target {
            authority, prefix, ..
        } = &*self.target;
        format!("GET {prefix}/livez HTTP/1.1\r\nHost: {authority}\r\n\r\n").into_bytes()
    }

    /// `POST /api/v1/devices/register` for a device with the defaults of RFC 6238 and a user of its own.
    pub(super) fn register(&self, number: u32) -> Vec<u8> {
        let id = self.device_id(number);
        let body = format!(
            r#"{{"device_id":"{id}","user_id":"{id}","algorithm":"SHA1","digits":{CODE_WIDTH},"period":30}}"#
        );
        self.with_body("POST", "/api/v1/devices/register", &body)
    }

    /// `DELETE /api/v1/devices/{device_id}`.
    pub(super) fn delete(&self, number: u32) -> Vec<u8> {
        let path = format!("/api/v1/devices/{}", self.device_id(number));
        self.with_body("DELETE", &path, "")
    }

    /// `POST /api/v1/otp/verify`, to be filled in for each verification.
    pub(super) fn verify(&self) -> VerifyRequest {
        let number = "0".repeat(NUMBER_WIDTH);
        let code = "0".repeat(CODE_WIDTH);
        let body = format!(r#"{{"device_id":"{}-{number}","otp":"{code}"}}"#, self.run);
        let bytes = self.with_body("POST", "/api/v1/otp/verify", &body);
        let code_at = bytes.len() - r#""}"#.len() - CODE_WIDTH;
        let number_at = code_at - r#"","otp":""#.len() - NUMBER_WIDTH;
        VerifyRequest {
            bytes,
            number_at,
            code_at,
        }
    }

    fn with_body(&self, method: &str, path: &str, body: &str) -> Vec<u8> {
        let Target {
            authority, prefix, ..
        } = &*self.target;
        format!(
            "{method} {prefix}{path} HTTP/1.1\r\nHost: {authority}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.key.expose(),
            body.len()
        )
        .into_bytes()
    }
}

/// A verification request in which only the device's number and the code change.
#[derive(Clone)]
pub(super) struct VerifyRequest {
    bytes: Vec<u8>,
    number_at: usize,
    code_at: usize,
}

impl VerifyRequest {
    /// The request for this device and code, in wire form.
    ///
    /// `code` is the six digits of the code.
    pub(super) fn filled(&mut self, number: u32, code: &str) -> &[u8] {
        let mut rest = number;
        for place in self.bytes[self.number_at..self.number_at + NUMBER_WIDTH]
            .iter_mut()
            .rev()
        {
            *place = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        let places = &mut self.bytes[self.code_at..self.code_at + CODE_WIDTH];
        for (place, digit) in places.iter_mut().zip(code.bytes()) {
            *place = digit;
        }
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests() -> Requests {
        let target = Target::resolve("http://127.0.0.1:8004/otp").unwrap();
        Requests::new(
            Arc::new(target),
            "otpd_k_s".parse().unwrap(),
            [0, 0, 0xab, 1],
        )
    }

    fn text(bytes: &[u8]) -> &str {
        str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_verification_is_patched_in_place() {
        let mut request = requests().verify();
        let head = "POST /otp/api/v1/otp/verify HTTP/1.1\r\nHost: 127.0.0.1:8004\r\nAuthorization: Bearer otpd_k_s\r\nContent-Type: application/json\r\nContent-Length: 53\r\n\r\n";
        let first = format!(r#"{head}{{"device_id":"bench-0000ab01-0001234","otp":"012345"}}"#);
        assert_eq!(text(request.filled(1_234, "012345")), first);
        let second = format!(r#"{head}{{"device_id":"bench-0000ab01-9999999","otp":"999999"}}"#);
        assert_eq!(text(request.filled(9_999_999, "999999")), second);
    }

    #[test]
    fn every_body_has_the_length_it_says() {
        let requests = requests();
        for bytes in [
            requests.register(7),
            requests.delete(7),
            requests.verify().filled(7, "123456").to_vec(),
        ] {
            let (head, body) = text(&bytes).split_once("\r\n\r\n").unwrap();
            let length = head.rsplit_once("Content-Length: ").unwrap().1;
            assert_eq!(length.parse(), Ok(body.len()), "{head}");
        }
    }

    #[test]
    fn the_same_name_is_used_throughout() {
        let requests = requests();
        assert!(text(&requests.register(42)).contains(
            r#""device_id":"bench-0000ab01-0000042","user_id":"bench-0000ab01-0000042""#
        ));
        assert!(
            text(&requests.delete(42))
                .starts_with("DELETE /otp/api/v1/devices/bench-0000ab01-0000042 HTTP/1.1")
        );
        assert!(!text(&requests.livez()).contains("Bearer"));
    }
}
