//! Which texts are names, and which of them are one and the same name.

use proptest::prelude::*;

use super::*;

fn canonical(text: &str) -> Result<String, NameError> {
    UserName::parse(text).map(|name| name.canonical().to_owned())
}

#[test]
fn device_names_are_exact_bytes() {
    fn check(text: &str, fits: bool) {
        let parsed = DeviceName::parse(text).map(|name| name.as_str().to_owned());
        assert_eq!(
            parsed,
            if fits {
                Ok(text.to_owned())
            } else {
                Err(NameError::Device)
            }
        );
    }
    check("a", true);
    check("Phone-1.b_c:d@e", true);
    check(&"x".repeat(128), true);
    check(&"x".repeat(129), false);
    check("", false);
    check("a b", false);
    check("a/b", false);
    check("a+b", false);
    check("a\n", false);
    check("é", false);
    check("Ａ", false);
    assert_ne!(DeviceName::parse("A"), DeviceName::parse("a"));
}

#[test]
fn spellings_of_one_name_are_equal() {
    fn check(one: &str, other: &str) {
        assert!(UserName::parse(one).is_ok(), "{one}");
        assert_eq!(
            UserName::parse(one),
            UserName::parse(other),
            "{one} / {other}"
        );
    }
    check("DAVE", "dave");
    check("Dave@Example.COM", "dave@example.com");
    check("Straße", "STRASSE");
    check("STRAẞE", "strasse");
    check("ΟΔΟΣ", "οδος");
    check("οδοσ", "οδος");
    check("é", "e\u{301}");
    check("É", "e\u{301}");
    check("ﬁn", "FIN");
    check("Ｄａｖｅ", "dave");
    check("㎏", "KG");
    check("ᾼ", "αι");
    check("α\u{345}\u{323}", "α\u{323}ι");
    check("\u{1FB3}\u{323}", "Α\u{323}\u{345}");
    check("ŉ", "ʼn");
    check("İ", "i\u{307}");
    check("Å", "å");
    check("a\u{A0}b", "a b");
    check("\u{1F88}", "\u{1F80}");
    check("ϓ", "Ύ");
    check("ʰ", "H");
    check("ꭰ", "Ꭰ");
}

#[test]
fn names_that_differ_stay_apart() {
    fn check(one: &str, other: &str) {
        assert_ne!(
            UserName::parse(one),
            UserName::parse(other),
            "{one} / {other}"
        );
    }
    check("dave", "dave1");
    check("resume", "résumé");
    check("i", "ı");
    check("a b", "a  b");
    check("a", "а"); // Cyrillic: alike to the eye, not one name to Unicode
}

#[test]
fn the_canonical_form_is_folded_nfkc() {
    fn check(text: &str, form: &str) {
        assert_eq!(canonical(text).as_deref(), Ok(form));
    }
    check("42", "42");
    check("Dave Smith", "dave smith");
    check("email:Dave@Example.com", "email:dave@example.com");
    check("Straße", "strasse");
    check("E\u{301}", "é");
    check("李小龍", "李小龍");
    check("\u{E000}", "\u{E000}");
    check("😀", "😀");
}

#[test]
fn unfit_names_are_refused() {
    fn check(text: &str, error: NameError) {
        assert_eq!(canonical(text), Err(error), "{text:?}");
    }
    check("", NameError::Length);
    check(" ", NameError::Edge);
    check(" dave", NameError::Edge);
    check("dave ", NameError::Edge);
    check("dave\n", NameError::Edge);
    check("\u{A0}dave", NameError::Edge);
    check("dave\u{3000}", NameError::Edge);
    check("dave\u{85}", NameError::Edge);
    check("\u{2028}dave", NameError::Edge);
    check("\u{A8}dave", NameError::Edge); // white space only once normalised
    check("da\tve", NameError::Control('\t'));
    check("da\0ve", NameError::Control('\0'));
    check("da\u{7f}ve", NameError::Control('\u{7f}'));
    check("da\u{9b}ve", NameError::Control('\u{9b}'));
    check("da\u{2029}ve", NameError::Invisible('\u{2029}'));
    check("da\u{FDD0}ve", NameError::NotACharacter('\u{FDD0}'));
    check("da\u{FFFE}ve", NameError::NotACharacter('\u{FFFE}'));
    check("da\u{10FFFF}ve", NameError::NotACharacter('\u{10FFFF}'));
}

#[test]
fn length_counts_characters_before_and_after() {
    fn check(text: String, fits: bool) {
        let expected = if fits { Ok(()) } else { Err(NameError::Length) };
        assert_eq!(canonical(&text).map(|_| ()), expected, "{text}");
    }
    check("x".repeat(256), true);
    check("x".repeat(257), false);
    check("李".repeat(256), true);
    check("李".repeat(257), false);
    check("😀".repeat(256), true);
    check("😀".repeat(257), false);
    check("ß".repeat(128), true);
    check("ß".repeat(129), false);
    check("\u{FDFA}".repeat(14), true); // 18 characters each in NFKC
    check("\u{FDFA}".repeat(15), false);
    check(format!("EMAIL:{}", "x".repeat(256)), true);
    check(format!("email:{}", "x".repeat(257)), false);
    check(format!("email{}", "x".repeat(252)), false);
    check("e\u{301}".repeat(128), true);
    check("e\u{301}".repeat(129), false);
    check("x".repeat(100_000), false);
}

#[test]
fn messages_are_sentences_without_the_character_itself() {
    assert_eq!(
        NameError::Invisible('\u{200B}').to_string(),
        "Must not contain invisible characters (U+200B found)."
    );
    assert_eq!(
        NameError::Control('\t').to_string(),
        "Must not contain control characters (U+0009 found)."
    );
}

/// Every character comes to rest. Nothing above plane 2 folds or decomposes.
#[test]
fn every_character_has_a_stable_form() {
    for c in '\0'..='\u{2FFFF}' {
        if c.is_ascii_control() {
            continue;
        }
        let text = format!("a{c}");
        match canonical(&text) {
            Ok(form) => assert_eq!(canonical(&form), Ok(form), "U+{:04X}", u32::from(c)),
            Err(error) => assert_ne!(error, NameError::Unstable, "U+{:04X}", u32::from(c)),
        }
    }
}

/// Characters whose folding or normalisation is special, marks that reorder, and all.
fn awkward() -> impl Strategy<Value = String> {
    let special = prop::sample::select(vec![
        'ß',
        'ẞ',
        'İ',
        'ı',
        'ŉ',
        'ǰ',
        'ΐ',
        'ΰ',
        'ᾳ',
        'ᾼ',
        'ᾷ',
        'ς',
        'Σ',
        'ϓ',
        'ϔ',
        'ﬃ',
        'K',
        'Å',
        'Ω',
        'é',
        'É',
        '\u{345}',
        '\u{323}',
        '\u{301}',
        '\u{307}',
        '\u{308}',
        '\u{327}',
        '\u{A8}',
        '\u{37A}',
        '\u{1F80}',
        '\u{1FBE}',
        '\u{FDFA}',
        'ㅎ',
        '각',
        '\u{1100}',
        '\u{1161}',
        '\u{11A8}',
        'ﾊ',
        '\u{FF9E}',
        '㍿',
        'Ⅷ',
        'ꭰ',
        'Ꭰ',
        '𝐀',
        '\u{1D15E}',
    ]);
    prop::collection::vec(prop_oneof![3 => special, 1 => any::<char>()], 0..12)
        .prop_map(|chars| chars.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_canonical_form_is_canonical(text in awkward()) {
        match canonical(&text) {
            Ok(form) => {
                prop_assert_eq!(canonical(&form), Ok(form.clone()));
                prop_assert!(unicode_normalization::is_nfkc(&form));
            }
            Err(error) => prop_assert_ne!(error, NameError::Unstable),
        }
    }

    /// Whatever Unicode calls a compatibility caseless match (D146) is one name.
    #[test]
    fn caseless_matches_are_one_name(text in awkward()) {
        for other in [text.to_uppercase(), text.to_lowercase(), text.nfd().collect()] {
            let matched = text.chars().compatibility_caseless_match(other.chars());
            if let (true, Ok(one), Ok(two)) = (matched, canonical(&text), canonical(&other)) {
                prop_assert_eq!(one, two);
            }
        }
    }

    #[test]
    fn equivalent_texts_are_one_name(text in awkward()) {
        let forms = [text.nfc().collect(), text.nfd().collect::<String>()];
        for form in forms {
            if let (Ok(one), Ok(two)) = (canonical(&text), canonical(&form)) {
                prop_assert_eq!(one, two);
            }
        }
    }

    #[test]
    fn ascii_is_lower_case(text in "[!-~]([ -~]{0,60}[!-~])?") {
        prop_assert_eq!(canonical(&text), Ok(text.to_ascii_lowercase()));
    }

    #[test]
    fn any_text_is_answered_without_panic(text in any::<String>()) {
        let _ = (UserName::parse(&text), DeviceName::parse(&text));
    }
}
