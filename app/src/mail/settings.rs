//! Settings of mail: where it goes out, from whom, to which domains, with which codes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use domain::{DomainRules, EmailAddress, EmailLevels};
use zeroize::Zeroizing;

/// What sending mail needs to know.
#[derive(Clone)]
pub struct MailSettings {
    /// Without one, each mail becomes a file in [`Self::outbox`].
    pub server: Option<Arc<SmtpServer>>,
    /// Who sends.
    pub from: EmailAddress,
    /// The folder for mails when there is no server; made when the first one comes.
    pub outbox: PathBuf,
    /// How long one try may take, from connecting to the server's receipt.
    pub timeout: Duration,
    /// How soon another code may be asked for.
    pub resend: Duration,
    /// To which domains mail may go.
    pub domains: DomainRules,
    /// The default level of emailed codes and the named ones.
    pub levels: EmailLevels,
}

impl MailSettings {
    /// The defaults: no server, every domain allowed, mails in that folder.
    pub fn into_folder(outbox: PathBuf) -> Self {
        Self {
            server: None,
            from: Self::default_sender(),
            outbox,
            timeout: Duration::from_secs(20),
            resend: Duration::from_secs(30),
            domains: DomainRules::default(),
            levels: EmailLevels::default(),
        }
    }

    /// Who sends the mails that no server carries away.
    pub fn default_sender() -> EmailAddress {
        EmailAddress::parse("otpd@localhost").expect("a test of this file parses this constant")
    }
}

/// A mail server that takes mail from this program.
pub struct SmtpServer {
    /// A name or an IP address, IPv6 without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub security: Security,
    /// Who logs in there, if anybody has to.
    pub login: Option<Login>,
    /// A PEM file of authorities to trust instead of the public ones.
    pub authorities: Option<PathBuf>,
}

/// The protection of a connection to a mail server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Encrypted when the server offers STARTTLS (RFC 3207), plain otherwise. Whoever can
    /// change the traffic can take the offer away, so proving the server would add no
    /// safety: its certificate is not looked at.
    Opportunistic,
    /// STARTTLS, or no mail goes out; the certificate is proven.
    StartTls,
    /// TLS from the first byte (RFC 8314); the certificate is proven.
    Tls,
}

/// A user of a mail server. The password is wiped on drop.
pub struct Login {
    /// The user's name.
    pub user: String,
    /// The password.
    pub password: Zeroizing<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_sender_is_an_address() {
        assert_eq!(MailSettings::default_sender().domain(), "localhost");
    }
}
