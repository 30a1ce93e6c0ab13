//! `otpd qr`: what the terminal shows is scanned as a phone would.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::process::otpd;

/// Pixels per module.
const SCALE: usize = 8;
/// Modules of the terminal's own background around what is printed.
const AROUND: usize = 6;

/// What `otpd qr` says about the text on its standard input.
fn drawn(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut child = otpd(folder.path())
        .arg("qr")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Each character as two modules, one above the other; true where the ink is.
fn modules(picture: &str) -> Vec<Vec<bool>> {
    let mut rows = Vec::new();
    for line in picture.lines() {
        let pair = |c: char| match c {
            '█' => (true, true),
            '▀' => (true, false),
            '▄' => (false, true),
            ' ' | '\u{a0}' => (false, false),
            other => panic!("{other:?} is no half block"),
        };
        rows.push(line.chars().map(|c| pair(c).0).collect());
        rows.push(line.chars().map(|c| pair(c).1).collect());
    }
    rows
}

/// A picture (PGM) of the terminal: light ink on a dark ground, as most have it.
fn photograph(modules: &[Vec<bool>]) -> Vec<u8> {
    let width = modules.iter().map(Vec::len).max().unwrap() + 2 * AROUND;
    let height = modules.len() + 2 * AROUND;
    let mut picture = format!("P5 {} {} 255\n", width * SCALE, height * SCALE).into_bytes();
    for y in 0..height * SCALE {
        for x in 0..width * SCALE {
            let row = (y / SCALE)
                .checked_sub(AROUND)
                .and_then(|row| modules.get(row));
            let column = (x / SCALE).checked_sub(AROUND);
            let ink = row.zip(column).and_then(|(row, column)| row.get(column));
            picture.push(if ink == Some(&true) { 255 } else { 0 });
        }
    }
    picture
}

fn scan(picture: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("terminal.pgm");
    std::fs::write(&file, picture).unwrap();
    let output = Command::new("zbarimg")
        .args(["--raw", "--quiet"])
        .arg(&file)
        .output()
        .expect("zbarimg is needed: the package zbar-tools");
    String::from_utf8(output.stdout).unwrap()
}

fn check(text: &str, uri: &str) {
    let said = drawn(text);
    let (picture, last) = said.trim_end().rsplit_once('\n').unwrap();
    assert_eq!(last, uri, "the URI stands below the picture");
    assert_eq!(seen(picture), uri);
}

/// What a phone reads in the half blocks of a terminal.
pub(crate) fn seen(picture: &str) -> String {
    let modules = modules(picture.trim_end_matches('\n'));
    scan(&photograph(&modules)).trim_end().to_owned()
}

#[test]
fn what_the_terminal_shows_can_be_scanned() {
    let short =
        "otpauth://totp/alice?secret=JBSWY3DPEHPK3PXPJBSWY3DP&algorithm=SHA1&digits=6&period=30";
    check(short, short);
    let answer = serde_json::json!({ "data": { "provisioning_uri": short } }).to_string();
    check(&answer, short);
    let secret = "GEZDGNBVGY3TQOJQ".repeat(8);
    let issuer = "A%20rather%20long%20name%20of%20an%20issuer";
    let long = format!(
        "otpauth://totp/{issuer}:somebody%40example.com?secret={secret}&issuer={issuer}&algorithm=SHA512&digits=8&period=60"
    );
    check(&long, &long);
}
