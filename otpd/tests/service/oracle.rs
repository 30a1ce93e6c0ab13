//! Other people's programs, called to say whether what we made is what they understand.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

/// Runs a Python program with that JSON on its standard input; it must end well.
#[track_caller]
pub(crate) fn python(program: &str, input: &Value) {
    let mut child = Command::new("python3")
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3 is needed, with PyOTP: `cargo xtask test` installs both");
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.to_string().as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
}
