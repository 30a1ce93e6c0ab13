//! `otpd doctor`: the settings in force with their sources, and whether everything they name works.

use std::io::Write;

use app::Room;
use app::mail::{Post, Security};
use vault::MasterSecret;

use crate::config::{DatabaseUrl, Loaded};
use crate::threads;
use crate::wiring::{self, Surroundings};

/// Prints the settings and the checks. False when a check failed.
///
/// # Errors
/// When standard output cannot be written.
pub async fn run(loaded: &Loaded, around: &Surroundings) -> anyhow::Result<bool> {
    let mut out = std::io::stdout();
    writeln!(out, "Settings")?;
    for (key, value, source) in loaded.effective.masked() {
        writeln!(out, "  {key:<36} {value:<28} {source}")?;
    }
    writeln!(out, "\nChecks")?;
    let mut fine = true;
    let mut checks = checks(loaded, around).await;
    checks.push(("mail", mail(loaded).await));
    let no_mail =
        loaded.settings.environment.is_production() && loaded.settings.email.smtp_url.is_none();
    let mut redis_notes = Vec::new();
    if let Some(found) = redis(loaded, &mut redis_notes).await {
        checks.push(("redis", found));
    }
    for (what, result) in checks {
        match result {
            Ok(text) if what == "mail" && no_mail => writeln!(
                out,
                "  warn  mail: nobody gets a code by mail: {text}; set email.smtp_url"
            )?,
            Ok(text) => writeln!(out, "  ok    {what}: {text}")?,
            Err(text) => {
                fine = false;
                writeln!(out, "  FAIL  {what}: {text}")?;
            }
        }
    }
    if let Some(warning) = super::serve::wrong_issuer(&loaded.settings) {
        writeln!(out, "  warn  {warning}")?;
    }
    for note in redis_notes.into_iter().chain(notes(loaded)) {
        writeln!(out, "  note  {note}")?;
    }
    Ok(fine)
}

type Check = (&'static str, Result<String, String>);

async fn checks(loaded: &Loaded, around: &Surroundings) -> Vec<Check> {
    let settings = &loaded.settings;
    if let DatabaseUrl::Sqlite(path) = &settings.database.url
        && !path.exists()
    {
        let text = format!("{} will be made at the first start", path.display());
        return vec![("database", Ok(text))];
    }
    let store = match wiring::open_store_for_reading(settings, around).await {
        Ok(store) => store,
        Err(error) => return vec![("database", Err(error.to_string()))],
    };
    let mut checks: Vec<Check> = vec![("database", Ok("reachable, schema up to date".into()))];
    match Room::is_new(&store).await {
        Ok(true) => checks.push(("keys", Ok("will be made at the first start".into()))),
        Ok(false) => {
            let opened = wiring::open_for_reading(settings, around).await;
            let opened = opened.map(|_| "the master secret belongs to this database".to_owned());
            // With its causes: which version of the master secret is missing, say.
            let told = |error| format!("{:#}", anyhow::Error::from(error));
            checks.push(("keys", opened.map_err(told)));
        }
        Err(error) => checks.push(("keys", Err(error.to_string()))),
    }
    checks.push(("clock", clock(&store, around).await));
    checks
}

/// The process clock against the database's.
async fn clock(store: &store::Store, around: &Surroundings) -> Result<String, String> {
    const TOLERANCE_MS: i64 = 2000;
    let before = around.clock.now();
    let database = store.now().await.map_err(|error| error.to_string())?;
    let apart = database.since(before);
    let sentence = format!("{database}, {apart} ms ahead of this process");
    if apart.abs() > TOLERANCE_MS {
        return Err(format!("{sentence}: set the clocks by NTP"));
    }
    Ok(sentence)
}

/// The mail server: connection, greeting and login.
async fn mail(loaded: &Loaded) -> Result<String, String> {
    let post = Post::from_settings(&wiring::mail_settings(&loaded.settings));
    match post {
        Ok(post) => post.check().await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// The server of the shared counters, where there is one, and what to know about it.
async fn redis(loaded: &Loaded, notes: &mut Vec<String>) -> Option<Result<String, String>> {
    let settings = wiring::redis_settings(&loaded.settings)?;
    let report = store::SharedCounters::examine(&settings).await;
    Some(match report {
        Ok(report) => {
            notes.extend(report.notes);
            Ok(report.found)
        }
        Err(error) => Err(error.to_string()),
    })
}

fn notes(loaded: &Loaded) -> Vec<String> {
    let settings = &loaded.settings;
    let mut notes = Vec::from_iter(threads::note(settings));
    if settings.callers.api_key.is_some() {
        notes.push(
            "API_KEY is set: it may do everything and is removed only by a restart without it"
                .to_owned(),
        );
    }
    if let Some(secret) = &settings.keys.master_secret
        && MasterSecret::new(secret.expose().to_owned()).is_err()
    {
        notes.push("the master secret is too short".to_owned());
    }
    if !settings.environment.is_production() {
        notes.push(format!(
            "ENVIRONMENT is {}: set it to production where it matters",
            settings.environment.as_str()
        ));
    }
    if settings.server.tls.is_none() && settings.environment.is_production() {
        notes.push("the server speaks plain HTTP: put a TLS proxy before it".to_owned());
    }
    if let Some(url) = &settings.email.smtp_url
        && url.security == Security::Opportunistic
        && url.login.is_some()
    {
        notes.push(
            "email.smtp_url sends a password that others on the way could read: add ?tls=required"
                .to_owned(),
        );
    }
    if settings.email.domains.allows_all() {
        notes.push(
            "email.allowed_domains is empty: codes are sent to addresses of every domain"
                .to_owned(),
        );
    }
    if settings.audit.retention_days.is_none() {
        notes.push("audit.retention_days is 0: the audit log is kept for ever".to_owned());
    }
    notes
}
