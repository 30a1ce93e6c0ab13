//! `otpd code` and `otpd qr`: an authenticator in the terminal, for trying things out.

use std::io::{Read, Write};

use anyhow::Context as _;
use otp::uri::{Kind, OtpauthUri};
use otp::{Algorithm, Digits, Secret, Totp, hotp};
use zeroize::Zeroizing;

use crate::cli::SecretArgs;
use crate::picture::{Look, drawn};
use crate::system::SystemClock;

/// Prints the current code.
///
/// # Errors
/// When the secret cannot be read.
pub fn code(args: &SecretArgs) -> anyhow::Result<()> {
    let uri = given(args)?;
    let now = store::Clock::now(&SystemClock).seconds();
    let counter = match uri.kind {
        Kind::Totp { period } => Totp { period, t0: 0 }
            .step_at(now)
            .context("the clock stands before 1970")?,
        Kind::Hotp { counter } => counter,
    };
    let code = hotp(&uri.secret, uri.algorithm, uri.digits, counter);
    writeln!(std::io::stdout(), "{}", code.to_text().as_str())?;
    Ok(())
}

/// Draws the QR code of the URI and prints the URI below it.
///
/// # Errors
/// When the secret cannot be read, or the URI is too long for a QR code.
pub fn qr(args: &SecretArgs) -> anyhow::Result<()> {
    let uri = given(args)?.to_uri();
    let mut out = std::io::stdout().lock();
    for line in drawn(&uri, Look::of_stdout())? {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "{}", uri.as_str())?;
    Ok(())
}

fn given(args: &SecretArgs) -> anyhow::Result<OtpauthUri> {
    let text = match args.secret.as_deref() {
        None | Some("-") => {
            let mut text = Zeroizing::new(String::new());
            std::io::stdin()
                .lock()
                .read_to_string(&mut text)
                .context("standard input cannot be read")?;
            text
        }
        Some(text) => Zeroizing::new(text.to_owned()),
    };
    parse(text.trim())
}

fn parse(text: &str) -> anyhow::Result<OtpauthUri> {
    if text.starts_with('{') {
        let answer: serde_json::Value =
            serde_json::from_str(text).context("this is not the JSON of a registration")?;
        let uri = ["/data/provisioning_uri", "/provisioning_uri"]
            .iter()
            .find_map(|place| answer.pointer(place)?.as_str());
        let detail = answer.pointer("/detail").and_then(|d| d.as_str());
        let uri = uri.with_context(|| match detail {
            Some(detail) => format!("the server refused: {detail}"),
            None => "the JSON holds no provisioning_uri".to_owned(),
        })?;
        return Ok(OtpauthUri::parse(uri)?);
    }
    if text.to_ascii_lowercase().starts_with("otpauth:") {
        return Ok(OtpauthUri::parse(text)?);
    }
    let secret = Secret::from_base32(text).context("this is neither base32 nor an otpauth URI")?;
    Ok(OtpauthUri {
        kind: Kind::Totp { period: 30 },
        issuer: None,
        account: "otpd".into(),
        secret,
        algorithm: Algorithm::default(),
        digits: Digits::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_in_each_of_its_forms() {
        fn check(text: &str, digits: u8) {
            let uri = parse(text).unwrap();
            assert_eq!(uri.digits.get(), digits, "{text}");
            assert_eq!(uri.secret.expose(), b"Hello!\xde\xad\xbe\xef");
        }
        check("JBSWY3DPEHPK3PXP", 6);
        check("otpauth://totp/a?secret=JBSWY3DPEHPK3PXP&digits=8", 8);
        check(
            r#"{"data":{"provisioning_uri":"otpauth://totp/a?secret=JBSWY3DPEHPK3PXP"}}"#,
            6,
        );
    }

    #[test]
    fn a_refusal_of_the_server_is_passed_on() {
        let text = r#"{"detail":"A valid credential is required."}"#;
        let Err(error) = parse(text) else {
            panic!("accepted");
        };
        assert!(error.to_string().contains("A valid credential"), "{error}");
    }
}
