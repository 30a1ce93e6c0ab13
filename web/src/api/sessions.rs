//! Access tokens: ending a session, asking about one, and the keys that signed them.

use std::sync::Arc;

use app::{Introspection, JWKS_MAX_AGE};
use axum::body::Body;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderValue, Response, StatusCode};
use serde::Serialize;
use serde_json::Value;
use utoipa::openapi::{RefOr, Schema};

use crate::allowed::{Allowed, KeysWrite, OtpVerify};
use crate::answer::{Bare, Done, Outcome, Output, json};
use crate::front::Front;
use crate::input::{Field, Fields, Input, line_of};
use crate::schema::{
    Member, Shape, constant, flag, integer, list, maybe, member, object, pattern, text, words,
};
use crate::visitor::Visitor;

/// The longest token that is looked at, in characters.
const LONGEST_TOKEN: usize = 8192;

const TOKEN: Field<String> = Field {
    about: "The token.",
    schema: || pattern("^[!-~]{1,8192}$"),
    parse: |value| line_of(value, LONGEST_TOKEN),
};

const HINT: Field<String> = Field {
    about: "What kind of token it is; ignored.",
    ..TOKEN
};

/// The published keys (RFC 7517), which others may keep for a while.
pub(crate) struct Jwks(Value);

pub(crate) async fn jwks(front: Arc<Front>) -> Outcome<Jwks> {
    Ok(Jwks(front.app.published_keys().await?))
}

/// The session is ended.
#[derive(Serialize)]
pub(crate) struct LoggedOut {
    message: &'static str,
}

pub(crate) async fn log_out(visitor: Visitor, (): ()) -> Outcome<Bare<LoggedOut, 200>> {
    let (app, bearer) = (visitor.app(), visitor.bearer.as_deref());
    app.log_out(&visitor.context, visitor.source, bearer)
        .await?;
    let message = "Logged out";
    Ok(Bare(LoggedOut { message }))
}

/// A token that a service asks about.
pub(crate) struct Asked(String);

/// What is known of it.
pub(crate) struct Introspected(Introspection);

pub(crate) async fn introspect(
    call: Allowed<OtpVerify>,
    Asked(token): Asked,
) -> Outcome<Introspected> {
    Ok(Introspected(call.app().introspect(&token).await?))
}

/// The next signing keys are in use.
#[derive(Serialize)]
pub(crate) struct Rotated {
    rotated: bool,
}

pub(crate) async fn rotate(call: Allowed<KeysWrite>, (): ()) -> Outcome<Done<Rotated>> {
    call.app().rotate_signing_keys(&call.context).await?;
    Ok(Done::new("Signing keys rotated", Rotated { rotated: true }))
}

impl Input for Asked {
    const FORM: bool = true;

    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let token = fields.required("token", &TOKEN);
        fields.optional("token_type_hint", &HINT);
        Some(Self(token?))
    }
}

impl Output for Jwks {
    const STATUSES: &'static [StatusCode] = &[StatusCode::OK];

    fn schema() -> RefOr<Schema> {
        let one = |name, word, about| member(name, words([word]), about);
        let key = object(vec![
            one("kty", "OKP", "RFC 8037."),
            one("crv", "Ed25519", "RFC 8037."),
            one("alg", "EdDSA", "The only way in which it signs."),
            one("use", "sig", "Signatures."),
            member("kid", text(), "The name that tokens give it (RFC 7638)."),
            member("x", text(), "The public key."),
        ]);
        let about = "JSON Web Keys (RFC 7517): in use, next, and lately retired.";
        object(vec![member("keys", list(key), about)]).into()
    }

    fn into_response(self) -> Outcome<Response<Body>> {
        let mut response = json(&self.0)?;
        let kept = format!("public, max-age={JWKS_MAX_AGE}");
        let kept = HeaderValue::from_str(&kept).unwrap_or(HeaderValue::from_static("no-cache"));
        response.headers_mut().insert(CACHE_CONTROL, kept);
        Ok(response)
    }
}

impl Output for Introspected {
    const STATUSES: &'static [StatusCode] = &[StatusCode::OK];

    fn schema() -> RefOr<Schema> {
        let about = "The session behind it lives; then its claims stand beside this.";
        object(vec![
            member("active", flag(), about),
            maybe("sub", text(), "Whose it is: the canonical name."),
            maybe("username", text(), "The same."),
            maybe("token_type", words(["bearer"]), "How it is presented."),
            maybe("iss", text(), "This server."),
            maybe("aud", text(), "This server."),
            maybe("client_id", text(), "Always `otpd`."),
            maybe("iat", integer(), "When it was made."),
            maybe("exp", integer(), "Its end."),
            maybe(
                "auth_time",
                integer(),
                "When the person proved who they are.",
            ),
            maybe("amr", list(text()), "How (RFC 8176)."),
            maybe("jti", text(), "The token."),
            maybe("sid", text(), "The session."),
        ])
        .into()
    }

    fn into_response(self) -> Outcome<Response<Body>> {
        json(&self.0)
    }
}

impl Shape for LoggedOut {
    const NAME: &'static str = "LoggedOut";

    fn members() -> Vec<Member> {
        vec![member("message", text(), "A sentence for people.")]
    }
}

impl Shape for Rotated {
    const NAME: &'static str = "Rotated";

    fn members() -> Vec<Member> {
        vec![member(
            "rotated",
            constant(true),
            "The next keys are in use.",
        )]
    }
}
