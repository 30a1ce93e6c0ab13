//! Codes by email: asking for one, and logging in with it.

use app::{Code, EmailCodeSent};
use domain::{EmailAddress, EmailLevel};

use super::accounts::Begun;
use crate::answer::{Bare, Outcome};
use crate::input::{CODE_6, Field, Fields, Input, line_of, string};
use crate::schema::{Member, Shape, integer, member, pattern, text};
use crate::visitor::Visitor;

/// As long as the name of a level can be.
const LONGEST_LEVEL: usize = 32;

const EMAIL: Field<EmailAddress> = Field {
    about: "One plain email address: a name of 64 bytes at most, `@`, a domain. Spellings that differ in case only are one address.",
    // What is a domain is too much for a pattern.
    schema: || pattern("^[^\\s@\"(),:;<>\\[\\]\\\\]+@[^\\s@\"(),:;<>\\[\\]\\\\]+$"),
    parse: |value| EmailAddress::parse(string(value)?).map_err(|error| error.to_string()),
};

const LEVEL: Field<String> = Field {
    about: "A named set of lifetime and digits from the configuration.",
    schema: || pattern("^[a-z0-9_-]{1,32}$"),
    parse: |value| line_of(value, LONGEST_LEVEL),
};

/// Where a code shall go, and what it shall be like.
pub(crate) struct Wanted {
    address: EmailAddress,
    level: EmailLevel,
}

pub(crate) async fn request(
    visitor: Visitor,
    Wanted { address, level }: Wanted,
) -> Outcome<Bare<EmailCodeSent, 202>> {
    let (context, source) = (&visitor.context, visitor.source);
    let app = visitor.app();
    let sent = app.request_email_code(context, source, &address, level);
    Ok(Bare(sent.await?))
}

/// An address and what was sent to it.
pub(crate) struct Proof(EmailAddress, Code);

pub(crate) async fn verify(visitor: Visitor, Proof(address, code): Proof) -> Outcome<Begun> {
    let (context, source) = (&visitor.context, visitor.source);
    let app = visitor.app();
    let step = app.log_in_by_email(context, source, &address, code).await?;
    Ok(Begun::of(&visitor, step))
}

impl Input for Wanted {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let address = fields.required("email", &EMAIL);
        let name = fields.optional("level", &LEVEL);
        let levels = &fields.settings()?.mail.levels;
        let level = levels.of(name.as_deref());
        if level.is_none() {
            fields.fault("/level", "There is no level of that name.");
        }
        Some(Self {
            address: address?,
            level: level?,
        })
    }
}

impl Input for Proof {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let address = fields.required("email", &EMAIL);
        let code = fields.required("otp_code", &CODE_6);
        Some(Self(address?, code?))
    }
}

impl Shape for EmailCodeSent {
    const NAME: &'static str = "EmailCodeSent";

    fn members() -> Vec<Member> {
        let wait = "Seconds until another code can be asked for. Asked earlier, no second mail is sent, and this answer tells of the first one.";
        vec![
            member("message", text(), "A sentence for people."),
            member(
                "expires_in",
                integer(),
                "Seconds that the code can still be used.",
            ),
            member("resend_after", integer(), wait),
        ]
    }
}
