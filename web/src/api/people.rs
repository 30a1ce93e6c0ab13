//! People: list, look at, export, erase.

use app::audit::AuditEntry;
use app::{
    AccountView, DeviceView, Erased, MailView, Page, PeopleQuery, PersonDetail, PersonExport,
    PersonView, SessionView, WaitingView,
};

use super::devices::USUAL_LIMIT;
use crate::allowed::{Allowed, UsersRead, UsersWrite};
use crate::answer::{Done, Outcome};
use crate::input::{ABOUT_CURSOR, Field, Fields, Input, LIMIT, USER_ID, User, cursor};
use crate::schema::{
    Member, Shape, constant, flag, integer, list, member, nullable, object, pattern, text, time,
    words,
};

const CURSOR: Field<String> = Field {
    about: ABOUT_CURSOR,
    schema: || pattern("^[1-9][0-9]{0,17}$"),
    parse: |value| cursor(value, 1..=18, u8::is_ascii_digit),
};

/// The user of the path.
pub(crate) struct Person(User);

pub(crate) async fn list_all(
    call: Allowed<UsersRead>,
    query: PeopleQuery,
) -> Outcome<Page<PersonView>> {
    Ok(call.app().people(&query).await?)
}

pub(crate) async fn show(
    call: Allowed<UsersRead>,
    Person(user): Person,
) -> Outcome<Done<PersonDetail>> {
    let mut person = call.app().person(&user.name).await?;
    person.person.user_id = spelled(&user);
    Ok(Done::new("User found", person))
}

pub(crate) async fn export(
    call: Allowed<UsersWrite>,
    Person(user): Person,
) -> Outcome<Done<PersonExport>> {
    let mut export = call.app().export(&call.context, &user.name).await?;
    export.detail.person.user_id = spelled(&user);
    Ok(Done::new("All that is stored about the user", export))
}

pub(crate) async fn erase(
    call: Allowed<UsersWrite>,
    Person(user): Person,
) -> Outcome<Done<Erased>> {
    let erased = call.app().erase(&call.context, &user.name).await?;
    Ok(Done::new("User erased successfully", erased))
}

/// The name as the caller writes it, which an answer gives back.
fn spelled(user: &User) -> String {
    let shown = serde_json::from_str(user.shown.get());
    shown.unwrap_or_else(|_| user.name.canonical().to_owned())
}

impl Input for Person {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        fields.path("user_id", &USER_ID).map(Self)
    }
}

impl Input for PeopleQuery {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            limit: fields.query("limit", &LIMIT).unwrap_or(USUAL_LIMIT),
            cursor: fields.query("cursor", &CURSOR),
        })
    }
}

impl Shape for PersonView {
    const NAME: &'static str = "User";

    fn members() -> Vec<Member> {
        let states = words(["open", "locked", "disabled"]);
        let methods = list(words(["pwd", "otp", "recovery"]));
        vec![
            member(
                "user_id",
                text(),
                "As the caller writes it; in a list, the canonical name.",
            ),
            member("created_at", time(), "When they were first heard of."),
            member(
                "state",
                states,
                "Whether codes are judged: `locked` ends by time, `disabled` needs somebody to open it.",
            ),
            member("locked_until", nullable(time()), "The end of the lock."),
            member(
                "failed_attempts",
                integer(),
                "Wrong codes since the last right one.",
            ),
            member(
                "two_factor_enabled",
                flag(),
                "An authenticator is in force.",
            ),
            member("methods", methods, "How they can prove who they are."),
            member("active_devices", integer(), "Authenticators in force."),
            member(
                "pending_devices",
                integer(),
                "Authenticators that wait for their confirmation.",
            ),
            member("recovery_codes_left", integer(), "Recovery codes not used."),
            member(
                "last_verified_at",
                nullable(time()),
                "When a code of an authenticator was last accepted.",
            ),
        ]
    }
}

impl Shape for PersonDetail {
    const NAME: &'static str = "UserDetail";

    fn members() -> Vec<Member> {
        let mut members = PersonView::members();
        let devices = list(DeviceView::reference());
        members.push(member("devices", devices, "All of their devices."));
        members
    }
}

impl Shape for PersonExport {
    const NAME: &'static str = "UserExport";

    fn members() -> Vec<Member> {
        let mut members = PersonDetail::members();
        let account = nullable(object(AccountView::members()));
        let sessions = list(object(SessionView::members()));
        let waiting = list(object(WaitingView::members()));
        let mails = list(object(MailView::members()));
        let more = "Where `GET /api/v1/audit?user_id=` goes on, when there are more.";
        members.extend([
            member("account", account, "The account, when there is one."),
            member("sessions", sessions, "Sessions that are stored."),
            member("waiting", waiting, "What waits for an answer."),
            member(
                "mails",
                mails,
                "Mails that wait to be handed over, without what is in them.",
            ),
            member(
                "audit",
                list(AuditEntry::reference()),
                "Audit records, newest first.",
            ),
            member("audit_next_cursor", nullable(text()), more),
        ]);
        members
    }
}

impl Shape for AccountView {
    const NAME: &'static str = "Account";

    fn members() -> Vec<Member> {
        vec![
            member("username", text(), "The name as it was given."),
            member("created_at", time(), "When it was made."),
            member("password_changed_at", time(), "When its password was set."),
        ]
    }
}

impl Shape for SessionView {
    const NAME: &'static str = "Session";

    fn members() -> Vec<Member> {
        vec![
            member("amr", list(text()), "How it was opened (RFC 8176)."),
            member("created_at", time(), "When."),
            member("expires_at", time(), "Its end by time."),
            member("ended_at", nullable(time()), "When it was ended before."),
        ]
    }
}

impl Shape for WaitingView {
    const NAME: &'static str = "Waiting";

    fn members() -> Vec<Member> {
        let kinds = words(["issued", "emailed", "pass", "login", "enrolment"]);
        vec![
            member("kind", kinds, "What it is about."),
            member("count", integer(), "How many."),
        ]
    }
}

impl Shape for MailView {
    const NAME: &'static str = "WaitingMail";

    fn members() -> Vec<Member> {
        vec![
            member("kind", words(["code"]), "What is in it."),
            member("created_at", time(), "When it was posted."),
            member("next_try", time(), "When it is tried again."),
            member("tries", integer(), "How often it was tried."),
        ]
    }
}

impl Shape for Erased {
    const NAME: &'static str = "UserErased";

    fn members() -> Vec<Member> {
        let records = "Audit records whose personal fields were removed.";
        vec![
            member("erased", constant(true), "Nothing about them is left."),
            member("audit_records", integer(), records),
        ]
    }
}
