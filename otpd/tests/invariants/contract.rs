//! The running server against its own OpenAPI document: no 5xx, no answer that the document does not name.

use std::process::Command;

use crate::harness::surroundings::{length, variable};
use crate::harness::{ADMIN_KEY, Database, Engine, Node};

#[test]
fn contract_every_answer_is_a_documented_one() {
    let database = Database::new(Engine::Sqlite);
    let node = Node::new(&database)
        .with("DEBUG", "true")
        // Requests with wrong credentials are part of it.
        .with("OTPD_LIMITS__ADDRESS_FAILURES_PER_MINUTE", "1000000");
    let mut server = node.start();
    let examples = length(20, 200).to_string();
    let output = Command::new("schemathesis")
        .args(["run", &format!("http://{}/openapi.json", server.address)])
        .args(["--header", &format!("Authorization: Bearer {ADMIN_KEY}")])
        .args(["--checks", "all", "--continue-on-failure"])
        // Some rules have no JSON schema: characters that a name may not have, the length
        // of a device's codes, a header used before, names of policies, spans of time.
        .args(["--exclude-checks", "positive_data_acceptance"])
        .args(["--max-examples", &examples, "--seed", "1"])
        .args(["--generation-deterministic"])
        .args(["--no-color", "--workers", "1", "--request-timeout", "30"])
        .current_dir(database.folder())
        .envs(variable("PATH").map(|path| ("PATH", path)))
        .output()
        .expect("schemathesis is missing: run `cargo xtask test`, which installs it");
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(server.is_alive());
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
