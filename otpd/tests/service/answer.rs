//! An answer and what tests ask of it.

use axum::http::{HeaderMap, HeaderName};
use serde_json::Value;

/// What came back.
pub(crate) struct Answer {
    pub(crate) request: String,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of a header; `None` when it is missing.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next();
        assert!(values.next().is_none(), "{name} twice: {}", self.request);
        value.map(|value| value.to_str().unwrap())
    }

    pub(crate) fn header_names(&self) -> impl Iterator<Item = &str> {
        self.headers.keys().map(HeaderName::as_str)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// The body, after the status is what was expected.
    #[track_caller]
    pub(crate) fn json(&self, status: u16) -> Value {
        let body = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{}: {body}", self.request);
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {body}"))
    }

    /// The `data` of a success.
    #[track_caller]
    pub(crate) fn data(&self, status: u16) -> Value {
        self.json(status)["data"].clone()
    }

    /// A problem, checked for the shape that all have; returns its body.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        let body = self.json(status);
        assert_eq!(body["code"], code, "{}: {body}", self.request);
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(body["status"], status);
        for member in ["type", "title", "detail"] {
            let value = body[member].as_str().unwrap_or_default();
            assert!(!value.is_empty(), "no {member}: {body}");
        }
        assert_eq!(body["request_id"].as_str(), self.header("x-request-id"));
        body
    }

    /// The pointers of a 422, sorted.
    #[track_caller]
    pub(crate) fn faults(&self) -> Vec<String> {
        let body = self.problem(422, "validation_failed");
        let errors = body["errors"].as_array().expect("a list of faults");
        let mut pointers: Vec<String> = errors.iter().map(fault).collect();
        pointers.sort();
        pointers
    }
}

fn fault(error: &Value) -> String {
    assert!(!text(error, "detail").is_empty(), "{error}");
    text(error, "pointer").to_owned()
}

/// A member that is a text.
#[track_caller]
pub(crate) fn text<'v>(value: &'v Value, member: &str) -> &'v str {
    let found = value[member].as_str();
    found.unwrap_or_else(|| panic!("no text {member}: {value}"))
}

/// The body with `[member]` in place of what differs from run to run, for snapshots.
pub(crate) fn shown(mut value: Value) -> Value {
    hide(&mut value);
    value
}

const CHANGING: [&str; 12] = [
    "request_id",
    "created_at",
    "deactivated_at",
    "expires_at",
    "revoked_at",
    "last_used",
    "locked_until",
    "timestamp",
    "secret",
    "derived_key",
    "provisioning_uri",
    "key",
];

fn hide(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if CHANGING.contains(&name.as_str()) && !member.is_null() {
                    *member = Value::String(format!("[{name}]"));
                } else {
                    hide(member);
                }
            }
        }
        Value::Array(members) => members.iter_mut().for_each(hide),
        _ => {}
    }
}
