//! What a test works with: a database, a judge, a clock, and stores that are opened on them.

use std::sync::Arc;
use std::time::Duration;

use domain::Time;
use store::{Access, Clock, Refusal, Settings, Store, StoreError, Target};

use crate::database::Database;
use crate::judge::{TestClock, TestJudge};

/// A database of its own with everything a store asks for.
pub struct World {
    pub database: Database,
    pub judge: Arc<TestJudge>,
    pub clock: Arc<TestClock>,
}

impl World {
    pub fn sqlite() -> Self {
        Self::of(Database::sqlite())
    }

    pub async fn postgres() -> Self {
        Self::of(Database::postgres().await)
    }

    fn of(database: Database) -> Self {
        Self {
            database,
            judge: Arc::default(),
            clock: Arc::default(),
        }
    }

    pub fn is_postgres(&self) -> bool {
        matches!(self.database, Database::Postgres(_))
    }

    pub fn settings(&self) -> Settings {
        let target = match &self.database {
            Database::Sqlite(_) => Target::Sqlite(self.database.file()),
            Database::Postgres(_) => Target::Postgres(self.database.url()),
        };
        settings(target)
    }

    /// A store that is open and has not started its lanes.
    pub async fn open(&self, access: Access) -> Result<Store, StoreError> {
        let clock: Arc<dyn Clock> = self.clock.clone();
        Store::open(&self.settings(), access, clock).await
    }

    /// A store at work.
    pub async fn store(&self) -> Arc<Store> {
        let store = self.open(Access::Write).await.unwrap();
        store.start(self.judge.clone()).await.unwrap();
        Arc::new(store)
    }

    /// A store at work with one lane, so that what waits for it is one batch.
    pub async fn store_of_one_lane(&self) -> Arc<Store> {
        let settings = Settings {
            lanes: 1,
            ..self.settings()
        };
        let clock: Arc<dyn Clock> = self.clock.clone();
        let store = Store::open(&settings, Access::Write, clock).await.unwrap();
        store.start(self.judge.clone()).await.unwrap();
        Arc::new(store)
    }

    /// A store at work that reaches its PostgreSQL at another address.
    pub async fn store_at(&self, url: String) -> Arc<Store> {
        let clock: Arc<dyn Clock> = self.clock.clone();
        let settings = settings(Target::Postgres(url));
        let store = Store::open(&settings, Access::Write, clock).await.unwrap();
        store.start(self.judge.clone()).await.unwrap();
        Arc::new(store)
    }

    /// Lets time go by, for the store at least.
    pub async fn pass(&self, store: &Store, millis: i64) {
        let end = store.now().await.unwrap().plus_millis(millis);
        self.clock.pass(millis);
        while store.now().await.unwrap() < end {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// How often a code was compared with a key.
    pub fn evaluations(&self) -> usize {
        self.judge
            .evaluations
            .load(std::sync::atomic::Ordering::SeqCst)
    }
}

pub fn settings(target: Target) -> Settings {
    Settings {
        target,
        lanes: 2,
        pool: 2,
        wait: Duration::from_millis(1000),
    }
}

/// Waits until the condition holds; the test fails when it never does.
pub async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), wait).await;
    waited.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Whether two times are at most that far apart.
pub fn close(a: Time, b: Time, millis: i64) -> bool {
    a.since(b).abs() <= millis
}

/// Expects that refusal.
pub fn refused<T: std::fmt::Debug>(result: Result<T, StoreError>, refusal: Refusal) {
    match result {
        Err(StoreError::Refused(found)) => assert_eq!(found, refusal),
        other => panic!("{other:?} is not {refusal:?}"),
    }
}
