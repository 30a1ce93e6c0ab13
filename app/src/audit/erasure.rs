//! Erasure: a user's personal fields go from the log, which stays provable.

use domain::chain::personal_digest;
use domain::{Action, Personal, Time, UserId};
use store::{Batch, Moment, StoredEvent};

use super::index::{Haste, personal};
use crate::context::Context;
use crate::people::erasure;
use crate::{App, Error};

/// Events blanked per batch: a short slice between attempts.
const SLICE: i64 = 100;
/// Rounds in which a user may still make events while being erased.
const ROUNDS: usize = 3;

/// What one look at the log did.
#[derive(Default)]
struct Round {
    blanked: u64,
    /// Events of the user came after the erasure was recorded.
    later: bool,
}

impl App {
    /// First the record, so that at any moment each blank is explained.
    pub(crate) async fn record_erasure(
        &self,
        user: UserId,
        context: &Context,
    ) -> Result<Time, Error> {
        let mut batch = Batch::new();
        batch.record(erasure(user, context));
        Ok(self.store.commit(batch).await?)
    }

    /// Removes the personal fields of a user's events up to the time at which the
    /// erasure was recorded; when later ones are found, it is recorded anew.
    pub(crate) async fn blank_user(
        &self,
        user: UserId,
        name: &str,
        recorded_at: Time,
        context: &Context,
    ) -> Result<u64, Error> {
        let mut at = recorded_at;
        let mut events = 0;
        for round in 1..=ROUNDS {
            let done = self.blank_indexed(user, name, at).await?;
            events += done.blanked;
            if !done.later || round == ROUNDS {
                break;
            }
            at = self.record_erasure(user, context).await?;
        }
        Ok(events)
    }

    /// The users whom events that bear this name are about: several, when people of one
    /// name came one after the other.
    pub(crate) async fn users_in_audit(&self, name: &str) -> Result<Vec<UserId>, Error> {
        while !self.index_events(usize::MAX, Haste::Now).await? {}
        let mut users = Vec::new();
        let mut below = Moment {
            at: Time::from_millis(i64::MAX),
            id: i64::MAX,
        };
        let from = Time::from_millis(i64::MIN);
        let term = self.terms().user(name);
        loop {
            let page = self.store.events_by_term(term, below, from, SLICE).await?;
            let Some(last) = page.last() else {
                return Ok(users);
            };
            below = super::search::moment(last);
            // A term is a short hash: the event itself tells.
            let named = page
                .iter()
                .filter(|event| personal(event).user_id.as_deref() == Some(name));
            for user in named.filter_map(|event| event.user.map(UserId)) {
                if !users.contains(&user) {
                    users.push(user);
                }
            }
        }
    }

    /// Finds the user's events by the search index, once that is complete.
    async fn blank_indexed(&self, user: UserId, name: &str, at: Time) -> Result<Round, Error> {
        while !self.index_events(usize::MAX, Haste::Now).await? {}
        let mut round = Round::default();
        let terms = self.terms();
        for term in [terms.user(name), terms.unnamed_user(user.0)] {
            let mut below = Moment {
                at: Time::from_millis(i64::MAX),
                id: i64::MAX,
            };
            let from = Time::from_millis(i64::MIN);
            loop {
                let page = self.store.events_by_term(term, below, from, SLICE).await?;
                let Some(last) = page.last() else { break };
                below = super::search::moment(last);
                self.blank(user, at, page, &mut round).await?;
            }
        }
        Ok(round)
    }

    /// Blanks those of the events that are the user's and tell anything.
    async fn blank(
        &self,
        user: UserId,
        at: Time,
        events: Vec<StoredEvent>,
        round: &mut Round,
    ) -> Result<(), Error> {
        let mut batch = Batch::new();
        let mut count = 0;
        for event in events {
            // The record of an erasure tells of the one who ordered it.
            let kept = event.action == Action::UserErased.as_str();
            if event.user != Some(user.0) || kept || personal(&event) == Personal::default() {
                continue;
            }
            let (Some(text), Some(salt)) = (&event.personal, event.salt) else {
                continue;
            };
            if event.at > at {
                round.later = true;
                continue;
            }
            batch.blank_event(event.id, salt, personal_digest(&salt, text));
            for term in self.personal_terms(&event) {
                batch.delete_term(term, event.at, event.id);
            }
            count += 1;
        }
        if count > 0 {
            self.store.commit(batch).await?;
            round.blanked += count;
        }
        Ok(())
    }

    /// The terms that an event is not to be found by any more.
    fn personal_terms(&self, event: &StoredEvent) -> Vec<i64> {
        let terms = self.terms();
        let personal = personal(event);
        let mut gone: Vec<i64> = Vec::with_capacity(3);
        gone.extend(personal.device_id.as_deref().map(|name| terms.device(name)));
        gone.extend(personal.user_id.as_deref().map(|name| terms.user(name)));
        gone.extend(event.user.map(|id| terms.unnamed_user(id)));
        gone
    }
}
