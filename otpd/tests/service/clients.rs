//! Programs in other languages against the built server, as its users write them.

use std::path::PathBuf;
use std::process::Command;

use crate::process::{KEY, Process};

/// Shared by the server and the services beside it, as in the old days.
const SECRET: &str = "the-secret-of-all-sister-services-0123456789";

/// How the server calls itself in tokens.
const ISSUER: &str = "https://otp.example.com";

/// Runs a client's program against a new server, in the server's folder; it must end well
/// and say so.
#[track_caller]
fn run(interpreter: &str, program: &str) {
    let settings = [("SECRET_KEY", SECRET), ("OTPD_SERVER__PUBLIC_URL", ISSUER)];
    let server = Process::start(&settings);
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/service/clients");
    let output = Command::new(interpreter)
        .arg(folder.join(program))
        .args([server.url.as_str(), KEY])
        .envs([("SECRET_KEY", SECRET), ("ISSUER", ISSUER)])
        .env("PROGRAM", env!("CARGO_BIN_EXE_otpd"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(server.folder())
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
    let silent = ["ERROR", KEY, SECRET].iter().all(|it| !log.contains(it));
    assert!(silent, "{log}");
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

#[test]
fn a_client_of_a_users_own_otp_works_unchanged() {
    run("python3", "user_otp.py");
}

#[test]
fn a_sister_service_that_knows_the_shared_secret_alone_works() {
    run("python3", "sister.py");
}

#[test]
fn clients_of_three_generations_sign_up_and_log_in() {
    run("python3", "accounts.py");
}

#[test]
fn a_client_of_emailed_codes_logs_in_by_what_it_reads() {
    run("python3", "emailed.py");
}

#[test]
fn strangers_check_assertions_as_the_document_says() {
    run("python3", "assertion.py");
}

#[test]
fn the_programs_of_the_readme_work() {
    run("python3", "readme.py");
}
