//! Where the database is, and the settings that every connection to it is given.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio_postgres::config::Host;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Error, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::address::Address;
use super::inspect::{self, SETTINGS};
use super::tls;
use super::trouble::leaves_doubt;
use crate::error::StoreError;
use crate::sqlite::Access;

/// Name look-up, TCP, TLS and log-in together.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// The same where there is another host to try: one that hangs is not waited for long.
const LIMIT_OF_SEVERAL: Duration = Duration::from_secs(1);

/// Asked with the settings, in the same round trip.
const IS_STANDBY: &str = "SELECT CAST(pg_is_in_recovery() AS TEXT)";

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
    /// table was empty would go on reading all of it. The server gives up a client whose
    /// machine is gone as soon as we give up a server, and with it the locks it held. Pages
    /// that a lane's session has to write out for want of memory go to the disk as they
    /// come: left to the operating system, hundreds of MB go at once after half a minute,
    /// and commits wait for them.
    pub(super) fn settings(self) -> &'static str {
        match self {
            Self::Lane => {
                "SET synchronous_commit = on; SET statement_timeout = '1500ms';
                 SET lock_timeout = '1s'; SET idle_in_transaction_session_timeout = '5s';
                 SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 1;
                 SET tcp_keepalives_count = 3; SET tcp_user_timeout = '5s';
                 SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off;
                 SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off;
                 SET backend_flush_after = '256kB'"
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

/// A database that can be connected to, at one host or at several of which one takes
/// writes at a time.
pub(super) struct Place {
    hosts: Vec<Member>,
    tls: MakeRustlsConnect,
    /// The hosts and the database, without user and password.
    label: String,
    access: Access,
    /// The host that a connection was made to last; tried first the next time.
    last: AtomicUsize,
    /// How often whoever reads was to connect anew.
    doubts: AtomicUsize,
}

/// What a connection was made to, for [`Place::is_current`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    host: usize,
    doubts: usize,
}

struct Member {
    config: Config,
    /// `host:port`.
    label: String,
}

/// A connection, set up.
pub(super) struct Connected {
    pub(super) client: Client,
    pub(super) wire: Wire,
    pub(super) mark: Mark,
}

/// Why a host was of no use.
#[derive(Debug)]
pub(super) enum Reason {
    Failed(Error),
    Late,
    /// It takes no writes.
    Standby,
    /// It may lose what it confirms: why.
    Unsafe(String),
}

/// No host was of use.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NoWay(String);

impl NoWay {
    /// For whoever starts the server.
    pub(super) fn into_unusable(self) -> StoreError {
        StoreError::Unusable(self.0)
    }
}

impl Place {
    /// Reads a `postgresql://` URL: see [`Address`]. For writing, hosts that are standbys
    /// are passed over.
    pub(super) fn parse(url: &str, access: Access) -> Result<Self, StoreError> {
        let address = Address::parse(url)?;
        let tls = tls::connector(&address.security)?;
        let mode = address.security.encryption.mode();
        let member = |mut config: Config| {
            config
                .ssl_mode(mode)
                .application_name("otpd")
                .connect_timeout(CONNECT_LIMIT)
                .tcp_user_timeout(CONNECT_LIMIT)
                .keepalives(true)
                .keepalives_idle(Duration::from_secs(5))
                .keepalives_interval(Duration::from_secs(1))
                .keepalives_retries(3);
            let label = host_label(&config);
            Member { config, label }
        };
        let hosts: Vec<Member> = address.hosts.into_iter().map(member).collect();
        let names: Vec<&str> = hosts.iter().map(|host| &*host.label).collect();
        let config = hosts.first().map(|host| &host.config);
        let database = config.and_then(|c| c.get_dbname().or(c.get_user()));
        let label = format!("{}/{}", names.join(","), database.unwrap_or_default());
        Ok(Self {
            hosts,
            tls,
            label,
            access,
            last: AtomicUsize::new(0),
            doubts: AtomicUsize::new(0),
        })
    }

    /// Connects to the host that served last, else to the next that serves, and sets the
    /// session up.
    pub(super) async fn connect(&self, role: Role) -> Result<Connected, NoWay> {
        let limit = match self.hosts.len() {
            1 => CONNECT_LIMIT,
            _ => LIMIT_OF_SEVERAL,
        };
        let first = self.last.load(Ordering::Relaxed);
        let doubts = self.doubts.load(Ordering::Relaxed);
        let mut reasons = Vec::new();
        for step in 0..self.hosts.len() {
            let number = (first + step) % self.hosts.len();
            let host = &self.hosts[number];
            let connect = self.connect_to(host, role);
            match tokio::time::timeout(limit, connect).await {
                Ok(Ok((client, wire))) => {
                    // Where the writes go is for those to say who write, where anybody does.
                    let says = role != Role::Reader || self.access == Access::Read;
                    if says && self.last.swap(number, Ordering::Relaxed) != number {
                        tracing::warn!(host = host.label, "the database is at another host now");
                    }
                    let host = number;
                    let mark = Mark { host, doubts };
                    return Ok(Connected { client, wire, mark });
                }
                Ok(Err(reason)) => reasons.push((number, reason)),
                Err(_) => reasons.push((number, Reason::Late)),
            }
        }
        reasons.sort_by_key(|(number, _)| *number);
        Err(NoWay(self.sentence(&reasons)))
    }

    /// Whether a connection still reads what is written now: once another host has taken
    /// writes, the former one may go on answering from the past.
    pub(super) fn is_current(&self, mark: Mark) -> bool {
        self.last.load(Ordering::Relaxed) == mark.host
            && self.doubts.load(Ordering::Relaxed) == mark.doubts
    }

    /// Another server may take the writes now behind the same address: whoever reads connects
    /// anew.
    pub(super) fn doubt_readers(&self) {
        self.doubts.fetch_add(1, Ordering::Relaxed);
    }

    async fn connect_to(&self, host: &Member, role: Role) -> Result<(Client, Wire), Reason> {
        let connected = host.config.connect(self.tls.clone()).await;
        let (client, connection) = connected.map_err(Reason::Failed)?;
        let wire = Wire::of(connection);
        let writes = role != Role::Reader && self.access == Access::Write;
        let asks = if writes { SETTINGS } else { IS_STANDBY };
        let set_up = format!("{}; {asks}", role.settings());
        let said = client.simple_query(&set_up).await.map_err(Reason::Failed)?;
        let found = told(&said);
        if self.access == Access::Write && found.first().is_some_and(|word| word == "true") {
            return Err(Reason::Standby);
        }
        match inspect::objection(&found).filter(|_| writes) {
            Some(sentence) => Err(Reason::Unsafe(sentence)),
            None => Ok((client, wire)),
        }
    }

    fn sentence(&self, reasons: &[(usize, Reason)]) -> String {
        let label = &self.label;
        match reasons {
            [(_, Reason::Standby)] => {
                "the database is a read-only standby: connect to the primary".into()
            }
            [(_, Reason::Unsafe(sentence))] => sentence.clone(),
            [(_, reason)] => format!("cannot reach the database at {label}: {}", reason.words()),
            reasons => {
                let each = |(number, reason): &(usize, Reason)| {
                    format!("{}: {}", self.hosts[*number].label, reason.words())
                };
                let each: Vec<String> = reasons.iter().map(each).collect();
                format!(
                    "no host of the database at {label} can be used: {}",
                    each.join("; ")
                )
            }
        }
    }
}

/// The one row among the answers.
fn told(said: &[SimpleQueryMessage]) -> Vec<String> {
    let row = said.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let fields = row
        .into_iter()
        .flat_map(|row| (0..row.len()).map(|place| row.get(place)));
    fields
        .map(|field| field.unwrap_or_default().to_owned())
        .collect()
}

impl Reason {
    fn words(&self) -> String {
        match self {
            Self::Failed(error) => match tls::objection(error) {
                Some(objection) => objection.into(),
                None => explain(error),
            },
            Self::Late => "no answer in time".into(),
            Self::Standby => "a read-only standby".into(),
            Self::Unsafe(sentence) => sentence.clone(),
        }
    }
}

/// The task that moves a connection's bytes. Dropping it closes the socket at once,
/// without a word to the server: what runs there runs to its end or its time limit.
pub(super) struct Wire {
    task: JoinHandle<()>,
    doubt: Arc<AtomicBool>,
}

impl Wire {
    fn of<S, T>(connection: Connection<S, T>) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let doubt = Arc::default();
        let task = tokio::spawn(drive(connection, Arc::clone(&doubt)));
        Self { task, doubt }
    }

    /// Whether the server has said of a commit in this connection that it may be lost
    /// again. Whoever has its answer knows: the warning comes before.
    pub(super) fn has_doubt(&self) -> bool {
        self.doubt.load(Ordering::Acquire)
    }

    /// Returns when the connection has ended.
    pub(super) async fn ended(&mut self) {
        // However the task ended, the connection is over.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Moves a connection's bytes until it ends, and listens to what the server says unasked.
async fn drive<S, T>(mut connection: Connection<S, T>, doubt: Arc<AtomicBool>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        match poll_fn(|context| connection.poll_message(context)).await {
            Some(Ok(AsyncMessage::Notice(notice))) => {
                if leaves_doubt(&notice) {
                    tracing::error!(%notice, "a commit was confirmed that may be lost again");
                    doubt.store(true, Ordering::Release);
                } else {
                    tracing::debug!(%notice, "a notice of the database");
                }
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                tracing::debug!(error = explain(&error), "a database connection ended");
                return;
            }
            None => return,
        }
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

fn host_label(config: &Config) -> String {
    let port = config.get_ports().first().copied().unwrap_or(5432);
    match (config.get_hosts().first(), config.get_hostaddrs().first()) {
        (Some(Host::Tcp(name)), _) => format!("{name}:{port}"),
        #[cfg(unix)]
        (Some(Host::Unix(folder)), _) => format!("{}:{port}", folder.display()),
        (None, Some(address)) => format!("{address}:{port}"),
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_names_the_database_and_no_secret() {
        fn check(url: &str, expected: &str) {
            let place = Place::parse(url, Access::Write).unwrap();
            assert_eq!(place.label, expected, "{url}");
        }
        check("postgresql://u:secret@h/d", "h:5432/d");
        check("postgresql://u:secret@h:6000", "h:6000/u");
        check("postgresql://u:secret@a:1,b:2/d", "a:1,b:2/d");
    }

    #[test]
    fn what_cannot_be_read_is_named_without_the_password() {
        fn check(options: &str, says: &str) {
            let url = format!("postgresql://u:hunter2@h/d?{options}");
            let error = Place::parse(&url, Access::Write);
            let error = error.err().unwrap().to_string();
            assert!(error.contains(says), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        check("sslmode=require&sslrootcert=/nowhere.pem", "/nowhere.pem");
        check("sslcert=/no.pem&sslkey=/no.key", "/no.pem");
    }
}
