//! A user's own OTP, as the clients of the old provider know it: enable, verify, deactivate.

use app::{Code, OtpDeactivated, OtpEnabled, OtpVerified, Wanted};

use crate::allowed::{Allowed, DevicesWrite, InBatch, OtpVerify};
use crate::answer::{Fixed, Outcome};
use crate::api::devices::user;
use crate::input::{CODE_6, Fields, Input, USER_ID, User, assertion as wanted_assertion};
use crate::schema::{Member, Shape, constant, integer, maybe, member, nullable, text, time, words};

/// The user whose OTP is enabled.
pub(crate) struct ToEnable(User);

pub(crate) async fn enable(
    call: Allowed<DevicesWrite>,
    ToEnable(user): ToEnable,
) -> Outcome<Fixed<OtpEnabled, 201>> {
    let reply = call
        .app()
        .enable_otp(&call.context, &user.name, &user.shown);
    Ok(Fixed::reply(reply.await?))
}

/// A code of a user named in the body.
pub(crate) struct Presented(User, Code, Option<Wanted>);

pub(crate) async fn verify(
    call: Allowed<InBatch<OtpVerify>>,
    Presented(user, code, wanted): Presented,
) -> Outcome<Fixed<OtpVerified, 200>> {
    let found = call
        .app()
        .verify_otp(&call.context, user.name, code, wanted.as_ref());
    let found = found.await?;
    let replayed = found.replayed;
    Ok(Fixed::of_lane(found, replayed))
}

/// The user whose OTP is deactivated.
pub(crate) struct ToDeactivate(User);

pub(crate) async fn deactivate(
    call: Allowed<DevicesWrite>,
    ToDeactivate(user): ToDeactivate,
) -> Outcome<Fixed<OtpDeactivated, 200>> {
    let reply = call.app().deactivate_otp(&call.context, &user.name);
    Ok(Fixed::reply(reply.await?))
}

impl Input for ToEnable {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        fields.required("user_id", &USER_ID).map(Self)
    }
}

impl Input for Presented {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let user = fields.required("user_id", &USER_ID);
        let code = fields.required("otp_code", &CODE_6);
        let wanted = wanted_assertion(fields);
        Some(Self(user?, code?, wanted))
    }
}

impl Input for ToDeactivate {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        fields.required("user_id", &USER_ID).map(Self)
    }
}

impl Shape for OtpEnabled {
    const NAME: &'static str = "OtpEnabled";

    fn members() -> Vec<Member> {
        let never = "Always `null`: no code of it has been accepted yet.";
        vec![
            member("id", text(), "The name of the device that was made."),
            user(),
            member("secret", text(), "The key in base32. Shown once."),
            member(
                "provisioning_uri",
                text(),
                "For the authenticator app. Shown once.",
            ),
            member("is_active", constant(true), "In force."),
            member("created_at", time(), "When."),
            member("last_verified_at", nullable(time()), never),
        ]
    }
}

/// The assertion beside the answer of a door without an envelope.
pub(crate) fn assertion() -> Member {
    maybe("assertion", text(), "The signed assertion, when asked for.")
}

/// That an answer is the kept one.
pub(crate) fn replayed() -> Member {
    let about = "This is the kept answer of an earlier request.";
    maybe("replayed", constant(true), about)
}

impl Shape for OtpVerified {
    const NAME: &'static str = "OtpVerified";

    fn members() -> Vec<Member> {
        let words = words(["verified", "rejected", "locked"]);
        let about = "`verified`: the code was right, and is spent now.";
        let wait = "With `locked`: seconds until the user may try again; `null` when only an administrator can open the lock.";
        vec![
            member("status", words, about),
            maybe("retry_after", nullable(integer()), wait),
            assertion(),
            replayed(),
        ]
    }
}

impl Shape for OtpDeactivated {
    const NAME: &'static str = "OtpDeactivated";

    fn members() -> Vec<Member> {
        let about = "None of its codes is accepted any more.";
        vec![member("status", words(["deactivated"]), about)]
    }
}
