//! Limits before anything is looked up: per network address without a valid credential, per API key.
//!
//! Counted in memory or, with a Redis, among all servers; see `store::SharedCounters` for
//! what happens while that is away. Who asks is admitted or refused in either case.

use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use domain::rate::{Decision, Rate, decide};
use domain::{Time, UserName};
use store::{RateCounters, SharedCounters};

use crate::caller::Caller;
use crate::settings::Settings;
use crate::slowdown::Crowd;
use crate::{App, Error};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// What an address limit counts: an IPv4 address, or the /64 of an IPv6 one, since a
/// client usually has all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source(IpAddr);

impl Source {
    /// The source of that address.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = address.to_bits() >> 64 << 64;
                Self(IpAddr::V6(network.into()))
            }
            address @ IpAddr::V4(_) => Self(address),
        }
    }

    /// How the audit names it.
    pub(crate) fn name(self) -> Arc<str> {
        match self.0 {
            IpAddr::V4(address) => address.to_string().into(),
            IpAddr::V6(network) => format!("{network}/64").into(),
        }
    }
}

/// What a limit is kept for.
trait Counted: Eq + Hash + Clone {
    /// How it is spelled where its shared counter gets its name from; what leaves this
    /// process is a keyed hash of it.
    fn spelling(&self) -> Arc<str>;
}

impl Counted for Source {
    fn spelling(&self) -> Arc<str> {
        self.name()
    }
}

impl Counted for UserName {
    fn spelling(&self) -> Arc<str> {
        self.canonical().into()
    }
}

impl Counted for (UserName, Source) {
    fn spelling(&self) -> Arc<str> {
        // No name holds a line break, so no two pairs are spelled alike.
        format!("{}\n{}", self.0.canonical(), self.1.name()).into()
    }
}

impl Counted for Arc<str> {
    fn spelling(&self) -> Arc<str> {
        Self::clone(self)
    }
}

/// One limit. Its name keeps its shared counters apart from those of the others.
struct Limit<K> {
    name: &'static str,
    counters: RateCounters<K>,
}

pub(crate) struct Limits {
    failures: Option<Limit<Source>>,
    per_key: Option<Limit<Arc<str>>>,
    signups: Option<Limit<Source>>,
    logins: Option<Limit<Source>>,
    second_steps: Option<Limit<Source>>,
    /// Those of one network at one account.
    network_logins: Option<Limit<(UserName, Source)>>,
    /// Those of all networks.
    account_logins: Option<Limit<UserName>>,
    email_requests: Option<Limit<Source>>,
    email_logins: Option<Limit<Source>>,
    /// Kept with each address: see [`App::admit_mail`].
    mails: Option<Rate>,
    pub(crate) shared: Option<SharedCounters>,
}

impl Limits {
    pub(crate) fn new(settings: &Settings) -> Self {
        let minute = settings.address_failures_per_minute;
        let second = settings.key_per_second.unwrap_or(0);
        let public = &settings.public;
        let logins = public.logins_per_minute;
        let accounts = public.account_logins_per_minute;
        Self {
            failures: limit("failures", minute, MINUTE_MS),
            per_key: limit("per_key", second, 1000),
            signups: limit("signups", public.signups_per_hour, HOUR_MS),
            logins: limit("logins", logins, MINUTE_MS),
            second_steps: limit("second_steps", logins, MINUTE_MS),
            network_logins: limit("network_logins", accounts, MINUTE_MS),
            account_logins: limit("account_logins", accounts, MINUTE_MS),
            email_requests: limit("email_requests", public.email_requests_per_hour, HOUR_MS),
            email_logins: limit("email_logins", logins, MINUTE_MS),
            mails: Rate::new(public.mails_per_hour, HOUR_MS, public.mails_per_hour).ok(),
            shared: None,
        }
    }
}

/// So many in a period, all of them at once if they come so. A rate of 0 is no rate:
/// the limit is off.
fn limit<K: Counted>(name: &'static str, per: u32, period_ms: i64) -> Option<Limit<K>> {
    let rate = Rate::new(per, period_ms, per).ok()?;
    let counters = RateCounters::new(rate);
    Some(Limit { name, counters })
}

impl App {
    /// Counts together with the other servers from now on.
    #[must_use]
    pub fn counting_with(mut self, shared: SharedCounters) -> Self {
        self.limits.shared = Some(shared);
        self
    }

    /// The one place where something is counted; nothing if there is no such limit.
    async fn charge<K: Counted>(
        &self,
        limit: Option<&Limit<K>>,
        source: &K,
        cost: u32,
    ) -> Option<Decision> {
        let limit = limit?;
        let (counters, now) = (&limit.counters, self.clock.now());
        Some(match &self.limits.shared {
            None => counters.charge(source, now, cost),
            Some(shared) => {
                let name = self.room.root.rate_key(limit.name, &source.spelling());
                let charged = counters.charge_shared(shared, &name, source, now, cost);
                // Boxed: without a Redis no call shall carry room for this.
                Box::pin(charged).await
            }
        })
    }

    /// What became of a credential. A good one passes, whatever others at its address
    /// have done: the limit is for those who have none. A missing or bad one counts as a
    /// failure of its source until that has failed too often.
    ///
    /// # Errors
    /// As found, and [`Error::RateLimited`] in place of [`Error::Unauthenticated`].
    pub(crate) async fn proven<T>(
        &self,
        source: Source,
        found: Result<T, Error>,
    ) -> Result<T, Error> {
        if let Err(Error::Unauthenticated) = found {
            let failures = self.limits.failures.as_ref();
            let decision = self.charge(failures, &source, 0).await;
            self.note_limit(decision, source)?;
            self.count_failure(source).await;
        }
        found
    }

    /// Counts a missing or bad credential of that source.
    pub(crate) async fn count_failure(&self, source: Source) {
        let failures = self.limits.failures.as_ref();
        self.charge(failures, &source, 1).await;
        self.refusals.authentication_failed(source.name());
        self.metrics.unauthenticated();
    }

    /// Counts a request of a caller with a key, when keys are limited.
    ///
    /// # Errors
    /// [`Error::RateLimited`].
    pub async fn admit_caller(&self, caller: &Caller) -> Result<(), Error> {
        let per_key = self.limits.per_key.as_ref();
        if per_key.is_none() {
            return Ok(());
        }
        let name = caller.identity();
        let decision = self.charge(per_key, &name, 1).await;
        self.check(decision).inspect_err(|_| {
            self.refusals.rate_limited(name);
            self.metrics.rate_limited();
        })
    }

    /// Counts a signup of that source.
    ///
    /// # Errors
    /// [`Error::RateLimited`].
    pub(crate) async fn admit_signup(&self, source: Source) -> Result<(), Error> {
        self.admit_visit(self.limits.signups.as_ref(), source).await
    }

    /// Counts a password that is about to be checked, for its source and for the name
    /// that it came with, whether anybody has that name or not: what is answered at the
    /// limit tells nothing to who has never logged in. What is too much, from one network
    /// or from all together, is slowed down: it waits before it is judged, and is refused
    /// only when too many wait so. A network has its own few places at a name, so none
    /// takes all of them. Where somebody has logged in lately, what comes from other
    /// networks does not count, so that strangers cannot keep them out from there; from
    /// anywhere else enough strangers at once can. No number of wrong passwords locks an
    /// account.
    ///
    /// # Errors
    /// [`Error::RateLimited`].
    pub(crate) async fn admit_login(&self, source: Source, name: &UserName) -> Result<(), Error> {
        self.admit_visit(self.limits.logins.as_ref(), source)
            .await?;
        let Some(crowd) = self.crowd_of(source, name).await else {
            return Ok(());
        };
        if self.slowdown.wait(name, source, crowd).await {
            return Ok(());
        }
        self.refusals.rate_limited(source.name());
        self.metrics.rate_limited();
        let retry_after = self.slowdown.retry_after();
        Err(Error::RateLimited { retry_after })
    }

    /// What a login is one too many of, if it is.
    async fn crowd_of(&self, source: Source, name: &UserName) -> Option<Crowd> {
        let limited = |it: &Option<Decision>| matches!(it, Some(Decision::Limited { .. }));
        let network = self.limits.network_logins.as_ref();
        let visit = self.charge(network, &(name.clone(), source), 1).await;
        let of_network = limited(&visit).then_some(Crowd::Network);
        if self.homes.know(name, source, self.clock.now()) {
            return of_network;
        }
        let account = self.limits.account_logins.as_ref();
        let visit = self.charge(account, name, 1).await;
        limited(&visit).then_some(Crowd::Account).or(of_network)
    }

    /// Counts a second factor of that source.
    ///
    /// # Errors
    /// [`Error::RateLimited`].
    pub(crate) async fn admit_second_step(&self, source: Source) -> Result<(), Error> {
        self.admit_visit(self.limits.second_steps.as_ref(), source)
            .await
    }

    /// Counts a request of that source for an emailed code.
    ///
    /// # Errors
    /// [`Error::RateLimited`].
    pub(crate) async fn admit_email_request(&self, source: Source) -> Result<(), Error> {
        self.admit_visit(self.limits.email_requests.as_ref(), source)
            .await
    }

    /// Counts an emailed code that comes from that source.
    ///
    /// # Errors
    /// [`Error::RateLimited`].
    pub(crate) async fn admit_email_login(&self, source: Source) -> Result<(), Error> {
        self.admit_visit(self.limits.email_logins.as_ref(), source)
            .await
    }

    /// Whether another mail may go to an address, whoever asks for it, and what is to be
    /// kept beside the address then. `kept` is what was kept with the mail before, so that
    /// neither a restart nor another node gives an address more.
    ///
    /// # Errors
    /// [`Error::RateLimited`].
    pub(crate) fn admit_mail(
        &self,
        source: Source,
        kept: Option<i64>,
        now: Time,
    ) -> Result<Option<i64>, Error> {
        let decision = self.limits.mails.map(|rate| decide(kept, now, &rate, 1));
        self.note_limit(decision, source)?;
        Ok(match decision {
            Some(Decision::Allowed { new_tat }) => Some(new_tat),
            Some(Decision::Limited { .. }) | None => None,
        })
    }

    async fn admit_visit(
        &self,
        limit: Option<&Limit<Source>>,
        source: Source,
    ) -> Result<(), Error> {
        let decision = self.charge(limit, &source, 1).await;
        self.note_limit(decision, source)
    }

    fn note_limit(&self, decision: Option<Decision>, source: Source) -> Result<(), Error> {
        self.check(decision).inspect_err(|_| {
            self.refusals.rate_limited(source.name());
            self.metrics.rate_limited();
        })
    }

    fn check(&self, decision: Option<Decision>) -> Result<(), Error> {
        match decision {
            None | Some(Decision::Allowed { .. }) => Ok(()),
            Some(Decision::Limited { retry_after_ms }) => {
                let seconds = retry_after_ms.saturating_add(999) / 1000;
                Err(Error::RateLimited {
                    retry_after: u32::try_from(seconds).unwrap_or(u32::MAX).max(1),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_network_is_one_source_and_a_mapped_address_is_ipv4() {
        fn check(left: &str, right: &str, same: bool) {
            let source = |text: &str| Source::of(text.parse().unwrap());
            assert_eq!(source(left) == source(right), same, "{left} {right}");
        }
        check("2001:db8::1", "2001:db8::ffff:1", true);
        check("2001:db8:0:1::1", "2001:db8::1", false);
        check("10.0.0.1", "::ffff:10.0.0.1", true);
        check("10.0.0.1", "10.0.0.2", false);
    }
}
