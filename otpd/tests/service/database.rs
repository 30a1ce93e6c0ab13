//! A database of a test's own, on either engine; it goes when the test ends.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_postgres::NoTls;

/// PostgreSQL databases in use at once: each server opens about a dozen connections, and
/// a PostgreSQL usually allows 100.
static ROOM: Semaphore = Semaphore::const_new(6);

/// Which system of record a test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// A file; the test's clock is the server's.
    Sqlite,
    /// The server that `TEST_DATABASE_URL` names; its clock is the server's.
    Postgres,
}

/// Where a test's data is.
pub(crate) enum Database {
    Sqlite(String),
    Postgres(Temporary),
}

/// A PostgreSQL database that is removed in the end.
pub(crate) struct Temporary {
    server: String,
    name: String,
    _room: SemaphorePermit<'static>,
}

impl Database {
    pub(crate) async fn make(engine: Engine, folder: &Path) -> Self {
        match engine {
            Engine::Sqlite => Self::Sqlite(format!("sqlite:{}", folder.join("otpd.db").display())),
            Engine::Postgres => Self::Postgres(Temporary::make().await),
        }
    }

    /// What `DATABASE_URL` names.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Sqlite(url) => url.clone(),
            Self::Postgres(database) => with_path(&database.server, &database.name),
        }
    }
}

impl Temporary {
    async fn make() -> Self {
        // Unique among the tests of this process by the number, among processes by its id.
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        #[expect(
            clippy::disallowed_methods,
            reason = "the address of the tests' server is no setting of the product"
        )]
        let server = std::env::var("TEST_DATABASE_URL").ok();
        let server = server.filter(|url| !url.is_empty());
        let server = server.expect("set TEST_DATABASE_URL or run `cargo xtask test`");
        let room = ROOM.acquire().await.unwrap();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("otpd_service_{}_{number}", std::process::id());
        let client = connect(&server).await;
        let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        client.batch_execute(&drop).await.unwrap();
        let create = format!("CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0");
        client.batch_execute(&create).await.unwrap();
        Self {
            server,
            name,
            _room: room,
        }
    }
}

async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .expect("TEST_DATABASE_URL names no server that answers");
    tokio::spawn(connection);
    client
}

/// The same server, another database.
fn with_path(url: &str, database: &str) -> String {
    let (address, options) = match url.split_once('?') {
        Some((address, options)) => (address, format!("?{options}")),
        None => (url, String::new()),
    };
    let (scheme, rest) = address.split_once("://").expect("a URL");
    let server = rest.split_once('/').map_or(rest, |(server, _)| server);
    format!("{scheme}://{server}/{database}{options}")
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let server = self.server.clone();
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        // A runtime of its own: the test's may be gone or busy.
        let removal = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.map(|runtime| {
                runtime.block_on(async { connect(&server).await.batch_execute(&drop).await })
            })
        });
        // What cannot be removed now does not make the test wrong.
        let _ = removal.join();
    }
}
