//! Which new passwords are refused: too short, too long, or what an attacker tries first.

use std::collections::HashSet;
use std::sync::LazyLock;

use caseless::Caseless;
use thiserror::Error;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

const LEAST_CHARACTERS: usize = 8;
const MOST_CHARACTERS: usize = 128;

/// Ten thousand passwords below a head that holds their licences.
static LIST: &str = include_str!("../commonest_passwords.txt");
static COMMONEST: LazyLock<HashSet<&'static str>> = LazyLock::new(|| commonest().collect());

/// Why a new password is refused. For people: says what to do, and nothing of the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PasswordFault {
    /// Fewer than 8 characters.
    #[error("the password is too short: it needs 8 characters or more")]
    TooShort,
    /// More than 128 characters.
    #[error("the password is too long: it can have 128 characters at most")]
    TooLong,
    /// What an attacker tries first.
    #[error(
        "the password is too easy to guess: it is among the commonest, or the name of the user"
    )]
    TooCommon,
}

/// Whether a new password may be set: 8 to 128 characters (of its NFC form), not among the ten
/// thousand commonest, not the user's name; neither by another case nor in compatible characters
/// (full-width letters). No rule asks for kinds of characters, as NIST SP 800-63B advises.
///
/// # Errors
/// The first rule that it breaks.
pub fn check_password(password: &str, user_name: &str) -> Result<(), PasswordFault> {
    // Stops counting early: the text is a stranger's and may be long.
    let length = password.nfc().take(MOST_CHARACTERS + 1).count();
    if length < LEAST_CHARACTERS {
        return Err(PasswordFault::TooShort);
    }
    if length > MOST_CHARACTERS {
        return Err(PasswordFault::TooLong);
    }
    let folded = folded(password);
    if COMMONEST.contains(folded.as_str()) || folded == self::folded(user_name) {
        return Err(PasswordFault::TooCommon);
    }
    Ok(())
}

/// The key of a compatibility caseless match (Unicode section 3.13, D146), in NFKC: as users' names
/// are compared.
fn folded(text: &str) -> Zeroizing<String> {
    let once = text.nfd().default_case_fold().nfkd();
    Zeroizing::new(once.default_case_fold().nfkc().collect())
}

fn commonest() -> impl Iterator<Item = &'static str> {
    // Split by line, whatever line ends the checkout has.
    LIST.lines()
        .skip_while(|line| !line.starts_with("===="))
        .skip(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_passwords_are_refused() {
        #[track_caller]
        fn check(password: &str, user_name: &str, expected: Result<(), PasswordFault>) {
            assert_eq!(
                check_password(password, user_name),
                expected,
                "{password:?}"
            );
        }
        let (short, long, common) = (
            Err(PasswordFault::TooShort),
            Err(PasswordFault::TooLong),
            Err(PasswordFault::TooCommon),
        );
        check("", "dave", short);
        check("tr0ub4d", "dave", short);
        check("tr0ub4d&", "dave", Ok(()));
        // Characters of the NFC form, not bytes, not code points as typed.
        check("äöüäöüä", "dave", short);
        check("äöüäöüäö", "dave", Ok(()));
        check("a\u{308}a\u{308}a\u{308}a\u{308}", "dave", short);
        check(&"ä9".repeat(64), "dave", Ok(()));
        check(&format!("{}x", "ä9".repeat(64)), "dave", long);
        check(&"x".repeat(1_000_000), "dave", long);

        for password in [
            "password",
            "PassWord",
            "12345678",
            "jennifer",
            "iloveyou1",
            "ｐａｓｓｗｏｒｄ",
        ] {
            check(password, "dave", common);
        }
        check("password of dave", "dave", Ok(()));
        check("dave@example.com", "dave@example.com", common);
        check("Dave@Example.COM", "dave@example.com", common);
        check("dave@example.com", "Dave@Example.COM", common);
        check("STRASSENBAHN", "straßenbahn", common);
        check("dave@example.com1", "dave@example.com", Ok(()));
    }

    #[test]
    fn the_list_is_in_the_form_that_it_is_searched_in() {
        let list: Vec<&str> = commonest().collect();
        assert_eq!(list.len(), 10_000);
        assert_eq!(COMMONEST.len(), list.len(), "no entry twice");
        for entry in list {
            assert!(entry.chars().count() >= LEAST_CHARACTERS, "{entry:?}");
            assert_eq!(folded(entry).as_str(), entry);
            assert_eq!(entry.trim(), entry);
        }
    }

    #[test]
    fn the_licences_are_no_passwords() {
        assert!(LIST.contains("Django Software Foundation"));
        assert!(LIST.contains("Permission is hereby granted"));
        assert!(!commonest().any(|entry| entry.contains("licence")));
    }
}
