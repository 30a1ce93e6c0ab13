//! Letters as Python's own parser reads them, and as a real SMTP server receives them.

mod letters;
mod outbox;
mod post_office;
mod smtp;

use std::time::Duration;

use domain::{EmailAddress, Time};

use super::letter::{CodeLetter, Letter};

/// Saturday, 21 November 2026, 02:53:57 UTC.
const NOW: Time = Time::from_seconds(1_795_229_637);
const CODE: &str = "048213";

fn address(text: &str) -> EmailAddress {
    EmailAddress::parse(text).unwrap()
}

/// A letter to that address on behalf of that issuer.
fn letter(to: &str, issuer: &str) -> Letter {
    let parts = CodeLetter {
        from: &address("no-reply@otp.example.com"),
        to: &address(to),
        issuer,
        code: CODE,
        lifetime: Duration::from_secs(300),
        now: NOW,
        id: [0xab; 16],
    };
    Letter::with_code(&parts).unwrap_or_else(|error| panic!("{error}"))
}
