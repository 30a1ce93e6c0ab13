//! HTTPS: the handshake, the choice of protocol, and new certificates while running.

use super::*;
use crate::transport::{TlsFiles, tls::Tls};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::SystemTime,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// A self-signed certificate and its key, as PEM, and the certificate as a client trusts it.
struct Pair {
    certificate: String,
    key: String,
    trusted: CertificateDer<'static>,
}

fn pair() -> Pair {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    Pair {
        certificate: made.cert.pem(),
        key: made.signing_key.serialize_pem(),
        trusted: made.cert.der().clone(),
    }
}

fn files(folder: &Path) -> TlsFiles {
    TlsFiles {
        certificate: folder.join("cert.pem"),
        key: folder.join("key.pem"),
    }
}

/// Writes both files, each time with a later date: two writes within one tick of the file system's
/// clock would look the same.
fn put(folder: &Path, certificate: &str, key: &str) {
    static DATE: AtomicU64 = AtomicU64::new(1_000_000);
    let date = SystemTime::UNIX_EPOCH + Duration::from_secs(DATE.fetch_add(1, Relaxed));
    let files = files(folder);
    for (path, text) in [(files.certificate, certificate), (files.key, key)] {
        fs::write(&path, text).unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(date).unwrap();
    }
}

fn with_tls(folder: &Path) -> TransportSettings {
    TransportSettings {
        tls: Some(files(folder)),
        ..patient()
    }
}

async fn greet(
    server: &Server,
    pair: &Pair,
    protocol: &[u8],
) -> Result<TlsStream<TcpStream>, String> {
    let mut roots = RootCertStore::empty();
    roots.add(pair.trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    within(connector.connect(name, server.connect().await))
        .await
        .map_err(|error| error.to_string())
}

async fn greets_with(server: &Server, pair: &Pair) -> bool {
    greet(server, pair, b"http/1.1").await.is_ok()
}

#[tokio::test]
async fn https_is_served_and_requests_know_it() {
    let folder = tempfile::tempdir().unwrap();
    let pair = pair();
    put(folder.path(), &pair.certificate, &pair.key);
    let server = Server::start(with_tls(folder.path())).await;
    let mut client = greet(&server, &pair, b"http/1.1").await.unwrap();
    assert_eq!(client.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let request = b"GET /peer HTTP/1.1\r\nHost: test\r\n\r\n";
    within(client.write_all(request)).await.unwrap();
    let expected = format!("\r\n\r\n{} true", client.get_ref().0.local_addr().unwrap());
    assert!(receive(&mut client).await.ends_with(&expected));

    let h2 = greet(&server, &pair, b"h2").await.unwrap();
    assert_eq!(h2.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    server.stop().await;
}

#[tokio::test]
async fn slow_handshakes_close_the_connection() {
    let folder = tempfile::tempdir().unwrap();
    let pair = pair();
    put(folder.path(), &pair.certificate, &pair.key);
    let server = Server::start(TransportSettings {
        header_timeout: SHORT,
        ..with_tls(folder.path())
    })
    .await;
    assert_eq!(rest(&mut server.connect().await).await, "");
    until("it is counted", || server.stats.timed_out() == 1).await;
    server.stop().await;
}

#[tokio::test]
async fn changed_files_are_put_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (pair(), pair());
    put(folder.path(), &old.certificate, &old.key);
    let mut bound = bind(&with_tls(folder.path())).await.unwrap();
    bound.tls_check = Duration::from_millis(10);
    let server = Server::serve(bound);
    let mut standing = greet(&server, &old, b"http/1.1").await.unwrap();
    assert!(!greets_with(&server, &new).await);

    put(folder.path(), &new.certificate, &new.key);
    within(async { while !greets_with(&server, &new).await {} }).await;
    assert!(!greets_with(&server, &old).await);
    within(standing.write_all(GET.as_bytes())).await.unwrap();
    assert!(receive(&mut standing).await.ends_with("hello"));
    server.stop().await;
}

#[test]
fn new_files_are_read_once_when_they_stand_still_and_bad_ones_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (pair(), pair());
    put(folder.path(), &old.certificate, &old.key);
    let tls = Tls::load(&files(folder.path())).unwrap();
    let in_force = || Arc::as_ptr(tls.acceptor().config());
    let first = in_force();
    let mut seen = (tls.first_seen, tls.first_seen);

    // A key of another certificate, no PEM at all, a file that is gone.
    for bad in [0, 1, 2] {
        match bad {
            0 => put(folder.path(), &new.certificate, &old.key),
            1 => put(folder.path(), "garbage", "garbage"),
            _ => fs::remove_file(files(folder.path()).key).unwrap(),
        }
        let moving = tls.look(seen);
        assert_eq!(moving.0, seen.0, "not read at the first sight");
        let refused = tls.look(moving);
        assert_ne!(refused.0, seen.0, "read, and remembered as such");
        assert_eq!(tls.look(refused), refused);
        assert_eq!(in_force(), first);
        seen = refused;
    }

    put(folder.path(), &new.certificate, &new.key);
    seen = tls.look(seen);
    assert_eq!(in_force(), first);
    seen = tls.look(seen);
    let second = in_force();
    assert_ne!(second, first);
    tls.look(seen);
    assert_eq!(in_force(), second, "not read again");
}

#[tokio::test]
async fn unusable_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, other) = (pair(), pair());
    let TlsFiles { certificate, key } = files(folder.path());
    let (certificate, key) = (certificate.display(), key.display());
    let check = async |expected: String| {
        let error = bind(&with_tls(folder.path())).await.err().unwrap();
        assert_eq!(error.to_string(), expected);
    };
    check(format!(
        "cannot read the TLS certificate {certificate}: No such file or directory (os error 2)"
    ))
    .await;
    put(folder.path(), &ours.key, &ours.key);
    check(format!(
        "cannot read the TLS certificate {certificate}: it holds no PEM certificate"
    ))
    .await;
    put(folder.path(), &ours.certificate, &ours.certificate);
    check(format!(
        "cannot read the TLS key {key}: it holds no PEM key"
    ))
    .await;
    put(
        folder.path(),
        &ours.certificate,
        "-----BEGIN PRIVATE KEY-----\n?secret?\n",
    );
    check(format!(
        "cannot read the TLS key {key}: it is not a valid PEM file"
    ))
    .await;
    put(folder.path(), &ours.certificate, &other.key);
    check(format!(
        "the TLS key {key} does not belong to the certificate {certificate}"
    ))
    .await;
}
