//! The mail that carries a code: what it says, as an RFC 5322 message.

use std::time::{Duration, SystemTime};

use data_encoding::HEXLOWER;
use domain::{EmailAddress, Time};
use lettre::address::Envelope;
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::{Address, Message};
use zeroize::Zeroizing;

/// The last second that a `Date` can be written for, short of the year 9999.
const LAST_SECOND: i64 = 253_370_764_800;

/// Why a letter cannot be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LetterError {
    /// The issuer has control characters, such as a line break: it stands in headers.
    #[error("the issuer has characters that cannot stand in a mail")]
    Issuer,
    /// The message could not be put together.
    #[error("the mail cannot be composed")]
    Composition(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What a mail with a code is made of. The same values give the same letter, byte for
/// byte, so a second try of one mail is recognised by its `Message-ID`.
pub(crate) struct CodeLetter<'a> {
    /// Who sends.
    pub(crate) from: &'a EmailAddress,
    /// Who gets it.
    pub(crate) to: &'a EmailAddress,
    /// On whose behalf, for people to read.
    pub(crate) issuer: &'a str,
    /// The code, in ASCII digits.
    pub(crate) code: &'a str,
    /// How long the code lives from its sending.
    pub(crate) lifetime: Duration,
    /// When the mail is written.
    pub(crate) now: Time,
    /// Random bytes that no other mail has.
    pub(crate) id: [u8; 16],
}

/// A mail ready to go. It holds a code: no `Debug`, wiped on drop.
pub(crate) struct Letter {
    pub(super) envelope: Envelope,
    pub(super) message: Zeroizing<Vec<u8>>,
    /// A name for a file: when it was written, and its id.
    pub(super) name: String,
}

impl Letter {
    /// Writes the mail with a code: the same words as plain text and as HTML, no link and
    /// nothing to load, since both are what a phisher's mail would have.
    ///
    /// # Errors
    /// [`LetterError`].
    pub(crate) fn with_code(parts: &CodeLetter<'_>) -> Result<Letter, LetterError> {
        if parts.issuer.chars().any(char::is_control) {
            return Err(LetterError::Issuer);
        }
        let id = HEXLOWER.encode(&parts.id);
        let seconds = parts.now.seconds().clamp(0, LAST_SECOND);
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs());
        let bodies = MultiPart::alternative()
            // Not drawn by the library: the letter is a function of its parts.
            .boundary(format!("otpd-{id}"))
            .singlepart(part(ContentType::TEXT_PLAIN, text(parts)))
            .singlepart(part(ContentType::TEXT_HTML, html(parts)));
        let message = Message::builder()
            .from(Mailbox::new(
                Some(parts.issuer.to_owned()),
                address(parts.from)?,
            ))
            .to(Mailbox::new(None, address(parts.to)?))
            .subject(format!("Your one-time code for {}", parts.issuer))
            .date(date)
            .message_id(Some(format!("<{id}@{}>", parts.from.domain())))
            // RFC 3834: nobody answers, no list passes it on.
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ))
            .multipart(bodies)
            .map_err(|error| LetterError::Composition(error.into()))?;
        Ok(Letter {
            envelope: message.envelope().clone(),
            message: Zeroizing::new(message.formatted()),
            name: format!("{seconds}-{id}"),
        })
    }
}

fn address(address: &EmailAddress) -> Result<Address, LetterError> {
    let parsed = address.canonical().parse();
    parsed.map_err(|error: lettre::address::AddressError| LetterError::Composition(error.into()))
}

/// One body. Where it is not ASCII it is quoted-printable and not base64: the code can
/// be read in the file as well.
fn part(kind: ContentType, body: String) -> SinglePart {
    let builder = SinglePart::builder().header(kind);
    if body.is_ascii() {
        builder.body(body)
    } else {
        builder
            .header(ContentTransferEncoding::QuotedPrintable)
            .body(body)
    }
}

fn text(parts: &CodeLetter<'_>) -> String {
    let CodeLetter { issuer, code, .. } = parts;
    let Times { asked, end, life } = Times::of(parts);
    format!(
        "Your one-time code for {issuer} is:\r\n\r\n{code}\r\n\r\n\
         Valid until {end}, {life} after it was requested.\r\n\
         It can be used once.\r\n\r\n\
         Do not share this code: {NOBODY}\r\n\r\n\
         Requested at {asked}. If that was not you, ignore this mail.\r\n"
    )
}

fn html(parts: &CodeLetter<'_>) -> String {
    let issuer = escaped(parts.issuer);
    let code = escaped(parts.code);
    let Times { asked, end, life } = Times::of(parts);
    format!(
        "<!DOCTYPE html>\r\n\
         <html lang=\"en\">\r\n\
         <head><meta charset=\"utf-8\"><meta name=\"color-scheme\" content=\"light dark\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>One-time code</title></head>\r\n\
         <body style=\"{BODY}\">\r\n\
         <div style=\"{FRAME}\">\r\n\
         <p style=\"margin: 0\">Your one-time code for {issuer} is:</p>\r\n\
         <p style=\"{CODE}\"><strong>{code}</strong></p>\r\n\
         <p>Valid until <strong>{end}</strong>, {life} after it was requested. \
         It can be used once.</p>\r\n\
         <p><strong>Do not share this code:</strong> {NOBODY}</p>\r\n\
         <p style=\"{SMALL}\">Requested at {asked}. If that was not you, ignore this mail.</p>\r\n\
         </div>\r\n\
         </body>\r\n\
         </html>\r\n"
    )
}

/// Why the code is for one place only, after the warning.
const NOBODY: &str = "nobody has a good reason to ask for it.";

// No colour of text or ground, but a frame that is seen on both: each reader's own
// theme, dark or light, stays readable.
const BODY: &str = "margin: 0; padding: 24px 12px; font-family: system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif; font-size: 16px; line-height: 1.5";
const FRAME: &str =
    "max-width: 480px; margin: 0 auto; padding: 24px; border: 1px solid gray; border-radius: 8px";
const CODE: &str = "margin: 16px 0; padding: 12px 0; border: 1px dashed gray; border-radius: 8px; text-align: center; font-family: ui-monospace, Menlo, Consolas, monospace; font-size: 32px; letter-spacing: 4px";
const SMALL: &str = "margin: 24px 0 0; padding: 12px 0 0; border-top: 1px solid gray; font-size: 14px; opacity: 0.8";

/// When the code lives, in words that stay true however late the mail arrives.
struct Times {
    asked: String,
    end: String,
    life: String,
}

impl Times {
    fn of(parts: &CodeLetter<'_>) -> Self {
        let lifetime = i64::try_from(parts.lifetime.as_secs()).unwrap_or(i64::MAX);
        Self {
            asked: moment(parts.now),
            end: moment(parts.now.plus_seconds(lifetime)),
            life: validity(parts.lifetime),
        }
    }
}

/// `2026-11-21 02:53:57 UTC`.
fn moment(time: Time) -> String {
    let text = time.to_rfc3339();
    let (day, rest) = text.split_once('T').unwrap_or((&text, ""));
    let clock = rest.split(['.', 'Z']).next().unwrap_or_default();
    format!("{day} {clock} UTC")
}

/// A length of time in words: whole minutes, else seconds.
fn validity(lifetime: Duration) -> String {
    let seconds = lifetime.as_secs();
    let (number, unit) = match seconds {
        60.. if seconds.is_multiple_of(60) => (seconds / 60, "minute"),
        _ => (seconds, "second"),
    };
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {unit}{plural}")
}

/// The text with the signs of HTML spelled out.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(c),
        }
    }
    escaped
}
