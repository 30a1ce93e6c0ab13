//! Codes for sister services: issue one, verify one.

use app::{Code, IssuedCode, IssuedVerified, Wanted};
use domain::UserName;

use crate::allowed::{Allowed, CodesIssue, InBatch, OtpVerify};
use crate::answer::{Fixed, Outcome};
use crate::api::user_otp::{assertion, replayed};
use crate::input::{CODE_6, Fields, Input, USER_NAME, assertion as wanted_assertion};
use crate::schema::{Member, Shape, constant, member, pattern, time};

/// The user for whom a code is issued.
pub(crate) struct ToIssue(UserName);

pub(crate) async fn generate(
    call: Allowed<CodesIssue>,
    ToIssue(user): ToIssue,
) -> Outcome<Fixed<IssuedCode, 200>> {
    let reply = call.app().issue_code(&call.context, &user).await?;
    Ok(Fixed::reply(reply))
}

/// A code of a user named in the body.
pub(crate) struct Presented(UserName, Code, Option<Wanted>);

pub(crate) async fn verify(
    call: Allowed<InBatch<OtpVerify>>,
    Presented(user, code, wanted): Presented,
) -> Outcome<Fixed<IssuedVerified, 200>> {
    let found = call
        .app()
        .verify_issued(&call.context, user, code, wanted.as_ref());
    let found = found.await?;
    let replayed = found.replayed;
    Ok(Fixed::of_lane(found, replayed))
}

impl Input for ToIssue {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        fields.required_query("username", &USER_NAME).map(Self)
    }
}

impl Input for Presented {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let user = fields.required("username", &USER_NAME);
        let code = fields.required("otp_code", &CODE_6);
        let wanted = wanted_assertion(fields);
        Some(Self(user?, code?, wanted))
    }
}

impl Shape for IssuedCode {
    const NAME: &'static str = "IssuedCode";

    fn members() -> Vec<Member> {
        let code = pattern("^[0-9]{6}$");
        vec![
            member("otp_code", code, "Good for one use. Shown once."),
            member("expires_at", time(), "From then on it is refused."),
        ]
    }
}

impl Shape for IssuedVerified {
    const NAME: &'static str = "IssuedVerified";

    fn members() -> Vec<Member> {
        let about = "The code was right, and is spent now.";
        vec![
            member("success", constant(true), about),
            assertion(),
            replayed(),
        ]
    }
}
