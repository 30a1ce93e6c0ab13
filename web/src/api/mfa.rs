//! The second factor of an account: switched on, confirmed, switched off; its recovery codes and its QR code.

use app::{Enrolled, FreshCodes, MfaDisabled, MfaEnabled, Password, SecondFactor};
use axum::body::Body;
use axum::http::{Response, StatusCode};
use domain::UserName;
use domain::verify::Typed;
use utoipa::openapi::{RefOr, Schema};

use crate::answer::{Bare, Outcome, Output};
use crate::input::{CODE, FACTOR, Fields, Input, PASSWORD, USER_NAME};
use crate::qr;
use crate::schema::{Member, Shape, constant, list_of, member, text};
use crate::visitor::Visitor;

/// The owner's password; an email session needs none.
pub(crate) struct Owner(Option<Password>);

pub(crate) async fn enable(
    visitor: Visitor,
    Owner(password): Owner,
) -> Outcome<Bare<Enrolled, 201>> {
    let (context, source) = (&visitor.context, visitor.source);
    let bearer = visitor.bearer.as_deref();
    let app = visitor.app();
    let made = app.enable_mfa(context, source, bearer, password).await?;
    Ok(Bare(made))
}

/// The first code of an enrolment.
pub(crate) struct FirstCode(Typed);

pub(crate) async fn confirm(
    visitor: Visitor,
    FirstCode(code): FirstCode,
) -> Outcome<Bare<MfaEnabled, 200>> {
    let (context, source) = (&visitor.context, visitor.source);
    let bearer = visitor.bearer.as_deref();
    let app = visitor.app();
    Ok(Bare(app.confirm_mfa(context, source, bearer, code).await?))
}

/// All that proves somebody.
pub(crate) struct Everything(UserName, Password, SecondFactor);

pub(crate) async fn disable(
    visitor: Visitor,
    Everything(name, password, factor): Everything,
) -> Outcome<Bare<MfaDisabled, 200>> {
    let (context, source) = (&visitor.context, visitor.source);
    let app = visitor.app();
    let done = app.disable_mfa(context, source, (&name, password), &factor);
    Ok(Bare(done.await?))
}

pub(crate) async fn recovery_codes(
    visitor: Visitor,
    Owner(password): Owner,
) -> Outcome<Bare<FreshCodes, 200>> {
    let (context, source) = (&visitor.context, visitor.source);
    let bearer = visitor.bearer.as_deref();
    let app = visitor.app();
    let fresh = app.fresh_recovery_codes(context, source, bearer, password);
    Ok(Bare(fresh.await?))
}

/// Whose QR code, and the password unless a token came along.
pub(crate) struct ToShow(UserName, Option<Password>);

/// The QR code.
pub(crate) struct Picture(Response<Body>);

pub(crate) async fn qr_code(visitor: Visitor, ToShow(name, password): ToShow) -> Outcome<Picture> {
    let (context, source) = (&visitor.context, visitor.source);
    let proof = (visitor.bearer.as_deref(), password);
    let app = visitor.app();
    let uri = app.enrolment_uri(context, source, &name, proof).await?;
    Ok(Picture(qr::draw(&uri, visitor.prefers_svg)?))
}

impl Input for Owner {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self(fields.optional("password", &PASSWORD)))
    }
}

impl Input for FirstCode {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        fields.required("token", &CODE).map(Self)
    }
}

impl Input for Everything {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let name = fields.required("username", &USER_NAME);
        let password = fields.required("password", &PASSWORD);
        let factor = fields.required("token", &FACTOR);
        Some(Self(name?, password?, factor?))
    }
}

impl Input for ToShow {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let name = fields.path("username", &USER_NAME);
        let password = fields.optional("password", &PASSWORD);
        Some(Self(name?, password))
    }
}

impl Output for Picture {
    const STATUSES: &'static [StatusCode] = &[StatusCode::OK];
    const MEDIA_TYPE: &'static str = qr::PNG;
    const OTHER_MEDIA_TYPE: Option<&'static str> = Some(qr::SVG);

    fn schema() -> RefOr<Schema> {
        text().into()
    }

    fn into_response(self) -> Outcome<Response<Body>> {
        Ok(self.0)
    }
}

impl Shape for Enrolled {
    const NAME: &'static str = "Enrolled";

    fn members() -> Vec<Member> {
        let token = "The right to see the QR code and to confirm, for an hour.";
        let codes = "Each is good for one use once the enrolment is confirmed. Shown once.";
        vec![
            member(
                "provisioning_uri",
                text(),
                "For the authenticator app. Shown once.",
            ),
            member("enrollment_token", text(), token),
            member("recovery_codes", list_of(text(), 10, 10), codes),
        ]
    }
}

impl Shape for MfaEnabled {
    const NAME: &'static str = "MfaEnabled";

    fn members() -> Vec<Member> {
        vec![
            member("message", text(), "A sentence for people."),
            member("mfa_enabled", constant(true), "It is in force from now on."),
        ]
    }
}

impl Shape for MfaDisabled {
    const NAME: &'static str = "MfaDisabled";

    fn members() -> Vec<Member> {
        vec![member("message", text(), "A sentence for people.")]
    }
}

impl Shape for FreshCodes {
    const NAME: &'static str = "FreshRecoveryCodes";

    fn members() -> Vec<Member> {
        let about = "Each is good for one use; older ones are void. Shown once.";
        vec![member("recovery_codes", list_of(text(), 10, 10), about)]
    }
}
