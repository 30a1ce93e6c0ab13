//! A Redis or Valkey server of one test's own, that it may stop, freeze, flush and start again.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::keeper::{Frozen, Kept};
use super::surroundings::{until, variable};

/// How long it may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(30);

/// The server, running or not; dropping it stops it and removes its folder.
pub(crate) struct OwnRedis {
    /// First, for it has to end before its folder goes.
    running: Option<Kept>,
    folder: TempDir,
    port: u16,
    /// Where it speaks TLS besides, if it does.
    tls_port: Option<u16>,
}

impl OwnRedis {
    /// Makes one and starts it.
    pub(crate) fn new() -> Self {
        Self::with_tls(None)
    }

    /// Makes one that speaks TLS too, and gives the path of the certificate that its
    /// clients have to know.
    pub(crate) fn speaking_tls() -> (Self, PathBuf) {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let server = Self::with_tls(Some(port));
        let certificate = server.folder.path().join("server.pem");
        (server, certificate)
    }

    fn with_tls(tls_port: Option<u16>) -> Self {
        let folder = tempfile::Builder::new().prefix("otpd-own-redis-").tempdir();
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut server = Self {
            running: None,
            folder: folder.expect("a folder"),
            port: free.local_addr().expect("an address").port(),
            tls_port,
        };
        drop(free);
        if tls_port.is_some() {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
            let made = made.expect("a certificate");
            let write = |name: &str, text: String| {
                std::fs::write(server.folder.path().join(name), text).expect("a file");
            };
            write("server.pem", made.cert.pem());
            write("server.key", made.signing_key.serialize_pem());
        }
        server.start();
        server
    }

    /// Its address, over TLS where it speaks that.
    pub(crate) fn url(&self) -> String {
        match self.tls_port {
            Some(port) => format!("rediss://localhost:{port}"),
            None => format!("redis://127.0.0.1:{}", self.port),
        }
    }

    fn tls_words(&self) -> Vec<String> {
        let Some(port) = self.tls_port else {
            return Vec::new();
        };
        let words = format!(
            "--tls-port {port} --tls-cert-file server.pem --tls-key-file server.key \
             --tls-ca-cert-file server.pem --tls-auth-clients no"
        );
        words.split_whitespace().map(str::to_owned).collect()
    }

    /// Starts it, empty, and waits until it answers.
    pub(crate) fn start(&mut self) {
        let mut server = Command::new(program());
        server
            .args(["--port", &self.port.to_string()])
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(self.tls_words())
            .current_dir(self.folder.path());
        // It has nothing to keep.
        self.running = Some(Kept::start(&server, "KILL"));
        let answered = until(START_LIMIT, || {
            self.try_command("PING").filter(|it| it == "+PONG\r\n")
        });
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        assert!(answered.is_some(), "no answer; its log:\n{log}");
    }

    /// Kills it.
    pub(crate) fn stop(&mut self) {
        self.running = None;
    }

    /// Stops the world for it: connections stay open, nothing answers.
    pub(crate) fn freeze(&self) -> Frozen {
        self.running.as_ref().expect("a running server").freeze()
    }

    /// What it answers to a command, as it stands in the protocol.
    pub(crate) fn command(&self, line: &str) -> String {
        self.try_command(line).expect("an answer")
    }

    fn try_command(&self, line: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(START_LIMIT)).ok()?;
        // A second command ends the connection, and so the answer.
        stream
            .write_all(format!("{line}\r\nQUIT\r\n").as_bytes())
            .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.strip_suffix("+OK\r\n").map(str::to_owned)
    }
}

/// Redis, or Valkey where that is installed.
fn program() -> PathBuf {
    let path = variable("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let named = |name| folders.iter().map(move |folder| folder.join(name));
    let mut places = named("redis-server").chain(named("valkey-server"));
    let found = places.find(|place| place.is_file());
    found.expect("redis-server or valkey-server: `cargo xtask test` installs it")
}
