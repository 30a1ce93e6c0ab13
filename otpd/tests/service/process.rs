//! The built server as a process of its own, with a folder of its own, on a port of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use serde_json::Value;
use tempfile::TempDir;

/// What its `API_KEY` holds.
pub(crate) const KEY: &str = "process-0123456789-0123456789-0123456789";

/// A running server; it ends with its owner.
pub(crate) struct Process {
    pub(crate) url: String,
    child: Child,
    /// Taken when it is stopped.
    folder: Option<TempDir>,
    log: Option<JoinHandle<String>>,
}

/// The program, with nothing of this process's environment but where programs are found.
pub(crate) fn otpd(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_otpd"));
    #[expect(
        clippy::disallowed_methods,
        reason = "where programs are found is no setting of the product"
    )]
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.env_clear().env("PATH", path).current_dir(folder);
    command
}

impl Process {
    /// Starts a new server with these environment variables and waits until it is ready.
    pub(crate) fn start(variables: &[(&str, &str)]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), variables)
    }

    /// The same in a folder that is there already.
    pub(crate) fn start_in(folder: TempDir, variables: &[(&str, &str)]) -> Self {
        let mut command = otpd(folder.path());
        command.env("PORT", "0").env("API_KEY", KEY);
        let mut child = command
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = String::new();
        let url = loop {
            let line = lines
                .next()
                .unwrap_or_else(|| panic!("it ended: {said}"))
                .unwrap();
            said.push_str(&line);
            said.push('\n');
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if event["message"] == "otpd is ready" {
                break event["url"].as_str().unwrap().to_owned();
            }
        };
        // What it says from now on is read, so that it never waits for us.
        let rest = std::thread::spawn(move || {
            let lines = lines.map_while(Result::ok);
            lines.fold(said, |said, line| said + &line + "\n")
        });
        Self {
            url,
            child,
            folder: Some(folder),
            log: Some(rest),
        }
    }

    /// Where it keeps what it keeps.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.as_ref().unwrap().path()
    }

    /// Asks it for a page; the status and the body.
    pub(crate) fn get(&self, path: &str, key: Option<&str>) -> (u16, String) {
        let key = key.map_or_else(String::new, |key| {
            format!("Authorization: Bearer {key}\r\n")
        });
        self.send("GET", path, &key, "")
    }

    /// Sends it JSON, as anybody can; the status and the body.
    #[allow(
        dead_code,
        reason = "one of the two test binaries that share this file posts"
    )]
    pub(crate) fn post(&self, path: &str, body: &str) -> (u16, String) {
        let length = body.len();
        let headers = format!("Content-Type: application/json\r\nContent-Length: {length}\r\n");
        self.send("POST", path, &headers, body)
    }

    fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
        let address = self.url.strip_prefix("http://").unwrap();
        let mut socket = TcpStream::connect(address).unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n{body}"
        );
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    /// Asks it to end, waits until it has, and returns all that it logged.
    pub(crate) fn stop(mut self) -> (TempDir, String) {
        // By the shell's own `kill`, which every machine has.
        let kill = format!("kill -TERM {}", self.child.id());
        let asked = Command::new("sh").args(["-c", &kill]).status();
        assert!(asked.unwrap().success());
        assert!(self.child.wait().unwrap().success());
        let log = self.log.take().unwrap().join().unwrap();
        (self.folder.take().unwrap(), log)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
