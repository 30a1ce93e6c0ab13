//! The order of things: check, decide, commit, announce. Knows no HTTP, no SQL text, no command line.

mod accounts;
pub mod audit;
mod bulk;
mod caller;
mod context;
mod database_time;
mod devices;
mod email_codes;
mod enrolment;
mod error;
mod health;
mod homes;
mod idempotency;
mod issued;
mod jobs;
mod judge;
mod jwt;
mod keys;
mod limits;
mod logins;
pub mod mail;
mod metrics;
mod mfa;
mod nodes;
mod page;
mod passes;
mod passwords;
mod people;
mod proofs;
mod recovery;
mod refusals;
mod registration;
mod room;
mod root;
mod rotation;
mod sessions;
mod settings;
mod signing;
mod slowdown;
mod stats;
mod tokens;
mod two_factor;
mod user_otp;
mod users;
mod verify;

use std::sync::{Arc, Mutex};

use store::{Clock, Store, StoreError};
use vault::SharedSecret;
use zeroize::Zeroizing;

pub use accounts::{NewAccount, SignedUp};
pub use caller::{Caller, Freshness};
pub use context::Context;
pub use devices::{Deactivated, Deleted, DeviceQuery, DeviceView, TestCode};
pub use email_codes::EmailCodeSent;
pub use enrolment::{Enrolled, MfaEnabled};
pub use error::{Error, Fault};
pub use health::{Health, Readiness};
pub use idempotency::{Repeatable, Reply};
pub use issued::{IssuedCode, IssuedVerified};
pub use keys::{FirstKey, KeyView, MadeKey, NewKey, RevokedKey};
pub use limits::Source;
pub use logins::{FirstStep, Pending, SecondFactor, SecondStep};
pub use mfa::{FreshCodes, MfaDisabled};
pub use otp::{Algorithm, Code, Digits, Secret};
pub use page::Page;
pub use passes::{MadePass, NewPass};
pub use passwords::Password;
pub use people::{
    AccountView, Erased, MailView, PeopleQuery, PersonDetail, PersonExport, PersonView,
    SessionView, WaitingView,
};
pub use recovery::{RecoveryCodes, RecoveryStanding, RecoveryVerified, SpokenText};
pub use registration::{Registered, Registration};
pub use room::{Room, RoomError};
pub use root::{FirstStart, NewRoot, RootLogins};
pub use sessions::{Introspection, Session, Tokens};
pub use settings::{AccountSettings, JwtRules, PasswordCost, PublicLimits, Settings};
pub use signing::JWKS_MAX_AGE;
pub use stats::{
    Bucket, BucketStats, DeviceTotals, Emails, Logins, Stats, StatsQuery, TotalsView, Verifications,
};
pub use tokens::Wanted;
pub use two_factor::TwoFactor;
pub use user_otp::{OtpDeactivated, OtpEnabled, OtpStanding, OtpVerified};
pub use users::Unlocked;
pub use verify::{Explanation, Resynchronisation, Verification};

use caller::KeyMemory;
use database_time::Ahead;
use homes::Homes;
use idempotency::Running;
use judge::Judge;
use limits::Limits;
use mail::{Mailroom, Post};
use metrics::Metrics;
use passwords::Passwords;
use refusals::Refusals;
use signing::Signing;
use slowdown::Slowdown;

/// The application: one per process.
pub struct App {
    settings: Settings,
    store: Store,
    room: Arc<Room>,
    clock: Arc<dyn Clock>,
    ahead: Ahead,
    keys: KeyMemory,
    /// Keyed hash of `API_KEY` and the caller behind it.
    environment_key: Option<([u8; 32], Arc<Caller>)>,
    /// What `SECRET_KEY` holds: with it other services sign their tokens.
    shared_secret: Option<SharedSecret>,
    running: Running,
    limits: Limits,
    slowdown: Slowdown,
    homes: Homes,
    passwords: Passwords,
    refusals: Refusals,
    metrics: Arc<Metrics>,
    audit: audit::Memory,
    signing: Signing,
    mailroom: Mailroom,
    root_hook: Mutex<Option<root::RootHook>>,
}

impl App {
    /// Starts the lanes over an opened store and its keys. `environment_key` is what
    /// `API_KEY` holds, if anything, `shared_secret` what `SECRET_KEY` holds.
    ///
    /// # Errors
    /// When the lanes cannot begin their chains, or the settings of mail name no way out.
    pub async fn start(
        settings: Settings,
        store: Store,
        room: Room,
        clock: Arc<dyn Clock>,
        environment_key: Option<Zeroizing<String>>,
        shared_secret: Option<SharedSecret>,
    ) -> Result<Self, StoreError> {
        let post = Post::from_settings(&settings.mail);
        let post = post.map_err(|error| StoreError::Unusable(error.to_string()))?;
        let mut app = Self::reading(settings, store, room, clock);
        app.mailroom = Mailroom::with(post);
        app.environment_key = environment_key.map(|text| {
            let hash = app.room.root.hash_api_key(&text);
            (hash, Arc::new(Caller::Environment))
        });
        app.shared_secret = shared_secret;
        let judge = Judge {
            room: Arc::clone(&app.room),
            policies: app.settings.policies.clone(),
            metrics: Arc::clone(&app.metrics),
        };
        app.store.start(Arc::new(judge)).await?;
        app.compare_clocks().await;
        Ok(app)
    }

    /// An application that only looks: for commands beside a running server.
    pub fn reading(settings: Settings, store: Store, room: Room, clock: Arc<dyn Clock>) -> Self {
        Self {
            limits: Limits::new(&settings),
            slowdown: Slowdown::new(&settings.public),
            homes: Homes::default(),
            passwords: Passwords::new(&settings),
            settings,
            store,
            room: Arc::new(room),
            clock,
            ahead: Ahead::default(),
            keys: KeyMemory::default(),
            environment_key: None,
            shared_secret: None,
            running: Running::default(),
            refusals: Refusals::default(),
            metrics: Arc::new(Metrics::new()),
            audit: audit::Memory::default(),
            signing: Signing::default(),
            mailroom: Mailroom::default(),
            root_hook: Mutex::default(),
        }
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Ends the lanes after what waits; the last thing a process does.
    pub async fn close(&self) {
        self.store.close().await;
    }
}
