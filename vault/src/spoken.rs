//! Codes that people write down or read out on the phone: recovery codes and helpdesk passes.

use zeroize::Zeroizing;

use crate::random::{Random, secret_bytes};

/// Crockford's base32 in lower case: no `i`, `l`, `o` and `u`. Its 32 characters divide the 256
/// values of a byte evenly, so a byte's low five bits choose one with equal odds.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const GROUP: usize = 4;
/// 80 random bits.
const RECOVERY: usize = 16;
/// 60 random bits: shorter, since somebody reads it out, and good for hours rather than years.
const PASS: usize = 12;

/// A spoken code in its one normal form: lower case, no dashes. Wiped on drop.
pub enum Spoken {
    /// 16 characters: has the form of a recovery code.
    Recovery(Zeroizing<String>),
    /// 12 characters: has the form of a pass.
    Pass(Zeroizing<String>),
}

/// A recovery code of 80 random bits, like `k3f9-m2x7-q8rd-5tzw`. What is to be hashed is its normal
/// form, see [`normalise_spoken`].
pub fn recovery_code(random: &dyn Random) -> Zeroizing<String> {
    in_groups(&*secret_bytes::<RECOVERY>(random))
}

/// What a helpdesk reads out to somebody who has lost every factor: 60 random bits, like
/// `k3f9-m2x7-q8rd`. Told from a recovery code by its length.
pub fn pass_code(random: &dyn Random) -> Zeroizing<String> {
    in_groups(&*secret_bytes::<PASS>(random))
}

fn in_groups(bytes: &[u8]) -> Zeroizing<String> {
    // Allocated once: growing would leave a part of the code behind.
    let mut text = Zeroizing::new(String::with_capacity(bytes.len() + bytes.len() / GROUP));
    for (position, byte) in bytes.iter().enumerate() {
        if position > 0 && position % GROUP == 0 {
            text.push('-');
        }
        text.push(char::from(ALPHABET[usize::from(byte % 32)]));
    }
    text
}

/// The normal form of what somebody typed or heard: case, white space and dashes of any kind do not
/// count, `o` is read as `0`, `i` and `l` as `1`. `None` for what can be neither code.
pub fn normalise_spoken(text: &str) -> Option<Spoken> {
    let mut normal = Zeroizing::new(String::with_capacity(RECOVERY));
    for c in text.chars().filter(|&c| !c.is_whitespace() && !is_dash(c)) {
        let c = match c.to_ascii_lowercase() {
            'o' => '0',
            'i' | 'l' => '1',
            c => c,
        };
        // The length is checked before the push, so the text never outgrows its first allocation.
        if normal.len() == RECOVERY || !c.is_ascii() || !ALPHABET.contains(&(c as u8)) {
            return None;
        }
        normal.push(c);
    }
    match normal.len() {
        RECOVERY => Some(Spoken::Recovery(normal)),
        PASS => Some(Spoken::Pass(normal)),
        _ => None,
    }
}

/// The hyphen, and what word processors and telephones make of it: U+2010 to U+2015 (hyphens and
/// dashes), U+2212 (minus), U+00AD (soft hyphen).
fn is_dash(c: char) -> bool {
    matches!(c, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{ad}')
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::random::counting::Counting;

    /// The form as a letter, then the normal text.
    fn normal(text: &str) -> Option<(char, String)> {
        normalise_spoken(text).map(|spoken| match spoken {
            Spoken::Recovery(text) => ('r', text.to_string()),
            Spoken::Pass(text) => ('p', text.to_string()),
        })
    }

    #[test]
    fn normal_forms() {
        #[track_caller]
        fn check(text: &str, expected: Option<(char, &str)>) {
            let expected = expected.map(|(form, text)| (form, text.to_owned()));
            assert_eq!(normal(text), expected, "{text:?}");
        }
        let recovery = Some(('r', "k3f9m2x7q8rd5tzw"));
        check("k3f9-m2x7-q8rd-5tzw", recovery);
        check("K3F9M2X7Q8RD5TZW", recovery);
        check(" k3f9 m2x7\tq8rd\u{a0}5tzw\n", recovery);
        check("k3f9–m2x7—q8rd‐5tzw", recovery);
        check("--k3-f9m2x7q8rd5tzw-", recovery);
        check("oO0i-IlL1-0000", Some(('p', "000111110000")));
        check("k3f9-m2x7-q8rd", Some(('p', "k3f9m2x7q8rd")));
        for refused in [
            "",
            "----",
            "123456",
            "k3f9-m2x7-q8r",
            "k3f9-m2x7-q8rd-5",
            "k3f9-m2x7-q8rd-5tz",
            "k3f9-m2x7-q8rd-5tzw-k",
            "k3f9-m2x7-q8rd-5tzu",
            "k3f9_m2x7_q8rd_5tzw",
            "k3f9-m2x7-q8rd-5tz\u{0}",
            "k3f9-m2x7-q8rd-5tz\u{ff57}",
            // A byte-wise look-up would take U+0130 for an ASCII character.
            "k3f9-m2x7-q8rd-5tz\u{130}",
        ] {
            check(refused, None);
        }
    }

    #[test]
    fn codes_have_their_form() {
        assert_eq!(
            recovery_code(&Counting::new()).as_str(),
            "0123-4567-89ab-cdef"
        );
        assert_eq!(pass_code(&Counting::new()).as_str(), "0123-4567-89ab");
    }

    /// Every byte value once: each character stands for as many of them.
    #[test]
    fn every_character_is_equally_likely() {
        let random = Counting::new();
        let all: String = (0..16)
            .map(|_| recovery_code(&random).to_string())
            .collect();
        let used: HashSet<char> = all.chars().filter(|&c| c != '-').collect();
        assert_eq!(used.len(), 32);
        for c in used {
            assert_eq!(all.matches(c).count(), 8, "{c}");
        }
    }

    proptest! {
        #[test]
        fn a_made_code_is_recognised(bytes in any::<[u8; RECOVERY]>()) {
            let recovery = in_groups(&bytes);
            let pass = in_groups(&bytes[..PASS]);
            let plain = recovery.replace('-', "");
            prop_assert_eq!(normal(&recovery), Some(('r', plain.clone())));
            prop_assert_eq!(normal(&recovery.to_uppercase()), Some(('r', plain.clone())));
            prop_assert_eq!(normal(&pass), Some(('p', plain[..PASS].to_owned())));
        }

        #[test]
        fn a_normal_form_is_its_own(text in "[ -~]{0,24}") {
            if let Some((form, once)) = normal(&text) {
                prop_assert_eq!(normal(&once), Some((form, once.clone())));
            }
        }
    }
}
