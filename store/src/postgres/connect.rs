//! Where the database is, and the settings that every connection to it is given.

use std::path::PathBuf;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::tls;
use super::trouble::Trouble;
use crate::error::StoreError;

/// Name look-up, TCP, TLS and log-in together.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Commits attempts or batches.
    Lane,
    /// Answers queries.
    Reader,
    /// Brings the schema up to date, however long that takes.
    Migration,
}

impl Role {
    /// The settings of the session, sent once it stands.
    ///
    /// A commit is on the disk before it is answered, whatever the server's default
    /// is. A lane's statements are cut off after [`super::session::ROUND_TRIP`], so
    /// that no answer of a lane ever is that of a cut-off commit. Its plans are made
    /// once, for any number of rows; without the three switches a plan made while a
    /// table was empty would go on reading all of it.
    pub(super) fn settings(self) -> &'static str {
        match self {
            Self::Lane => {
                "SET synchronous_commit = on; SET statement_timeout = '1500ms';
                 SET lock_timeout = '1s'; SET idle_in_transaction_session_timeout = '5s';
                 SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off;
                 SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off"
            }
            Self::Reader => {
                "SET statement_timeout = '10s'; SET lock_timeout = '1s';
                 SET idle_in_transaction_session_timeout = '5s';
                 SET default_transaction_read_only = on; SET jit = off"
            }
            Self::Migration => {
                "SET synchronous_commit = on; SET statement_timeout = 0; SET lock_timeout = 0;
                 SET idle_in_transaction_session_timeout = '60s'"
            }
        }
    }
}

/// A database that can be connected to.
pub(super) struct Place {
    pub(super) config: Config,
    pub(super) tls: MakeRustlsConnect,
    /// `host:port/database`, without user and password.
    label: String,
}

impl Place {
    /// Reads a `postgresql://` URL. `sslmode` is `disable`, `prefer` (the default:
    /// encrypted if the server can, but not proven to be the right server) or
    /// `require` (encrypted and proven, against public authorities or those in the
    /// PEM file `sslrootcert`); `verify-ca` and `verify-full` mean `require`.
    pub(super) fn parse(url: &str) -> Result<Self, StoreError> {
        let (url, roots) = take_root_file(url);
        let url = url
            .replace("sslmode=verify-full", "sslmode=require")
            .replace("sslmode=verify-ca", "sslmode=require");
        let mut config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
            StoreError::Unusable(format!(
                "the database URL is not usable: {}",
                explain(&error)
            ))
        })?;
        config
            .application_name("otpd")
            .connect_timeout(CONNECT_LIMIT)
            .tcp_user_timeout(CONNECT_LIMIT)
            .keepalives(true)
            .keepalives_idle(Duration::from_secs(5))
            .keepalives_interval(Duration::from_secs(1))
            .keepalives_retries(3);
        if config.get_hosts().len() > 1 {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        let roots = roots.filter(|_| config.get_ssl_mode() != SslMode::Disable);
        let tls = tls::connector(config.get_ssl_mode(), roots.as_deref())?;
        let label = label(&config);
        Ok(Self { config, tls, label })
    }

    /// Connects and sets the session up.
    pub(super) async fn connect(&self, role: Role) -> Result<(Client, Wire), Trouble> {
        let connect = async {
            let (client, connection) = self.config.connect(self.tls.clone()).await?;
            let wire = Wire(tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(error = explain(&error), "a database connection ended");
                }
            }));
            client.batch_execute(role.settings()).await?;
            Ok((client, wire))
        };
        match tokio::time::timeout(CONNECT_LIMIT, connect).await {
            Ok(connected) => connected.map_err(Trouble::of),
            Err(_) => Err(Trouble::Lost(None)),
        }
    }

    /// The sentence for whoever starts the server.
    pub(super) fn unreachable(&self, trouble: &Trouble) -> StoreError {
        let cause = match trouble {
            Trouble::Lost(Some(error)) | Trouble::Again(error) | Trouble::Failed(error) => {
                explain(error)
            }
            Trouble::Lost(None) => "no answer in time".into(),
        };
        let label = &self.label;
        StoreError::Unusable(format!("cannot reach the database at {label}: {cause}"))
    }
}

/// The task that moves a connection's bytes. Dropping it closes the socket at once,
/// without a word to the server: what runs there runs to its end or its time limit.
pub(super) struct Wire(pub(super) JoinHandle<()>);

impl Drop for Wire {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An error with its causes; the driver's own text names only the first.
pub(crate) fn explain(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

fn label(config: &Config) -> String {
    let ports = config.get_ports();
    let hosts = config.get_hosts().iter().enumerate().map(|(place, host)| {
        let port = ports.get(place).or(ports.first()).copied().unwrap_or(5432);
        match host {
            Host::Tcp(name) => format!("{name}:{port}"),
            #[cfg(unix)]
            Host::Unix(folder) => format!("{}:{port}", folder.display()),
        }
    });
    let hosts: Vec<String> = hosts.collect();
    let database = config.get_dbname().or(config.get_user()).unwrap_or("");
    format!("{}/{database}", hosts.join(","))
}

/// Takes `sslrootcert` out of a URL; the driver does not know it.
fn take_root_file(url: &str) -> (String, Option<PathBuf>) {
    let Some((address, options)) = url.split_once('?') else {
        return (url.to_owned(), None);
    };
    let mut file = None;
    let mut others = Vec::new();
    for option in options.split('&') {
        match option.strip_prefix("sslrootcert=") {
            Some(path) => file = Some(PathBuf::from(path)),
            None => others.push(option),
        }
    }
    let url = if others.is_empty() {
        address.to_owned()
    } else {
        format!("{address}?{}", others.join("&"))
    };
    (url, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_names_the_database_and_no_secret() {
        fn check(url: &str, expected: &str) {
            assert_eq!(Place::parse(url).unwrap().label, expected, "{url}");
        }
        check("postgresql://u:secret@h/d", "h:5432/d");
        check("postgresql://u:secret@h:6000", "h:6000/u");
        check("postgresql://u:secret@a:1,b:2/d", "a:1,b:2/d");
    }

    #[test]
    fn the_modes_of_other_drivers_are_understood() {
        fn check(url: &str, expected: SslMode) {
            let place = Place::parse(url).unwrap();
            assert_eq!(place.config.get_ssl_mode(), expected, "{url}");
        }
        check("postgresql://h/d", SslMode::Prefer);
        check("postgresql://h/d?sslmode=disable", SslMode::Disable);
        check("postgresql://h/d?sslmode=verify-full", SslMode::Require);
        check(
            "postgresql://h/d?sslrootcert=/nowhere&sslmode=disable",
            SslMode::Disable,
        );
    }

    #[test]
    fn a_faulty_url_is_refused_without_its_password() {
        fn check(url: &str, says: &str) {
            let error = Place::parse(url).err().unwrap().to_string();
            assert!(error.contains(says), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        check("postgresql://u:hunter2@h/d?nonsense=1", "nonsense");
        check("postgresql://u:hunter2@h:port/d", "not usable");
        check(
            "postgresql://u:hunter2@h/d?sslmode=require&sslrootcert=/nowhere.pem",
            "/nowhere.pem",
        );
    }
}
