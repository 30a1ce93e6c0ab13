//! TLS towards PostgreSQL: who proves what to whom, and in which words a refused proof is told.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::address::{Encryption, Roots, Security};
use crate::error::StoreError;

/// The connector for what a URL asks for.
pub(super) fn connector(security: &Security) -> Result<MakeRustlsConnect, StoreError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let failed = |error: rustls::Error| unusable("TLS cannot be set up", &error);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(verifier(security, &provider)?);
    let config = match &security.identity {
        Some((certificate, key)) if security.encryption != Encryption::Disable => {
            let chain = certificates(certificate, "sslcert")?;
            let key = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| cannot_read("the key", key, "sslkey", &error))?;
            let with = builder.with_client_auth_cert(chain, key);
            with.map_err(|error| unusable("sslcert and sslkey cannot be used", &error))?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(MakeRustlsConnect::new(config))
}

fn verifier(
    security: &Security,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, StoreError> {
    let lenient = |takes| {
        let algorithms = provider.signature_verification_algorithms;
        Arc::new(Lenient { takes, algorithms })
    };
    let signed = || -> Result<Arc<WebPkiServerVerifier>, StoreError> {
        let roots = Arc::new(roots(&security.roots)?);
        WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
            .build()
            .map_err(|error| unusable("the certificates of sslrootcert cannot be used", &error))
    };
    Ok(match security.encryption {
        Encryption::Disable | Encryption::Prefer | Encryption::Require => lenient(Takes::Anything),
        Encryption::VerifyCa => lenient(Takes::AnyName(signed()?)),
        Encryption::VerifyFull => signed()?,
    })
}

fn unusable(what: &str, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Unusable(format!("{what}: {error}"))
}

fn cannot_read(what: &str, path: &Path, option: &str, error: &dyn std::fmt::Display) -> StoreError {
    let path = path.display();
    StoreError::Unusable(format!(
        "cannot read {what} in {path} ({option} of the database URL): {error}"
    ))
}

fn certificates(path: &Path, option: &str) -> Result<Vec<CertificateDer<'static>>, StoreError> {
    let failed =
        |error: &dyn std::fmt::Display| cannot_read("the certificates", path, option, error);
    let all = CertificateDer::pem_file_iter(path).map_err(|error| failed(&error))?;
    let all: Result<Vec<_>, _> = all.collect();
    let all = all.map_err(|error| failed(&error))?;
    if all.is_empty() {
        return Err(failed(&"there is none"));
    }
    Ok(all)
}

fn roots(roots: &Roots) -> Result<RootCertStore, StoreError> {
    let Roots::File(path) = roots else {
        let roots = webpki_roots::TLS_SERVER_ROOTS.to_vec();
        return Ok(RootCertStore { roots });
    };
    let mut store = RootCertStore::empty();
    for certificate in certificates(path, "sslrootcert")? {
        let added = store.add(certificate);
        added.map_err(|error| cannot_read("the certificates", path, "sslrootcert", &error))?;
    }
    Ok(store)
}

/// What is wrong with the server's certificate, for whoever starts the program; `None`
/// when the error is about something else.
pub(super) fn objection(error: &tokio_postgres::Error) -> Option<&'static str> {
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        // An I/O error shows its own cause's cause as the next one, so it is asked itself.
        let inner = next.downcast_ref::<std::io::Error>();
        let inner = inner.and_then(|io| io.get_ref()?.downcast_ref::<rustls::Error>());
        if let Some(rustls::Error::InvalidCertificate(why)) =
            inner.or_else(|| next.downcast_ref::<rustls::Error>())
        {
            return Some(sentence(why));
        }
        cause = next.source();
    }
    None
}

fn sentence(why: &CertificateError) -> &'static str {
    match why {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "its certificate is not signed by an authority that sslrootcert names"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another host name than the URL's (sslmode=verify-full)"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet"
        }
        _ => "its certificate is not acceptable",
    }
}

/// Takes more certificates than the right ones, and proofs of their keys as any client does.
#[derive(Debug)]
struct Lenient {
    takes: Takes,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
enum Takes {
    /// Any certificate. Safe where nobody asked for more: with `prefer`, whoever could
    /// show a false one could as well say that the server has no TLS, and `require` without
    /// an authority promises encryption alone, in libpq too. What remains is that nobody
    /// reads along by merely listening, also at servers with a certificate of their own
    /// making, which most packages install.
    Anything,
    /// A certificate of the right authority, whatever its name. Safe because the name is
    /// looked at last: who fails on it alone has passed everything else, chain and dates too.
    AnyName(Arc<WebPkiServerVerifier>),
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found = match &self.takes {
            Takes::Anything => return Ok(ServerCertVerified::assertion()),
            Takes::AnyName(strict) => {
                strict.verify_server_cert(certificate, chain, name, ocsp, now)
            }
        };
        match found {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            found => found,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
