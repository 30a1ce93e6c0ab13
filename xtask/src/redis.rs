//! A Redis or Valkey server that keeps nothing and dies with its owner.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

/// How long a new server may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A running server; dropping it stops the server and removes its folder.
///
/// A small shell owns the server, as it does [`crate::postgres::Postgres`].
pub(crate) struct Redis {
    keeper: Child,
    folder: TempDir,
    port: u16,
}

impl Redis {
    /// Starts a server on a free port of 127.0.0.1 and waits until it answers.
    pub(crate) fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("otpd-redis-").tempdir()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let keeper = Command::new("sh")
            .args(["-c", include_str!("redis.sh"), "redis.sh"])
            .arg(folder.path())
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C in a terminal goes to a whole process group; the server is stopped in order instead.
            .process_group(0)
            .spawn()
            .context("cannot start a shell")?;
        let mut server = Self {
            keeper,
            folder,
            port,
        };
        server.wait_until_ready()?;
        Ok(server)
    }

    /// The address of the server.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let start = Instant::now();
        while !self.answers() {
            let ended = self.keeper.try_wait()?.is_some();
            if ended || start.elapsed() > START_LIMIT {
                let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                bail!("Redis did not start; its log:\n{log}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn answers(&self) -> bool {
        let ping = || -> std::io::Result<[u8; 5]> {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            stream.write_all(b"PING\r\n")?;
            let mut answer = [0; 5];
            stream.read_exact(&mut answer)?;
            Ok(answer)
        };
        ping().is_ok_and(|answer| answer == *b"+PONG")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        if let Err(error) = self.keeper.wait() {
            eprintln!("the throw-away Redis may still run: {error}");
        }
    }
}
