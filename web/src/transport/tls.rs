//! Certificate and key of the server, and their replacement while it runs.

use std::{
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
};
use tokio::{task::spawn_blocking, time::sleep};
use tokio_rustls::TlsAcceptor;

use super::{TlsFiles, TransportError};

/// How often the files are looked at.
pub(super) const CHECK_EVERY: Duration = Duration::from_secs(3);

/// The configuration in force and the files it came from.
#[derive(Debug)]
pub(super) struct Tls {
    files: TlsFiles,
    /// What the files looked like just before they were read the first time.
    pub(super) first_seen: Looks,
    config: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads the files.
    pub(super) fn load(files: &TlsFiles) -> Result<Self, TransportError> {
        let first_seen = Looks::of(files);
        Ok(Self {
            files: files.clone(),
            first_seen,
            config: RwLock::new(Arc::new(read(files)?)),
        })
    }

    /// What the next connection is greeted with.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&config))
    }

    /// Puts new files in force, for ever. Connections that stand keep their certificate. Files that
    /// cannot be used are reported once and leave the old ones in force.
    pub(super) async fn follow_files(self: Arc<Self>, every: Duration) {
        let mut handled = self.first_seen;
        let mut previous = handled;
        loop {
            sleep(every).await;
            let this = Arc::clone(&self);
            let before = (handled, previous);
            // File systems can hang. The task ends only when the runtime does.
            let Ok(after) = spawn_blocking(move || this.look(before)).await else {
                return;
            };
            (handled, previous) = after;
        }
    }

    /// One look at the files, given those last handled and those seen at the previous look.
    /// Replacing two files takes a moment, so they are read only when they look the same twice.
    pub(super) fn look(&self, (handled, previous): (Looks, Looks)) -> (Looks, Looks) {
        let now = Looks::of(&self.files);
        if now == handled || now != previous {
            return (handled, now);
        }
        match read(&self.files) {
            Ok(config) => {
                *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
            }
            Err(error) => {
                tracing::warn!(%error, "the new TLS files cannot be used, the old ones stay in force");
            }
        }
        (now, now)
    }
}

/// By what a change of the two files is noticed: time, length and identity of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Looks([Option<(Option<SystemTime>, u64, u64)>; 2]);

impl Looks {
    fn of(files: &TlsFiles) -> Self {
        Self([&files.certificate, &files.key].map(|path| look_of(path)))
    }
}

fn look_of(path: &Path) -> Option<(Option<SystemTime>, u64, u64)> {
    // Follows symbolic links: some deployments replace the link and not the file.
    let metadata = std::fs::metadata(path).ok()?;
    #[cfg(unix)]
    let identity = std::os::unix::fs::MetadataExt::ino(&metadata);
    #[cfg(not(unix))]
    let identity = 0;
    Some((metadata.modified().ok(), metadata.len(), identity))
}

fn read(files: &TlsFiles) -> Result<ServerConfig, TransportError> {
    let unreadable = |what, path: &Path, error: pem::Error| TransportError::TlsFile {
        what,
        path: path.to_owned(),
        reason: in_words(what, &error),
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect)
        .and_then(|chain: Vec<_>| {
            if chain.is_empty() {
                return Err(pem::Error::NoItemsFound);
            }
            Ok(chain)
        })
        .map_err(|error| unreadable("certificate", &files.certificate, error))?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| unreadable("key", &files.key, error))?;

    let refused = |source| match source {
        rustls::Error::InconsistentKeys(_) => TransportError::KeyMismatch {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
        },
        source => TransportError::Tls {
            certificate: files.certificate.clone(),
            source,
        },
    };
    // The provider is named here: a default for the whole process could be another one, or none.
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(refused)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(refused)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// The cause without any of the file's content, which may be a secret.
fn in_words(what: &str, error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => format!("it holds no PEM {what}"),
        _ => "it is not a valid PEM file".to_owned(),
    }
}
