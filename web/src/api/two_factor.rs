//! What a service may know of a user's second factor.

use app::TwoFactor;

use crate::allowed::{Allowed, UsersRead};
use crate::answer::{Bare, Outcome};
use crate::input::{Fields, Input, USER_ID, User};
use crate::schema::{Member, Shape, flag, integer, list, member, nullable, text, time, words};

/// The user who is asked about.
pub(crate) struct AskedAbout(User);

pub(crate) async fn show(
    call: Allowed<UsersRead>,
    AskedAbout(user): AskedAbout,
) -> Outcome<Bare<TwoFactor, 200>> {
    let found = call.app().two_factor(&user.name, &user.shown).await?;
    Ok(Bare(found))
}

impl Input for AskedAbout {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        fields.path("user_id", &USER_ID).map(Self)
    }
}

impl Shape for TwoFactor {
    const NAME: &'static str = "TwoFactor";

    fn members() -> Vec<Member> {
        let methods = list(words(["otp", "recovery", "pass"]));
        let last = "When a code of an authenticator in force was last accepted.";
        vec![
            member("user_id", text(), "The user as named in the request."),
            member(
                "enabled",
                flag(),
                "An authenticator is in force; false for a user whom nobody knows here.",
            ),
            member("methods", methods, "What would be accepted."),
            member("last_verified_at", nullable(time()), last),
            member(
                "recovery_codes_left",
                integer(),
                "Recovery codes that can still be used.",
            ),
        ]
    }
}
