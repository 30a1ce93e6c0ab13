//! What a letter says, and that nothing given to it becomes a header or markup.

use super::super::letter::{CodeLetter, Letter, LetterError};
use super::post_office::Mail;
use super::*;

async fn read(letter: &Letter) -> Mail {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("letter.eml");
    std::fs::write(&path, letter.message.as_slice()).unwrap();
    Mail::read(&path).await
}

#[tokio::test]
async fn a_letter_says_the_same_in_text_and_in_html() {
    let mail = read(&letter("Dave@Example.com", "Example Ltd")).await;
    mail.assert_sound();
    let mut names = mail.header_names();
    names.sort_unstable();
    let expected = [
        "Auto-Submitted",
        "Content-Type",
        "Date",
        "From",
        "MIME-Version",
        "Message-ID",
        "Subject",
        "To",
    ];
    assert_eq!(names, expected);
    let from = mail.header("From");
    assert!(from.contains("Example Ltd") && from.ends_with("<no-reply@otp.example.com>"));
    assert_eq!(mail.header("To"), "dave@example.com");
    assert_eq!(mail.header("Subject"), "Your one-time code for Example Ltd");
    assert_eq!(mail.header("Date"), "Sat, 21 Nov 2026 02:53:57 +0000");
    let id = format!("<{}@otp.example.com>", "ab".repeat(16));
    assert_eq!(mail.header("Message-ID"), id);
    assert_eq!(mail.header("Auto-Submitted"), "auto-generated");
    assert_eq!(mail.get("type"), "multipart/alternative");
    assert_eq!(mail.part_count(), 2);
    let (kind, text) = mail.part(0);
    assert_eq!(kind, "text/plain");
    assert_eq!(
        text.trim_end(),
        "Your one-time code for Example Ltd is:\n\n048213\n\n\
         Valid until 2026-11-21 02:58:57 UTC, 5 minutes after it was requested.\n\
         It can be used once.\n\n\
         Do not share this code: nobody has a good reason to ask for it.\n\n\
         Requested at 2026-11-21 02:53:57 UTC. If that was not you, ignore this mail."
    );
    let (kind, html) = mail.part(1);
    assert_eq!(kind, "text/html");
    assert!(html.contains("<strong>048213</strong>"), "{html}");
    for told in [
        "<strong>2026-11-21 02:58:57 UTC</strong>, 5 minutes after it was requested.",
        "Do not share this code",
        "Requested at 2026-11-21 02:53:57 UTC.",
        "content=\"light dark\"",
    ] {
        assert!(html.contains(told), "{told}: {html}");
    }
    // The reader's theme decides on colours: none is set that another one could hide.
    assert!(!html.contains("color:") && !html.contains("background"));
    for needle in ["href", "src", "http", "url("] {
        assert!(!html.contains(needle), "{needle} in {html}");
    }
}

#[tokio::test]
async fn other_scripts_arrive_and_the_code_can_be_read_in_the_file() {
    let letter = letter("dave@bücher.example", "Müller & Söhne 株式会社");
    let raw = String::from_utf8(letter.message.to_vec()).unwrap();
    assert!(raw.is_ascii() && raw.contains(CODE), "{raw}");
    let mail = read(&letter).await;
    mail.assert_sound();
    assert_eq!(mail.header("To"), "dave@xn--bcher-kva.example");
    let subject = "Your one-time code for Müller & Söhne 株式会社";
    assert_eq!(mail.header("Subject"), subject);
    assert!(mail.header("From").contains("Müller & Söhne 株式会社"));
    assert!(mail.part(0).1.starts_with(subject));
    assert!(mail.part(1).1.contains("M\u{fc}ller &amp; S\u{f6}hne"));
}

#[tokio::test]
async fn an_issuer_becomes_neither_markup_nor_a_header() {
    for issuer in [
        "<script>alert(1)</script>",
        "\"><img src=x onerror='y'>",
        "a\" <eve@evil.test>, \"b",
        "=?utf-8?q?Bcc=3A?=",
        "Very long name ".repeat(20).trim(),
    ] {
        let mail = read(&letter("dave@example.com", issuer)).await;
        assert_eq!(mail.header_names().len(), 8, "{issuer}");
        assert_eq!(mail.header("To"), "dave@example.com");
        assert!(
            mail.header("From").ends_with("<no-reply@otp.example.com>"),
            "{issuer}"
        );
        let (_, html) = mail.part(1);
        let body = html.split("code for ").nth(1).unwrap();
        let shown = body.split(" is:</p>").next().unwrap();
        assert!(!shown.contains(['<', '>', '"', '\'']), "{html}");
        assert!(mail.part(0).1.contains(issuer), "{issuer}");
    }
}

#[test]
fn an_issuer_with_control_characters_is_refused() {
    for issuer in [
        "a\r\nBcc: eve@evil.test",
        "a\nb",
        "a\rb",
        "a\0b",
        "a\u{85}b",
    ] {
        let parts = CodeLetter {
            from: &address("a@example.com"),
            to: &address("b@example.com"),
            issuer,
            code: CODE,
            lifetime: Duration::from_secs(300),
            now: NOW,
            id: [0; 16],
        };
        let refused = Letter::with_code(&parts).err();
        assert!(matches!(refused, Some(LetterError::Issuer)), "{issuer:?}");
    }
}

#[test]
fn a_letter_is_a_function_of_its_parts() {
    let one = letter("dave@example.com", "otpd");
    let other = letter("dave@example.com", "otpd");
    assert_eq!(one.message.as_slice(), other.message.as_slice());
    assert_eq!(one.name, other.name);
}

#[tokio::test]
async fn how_long_a_code_is_valid_in_words() {
    async fn check(seconds: u64, words: &str, now: Time) {
        let parts = CodeLetter {
            from: &address("a@example.com"),
            to: &address("b@example.com"),
            issuer: "otpd",
            code: CODE,
            lifetime: Duration::from_secs(seconds),
            now,
            id: [1; 16],
        };
        let letter = Letter::with_code(&parts).unwrap_or_else(|error| panic!("{error}"));
        let mail = read(&letter).await;
        let sentence = format!(", {words} after it was requested.");
        assert!(mail.part(0).1.contains(&sentence), "{sentence}");
        assert!(mail.part(1).1.contains(&sentence), "{sentence}");
    }
    check(1, "1 second", NOW).await;
    check(30, "30 seconds", Time::from_seconds(-1)).await;
    check(60, "1 minute", Time::from_millis(i64::MAX)).await;
    check(90, "90 seconds", NOW).await;
    check(900, "15 minutes", NOW).await;
}
