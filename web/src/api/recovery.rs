//! Recovery codes: make a fresh set, verify one (or a pass).

use app::{RecoveryCodes, RecoveryVerified, SpokenText, Wanted};

use crate::allowed::{Allowed, InBatch, OtpVerify, UsersWrite};
use crate::answer::{Fixed, Made, Outcome};
use crate::api::user_otp::{assertion, replayed};
use crate::input::{Field, Fields, Input, USER_ID, User, assertion as wanted_assertion, string};
use crate::schema::{Member, Shape, integer, list, maybe, member, text, text_of, words};

/// Longer ones are refused: 16 characters, and what people put between them.
const LONGEST_CODE: usize = 64;

const CODE: Field<SpokenText> = Field {
    about: "A recovery code (16 letters and digits) or a pass (12); case, dashes and spaces do not count.",
    schema: || text_of(1, LONGEST_CODE),
    parse: |value| {
        let text = string(value)?;
        let fits = text.chars().count() <= LONGEST_CODE;
        let spoken = SpokenText::parse(text).filter(|_| fits);
        spoken.ok_or_else(|| "Must be a recovery code or a pass.".into())
    },
};

/// The user who gets a fresh set.
pub(crate) struct ToRenew(User);

pub(crate) async fn renew(
    call: Allowed<UsersWrite>,
    ToRenew(user): ToRenew,
) -> Outcome<Made<RecoveryCodes>> {
    let reply = call
        .app()
        .renew_recovery_codes(&call.context, &user.name, &user.shown);
    Ok(Made::reply("Recovery codes created", reply.await?))
}

/// A recovery code or a pass of a user named in the body.
pub(crate) struct Presented(User, SpokenText, Option<Wanted>);

pub(crate) async fn verify(
    call: Allowed<InBatch<OtpVerify>>,
    Presented(user, code, wanted): Presented,
) -> Outcome<Fixed<RecoveryVerified, 200>> {
    let found = call
        .app()
        .verify_recovery(&call.context, user.name, &code, wanted.as_ref());
    let found = found.await?;
    let replayed = found.replayed;
    Ok(Fixed::of_lane(found, replayed))
}

impl Input for ToRenew {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        fields.path("user_id", &USER_ID).map(Self)
    }
}

impl Input for Presented {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let user = fields.required("user_id", &USER_ID);
        let code = fields.required("code", &CODE);
        let wanted = wanted_assertion(fields);
        Some(Self(user?, code?, wanted))
    }
}

impl Shape for RecoveryCodes {
    const NAME: &'static str = "RecoveryCodes";

    fn members() -> Vec<Member> {
        let codes = list(text());
        vec![
            member("user_id", text(), "The user as named in the request."),
            member(
                "recovery_codes",
                codes,
                "Each is good for one use; older ones are void. Shown once.",
            ),
        ]
    }
}

impl Shape for RecoveryVerified {
    const NAME: &'static str = "RecoveryVerified";

    fn members() -> Vec<Member> {
        let about = "`verified`: the code was right, and one use of it is spent.";
        let method = "With `verified`: what it was.";
        let left = "With `verified`: recovery codes that are left, also when it was a pass.";
        let uses = "With `verified` and a pass: uses of it that are left.";
        vec![
            member("status", words(["verified", "rejected"]), about),
            maybe("method", words(["recovery", "pass"]), method),
            maybe("remaining", integer(), left),
            maybe("uses_left", integer(), uses),
            assertion(),
            replayed(),
        ]
    }
}
