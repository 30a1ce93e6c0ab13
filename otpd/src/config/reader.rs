//! Takes typed values out of the merged layers and notes every one that is out of bounds.

use std::ops::RangeInclusive;

use super::known::Family;
use super::layers::Merged;
use super::problem::Problems;
use super::secret::SecretText;
use super::value::{Entry, Value};

/// What was found and what is expected instead, as in a [`super::Problem`].
pub(super) type Fault = (String, String);

/// Reads one setting after the other. A key that the default file lacks, or has with
/// another type, is a mistake in this program: the test of the defaults reads them all.
pub(super) struct Reader {
    merged: Merged,
}

impl Reader {
    pub(super) fn new(merged: Merged) -> Self {
        Self { merged }
    }

    pub(super) fn text(&self, key: &str) -> &str {
        match &self.entry(key).value {
            Value::Text(text) => text,
            _ => unreachable!("{key} is a text in the default file"),
        }
    }

    pub(super) fn flag(&self, key: &str) -> bool {
        match self.entry(key).value {
            Value::Flag(flag) => flag,
            _ => unreachable!("{key} is true or false in the default file"),
        }
    }

    pub(super) fn list(&self, key: &str) -> &[String] {
        match &self.entry(key).value {
            Value::List(items) => items,
            _ => unreachable!("{key} is a list in the default file"),
        }
    }

    /// A whole number; the nearest bound and a problem when it is out of bounds.
    pub(super) fn whole<T: TryFrom<i64>>(
        &mut self,
        key: &str,
        bounds: RangeInclusive<i64>,
        unit: &str,
    ) -> T {
        let Value::Whole(number) = self.entry(key).value else {
            unreachable!("{key} is a whole number in the default file")
        };
        let (least, most) = (*bounds.start(), *bounds.end());
        if !bounds.contains(&number) {
            let gap = if unit.is_empty() { "" } else { " " };
            self.refuse(
                key,
                (
                    format!("is {number}"),
                    format!("{least} to {most}{gap}{unit} are expected"),
                ),
            );
        }
        T::try_from(number.clamp(least, most))
            .unwrap_or_else(|_| unreachable!("the type of {key} holds all of its bounds"))
    }

    /// A text that must be readable as something; `instead` and a problem when it is not.
    pub(super) fn parsed<T>(
        &mut self,
        key: &str,
        instead: T,
        parse: impl Fn(&str) -> Result<T, Fault>,
    ) -> T {
        match parse(self.text(key)) {
            Ok(value) => value,
            Err(fault) => {
                self.refuse(key, fault);
                instead
            }
        }
    }

    /// Takes a secret out, so that there is no second copy; `None` when it is empty.
    /// Faulty ones become a problem.
    pub(super) fn secret(
        &mut self,
        key: &str,
        check: impl Fn(&str) -> Result<(), Fault>,
    ) -> Option<SecretText> {
        let entry = self.merged.entries.get_mut(key);
        let Some(Value::Secret(secret) | Value::SecretUrl(secret)) =
            entry.map(|entry| &mut entry.value)
        else {
            unreachable!("{key} is a secret")
        };
        let secret = std::mem::replace(secret, SecretText::new(String::new()));
        if secret.is_empty() {
            return None;
        }
        if let Err(fault) = check(secret.expose()) {
            self.refuse(key, fault);
        }
        Some(secret)
    }

    /// The key of a named table's own value, or of the one that stands in for it.
    pub(super) fn key_in(&self, family: &Family, name: Option<&str>, field: &str) -> String {
        name.map(|name| format!("{}.{name}.{field}", family.section))
            .filter(|key| self.merged.entries.contains_key(key))
            .unwrap_or_else(|| format!("{}.{field}", family.fallback))
    }

    /// The names of a family's tables, in order.
    pub(super) fn names_in(&self, family: &Family) -> Vec<String> {
        let members = self.merged.members.iter();
        members
            .filter(|(section, _)| *section == family.section)
            .map(|(_, name)| name.clone())
            .collect()
    }

    /// Notes a fault of a value that was read.
    pub(super) fn refuse(&mut self, key: &str, (found, expected): Fault) {
        let source = self.entry(key).source.clone();
        self.merged.problems.add(key, source, found, expected);
    }

    /// Whether nothing is wrong with these values by themselves, so that comparing them
    /// says something new.
    pub(super) fn are_sound(&self, keys: &[&String]) -> bool {
        !self
            .merged
            .problems
            .iter()
            .any(|problem| keys.contains(&&problem.key))
    }

    /// Which of two values that do not fit together is the one to change: a policy's own
    /// rather than one that stands in for it, and one that was set later, in that order.
    pub(super) fn to_blame<'k>(&self, one: &'k str, other: &'k str) -> &'k str {
        let rank = |key: &str| (key.starts_with("policies."), self.entry(key).source.layer());
        if rank(other) > rank(one) { other } else { one }
    }

    pub(super) fn into_problems(self) -> Problems {
        self.merged.problems
    }

    fn entry(&self, key: &str) -> &Entry {
        self.merged
            .entries
            .get(key)
            .unwrap_or_else(|| unreachable!("{key} is in the default file"))
    }
}
