//! The first round trip of a batch of attempts: locks, then reads everything that a verdict depends on.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use domain::chain::{Head, Link};
use domain::verify::Subject;
use domain::{
    Ask, Challenge, Device, DeviceId, DeviceName, Guard, Hot, SealedKey, Time, UserId, UserName,
};
use tokio_postgres::Row;

use super::line::Line;
use super::session::{Call, Done};
use super::trouble::Trouble;
use super::value::field;
use crate::error::StoreError;
use crate::lane::Submission;
use crate::lane::fold::{Kept, Loaded};
use crate::sql::statements;
use crate::tables::challenges::Fields;
use crate::tables::devices::Facts;
use crate::tables::users::guard;

/// The columns of a device as [`read_device`] takes them.
macro_rules! device_columns {
    () => {
        "SELECT d.id, d.user_id, d.name, d.owner, d.kind, d.algorithm, d.digits, d.period,
           d.policy, d.key_version, d.sealed, d.pending_until, d.deactivated_at,
           h.next, h.used, h.last_used, h.drift_ms, h.replayed
         FROM devices d JOIN device_hot h ON h.id = d.id "
    };
}

/// The columns of a challenge as [`read_challenge`] takes them.
macro_rules! challenge_columns {
    () => {
        "SELECT c.id, c.user_id, c.kind, c.hash, c.created_at, c.expires_at, c.uses_left,
           c.failures, c.locked_until, c.day, c.day_failures FROM challenges c "
    };
}

/// The lane's own end of the chain, with columns behind it.
macro_rules! own_head {
    ($more:literal) => {
        concat!(
            "SELECT seq, link,
               CAST(FLOOR(EXTRACT(EPOCH FROM clock_timestamp()) * 1000) AS BIGINT),
               CASE WHEN CAST(FLOOR(EXTRACT(EPOCH FROM clock_timestamp()) * 1000) AS BIGINT)
                   BETWEEN CAST($2 AS BIGINT) AND CAST($2 AS BIGINT) + 999
                 THEN NULL ELSE (SELECT CAST(MAX(a.at) AS BIGINT) FROM chain_heads a) END",
            $more,
            " FROM chain_heads WHERE chain = $1 FOR NO KEY UPDATE"
        )
    };
}

statements! {
    BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
    COMMIT = "COMMIT";
    ROLLBACK = "ROLLBACK";
    /// Rows come in the order of ids below the lock in the plan, so they are locked in that
    /// order; it cannot change under us, since ids never do. Nothing is waited for.
    LOCK_FREE = "SELECT g.id, g.failures, g.locked_until, g.disabled_at, g.days, g.recovery_from,
                   g.recovery_tries FROM guards g
                 WHERE g.id = ANY(ARRAY(SELECT d.user_id FROM devices d WHERE d.name = ANY($1)))
                 ORDER BY g.id FOR NO KEY UPDATE OF g SKIP LOCKED";
    /// The same when some attempts name people.
    LOCK_MIXED = "SELECT g.id, g.failures, g.locked_until, g.disabled_at, g.days, g.recovery_from,
                    g.recovery_tries FROM guards g
                  WHERE g.id = ANY(ARRAY(SELECT d.user_id FROM devices d WHERE d.name = ANY($1)
                    UNION ALL SELECT u.id FROM users u WHERE u.name = ANY($2)))
                  ORDER BY g.id FOR NO KEY UPDATE OF g SKIP LOCKED";
    /// The lane's own end of the chain. Who locks it next learns whether this batch
    /// was committed. The time is the batch's: it is read once the guards are locked.
    /// With it comes the latest time of all chains, unless the clock is in the second
    /// that began with the last look: reading them all costs something in every batch,
    /// and a clock that went back is not in that second.
    OWN_HEAD = own_head!("");
    /// The same with those of the given API keys that are no longer good: one statement
    /// less than asking for them apart.
    OWN_HEAD_AND_DEAD_KEYS = own_head!(",
               ARRAY(SELECT k.id FROM unnest(CAST($3 AS TEXT[])) AS k (id)
                 LEFT JOIN api_keys a ON a.id = k.id
                 WHERE a.id IS NULL OR a.revoked_at IS NOT NULL OR a.expires_at <=
                   CAST(FLOOR(EXTRACT(EPOCH FROM clock_timestamp()) * 1000) AS BIGINT))");
    /// Changes nothing, but makes the transaction one that writes.
    TOUCH_HEAD = "UPDATE chain_heads SET at = at WHERE chain = $1";
    DEVICES = concat!(device_columns!(), "WHERE d.name = ANY($1)");
    PEOPLE = "SELECT u.id, u.name FROM users u WHERE u.name = ANY($1)";
    OWN_DEVICES = concat!(device_columns!(), "WHERE d.deactivated_at IS NULL AND d.user_id IN
                    (SELECT u.id FROM users u WHERE u.name = ANY($1))");
    CHALLENGES = concat!(challenge_columns!(), "WHERE c.kind IN ('issued', 'emailed', 'pass')
                   AND c.user_id IN (SELECT u.id FROM users u WHERE u.name = ANY($1))");
    LOGINS = concat!(challenge_columns!(), "WHERE c.id = ANY($1) AND c.kind = 'login'");
    RECOVERY = "SELECT r.user_id, r.id, r.hash FROM recovery_codes r
                WHERE r.used_at IS NULL AND r.pending_for IS NULL
                  AND r.user_id IN (SELECT u.id FROM users u WHERE u.name = ANY($1))";
    KEPT = "SELECT id, fingerprint, answer FROM idempotency WHERE id = ANY($1) AND expires_at >
              CAST(FLOOR(EXTRACT(EPOCH FROM clock_timestamp()) * 1000) AS BIGINT)";
}

/// Makes the transaction one whose commit waits for the standbys.
pub(super) fn touch(chain: i64) -> Call<'static> {
    Call::new(TOUCH_HEAD).with(chain)
}

/// What a batch saw.
pub(super) struct Seen {
    /// `None` when the chain has no head.
    pub(super) own: Option<OwnHead>,
    pub(super) loaded: Loaded,
    /// Subjects whose user another lane or node works on: they are for the next batch.
    pub(super) taken: HashSet<Subject>,
}

/// The lane's own end of the chain, with the time.
pub(super) struct OwnHead {
    pub(super) head: Head,
    pub(super) clock: Time,
    /// The latest time of all chains, if it was looked at.
    pub(super) mark: Option<Time>,
}

/// Why nothing was seen. The transaction is still open, if there is a connection.
pub(super) enum Blind {
    Trouble(Trouble),
    Unreadable(StoreError),
}

impl From<StoreError> for Blind {
    fn from(error: StoreError) -> Self {
        Self::Unreadable(error)
    }
}

/// Opens the transaction and reads.
///
/// Each statement sees what was committed before *it* began. What stands in the rows by
/// which the locking statement finds the users may be older than the locks, so the
/// devices are read by a statement of their own, after the lock: nobody changes them
/// from then on.
pub(super) async fn load(line: &Line, submissions: &[&Submission]) -> Result<Seen, Blind> {
    let session = line.session().map_err(Blind::Trouble)?;
    let asked = Asked::of(submissions);
    let done = session.round_trip(asked.calls(line)).await;
    let done = done.map_err(|failure| Blind::Trouble(failure.trouble))?;
    let mut answers = done.into_iter().skip(1).map(|Done { rows, .. }| rows);
    let mut next = || answers.next().unwrap_or_default();
    let guards: Guards = next().iter().map(read_guard).collect::<Result<_, _>>()?;
    let head = next();
    let own = read_head(&head)?;
    let mut loaded = Loaded::default();
    if !asked.keys.is_empty() {
        loaded.revoked = read_dead_keys(&head, &asked.keys)?;
    }
    let mut taken = HashSet::new();
    place_devices(&next(), &guards, &mut loaded, &mut taken)?;
    if !asked.people.is_empty() {
        place_people(&next(), &guards, &mut loaded, &mut taken)?;
        for row in next() {
            loaded.add_own(read_device(&row)?);
        }
        for row in next().iter().chain(&next()) {
            loaded.add_challenge(read_challenge(row)?);
        }
        for row in next() {
            let hash = fixed(field(&row, 2)?)?;
            loaded.add_recovery(field(&row, 0)?, field(&row, 1)?, hash);
        }
    }
    if !asked.tickets.is_empty() {
        loaded.kept = next().iter().map(read_kept).collect::<Result<_, _>>()?;
    }
    Ok(Seen { own, loaded, taken })
}

type Guards = HashMap<i64, Guard>;

/// What a batch asks about.
#[derive(Default)]
struct Asked<'a> {
    devices: Vec<&'a str>,
    people: Vec<&'a str>,
    logins: Vec<i64>,
    tickets: Vec<&'a [u8]>,
    keys: HashMap<&'a str, &'a Arc<str>>,
}

impl<'a> Asked<'a> {
    fn of(submissions: &[&'a Submission]) -> Self {
        let mut asked = Self::default();
        for submission in submissions {
            match &submission.attempt.subject {
                Subject::Device(name) => asked.devices.push(name.as_str()),
                Subject::User(name) => asked.people.push(name.canonical()),
            }
            if let Ask::Login { login, .. } = submission.attempt.ask {
                asked.logins.push(login.0);
            }
            let ticket = submission.idempotency.as_ref();
            asked.tickets.extend(ticket.map(|ticket| &ticket.id[..]));
            let key = submission.key_id.as_ref();
            asked.keys.extend(key.map(|id| (&**id, id)));
        }
        asked
    }

    fn head(&self, line: &Line) -> Call<'a> {
        let keys: Vec<&str> = self.keys.keys().copied().collect();
        match keys.is_empty() {
            true => line.own_head(OWN_HEAD),
            false => line.own_head(OWN_HEAD_AND_DEAD_KEYS).with(keys),
        }
    }

    fn calls(&self, line: &Line) -> Vec<Call<'a>> {
        let devices = || self.devices.clone();
        let people = || self.people.clone();
        let lock = match self.people.is_empty() {
            true => Call::new(LOCK_FREE).with(devices()),
            false => Call::new(LOCK_MIXED).with(devices()).with(people()),
        };
        let mut calls = vec![
            Call::new(BEGIN),
            lock,
            self.head(line),
            Call::new(DEVICES).with(devices()),
        ];
        if !self.people.is_empty() {
            calls.extend([
                Call::new(PEOPLE).with(people()),
                Call::new(OWN_DEVICES).with(people()),
                Call::new(CHALLENGES).with(people()),
                Call::new(LOGINS).with(self.logins.clone()),
                Call::new(RECOVERY).with(people()),
            ]);
        }
        if !self.tickets.is_empty() {
            calls.push(Call::new(KEPT).with(self.tickets.clone()));
        }
        calls
    }
}

/// Reads the rows of [`OWN_HEAD`].
pub(super) fn read_head(rows: &[Row]) -> Result<Option<OwnHead>, StoreError> {
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let head = Head {
        seq: field(row, 0)?,
        link: Link(fixed(field(row, 1)?)?),
    };
    Ok(Some(OwnHead {
        head,
        clock: Time::from_millis(field(row, 2)?),
        mark: field::<Option<i64>>(row, 3)?.map(Time::from_millis),
    }))
}

/// Reads what the rows of [`OWN_HEAD_AND_DEAD_KEYS`] have besides: which of `keys` are no
/// longer good.
fn read_dead_keys(
    rows: &[Row],
    keys: &HashMap<&str, &Arc<str>>,
) -> Result<HashSet<Arc<str>>, StoreError> {
    let mut dead = HashSet::new();
    for row in rows {
        let found: Vec<&str> = field(row, 4)?;
        dead.extend(found.iter().filter_map(|id| keys.get(id).copied().cloned()));
    }
    Ok(dead)
}

/// Devices with a locked guard, and the names of the others.
fn place_devices(
    rows: &[Row],
    guards: &Guards,
    loaded: &mut Loaded,
    taken: &mut HashSet<Subject>,
) -> Result<(), StoreError> {
    for row in rows {
        let device = read_device(row)?;
        match guards.get(&device.user.0) {
            Some(guard) => loaded.add(device, || guard.clone()),
            // Also a device registered anew, for another user, since the locks.
            None => drop(taken.insert(Subject::Device(device.name))),
        }
    }
    Ok(())
}

/// The same for people.
fn place_people(
    rows: &[Row],
    guards: &Guards,
    loaded: &mut Loaded,
    taken: &mut HashSet<Subject>,
) -> Result<(), StoreError> {
    for row in rows {
        let id: i64 = field(row, 0)?;
        let name = UserName::parse(field(row, 1)?);
        let name = name.map_err(|_| StoreError::Corrupt("a user row".into()))?;
        match guards.get(&id) {
            Some(guard) => loaded.add_person(UserId(id), name, guard.clone()),
            None => drop(taken.insert(Subject::User(name))),
        }
    }
    Ok(())
}

fn read_challenge(row: &Row) -> Result<Challenge, StoreError> {
    let fields = Fields {
        id: field(row, 0)?,
        user: field(row, 1)?,
        kind: field(row, 2)?,
        hash: field(row, 3)?,
        created_at: field(row, 4)?,
        expires_at: field(row, 5)?,
        uses_left: field(row, 6)?,
        failures: field(row, 7)?,
        locked_until: field(row, 8)?,
        day: field(row, 9)?,
        day_failures: field(row, 10)?,
    };
    fields.challenge()
}

fn read_guard(row: &Row) -> Result<(i64, Guard), StoreError> {
    let guard = guard(
        field(row, 1)?,
        field(row, 2)?,
        field(row, 3)?,
        field(row, 4)?,
        (field(row, 5)?, field(row, 6)?),
    )?;
    Ok((field(row, 0)?, guard))
}

fn read_kept(row: &Row) -> Result<([u8; 32], Kept), StoreError> {
    let kept = Kept {
        fingerprint: fixed(field(row, 1)?)?,
        answer: field(row, 2)?,
    };
    Ok((fixed(field(row, 0)?)?, kept))
}

fn fixed(bytes: &[u8]) -> Result<[u8; 32], StoreError> {
    bytes
        .try_into()
        .map_err(|_| StoreError::Corrupt("a hash of a wrong length".into()))
}

fn read_device(row: &Row) -> Result<Device, StoreError> {
    let corrupt = || StoreError::Corrupt("a device row".into());
    let facts = Facts {
        kind: field(row, 4)?,
        algorithm: field(row, 5)?,
        digits: field(row, 6)?,
        period: field(row, 7)?,
        pending_until: field(row, 11)?,
        deactivated_at: field(row, 12)?,
    };
    Ok(Device {
        id: DeviceId(field(row, 0)?),
        user: UserId(field(row, 1)?),
        name: DeviceName::parse(field(row, 2)?).map_err(|_| corrupt())?,
        owner: field(row, 3)?,
        kind: facts.kind()?,
        algorithm: facts.algorithm()?,
        digits: facts.digits()?,
        policy: field(row, 8)?,
        state: facts.state(),
        key: SealedKey {
            version: u32::try_from(field::<i64>(row, 9)?).map_err(|_| corrupt())?,
            bytes: field(row, 10)?,
        },
        hot: Hot {
            next: field(row, 13)?,
            used: field(row, 14)?,
            last_used: field::<Option<i64>>(row, 15)?.map(Time::from_millis),
            drift_ms: field(row, 16)?,
            replayed: field(row, 17)?,
        },
    })
}
