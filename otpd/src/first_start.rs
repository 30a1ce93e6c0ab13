//! The first start: the first API key and the root administrator are given once, with the commands that try everything out.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use app::{App, Caller, Context, FirstStart, NewRoot, RootLogins};
use zeroize::Zeroizing;

use crate::config::DatabaseUrl;
use crate::config::settings::Settings;
use crate::data_folder;
use crate::picture::{Look, drawn};

/// Makes the first key and the root administrator of a new database and gives them: to
/// a terminal, else, and always in production, in a file that only its owner can read.
///
/// # Errors
/// When the database or the file cannot be written.
pub async fn give(app: &App, settings: &Settings, address: SocketAddr) -> anyhow::Result<()> {
    let context = Context::local(Caller::Server);
    let Some(first) = app.prepare_first_start(&context).await? else {
        return Ok(());
    };
    let look = match Look::of_stdout() {
        Look::Terminal if !settings.environment.is_production() => Look::Terminal,
        _ => Look::Plain,
    };
    let text = Zeroizing::new(page(settings, &url(settings, address), &first, look)?);
    if look == Look::Terminal {
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
        tracing::info!(path = %path.display(), "first start: the first API key, the root administrator and commands to try are in this file; it goes when root first logs in");
    } else {
        data_folder::remove(&path)?;
    }
    Ok(())
}

/// The file of the first start, if there is one, goes as soon as root has logged in, here
/// or at another node, now or before: then it has been read.
pub fn forget_when_read(app: &App, settings: &Settings) {
    let folder = settings.data_dir.clone();
    let logins = match data_folder::read_first_start(&folder) {
        Ok(None) => return,
        Ok(Some(text)) if text.contains(ROOT_TITLE) => RootLogins::Ever,
        // It tells the API key alone, and root may have logged in long before.
        Ok(Some(_)) => RootLogins::Here,
        Err(error) => {
            tracing::warn!(%error, "the file of the first start cannot be read");
            RootLogins::Here
        }
    };
    app.when_root_logs_in(logins, move || {
        match data_folder::remove_first_start(&folder) {
            Ok(removed) => {
                if removed {
                    tracing::info!("root has logged in: the file of the first start is removed");
                }
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the file of the first start is still there");
                false
            }
        }
    });
}

/// Stands above what a page says of root.
const ROOT_TITLE: &str = "Root administrator";

/// The root administrator, as somebody is told once: the QR code, and beside it what
/// else there is, for all of it is to be seen on one screen.
///
/// # Errors
/// When the URI cannot be drawn.
pub fn root_text(root: &NewRoot, look: Look) -> anyhow::Result<Zeroizing<String>> {
    let uri = short_uri(root.provisioning_uri());
    let mut beside = vec![
        ROOT_TITLE.to_owned(),
        String::new(),
        format!("User:     {}", root.name()),
        format!("Password: {}", root.password()),
        String::new(),
        "Scan this with an authenticator".to_owned(),
        "app: each login takes a code.".to_owned(),
        String::new(),
        "Recovery codes, each good once:".to_owned(),
    ];
    beside.extend(root.recovery_codes().iter().cloned());
    let mut picture = drawn(&uri, look)?;
    // Of the shortest code a few lines would be missing.
    picture.resize(picture.len().max(beside.len()), String::new());
    beside.resize(picture.len(), String::new());
    let mut text = Zeroizing::new(String::new());
    for (row, words) in picture.iter().zip(&beside) {
        text.push_str(format!("  {row}  {words}").trim_end());
        text.push('\n');
    }
    text.push_str(&format!("  {}\n", *uri));
    Ok(text)
}

/// The URI without the parameters that have the format's default anyway: the QR code
/// becomes smaller.
fn short_uri(uri: &str) -> Zeroizing<String> {
    let defaults = ["algorithm=SHA1", "digits=6", "period=30"];
    let parts: Vec<&str> = uri.split('&').filter(|it| !defaults.contains(it)).collect();
    Zeroizing::new(parts.join("&"))
}

/// Where the commands of the page find the server: as its clients do, else on this machine.
fn url(settings: &Settings, mut address: SocketAddr) -> String {
    if let Some(url) = settings.server.callable_public_url() {
        return url.to_owned();
    }
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    format!("{}://{address}", settings.server.scheme())
}

/// How this program is called from where the user stands.
fn program() -> String {
    std::env::current_exe().map_or_else(|_| "otpd".into(), |program| near(&program))
}

/// A path as seen from the working folder.
fn near(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let path = match path.strip_prefix(&here) {
        Ok(below) => PathBuf::from(".").join(below),
        Err(_) => path.to_owned(),
    };
    path.display().to_string()
}

/// What must be kept, and where it is with these settings.
fn to_keep(settings: &Settings, look: Look) -> String {
    let shown = |path: &Path| match look {
        Look::Terminal => near(path),
        Look::Plain => path.display().to_string(),
    };
    let data = match &settings.database.url {
        DatabaseUrl::Sqlite(path) => shown(path),
        DatabaseUrl::Postgres(_) => "the PostgreSQL database".to_owned(),
    };
    let master = match &settings.keys.master_secret {
        Some(_) => "the master secret that you set".to_owned(),
        None => shown(&data_folder::master_path(&settings.data_dir)),
    };
    format!("Back up {data} and, apart from it, {master}.")
}

fn page(settings: &Settings, url: &str, first: &FirstStart, look: Look) -> anyhow::Result<String> {
    let program = program();
    let key = first.key.text();
    let root = first.root.as_ref().map(|root| root_text(root, look));
    let root = root.transpose()?.unwrap_or_default();
    let keep = to_keep(settings, look);
    // As the HTTP front decides whether it serves them.
    let docs = if settings.debug || !settings.environment.is_production() {
        format!("  API description: {url}/docs\n")
    } else {
        String::new()
    };
    Ok(format!(
        r#"Welcome to otpd. This is shown once; the API key may do everything: guard it.
Try it in another terminal: register a device, show its QR code, verify a code.
  export OTPD_KEY={key}
  DEVICE=$(curl -sS {url}/api/v1/devices/register -H "Authorization: Bearer $OTPD_KEY" -d '{{"device_id":"my-phone","user_id":"me"}}')
  echo "$DEVICE" | {program} qr
  CODE=$(echo "$DEVICE" | {program} code)
  curl -sS {url}/api/v1/otp/verify -H "Authorization: Bearer $OTPD_KEY" -d '{{"device_id":"my-phone","otp":"'$CODE'"}}'

{root}  {keep}
{docs}"#,
        root = *root,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_defaults_are_left_out_of_a_uri() {
        fn check(given: &str, short: &str) {
            assert_eq!(*short_uri(given), short);
            let read = |uri| otp::uri::OtpauthUri::parse(uri).unwrap().to_uri();
            assert_eq!(read(given), read(short), "they mean the same");
        }
        let start = "otpauth://totp/otpd:root?secret=JBSWY3DPEHPK3PXP&issuer=otpd";
        check(&format!("{start}&algorithm=SHA1&digits=6&period=30"), start);
        let other = format!("{start}&algorithm=SHA256&digits=8&period=300");
        check(&other, &other);
    }
}
