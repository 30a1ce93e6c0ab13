//! The first start: the first API key and the root administrator are given once, with the commands that try everything out.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use app::{App, Caller, Context, FirstStart, NewRoot};
use zeroize::Zeroizing;

use crate::commands::secret::drawn;
use crate::config::settings::Settings;
use crate::data_folder;

/// Makes the first key and the root administrator of a new database and gives them: to
/// a terminal, else, and always in production, in a file that only its owner can read.
///
/// # Errors
/// When the database or the file cannot be written.
pub async fn give(app: &App, settings: &Settings, url: &str) -> anyhow::Result<()> {
    let context = Context::local(Caller::Server);
    let Some(first) = app.prepare_first_start(&context).await? else {
        return Ok(());
    };
    let text = Zeroizing::new(page(settings, url, &first)?);
    if std::io::stdout().is_terminal() && !settings.environment.is_production() {
        if app.store_first_start(&context, first).await? {
            let mut out = std::io::stdout().lock();
            out.write_all(text.as_bytes())?;
            out.flush()?;
        }
        return Ok(());
    }
    // The file first: a key in force that nobody was given could never be had again.
    let path = data_folder::write_first_start(&settings.data_dir, &text)?;
    if app.store_first_start(&context, first).await? {
        tracing::info!(path = %path.display(), "first start: the first API key, the root administrator and three commands to try are in this file; it goes when root first logs in");
    } else {
        data_folder::remove(&path)?;
    }
    Ok(())
}

/// From now on the file of the first start goes as soon as root logs in: then it has
/// been read.
pub fn forget_when_read(app: &App, settings: &Settings) {
    let folder = settings.data_dir.clone();
    app.when_root_logs_in(move || match data_folder::remove_first_start(&folder) {
        Ok(true) => tracing::info!("root has logged in: the file of the first start is removed"),
        Ok(false) => {}
        Err(error) => tracing::warn!(%error, "the file of the first start is still there"),
    });
}

/// The root administrator, as somebody is told once.
///
/// # Errors
/// When the URI cannot be drawn.
pub fn root_text(root: &NewRoot) -> anyhow::Result<String> {
    let uri = root.provisioning_uri();
    let picture = drawn(uri)?;
    let codes = root.recovery_codes();
    let rows: Vec<String> = codes.chunks(2).map(|pair| pair.join("    ")).collect();
    Ok(format!(
        r#"
  Root administrator (logs in with password and authenticator code):

    User:     {name}
    Password: {password}

  Scan this with an authenticator app:

{picture}
    {uri}

  Recovery codes, each good once when the phone is lost:

    {codes}
"#,
        name = root.name(),
        password = root.password(),
        codes = rows.join("\n    "),
    ))
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

fn page(settings: &Settings, url: &str, first: &FirstStart) -> anyhow::Result<String> {
    let program = program();
    let folder = settings.data_dir.display();
    let key = first.key.text();
    let root = first.root.as_ref().map(root_text).transpose()?;
    let root = root.unwrap_or_default();
    Ok(format!(
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

{root}
  Data and master key are in {folder}: back them up, apart from each other.
  API description: {url}/docs

"#
    ))
}
