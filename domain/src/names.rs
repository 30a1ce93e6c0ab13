//! The names by which clients speak of devices and users, and their one canonical form.
//!
//! A user's name reaches look-up, limits, locks, audit and tokens only as a [`UserName`],
//! so no two doors can disagree on who is meant (I-18).

use std::fmt;
use std::sync::Arc;

use caseless::Caseless;
use unicode_normalization::UnicodeNormalization;

use self::invisible::{is_invisible, is_noncharacter};

mod invisible;

/// The longest `device_id`, in bytes, which here are characters.
const MAX_DEVICE_BYTES: usize = 128;

/// The longest user name, in characters, as given and in canonical form.
const MAX_USER_CHARS: usize = 256;

/// No UTF-8 character takes more than four bytes; longer texts are refused without a look at them.
const MAX_USER_BYTES: usize = 4 * (MAX_USER_CHARS + EMAIL.len());

/// What the user behind an email address is called before the address itself, which may
/// be as long as a name may: these characters are not counted.
pub(crate) const EMAIL: &str = "email:";

/// How often a name may be folded before it must have come to rest. One round settles
/// each character of Unicode and a second confirms it; a name that is still changing
/// after these would have no form to compare, and is refused.
const MAX_FOLDS: usize = 4;

/// Why a name is refused. Each message is a sentence for the client, to stand beside
/// the name of the faulty member, and repeats nothing that could not be printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A `device_id` that is empty, too long or written with other characters.
    #[error("Must be 1 to 128 of the characters A-Z, a-z, 0-9 and ._:@- only.")]
    Device,
    /// A user's name that is empty or too long, as given or in canonical form.
    #[error("Must be 1 to 256 characters long.")]
    Length,
    /// White space first or last.
    #[error("Must not begin or end with white space.")]
    Edge,
    /// A control character, such as a tab or a line break.
    #[error("Must not contain control characters (U+{:04X} found).", u32::from(*.0))]
    Control(char),
    /// A character that cannot be seen, so that two names would look alike.
    #[error("Must not contain invisible characters (U+{:04X} found).", u32::from(*.0))]
    Invisible(char),
    /// A code point that will never be a character (Unicode section 23.7).
    #[error("Must contain Unicode characters only (U+{:04X} found).", u32::from(*.0))]
    NotACharacter(char),
    /// A text whose case folding does not come to rest.
    #[error("Cannot be compared without regard to case; please choose another.")]
    Unstable,
}

/// A `device_id`: 1–128 of `A-Za-z0-9._:@-`, compared byte by byte. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceName(Arc<str>);

impl DeviceName {
    /// Takes the text as it is, or refuses it.
    ///
    /// # Errors
    /// [`NameError::Device`].
    pub fn parse(text: &str) -> Result<DeviceName, NameError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:@-".contains(&byte);
        if (1..=MAX_DEVICE_BYTES).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(DeviceName(text.into()))
        } else {
            Err(NameError::Device)
        }
    }

    /// The name, exactly as the client wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A `user_id`, `username` or email address in canonical form: two spellings that differ
/// only in case or in compatible characters are one name. Cheap to clone.
///
/// The caller's own spelling is not kept; whoever echoes it has it still.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserName(Arc<str>);

impl UserName {
    /// Checks the text and brings it into canonical form: full case folding and NFKC,
    /// again and again until nothing changes.
    ///
    /// Only a fixed point gives the same name when a canonical form comes back as input,
    /// as it does from tokens and the database. The result is checked like the input,
    /// since NFKC can make a white space (U+00A8 becomes U+0020 U+0308) or many
    /// characters of one.
    ///
    /// # Errors
    /// Every variant of [`NameError`] but `Device`.
    pub fn parse(text: &str) -> Result<UserName, NameError> {
        if text.is_empty() || text.len() > MAX_USER_BYTES {
            return Err(NameError::Length);
        }
        check_user_text(text)?;
        if text.is_ascii() {
            // On ASCII, folding is lower-casing, and all of it is normal. One allocation.
            let mut name: Arc<str> = text.into();
            Arc::make_mut(&mut name).make_ascii_lowercase();
            return Ok(UserName(name));
        }
        let canonical = fold_to_rest(text)?;
        check_user_text(&canonical)?;
        Ok(UserName(canonical.into()))
    }

    /// The canonical form. Parsed again, it gives the same name.
    pub fn canonical(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserName {
    /// Writes the canonical form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Folds case and compatible forms until nothing changes.
///
/// One round is the key of a compatibility caseless match (Unicode section 3.13, D146),
/// put into NFKC, so texts that match have one form after the first round already. Its
/// two decompositions are needed: U+0345 and what contains it fold to a letter, which
/// changes what later marks belong to.
fn fold_to_rest(text: &str) -> Result<String, NameError> {
    let mut current = text.to_owned();
    for _ in 0..MAX_FOLDS {
        let once = current.nfd().default_case_fold().nfkd();
        let folded: String = once.default_case_fold().nfkc().collect();
        if folded == current {
            return Ok(current);
        }
        current = folded;
    }
    Err(NameError::Unstable)
}

/// The rules that hold for a user's name both as given and in canonical form.
fn check_user_text(text: &str) -> Result<(), NameError> {
    if text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace) {
        return Err(NameError::Edge);
    }
    let mut length = 0;
    for c in text.chars() {
        length += 1;
        if c.is_control() {
            return Err(NameError::Control(c));
        }
        if !c.is_ascii() && is_invisible(c) {
            return Err(NameError::Invisible(c));
        }
        if is_noncharacter(c) {
            return Err(NameError::NotACharacter(c));
        }
    }
    let is_email = text
        .get(..EMAIL.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(EMAIL));
    let most = MAX_USER_CHARS + if is_email { EMAIL.len() } else { 0 };
    if (1..=most).contains(&length) {
        Ok(())
    } else {
        Err(NameError::Length)
    }
}

#[cfg(test)]
mod tests {
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
}
