//! Builds the settings of mail: `[email]` and the levels of emailed codes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use domain::email_level::LIFETIME_SECONDS;
use domain::{DomainRules, EmailAddress, EmailLevel, EmailLevels};
use otp::Digits;

use super::build::seconds;
use super::known::EMAIL_LEVELS;
use super::problem::quoted;
use super::reader::{Fault, Reader};
use super::settings::Email;
use super::smtp_url::SmtpUrl;

const URL: &str = "email.smtp_url";

pub(super) fn email(r: &mut Reader, folder: &Path) -> Email {
    let smtp_url = smtp_url(r);
    let from = r.parsed("email.from", None, sender);
    if smtp_url.is_some() && r.text("email.from").is_empty() {
        let expected = "`email.from` is expected beside it";
        r.refuse(URL, ("is given alone".into(), expected.into()));
    }
    let smtp_ca = Some(r.text("email.smtp_ca")).filter(|path| !path.is_empty());
    Email {
        smtp_ca: smtp_ca.map(|path| folder.join(path)),
        smtp_url,
        smtp_timeout: seconds(r, "email.smtp_timeout_seconds", 1..=300),
        from,
        domains: DomainRules::new(
            domains(r, "email.allowed_domains"),
            domains(r, "email.denied_domains"),
        ),
        resend: seconds(r, "email.resend_seconds", 1..=900),
    }
}

pub(super) fn levels(r: &mut Reader) -> EmailLevels {
    let default = level(r, None);
    let mut named = BTreeMap::new();
    for name in r.names_in(&EMAIL_LEVELS) {
        let level = level(r, Some(&name));
        named.insert(name, level);
    }
    EmailLevels { default, named }
}

fn level(r: &mut Reader, name: Option<&str>) -> EmailLevel {
    let [life, digits] =
        ["code_seconds", "code_digits"].map(|field| r.key_in(&EMAIL_LEVELS, name, field));
    let bounds = i64::from(*LIFETIME_SECONDS.start())..=i64::from(*LIFETIME_SECONDS.end());
    EmailLevel {
        lifetime: r.whole(&life, bounds, "seconds"),
        digits: Digits::new(r.whole(&digits, 6..=8, "digits")).unwrap_or_default(),
    }
}

fn smtp_url(r: &mut Reader) -> Option<SmtpUrl> {
    let text = r.secret(URL, |_| Ok(()))?;
    match SmtpUrl::parse(text.expose()) {
        Ok(url) => Some(url),
        Err(fault) => {
            r.refuse(URL, fault);
            None
        }
    }
}

fn sender(text: &str) -> Result<Option<EmailAddress>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    let address = EmailAddress::parse(text);
    address.map(Some).map_err(|_| {
        (
            format!("is {}", quoted(text)),
            "an email address such as no-reply@example.com is expected".into(),
        )
    })
}

fn domains(r: &mut Reader, key: &str) -> BTreeSet<String> {
    match DomainRules::parse_list(r.list(key)) {
        Ok(domains) => domains,
        Err(error) => {
            let expected = "names of domains (example.com) are expected";
            r.refuse(
                key,
                (format!("holds {}", quoted(&error.0)), expected.into()),
            );
            BTreeSet::new()
        }
    }
}
