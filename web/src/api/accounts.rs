//! Accounts: signing up, and logging in in one or two steps.

use app::{FirstStep, NewAccount, Password, SecondStep, SignedUp, Tokens};
use axum::body::Body;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderValue, Response, StatusCode};
use domain::UserName;
use utoipa::openapi::{OneOf, RefOr, Schema};

use crate::answer::{Bare, Outcome, Output, json};
use crate::input::{
    FACTOR, Field, Fields, Input, NEW_PASSWORD, PASSWORD, USER_NAME, flag, line_of, string,
};
use crate::schema::{
    Member, Shape, constant, integer, list_of, maybe, member, nullable, object, pattern, text,
    words,
};
use crate::visitor::Visitor;

/// The longest token of a login that is looked at, in characters.
const LONGEST_TOKEN: usize = 8192;

/// A name with the spelling that it came with.
const NEW_NAME: Field<(UserName, String)> = Field {
    about: USER_NAME.about,
    schema: USER_NAME.schema,
    parse: |value| Ok(((USER_NAME.parse)(value)?, string(value)?.to_owned())),
};

const ENABLE_MFA: Field<bool> = Field {
    about: "With a second factor, in force at once; false unless told.",
    schema: crate::schema::flag,
    parse: flag,
};

const MFA_TOKEN: Field<String> = Field {
    about: "The `mfa_token` of the first step. Without it the cookie of the first step will do.",
    schema: || pattern("^[!-~]{1,8192}$"),
    parse: |value| line_of(value, LONGEST_TOKEN),
};

pub(crate) async fn sign_up(visitor: Visitor, new: NewAccount) -> Outcome<Bare<SignedUp, 201>> {
    let made = visitor
        .app()
        .sign_up(&visitor.context, visitor.source, new)
        .await?;
    Ok(Bare(made))
}

/// A name and a password.
pub(crate) struct Credentials(UserName, Password);

/// What came of a first step, with the cookie that remembers a login that waits.
pub(crate) struct Begun {
    step: FirstStep,
    cookie: Option<HeaderValue>,
}

impl Begun {
    /// The answer to that visitor.
    pub(crate) fn of(visitor: &Visitor, step: FirstStep) -> Self {
        let cookie = match &step {
            FirstStep::Done(_) => None,
            FirstStep::Pending(it) => visitor.login_cookie(&it.mfa_token, it.expires_in),
        };
        Self { step, cookie }
    }
}

pub(crate) async fn log_in(
    visitor: Visitor,
    Credentials(name, password): Credentials,
) -> Outcome<Begun> {
    let (context, source) = (&visitor.context, visitor.source);
    let app = visitor.app();
    let step = app.log_in(context, source, &name, password).await?;
    Ok(Begun::of(&visitor, step))
}

/// The login is complete; its cookie is forgotten.
pub(crate) struct Completed {
    tokens: Tokens,
    cookie: Option<HeaderValue>,
}

pub(crate) async fn second_step(visitor: Visitor, mut step: SecondStep) -> Outcome<Completed> {
    step.mfa_token = step.mfa_token.or_else(|| visitor.login.clone());
    let (context, source) = (&visitor.context, visitor.source);
    let tokens = visitor.app().second_step(context, source, &step).await?;
    let cookie = visitor.login_cookie("", 0);
    Ok(Completed { tokens, cookie })
}

impl Input for NewAccount {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let name = fields.required("username", &NEW_NAME);
        let password = fields.required("password", &NEW_PASSWORD);
        let enable_mfa = fields.optional("enable_mfa", &ENABLE_MFA);
        let new = Self::of(name, password, enable_mfa.unwrap_or(false));
        new.map_err(|faults| fields.faults(faults)).ok()
    }
}

impl Input for Credentials {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let name = fields.required("username", &USER_NAME);
        let password = fields.required("password", &PASSWORD);
        Some(Self(name?, password?))
    }
}

impl Input for SecondStep {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let name = fields.required("username", &USER_NAME);
        let factor = fields.required("token", &FACTOR);
        let mfa_token = fields.optional("mfa_token", &MFA_TOKEN);
        Some(Self {
            name: name?,
            factor: factor?,
            mfa_token,
        })
    }
}

impl Output for Begun {
    const STATUSES: &'static [StatusCode] = &[StatusCode::OK];
    const SETS_COOKIE: bool = true;

    fn schema() -> RefOr<Schema> {
        let mut either = OneOf::new();
        either.items = vec![Tokens::reference(), app::Pending::reference()];
        Schema::OneOf(either).into()
    }

    fn shapes() -> Vec<(&'static str, Schema)> {
        vec![
            (Tokens::NAME, object(Tokens::members())),
            (app::Pending::NAME, object(app::Pending::members())),
        ]
    }

    fn into_response(self) -> Outcome<Response<Body>> {
        with_cookie(json(&self.step)?, self.cookie)
    }
}

impl Output for Completed {
    const STATUSES: &'static [StatusCode] = &[StatusCode::OK];
    const SETS_COOKIE: bool = true;

    fn schema() -> RefOr<Schema> {
        Tokens::reference()
    }

    fn shapes() -> Vec<(&'static str, Schema)> {
        vec![(Tokens::NAME, object(Tokens::members()))]
    }

    fn into_response(self) -> Outcome<Response<Body>> {
        with_cookie(json(&self.tokens)?, self.cookie)
    }
}

fn with_cookie(
    mut response: Response<Body>,
    cookie: Option<HeaderValue>,
) -> Outcome<Response<Body>> {
    if let Some(cookie) = cookie {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    Ok(response)
}

impl Shape for SignedUp {
    const NAME: &'static str = "SignedUp";

    fn members() -> Vec<Member> {
        let uri = "For the authenticator app. Shown once; as a QR code until the first right code.";
        let token = "The right to see the QR code.";
        let codes = "Each is good for one use. Shown once.";
        vec![
            member("message", text(), "A sentence for people."),
            member(
                "mfa_enabled",
                crate::schema::flag(),
                "A second factor is in force.",
            ),
            member("provisioning_uri", nullable(text()), uri),
            member("enrollment_token", nullable(text()), token),
            member("recovery_codes", nullable(list_of(text(), 10, 10)), codes),
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

impl Shape for app::Pending {
    const NAME: &'static str = "PendingLogin";

    fn members() -> Vec<Member> {
        let about = "To be given back with the second factor. Also set as a cookie.";
        vec![
            member("mfa_required", constant(true), "A second factor is needed."),
            member("message", text(), "A sentence for people."),
            member("mfa_token", text(), about),
            member("expires_in", integer(), "Seconds that the login waits."),
            maybe(
                "username",
                text(),
                "After an emailed code: the name that `/login-2fa` takes, `email:` and the address.",
            ),
        ]
    }
}
