//! A batch: conditional statements, events and a kept answer that are committed together or not at all.
//!
//! The functions that fill a batch stand with the tables they change.

use domain::{Event, UserId};

use crate::error::Refusal;
use crate::tables::audit::TermEntry;
use crate::tables::counts::name_of_change;
use crate::value::Value;

/// A change about to be made.
#[derive(Default)]
pub struct Batch {
    /// Users whose guards are locked first, sorted before use.
    pub(crate) guards: Vec<i64>,
    /// Users that the batch makes itself: nobody else can know them yet, and there is
    /// no guard to lock.
    pub(crate) made: Vec<i64>,
    pub(crate) steps: Vec<Step>,
    /// Entries of the search index, put in after the steps: many, and all alike.
    pub(crate) terms: Vec<TermEntry>,
    pub(crate) events: Vec<Event>,
    /// What is counted once under its name.
    pub(crate) counts: Vec<&'static str>,
    /// Delays to be counted, in seconds.
    pub(crate) delays: Vec<i64>,
}

pub(crate) struct Step {
    pub sql: &'static str,
    pub params: Vec<Value>,
    pub expect: Expect,
}

/// How many rows a statement has to change.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expect {
    /// Exactly one, or the whole batch is refused for that reason.
    One(Refusal),
    /// Any number.
    Any,
}

impl Batch {
    /// A batch that changes nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Locks a user's guard for the length of the batch; refused when there is none. One
    /// that the same batch makes needs no lock.
    pub fn lock(&mut self, user: UserId) {
        self.guards.push(user.0);
    }

    /// Adds the audit record of what the batch does.
    pub fn record(&mut self, event: Event) {
        self.counts.extend(name_of_change(&event));
        self.events.push(event);
    }

    pub(crate) fn step(&mut self, sql: &'static str, params: Vec<Value>, expect: Expect) {
        self.steps.push(Step {
            sql,
            params,
            expect,
        });
    }

    /// The guards to lock, each once, in the order of ids.
    pub(crate) fn sorted_guards(&self) -> Vec<i64> {
        let mut guards = self.guards.clone();
        guards.sort_unstable();
        guards.dedup();
        guards.retain(|user| !self.made.contains(user));
        guards
    }
}

impl Step {
    /// The refusal when that many changed rows are not what was expected.
    pub(crate) fn check(&self, changed: u64) -> Result<(), crate::StoreError> {
        match self.expect {
            Expect::One(refusal) if changed != 1 => Err(crate::StoreError::Refused(refusal)),
            Expect::One(_) | Expect::Any => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::{Time, UserName};

    use super::*;

    #[test]
    fn guards_are_locked_once_in_order_and_new_users_have_none() {
        let mut batch = Batch::new();
        for user in [3, 1, 2, 3] {
            batch.lock(UserId(user));
        }
        let name = UserName::parse("new").expect("a name");
        batch.make_user(UserId(2), &name, Time::from_millis(0));
        assert_eq!(batch.sorted_guards(), [1, 3]);
    }
}
