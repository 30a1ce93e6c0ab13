//! The database's URL: what the driver reads of it, and what it does not know but libpq does.

use std::net::IpAddr;
use std::path::PathBuf;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::connect::explain;
use crate::error::StoreError;

/// How much a server has to prove, in libpq's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Encryption {
    /// Never encrypted.
    Disable,
    /// Encrypted if the server can. libpq's `allow`, which would rather not, means the
    /// same here: nobody wants less than they can have.
    #[default]
    Prefer,
    /// Encrypted, by whomever it may be; with an `sslrootcert` as [`Self::VerifyCa`].
    Require,
    /// The certificate is signed by the authority in `sslrootcert`.
    VerifyCa,
    /// And it is this host's.
    VerifyFull,
}

impl Encryption {
    fn parse(word: &str) -> Result<Self, StoreError> {
        Ok(match word {
            "disable" => Self::Disable,
            "allow" | "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            _ => {
                return Err(unusable(
                    "sslmode is one of disable, allow, prefer, require, verify-ca, verify-full",
                ));
            }
        })
    }

    /// What the driver has to know of it.
    pub(super) fn mode(self) -> SslMode {
        match self {
            Self::Disable => SslMode::Disable,
            Self::Prefer => SslMode::Prefer,
            Self::Require | Self::VerifyCa | Self::VerifyFull => SslMode::Require,
        }
    }
}

/// Whom a certificate has to be signed by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Roots {
    /// Nothing was said.
    #[default]
    Unsaid,
    /// The public authorities (`sslrootcert=system`).
    Public,
    /// Those in a PEM file.
    File(PathBuf),
}

/// What a URL says of TLS.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Security {
    pub(super) encryption: Encryption,
    pub(super) roots: Roots,
    /// `sslcert` and `sslkey`: by what the client proves itself.
    pub(super) identity: Option<(PathBuf, PathBuf)>,
}

/// A URL as read.
pub(super) struct Address {
    /// One for each host, in the order of the URL.
    pub(super) hosts: Vec<Config>,
    pub(super) security: Security,
}

/// The options that the driver does not know, or knows less of than libpq.
#[derive(Default)]
struct Options {
    mode: Option<String>,
    roots: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
    target: Option<String>,
}

impl Address {
    /// Reads a `postgresql://` URL. The error never repeats it: it holds a password.
    pub(super) fn parse(url: &str) -> Result<Self, StoreError> {
        let (url, options) = Options::take(url)?;
        let config: Config = url
            .parse()
            .map_err(|error: tokio_postgres::Error| unusable(&explain(&error)))?;
        // The driver would let a server that never answers keep it from the next one.
        let hosts = one_by_one(&config)?;
        options.check_target()?;
        let security = options.security()?;
        Ok(Self { hosts, security })
    }
}

/// Whether each of the servers of a URL runs on this machine: a loopback address, `localhost`,
/// or a folder with a socket. `false` when the URL cannot be read.
pub(crate) fn are_here(url: &str) -> bool {
    Address::parse(url).is_ok_and(|address| address.hosts.iter().all(is_here))
}

fn is_here(config: &Config) -> bool {
    // The unspecified address leads to this machine, too.
    let is_ours = |address: IpAddr| {
        let address = address.to_canonical();
        address.is_loopback() || address.is_unspecified()
    };
    match (config.get_hostaddrs().first(), config.get_hosts().first()) {
        (Some(address), _) => is_ours(*address),
        (None, Some(Host::Tcp(name))) => match name.parse() {
            Ok(address) => is_ours(address),
            Err(_) => name.trim_end_matches('.').eq_ignore_ascii_case("localhost"),
        },
        #[cfg(unix)]
        (None, Some(Host::Unix(_))) => true,
        (None, None) => false,
    }
}

impl Options {
    /// Splits them off; the last of a kind counts.
    fn take(url: &str) -> Result<(String, Self), StoreError> {
        let mut taken = Self::default();
        let Some((address, options)) = url.split_once('?') else {
            return Ok((url.to_owned(), taken));
        };
        let mut others = Vec::new();
        for option in options.split('&') {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let place = match name {
                "sslmode" => &mut taken.mode,
                "sslrootcert" => &mut taken.roots,
                "sslcert" => &mut taken.certificate,
                "sslkey" => &mut taken.key,
                "target_session_attrs" => &mut taken.target,
                _ => {
                    others.push(option);
                    continue;
                }
            };
            *place = Some(decoded(value)?).filter(|value| !value.is_empty());
        }
        let url = if others.is_empty() {
            address.to_owned()
        } else {
            format!("{address}?{}", others.join("&"))
        };
        Ok((url, taken))
    }

    /// Whatever is said, a server that takes no writes is of no use.
    fn check_target(&self) -> Result<(), StoreError> {
        match self.target.as_deref() {
            None | Some("any" | "read-write" | "primary") => Ok(()),
            Some(_) => Err(unusable(
                "target_session_attrs can only be read-write, primary or any: a server that \
                 takes no writes is of no use",
            )),
        }
    }

    fn security(self) -> Result<Security, StoreError> {
        let mode = self.mode.as_deref().map(Encryption::parse).transpose()?;
        let roots = match self.roots.as_deref() {
            None => Roots::Unsaid,
            Some("system") => Roots::Public,
            Some(path) => Roots::File(path.into()),
        };
        let encryption = match (mode.unwrap_or_default(), &roots) {
            // Whoever names an authority wants it to be asked.
            (Encryption::Prefer | Encryption::Require, Roots::File(_)) => Encryption::VerifyCa,
            // libpq's rule: an authority that signs for everybody proves nothing but names.
            (Encryption::Disable | Encryption::VerifyFull, Roots::Public)
            | (_, Roots::Unsaid | Roots::File(_)) => mode.unwrap_or_default(),
            (_, Roots::Public) => {
                return Err(unusable("sslrootcert=system needs sslmode=verify-full"));
            }
        };
        if encryption == Encryption::VerifyCa && roots == Roots::Unsaid {
            return Err(unusable(
                "sslmode=verify-ca needs sslrootcert, the PEM file of the authority",
            ));
        }
        let identity = match (self.certificate, self.key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
            _ => return Err(unusable("sslcert and sslkey go together")),
        };
        Ok(Security {
            encryption,
            roots,
            identity,
        })
    }
}

fn unusable(why: &str) -> StoreError {
    StoreError::Unusable(format!("the database URL is not usable: {why}"))
}

/// Percent-decoded (RFC 3986, section 2.1).
fn decoded(text: &str) -> Result<String, StoreError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let pair = after
            .get(..2)
            .and_then(|pair| std::str::from_utf8(pair).ok());
        let value = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok());
        match (byte, value) {
            (b'%', Some(value)) => {
                bytes.push(value);
                rest = &after[2..];
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| unusable("an option is not UTF-8"))
}

/// The same settings for each host alone.
fn one_by_one(config: &Config) -> Result<Vec<Config>, StoreError> {
    let (hosts, addresses) = (config.get_hosts(), config.get_hostaddrs());
    let number = hosts.len().max(addresses.len());
    let ports = config.get_ports();
    if number == 0 {
        return Err(unusable("it names no host"));
    }
    let fits = |length: usize| length == number;
    if (!hosts.is_empty() && !addresses.is_empty() && !fits(hosts.len().min(addresses.len())))
        || (ports.len() > 1 && !fits(ports.len()))
    {
        return Err(unusable("it names other numbers of hosts and of ports"));
    }
    let one = |place: usize| {
        let mut one = shared_settings(config);
        match hosts.get(place) {
            Some(Host::Tcp(name)) => drop(one.host(name)),
            #[cfg(unix)]
            Some(Host::Unix(folder)) => drop(one.host_path(folder)),
            None => {}
        }
        if let Some(address) = addresses.get(place) {
            one.hostaddr(*address);
        }
        if let Some(port) = ports.get(place).or(ports.first()) {
            one.port(*port);
        }
        one
    };
    Ok((0..number).map(one).collect())
}

fn shared_settings(config: &Config) -> Config {
    let mut shared = Config::new();
    if let Some(user) = config.get_user() {
        shared.user(user);
    }
    if let Some(password) = config.get_password() {
        shared.password(password);
    }
    if let Some(database) = config.get_dbname() {
        shared.dbname(database);
    }
    if let Some(options) = config.get_options() {
        shared.options(options);
    }
    shared
        .ssl_negotiation(config.get_ssl_negotiation())
        .channel_binding(config.get_channel_binding());
    shared
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_modes_of_libpq_are_understood() {
        fn check(options: &str, expected: Encryption, roots: &Roots) {
            let address = Address::parse(&format!("postgresql://h/d{options}")).unwrap();
            assert_eq!(address.security.encryption, expected, "{options}");
            assert_eq!(address.security.roots, *roots, "{options}");
        }
        let file = Roots::File("/my ca.pem".into());
        check("", Encryption::Prefer, &Roots::Unsaid);
        check("?sslmode=disable", Encryption::Disable, &Roots::Unsaid);
        check("?sslmode=allow", Encryption::Prefer, &Roots::Unsaid);
        check("?sslmode=require", Encryption::Require, &Roots::Unsaid);
        check(
            "?sslmode=verify-full",
            Encryption::VerifyFull,
            &Roots::Unsaid,
        );
        check("?sslrootcert=/my%20ca.pem", Encryption::VerifyCa, &file);
        let options = "?sslmode=require&sslrootcert=/my%20ca.pem";
        check(options, Encryption::VerifyCa, &file);
        let options = "?connect_timeout=1&sslmode=verify-full&sslrootcert=system";
        check(options, Encryption::VerifyFull, &Roots::Public);
        let options = "?sslrootcert=/my%20ca.pem&sslmode=disable";
        check(options, Encryption::Disable, &file);
    }

    #[test]
    fn each_host_is_tried_for_itself() {
        fn check(url: &str, expected: &[(&str, u16)]) {
            let address = Address::parse(url).unwrap();
            let host = |config: &Config| match &config.get_hosts()[0] {
                Host::Tcp(name) => (name.clone(), config.get_ports()[0]),
                other => panic!("{other:?}"),
            };
            let found: Vec<_> = address.hosts.iter().map(host).collect();
            let expected: Vec<_> = expected
                .iter()
                .map(|(n, p)| ((*n).to_owned(), *p))
                .collect();
            assert_eq!(found, expected, "{url}");
            for config in &address.hosts {
                assert_eq!(config.get_user(), Some("u"));
                assert_eq!(config.get_password(), Some(&b"p"[..]));
                assert_eq!(config.get_dbname(), Some("d"));
            }
        }
        check("postgresql://u:p@a:1,b:2/d", &[("a", 1), ("b", 2)]);
        check(
            "postgresql://u:p@a,b:7/d?target_session_attrs=read-write",
            &[("a", 5432), ("b", 7)],
        );
        check(
            "postgresql://u:p@a:7/d?target_session_attrs=primary",
            &[("a", 7)],
        );
    }

    #[test]
    fn a_server_on_this_machine_is_known() {
        fn check(rest: &str, expected: bool) {
            let url = format!("postgresql://u:p@{rest}");
            assert!(Address::parse(&url).is_ok(), "{rest}");
            assert_eq!(are_here(&url), expected, "{rest}");
        }
        check("127.0.0.1/d", true);
        check("127.8.9.1:5433/d", true);
        check("[::1]:5433/d", true);
        check("[::ffff:127.0.0.1]/d", true);
        check("0.0.0.0/d", true);
        check("LocalHost/d", true);
        check("localhost./d", true);
        check("%2Frun%2Fpostgresql/d", true);
        check("localhost:5432,127.0.0.1:5433/d", true);
        check("one/d?hostaddr=127.0.0.1", true);
        check("localhost/d?hostaddr=10.0.0.1", false);
        check("one/d", false);
        check("localhost.example.com/d", false);
        check("10.0.0.1/d", false);
        check("127.0.0.1,two/d", false);
    }

    #[test]
    fn a_faulty_url_is_refused_without_its_password() {
        fn check(rest: &str, says: &str) {
            let error = Address::parse(&format!("postgresql://u:hunter2@{rest}"));
            let error = error.err().unwrap().to_string();
            assert!(error.contains(says), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        check("h/d?nonsense=1", "nonsense");
        check("h:port/d", "not usable");
        check("/d", "no host");
        check("h/d?sslmode=always", "sslmode is one of");
        check("h/d?sslmode=verify-ca", "needs sslrootcert");
        check("h/d?sslmode=require&sslrootcert=system", "verify-full");
        check("h/d?sslcert=/c.pem", "go together");
        check("h/d?target_session_attrs=standby", "takes no writes");
        check("a:1,b:2,c:3/d?port=4", "numbers");
    }
}
