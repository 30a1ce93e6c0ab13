//! Tests of the audit log over a real database, with a settable clock and counted randomness.

mod checkpoints;
mod document;
mod erasure;
mod forge;
mod postgres;
mod retention;
mod sample;
mod search;
mod tamper;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use domain::{Action, DeviceId, Event, Origin, Policies, Time, UserId, UserName};
use rusqlite::Connection;
use store::{Access, Batch, Clock, Store, Target};
use tempfile::TempDir;
use vault::{MasterSecret, Random};

use super::{AuditOptions, AuditReport, FindingKind, Haste, verify};
use crate::{App, Caller, Context, JwtRules, Room, Settings};

/// A time that tests set.
pub(super) struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> Time {
        Time::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// Numbers that look random (SplitMix64) and are the same in each run.
pub(super) struct Counter(AtomicU64);

impl Counter {
    fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&self, end: u64) -> u64 {
        self.next() % end
    }
}

impl Random for Counter {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_be_bytes()[..chunk.len()]);
        }
    }
}

/// The day on which all tests begin.
const START: i64 = 1_800_000_000_000;
const DAY: i64 = 24 * 3_600_000;

fn secret() -> MasterSecret {
    MasterSecret::new("a master secret of more than 32 characters".into()).unwrap()
}

fn settings() -> Settings {
    Settings {
        policies: Policies::default(),
        issuer: "otpd".into(),
        max_devices_per_user: 10,
        pending: Duration::from_secs(3600),
        issued: Duration::from_secs(300),
        production: false,
        debug: false,
        address_failures_per_minute: 60,
        key_per_second: None,
        retention: Some(Duration::from_secs(30 * 24 * 3600)),
        stats_retention: None,
        public_url: "https://otp.example".into(),
        session_seconds: 900,
        signing_key_age: Duration::from_secs(86_400),
        checkpoint_interval: Duration::from_secs(3600),
        mail: crate::mail::MailSettings::into_folder("outbox".into()),
        jwt: JwtRules::default(),
        public: crate::PublicLimits::default(),
        accounts: crate::AccountSettings::default(),
        password_cost: crate::PasswordCost::Test,
    }
}

async fn open(path: &Path, access: Access, clock: &Arc<TestClock>) -> Store {
    let settings = store::Settings {
        target: Target::Sqlite(path.to_owned()),
        lanes: 1,
        pool: 1,
        wait: Duration::from_secs(1),
    };
    let clock: Arc<dyn Clock> = clock.clone();
    Store::open(&settings, access, clock).await.unwrap()
}

async fn start(store: Store, room: Room, clock: &Arc<TestClock>) -> App {
    let clock: Arc<dyn Clock> = clock.clone();
    App::start(settings(), store, room, clock, None, None)
        .await
        .unwrap()
}

/// A running server with its database.
pub(super) struct World {
    folder: TempDir,
    clock: Arc<TestClock>,
    random: Arc<Counter>,
    app: App,
}

impl World {
    async fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(TestClock(AtomicI64::new(START)));
        let random = Arc::new(Counter(AtomicU64::new(seed)));
        let store = open(&folder.path().join("otpd.db"), Access::Write, &clock).await;
        let room = Room::create(&store, &secret(), random.clone())
            .await
            .unwrap();
        let app = start(store, room, &clock).await;
        Self {
            folder,
            clock,
            random,
            app,
        }
    }

    /// The same database after a restart: another chain.
    async fn restart(self) -> Self {
        self.app.close().await;
        drop(self.app);
        let path = self.folder.path().join("otpd.db");
        let store = open(&path, Access::Write, &self.clock).await;
        let room = Room::open(&store, vec![secret()], self.random.clone()).await;
        let app = start(store, room.unwrap().0, &self.clock).await;
        Self { app, ..self }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("otpd.db")
    }

    fn wait(&self, millis: i64) {
        self.clock.0.fetch_add(millis, Ordering::Relaxed);
    }

    async fn record(&self, event: Event) {
        self.record_all(vec![event]).await;
    }

    async fn record_all(&self, events: Vec<Event>) {
        let mut batch = Batch::new();
        events.into_iter().for_each(|event| batch.record(event));
        self.app.store.commit(batch).await.unwrap();
    }

    /// Another connection to the same file, as an intruder would have.
    fn intruder(&self) -> Connection {
        intruder(&self.path())
    }

    async fn report(&self) -> AuditReport {
        verified(&self.app, &AuditOptions::default()).await
    }

    #[track_caller]
    fn count(&self, sql: &str) -> i64 {
        self.intruder()
            .query_row(sql, [], |row| row.get(0))
            .unwrap()
    }
}

fn intruder(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(Duration::from_secs(5)).unwrap();
    connection
}

fn origin(number: i64) -> Origin {
    Origin {
        caller: "key:abc".into(),
        request_id: format!("r-{number}").into(),
        ip_address: Some("192.0.2.1".into()),
        user_agent: Some("curl".into()),
    }
}

/// A verification by one of a few users.
fn verification(number: i64, success: bool) -> Event {
    let user = number % 3;
    Event::new(Action::OtpVerification, success, &origin(number))
        .about_user(UserId(100 + user), &format!("user{user}"))
        .about_device(DeviceId(200 + user), &format!("phone-{user}"))
}

async fn verified(app: &App, options: &AuditOptions) -> AuditReport {
    verify(&app.store, &app.room, options).await.unwrap()
}

/// Erases the user whose events bear the name `user1`: how many of them were blanked.
async fn erase(app: &App) -> u64 {
    let context = Context::local(Caller::CommandLine);
    let name = UserName::parse("user1").unwrap();
    app.erase(&context, &name).await.unwrap().audit_records
}

#[track_caller]
fn holds(report: &AuditReport) {
    assert!(report.holds(), "{report:#?}");
}

/// The kinds and places of the findings.
fn places(report: &AuditReport) -> Vec<(FindingKind, Option<i64>, Option<i64>)> {
    let place = |f: &super::Finding| (f.kind, f.seq, f.last_seq);
    report.findings.iter().map(place).collect()
}
