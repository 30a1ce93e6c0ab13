//! What a caller may do: the scopes, and the set of them that a key or token carries.

use std::fmt;
use std::str::FromStr;

/// One right. The order of the variants is the order in which sets are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Scope {
    /// Look at devices.
    DevicesRead,
    /// Register, change and remove devices.
    DevicesWrite,
    /// Submit codes for judgement.
    OtpVerify,
    /// Have codes issued.
    CodesIssue,
    /// Look at users and their locks.
    UsersRead,
    /// Unlock, erase and otherwise change users.
    UsersWrite,
    /// Search and export the audit log.
    AuditRead,
    /// Read the statistics.
    StatsRead,
    /// Make and revoke API keys.
    KeysWrite,
    /// Read the metrics.
    MetricsRead,
    /// All of the above, and whatever else there is.
    Admin,
}

/// A word that is no scope. The message is written for clients and names the word,
/// escaped and cut so that it can be logged and shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{word}\" is not a scope; the scopes are: {}.", Scopes::all())]
pub struct UnknownScope {
    word: String,
}

/// The longest part of an unknown word that is repeated to the client.
const SHOWN_CHARS: usize = 40;

impl Scope {
    /// Every scope, in the order in which sets are written.
    pub const ALL: [Scope; 11] = [
        Scope::DevicesRead,
        Scope::DevicesWrite,
        Scope::OtpVerify,
        Scope::CodesIssue,
        Scope::UsersRead,
        Scope::UsersWrite,
        Scope::AuditRead,
        Scope::StatsRead,
        Scope::KeysWrite,
        Scope::MetricsRead,
        Scope::Admin,
    ];

    /// Scopes that no token of another service gets: whoever holds the shared key could
    /// make itself administrator.
    pub const NEVER_BY_JWT: [Scope; 4] = [
        Scope::Admin,
        Scope::KeysWrite,
        Scope::UsersWrite,
        Scope::DevicesWrite,
    ];

    /// The scope's name in the API, in tokens and in storage.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scope::DevicesRead => "devices:read",
            Scope::DevicesWrite => "devices:write",
            Scope::OtpVerify => "otp:verify",
            Scope::CodesIssue => "codes:issue",
            Scope::UsersRead => "users:read",
            Scope::UsersWrite => "users:write",
            Scope::AuditRead => "audit:read",
            Scope::StatsRead => "stats:read",
            Scope::KeysWrite => "keys:write",
            Scope::MetricsRead => "metrics:read",
            Scope::Admin => "admin",
        }
    }

    const fn bit(self) -> u32 {
        1 << self as u8
    }
}

impl FromStr for Scope {
    type Err = UnknownScope;

    /// Reads one name, exactly as [`Scope::as_str`] writes it.
    fn from_str(word: &str) -> Result<Scope, UnknownScope> {
        Scope::ALL
            .into_iter()
            .find(|scope| scope.as_str() == word)
            .ok_or_else(|| UnknownScope {
                word: word
                    .chars()
                    .take(SHOWN_CHARS)
                    .flat_map(char::escape_debug)
                    .collect(),
            })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A set of scopes. Its text form, for storage and tokens alike, is the names in the
/// order of [`Scope::ALL`], separated by single spaces.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Scopes {
    bits: u32,
}

impl Scopes {
    /// The empty set: a caller who may do nothing.
    pub const NONE: Scopes = Scopes { bits: 0 };

    /// The set of every scope by name, `admin` among them.
    pub const fn all() -> Scopes {
        Scopes {
            bits: (1 << Scope::ALL.len()) - 1,
        }
    }

    /// Reads names separated by white space; an empty text is the empty set.
    ///
    /// # Errors
    /// [`UnknownScope`] with the first word that is no scope.
    pub fn parse(text: &str) -> Result<Scopes, UnknownScope> {
        Scopes::from_words(text.split_ascii_whitespace())
    }

    /// Reads names that are already apart, as in a JSON list.
    ///
    /// # Errors
    /// [`UnknownScope`] with the first word that is no scope.
    pub fn from_words<'a>(
        words: impl IntoIterator<Item = &'a str>,
    ) -> Result<Scopes, UnknownScope> {
        words.into_iter().map(str::parse::<Scope>).collect()
    }

    /// Reads the `scope` claim of a foreign token, which may name rights of other
    /// services: words that are no scope of ours grant nothing and are passed over.
    pub fn parse_known(text: &str) -> Scopes {
        text.split_ascii_whitespace()
            .filter_map(|word| word.parse::<Scope>().ok())
            .collect()
    }

    /// This set with `scope` in it.
    #[must_use]
    pub const fn with(self, scope: Scope) -> Scopes {
        Scopes {
            bits: self.bits | scope.bit(),
        }
    }

    /// Whether a caller with this set may do what needs `scope`: it is in the set, or
    /// `admin` is.
    pub const fn allows(self, scope: Scope) -> bool {
        self.effective() & scope.bit() != 0
    }

    /// Whether this set grants everything that `other` grants. A key may only make keys
    /// whose scopes its own cover, so nobody gains a right by making a key. Only
    /// `admin` covers `admin`: all other scopes together do not.
    pub const fn covers(self, other: &Scopes) -> bool {
        other.effective() & !self.effective() == 0
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.bits == 0
    }

    /// The scopes in the set by name, in the order of [`Scope::ALL`]. `admin` is one
    /// name here; ask [`Scopes::allows`] for what it grants.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL
            .into_iter()
            .filter(move |scope| self.bits & scope.bit() != 0)
    }

    /// The set with `admin` spelled out.
    const fn effective(self) -> u32 {
        if self.bits & Scope::Admin.bit() != 0 {
            Scopes::all().bits
        } else {
            self.bits
        }
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Scopes {
        scopes.into_iter().fold(Scopes::NONE, Scopes::with)
    }
}

impl FromStr for Scopes {
    type Err = UnknownScope;

    /// The same as [`Scopes::parse`].
    fn from_str(text: &str) -> Result<Scopes, UnknownScope> {
        Scopes::parse(text)
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.iter().enumerate() {
            let gap = if index == 0 { "" } else { " " };
            write!(f, "{gap}{scope}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scopes({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(text: &str) -> Scopes {
        Scopes::parse(text).expect("known scopes")
    }

    #[test]
    fn all_is_complete_and_in_order() {
        for (index, scope) in Scope::ALL.into_iter().enumerate() {
            assert_eq!(scope as usize, index);
            assert_eq!(scope.as_str().parse(), Ok(scope));
        }
        assert_eq!(
            Scopes::all().to_string(),
            "devices:read devices:write otp:verify codes:issue users:read users:write \
             audit:read stats:read keys:write metrics:read admin"
        );
    }

    #[test]
    fn text_is_read_and_written_in_one_order() {
        fn check(text: &str, written: &str) {
            assert_eq!(scopes(text).to_string(), written);
            assert_eq!(scopes(written), scopes(text));
        }
        check("", "");
        check("  ", "");
        check("admin", "admin");
        check("otp:verify devices:read", "devices:read otp:verify");
        check("otp:verify  otp:verify\n", "otp:verify");
        check("admin users:read", "users:read admin");
    }

    #[test]
    fn an_unknown_word_is_named() {
        fn check(text: &str, named: &str) {
            let error = Scopes::parse(text).expect_err("an unknown scope");
            assert!(
                error
                    .to_string()
                    .starts_with(&format!("\"{named}\" is not a scope;"))
            );
        }
        check("otp:verify devices", "devices");
        check("ADMIN", "ADMIN");
        check("otp:verify,users:read", "otp:verify,users:read");
        check("a\u{7}b", "a\\u{7}b");
        check(&"x".repeat(100), &"x".repeat(40));
    }

    #[test]
    fn words_of_a_list_are_not_split() {
        assert!(Scopes::from_words(["otp:verify users:read"]).is_err());
        assert!(Scopes::from_words([""]).is_err());
        assert_eq!(
            Scopes::from_words(["users:read", "admin"]),
            Ok(scopes("admin users:read"))
        );
    }

    #[test]
    fn foreign_words_grant_nothing() {
        fn check(text: &str, written: &str) {
            assert_eq!(Scopes::parse_known(text).to_string(), written);
        }
        check("openid otp:verify email", "otp:verify");
        check("openid", "");
        check("", "");
    }

    #[test]
    fn admin_allows_everything_and_nothing_else_does() {
        for scope in Scope::ALL {
            assert!(scopes("admin").allows(scope));
            assert!(!Scopes::NONE.allows(scope));
            for other in Scope::ALL {
                let alone = Scopes::NONE.with(other);
                assert_eq!(alone.allows(scope), other == scope || other == Scope::Admin);
            }
        }
    }

    #[test]
    fn a_set_covers_what_it_grants() {
        fn check(own: &str, wanted: &str, covered: bool) {
            assert_eq!(
                scopes(own).covers(&scopes(wanted)),
                covered,
                "{own} / {wanted}"
            );
        }
        check("", "", true);
        check("", "otp:verify", false);
        check("otp:verify", "", true);
        check("otp:verify keys:write", "otp:verify", true);
        check("otp:verify keys:write", "otp:verify users:read", false);
        check("keys:write", "admin", false);
        check("admin", "admin", true);
        check("admin", "keys:write users:write", true);
        let all_but_admin: Scopes = Scope::ALL.into_iter().take(10).collect();
        assert!(!all_but_admin.covers(&scopes("admin")));
    }
}
