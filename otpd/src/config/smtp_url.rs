//! `email.smtp_url`: the mail server, how its connection is protected, and who logs in there.

use app::mail::Security;

use super::checks;
use super::database_url::is_scheme;
use super::secret::SecretText;

/// A mail server's address.
pub struct SmtpUrl {
    /// A name or an IP address, IPv6 without brackets.
    pub host: String,
    /// 25 or 465 unless given.
    pub port: u16,
    /// How the connection is protected.
    pub security: Security,
    /// User and password, if given.
    pub login: Option<(String, SecretText)>,
}

type Fault = (String, String);

const EXPECTED: &str = "smtp://HOST or smtps://HOST is expected";

fn fault(found: &str, expected: &str) -> Fault {
    (found.to_owned(), expected.to_owned())
}

impl SmtpUrl {
    /// Reads an address: `smtp://host`, `smtp://host?tls=required`, `smtps://host`, each
    /// also with `user:password@` and `:port`.
    ///
    /// # Errors
    /// What was found and what is expected. The text names no part of the address beyond
    /// its scheme, since the rest may hold a password.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let scheme = text.split_once(':').map(|(scheme, _)| scheme);
        let scheme = scheme.filter(|scheme| is_scheme(scheme));
        let scheme = scheme.ok_or_else(|| fault("has no scheme", EXPECTED))?;
        let rest = &text[scheme.len() + 1..];
        let scheme = scheme.to_ascii_lowercase();
        let (mut security, port) = match scheme.as_str() {
            "smtp" => (Security::Opportunistic, 25),
            "smtps" => (Security::Tls, 465),
            _ => {
                let found = format!("is an address of the kind `{scheme}:`");
                return Err((found, EXPECTED.into()));
            }
        };
        let rest = rest.strip_prefix("//");
        let rest = rest.ok_or_else(|| fault("has no host", EXPECTED))?;
        // People write passwords with `/`, `?` and `@` in them: the last `@` ends one.
        let (user, place) = match rest.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, rest),
        };
        let (place, option) = match place.split_once('?') {
            Some((place, option)) => (place, Some(option)),
            None => (place, None),
        };
        match option {
            None => {}
            Some("tls=required") if security == Security::Opportunistic => {
                security = Security::StartTls;
            }
            Some(_) => {
                let expected = "smtp://HOST?tls=required is the only one that there is";
                return Err(fault("has an option that is not known", expected));
            }
        }
        let (host, given) = host_and_port(place.strip_suffix('/').unwrap_or(place))?;
        Ok(Self {
            host,
            port: given.unwrap_or(port),
            security,
            login: user.map(login).transpose()?,
        })
    }
}

fn host_and_port(place: &str) -> Result<(String, Option<u16>), Fault> {
    // An IPv6 address has colons of its own and stands in brackets.
    let end = place.rfind(']').map_or(0, |bracket| bracket + 1);
    let (host, port) = match place[end..].find(':') {
        Some(colon) => (&place[..end + colon], Some(&place[end + colon + 1..])),
        None => (place, None),
    };
    let host = checks::host(host).map_err(|_| fault("has no host that is one", EXPECTED))?;
    let port = port.map(|port| match port.parse() {
        Ok(number) if number > 0 && port.bytes().all(|byte| byte.is_ascii_digit()) => Ok(number),
        _ => Err(fault("has a port that is none", "1 to 65535 is expected")),
    });
    Ok((host, port.transpose()?))
}

fn login(text: &str) -> Result<(String, SecretText), Fault> {
    match text.split_once(':') {
        Some((user, password)) if !user.is_empty() && !password.is_empty() => {
            Ok((decoded(user)?, SecretText::new(decoded(password)?)))
        }
        _ => Err(fault(
            "names a user without a password, or the reverse",
            "USER:PASSWORD@ is expected before the host",
        )),
    }
}

/// The text with each `%` and two hexadecimal digits made the byte they stand for
/// (RFC 3986, section 2.1).
fn decoded(text: &str) -> Result<String, Fault> {
    let bad = || fault("has a % that stands for nothing", "%25 is expected for a %");
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let digits = part.get(..2).ok_or_else(bad)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(bad());
        }
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| bad())?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_mail_servers() {
        fn check(
            text: &str,
            host: &str,
            port: u16,
            security: Security,
            login: Option<(&str, &str)>,
        ) {
            let url = SmtpUrl::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
            assert_eq!(
                (url.host.as_str(), url.port, url.security),
                (host, port, security)
            );
            let found = url
                .login
                .as_ref()
                .map(|(user, word)| (user.as_str(), word.expose()));
            assert_eq!(found, login, "{text}");
        }
        use Security::{Opportunistic, StartTls, Tls};
        check(
            "smtp://mail.example.com",
            "mail.example.com",
            25,
            Opportunistic,
            None,
        );
        check(
            "smtp://localhost:2525/",
            "localhost",
            2525,
            Opportunistic,
            None,
        );
        check("SMTP://h?tls=required", "h", 25, StartTls, None);
        check("smtp://h:587?tls=required", "h", 587, StartTls, None);
        check("smtps://h", "h", 465, Tls, None);
        check("smtps://[::1]:4650", "::1", 4650, Tls, None);
        check("smtp://[::1]", "::1", 25, Opportunistic, None);
        check(
            "smtp://127.0.0.1:1025",
            "127.0.0.1",
            1025,
            Opportunistic,
            None,
        );
        check("smtps://u:p@h", "h", 465, Tls, Some(("u", "p")));
        let odd = Some(("me@example.com", "a:/?@ %b"));
        check(
            "smtps://me%40example.com:a:/?@%20%25b@h:1",
            "h",
            1,
            Tls,
            odd,
        );
    }

    #[test]
    fn other_addresses_are_refused_without_showing_them() {
        fn check(text: &str, found: &str) {
            let (words, expected) = SmtpUrl::parse(text)
                .err()
                .unwrap_or_else(|| panic!("{text}"));
            assert!(words.contains(found), "{text}: {words}");
            assert!(!words.contains("hunter2") && !expected.contains("hunter2"));
        }
        check("hunter2", "no scheme");
        check("hunter2 x:y", "no scheme");
        check("http://u:hunter2@h", "`http:`");
        check("imap://h", "`imap:`");
        check("smtp:hunter2", "no host");
        check("smtp://", "no host");
        check("smtp://u:hunter2@", "no host");
        check("smtp://h/path", "no host");
        check("smtp://::1", "no host");
        check("smtp://a b", "no host");
        check("smtp://h:", "a port");
        check("smtp://h:0", "a port");
        check("smtp://h:65536", "a port");
        check("smtp://h:+25", "a port");
        check("smtp://h:hunter2", "a port");
        check("smtp://h?tls=no", "an option");
        check("smtp://h?tls=required&x=hunter2", "an option");
        check("smtps://h?tls=required", "an option");
        check("smtp://hunter2@h", "a user without a password");
        check("smtp://hunter2:@h", "a user without a password");
        check("smtp://:hunter2@h", "a user without a password");
        check("smtp://u:hunter2%@h", "a %");
        check("smtp://u:hunter2%4@h", "a %");
        check("smtp://u:hunter2%zz@h", "a %");
        check("smtp://u:hunter2%+1@h", "a %");
        check("smtp://u:hunter2%ff@h", "a %");
        check("smtp://u:%é@h", "a %");
    }
}
