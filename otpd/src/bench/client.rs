//! One keep-alive HTTP/1.1 connection with one request in flight, made to cost little.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::response::{Malformed, Response, ResponseBuffer};

/// How long a connection attempt may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the server is.
#[derive(Debug)]
pub(super) struct Target {
    /// The `Host` header: host and port as given.
    pub(super) authority: String,
    /// What stands before `/livez` and the others: empty, or a path that begins with a slash and ends without.
    pub(super) prefix: String,
    addresses: Vec<SocketAddr>,
}

impl Target {
    /// Reads `http://host[:port][/prefix]` and resolves the name, once for the whole run.
    ///
    /// # Errors
    /// Another scheme, a malformed address, an unknown host.
    pub(super) fn resolve(url: &str) -> anyhow::Result<Self> {
        let (authority, prefix) = split_url(url)?;
        let has_port = authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| !port.contains(']'));
        let with_port = if has_port {
            authority.to_owned()
        } else {
            format!("{authority}:80")
        };
        let addresses: Vec<_> = with_port
            .to_socket_addrs()
            .with_context(|| format!("cannot resolve {authority}"))?
            .collect();
        if addresses.is_empty() {
            bail!("{authority} has no address");
        }
        Ok(Self {
            authority: authority.to_owned(),
            prefix: prefix.to_owned(),
            addresses,
        })
    }
}

/// Splits a URL into authority and path prefix.
fn split_url(url: &str) -> anyhow::Result<(&str, &str)> {
    if url
        .get(..8)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
    {
        bail!(
            "otpd bench speaks plain HTTP only, so that it measures the server rather than TLS: give the address the server itself listens on, such as http://127.0.0.1:8004"
        );
    }
    let rest = match url.split_at_checked(7) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http://") => rest,
        _ => bail!("the URL must begin with http://"),
    };
    let (authority, prefix) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let clean = rest
        .bytes()
        .all(|b| b.is_ascii_graphic() && !b"?#@\"\\".contains(&b));
    if authority.is_empty() || !clean {
        bail!("the URL must look like http://host:port, without user name, query or fragment");
    }
    Ok((authority, prefix.trim_end_matches('/')))
}

/// Why a request got no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// No connection could be made.
    Connect(io::Error),
    /// The server closed the connection before a complete answer.
    Closed,
    /// Reading or writing failed.
    Io(io::Error),
    /// The answer cannot be read.
    Malformed(Malformed),
    /// Nothing came in time.
    TimedOut,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "cannot connect: {}", error.kind()),
            Self::Closed => f.write_str("connection closed without an answer"),
            Self::Io(error) => write!(f, "connection failed: {}", error.kind()),
            Self::Malformed(why) => why.fmt(f),
            Self::TimedOut => f.write_str("no answer in time"),
        }
    }
}

impl std::error::Error for Failure {}

/// A connection that is made when first needed and again after a failure.
#[derive(Debug)]
pub(super) struct Connection {
    target: Arc<Target>,
    stream: Option<TcpStream>,
    buffer: ResponseBuffer,
}

impl Connection {
    /// Not connected yet.
    pub(super) fn new(target: Arc<Target>) -> Self {
        Self {
            target,
            stream: None,
            buffer: ResponseBuffer::new(),
        }
    }

    /// Sends a request, already in wire form, and waits for the answer. A failure drops the connection;
    /// the request is not repeated, for the server may have acted on it.
    ///
    /// # Errors
    /// [`Failure`], after which the next call connects anew. There is no time limit here, because a timer
    /// per request costs more than the rest: callers bound whole phases, or use [`Self::exchange_within`].
    pub(super) async fn exchange(&mut self, request: &[u8]) -> Result<Response<'_>, Failure> {
        // Out of `self` while the exchange runs: if this future is dropped half-way, so is the stream, and
        // no late answer can be taken for that to another request.
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect().await?,
        };
        stream.write_all(request).await.map_err(Failure::Io)?;
        let span = loop {
            if let Some(span) = self.buffer.next().map_err(Failure::Malformed)? {
                break span;
            }
            match stream.read(self.buffer.space()).await {
                Ok(0) => return Err(Failure::Closed),
                Ok(count) => self.buffer.arrived(count),
                Err(error) => return Err(Failure::Io(error)),
            }
        };
        // Bytes behind the only answer due would be taken for the next one.
        if !span.closes && self.buffer.is_empty() {
            self.stream = Some(stream);
        }
        Ok(self.buffer.get(&span))
    }

    /// The same with a time limit.
    ///
    /// # Errors
    /// [`Failure`], including [`Failure::TimedOut`].
    pub(super) async fn exchange_within(
        &mut self,
        limit: Duration,
        request: &[u8],
    ) -> Result<Response<'_>, Failure> {
        tokio::time::timeout(limit, self.exchange(request))
            .await
            .unwrap_or(Err(Failure::TimedOut))
    }

    async fn connect(&mut self) -> Result<TcpStream, Failure> {
        self.buffer.clear();
        let attempt = TcpStream::connect(&self.target.addresses[..]);
        let stream = match tokio::time::timeout(CONNECT_TIMEOUT, attempt).await {
            Ok(made) => made.map_err(Failure::Connect)?,
            Err(_) => return Err(Failure::Connect(io::ErrorKind::TimedOut.into())),
        };
        stream.set_nodelay(true).map_err(Failure::Connect)?;
        Ok(stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_split() {
        fn check(url: &str, expected: Option<(&str, &str)>) {
            assert_eq!(split_url(url).ok(), expected, "{url}");
        }
        check("http://127.0.0.1:8004", Some(("127.0.0.1:8004", "")));
        check("HTTP://localhost/", Some(("localhost", "")));
        check("http://[::1]:8004/otp/", Some(("[::1]:8004", "/otp")));
        check("localhost:8004", None);
        check("ftp://localhost", None);
        check("http://", None);
        check("http:///x", None);
        check("http://user@host", None);
        check("http://host/?q", None);
        check("http://host\r\nX: y", None);
    }

    #[test]
    fn https_is_refused_with_the_reason() {
        let error = Target::resolve("https://otp.example")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("plain HTTP only") && error.contains("http://127.0.0.1:8004"),
            "{error}"
        );
    }

    #[test]
    fn addresses_with_and_without_a_port_resolve() {
        fn check(url: &str, expected: &str) {
            let target = Target::resolve(url).unwrap();
            assert_eq!(target.addresses, [expected.parse().unwrap()], "{url}");
        }
        check("http://127.0.0.1", "127.0.0.1:80");
        check("http://127.0.0.1:8004/x", "127.0.0.1:8004");
        check("http://[::1]", "[::1]:80");
        check("http://[::1]:99", "[::1]:99");
    }
}
