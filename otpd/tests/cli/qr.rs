//! `otpd qr`: what the terminal shows is scanned as a phone would.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::first_start::on_a_terminal;
use crate::process::otpd;
use crate::screen::Screen;

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

/// A picture (PGM) of the terminal, and around it more of its light or dark ground.
fn photograph(modules: &[Vec<bool>], ground: bool) -> Vec<u8> {
    let width = modules.iter().map(Vec::len).max().unwrap() + 2 * AROUND;
    let height = modules.len() + 2 * AROUND;
    let mut picture = format!("P5 {} {} 255\n", width * SCALE, height * SCALE).into_bytes();
    for y in 0..height * SCALE {
        for x in 0..width * SCALE {
            let row = (y / SCALE)
                .checked_sub(AROUND)
                .and_then(|row| modules.get(row));
            let column = (x / SCALE).checked_sub(AROUND);
            let module = row.zip(column).and_then(|(row, column)| row.get(column));
            picture.push(if *module.unwrap_or(&ground) { 255 } else { 0 });
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

/// What a phone reads in the half blocks of a terminal with light ink, as most have it.
/// What stands beside them is not looked at.
pub(crate) fn seen(picture: &str) -> String {
    let end = |line: &str| line.trim_end_matches(|c| !"█▀▄".contains(c)).len();
    let lines: Vec<&str> = picture.lines().map(|line| &line[..end(line)]).collect();
    let modules = modules(&lines.join("\n"));
    scan(&photograph(&modules, false)).trim_end().to_owned()
}

/// What a phone reads on the whole screen of a terminal with a dark or a light ground.
pub(crate) fn seen_on(screen: &Screen, ground: bool) -> String {
    let picture = photograph(&screen.modules(ground), ground);
    scan(&picture).trim_end().to_owned()
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

#[test]
fn on_a_terminal_the_code_has_colours_of_its_own() {
    let uri =
        "otpauth://totp/alice?secret=JBSWY3DPEHPK3PXPJBSWY3DP&algorithm=SHA1&digits=6&period=30";
    let folder = tempfile::tempdir().unwrap();
    let said = on_a_terminal(folder.path(), &["qr", uri], &[]);
    let screen = Screen::after(&said);
    for ground in [false, true] {
        assert_eq!(seen_on(&screen, ground), uri, "light ground: {ground}");
    }
}
