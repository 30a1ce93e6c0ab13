//! Named levels of emailed codes: how long such a code is and how long it lives.

use std::collections::BTreeMap;

use otp::Digits;

/// The shortest and the longest life of an emailed code, in seconds: a mail needs a
/// while to arrive, and a code that waits in a mailbox for long is found by others.
pub const LIFETIME_SECONDS: std::ops::RangeInclusive<u32> = 30..=900;

/// One level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmailLevel {
    /// Length of a code.
    pub digits: Digits,
    /// Seconds that a code lives from its sending, within [`LIFETIME_SECONDS`].
    pub lifetime: u32,
}

impl Default for EmailLevel {
    fn default() -> Self {
        Self {
            digits: Digits::default(),
            lifetime: 300,
        }
    }
}

/// The default level and the named ones of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EmailLevels {
    /// What holds for a request that names no level.
    pub default: EmailLevel,
    /// What holds by name.
    pub named: BTreeMap<String, EmailLevel>,
}

impl EmailLevels {
    /// The level that a request asks for; `None` for a name that the configuration lacks.
    /// A sent code keeps the length and the end that it was sent with, so nothing stored
    /// depends on a level that has gone.
    pub fn of(&self, name: Option<&str>) -> Option<EmailLevel> {
        match name {
            None => Some(self.default),
            Some(name) => self.named.get(name).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_found_by_its_exact_name() {
        let high = EmailLevel {
            digits: Digits::new(8).unwrap(),
            lifetime: 60,
        };
        let levels = EmailLevels {
            named: BTreeMap::from([("high".to_owned(), high)]),
            ..EmailLevels::default()
        };
        let check = |name: Option<&str>, expected: Option<EmailLevel>| {
            assert_eq!(levels.of(name), expected, "{name:?}");
        };
        check(None, Some(EmailLevel::default()));
        check(Some("high"), Some(high));
        check(Some("HIGH"), None);
        check(Some(""), None);
        check(Some("default"), None);
    }
}
