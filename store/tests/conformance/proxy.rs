//! A network between store and server that can be cut, or made to swallow answers.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It carries everything.
    Pass,
    /// Questions arrive, answers do not.
    Swallow,
    /// Every connection is closed, and every new one.
    Cut,
    /// As [`Mode::Cut`], but the server does not notice: it goes on with what it has.
    Part,
}

/// A port that leads to the server for as long as the network lets it.
pub struct Proxy {
    pub port: u16,
    mode: Arc<watch::Sender<Mode>>,
}

impl Proxy {
    /// Leads to the server of a `postgresql://` URL.
    pub async fn to(url: &str) -> Self {
        let config: tokio_postgres::Config = url.parse().unwrap();
        let host = match &config.get_hosts()[0] {
            tokio_postgres::config::Host::Tcp(host) => host.clone(),
            other => panic!("{other:?} is not reached over TCP"),
        };
        let server = (host, config.get_ports().first().copied().unwrap_or(5432));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mode = Arc::new(watch::Sender::new(Mode::Pass));
        let modes = Arc::clone(&mode);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if matches!(*modes.borrow(), Mode::Pass | Mode::Swallow) {
                    let server = TcpStream::connect(server.clone()).await.unwrap();
                    tokio::spawn(carry(client, server, modes.subscribe()));
                }
            }
        });
        Self { port, mode }
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

async fn carry(client: TcpStream, server: TcpStream, mut mode: watch::Receiver<Mode>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let answers = mode.clone();
    let forth = async {
        let mut buffer = vec![0; 65_536];
        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
            if to_server.write_all(&buffer[..length]).await.is_err() {
                break;
            }
        }
    };
    let back = async {
        let mut buffer = vec![0; 65_536];
        while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
            let swallowed = *answers.borrow() == Mode::Swallow;
            if !swallowed && to_client.write_all(&buffer[..length]).await.is_err() {
                break;
            }
        }
    };
    let cut = async {
        let cut = mode.wait_for(|mode| matches!(mode, Mode::Cut | Mode::Part));
        cut.await.is_ok_and(|mode| *mode == Mode::Part)
    };
    let parted = tokio::select! {
        () = forth => false,
        () = back => false,
        parted = cut => parted,
    };
    drop((from_client, to_client));
    if parted {
        // Takes what the server says for as long as it has anything to say.
        let _ = tokio::io::copy(&mut from_server, &mut tokio::io::sink()).await;
    }
}
