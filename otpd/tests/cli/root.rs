//! The root administrator: given once at the first start, made anew offline.

use std::fs;
use std::process::Command;

use otp::uri::{Kind, OtpauthUri};
use otp::{Totp, hotp};
use serde_json::{Value, json};

use crate::process::{Process, otpd};
use crate::qr::seen;

/// What somebody who reads the page knows of root.
pub(crate) struct Root {
    pub(crate) password: String,
    pub(crate) uri: String,
    pub(crate) recovery: Vec<String>,
}

impl Root {
    pub(crate) fn read(text: &str) -> Self {
        let after = |label: &str| {
            let line = text
                .lines()
                .find_map(|line| Some(line.split_once(label)?.1));
            line.unwrap_or_else(|| panic!("{label} in {text}"))
                .trim()
                .to_owned()
        };
        assert_eq!(after("User:"), "root");
        let words = || text.split_whitespace();
        let code = |word: &&str| word.len() == 19 && word.matches('-').count() == 3;
        Self {
            password: after("Password:"),
            uri: words()
                .find(|word| word.starts_with("otpauth://"))
                .unwrap()
                .to_owned(),
            recovery: words().filter(code).map(str::to_owned).collect(),
        }
    }

    /// The code of now, or that many steps later.
    fn code(&self, steps: u64) -> String {
        let uri = OtpauthUri::parse(&self.uri).unwrap();
        let Kind::Totp { period } = uri.kind else {
            panic!("root has a TOTP device");
        };
        let now = store::Clock::now(&otpd::system::SystemClock).seconds();
        let step = Totp { period, t0: 0 }.step_at(now).unwrap() + steps;
        let code = hotp(&uri.secret, uri.algorithm, uri.digits, step);
        code.to_text().to_string()
    }
}

/// Both steps of a login; the last status and answer.
fn log_in(server: &Server<'_>, password: &str, code: &str) -> (u16, Value) {
    let body = json!({ "username": "root", "password": password });
    let (status, waiting) = server.post("/login", &body);
    if status != 200 {
        return (status, waiting);
    }
    let body = json!({ "username": "root", "token": code, "mfa_token": waiting["mfa_token"] });
    server.post("/login-2fa", &body)
}

struct Server<'a>(&'a Process);

impl Server<'_> {
    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let (status, text) = self.0.post(path, &body.to_string());
        (status, serde_json::from_str(&text).unwrap())
    }
}

#[test]
fn root_logs_in_with_what_the_page_says_and_the_page_goes() {
    let server = Process::start(&[]);
    let page = server.folder().join("otpd-data/first-start.txt");
    let text = fs::read_to_string(&page).unwrap();
    let root = Root::read(&text);
    assert!(root.password.len() >= 20, "{}", root.password);
    assert_eq!(root.recovery.len(), 10);
    let blocks: Vec<&str> = text
        .lines()
        .filter(|line| line.contains(['█', '▀', '▄']))
        .collect();
    assert_eq!(seen(&blocks.join("\n")), root.uri, "the QR code is the URI");

    let (status, refused) = log_in(&Server(&server), "not the password", &root.code(0));
    assert_eq!(
        (status, refused["code"].as_str()),
        (401, Some("invalid_credentials"))
    );
    let (status, refused) = log_in(&Server(&server), &root.password, "000000");
    assert_eq!(
        (status, refused["code"].as_str()),
        (401, Some("invalid_otp"))
    );
    assert!(page.exists(), "nobody has logged in yet");
    let (status, session) = log_in(&Server(&server), &root.password, &root.code(0));
    assert_eq!(status, 200, "{session}");
    assert!(session["access_token"].is_string());
    assert!(!page.exists(), "it has been read");
    let (_folder, log) = server.stop();
    for secret in [&root.password, &root.uri, &root.recovery[0]] {
        assert!(!log.contains(secret.as_str()), "the log holds a secret");
    }
}

#[test]
fn a_page_that_was_read_goes_when_its_node_learns_of_it() {
    let server = Process::start(&[]);
    let page = server.folder().join("otpd-data/first-start.txt");
    let text = fs::read_to_string(&page).unwrap();
    let root = Root::read(&text);
    let (folder, _) = server.stop();
    let server = Process::start_in(folder, &[]);
    let (status, _) = log_in(&Server(&server), &root.password, "000000");
    assert_eq!(status, 401);
    let (folder, _) = server.stop();
    assert!(page.exists(), "nobody has logged in yet");

    let server = Process::start_in(folder, &[]);
    let (status, _) = log_in(&Server(&server), &root.password, &root.code(0));
    assert_eq!(status, 200);
    let (folder, _) = server.stop();
    // As at a node that did not run meanwhile.
    fs::write(&page, &text).unwrap();
    let server = Process::start_in(folder, &[]);
    let gone = "for turn in $(seq 400); do [ -e \"$0\" ] || exit 0; sleep 0.05; done; exit 1";
    let waited = Command::new("sh").args(["-c", gone]).arg(&page).status();
    assert!(waited.unwrap().success(), "it is still there");
    let (_folder, log) = server.stop();
    assert!(log.contains("root has logged in"), "{log}");
}

#[test]
fn root_is_made_anew_offline_and_the_old_one_ends() {
    let server = Process::start(&[]);
    let page = server.folder().join("otpd-data/first-start.txt");
    let old = Root::read(&fs::read_to_string(page).unwrap());
    let output = otpd(server.folder())
        .args(["root", "reset"])
        .output()
        .unwrap();
    assert!(!output.status.success(), "not while the server runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    let told = "root is made anew offline only: no call to a running server does it";
    assert!(
        errors.contains(told) && errors.contains("stop it first"),
        "{errors}"
    );
    assert!(!errors.contains("HTTP API"), "{errors}");
    let (folder, _) = server.stop();

    let output = otpd(folder.path())
        .args(["root", "reset"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let new = Root::read(&said);
    assert_ne!(new.password, old.password);
    assert_ne!(new.uri, old.uri);

    let server = Process::start_in(folder, &[]);
    let (status, _) = log_in(&Server(&server), &old.password, &old.code(0));
    assert_eq!(status, 401);
    let (status, _) = log_in(&Server(&server), &new.password, &old.code(0));
    assert_eq!(status, 401);
    let (status, session) = log_in(&Server(&server), &new.password, &new.code(0));
    assert_eq!(status, 200, "{session}");
}
