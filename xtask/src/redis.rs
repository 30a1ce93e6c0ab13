//! A Redis or Valkey server that keeps nothing and dies with its owner.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::Result;

use crate::keeper::{Keeper, free_port};

/// How long a new server may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A running server; dropping it stops the server and removes its folder.
pub(crate) struct Redis {
    _keeper: Keeper,
    port: u16,
}

impl Redis {
    /// Starts a server on a free port of 127.0.0.1 and waits until it answers.
    pub(crate) fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("otpd-redis-").tempdir()?;
        let port = free_port()?;
        let script = include_str!("redis.sh");
        let mut keeper = Keeper::start("Redis", script, folder, [port.to_string()])?;
        keeper.wait_until(|| Ok(answers(port)), |_| false, START_LIMIT)?;
        Ok(Self {
            _keeper: keeper,
            port,
        })
    }

    /// The address of the server.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

fn answers(port: u16) -> bool {
    let ping = || -> std::io::Result<[u8; 5]> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    };
    ping().is_ok_and(|answer| answer == *b"+PONG")
}
