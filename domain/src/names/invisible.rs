//! The code points that a name must not hold because nobody can see them.

/// Whether `c` is one of the 66 code points that are never characters: the last two of
/// each plane and U+FDD0..U+FDEF (Unicode section 23.7).
pub(super) fn is_noncharacter(c: char) -> bool {
    let code = u32::from(c);
    code & 0xFFFE == 0xFFFE || (0xFDD0..=0xFDEF).contains(&code)
}

/// Whether `c` cannot be seen where it stands, so that names with and without it look alike.
pub(super) fn is_invisible(c: char) -> bool {
    let after = INVISIBLE.partition_point(|&(first, _)| first <= c);
    after > 0 && c <= INVISIBLE[after - 1].1
}

/// Inclusive ranges in ascending order: all of Default_Ignorable_Code_Point (Unicode 16,
/// DerivedCoreProperties.txt), the rest of the general category Format (Cf), the line
/// and paragraph separators (Zl, Zp), and the Braille blank, which has no dots to see.
/// Variation selectors, tags, Hangul fillers and all direction marks are among them.
const INVISIBLE: &[(char, char)] = &[
    ('\u{00AD}', '\u{00AD}'),
    ('\u{034F}', '\u{034F}'),
    ('\u{0600}', '\u{0605}'), // Cf
    ('\u{061C}', '\u{061C}'),
    ('\u{06DD}', '\u{06DD}'), // Cf
    ('\u{070F}', '\u{070F}'), // Cf
    ('\u{0890}', '\u{0891}'), // Cf
    ('\u{08E2}', '\u{08E2}'), // Cf
    ('\u{115F}', '\u{1160}'),
    ('\u{17B4}', '\u{17B5}'),
    ('\u{180B}', '\u{180F}'),
    ('\u{200B}', '\u{200F}'),
    ('\u{2028}', '\u{202E}'), // Zl, Zp, then ignorable
    ('\u{2060}', '\u{206F}'),
    ('\u{2800}', '\u{2800}'), // Braille blank
    ('\u{3164}', '\u{3164}'),
    ('\u{FE00}', '\u{FE0F}'),
    ('\u{FEFF}', '\u{FEFF}'),
    ('\u{FFA0}', '\u{FFA0}'),
    ('\u{FFF0}', '\u{FFFB}'),   // ignorable, then Cf
    ('\u{110BD}', '\u{110BD}'), // Cf
    ('\u{110CD}', '\u{110CD}'), // Cf
    ('\u{13430}', '\u{1343F}'), // Cf
    ('\u{1BCA0}', '\u{1BCA3}'),
    ('\u{1D173}', '\u{1D17A}'),
    ('\u{E0000}', '\u{E0FFF}'),
];

#[cfg(test)]
mod tests {
    use super::super::{NameError, UserName};
    use super::*;

    #[test]
    fn every_range_of_the_invisible_is_refused_at_both_ends() {
        for &(first, last) in INVISIBLE {
            for c in [first, last] {
                assert_eq!(
                    UserName::parse(&format!("a{c}b")),
                    Err(NameError::Invisible(c))
                );
            }
        }
        let starts_after = |pair: &[(char, char)]| pair[0].1 < pair[1].0;
        assert!(INVISIBLE.windows(2).all(starts_after));
        assert!(INVISIBLE.iter().all(|(first, last)| first <= last));
    }

    #[test]
    fn visible_neighbours_of_the_invisible_are_allowed() {
        for c in [
            '\u{AE}', '\u{350}', '\u{606}', '\u{2010}', '\u{2801}', '\u{FFFC}', '\u{FE10}',
        ] {
            assert!(
                UserName::parse(&format!("a{c}b")).is_ok(),
                "U+{:04X}",
                u32::from(c)
            );
        }
    }

    #[test]
    fn exactly_66_code_points_are_no_characters() {
        assert_eq!(
            ('\0'..=char::MAX).filter(|&c| is_noncharacter(c)).count(),
            66
        );
    }
}
