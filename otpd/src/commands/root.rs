//! `otpd root reset`: makes the root administrator anew, for whoever has the server's machine.

use std::io::Write;

use app::{App, Caller, Context};

use crate::config::settings::Settings;
use crate::first_start::root_text;
use crate::picture::Look;
use crate::wiring::{self, Surroundings};

/// Gives root a new password, authenticator and recovery codes; the old ones and all of
/// root's sessions end.
///
/// # Errors
/// A sentence for whoever gave the command.
pub async fn reset(settings: &Settings, around: &Surroundings) -> anyhow::Result<()> {
    let opened = wiring::open_existing(settings, around).await;
    let opened = opened.map_err(|error| {
        error.when_held("root is made anew offline only: no call to a running server does it")
    })?;
    let app = wiring::start(settings, opened, around).await?;
    let result = make(&app).await;
    app.close().await;
    result?;
    // What it says of root does not hold any more.
    if crate::data_folder::remove_first_start(&settings.data_dir)? {
        writeln!(
            std::io::stderr(),
            "first-start.txt is gone, and the first API key with it if you have not kept that: \
             `otpd keys make` makes another."
        )?;
    }
    Ok(())
}

async fn make(app: &App) -> anyhow::Result<()> {
    let root = app
        .prepare_root(&Context::local(Caller::CommandLine))
        .await?;
    let text = root_text(&root, Look::of_stdout())?;
    anyhow::ensure!(
        app.store_root(root).await?,
        "root was changed by somebody else at the same time: try again"
    );
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    writeln!(
        std::io::stderr(),
        "Root is made anew. This is shown only here."
    )?;
    Ok(())
}
