//! One connection to Redis: made within a time limit, used by all callers at once, thrown away when it fails.

use std::fs;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, RedisError, Script, ServerErrorKind, TlsCertificates,
};

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
    connection: MultiplexedConnection,
}

/// Who to connect to. Nothing is sent yet.
pub(super) fn client(settings: &RedisSettings) -> Result<Client, StoreError> {
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
    let client = if url.starts_with("rediss:") {
        let certificates = TlsCertificates {
            client_tls: None,
            root_cert,
        };
        Client::build_with_tls(url, certificates)
    } else {
        Client::open(url)
    };
    // The driver's texts name no part of the URL.
    client.map_err(|error| unusable(error.to_string()))
}

impl Link {
    /// Name look-up, TCP, TLS and log-in, all of it within `limit`.
    pub(super) async fn make(client: &Client, number: u64, limit: Duration) -> Result<Self, Fault> {
        // Without limits of the driver's own: whoever asks sets one around the whole call.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let connection = client.get_multiplexed_async_connection_with_config(&config);
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
        let mut connection = self.connection.clone();
        redis::cmd(command)
            .arg(script)
            .arg(1)
            .arg(key)
            .arg(question.rate.interval_us())
            .arg(question.rate.tolerance_us())
            .arg(question.cost)
            .arg(question.remembered_us)
            .query_async(&mut connection)
            .await
    }

    /// Any other command that answers with a text.
    pub(super) async fn text(&self, words: &[&str]) -> Result<String, RedisError> {
        let mut connection = self.connection.clone();
        let mut command = redis::cmd(words.first().copied().unwrap_or_default());
        command.arg(words.get(1..).unwrap_or_default());
        command.query_async(&mut connection).await
    }
}

/// The script's text.
pub(super) const SCRIPT: &str = include_str!("gcra.lua");
