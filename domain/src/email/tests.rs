//! What is an email address here, which spellings are one, and which domains a list means.

use proptest::prelude::*;

use super::*;

fn canonical(text: &str) -> Result<String, EmailError> {
    EmailAddress::parse(text).map(|address| address.canonical().to_owned())
}

#[test]
fn addresses_have_one_form() {
    fn check(text: &str, form: &str, domain: &str) {
        let address = EmailAddress::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!((address.canonical(), address.domain()), (form, domain));
        assert_eq!(address.to_string(), form);
        assert_eq!(address.user_name().canonical(), format!("email:{form}"));
        assert_eq!(EmailAddress::parse(form), Ok(address), "{form}");
    }
    check("dave@example.com", "dave@example.com", "example.com");
    check("Dave@Example.COM", "dave@example.com", "example.com");
    check(
        "a+b.c_d-e'f@x-1.example",
        "a+b.c_d-e'f@x-1.example",
        "x-1.example",
    );
    check("root@localhost", "root@localhost", "localhost");
    check("1@2.example", "1@2.example", "2.example");
    check("Ｄave@example.com", "dave@example.com", "example.com");
    check("STRASSE@example.com", "strasse@example.com", "example.com");
    check("straße@example.com", "strasse@example.com", "example.com");
    check(
        "用户@例子.广告",
        "用户@xn--fsqu00a.xn--4rr70v",
        "xn--fsqu00a.xn--4rr70v",
    );
    check(
        "x@Bücher.example",
        "x@xn--bcher-kva.example",
        "xn--bcher-kva.example",
    );
    check(
        "x@XN--BCHER-KVA.example",
        "x@xn--bcher-kva.example",
        "xn--bcher-kva.example",
    );
    // Two domains, and two registrants: never one address.
    check(
        "x@faß.example",
        "x@xn--fa-hia.example",
        "xn--fa-hia.example",
    );
    check("x@fass.example", "x@fass.example", "fass.example");
    // All that IDNA calls a dot.
    check(
        "x@例子。example",
        "x@xn--fsqu00a.example",
        "xn--fsqu00a.example",
    );
    check("x@exa--mple.com", "x@exa--mple.com", "exa--mple.com");
}

#[track_caller]
fn check_refused(texts: &[&str], error: EmailError) {
    for text in texts {
        assert_eq!(canonical(text), Err(error), "{text:?}");
    }
}

#[test]
fn what_could_not_stand_in_a_header_is_refused() {
    use EmailError::{Name, NotPlain, Space};
    check_refused(&[""], Name(NameError::Length));
    check_refused(
        &[" dave@example.com", "dave@example.com\n"],
        Name(NameError::Edge),
    );
    let injection = "dave@example.com\r\nBcc: eve@x.test";
    check_refused(&[injection], Name(NameError::Control('\r')));
    check_refused(&["dave\n@example.com"], Name(NameError::Control('\n')));
    check_refused(&["dave@example.com\0"], Name(NameError::Control('\0')));
    check_refused(
        &["da\u{200B}ve@example.com"],
        Name(NameError::Invisible('\u{200B}')),
    );
    check_refused(
        &["dave@exam\u{AD}ple.com"],
        Name(NameError::Invisible('\u{AD}')),
    );
    let spaced = [
        "da ve@example.com",
        "dave@example.com, eve@x.test",
        "da\u{A0}ve@example.com",
        "da\u{1680}ve@example.com",
    ];
    check_refused(&spaced, Space);
    let not_plain = [
        "\"dave\"@example.com",
        "\"dave@evil.test\"@example.com",
        "Dave<dave@example.com>",
        "<dave@example.com>",
        "dave(comment)@example.com",
        "dave@example.com(comment)",
        "dave@[127.0.0.1]",
        "dave@[IPv6:::1]",
        "dave@example.com,eve@x.test",
        "dave@example.com;eve@x.test",
        "@relay.test:dave@example.com",
        "dave\\@example.com",
        "mailto:dave@example.com",
    ];
    check_refused(&not_plain, NotPlain);
}

#[test]
fn what_is_no_address_is_refused() {
    use EmailError::{Domain, Local, NoAddress, Route};
    check_refused(&["dave", "dave＠example.com"], NoAddress);
    let routes = [
        "dave%evil.test@example.com",
        "evil.test!dave@example.com",
        "dave％x@example.com",
    ];
    check_refused(&routes, Route);
    let locals = [
        "@",
        "@example.com",
        ".dave@example.com",
        "dave.@example.com",
        "da..ve@example.com",
        "da…ve@example.com", // dots only once normalised
        "dave@evil.test@example.com",
        "dave＠evil.test@example.com",
        "dave＜x＞@example.com",
        "＂dave＂@example.com",
    ];
    check_refused(&locals, Local);
    let domains = [
        "dave@",
        "dave@.example.com",
        "dave@example.com.",
        "dave@example..com",
        "dave@-example.com",
        "dave@example-.com",
        "dave@exa_mple.com",
        "dave@exa!mple.com",
        "dave@127.0.0.1",
        "dave@example.123",
        "dave@xn--a",
        "dave@xn--bcher-kva\u{301}.example",
        "dave@example.com/x",
    ];
    check_refused(&domains, Domain);
}

#[test]
fn lengths_are_counted_in_the_canonical_form() {
    fn check(local: usize, labels: &[usize], expected: Result<(), EmailError>) {
        let labels: Vec<String> = labels.iter().map(|n| "d".repeat(*n)).collect();
        let text = format!("{}@{}", "x".repeat(local), labels.join("."));
        assert_eq!(canonical(&text).map(|_| ()), expected, "{text}");
    }
    check(64, &[63], Ok(()));
    check(65, &[63], Err(EmailError::Local));
    check(1, &[64], Err(EmailError::Domain));
    check(64, &[63, 63, 63], Ok(())); // 256
    check(
        64,
        &[63, 63, 61, 2],
        Err(EmailError::Name(NameError::Length)),
    ); // 257
    check(1, &[63, 63, 63, 61], Ok(())); // 255
    check(1, &[63, 63, 63, 62], Err(EmailError::Domain)); // 254 in the domain alone
    // 1 + 1 + 4 * 60 characters as given, more in ASCII.
    let long = format!("x@{}", vec!["ü".repeat(40); 6].join("."));
    assert!(canonical(&long).is_err());
}

#[test]
fn messages_are_sentences() {
    fn check(error: EmailError, sentence: &str) {
        assert_eq!(error.to_string(), sentence);
    }
    check(
        EmailError::Domain,
        "Must have the name of a domain after the @.",
    );
    check(
        EmailError::Name(NameError::Length),
        "Must be 1 to 256 characters long.",
    );
}

#[test]
fn lists_compare_whole_domains() {
    fn check(allowed: &[&str], denied: &[&str], address: &str, permitted: bool) {
        let rules = DomainRules::new(
            DomainRules::parse_list(allowed).unwrap(),
            DomainRules::parse_list(denied).unwrap(),
        );
        let address = EmailAddress::parse(address).unwrap();
        assert_eq!(
            rules.permits(&address),
            permitted,
            "{allowed:?} {denied:?} {address}"
        );
        assert_eq!(rules.allows_all(), allowed.is_empty());
    }
    check(&[], &[], "a@example.com", true);
    check(&["example.com"], &[], "a@EXAMPLE.com", true);
    check(&["Example.COM"], &[], "a@example.com", true);
    check(&["example.com"], &[], "a@mail.example.com", false);
    check(&["example.com"], &[], "a@example.com.evil.test", false);
    check(&["example.com"], &[], "a@notexample.com", false);
    check(&["example.com"], &[], "a@example.co", false);
    check(&["example.com"], &[], "example.com@evil.test", false);
    check(&["localhost"], &[], "a@localhost", true);
    check(&["localhost"], &[], "a@x.localhost", false);
    check(&["bücher.example"], &[], "a@xn--bcher-kva.example", true);
    check(&["xn--bcher-kva.example"], &[], "a@BÜCHER.example", true);
    check(&["fass.example"], &[], "a@faß.example", false);
    check(&[], &["example.com"], "a@example.com", false);
    check(&[], &["example.com"], "a@other.example", true);
    check(&["example.com"], &["example.com"], "a@example.com", false);
}

#[test]
fn an_entry_that_is_no_domain_is_named() {
    fn check(entry: &str) {
        let refused = DomainRules::parse_list(&["example.com", entry]);
        assert_eq!(refused, Err(DomainError(entry.into())));
    }
    for entry in [
        "",
        "*.example.com",
        "@example.com",
        "a@example.com",
        ".example.com",
        "example.com.",
        "exa mple",
        "10.0.0.1",
        "http://example.com",
    ] {
        check(entry);
    }
}

/// Spellings near those that parsers differ on.
fn nearly() -> impl Strategy<Value = String> {
    let sign = prop::sample::select(vec![
        '@', '＠', '.', '。', '"', '(', '<', '%', '!', ':', ',', '\r', '\n', ' ', 'ß', 'ü', 'ı',
        'İ', '\u{345}', '-', 'x', 'N', '1',
    ]);
    prop::collection::vec(prop_oneof![5 => sign, 1 => any::<char>()], 1..16).prop_map(|chars| {
        format!(
            "a{}@b{}",
            chars[..chars.len() / 2].iter().collect::<String>(),
            chars[chars.len() / 2..].iter().collect::<String>()
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever is accepted can stand in a header and comes back as itself.
    #[test]
    fn an_accepted_address_is_harmless_and_stable(text in nearly()) {
        if let Ok(address) = EmailAddress::parse(&text) {
            let form = address.canonical();
            let harmful = |c: char| c.is_control() || c.is_whitespace() || "\"(),:;<>[]\\".contains(c);
            prop_assert!(!form.contains(harmful), "{:?}", form);
            prop_assert_eq!(form.matches('@').count(), 1);
            prop_assert!(address.domain().is_ascii());
            prop_assert_eq!(UserName::parse(&format!("email:{form}")), Ok(address.user_name()));
            prop_assert_eq!(EmailAddress::parse(form), Ok(address));
        }
    }

    #[test]
    fn any_text_is_answered_without_panic(text in any::<String>()) {
        let _ = (EmailAddress::parse(&text), DomainRules::parse_list(&[text]));
    }
}
