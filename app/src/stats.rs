//! Statistics in buckets of hours or days, and what there is now.

use std::collections::BTreeMap;

use domain::Time;
use serde::Serialize;
use store::HourStats;

use crate::{App, Error};

mod delays;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// More buckets than this are refused: a year of hours.
const MOST_BUCKETS: i64 = 8784;

/// The length of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bucket {
    /// 60 minutes, from the full hour (UTC).
    Hour,
    /// 24 hours, from midnight (UTC).
    Day,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct StatsQuery {
    /// Beginning; by default 24 hours before the end.
    pub from: Option<Time>,
    /// End, exclusive; by default now.
    pub to: Option<Time>,
    /// Length of a bucket.
    pub bucket: Bucket,
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct Stats {
    /// Beginning of the first bucket.
    pub from: String,
    /// End of the last one.
    pub to: String,
    /// `hour` or `day`.
    pub bucket: &'static str,
    /// Every bucket, also empty ones, ascending.
    pub buckets: Vec<BucketStats>,
    /// What there is now.
    pub totals: TotalsView,
}

/// One bucket.
#[derive(Debug, Default, Serialize)]
pub struct BucketStats {
    /// Its beginning.
    pub start: String,
    /// Codes judged.
    pub verifications: Verifications,
    /// Devices registered.
    pub registrations: i64,
    /// Devices deactivated.
    pub deactivations: i64,
    /// Accounts made.
    pub signups: i64,
    /// Passwords judged, and second factors of logins.
    pub logins: Logins,
    /// Codes issued to sister services.
    pub issued: i64,
    /// Codes sent by email.
    pub emails: Emails,
    /// Recovery codes and passes tried outside of logins.
    pub recoveries: Verifications,
    /// Seconds from the issue or sending of a code to its acceptance: mean. `null` when
    /// none was accepted.
    pub issue_to_verify_mean_seconds: Option<f64>,
    /// The same, median; at most 7 % off.
    pub issue_to_verify_median_seconds: Option<f64>,
    /// The same, 95th percentile.
    pub issue_to_verify_p95_seconds: Option<f64>,
}

/// Logins by their result.
#[derive(Debug, Default, Serialize)]
pub struct Logins {
    /// Right passwords.
    pub accepted: i64,
    /// Wrong passwords of accounts that exist.
    pub rejected: i64,
    /// The second factors after a right password.
    pub second_factor: Verifications,
}

/// Emailed codes by what became of them.
#[derive(Debug, Default, Serialize)]
pub struct Emails {
    /// Codes sent.
    pub sent: i64,
    /// Mails that could not be delivered.
    pub failed: i64,
    /// Right codes.
    pub accepted: i64,
    /// Wrong, used or late codes.
    pub rejected: i64,
    /// Not judged because of too many wrong ones.
    pub locked: i64,
}

/// Verifications by their result.
#[derive(Debug, Default, Serialize)]
pub struct Verifications {
    /// Right codes.
    pub accepted: i64,
    /// Wrong or used codes.
    pub rejected: i64,
    /// Not judged because of a lock.
    pub locked: i64,
}

/// What there is now.
#[derive(Debug, Serialize)]
pub struct TotalsView {
    /// Devices by status.
    pub devices: DeviceTotals,
    /// All users; of email addresses those with a device.
    pub users: i64,
    /// Users with a device in force.
    pub users_with_2fa: i64,
    /// The second as a share of the first, 0 to 1; `null` without users.
    pub adoption: Option<f64>,
}

/// Devices by status.
#[derive(Debug, Serialize)]
pub struct DeviceTotals {
    /// In force.
    pub active: i64,
    /// Waiting for their first code.
    pub pending: i64,
    /// Deactivated.
    pub deactivated: i64,
}

impl App {
    /// Statistics by bucket.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a span that is empty or too long.
    pub async fn stats(&self, query: StatsQuery) -> Result<Stats, Error> {
        let now = self.store.now().await?;
        let to = query.to.unwrap_or(now);
        let from = query.from.unwrap_or(to.plus_millis(-DAY_MS));
        if from >= to {
            return Err(Error::invalid("?from", "Must be before `to`."));
        }
        let length = match query.bucket {
            Bucket::Hour => HOUR_MS,
            Bucket::Day => DAY_MS,
        };
        let first = start_of(from, length);
        let end = start_of(to.plus_millis(length - 1), length);
        if end.since(first) / length > MOST_BUCKETS {
            return Err(Error::invalid("?from", "The span has too many buckets."));
        }
        let hours = self.store.stats_by_hour(first, end).await?;
        let mut buckets = gather(&hours, first, end, length);
        for (hour, name, count) in self.store.counts(first, end).await? {
            if let Some(bucket) = buckets.get_mut(&start_of(hour, length).millis()) {
                bucket.add(&name, count);
            }
        }
        let delays = self.store.delays(first, end).await?;
        delays::fill(&mut buckets, &delays, length);
        let totals = self.store.totals().await?;
        let adoption = (totals.users > 0).then(|| share(totals.users_with_2fa, totals.users));
        Ok(Stats {
            from: first.to_rfc3339(),
            to: end.to_rfc3339(),
            bucket: match query.bucket {
                Bucket::Hour => "hour",
                Bucket::Day => "day",
            },
            buckets: buckets.into_values().collect(),
            totals: TotalsView {
                devices: DeviceTotals {
                    active: totals.active,
                    pending: totals.pending,
                    deactivated: totals.deactivated,
                },
                users: totals.users,
                users_with_2fa: totals.users_with_2fa,
                adoption,
            },
        })
    }
}

fn share(part: i64, whole: i64) -> f64 {
    // Counts are far below 2^52, where f64 would begin to round.
    #[allow(clippy::cast_precision_loss, reason = "counts below 2^52")]
    let share = part as f64 / whole as f64;
    share
}

/// The midnight (UTC) that begins a time's day.
pub(crate) fn start_of_day(time: Time) -> Time {
    start_of(time, DAY_MS)
}

fn start_of(time: Time, length: i64) -> Time {
    Time::from_millis(time.millis() - time.millis().rem_euclid(length))
}

impl BucketStats {
    /// Adds to the counter of that name, as the store has it.
    fn add(&mut self, name: &str, count: i64) {
        let place = match name {
            "signup" => &mut self.signups,
            "login_accepted" => &mut self.logins.accepted,
            "login_rejected" => &mut self.logins.rejected,
            "login_2fa_accepted" => &mut self.logins.second_factor.accepted,
            "login_2fa_rejected" => &mut self.logins.second_factor.rejected,
            "login_2fa_locked" => &mut self.logins.second_factor.locked,
            "issued" => &mut self.issued,
            "email_sent" => &mut self.emails.sent,
            "mail_failed" => &mut self.emails.failed,
            "email_accepted" => &mut self.emails.accepted,
            "email_rejected" => &mut self.emails.rejected,
            "email_locked" => &mut self.emails.locked,
            "recovery_accepted" => &mut self.recoveries.accepted,
            "recovery_rejected" => &mut self.recoveries.rejected,
            "recovery_locked" => &mut self.recoveries.locked,
            // Of a newer server beside this one.
            _ => return,
        };
        *place += count;
    }
}

/// Every bucket by its beginning, with what the hours hold.
fn gather(hours: &[HourStats], first: Time, end: Time, length: i64) -> BTreeMap<i64, BucketStats> {
    let mut buckets: BTreeMap<i64, BucketStats> = BTreeMap::new();
    let mut start = first;
    while start < end {
        let bucket = BucketStats {
            start: start.to_rfc3339(),
            ..BucketStats::default()
        };
        buckets.insert(start.millis(), bucket);
        start = start.plus_millis(length);
    }
    for hour in hours {
        if let Some(bucket) = buckets.get_mut(&start_of(hour.from, length).millis()) {
            bucket.verifications.accepted += hour.accepted;
            bucket.verifications.rejected += hour.rejected;
            bucket.verifications.locked += hour.locked;
            bucket.registrations += hour.registered;
            bucket.deactivations += hour.deactivated;
        }
    }
    buckets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(number: i64, accepted: i64) -> HourStats {
        HourStats {
            from: Time::from_millis(number * HOUR_MS),
            accepted,
            rejected: 1,
            locked: 0,
            registered: 0,
            deactivated: 0,
        }
    }

    #[test]
    fn hours_are_gathered_and_empty_buckets_shown() {
        let first = Time::from_millis(0);
        let end = Time::from_millis(2 * DAY_MS);
        let days = gather(&[hour(0, 2), hour(23, 3), hour(24, 5)], first, end, DAY_MS);
        let accepted: Vec<i64> = days.values().map(|d| d.verifications.accepted).collect();
        assert_eq!(accepted, [5, 5]);
        let hours = gather(&[hour(1, 2)], first, Time::from_millis(DAY_MS), HOUR_MS);
        assert_eq!(hours.len(), 24);
        let accepted = |hour: i64| hours[&(hour * HOUR_MS)].verifications.accepted;
        assert_eq!((accepted(1), accepted(2)), (2, 0));
    }
}
