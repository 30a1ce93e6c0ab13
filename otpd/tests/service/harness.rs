//! The real router over real storage, with a clock that is set and randomness that repeats.

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use app::App;
use axum::Router;
use domain::Time;
use otpd::config::{self, Inputs, Settings};
use otpd::system::SystemClock;
use otpd::wiring::{self, Surroundings, WiringError};
use serde_json::Value;
use tempfile::TempDir;
use web::transport::TransportStats;

use crate::answer::text;
use crate::call::Call;
use crate::database::{Database, Engine};

/// What `API_KEY` holds: a caller who may do everything.
pub(crate) const ADMIN: &str = "tests-0123456789-0123456789-0123456789";
/// What `MASTER_SECRET` holds.
pub(crate) const MASTER: &str = "the-master-secret-of-these-tests-0123456789";
/// Ten seconds into a step of 30 seconds, on a full minute's hour.
const START: &str = "2027-01-15T08:00:10Z";

/// A clock that stands until it is moved.
pub(crate) struct TestClock(AtomicI64);

impl store::Clock for TestClock {
    fn now(&self) -> Time {
        Time::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// The same numbers in each run (SplitMix64).
struct Seeded(Mutex<u64>);

impl vault::Random for Seeded {
    fn fill(&self, buffer: &mut [u8]) {
        let mut state = self.0.lock().unwrap();
        for chunk in buffer.chunks_mut(8) {
            *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut mixed = *state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            mixed ^= mixed >> 31;
            chunk.copy_from_slice(&mixed.to_le_bytes()[..chunk.len()]);
        }
    }
}

/// A server without a socket.
pub(crate) struct Server {
    pub(crate) app: Arc<App>,
    pub(crate) router: Router,
    clock: Arc<dyn store::Clock>,
    // Dropped last: what the application has open lies in it.
    place: Arc<Place>,
}

/// What outlives a server: its database and its time.
pub(crate) struct Place {
    /// Present where the test may move time.
    moved: Option<Arc<TestClock>>,
    database: Database,
    folder: TempDir,
}

impl Place {
    /// The settings that these variables make.
    pub(crate) fn settings(&self, variables: &[(&str, &str)]) -> Settings {
        let mut env = vec![
            ("DATABASE_URL".to_owned(), self.database.url()),
            ("API_KEY".to_owned(), ADMIN.to_owned()),
            ("MASTER_SECRET".to_owned(), MASTER.to_owned()),
        ];
        for (name, value) in variables {
            env.retain(|(known, _)| known != name);
            env.push(((*name).to_owned(), (*value).to_owned()));
        }
        let inputs = Inputs {
            env,
            working_folder: self.folder.path().to_owned(),
        };
        let loaded = config::load(&inputs).unwrap_or_else(|problems| panic!("{problems}"));
        loaded.settings
    }

    /// The place's time, and randomness that begins with the seed.
    pub(crate) fn surroundings(&self, seed: u64) -> Surroundings {
        let clock: Arc<dyn store::Clock> = match &self.moved {
            Some(clock) => Arc::clone(clock) as Arc<dyn store::Clock>,
            None => Arc::new(SystemClock),
        };
        Surroundings {
            clock,
            random: Arc::new(Seeded(Mutex::new(seed))),
        }
    }
}

impl Server {
    /// A new server with a new database.
    pub(crate) async fn start(engine: Engine) -> Self {
        Self::with(engine, &[]).await
    }

    /// The same with environment variables of its own.
    pub(crate) async fn with(engine: Engine, variables: &[(&str, &str)]) -> Self {
        Self::tuned(engine, variables, |_| {}).await
    }

    /// The same with rules that no variable reaches.
    pub(crate) async fn tuned(
        engine: Engine,
        variables: &[(&str, &str)],
        tune: fn(&mut app::Settings),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::make(engine, folder.path()).await;
        let time = Time::parse_rfc3339(START).unwrap().millis();
        let place = Place {
            moved: (engine == Engine::Sqlite).then(|| Arc::new(TestClock(AtomicI64::new(time)))),
            database,
            folder,
        };
        Self::open_tuned(place, 1, variables, tune).await.unwrap()
    }

    /// Ends it in order and starts another one over the same database.
    ///
    /// # Errors
    /// As [`wiring::open`].
    pub(crate) async fn restart(self, variables: &[(&str, &str)]) -> Result<Self, WiringError> {
        let place = self.end().await;
        Self::open(place, 2, variables).await
    }

    /// Ends it in order; what it kept stays.
    pub(crate) async fn end(self) -> Place {
        self.app.close().await;
        Arc::into_inner(self.place).expect("no other node over the same database")
    }

    /// Another node over the same database.
    pub(crate) async fn beside(&self, tune: fn(&mut app::Settings)) -> Self {
        let place = Arc::clone(&self.place);
        Self::open_at(place, 3, &[], tune).await.unwrap()
    }

    /// Starts a server over what is there.
    pub(crate) async fn open(
        place: Place,
        seed: u64,
        variables: &[(&str, &str)],
    ) -> Result<Self, WiringError> {
        Self::open_tuned(place, seed, variables, |_| {}).await
    }

    async fn open_tuned(
        place: Place,
        seed: u64,
        variables: &[(&str, &str)],
        tune: fn(&mut app::Settings),
    ) -> Result<Self, WiringError> {
        Self::open_at(Arc::new(place), seed, variables, tune).await
    }

    async fn open_at(
        place: Arc<Place>,
        seed: u64,
        variables: &[(&str, &str)],
        tune: fn(&mut app::Settings),
    ) -> Result<Self, WiringError> {
        let settings = place.settings(variables);
        let around = place.surroundings(seed);
        let opened = wiring::open(&settings, &around).await?;
        let mut rules = wiring::app_settings(&settings);
        rules.password_cost = app::PasswordCost::Test;
        tune(&mut rules);
        let app = wiring::start_with(&settings, rules, opened, &around).await?;
        let app = Arc::new(app);
        let random = Arc::clone(&around.random);
        let router = web::router(
            Arc::clone(&app),
            otpd::commands::serve::web_settings(&settings),
            Arc::new(TransportStats::default()),
            Arc::new(move |buffer: &mut [u8]| random.fill(buffer)),
        );
        Ok(Self {
            app,
            router,
            clock: around.clock,
            place,
        })
    }

    /// The server's time.
    pub(crate) fn now(&self) -> Time {
        self.clock.now()
    }

    /// Moves time on. Only where the test's clock is the server's.
    pub(crate) fn advance(&self, seconds: i64) {
        let clock = self
            .place
            .moved
            .as_ref()
            .expect("time moves on SQLite only");
        clock.0.fetch_add(seconds * 1000, Ordering::SeqCst);
    }

    /// The folder that it works in.
    pub(crate) fn folder(&self) -> &Path {
        self.place.folder.path()
    }

    /// Every byte of every file that the server keeps.
    pub(crate) fn stored(&self) -> Stored {
        let mut bytes = Vec::new();
        for entry in std::fs::read_dir(self.place.folder.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                bytes.extend(std::fs::read(path).unwrap());
            }
        }
        Stored(bytes)
    }

    pub(crate) fn get(&self, path: &str) -> Call<'_> {
        Call::new(self, "GET", path)
    }

    pub(crate) fn post(&self, path: &str, body: Value) -> Call<'_> {
        self.post_raw(path, body.to_string())
    }

    /// A POST with a body that need not be JSON.
    pub(crate) fn post_raw(&self, path: &str, body: impl Into<Vec<u8>>) -> Call<'_> {
        Call::new(self, "POST", path).body(body.into())
    }

    pub(crate) fn delete(&self, path: &str) -> Call<'_> {
        Call::new(self, "DELETE", path)
    }

    /// Any method, without a body.
    pub(crate) fn call(&self, method: &'static str, path: &str) -> Call<'_> {
        Call::new(self, method, path)
    }

    /// A new API key with these scopes; the answer that made it.
    pub(crate) async fn key(&self, scopes: &[&str]) -> Value {
        let body = serde_json::json!({ "name": "a test's", "scopes": scopes });
        self.post("/api/v1/keys", body).await.json(201)["data"].clone()
    }

    /// The credential alone.
    pub(crate) async fn credential(&self, scopes: &[&str]) -> String {
        text(&self.key(scopes).await, "key").to_owned()
    }
}

/// What a server's files held at a moment.
pub(crate) struct Stored(Vec<u8>);

impl Stored {
    /// Whether a text stands in them, in capitals or not.
    pub(crate) fn holds(&self, text: &str) -> bool {
        let mut windows = self.0.windows(text.len());
        windows.any(|part| part.eq_ignore_ascii_case(text.as_bytes()))
    }
}
