//! Tests of `otpauth:` URIs: what is written, what is read, what is refused, and that it reads back.

use proptest::prelude::*;

use super::*;

const KEY: &str = "JBSWY3DPEHPK3PXP";

fn secret() -> Secret {
    Secret::from_base32(KEY).expect("base32")
}

/// Everything of a URI on one line, the key in base32.
fn shown(uri: &OtpauthUri) -> String {
    format!(
        "{:?} | {} | {} | {} | {} | {}",
        uri.kind,
        uri.issuer.as_deref().unwrap_or("(none)"),
        uri.account,
        uri.secret.to_base32().as_str(),
        uri.algorithm,
        uri.digits.get(),
    )
}

#[test]
fn every_parameter_is_written() {
    let check = |kind, issuer: Option<&str>, account: &str, expected: &str| {
        let uri = OtpauthUri {
            kind,
            issuer: issuer.map(String::from),
            account: account.into(),
            secret: secret(),
            algorithm: Algorithm::Sha256,
            digits: Digits::MAX,
        };
        assert_eq!(uri.to_uri().as_str(), expected);
    };

    let totp = Kind::Totp { period: 30 };
    check(
        totp,
        Some("ACME Co"),
        "john.doe@email.com",
        "otpauth://totp/ACME%20Co:john.doe%40email.com?secret=JBSWY3DPEHPK3PXP&issuer=ACME%20Co\
         &algorithm=SHA256&digits=8&period=30",
    );
    check(
        Kind::Hotp { counter: u64::MAX },
        Some("A:B&c=d"),
        "x+y/z?#%",
        "otpauth://hotp/A%3AB%26c%3Dd:x%2By%2Fz%3F%23%25?secret=JBSWY3DPEHPK3PXP\
         &issuer=A%3AB%26c%3Dd&algorithm=SHA256&digits=8&counter=18446744073709551615",
    );
    let bare = "otpauth://totp/alice?secret=JBSWY3DPEHPK3PXP&algorithm=SHA256&digits=8&period=30";
    check(totp, None, "alice", bare);
    check(totp, Some(""), "alice", bare);
    check(
        totp,
        None,
        "email:dave",
        "otpauth://totp/email%3Adave?secret=JBSWY3DPEHPK3PXP&issuer=\
         &algorithm=SHA256&digits=8&period=30",
    );
}

#[test]
fn what_others_write_is_read() {
    let check = |uri: &str, expected: &str| {
        let read = OtpauthUri::parse(uri).map(|uri| shown(&uri));
        assert_eq!(read, Ok(expected.to_owned()), "{uri}");
    };

    // The two examples of the Key Uri Format.
    check(
        "otpauth://totp/Example:alice@google.com?secret=JBSWY3DPEHPK3PXP&issuer=Example",
        "Totp { period: 30 } | Example | alice@google.com | JBSWY3DPEHPK3PXP | SHA1 | 6",
    );
    check(
        "otpauth://totp/ACME%20Co:john.doe@email.com?secret=HXDMVJECJJWSRB3HWIZR4IFUGFTMXBOZ\
         &issuer=ACME%20Co&algorithm=SHA1&digits=6&period=30",
        "Totp { period: 30 } | ACME Co | john.doe@email.com | HXDMVJECJJWSRB3HWIZR4IFUGFTMXBOZ | SHA1 | 6",
    );
    check(
        "otpauth://hotp/alice?secret=JBSWY3DPEHPK3PXP&counter=18446744073709551615",
        "Hotp { counter: 18446744073709551615 } | (none) | alice | JBSWY3DPEHPK3PXP | SHA1 | 6",
    );
    check(
        "OTPAUTH://TOTP/a?secret=jbsw%20y3dp-ehpk3pxp&algorithm=sha512&digits=7&period=60",
        "Totp { period: 60 } | (none) | a | JBSWY3DPEHPK3PXP | SHA512 | 7",
    );
    check(
        "otpauth://hotp/a?secret=MZXW6YTBOI======&algorithm=HmacSHA256",
        "Hotp { counter: 0 } | (none) | a | MZXW6YTBOI | SHA256 | 6",
    );
    // Unknown and out-of-place parameters, empty ones between, a fragment, an encoded name.
    check(
        "otpauth://totp/a?&image=https%3A%2F%2Fx%2Fy.png&counter=x&&%73ecret=MZXW6YTBOI%3D#frag?x",
        "Totp { period: 30 } | (none) | a | MZXW6YTBOI | SHA1 | 6",
    );
}

#[test]
fn the_label_names_issuer_and_account() {
    let check = |label: &str, parameter: &str, expected: Result<(Option<&str>, &str), UriError>| {
        let read = OtpauthUri::parse(&format!("otpauth://totp{label}?secret={KEY}{parameter}"));
        let names = read.map(|uri| (uri.issuer, uri.account));
        let expected = expected.map(|(issuer, account)| (issuer.map(String::from), account.into()));
        assert_eq!(names, expected, "{label} {parameter}");
    };

    check("/alice", "", Ok((None, "alice")));
    check("/alice", "&issuer=ACME", Ok((Some("ACME"), "alice")));
    check("/ACME:alice", "", Ok((Some("ACME"), "alice")));
    check("/ACME:alice", "&issuer=", Ok((Some("ACME"), "alice")));
    check("/ACME:%20%20alice", "", Ok((Some("ACME"), "alice")));
    check("/ACME%3Aalice", "", Ok((Some("ACME"), "alice")));
    check(
        "/ACME%3a%20alice",
        "&issuer=ACME",
        Ok((Some("ACME"), "alice")),
    );
    check("/ACME%3A%20alice", "&issuer=", Ok((None, "ACME: alice")));
    check("/A%3AB:alice", "&issuer=A:B", Ok((Some("A:B"), "alice")));
    check(
        "/A%3AB%3Aalice",
        "&issuer=A%3AB",
        Ok((Some("A:B"), "alice")),
    );
    check("/ACME:a%3Ab", "&issuer=ACME", Ok((Some("ACME"), "a:b")));
    check("/ACME:a:b", "", Ok((Some("ACME"), "a:b")));
    check("/:alice", "", Ok((None, "alice")));
    check("/:alice", "&issuer=ACME", Ok((Some("ACME"), "alice")));
    check("/a/b", "", Ok((None, "a/b")));
    check("/a+b@c", "", Ok((None, "a+b@c")));
    check("/Zo%C3%AB", "", Ok((None, "Zoë")));
    check("/Zoë", "", Ok((None, "Zoë")));
    check(
        "/ACME Co:alice",
        "&issuer=ACME Co",
        Ok((Some("ACME Co"), "alice")),
    );
    // The plus of HTML forms, and a plus that is one.
    check(
        "/ACME%20Co:alice",
        "&issuer=ACME+Co",
        Ok((Some("ACME Co"), "alice")),
    );
    check("/alice", "&issuer=ACME+Co", Ok((Some("ACME Co"), "alice")));
    check("/C++:alice", "&issuer=C++", Ok((Some("C++"), "alice")));
    check(
        "/C%2B%2B%3Aalice",
        "&issuer=C++",
        Ok((Some("C++"), "alice")),
    );
    // Some exports leave the label out.
    check("/", "&issuer=ACME", Ok((Some("ACME"), "")));
    check("", "", Ok((None, "")));

    check("/ACME:alice", "&issuer=Evil", Err(UriError::IssuerMismatch));
    check(
        "/ACME%3Aalice",
        "&issuer=Evil",
        Err(UriError::IssuerMismatch),
    );
    check("/acme:alice", "&issuer=ACME", Err(UriError::IssuerMismatch));
    check("/%zz", "", Err(UriError::PercentEncoding));
    check("/a", "&issuer=%ff", Err(UriError::PercentEncoding));
}

/// The URI is refused with this error.
fn refused(uri: &str, expected: UriError) {
    assert_eq!(OtpauthUri::parse(uri).err(), Some(expected), "{uri}");
}

#[test]
fn what_is_no_such_uri_is_refused() {
    let check = refused;

    check("", UriError::Scheme);
    check("otpauth:/", UriError::Scheme);
    check("https://totp/a?secret=MZXW6YTBOI", UriError::Scheme);
    check(" otpauth://totp/a?secret=MZXW6YTBOI", UriError::Scheme);
    check("otpauth:/ëtotp/a", UriError::Scheme);
    check("otpauth-migration://offline?data=AA", UriError::Scheme);
    check("otpauth://", UriError::Type);
    check("otpauth://yaotp/a?secret=MZXW6YTBOI", UriError::Type);
    check("otpauth://totp:1/a?secret=MZXW6YTBOI", UriError::Type);
    check("otpauth://totp/a", UriError::MissingSecret);
    check("otpauth://totp/a?secret=", UriError::MissingSecret);
    check("otpauth://totp/a?secret", UriError::MissingSecret);
    check(
        "otpauth://totp/a?SECRET=MZXW6YTBOI",
        UriError::MissingSecret,
    );
    check(
        "otpauth://totp/a?secret=====",
        UriError::Secret(Base32Error::Empty),
    );
    check(
        "otpauth://totp/a?secret=MZX",
        UriError::Secret(Base32Error::Length),
    );
    let symbol = Base32Error::Symbol { position: 3 };
    check("otpauth://totp/a?secret=MZ0W", UriError::Secret(symbol));
}

#[test]
fn doubled_and_impossible_parameters_are_refused() {
    let of = |parameters: &str, expected| {
        for kind in ["totp", "hotp"] {
            refused(
                &format!("otpauth://{kind}/a?secret=MZXW6YTBOI&{parameters}"),
                expected,
            );
        }
    };
    of("secret=MZXW6YTBOI", UriError::Duplicate("secret"));
    of("%73ecret=MZXW6YTBOI", UriError::Duplicate("secret"));
    of("issuer=A&issuer=A", UriError::Duplicate("issuer"));
    of("issuer=A&issuer=", UriError::Duplicate("issuer"));
    of(
        "algorithm=SHA1&algorithm=SHA256",
        UriError::Duplicate("algorithm"),
    );
    of("digits=6&digits=8", UriError::Duplicate("digits"));
    of("period=30&period=60", UriError::Duplicate("period"));
    of("counter=1&counter=1", UriError::Duplicate("counter"));
    of("algorithm=MD5", UriError::Algorithm(AlgorithmError));
    of("algorithm=", UriError::Algorithm(AlgorithmError));
    for digits in [
        "", "5", "9", "10", "262", "-6", "%2B6", "6.0", "six", "\u{666}",
    ] {
        of(&format!("digits={digits}"), UriError::Digits);
    }
    of("encoder=steam", UriError::Encoder);
    of("%zz=1", UriError::PercentEncoding);

    for period in ["", "0", "-30", "4294967296", "3e1", "30s"] {
        refused(
            &format!("otpauth://totp/a?secret=MZXW6YTBOI&period={period}"),
            UriError::Period,
        );
    }
    for counter in ["", "-1", "18446744073709551616", "0x1"] {
        refused(
            &format!("otpauth://hotp/a?secret=MZXW6YTBOI&counter={counter}"),
            UriError::Counter,
        );
    }
}

#[test]
fn errors_say_what_to_mend_without_the_key() {
    let check = |uri: &str, expected: &str| {
        let error = OtpauthUri::parse(uri).err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some(expected));
    };

    check(
        "otpauth://totp/a?secret=MZXW6YTB1I",
        "the secret is not base32: character 9 of the key is none of A to Z and 2 to 7 \
         (0, 1, 8 and 9 do not occur)",
    );
    check(
        "otpauth://totp/a?secret=MZXW6YTBOI&secret=MZXW6YTBOI",
        "the parameter secret is given twice",
    );
    check(
        "otpauth://totp/a?secret=MZXW6YTBOI&algorithm=SHA3",
        "the algorithm must be SHA1, SHA256 or SHA512",
    );
}

/// Any URI as written, with its contents as `shown`; a URI itself has no `Debug`.
fn uris() -> impl Strategy<Value = (String, String)> {
    let kinds = prop_oneof![
        (1_u32..).prop_map(|period| Kind::Totp { period }),
        any::<u64>().prop_map(|counter| Kind::Hotp { counter }),
    ];
    // Colons, pluses and spaces often, for they are what goes wrong.
    let names = || prop_oneof![any::<String>(), "[ab:+ %]{0,6}"];
    let keys = prop::collection::vec(any::<u8>(), 1..70);
    let algorithms = prop::sample::select(&Algorithm::ALL[..]);
    let parts = (
        kinds,
        prop::option::of(names()),
        names(),
        keys,
        algorithms,
        6_u8..=8,
    );
    parts.prop_map(|(kind, issuer, account, key, algorithm, digits)| {
        let uri = OtpauthUri {
            kind,
            issuer: issuer.filter(|issuer| !issuer.is_empty()),
            account: account.trim_start_matches(' ').to_owned(),
            secret: Secret::from_bytes(key),
            algorithm,
            digits: Digits::new(digits).expect("6 to 8"),
        };
        (uri.to_uri().to_string(), shown(&uri))
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back((text, contents) in uris()) {
        prop_assert!(text.is_ascii() && !text.contains([' ', '+']));
        let read = OtpauthUri::parse(&text).map(|uri| shown(&uri));
        prop_assert_eq!(read, Ok(contents));
    }

    #[test]
    fn whatever_is_read_can_be_written(
        label in "[ab:+ %23A/]{0,8}",
        issuer in "(&issuer=[ab:+ %23A]{0,5})?",
        rest in "[&=a-z0-9%#?]{0,12}",
    ) {
        let text = format!("otpauth://totp/{label}?secret={KEY}{issuer}&{rest}");
        if let Ok(uri) = OtpauthUri::parse(&text) {
            let again = OtpauthUri::parse(&uri.to_uri()).map(|uri| shown(&uri));
            prop_assert_eq!(again, Ok(shown(&uri)));
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "(otpauth://)?(totp|hotp)?/?\\PC{0,60}") {
        let _ = OtpauthUri::parse(&text);
    }
}
