//! One connection to Redis, or to all nodes of a cluster: made within a time limit, used by all callers at once, thrown away when it fails.

use std::fs;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, RedisError, Script,
    ServerErrorKind, TlsCertificates,
};

use super::address::{self, Address};
use super::{Counted, Question, RedisSettings};
use crate::error::StoreError;

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("no answer within {0:?}")]
    Silent(Duration),
    #[error("no connection within {0:?}")]
    Unreachable(Duration),
    #[error("{0}")]
    Redis(#[from] RedisError),
    #[error("it cannot be asked")]
    Unusable,
}

/// A connection with a number of its own.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) number: u64,
    connection: Connection,
}

#[derive(Clone)]
enum Connection {
    One(MultiplexedConnection),
    /// To all nodes; it finds the one that has a key, also when that has moved.
    Cluster(ClusterConnection),
}

impl Connection {
    async fn query<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, RedisError> {
        match self {
            Self::One(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }
}

/// Who to connect to.
#[derive(Clone)]
pub(super) enum Target {
    One(Box<Client>),
    Cluster(Box<ClusterClient>),
}

/// In a cluster: tries of a request whose key has moved or whose node is busy with that,
/// all within the time that the caller waits, and the pauses between them in milliseconds.
const CLUSTER_TRIES: u32 = 3;
const CLUSTER_PAUSES: (u64, u64) = (2, 20);

/// Who to connect to. Nothing is sent yet.
pub(super) fn target(settings: &RedisSettings) -> Result<Target, StoreError> {
    let unusable = |why: String| StoreError::Unusable(format!("Redis: {why}"));
    let root_cert = match &settings.authorities {
        None => None,
        Some(path) => {
            Some(fs::read(path).map_err(|cause| unusable(format!("{}: {cause}", path.display())))?)
        }
    };
    let url = settings.url.as_str();
    // The driver would read "#insecure" as a wish for TLS without any proof of who is there.
    if url.contains('#') {
        return Err(unusable("an address with # is not understood".into()));
    }
    let certificates = url.starts_with("rediss").then_some(TlsCertificates {
        client_tls: None,
        root_cert,
    });
    let one = |client| Target::One(Box::new(client));
    let target = match (address::read(url), certificates) {
        (Address::One(url), Some(tls)) => Client::build_with_tls(url, tls).map(one),
        (Address::One(url), None) => Client::open(url).map(one),
        (Address::Cluster(nodes), tls) => {
            cluster(nodes, tls, settings).map(|client| Target::Cluster(Box::new(client)))
        }
    };
    // The driver's texts name no part of the URL.
    target.map_err(|error| unusable(error.to_string()))
}

fn cluster(
    nodes: Vec<String>,
    tls: Option<TlsCertificates>,
    settings: &RedisSettings,
) -> Result<ClusterClient, RedisError> {
    let (least, most) = CLUSTER_PAUSES;
    // Whoever asks sets a limit around the whole call; these end what goes on behind it.
    let mut builder = ClusterClient::builder(nodes)
        .connection_timeout(settings.connect)
        .response_timeout(settings.answer.max(settings.connect))
        .retries(CLUSTER_TRIES)
        .min_retry_wait(least)
        .max_retry_wait(most);
    if let Some(tls) = tls {
        builder = builder.certs(tls);
    }
    builder.build()
}

impl Link {
    /// Name look-up, TCP, TLS and log-in, all of it within `limit`.
    pub(super) async fn make(target: &Target, number: u64, limit: Duration) -> Result<Self, Fault> {
        let connection = async {
            match target {
                Target::One(client) => {
                    // Without limits of the driver's own: whoever asks sets one around the
                    // whole call.
                    let config = AsyncConnectionConfig::new()
                        .set_connection_timeout(None)
                        .set_response_timeout(None);
                    let connection = client.get_multiplexed_async_connection_with_config(&config);
                    connection.await.map(Connection::One)
                }
                Target::Cluster(client) => {
                    client.get_async_connection().await.map(Connection::Cluster)
                }
            }
        };
        let connection = tokio::time::timeout(limit, connection).await;
        Ok(Self {
            number,
            connection: connection.map_err(|_| Fault::Unreachable(limit))??,
        })
    }

    /// Puts a question to the script by its hash; with its text when the server does not
    /// know it (any more), which makes it known.
    pub(super) async fn ask(
        &self,
        script: &Script,
        key: &str,
        question: &Question,
    ) -> Result<Counted, Fault> {
        let known = self.eval("EVALSHA", script.get_hash(), key, question).await;
        let answer = match known {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.eval("EVAL", SCRIPT, key, question).await
            }
            other => other,
        };
        let (now_us, tat_us, retry_after_ms) = answer?;
        Ok(Counted {
            now_us,
            tat_us,
            retry_after_ms,
        })
    }

    async fn eval(
        &self,
        command: &str,
        script: &str,
        key: &str,
        question: &Question,
    ) -> Result<(i64, i64, i64), RedisError> {
        let mut command = redis::cmd(command);
        command
            .arg(script)
            .arg(1)
            .arg(key)
            .arg(question.rate.interval_us())
            .arg(question.rate.tolerance_us())
            .arg(question.cost)
            .arg(question.remembered_us);
        self.connection.clone().query(&command).await
    }

    /// What the server says of itself; in a cluster, what one node says.
    pub(super) async fn info(&self) -> Result<String, RedisError> {
        let command = redis::cmd("INFO");
        match self.connection.clone() {
            Connection::One(mut connection) => command.query_async(&mut connection).await,
            Connection::Cluster(mut connection) => {
                let any = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
                let said = connection.route_command(command, any).await?;
                Ok(String::from_redis_value(said)?)
            }
        }
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.connection, Connection::Cluster(_))
    }
}

/// The script's text.
pub(super) const SCRIPT: &str = include_str!("gcra.lua");
