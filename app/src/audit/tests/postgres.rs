//! The same statements on PostgreSQL, with two nodes that write while the log is read.

use domain::UserName;
use tokio_postgres::NoTls;

use super::super::AuditQuery;
use super::*;

/// A database of this test's own, removed in the end.
struct Temporary {
    server: String,
    name: String,
}

async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

impl Temporary {
    async fn new() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "the address of the tests' server is no setting of the product"
        )]
        let server = std::env::var("TEST_DATABASE_URL");
        let server = server.expect("set TEST_DATABASE_URL or run `cargo xtask test`");
        let name = format!("otpd_audit_{}", std::process::id());
        let create = format!("CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0");
        connect(&server).await.batch_execute(&create).await.unwrap();
        Self { server, name }
    }

    fn url(&self) -> String {
        let (scheme, rest) = self.server.split_once("://").unwrap();
        let host = rest.split('/').next().unwrap_or(rest);
        format!("{scheme}://{host}/{}", self.name)
    }

    async fn store(&self, access: Access) -> Store {
        let settings = store::Settings {
            target: Target::Postgres(self.url()),
            lanes: 2,
            pool: 4,
            wait: Duration::from_secs(2),
        };
        let clock = Arc::new(TestClock(AtomicI64::new(0)));
        Store::open(&settings, access, clock).await.unwrap()
    }

    async fn remove(self) {
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        connect(&self.server)
            .await
            .batch_execute(&drop)
            .await
            .unwrap();
    }
}

async fn record(app: &App, numbers: std::ops::Range<i64>) {
    for number in numbers {
        let mut batch = Batch::new();
        batch.record(verification(number, number % 4 != 0));
        app.store.commit(batch).await.unwrap();
    }
}

async fn ids(app: &App, query: &AuditQuery) -> Vec<String> {
    let mut query = query.clone();
    let mut ids = Vec::new();
    loop {
        let page = app.search_audit(&query).await.unwrap();
        ids.extend(page.data.into_iter().map(|entry| entry.id));
        query.cursor = page.next_cursor;
        if query.cursor.is_none() {
            return ids;
        }
    }
}

async fn two_nodes(database: &Temporary) -> [App; 2] {
    let random = Arc::new(Counter(AtomicU64::new(51)));
    let clock = Arc::new(TestClock(AtomicI64::new(0)));
    let store = database.store(Access::Write).await;
    let room = Room::create(&store, &secret(), random.clone())
        .await
        .unwrap();
    let first = start(store, room, &clock).await;
    let store = database.store(Access::Write).await;
    let room = Room::open(&store, vec![secret()], random).await.unwrap().0;
    [first, start(store, room, &clock).await]
}

#[tokio::test]
async fn two_nodes_write_while_the_log_is_searched_proven_erased_and_cut() {
    let database = Temporary::new().await;
    let [first, second] = two_nodes(&database).await;
    let options = AuditOptions::default();
    let proofs = async {
        for _ in 0..10 {
            holds(&verified(&first, &options).await);
            first.checkpoint().await.unwrap();
            second.checkpoint().await.unwrap();
            first.index_events(3, Haste::Now).await.unwrap();
            second.index_events(3, Haste::Now).await.unwrap();
        }
    };
    tokio::join!(record(&first, 0..300), record(&second, 300..600), proofs);

    let queries = [None, Some("user1")].map(|user| AuditQuery {
        user: user.map(|user| UserName::parse(user).unwrap()),
        limit: 7,
        ..AuditQuery::default()
    });
    for query in &queries {
        let before = ids(&first, query).await;
        assert_eq!(before.len(), if query.user.is_some() { 200 } else { 600 });
        assert!(first.index_events(1000, Haste::Now).await.unwrap());
        assert_eq!(ids(&second, query).await, before);
    }

    assert_eq!(erase(&first).await, 200);
    assert_eq!(ids(&second, &queries[1]).await, Vec::<String>::new());
    let exported = second.checkpoint().await.unwrap();
    let now = first.store.now().await.unwrap();
    assert_eq!(first.cut_before(now).await.unwrap(), 601);
    let options = AuditOptions {
        checkpoint: Some(exported),
        public_key: None,
    };
    holds(&verified(&second, &options).await);
    let links = super::super::verify_links_only(&second.store, &options).await;
    holds(&links.unwrap().unwrap());

    let edit = "UPDATE events SET success = 1 - success WHERE id = (SELECT MIN(id) FROM events)";
    connect(&database.url())
        .await
        .batch_execute(edit)
        .await
        .unwrap();
    let report = verified(&second, &options).await;
    assert_eq!(report.findings.len(), 1, "{report:#?}");
    assert_eq!(report.findings[0].kind, FindingKind::Edited);
    first.close().await;
    second.close().await;
    drop((first, second));
    database.remove().await;
}
