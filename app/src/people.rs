//! People: who is known, what is stored about them, and how all of it is erased.

use domain::{Action, Event, Guard, Time, UserId, UserName};
use serde::Serialize;
use store::{Batch, Refusal, StoreError, StoredMail, StoredPerson, StoredSession};

use crate::audit::{AuditEntry, AuditQuery};
use crate::context::Context;
use crate::devices::{AsView, DeviceView, TRIES};
use crate::page::Page;
use crate::{App, Error};

/// Audit records in one export; a cursor leads to older ones.
const MOST_RECORDS: usize = 10_000;
/// Audit records read at once.
const RECORDS_A_PAGE: u32 = 200;

/// A person as services and the helpdesk see them: never a secret.
#[derive(Serialize)]
pub struct PersonView {
    /// The canonical name.
    pub user_id: String,
    /// When they were first heard of.
    pub created_at: String,
    /// `open`, `locked` (time will open it) or `disabled` (an administrator, a recovery
    /// code or a pass has to).
    pub state: &'static str,
    /// The end of the lock.
    pub locked_until: Option<String>,
    /// Wrong codes since the last right one.
    pub failed_attempts: u32,
    /// An authenticator is in force.
    pub two_factor_enabled: bool,
    /// How they can prove who they are: `pwd`, `otp`, `recovery`.
    pub methods: Vec<&'static str>,
    /// Authenticators in force.
    pub active_devices: i64,
    /// Authenticators that wait for their confirmation.
    pub pending_devices: i64,
    /// Recovery codes that can still be used: none while no authenticator is in force.
    pub recovery_codes_left: i64,
    /// When a code of an authenticator was last accepted.
    pub last_verified_at: Option<String>,
}

/// A person with their devices.
#[derive(Serialize)]
pub struct PersonDetail {
    /// The person.
    #[serde(flatten)]
    pub person: PersonView,
    /// All of their devices.
    pub devices: Vec<DeviceView>,
}

/// All that is stored about a person.
#[derive(Serialize)]
pub struct PersonExport {
    /// The person and their devices.
    #[serde(flatten)]
    pub detail: PersonDetail,
    /// The account, when there is one.
    pub account: Option<AccountView>,
    /// Sessions that are stored.
    pub sessions: Vec<SessionView>,
    /// Codes, passes and logins that wait for an answer, by kind.
    pub waiting: Vec<WaitingView>,
    /// Mails that wait to be handed over, without what is in them.
    pub mails: Vec<MailView>,
    /// Audit records, newest first.
    pub audit: Vec<AuditEntry>,
    /// Where `GET /api/v1/audit?user_id=` goes on, when there are more records.
    pub audit_next_cursor: Option<String>,
}

/// An account: the name as it was given at signup, and times.
#[derive(Serialize)]
pub struct AccountView {
    /// The name as it was given.
    pub username: String,
    /// When it was made.
    pub created_at: String,
    /// When its password was set.
    pub password_changed_at: String,
}

/// A stored session.
#[derive(Serialize)]
pub struct SessionView {
    /// How it was opened.
    pub amr: Vec<String>,
    /// When.
    pub created_at: String,
    /// Its end by time.
    pub expires_at: String,
    /// When it was ended before.
    pub ended_at: Option<String>,
}

/// How many of a kind wait.
#[derive(Serialize)]
pub struct WaitingView {
    /// `issued`, `emailed`, `pass`, `login` or `enrolment`.
    pub kind: String,
    /// How many.
    pub count: i64,
}

/// A mail that waits.
#[derive(Serialize)]
pub struct MailView {
    /// Always `code`: no other mails are sent.
    pub kind: &'static str,
    /// When it was posted.
    pub created_at: String,
    /// When it is tried again.
    pub next_try: String,
    /// How often it was tried.
    pub tries: i64,
}

/// The answer to an erasure.
#[derive(Serialize)]
pub struct Erased {
    /// Always true.
    pub erased: bool,
    /// Audit records whose personal fields were removed.
    pub audit_records: u64,
}

/// What a list of people asks for.
#[derive(Default)]
pub struct PeopleQuery {
    /// From where an earlier page ended.
    pub cursor: Option<String>,
    /// 1 to 200.
    pub limit: u32,
}

impl App {
    /// Everybody, the newest first.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a cursor that is none of ours.
    pub async fn people(&self, query: &PeopleQuery) -> Result<Page<PersonView>, Error> {
        let cursor = |text: &String| {
            let id = text.parse().ok().filter(|id| *id > 0);
            id.ok_or_else(|| Error::invalid("?cursor", "This is not a cursor of this list."))
        };
        let after = query.cursor.as_ref().map(cursor).transpose()?;
        let after = UserId(after.unwrap_or(i64::MAX));
        let now = self.store.now().await?;
        let people = self.store.people(after, i64::from(query.limit) + 1).await?;
        Page::cut(people, query.limit, |person| person.id.0.to_string())
            .map(|person| Ok(view(person, now)))
    }

    /// One person.
    ///
    /// # Errors
    /// [`Error::UserNotFound`].
    pub async fn person(&self, name: &UserName) -> Result<PersonDetail, Error> {
        let person = self.store.person(name).await?;
        self.detail(&person.ok_or(Error::UserNotFound)?).await
    }

    async fn detail(&self, person: &StoredPerson) -> Result<PersonDetail, Error> {
        let now = self.store.now().await?;
        let devices = self.store.devices_of(person.id).await?;
        let devices = devices.iter().map(|device| device.as_view(now));
        Ok(PersonDetail {
            devices: devices.collect::<Result<_, _>>()?,
            person: view(person, now),
        })
    }

    /// All that is stored about a person. That it was handed out is recorded.
    ///
    /// # Errors
    /// [`Error::UserNotFound`].
    pub async fn export(&self, context: &Context, name: &UserName) -> Result<PersonExport, Error> {
        let person = self.store.person(name).await?;
        let person = person.ok_or(Error::UserNotFound)?;
        let account = self.store.account(name).await?;
        let sessions = self.store.sessions_of(person.id).await?;
        let waiting = self.store.passes_of(person.id).await?;
        let mails = self.store.mails_of(person.id).await?;
        let (audit, audit_next_cursor) = self.records_of(name).await?;
        let export = PersonExport {
            detail: self.detail(&person).await?,
            account: account.map(|account| AccountView {
                username: account.shown,
                created_at: account.created_at.to_rfc3339(),
                password_changed_at: account.changed_at.to_rfc3339(),
            }),
            sessions: sessions.into_iter().map(session).collect(),
            waiting: waiting
                .into_iter()
                .map(|(kind, count)| WaitingView { kind, count })
                .collect(),
            mails: mails.iter().map(mail).collect(),
            audit,
            audit_next_cursor,
        };
        let mut batch = Batch::new();
        let event = Event::new(Action::UserExported, true, &context.origin())
            .about_user(person.id, name.canonical());
        batch.record(event);
        self.store.commit(batch).await?;
        Ok(export)
    }

    async fn records_of(
        &self,
        name: &UserName,
    ) -> Result<(Vec<AuditEntry>, Option<String>), Error> {
        let mut query = AuditQuery {
            user: Some(name.clone()),
            limit: RECORDS_A_PAGE,
            ..AuditQuery::default()
        };
        let mut records = Vec::new();
        loop {
            let page = self.search_audit(&query).await?;
            records.extend(page.data);
            if page.next_cursor.is_none() || records.len() >= MOST_RECORDS {
                return Ok((records, page.next_cursor));
            }
            query.cursor = page.next_cursor;
        }
    }

    /// Removes all that is stored about a person and the personal fields of their audit
    /// records, which go on proving. May be called again when it was interrupted.
    ///
    /// # Errors
    /// [`Error::UserNotFound`] when neither the person nor a record of them is left.
    pub async fn erase(&self, context: &Context, name: &UserName) -> Result<Erased, Error> {
        let audit_records = match self.store.user_by_name(name).await? {
            Some(user) => {
                let mut batch = Batch::new();
                batch.erase_person(user);
                batch.record(erasure(user, context));
                let at = match self.store.commit(batch).await {
                    Ok(at) => at,
                    Err(StoreError::Refused(Refusal::UserGone)) => return Err(Error::UserNotFound),
                    Err(error) => return Err(error.into()),
                };
                self.blank_user(user, name.canonical(), at, context).await?
            }
            None => self.finish_erasure(context, name).await?,
        };
        self.erase_traces(name).await?;
        Ok(Erased {
            erased: true,
            audit_records,
        })
    }

    /// Removes what is not in rows: files of mails, and what the database's log keeps of
    /// the deleted rows.
    async fn erase_traces(&self, name: &UserName) -> Result<(), Error> {
        if let Some(address) = name.canonical().strip_prefix("email:") {
            let forgotten = self.mailroom.forget(address).await;
            forgotten.map_err(|error| Error::Internal(Box::new(error)))?;
        }
        for _ in 0..TRIES {
            if self.store.empty_log().await? {
                return Ok(());
            }
        }
        // A long read holds it: it is written back in time, and at the next erasure.
        tracing::warn!("deleted rows remain in the database's log until it is written back");
        Ok(())
    }

    /// Blanks the records of a person whose rows an interrupted erasure has removed.
    async fn finish_erasure(&self, context: &Context, name: &UserName) -> Result<u64, Error> {
        let left = self.users_in_audit(name.canonical()).await?;
        if left.is_empty() {
            return Err(Error::UserNotFound);
        }
        let mut count = 0;
        for user in left {
            let at = self.record_erasure(user, context).await?;
            count += self.blank_user(user, name.canonical(), at, context).await?;
        }
        Ok(count)
    }
}

/// The record of an erasure names nobody.
pub(crate) fn erasure(user: UserId, context: &Context) -> Event {
    let mut event = Event::new(Action::UserErased, true, &context.origin());
    event.user = Some(user);
    event
}

fn view(person: &StoredPerson, now: Time) -> PersonView {
    let two_factor_enabled = person.active_devices > 0;
    // They stand for a factor that is in force.
    let recovery_codes_left = match two_factor_enabled {
        true => person.recovery_codes_left,
        false => 0,
    };
    let mut methods = Vec::new();
    methods.extend(person.has_account.then_some("pwd"));
    methods.extend(two_factor_enabled.then_some("otp"));
    methods.extend((recovery_codes_left > 0).then_some("recovery"));
    let locked_until = person.guard.locked_until.filter(|until| *until > now);
    PersonView {
        user_id: person.name.clone(),
        created_at: person.created_at.to_rfc3339(),
        state: state(&person.guard, now),
        locked_until: locked_until.map(Time::to_rfc3339),
        failed_attempts: person.guard.failures,
        two_factor_enabled,
        methods,
        active_devices: person.active_devices,
        pending_devices: person.pending_devices,
        recovery_codes_left,
        last_verified_at: person.last_verified_at.map(Time::to_rfc3339),
    }
}

fn state(guard: &Guard, now: Time) -> &'static str {
    use domain::guard::Standing;
    match guard.standing(now) {
        Standing::Open => "open",
        Standing::Locked(_) => "locked",
        Standing::Disabled => "disabled",
    }
}

fn mail(stored: &StoredMail) -> MailView {
    MailView {
        kind: "code",
        created_at: stored.created_at.to_rfc3339(),
        next_try: stored.next_try.to_rfc3339(),
        tries: stored.tries,
    }
}

fn session(stored: StoredSession) -> SessionView {
    SessionView {
        amr: stored.amr.split(' ').map(str::to_owned).collect(),
        created_at: stored.created_at.to_rfc3339(),
        expires_at: stored.expires_at.to_rfc3339(),
        ended_at: stored.ended_at.map(Time::to_rfc3339),
    }
}
