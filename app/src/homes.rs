//! Networks from which people have logged in: there, strangers elsewhere do not slow them down.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::{Time, UserName};

use crate::limits::Source;

/// How long a login is remembered.
const LIFE_MS: i64 = 30 * 86_400_000;
/// People that are remembered; then the one who has logged in least lately is forgotten.
const PEOPLE: usize = 20_000;
/// Networks of one person, so that nobody can have the others forgotten.
const NETWORKS: usize = 8;

/// What this server has seen since it started. Where nothing is remembered the limits
/// hold as for strangers, so forgetting lets nobody in.
#[derive(Default)]
pub(crate) struct Homes(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    people: HashMap<UserName, Person>,
    /// By the number of their last login.
    by_age: BTreeMap<u64, UserName>,
    logins: u64,
}

struct Person {
    last: u64,
    /// The latest login is the last.
    networks: Vec<(Source, Time)>,
}

impl Homes {
    /// Remembers that a person has proved everything there that a login takes.
    pub(crate) fn remember(&self, name: &UserName, source: Source, now: Time) {
        let mut kept = self.lock();
        let kept = &mut *kept;
        kept.logins += 1;
        let last = kept.logins;
        let person = kept.people.entry(name.clone()).or_insert(Person {
            last,
            networks: Vec::new(),
        });
        kept.by_age.remove(&person.last);
        kept.by_age.insert(last, name.clone());
        person.last = last;
        person.networks.retain(|(known, _)| *known != source);
        if person.networks.len() >= NETWORKS {
            person.networks.remove(0);
        }
        person.networks.push((source, now));
        if kept.people.len() > PEOPLE
            && let Some((_, oldest)) = kept.by_age.pop_first()
        {
            kept.people.remove(&oldest);
        }
    }

    /// Whether the person has logged in from there lately.
    pub(crate) fn know(&self, name: &UserName, source: Source, now: Time) -> bool {
        let kept = self.lock();
        let lately = |(known, at): &(Source, Time)| *known == source && now.since(*at) < LIFE_MS;
        let person = kept.people.get(name);
        person.is_some_and(|person| person.networks.iter().any(lately))
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: usize) -> UserName {
        UserName::parse(&format!("user{number}")).unwrap()
    }

    fn network(number: u8) -> Source {
        Source::of([198, 51, 100, number].into())
    }

    const NOW: Time = Time::from_millis(1_800_000_000_000);

    #[test]
    fn a_login_is_remembered_for_its_person_its_network_and_a_month() {
        let homes = Homes::default();
        homes.remember(&name(1), network(1), NOW);
        let check = |who, place, later_ms, expected| {
            let then = NOW.plus_millis(later_ms);
            let known = homes.know(&name(who), network(place), then);
            assert_eq!(known, expected, "{who} {place} {later_ms}");
        };
        check(1, 1, 0, true);
        check(1, 1, LIFE_MS - 1, true);
        check(1, 1, LIFE_MS, false);
        check(1, 2, 0, false);
        check(2, 1, 0, false);
    }

    #[test]
    fn of_each_person_the_latest_networks_are_kept() {
        let homes = Homes::default();
        for number in 0..8 {
            homes.remember(&name(1), network(number), NOW);
        }
        homes.remember(&name(1), network(0), NOW);
        homes.remember(&name(1), network(8), NOW);
        let known = |number| homes.know(&name(1), network(number), NOW);
        assert!(known(0) && !known(1) && known(2) && known(8));
    }

    #[test]
    fn no_more_people_are_kept_than_there_is_room_for() {
        let homes = Homes::default();
        for number in 0..PEOPLE {
            homes.remember(&name(number), network(1), NOW);
        }
        homes.remember(&name(0), network(2), NOW);
        homes.remember(&name(PEOPLE), network(1), NOW);
        let known = |number| homes.know(&name(number), network(1), NOW);
        assert!(known(0) && !known(1) && known(2) && known(PEOPLE));
        let kept = homes.lock();
        assert_eq!((kept.people.len(), kept.by_age.len()), (PEOPLE, PEOPLE));
    }
}
