//! `otpd code` and `otpd qr`: an authenticator in the terminal, for trying things out.

use std::io::{Read, Write};

use anyhow::Context as _;
use otp::uri::{Kind, OtpauthUri};
use otp::{Algorithm, Digits, Secret, Totp, hotp};
use serde_json::Value;
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

/// The fewest characters of a key in base32 (80 bits, which is what the oldest apps make):
/// what is shorter is a word that looks like one.
const SHORTEST_KEY: usize = 16;

fn parse(text: &str) -> anyhow::Result<OtpauthUri> {
    anyhow::ensure!(!text.is_empty(), "nothing was given: a secret is expected");
    if text.starts_with('{') {
        let answer: Value =
            serde_json::from_str(text).context("this is not the JSON of a registration")?;
        let uri = ["/data/provisioning_uri", "/provisioning_uri"]
            .iter()
            .find_map(|place| answer.pointer(place)?.as_str());
        let uri = uri.with_context(|| match refusal(&answer) {
            Some(refusal) => format!("the server refused: {refusal}"),
            None => "the JSON holds no provisioning_uri".to_owned(),
        })?;
        return Ok(OtpauthUri::parse(uri)?);
    }
    if text.to_ascii_lowercase().starts_with("otpauth:") {
        return Ok(OtpauthUri::parse(text)?);
    }
    let secret = Secret::from_base32(text)
        .context("this is no key in base32, otpauth URI or answer of a registration")?;
    anyhow::ensure!(
        text.chars().filter(char::is_ascii_alphanumeric).count() >= SHORTEST_KEY,
        "this is too short for a key: {SHORTEST_KEY} characters or more are expected"
    );
    Ok(OtpauthUri {
        kind: Kind::Totp { period: 30 },
        issuer: None,
        account: "otpd".into(),
        secret,
        algorithm: Algorithm::default(),
        digits: Digits::default(),
    })
}

/// What a server said that did not do what it was asked for: status, title and detail of a
/// problem, and which fields were wrong.
fn refusal(answer: &Value) -> Option<String> {
    let text = |value: &Value, name: &str| Some(value.get(name)?.as_str()?.to_owned());
    let status = answer.get("status").and_then(Value::as_u64);
    let head: Vec<String> = [
        status.map(|status| status.to_string()),
        text(answer, "title"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let detail = text(answer, "detail").or_else(|| text(answer, "message"));
    let mut parts = vec![head.join(" ")];
    parts.extend(detail);
    let faults = answer.get("errors").and_then(Value::as_array);
    parts.extend(faults.into_iter().flatten().filter_map(|fault| {
        let detail = text(fault, "detail")?;
        Some(format!("{} {detail}", text(fault, "pointer")?))
    }));
    parts.retain(|part| !part.is_empty());
    // It comes from a network and goes to a terminal.
    let said: String = parts
        .join(": ")
        .chars()
        .filter(|c| !c.is_control())
        .collect();
    (!said.is_empty()).then_some(said)
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
        fn check(text: &str, expected: &str) {
            let Err(error) = parse(text) else {
                panic!("accepted");
            };
            assert_eq!(error.to_string(), expected);
        }
        check(
            r#"{"detail":"A valid credential is required."}"#,
            "the server refused: A valid credential is required.",
        );
        check(
            r#"{"title":"Not authenticated","status":401,"detail":"A valid credential is required.","code":"x"}"#,
            "the server refused: 401 Not authenticated: A valid credential is required.",
        );
        check(
            r#"{"title":"Too many requests","status":429}"#,
            "the server refused: 429 Too many requests",
        );
        check(
            r#"{"status":422,"title":"Invalid","errors":[{"pointer":"/otp","detail":"Is missing."}]}"#,
            "the server refused: 422 Invalid: /otp Is missing.",
        );
        check(
            r#"{"detail":"a\u001b[31mb\n"}"#,
            "the server refused: a[31mb",
        );
        check("{}", "the JSON holds no provisioning_uri");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", "a", "hello", "null", "JBSW Y3DP EHPK", "[]", "<html>"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
