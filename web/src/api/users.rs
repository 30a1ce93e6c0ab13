//! Users: opening a lock.

use app::Unlocked;

use crate::allowed::{Allowed, UsersWrite};
use crate::answer::{Done, Outcome};
use crate::input::{Field, Fields, Input, USER_ID, User, line_of};
use crate::schema::{
    Member, Shape, constant, either, integer_of_64_bits, member, pattern, text, time,
};

const LONGEST_REASON: usize = 500;

/// Why an administrator does something to a user.
pub(crate) const REASON: Field<String> = Field {
    about: "Why, in a few words: it is recorded in the audit.",
    schema: || pattern("^[^\\x00-\\x1f\\x7f-\\x9f]{1,500}$"),
    parse: |value| line_of(value, LONGEST_REASON),
};

/// A user whose lock is to be opened, and why.
pub(crate) struct ToUnlock(User, String);

pub(crate) async fn unlock(
    call: Allowed<UsersWrite>,
    ToUnlock(user, reason): ToUnlock,
) -> Outcome<Done<Unlocked>> {
    let reply = call
        .app()
        .unlock(&call.context, &user.name, &user.shown, &reason);
    Ok(Done::reply("User unlocked successfully", reply.await?))
}

impl Input for ToUnlock {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let user = fields.path("user_id", &USER_ID);
        let reason = fields.required("reason", &REASON);
        Some(Self(user?, reason?))
    }
}

impl Shape for Unlocked {
    const NAME: &'static str = "Unlocked";

    fn members() -> Vec<Member> {
        let user = either(text(), integer_of_64_bits());
        vec![
            member("user_id", user, "The user as named in the request."),
            member(
                "unlocked",
                constant(true),
                "Locks are over, and a disabled factor is in force.",
            ),
            member("unlocked_at", time(), "When."),
        ]
    }
}
