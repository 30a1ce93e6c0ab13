//! Email addresses: parsed once at the edge, one canonical form for look-up, limits and sending alike.
//!
//! A mail goes to the *canonical* address, never to the spelling that a client gave.
//! Some mail servers deliver `Dave@` and `dave@` to two people; if the code went to the
//! spelling, the owner of one mailbox could log in as the user behind the other.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};

use crate::names::{EMAIL, NameError, UserName};

/// Why an address is refused. Each message is a sentence for the client, to stand beside
/// the name of the faulty member, and repeats nothing of the input that cannot be printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EmailError {
    /// What holds for every name: 1 to 256 characters, no control characters, …
    #[error(transparent)]
    Name(#[from] NameError),
    /// White space within the address.
    #[error("Must not contain white space.")]
    Space,
    /// No `@`.
    #[error("Must be an email address such as name@example.com.")]
    NoAddress,
    /// A display name, angle brackets, a comment, a quoted part, several addresses.
    #[error("Must be one plain email address, without quotes, comments, brackets or lists.")]
    NotPlain,
    /// A part before the `@` that is empty, longer than 64 bytes, with dots in the wrong
    /// places or with other characters.
    #[error(
        "Must have letters, digits or signs (64 bytes at most) before the @, and no dot first, last or doubled."
    )]
    Local,
    /// `%` or `!` before the `@`: old servers send such mail on to another domain, past
    /// the list of allowed ones.
    #[error("Must not contain % or ! before the @.")]
    Route,
    /// A domain that is none (RFC 1123, RFC 5891), or an IP address.
    #[error("Must have the name of a domain after the @.")]
    Domain,
}

/// An email address in canonical form: a plain local part, NFKC and case-folded like a
/// user's name, `@`, and the domain in ASCII (IDNA). Cheap to clone.
///
/// It holds no control character, white space, quote, comma or angle bracket, so it can
/// stand in a header and in an SMTP command as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EmailAddress {
    user_name: UserName,
    /// Where the domain begins in the user's name.
    domain_at: usize,
}

impl EmailAddress {
    /// Checks the text and brings it into canonical form.
    ///
    /// # Errors
    /// [`EmailError`]: a sentence for whoever gave the address.
    pub fn parse(text: &str) -> Result<EmailAddress, EmailError> {
        let folded = UserName::parse(text)?;
        if text.contains(char::is_whitespace) || folded.canonical().contains(char::is_whitespace) {
            return Err(EmailError::Space);
        }
        if text.contains(['"', '(', ')', '<', '>', '[', ']', '\\', ',', ':', ';']) {
            return Err(EmailError::NotPlain);
        }
        let (local, domain) = text.rsplit_once('@').ok_or(EmailError::NoAddress)?;
        let local = UserName::parse(local).map_err(|_| EmailError::Local)?;
        let local = local.canonical();
        if local.contains(['%', '!']) {
            return Err(EmailError::Route);
        }
        // The domain is taken from the text as given: folding would make another domain
        // of one with a ß, and IDNA has rules of its own.
        let domain = ascii_domain(domain).ok_or(EmailError::Domain)?;
        // Folding can make a quote of what was none.
        if local.starts_with('"') || !email_address::EmailAddress::is_valid_local_part(local) {
            return Err(EmailError::Local);
        }
        let user_name = UserName::parse(&format!("{EMAIL}{local}@{domain}"))?;
        // What comes back from tokens and the database must be what went in.
        let domain_at = EMAIL.len() + local.len() + 1;
        let stays = user_name.canonical().get(domain_at..) == Some(&*domain);
        if !stays {
            return Err(EmailError::Domain);
        }
        Ok(EmailAddress {
            user_name,
            domain_at,
        })
    }

    /// The whole address: what a mail is sent to. Parsed again, it gives the same address.
    pub fn canonical(&self) -> &str {
        &self.user_name.canonical()[EMAIL.len()..]
    }

    /// The domain in ASCII and lower case, without a dot at its end.
    pub fn domain(&self) -> &str {
        &self.user_name.canonical()[self.domain_at..]
    }

    /// The user behind the address: `email:<address>`, another one than the account that
    /// has the address for its name.
    pub fn user_name(&self) -> UserName {
        self.user_name.clone()
    }
}

impl fmt::Display for EmailAddress {
    /// Writes the canonical form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.canonical())
    }
}

/// The domain in ASCII: what IDNA (UTS 46, not transitional) makes of it under the rules
/// for host names. `None` for what is no domain, an IP address included.
fn ascii_domain(text: &str) -> Option<String> {
    let ascii = Uts46::new()
        .to_ascii(
            text.as_bytes(),
            AsciiDenyList::STD3,
            Hyphens::CheckFirstLast,
            DnsLength::Verify,
        )
        .ok()?;
    // No top-level domain is a number (RFC 3696, section 2): this is an address.
    let last = ascii.rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit());
    // As strict as the parser of addresses, so that no list holds what no address has.
    let is_domain = !is_number && email_address::EmailAddress::is_valid_domain(&ascii);
    is_domain.then(|| ascii.into_owned())
}

/// An entry of a list of domains that is no domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the name of a domain")]
pub struct DomainError(pub Arc<str>);

/// To which domains mail may go. Whole domains are compared, in ASCII: `example.com`
/// says nothing about `mail.example.com` or `example.com.evil.test`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DomainRules {
    allowed: BTreeSet<String>,
    denied: BTreeSet<String>,
}

impl DomainRules {
    /// The rules of two lists. An empty list of allowed domains allows all; a domain that
    /// stands in both is denied.
    pub fn new(allowed: BTreeSet<String>, denied: BTreeSet<String>) -> DomainRules {
        DomainRules { allowed, denied }
    }

    /// One list, each domain in the form in which addresses have it.
    ///
    /// # Errors
    /// [`DomainError`] for the first entry that is no domain, such as `*.example.com` or
    /// `@example.com`: an entry that matched nothing would be a rule that is not there.
    pub fn parse_list<T: AsRef<str>>(entries: &[T]) -> Result<BTreeSet<String>, DomainError> {
        let parse = |entry: &T| {
            let entry = entry.as_ref();
            ascii_domain(entry).ok_or_else(|| DomainError(entry.into()))
        };
        entries.iter().map(parse).collect()
    }

    /// Whether mail may go to that address.
    pub fn permits(&self, address: &EmailAddress) -> bool {
        let domain = address.domain();
        !self.denied.contains(domain) && (self.allows_all() || self.allowed.contains(domain))
    }

    /// Whether nothing but the denied domains is kept out.
    pub fn allows_all(&self) -> bool {
        self.allowed.is_empty()
    }
}

#[cfg(test)]
mod tests;
