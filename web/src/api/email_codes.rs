//! Codes by email: asking for one, and logging in with it.

use app::{Code, EmailCodeSent, EmailLogin, PendingEmailLogin, Tokens};
use axum::body::Body;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderValue, Response, StatusCode};
use domain::{EmailAddress, EmailLevel};
use utoipa::openapi::{OneOf, RefOr, Schema};

use crate::answer::{Bare, Outcome, Output, json};
use crate::input::{CODE_6, Field, Fields, Input, line_of, string};
use crate::schema::{Member, Shape, constant, integer, member, object, pattern, text, words};
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

/// What came of a code, with the cookie that remembers a login that waits.
pub(crate) struct LoggedIn {
    login: EmailLogin,
    cookie: Option<HeaderValue>,
}

pub(crate) async fn verify(visitor: Visitor, Proof(address, code): Proof) -> Outcome<LoggedIn> {
    let (context, source) = (&visitor.context, visitor.source);
    let app = visitor.app();
    let login = app.log_in_by_email(context, source, &address, code).await?;
    let cookie = match &login {
        EmailLogin::Done(_) => None,
        EmailLogin::Pending(it) => visitor.login_cookie(&it.mfa_token, it.expires_in),
    };
    Ok(LoggedIn { login, cookie })
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

impl Output for LoggedIn {
    const STATUSES: &'static [StatusCode] = &[StatusCode::OK];
    const SETS_COOKIE: bool = true;

    fn schema() -> RefOr<Schema> {
        let mut either = OneOf::new();
        either.items = vec![Tokens::reference(), PendingEmailLogin::reference()];
        Schema::OneOf(either).into()
    }

    fn shapes() -> Vec<(&'static str, Schema)> {
        let pending = object(PendingEmailLogin::members());
        vec![
            (Tokens::NAME, object(Tokens::members())),
            (PendingEmailLogin::NAME, pending),
        ]
    }

    fn into_response(self) -> Outcome<Response<Body>> {
        let mut response = json(&self.login)?;
        if let Some(cookie) = self.cookie {
            response.headers_mut().insert(SET_COOKIE, cookie);
        }
        Ok(response)
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

impl Shape for Tokens {
    const NAME: &'static str = "Tokens";

    fn members() -> Vec<Member> {
        let about = "An access token: a JWT (RFC 9068) that the published keys verify.";
        vec![
            member("access_token", text(), about),
            member("token", text(), "The same."),
            member("token_type", words(["bearer"]), "How to send it."),
            member("expires_in", integer(), "Seconds that it lives."),
        ]
    }
}

impl Shape for PendingEmailLogin {
    const NAME: &'static str = "PendingLogin";

    fn members() -> Vec<Member> {
        let about = "To be given back with the second factor. Also set as a cookie.";
        vec![
            member("mfa_required", constant(true), "A second factor is needed."),
            member("message", text(), "A sentence for people."),
            member("mfa_token", text(), about),
            member("expires_in", integer(), "Seconds that the login waits."),
        ]
    }
}
