//! The first start: the first API key is given once, with the commands that try everything out.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use app::{App, Caller, Context};
use zeroize::Zeroizing;

use crate::config::settings::Settings;
use crate::data_folder;

/// Makes the first key of a new database and gives it: to a terminal, else, and always
/// in production, in a file that only its owner can read.
///
/// # Errors
/// When the database or the file cannot be written.
pub async fn give(app: &App, settings: &Settings, url: &str) -> anyhow::Result<()> {
    let context = Context::local(Caller::Server);
    let Some(first) = app.prepare_first_key(&context).await? else {
        return Ok(());
    };
    let text = Zeroizing::new(page(settings, url, first.text()));
    if std::io::stdout().is_terminal() && !settings.environment.is_production() {
        if app.store_first_key(&context, first).await? {
            let mut out = std::io::stdout().lock();
            out.write_all(text.as_bytes())?;
            out.flush()?;
        }
        return Ok(());
    }
    // The file first: a key in force that nobody was given could never be had again.
    let path = data_folder::write_first_start(&settings.data_dir, &text)?;
    if app.store_first_key(&context, first).await? {
        tracing::info!(path = %path.display(), "first start: the first API key and three commands to try are in this file; remove it when you have read it");
    } else {
        data_folder::remove(&path)?;
    }
    Ok(())
}

/// How this program is called from where the user stands.
fn program() -> String {
    let name = || -> Option<PathBuf> {
        let program = std::env::current_exe().ok()?;
        let here = std::env::current_dir().ok()?;
        Some(match program.strip_prefix(&here) {
            Ok(below) => PathBuf::from(".").join(below),
            Err(_) => program,
        })
    };
    name().map_or_else(|| "otpd".into(), |path| path.display().to_string())
}

fn page(settings: &Settings, url: &str, key: &str) -> String {
    let program = program();
    let folder = settings.data_dir.display();
    format!(
        r#"
Welcome to otpd. This is shown once.

  First API key (may do everything; keep it like a password):

    {key}

  Try it, in another terminal:

  1. Register a device:

    export OTPD_KEY={key}
    DEVICE=$(curl -sS {url}/api/v1/devices/register -H "Authorization: Bearer $OTPD_KEY" -d '{{"device_id":"my-phone","user_id":"me"}}'); echo "$DEVICE"

  2. Show its QR code and scan it with an authenticator app:

    echo "$DEVICE" | {program} qr

  3. Verify the code that the app shows (or the one that `code` computes):

    curl -sS {url}/api/v1/otp/verify -H "Authorization: Bearer $OTPD_KEY" -d '{{"device_id":"my-phone","otp":"'$(echo "$DEVICE" | {program} code)'"}}'

  Data and master key are in {folder}: back them up, apart from each other.
  API description: {url}/docs

"#
    )
}
