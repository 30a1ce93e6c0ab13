//! An example of what each call is sent and what it answers, for the OpenAPI document.
//!
//! They were had from a server; a test holds each against the description of its call.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;

use crate::table::Operation;

/// One call.
#[derive(Deserialize)]
pub(crate) struct Example {
    /// The body; a call that takes none has none.
    pub(crate) request: Option<Value>,
    /// The body of a success; a picture or plain text has none.
    pub(crate) answer: Option<Value>,
}

static EXAMPLES: LazyLock<HashMap<String, Example>> = LazyLock::new(|| {
    let parsed = serde_json::from_str(include_str!("examples.json"));
    parsed.expect("a test reads the file, which is part of the program")
});

/// What may stand in that variable part of a path.
pub(crate) fn of_part(name: &str) -> Option<&'static str> {
    match name {
        "device_id" => Some("alice-phone"),
        "user_id" | "username" => Some("alice"),
        _ => None,
    }
}

/// The example of a call.
pub(crate) fn of(operation: &Operation) -> Option<&'static Example> {
    EXAMPLES.get(&format!("{} {}", operation.method, operation.path))
}
