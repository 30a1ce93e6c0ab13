//! Puts the crates together: settings into each crate's own, store and keys into an application.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use app::mail::{Login, MailSettings, SmtpServer};
use app::{App, Room, RoomError};
use store::{Access, Clock, RedisSettings, SharedCounters, Store, Target};
use vault::{KeyVersion, MasterSecret, Random, SharedSecret};
use zeroize::Zeroizing;

use crate::config::settings::Settings;
use crate::config::{DatabaseUrl, SecretText, SmtpUrl};
use crate::data_folder;

/// Why a program cannot do its work: each a sentence for whoever started it.
#[derive(Debug, thiserror::Error)]
pub enum WiringError {
    /// The database.
    #[error(transparent)]
    Store(#[from] store::StoreError),
    /// The keys.
    #[error(transparent)]
    Room(#[from] RoomError),
    /// The master secret, or the one that is shared with other services.
    #[error(transparent)]
    Vault(#[from] vault::VaultError),
    /// An existing database without its master secret, or a new one that may not get
    /// one by itself.
    #[error("{0}")]
    MasterSecret(String),
    /// A command that needs a database found none.
    #[error("there is no database at {}: run the command where the server runs, or set DATABASE_URL or OTPD_DATA_DIR", .0.display())]
    NoDatabase(PathBuf),
    /// A file or folder.
    #[error("cannot use {path}: {cause}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        cause: std::io::Error,
    },
}

impl WiringError {
    /// Whether a running server holds the database. The store says so in its sentence
    /// alone; the transcripts of the command line notice when that changes.
    #[must_use]
    pub fn is_held(&self) -> bool {
        matches!(self, Self::Store(store::StoreError::Unusable(text))
            if text.contains("in use by another otpd process"))
    }

    /// With what to do instead, where a running server is the reason.
    #[must_use]
    pub fn when_held(self, instead: &'static str) -> anyhow::Error {
        let held = self.is_held();
        let error = anyhow::Error::from(self);
        if held { error.context(instead) } else { error }
    }
}

/// Time and randomness: the system's, or a test's.
#[derive(Clone)]
pub struct Surroundings {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The source of randomness.
    pub random: Arc<dyn Random>,
}

/// An opened database with its keys.
pub struct Opened {
    /// The database.
    pub store: Store,
    /// Its keys.
    pub room: Room,
    /// The master secret was made just now, in that file.
    pub made_master: Option<PathBuf>,
    /// A new version of the master secret was taken into use just now.
    pub new_version: Option<KeyVersion>,
}

/// The settings of the storage.
pub fn store_settings(settings: &Settings) -> store::Settings {
    let database = &settings.database;
    store::Settings {
        target: match &database.url {
            DatabaseUrl::Sqlite(path) => Target::Sqlite(path.clone()),
            DatabaseUrl::Postgres(url) => Target::Postgres(url.expose().to_owned()),
        },
        lanes: database.lanes,
        pool: database.pool,
        wait: database.wait,
    }
}

/// Where rates are counted together, if anywhere.
pub fn redis_settings(settings: &Settings) -> Option<RedisSettings> {
    let redis = &settings.redis;
    let url = redis.url.as_ref()?;
    Some(RedisSettings {
        url: url.expose().to_owned(),
        authorities: redis.ca.clone(),
        connect: redis.connect,
        answer: redis.answer,
    })
}

/// The settings of the application.
pub fn app_settings(settings: &Settings) -> app::Settings {
    const DAY_SECONDS: u64 = 86_400;
    let limits = &settings.limits;
    let in_days = |days| Duration::from_secs(u64::from(days) * DAY_SECONDS);
    app::Settings {
        policies: settings.policies.clone(),
        issuer: settings.codes.issuer.clone(),
        max_devices_per_user: i64::from(settings.codes.max_devices_per_user),
        pending: settings.codes.pending,
        issued: settings.codes.issued,
        production: settings.environment.is_production(),
        debug: settings.debug,
        address_failures_per_minute: settings.limits.address_failures_per_minute,
        key_per_second: settings.limits.key_per_second,
        retention: settings.audit.retention_days.map(in_days),
        stats_retention: settings.stats.retention_days.map(in_days),
        public_url: public_url(settings),
        session_seconds: i64::try_from(settings.accounts.session.as_secs()).unwrap_or(i64::MAX),
        signing_key_age: settings.tokens.rotation,
        checkpoint_interval: settings.audit.checkpoint_interval,
        mail: mail_settings(settings),
        jwt: app::JwtRules {
            audience: settings.jwt.audience.clone(),
            scopes: settings.jwt.scopes,
            default_scopes: settings.jwt.default_scopes,
        },
        public: app::PublicLimits {
            signups_per_hour: limits.signups_per_hour,
            logins_per_minute: limits.logins_per_minute,
            account_logins_per_minute: limits.account_logins_per_minute,
            slow_login: limits.slow_login,
            slow_logins_per_network: limits.slow_logins_per_network,
            slow_logins_per_account: limits.slow_logins_per_account,
            slow_logins: limits.slow_logins,
            email_requests_per_hour: limits.email_requests_per_hour,
            mails_per_hour: limits.mails_per_hour,
        },
        accounts: app::AccountSettings {
            password_threads: settings.accounts.password_threads,
            password_queue: settings.accounts.password_queue,
            old_login: settings.accounts.old_login,
        },
        password_cost: app::PasswordCost::Full,
    }
}

/// The settings of mail.
pub fn mail_settings(settings: &Settings) -> MailSettings {
    let email = &settings.email;
    let server = |url: &SmtpUrl| SmtpServer {
        host: url.host.clone(),
        port: url.port,
        security: url.security,
        login: url.login.as_ref().map(|(user, password)| Login {
            user: user.clone(),
            password: Zeroizing::new(password.expose().to_owned()),
        }),
        authorities: email.smtp_ca.clone(),
    };
    MailSettings {
        server: email.smtp_url.as_ref().map(|url| Arc::new(server(url))),
        from: email
            .from
            .clone()
            .unwrap_or_else(MailSettings::default_sender),
        outbox: settings.data_dir.join("outbox"),
        timeout: email.smtp_timeout,
        resend: email.resend,
        domains: email.domains.clone(),
        levels: settings.email_levels.clone(),
    }
}

/// How clients reach the server, when nobody has said it: at the address it listens on.
pub fn public_url(settings: &Settings) -> String {
    let server = &settings.server;
    let url = server.public_url.clone();
    url.unwrap_or_else(|| format!("{}://{}", server.scheme(), server.authority()))
}

/// Whether other processes may be working on the same database.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Others {
    /// On a database that several can share.
    MayRun,
    /// Whoever started this program was told to stop them.
    Stopped,
}

/// Opens the database for serving or for a command that changes something, and its
/// keys; makes both when the database is new.
///
/// # Errors
/// A sentence for whoever started the program.
pub async fn open(settings: &Settings, around: &Surroundings) -> Result<Opened, WiringError> {
    open_beside(Others::MayRun, settings, around).await
}

/// The same for a command that changes an existing database: an empty folder is a
/// mistake, and no reason to make a new one.
///
/// # Errors
/// A sentence for whoever gave the command.
pub async fn open_existing(
    settings: &Settings,
    around: &Surroundings,
) -> Result<Opened, WiringError> {
    database_exists(settings)?;
    open(settings, around).await
}

fn database_exists(settings: &Settings) -> Result<(), WiringError> {
    match &settings.database.url {
        DatabaseUrl::Sqlite(path) if !path.exists() => Err(WiringError::NoDatabase(path.clone())),
        _ => Ok(()),
    }
}

/// The same for the one command that may take a new master secret into use on a
/// database that several processes can share, while all others are stopped.
///
/// # Errors
/// A sentence for whoever started the program.
pub async fn open_alone(settings: &Settings, around: &Surroundings) -> Result<Opened, WiringError> {
    open_beside(Others::Stopped, settings, around).await
}

async fn open_beside(
    others: Others,
    settings: &Settings,
    around: &Surroundings,
) -> Result<Opened, WiringError> {
    let embedded = matches!(settings.database.url, DatabaseUrl::Sqlite(_));
    if let DatabaseUrl::Sqlite(path) = &settings.database.url {
        data_folder::make_parent(path)?;
    }
    let clock = Arc::clone(&around.clock);
    let store = Store::open(&store_settings(settings), Access::Write, clock).await?;
    let random = Arc::clone(&around.random);
    if Room::is_new(&store).await? {
        let may_make = embedded && !settings.environment.is_production();
        let (secret, made_master) = match given_secret(settings)? {
            Some(secret) => (secret, None),
            None if may_make => make_secret(settings, random.as_ref())?,
            None => return Err(WiringError::MasterSecret(none_for_new(settings))),
        };
        let room = Room::create(&store, &secret, random).await?;
        return Ok(Opened {
            store,
            room,
            made_master,
            new_version: None,
        });
    }
    let (room, new_version) = unlock(others, settings, &store, random).await?;
    Ok(Opened {
        store,
        room,
        made_master: None,
        new_version,
    })
}

/// Opens the database and its keys for looking only.
///
/// # Errors
/// A sentence for whoever started the program.
pub async fn open_for_reading(
    settings: &Settings,
    around: &Surroundings,
) -> Result<(Store, Room), WiringError> {
    let store = open_store_for_reading(settings, around).await?;
    let random = Arc::clone(&around.random);
    let (room, _) = Room::open(&store, secrets(settings)?, random).await?;
    Ok((store, room))
}

/// Opens the database alone for looking.
///
/// # Errors
/// A sentence for whoever started the program.
pub async fn open_store_for_reading(
    settings: &Settings,
    around: &Surroundings,
) -> Result<Store, WiringError> {
    database_exists(settings)?;
    let clock = Arc::clone(&around.clock);
    Ok(Store::open(&store_settings(settings), Access::Read, clock).await?)
}

/// Starts the application over what was opened.
///
/// # Errors
/// When the lanes cannot begin.
pub async fn start(
    settings: &Settings,
    opened: Opened,
    around: &Surroundings,
) -> Result<App, WiringError> {
    start_with(settings, app_settings(settings), opened, around).await
}

/// The same with rules that need not be those of the configuration: for tests.
///
/// # Errors
/// When the lanes cannot begin.
pub async fn start_with(
    settings: &Settings,
    rules: app::Settings,
    opened: Opened,
    around: &Surroundings,
) -> Result<App, WiringError> {
    let key = settings.callers.api_key.as_ref();
    let key = key.map(|key| Zeroizing::new(key.expose().to_owned()));
    let secret = settings.jwt.secret_key.as_ref();
    let secret = secret.map(|secret| SharedSecret::new(secret.expose().as_bytes()));
    let clock = Arc::clone(&around.clock);
    let mut app = App::start(
        rules,
        opened.store,
        opened.room,
        clock,
        key,
        secret.transpose()?,
    )
    .await?;
    if let Some(redis) = redis_settings(settings) {
        app = app.counting_with(SharedCounters::open(&redis).await?);
    }
    if let Some(version) = opened.new_version {
        let recorded = app.record_new_master(version).await;
        recorded.map_err(|error| WiringError::MasterSecret(error.to_string()))?;
    }
    Ok(app)
}

async fn unlock(
    others: Others,
    settings: &Settings,
    store: &Store,
    random: Arc<dyn Random>,
) -> Result<(Room, Option<KeyVersion>), WiringError> {
    let secrets = secrets(settings)?;
    if secrets.is_empty() {
        return Err(WiringError::MasterSecret(missing(settings)));
    }
    let (mut room, unknown) = Room::open(store, secrets, random).await?;
    let current = given_secret(settings)?;
    let fresh = unknown.into_iter().find(|secret| {
        current
            .as_ref()
            .is_some_and(|c| c.expose() == secret.expose())
    });
    let Some(fresh) = fresh else {
        return Ok((room, None));
    };
    if store.is_shared() && others == Others::MayRun {
        return Err(WiringError::MasterSecret(
            "MASTER_SECRET is new to this database, which other nodes may be using: stop all \
             nodes, run `otpd migrate` with MASTER_SECRET and MASTER_SECRET_PREVIOUS once, and \
             start all nodes with MASTER_SECRET alone"
                .into(),
        ));
    }
    let version = room.adopt(store, &fresh).await?;
    Ok((room, Some(version)))
}

/// The secrets that were given, the current one first.
fn secrets(settings: &Settings) -> Result<Vec<MasterSecret>, WiringError> {
    let mut secrets: Vec<MasterSecret> = given_secret(settings)?.into_iter().collect();
    if let Some(previous) = &settings.keys.master_secret_previous {
        secrets.push(master(previous)?);
    }
    Ok(secrets)
}

/// The secret of the settings, else the one in the data folder.
fn given_secret(settings: &Settings) -> Result<Option<MasterSecret>, WiringError> {
    if let Some(secret) = &settings.keys.master_secret {
        return Ok(Some(master(secret)?));
    }
    data_folder::read_master(&settings.data_dir)
}

fn master(text: &SecretText) -> Result<MasterSecret, WiringError> {
    Ok(MasterSecret::new(text.expose().to_owned())?)
}

fn make_secret(
    settings: &Settings,
    random: &dyn Random,
) -> Result<(MasterSecret, Option<PathBuf>), WiringError> {
    let secret = MasterSecret::generate(random);
    let path = data_folder::write_master(&settings.data_dir, &secret)?;
    Ok((secret, Some(path)))
}

fn none_for_new(settings: &Settings) -> String {
    let why = if settings.environment.is_production() {
        "in production"
    } else {
        "for PostgreSQL"
    };
    format!(
        "this database is new, and {why} no master secret is made by itself: set MASTER_SECRET \
         to 32 characters or more, for example from `openssl rand -base64 32`, and keep it safe"
    )
}

fn missing(settings: &Settings) -> String {
    let file = data_folder::master_path(&settings.data_dir);
    let place = |path: &Path| path.display().to_string();
    format!(
        "no master secret: set MASTER_SECRET (32 characters or more, for example from `openssl \
         rand -base64 32`) to the one this database was made with, or put it into {}",
        place(&file)
    )
}
