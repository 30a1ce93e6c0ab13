//! The sockets: serves a router to the internet with limits, time-outs, TLS and a graceful end.
//!
//! | file | says |
//! |---|---|
//! | `accept` | who gets in: the accept loop, the connection limit, the drain |
//! | `shares` | how many connections each network address has |
//! | `connection` | one connection from its first byte to its last |
//! | `activity` | what a connection is waiting for, and until when it may |
//! | `body` | request bodies that must arrive in time |
//! | `crowd` | who is inside, and who makes room at the connection limit |
//! | `turnstile` | how many requests are let in before the sockets are looked at again |
//! | `watched` | what passes through a connection |
//! | `tls` | certificate and key, and their replacement while running |

mod accept;
mod activity;
mod body;
mod connection;
mod crowd;
mod shares;
#[cfg(test)]
mod tests;
mod tls;
mod turnstile;
mod watched;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::Router;
use tokio::net::{TcpListener, TcpSocket, lookup_host};
use tokio_util::sync::CancellationToken;

pub use body::is_body_timeout;

/// Connections that the kernel keeps for us while none is accepted.
const BACKLOG: u32 = 1024;

/// Where to listen, and how much patience and room a client gets.
#[derive(Clone, Debug)]
pub struct TransportSettings {
    /// A host name or an address, `0.0.0.0` and `::` included.
    pub host: String,
    /// The port; 0 lets the system choose one.
    pub port: u16,
    /// Serve HTTPS with these files; without them, plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Connections served at the same time; further ones wait in the kernel's backlog.
    pub max_connections: usize,
    /// Of these, the most that one network address has (on IPv6 one network of 64 bits); further
    /// ones are closed at once.
    pub max_connections_per_address: usize,
    /// Networks without a limit of their own, an address and the length of its prefix in bits:
    /// proxies, behind which all clients have one address.
    pub unlimited: Vec<(IpAddr, u8)>,
    /// From the first byte of a request (or the opening of the connection) to the end of its headers.
    /// A TLS handshake gets the same, 10 seconds at most.
    pub header_timeout: Duration,
    /// From the first wait for a request's body to its last byte.
    pub body_timeout: Duration,
    /// How long a connection may stay open without a request, and how long a client may refuse to
    /// take the bytes of an answer.
    pub idle_timeout: Duration,
    /// How long requests are still taken once the shutdown has begun, while `/readyz` and a
    /// `Connection: close` in each answer send clients elsewhere; zero for not at all.
    pub leave_timeout: Duration,
    /// How long requests in flight may go on after the shutdown began.
    pub drain_timeout: Duration,
}

/// The PEM files of a TLS server. They are read again when they change.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate chain, the server's own certificate first.
    pub certificate: PathBuf,
    /// The private key: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

/// Why the server cannot listen. Each text is a sentence for the person who starts it.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The host name has no address.
    #[error("cannot find an address for the host {host}: {source}")]
    Host {
        /// The name as configured.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// The address cannot be bound.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// Address and port.
        address: SocketAddr,
        /// The cause in words.
        reason: String,
        /// What the system said.
        source: io::Error,
    },
    /// A certificate or key file cannot be read or understood.
    #[error("cannot read the TLS {what} {}: {reason}", path.display())]
    TlsFile {
        /// `certificate` or `key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause in words; never a part of the file.
        reason: String,
    },
    /// Both files are sound but do not belong together.
    #[error("the TLS key {} does not belong to the certificate {}", key.display(), certificate.display())]
    KeyMismatch {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
    },
    /// The TLS library refuses certificate and key for another reason.
    #[error("cannot use the TLS certificate {}: {source}", certificate.display())]
    Tls {
        /// The certificate file.
        certificate: PathBuf,
        /// What the library said.
        source: rustls::Error,
    },
}

/// Counters of the transport, read by the metrics page.
#[derive(Debug, Default)]
pub struct TransportStats {
    open: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    timed_out: AtomicU64,
    awaited_bodies: AtomicU64,
    leaving: AtomicBool,
}

impl TransportStats {
    /// Whether the server is about to stop, and clients should turn to another one.
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Relaxed)
    }

    /// Connections open now.
    pub fn open(&self) -> u64 {
        self.open.load(Relaxed)
    }

    /// Connections accepted since the start.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// Connections closed at once because their address had as many as it may have.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Clients given up because a handshake, a header, a body or the reading of an answer took too
    /// long. Idle connections that were closed do not count.
    pub fn timed_out(&self) -> u64 {
        self.timed_out.load(Relaxed)
    }

    /// Requests whose body did not come along with their header, so that a timer had to be set.
    pub fn awaited_bodies(&self) -> u64 {
        self.awaited_bodies.load(Relaxed)
    }

    fn leave(&self) {
        self.leaving.store(true, Relaxed);
    }

    fn count_refusal(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    fn count_timeout(&self) {
        self.timed_out.fetch_add(1, Relaxed);
    }

    fn count_awaited_body(&self) {
        self.awaited_bodies.fetch_add(1, Relaxed);
    }
}

/// The other end of the connection, an extension of every request that comes through the
/// transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The socket's peer. An IPv4 client of an IPv6 socket has its IPv4 address here, so that
    /// limits and lists of trusted proxies need to know one spelling only.
    pub address: SocketAddr,
    /// Whether the connection to us is TLS.
    pub tls: bool,
}

/// A listening socket with its certificate loaded, ready to serve.
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<tls::Tls>>,
    tls_check: Duration,
    settings: TransportSettings,
}

/// Opens the socket and loads the certificate. The first address of the host that can be bound is
/// taken.
///
/// # Errors
/// [`TransportError`] when the host has no address, the address cannot be had, or the TLS files
/// cannot be used.
pub async fn bind(settings: &TransportSettings) -> Result<Bound, TransportError> {
    let tls = match &settings.tls {
        Some(files) => Some(Arc::new(tls::Tls::load(files)?)),
        None => None,
    };
    let (listener, address) = listen(&settings.host, settings.port).await?;
    Ok(Bound {
        listener,
        address,
        tls,
        tls_check: tls::CHECK_EVERY,
        settings: settings.clone(),
    })
}

async fn listen(host: &str, port: u16) -> Result<(TcpListener, SocketAddr), TransportError> {
    let unknown = |source| TransportError::Host {
        host: host.to_owned(),
        source,
    };
    // A literal IPv6 address may come in the brackets it wears in URLs.
    let name = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    let addresses = lookup_host((name, port)).await.map_err(unknown)?;
    let mut failure = unknown(io::Error::other("the name has no address"));
    for address in addresses {
        match listen_on(address) {
            Ok(listening) => return Ok(listening),
            Err(source) => {
                failure = TransportError::Listen {
                    address,
                    reason: reason(&source),
                    source,
                };
            }
        }
    }
    Err(failure)
}

fn listen_on(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // On Windows the option would let two servers share the port.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG)?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program is using this address and port".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this machine does not have the address".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "permission denied (ports below 1024 usually need a privilege)".to_owned()
        }
        _ => error.to_string(),
    }
}

impl Bound {
    /// The address that clients reach, with the port that the system chose for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` is cancelled and `leave_timeout` is over, then lets requests in flight finish for at most
    /// `drain_timeout` and drops what is left.
    ///
    /// Every request carries a [`Peer`] extension. A body that comes too slowly fails with an error
    /// that [`is_body_timeout`] recognises: answer it with 408; on HTTP/1 the connection is closed
    /// after the answer.
    ///
    /// # Errors
    /// None at present: a failing `accept` is retried.
    pub async fn serve(
        self,
        router: Router,
        shutdown: CancellationToken,
        stats: Arc<TransportStats>,
    ) -> Result<(), TransportError> {
        accept::run(self, router, shutdown, stats).await;
        Ok(())
    }
}
