//! How a letter leaves: over SMTP, or into the outbox folder where there is no mail server.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use super::letter::Letter;
use super::outbox;
use super::settings::{MailSettings, Security, SmtpServer};

/// Why a letter did not leave. No message holds what the server said: it may have
/// repeated the letter, and these sentences are logged.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// The server will never take this letter (RFC 5321, section 4.2.1: 5yz).
    #[error("the mail server refuses the mail for good (status {0})")]
    Refused(u16),
    /// The addressee has a name that this server cannot carry (RFC 6531).
    #[error("the mail server does not take addresses with letters beyond ASCII")]
    NeedsUtf8,
    /// The server will take it later, perhaps.
    #[error("the mail server refuses the mail for now (status {0})")]
    Deferred(u16),
    /// The server wants another login, or one at all: for the administrator to put right.
    #[error("the mail server refuses the login (status {0})")]
    Login(u16),
    /// No answer in time.
    #[error("the mail server did not answer within {} seconds", .0.as_secs())]
    Slow(Duration),
    /// No connection, no TLS, or an answer that is not SMTP.
    #[error("the mail server cannot be used: {0}")]
    Unusable(String),
    /// The outbox folder cannot be written.
    #[error("cannot write a mail into {}: {cause}", .folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// Why not.
        cause: std::io::Error,
    },
    /// The file of authorities cannot be used.
    #[error("cannot read the certificates in {} (email.smtp_ca): {why}", .path.display())]
    Authorities {
        /// Which.
        path: PathBuf,
        /// Why not.
        why: String,
    },
}

impl PostError {
    /// Whether another try can succeed.
    pub(crate) fn can_retry(&self) -> bool {
        !matches!(self, Self::Refused(_) | Self::NeedsUtf8)
    }

    /// One word for the audit.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Refused(_) | Self::NeedsUtf8 => "refused",
            Self::Deferred(_) => "deferred",
            Self::Login(_) => "login_refused",
            Self::Slow(_) => "timeout",
            Self::Unusable(_) | Self::Authorities { .. } => "unusable",
            Self::Folder { .. } => "outbox_folder",
        }
    }

    /// A sentence for anybody who asks about the server's health: no host, no path, no
    /// word of the mail server's own.
    pub(crate) fn sentence(&self) -> &'static str {
        match self {
            Self::Refused(_) | Self::NeedsUtf8 => "The mail server refuses the mail for good.",
            Self::Deferred(_) => "The mail server takes no mail for now.",
            Self::Login(_) => "The mail server refuses this server's login.",
            Self::Slow(_) => "The mail server does not answer in time.",
            Self::Unusable(_) | Self::Authorities { .. } => {
                "The mail server cannot be reached or used. The server's log says more."
            }
            Self::Folder { .. } => "The outbox folder cannot be written.",
        }
    }
}

/// The way out for mail.
pub enum Post {
    /// A mail server.
    Smtp {
        /// One connection a letter: a connection given up half-way through a letter must
        /// never carry another one, whose receipt could then be the first one's.
        transport: Box<AsyncSmtpTransport<Tokio1Executor>>,
        /// For the whole of one try.
        timeout: Duration,
    },
    /// A folder.
    Outbox(PathBuf),
}

impl Post {
    /// The way that the settings name. Connects to nothing.
    ///
    /// # Errors
    /// When the authorities of the mail server cannot be read, or its name is none.
    pub fn from_settings(settings: &MailSettings) -> Result<Post, PostError> {
        match &settings.server {
            None => Ok(Post::Outbox(settings.outbox.clone())),
            Some(server) => Ok(Post::Smtp {
                transport: Box::new(smtp(server, settings.timeout)?),
                timeout: settings.timeout,
            }),
        }
    }

    /// Hands the letter over: when this returns without an error, the server has taken
    /// it into its care, or the file is on the disk.
    ///
    /// # Errors
    /// [`PostError`], which says whether another try can help. After [`PostError::Slow`]
    /// the letter may have left all the same; a second one has the same `Message-ID`.
    pub(crate) async fn send(&self, letter: &Letter) -> Result<(), PostError> {
        match self {
            Self::Smtp { transport, timeout } => {
                let sending = transport.send_raw(&letter.envelope, &letter.message);
                match tokio::time::timeout(*timeout, sending).await {
                    Ok(Ok(_)) => Ok(()),
                    Ok(Err(error)) => Err(told(&error)),
                    Err(_) => Err(PostError::Slow(*timeout)),
                }
            }
            Self::Outbox(folder) => {
                let target = folder.clone();
                let (name, message) = (letter.name.clone(), letter.message.clone());
                let writing =
                    tokio::task::spawn_blocking(move || outbox::write(&target, &name, &message));
                let written = writing.await.unwrap_or_else(|error| Err(error.into()));
                let path = written.map_err(|cause| PostError::Folder {
                    folder: folder.clone(),
                    cause,
                })?;
                tracing::info!(path = %path.display(), "a mail was written to the outbox");
                Ok(())
            }
        }
    }

    /// Removes what was left of mails to that address where they become files; a mail
    /// that a server has taken is out of our hands.
    ///
    /// # Errors
    /// [`PostError::Folder`].
    pub(crate) async fn forget(&self, address: &str) -> Result<(), PostError> {
        let Self::Outbox(folder) = self else {
            return Ok(());
        };
        let (target, address) = (folder.clone(), address.to_owned());
        let removing = tokio::task::spawn_blocking(move || outbox::remove_to(&target, &address));
        let removed = removing.await.unwrap_or_else(|error| Err(error.into()));
        removed.map(drop).map_err(|cause| PostError::Folder {
            folder: folder.clone(),
            cause,
        })
    }

    /// Whether mail could leave now: connects, greets, logs in and asks for nothing. A
    /// sentence for people.
    ///
    /// # Errors
    /// [`PostError`].
    pub async fn check(&self) -> Result<String, PostError> {
        match self {
            Self::Smtp { transport, timeout } => {
                match tokio::time::timeout(*timeout, transport.test_connection()).await {
                    Ok(Ok(true)) => Ok("the mail server answers".to_owned()),
                    Ok(Ok(false)) => Err(PostError::Unusable("it does not answer NOOP".into())),
                    Ok(Err(error)) => Err(told(&error)),
                    Err(_) => Err(PostError::Slow(*timeout)),
                }
            }
            Self::Outbox(folder) => Ok(format!(
                "no mail server is set: each mail becomes a file in {}",
                folder.display()
            )),
        }
    }
}

fn smtp(
    server: &Arc<SmtpServer>,
    timeout: Duration,
) -> Result<AsyncSmtpTransport<Tokio1Executor>, PostError> {
    let tls = match server.security {
        Security::Opportunistic => Tls::Opportunistic(tls(server)?),
        Security::StartTls => Tls::Required(tls(server)?),
        Security::Tls => Tls::Wrapper(tls(server)?),
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&server.host)
        .port(server.port)
        .tls(tls)
        .timeout(Some(timeout));
    if let Some(login) = &server.login {
        // The library's own copy lives as long as the transport: each letter needs it.
        let password = login.password.as_str().to_owned();
        builder = builder.credentials(Credentials::new(login.user.clone(), password));
    }
    Ok(builder.build())
}

fn tls(server: &SmtpServer) -> Result<TlsParameters, PostError> {
    let mut builder = TlsParameters::builder(server.host.clone())
        .dangerous_accept_invalid_certs(server.security == Security::Opportunistic);
    if let Some(path) = &server.authorities {
        let unusable = |why: String| PostError::Authorities {
            path: path.clone(),
            why,
        };
        let pem = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
        if !String::from_utf8_lossy(&pem).contains("BEGIN CERTIFICATE") {
            return Err(unusable("there is none".into()));
        }
        let certificate =
            Certificate::from_pem(&pem).map_err(|error| unusable(error.to_string()))?;
        builder = builder
            .certificate_store(CertificateStore::None)
            .add_root_certificate(certificate);
    }
    builder
        .build()
        .map_err(|error| PostError::Unusable(error.to_string()))
}

/// What an error of the library means for this letter.
fn told(error: &lettre::transport::smtp::Error) -> PostError {
    match error.status().map(u16::from) {
        // RFC 4954, section 6: authentication required, too weak, invalid, unencrypted.
        Some(status @ (530 | 534 | 535 | 538)) => PostError::Login(status),
        Some(status @ 500..) => PostError::Refused(status),
        Some(status) => PostError::Deferred(status),
        None if error.is_response() => PostError::Unusable("its answer is not SMTP".into()),
        // The library's own refusal, which has no kind of its own.
        None if error.is_client() && error.to_string().contains("SMTPUTF8") => PostError::NeedsUtf8,
        None => PostError::Unusable(error.to_string()),
    }
}
