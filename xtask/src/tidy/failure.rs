//! One breach of a rule, told so that the reader knows where, why and what to do instead.

use std::fmt;

/// Why a rule exists and what to do instead of breaking it.
pub(crate) struct Rule {
    pub(crate) why: &'static str,
    pub(crate) instead: &'static str,
}

/// A breach of a rule at a place.
pub(crate) struct Failure {
    path: String,
    line: usize,
    what: String,
    rule: &'static Rule,
}

impl Failure {
    /// `line` counts from 1.
    pub(crate) fn new(
        path: &str,
        line: usize,
        what: impl Into<String>,
        rule: &'static Rule,
    ) -> Self {
        Self {
            path: path.to_string(),
            line,
            what: what.into(),
            rule,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            line,
            what,
            rule,
        } = self;
        writeln!(f, "{path}:{line}: {what}")?;
        writeln!(f, "    why: {}", rule.why)?;
        write!(f, "    instead: {}", rule.instead)
    }
}

/// Asserts that `found` breaks rules at exactly these places, each `path:line`.
#[cfg(test)]
#[track_caller]
pub(crate) fn assert_places(found: &[Failure], places: &[&str]) {
    let found: Vec<String> = found
        .iter()
        .map(|failure| format!("{}:{}", failure.path, failure.line))
        .collect();
    assert_eq!(found, places);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_place_reason_and_alternative() {
        static RULE: Rule = Rule {
            why: "it breaks",
            instead: "mend it",
        };
        let failure = Failure::new("a/b.rs", 7, "bad", &RULE);
        let text = "a/b.rs:7: bad\n    why: it breaks\n    instead: mend it";
        assert_eq!(failure.to_string(), text);
    }
}
