//! Programs in other languages against the built server, as its users write them.

use std::path::PathBuf;
use std::process::Command;

use crate::process::{KEY, Process};

/// Runs a client's program against a new server; it must end well and say so.
#[track_caller]
fn run(interpreter: &str, program: &str) {
    let server = Process::start(&[]);
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/service/clients");
    let output = Command::new(interpreter)
        .arg(folder.join(program))
        .args([server.url.as_str(), KEY])
        .output()
        .unwrap_or_else(|error| panic!("{interpreter} is needed: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {errors}");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "done\n",
        "{program}"
    );
    assert_eq!(server.get("/api/v1/devices", Some(KEY)).0, 200);
    assert!(server.folder().join("otpd-data/otpd.db").exists());
    let (_folder, log) = server.stop();
    assert!(!log.contains("ERROR") && !log.contains(KEY), "{log}");
}

#[test]
fn the_old_python_client_works_unchanged() {
    run("python3", "enterprise.py");
}

#[test]
fn an_authenticator_made_of_pyotp_works_from_the_uri_alone() {
    run("python3", "authenticator.py");
}

#[test]
fn a_javascript_client_works() {
    run("node", "browserless.mjs");
}
