//! `otpd migrate`: brings the database to this version, and to a new master secret when there is one.

use std::io::Write;

use crate::config::settings::Settings;
use crate::wiring::{self, Surroundings};

/// Migrates; with a previous master secret at hand, seals everything anew under the
/// current one. May be called again when it was interrupted.
///
/// # Errors
/// A sentence for whoever gave the command.
pub async fn run(settings: &Settings, around: &Surroundings) -> anyhow::Result<()> {
    let opened = wiring::open_alone(settings, around).await?;
    writeln!(std::io::stdout(), "The database is up to date.")?;
    if settings.keys.master_secret_previous.is_none() {
        return Ok(());
    }
    let app = wiring::start(settings, opened, around).await?;
    let sealed = app.reseal().await;
    app.close().await;
    let count = sealed?;
    writeln!(
        std::io::stdout(),
        "All keys are sealed under MASTER_SECRET, {count} of them anew: \
         MASTER_SECRET_PREVIOUS is needed no more."
    )?;
    Ok(())
}
