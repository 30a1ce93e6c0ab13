//! Reads single texts of the configuration: what each must look like, and the words when it does not.

use std::fmt::Display;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::known::distance;
use super::problem::quoted;
use super::reader::Fault;
use super::settings::{Environment, LogFormat};

/// The shortest master secret, API key in production (characters) and HS256 key (bytes).
const SHORTEST_SECRET: usize = 32;

pub(super) fn environment(text: &str) -> Result<Environment, Fault> {
    let word = text.trim().to_ascii_lowercase();
    let is_word = (1..=32).contains(&word.len())
        && word
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    // A mistyped "production" must not turn the stricter rules off.
    let is_nearly = word == "prod" || (1..=2).contains(&distance(&word, "production"));
    if !is_word || is_nearly {
        return Err((
            format!("is {}", quoted(text)),
            "production, development, staging, test or a word not like these is expected".into(),
        ));
    }
    Ok(Environment(word))
}

pub(super) fn host(text: &str) -> Result<String, Fault> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    let is_name = !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    if bare.parse::<IpAddr>().is_ok() {
        Ok(bare.to_owned())
    } else if is_name {
        Ok(text.to_owned())
    } else {
        Err((
            format!("is {}", quoted(text)),
            "an IP address or a host name, without a port, is expected".into(),
        ))
    }
}

pub(super) fn public_url(text: &str) -> Result<Option<String>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    let place = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))
        .unwrap_or_default();
    let is_plain = place
        .chars()
        .all(|c| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '@'));
    if place.is_empty() || place.starts_with('/') || !is_plain {
        return Err((
            format!("is {}", quoted(text)),
            "http://HOST or https://HOST, perhaps with a path, is expected".into(),
        ));
    }
    Ok(Some(text.trim_end_matches('/').to_owned()))
}

pub(super) fn redis_url(text: &str) -> Result<(), Fault> {
    let schemes = ["redis", "rediss", "redis+cluster", "rediss+cluster"];
    let place = match text.split_once("://") {
        Some((scheme, place)) if schemes.contains(&scheme) => place,
        _ => "",
    };
    // "#insecure" would be a wish for TLS that asks nobody for a certificate.
    if place.is_empty() || place.contains('#') {
        return Err((
            "is not the address of a Redis server".into(),
            "redis://HOST, rediss://HOST or redis+cluster://HOST,HOST is expected".into(),
        ));
    }
    Ok(())
}

/// At least 32 characters.
pub(super) fn long_enough(text: &str) -> Result<(), Fault> {
    let length = text.chars().count();
    if length < SHORTEST_SECRET {
        return Err((
            format!("has {length} characters"),
            format!("{SHORTEST_SECRET} or more are expected"),
        ));
    }
    Ok(())
}

/// The issuer stands before a colon in the label of an `otpauth:` URI.
pub(super) fn issuer(text: &str) -> Result<String, Fault> {
    if text.trim().is_empty() || text.contains(':') || text.chars().any(char::is_control) {
        return Err((
            format!("is {}", quoted(text)),
            "a name without a colon is expected".into(),
        ));
    }
    Ok(text.to_owned())
}

pub(super) fn not_empty(text: &str) -> Result<String, Fault> {
    if text.is_empty() {
        return Err(("is empty".into(), "a text is expected".into()));
    }
    Ok(text.to_owned())
}

/// RFC 7518, section 3.2: a key for HS256 has at least the 256 bits of its output.
pub(super) fn hs256_key(text: &str) -> Result<(), Fault> {
    if text.len() < SHORTEST_SECRET {
        return Err((
            format!("has {} bytes", text.len()),
            format!("{SHORTEST_SECRET} or more are expected"),
        ));
    }
    Ok(())
}

pub(super) fn hs256(text: &str) -> Result<(), Fault> {
    if text != "HS256" {
        return Err((format!("is {}", quoted(text)), "HS256 is expected".into()));
    }
    Ok(())
}

/// `on`, `off`, or what `auto` means here.
pub(super) fn switch(text: &str, automatic: bool) -> Result<bool, Fault> {
    match text {
        "auto" => Ok(automatic),
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err((
            format!("is {}", quoted(text)),
            "auto, on or off is expected".into(),
        )),
    }
}

/// A whole number, or `None` for "auto".
pub(super) fn unless_automatic<T: FromStr + PartialOrd + Display>(
    text: &str,
    bounds: RangeInclusive<T>,
    unit: &str,
) -> Result<Option<T>, Fault> {
    if text == "auto" {
        return Ok(None);
    }
    match text.parse() {
        Ok(number) if bounds.contains(&number) => Ok(Some(number)),
        _ => {
            let (least, most) = (bounds.start(), bounds.end());
            Err((
                format!("is {text}"),
                format!("auto, or {least} to {most} {unit} are expected"),
            ))
        }
    }
}

pub(super) fn log_level(text: &str) -> Result<tracing::Level, Fault> {
    match text {
        "error" => Ok(tracing::Level::ERROR),
        "warn" => Ok(tracing::Level::WARN),
        "info" => Ok(tracing::Level::INFO),
        "debug" => Ok(tracing::Level::DEBUG),
        "trace" => Ok(tracing::Level::TRACE),
        _ => Err((
            format!("is {}", quoted(text)),
            "error, warn, info, debug or trace is expected".into(),
        )),
    }
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, Fault> {
    match text {
        "json" => Ok(LogFormat::Json),
        "text" => Ok(LogFormat::Text),
        "auto" => Ok(LogFormat::Auto),
        _ => Err((
            format!("is {}", quoted(text)),
            "json, text or auto is expected".into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_automatic_is_else_a_number_within_its_bounds() {
        let seconds = |text| unless_automatic::<u64>(text, 0..=3600, "seconds");
        assert_eq!(seconds("auto"), Ok(None));
        assert_eq!(seconds("0"), Ok(Some(0)));
        assert_eq!(seconds("3600"), Ok(Some(3600)));
        for refused in ["3601", "-1", "1.5", "soon", ""] {
            assert!(seconds(refused).is_err(), "{refused}");
        }
        let (found, expected) = seconds("3601").unwrap_err();
        assert_eq!(found, "is 3601");
        assert_eq!(expected, "auto, or 0 to 3600 seconds are expected");
        let (_, expected) = unless_automatic::<usize>("0", 1..=1024, "threads").unwrap_err();
        assert_eq!(expected, "auto, or 1 to 1024 threads are expected");
    }
}
