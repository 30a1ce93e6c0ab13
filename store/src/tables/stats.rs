//! Statistics: one counter row per hour and chain, added to once a batch.

use domain::verify::{Ask, Verdict};
use domain::{Action, Event, Time};

use crate::Store;
use crate::error::StoreError;
use crate::sql::statements;
use crate::value::{Row, Value, params};

const HOUR_MS: i64 = 3_600_000;

/// Adds a row of these columns to that of its hour and chain.
macro_rules! adding {
    ($row:literal) => {
        concat!(
            "INSERT INTO stats (bucket, chain, accepted, rejected, locked, registered, deactivated) ",
            $row,
            " ON CONFLICT (bucket, chain) DO UPDATE SET
                accepted = stats.accepted + excluded.accepted,
                rejected = stats.rejected + excluded.rejected,
                locked = stats.locked + excluded.locked,
                registered = stats.registered + excluded.registered,
                deactivated = stats.deactivated + excluded.deactivated"
        )
    };
}
pub(crate) use adding;

statements! {
    ADD = adding!("VALUES ($1, $2, $3, $4, $5, $6, $7)");
    BY_HOUR = "SELECT bucket, CAST(SUM(accepted) AS BIGINT), CAST(SUM(rejected) AS BIGINT),
                 CAST(SUM(locked) AS BIGINT), CAST(SUM(registered) AS BIGINT),
                 CAST(SUM(deactivated) AS BIGINT)
               FROM stats WHERE bucket >= $1 AND bucket < $2 GROUP BY bucket ORDER BY bucket";
    SWEEP = "DELETE FROM stats WHERE (bucket, chain) IN
             (SELECT bucket, chain FROM stats WHERE bucket < $1 ORDER BY bucket, chain LIMIT $2)
             RETURNING CAST(1 AS BIGINT)";
    DEVICES = "SELECT CAST(COUNT(1) AS BIGINT),
                 CAST(COUNT(deactivated_at) AS BIGINT),
                 CAST(COUNT(CASE WHEN deactivated_at IS NULL THEN pending_until END) AS BIGINT),
                 CAST(COUNT(DISTINCT CASE WHEN deactivated_at IS NULL AND pending_until IS NULL
                   THEN user_id END) AS BIGINT)
               FROM devices";
    /// An email address that only gets codes has nobody's second factor to come.
    USERS = "SELECT CAST(COUNT(1) AS BIGINT) FROM users u
             WHERE u.name < 'email:' OR u.name >= 'email;'
               OR EXISTS (SELECT 1 FROM accounts a WHERE a.user_id = u.id)
               OR EXISTS (SELECT 1 FROM devices d WHERE d.user_id = u.id)";
}

/// The beginning of the hour that a time is in.
pub(crate) fn hour_of(at: Time) -> i64 {
    at.millis() - at.millis().rem_euclid(HOUR_MS)
}

/// What one batch adds to the statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    accepted: i64,
    rejected: i64,
    locked: i64,
    registered: i64,
    deactivated: i64,
}

impl Tally {
    pub(crate) fn count_verdict(&mut self, ask: &Ask, verdict: &Verdict) {
        if matches!(
            ask,
            Ask::Confirm(_)
                | Ask::Enrol { .. }
                | Ask::Resynchronise(..)
                | Ask::Explain(_)
                | Ask::Emailed(_)
        ) {
            return;
        }
        match verdict {
            Verdict::Accepted { .. } | Verdict::Proven(_) => self.accepted += 1,
            Verdict::Locked => self.locked += 1,
            _ => self.rejected += 1,
        }
    }

    pub(crate) fn count_change(&mut self, event: &Event) {
        match event.action {
            Action::DeviceRegistered => self.registered += 1,
            Action::DeviceDeactivated => self.deactivated += 1,
            _ => {}
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The parameters of [`ADD`].
    pub(crate) fn numbers(&self, at: Time, chain: i64) -> [i64; 7] {
        [
            hour_of(at),
            chain,
            self.accepted,
            self.rejected,
            self.locked,
            self.registered,
            self.deactivated,
        ]
    }

    pub(crate) fn params(&self, at: Time, chain: i64) -> Vec<Value> {
        self.numbers(at, chain)
            .into_iter()
            .map(Value::Int)
            .collect()
    }
}

/// What happened in one hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HourStats {
    /// Its beginning.
    pub from: Time,
    /// Verifications accepted.
    pub accepted: i64,
    /// Verifications rejected.
    pub rejected: i64,
    /// Verifications refused because of a lock.
    pub locked: i64,
    /// Devices registered.
    pub registered: i64,
    /// Devices deactivated.
    pub deactivated: i64,
}

/// What there is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Devices in force.
    pub active: i64,
    /// Devices waiting for their first code.
    pub pending: i64,
    /// Devices deactivated.
    pub deactivated: i64,
    /// Users with a device in force.
    pub users_with_2fa: i64,
    /// All users; of email addresses those with a device or an account.
    pub users: i64,
}

impl Store {
    /// The hours in `[from, to)` in which anything happened, ascending.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn stats_by_hour(&self, from: Time, to: Time) -> Result<Vec<HourStats>, StoreError> {
        let rows = self.patient_rows(BY_HOUR, params![from, to]).await?;
        rows.iter().map(hour).collect()
    }

    /// Removes some hours that began before that time, of some chains, at most `limit`
    /// rows; how many.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn sweep_stats(&self, before: Time, limit: i64) -> Result<i64, StoreError> {
        let gone = self.write_rows(SWEEP, params![before, limit]).await?;
        Ok(i64::try_from(gone.len()).unwrap_or(limit))
    }

    /// Devices and users as they are now.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn totals(&self) -> Result<Totals, StoreError> {
        let missing = || StoreError::Corrupt("a count is missing".into());
        let devices = self.patient_rows(DEVICES, params![]).await?.pop();
        let devices = devices.ok_or_else(missing)?;
        let (all, deactivated, pending) = (devices.int(0)?, devices.int(1)?, devices.int(2)?);
        let users = self.patient_rows(USERS, params![]).await?.pop();
        Ok(Totals {
            active: all - deactivated - pending,
            pending,
            deactivated,
            users_with_2fa: devices.int(3)?,
            users: users.ok_or_else(missing)?.int(0)?,
        })
    }
}

fn hour(row: &Row) -> Result<HourStats, StoreError> {
    Ok(HourStats {
        from: row.time(0)?,
        accepted: row.int(1)?,
        rejected: row.int(2)?,
        locked: row.int(3)?,
        registered: row.int(4)?,
        deactivated: row.int(5)?,
    })
}
