//! `otpd keys`: make, list and revoke API keys, rotate signing keys, without a running server.

use std::io::Write;

use app::{App, Caller, Context, KeyView, NewKey, Reply};
use domain::Scopes;

use crate::cli::KeysCommand;
use crate::config::settings::Settings;
use crate::wiring::{self, Surroundings};

const DAY_SECONDS: u32 = 86_400;
const PAGE: u32 = 200;
/// As over HTTP.
const LONGEST_NAME: usize = 128;

/// Runs a command.
///
/// # Errors
/// A sentence for whoever gave it.
pub async fn run(
    command: &KeysCommand,
    settings: &Settings,
    around: &Surroundings,
) -> anyhow::Result<()> {
    let context = Context::local(Caller::CommandLine);
    if let KeysCommand::List = command {
        let (store, room) = wiring::open_for_reading(settings, around).await?;
        let clock = std::sync::Arc::clone(&around.clock);
        let app = App::reading(wiring::app_settings(settings), store, room, clock);
        return list(&app).await;
    }
    let opened = wiring::open_existing(settings, around).await;
    let opened = opened.map_err(|error| error.when_held("keys cannot be changed offline; a running server has POST /api/v1/keys, DELETE /api/v1/keys/{id} and POST /api/v1/signing-keys/rotate"))?;
    let app = wiring::start(settings, opened, around).await?;
    let result = match command {
        KeysCommand::Make {
            name,
            scopes,
            expires_in_days,
        } => make(&app, &context, name, scopes, *expires_in_days).await,
        KeysCommand::Revoke { id } => revoke(&app, &context, id).await,
        KeysCommand::RotateSigning => rotate_signing(&app, &context).await,
        KeysCommand::List => Ok(()),
    };
    app.close().await;
    result
}

async fn make(
    app: &App,
    context: &Context,
    name: &str,
    scopes: &str,
    days: Option<u32>,
) -> anyhow::Result<()> {
    let words = scopes.split([',', ' ']).filter(|word| !word.is_empty());
    let scopes = Scopes::from_words(words)?;
    anyhow::ensure!(!scopes.is_empty(), "--scopes names no scope");
    let fits = !name.trim().is_empty() && name.chars().count() <= LONGEST_NAME;
    anyhow::ensure!(
        fits && !name.chars().any(char::is_control),
        "--name has 1 to {LONGEST_NAME} characters and no control characters"
    );
    let new = NewKey {
        name: name.to_owned(),
        scopes,
        expires_in: days.map(|days| days.saturating_mul(DAY_SECONDS)),
    };
    let Reply::Fresh(made) = app.make_key(context, &new).await? else {
        anyhow::bail!("the key was not made");
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", made.key)?;
    writeln!(
        std::io::stderr(),
        "Key {} ({}) was made. It is shown only here.",
        made.id,
        made.scopes.join(" ")
    )?;
    Ok(())
}

async fn revoke(app: &App, context: &Context, id: &str) -> anyhow::Result<()> {
    // Whoever has the whole key at hand may give it.
    let id = match id.strip_prefix("otpd_") {
        Some(key) => key.split('_').next().unwrap_or_default(),
        None => id,
    };
    app.revoke_key(context, id).await?;
    writeln!(std::io::stdout(), "Key {id} is revoked.")?;
    Ok(())
}

async fn rotate_signing(app: &App, context: &Context) -> anyhow::Result<()> {
    app.rotate_signing_keys(context).await?;
    writeln!(
        std::io::stdout(),
        "New signing keys are in use. Tokens signed with the old ones hold until they expire."
    )?;
    Ok(())
}

async fn list(app: &App) -> anyhow::Result<()> {
    let mut cursor = None;
    let mut rows: Vec<KeyView> = Vec::new();
    loop {
        let page = app.api_keys(cursor.as_deref(), PAGE).await?;
        rows.extend(page.data);
        match page.next_cursor {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{:<18} {:<8} {:<25} {:<20} SCOPES",
        "ID", "STATUS", "EXPIRES", "NAME"
    )?;
    for key in rows {
        writeln!(
            out,
            "{:<18} {:<8} {:<25} {:<20} {}",
            key.id,
            key.status,
            key.expires_at.as_deref().unwrap_or("never"),
            key.name,
            key.scopes.join(" ")
        )?;
    }
    Ok(())
}
