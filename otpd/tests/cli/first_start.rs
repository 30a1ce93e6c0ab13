//! The first start: the first API key is given once, to whom may read it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::process::{Process, otpd};
use crate::qr::seen_on;
use crate::root::Root;
use crate::screen::Screen;

/// Starts without an `API_KEY`, so that the key of the first start is the only one.
const NO_KEY: (&str, &str) = ("API_KEY", "");
const MASTER: (&str, &str) = ("MASTER_SECRET", "0123456789abcdef0123456789abcdef");

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// The credential in a text.
fn key_in(text: &str) -> Option<String> {
    let mut words = text.split_whitespace();
    let key = words.find_map(|word| word.strip_prefix("OTPD_KEY="))?;
    assert!(key.starts_with("otpd_"), "{key}");
    Some(key.to_owned())
}

#[test]
fn away_from_a_terminal_the_key_goes_into_a_private_file_and_comes_once() {
    let server = Process::start(&[NO_KEY]);
    let data = server.folder().join("otpd-data");
    assert_eq!(mode(&data), 0o700);
    for file in ["first-start.txt", "master.key"] {
        assert_eq!(mode(&data.join(file)), 0o600, "{file}");
    }
    let page = data.join("first-start.txt");
    let text = fs::read_to_string(&page).unwrap();
    let key = key_in(&text).expect("a key");
    assert_eq!(server.get("/api/v1/keys", Some(&key)).0, 200);
    assert_eq!(server.get("/api/v1/keys", None).0, 401);
    assert!(
        text.contains(&server.url),
        "commands to try, with the address: {text}"
    );
    let master = fs::read_to_string(data.join("master.key")).unwrap();
    assert!(master.trim().len() >= 32);
    let (folder, log) = server.stop();
    assert!(log.contains("first-start.txt"), "the log says where: {log}");
    assert!(!log.contains(&key), "and never what");
    assert!(!log.contains(master.trim()));

    fs::remove_file(&page).unwrap();
    let server = Process::start_in(folder, &[NO_KEY]);
    assert!(!page.exists(), "given once");
    assert_eq!(server.get("/api/v1/keys", Some(&key)).0, 200);
    assert_eq!(fs::read_to_string(data.join("master.key")).unwrap(), master);
}

/// The commands of a page.
fn commands(text: &str) -> Vec<&str> {
    let indented = text.lines().filter_map(|line| line.strip_prefix("  "));
    let begins = ["export OTPD_KEY=", "DEVICE=", "echo", "CODE=", "curl"];
    let is_command = |line: &&str| begins.iter().any(|begin| line.starts_with(begin));
    let commands: Vec<&str> = indented.filter(is_command).collect();
    assert_eq!(commands.len(), begins.len(), "{text}");
    commands
}

#[test]
fn the_commands_of_the_page_work_as_they_are_printed() {
    let server = Process::start(&[NO_KEY]);
    let page = server.folder().join("otpd-data/first-start.txt");
    let text = fs::read_to_string(page).unwrap();
    let commands = commands(&text);
    let shell = otpd(server.folder());
    let mut command = Command::new("sh");
    command.args(["-e", "-c", &commands.join("\n")]);
    command.env_clear().current_dir(server.folder());
    for (name, value) in shell.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    assert!(said.contains("otpauth://"), "{said}\n{errors}");
    assert!(said.contains(r#""valid":true"#), "{said}\n{errors}");
}

/// What the program says on a terminal; without arguments, in a server's first moments.
/// It lies in the folder, so that its path is as short as most.
pub(crate) fn on_a_terminal(
    folder: &Path,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> String {
    let shell = otpd(folder);
    let program = folder.join("target/release/otpd");
    if !program.exists() {
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        fs::copy(shell.get_program(), &program).unwrap();
    }
    let mut command = Command::new("python3");
    command.args(["-c", include_str!("terminal.py")]);
    command.arg(program).args(arguments);
    command.env_clear().current_dir(folder);
    for (name, value) in shell.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command.env("PORT", "0").envs(variables.iter().copied());
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn on_a_terminal_the_key_is_shown_once_and_in_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let said = on_a_terminal(folder.path(), &[], &[]);
    assert!(key_in(&said).is_some(), "{said}");
    assert!(!folder.path().join("otpd-data/first-start.txt").exists());
    let said = on_a_terminal(folder.path(), &[], &[]);
    assert_eq!(key_in(&said), None, "{said}");
}

#[test]
fn the_page_fits_on_one_screen_and_its_code_can_be_scanned() {
    let folder = tempfile::tempdir().unwrap();
    let variables = [("OTPD_LOG__FORMAT", "text")];
    let screen = Screen::after(&on_a_terminal(folder.path(), &[], &variables));
    let text = screen.text();
    let commands = commands(&text);
    assert!(commands[2].ends_with("./target/release/otpd qr"), "{text}");
    let root = Root::read(&text);
    assert!(root.password.len() >= 20, "{text}");
    assert_eq!(root.recovery.len(), 10, "{text}");
    for ground in [false, true] {
        assert_eq!(seen_on(&screen, ground), root.uri, "light ground: {ground}");
    }
    assert!(text.contains("Back up ./otpd-data/otpd.db"), "{text}");
}

#[test]
fn in_production_nothing_is_shown_on_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let said = on_a_terminal(folder.path(), &[], &[("ENVIRONMENT", "production"), MASTER]);
    assert_eq!(key_in(&said), None, "{said}");
    let page = folder.path().join("otpd-data/first-start.txt");
    assert_eq!(mode(&page), 0o600);
    assert!(key_in(&fs::read_to_string(page).unwrap()).is_some());
}

/// The page of a server with these settings, and what it answers at `/docs`.
fn page(variables: &[(&str, &str)]) -> (String, u16) {
    let server = Process::start(&[variables, &[NO_KEY]].concat());
    let page = server.folder().join("otpd-data/first-start.txt");
    let docs = server.get("/docs", None).0;
    (fs::read_to_string(page).unwrap(), docs)
}

#[test]
fn the_page_names_only_what_is_there() {
    fn check(variables: &[(&str, &str)], docs: bool, master: &str) {
        let (text, status) = page(variables);
        assert_eq!(status, if docs { 200 } else { 404 }, "{variables:?}");
        assert_eq!(text.contains("/docs"), docs, "{text}");
        assert!(text.contains(master), "{text}");
        let own_key = !variables.contains(&MASTER);
        assert_eq!(text.contains("master.key"), own_key, "{text}");
    }
    let production = ("ENVIRONMENT", "production");
    check(&[], true, "otpd-data/master.key");
    check(&[MASTER], true, "the master secret that you set");
    check(
        &[production, MASTER],
        false,
        "the master secret that you set",
    );
    check(&[production, MASTER, ("DEBUG", "true")], true, "you set");
}

#[test]
fn the_page_names_an_address_that_can_be_called() {
    fn check(variables: &[(&str, &str)], begin: &str) {
        let (text, _) = page(variables);
        let words = || text.split_whitespace();
        let urls = words().filter(|word| word.starts_with("http"));
        let urls: Vec<&str> = urls.collect();
        assert_eq!(urls.len(), 3, "{text}");
        assert!(urls.iter().all(|url| url.starts_with(begin)), "{text}");
    }
    let public = ("OTPD_SERVER__PUBLIC_URL", "https://otp.example.com/");
    check(&[("HOST", "0.0.0.0")], "http://127.0.0.1:");
    check(&[("HOST", "0.0.0.0"), public], "https://otp.example.com/");
    let nowhere = ("OTPD_SERVER__PUBLIC_URL", "http://0.0.0.0");
    check(&[nowhere], "http://127.0.0.1:");
}

#[test]
fn a_page_that_an_interrupted_first_start_left_behind_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("otpd-data");
    fs::create_dir(&data).unwrap();
    let page = data.join("first-start.txt");
    fs::write(&page, "old").unwrap();
    fs::set_permissions(&page, fs::Permissions::from_mode(0o644)).unwrap();
    let server = Process::start_in(folder, &[NO_KEY]);
    let text = fs::read_to_string(&page).unwrap();
    assert!(text.contains("otpd_") && !text.contains("old"), "{text}");
    assert_eq!(mode(&page), 0o600);
    drop(server);
}
