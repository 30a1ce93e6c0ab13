//! Passes: the helpdesk makes one for someone who lost the phone.

use app::{MadePass, NewPass};

use crate::allowed::{Allowed, UsersWrite};
use crate::answer::{Fixed, Outcome};
use crate::api::users::REASON;
use crate::input::{Field, Fields, Input, USER_ID, User, whole_number};
use crate::schema::{Member, Shape, integer, integer_of, member, text, time};

const SHORTEST_LIFE: u32 = 60;
const USUAL_LIFE: u32 = 86_400;
const LONGEST_LIFE: u32 = 604_800;
const MOST_USES: u32 = 10;

const LIFE: Field<u32> = Field {
    about: "Its life in seconds: a minute to a week; a day unless told.",
    schema: || integer_of(SHORTEST_LIFE, LONGEST_LIFE),
    parse: |value| whole_number(value, SHORTEST_LIFE, LONGEST_LIFE),
};

const USES: Field<u32> = Field {
    about: "How often it can be used; once unless told.",
    schema: || integer_of(1, MOST_USES),
    parse: |value| whole_number(value, 1, MOST_USES),
};

/// A user and the pass that they get.
pub(crate) struct Wanted(User, NewPass);

pub(crate) async fn make(
    call: Allowed<UsersWrite>,
    Wanted(user, new): Wanted,
) -> Outcome<Fixed<MadePass, 201>> {
    let reply = call.app().make_pass(&call.context, &user.name, &new);
    Ok(Fixed::reply(reply.await?))
}

impl Input for Wanted {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let user = fields.path("user_id", &USER_ID);
        let reason = fields.required("reason", &REASON);
        let expires_in = fields.optional("expires_in", &LIFE);
        let uses = fields.optional("uses", &USES);
        let new = NewPass {
            reason: reason?,
            expires_in: expires_in.unwrap_or(USUAL_LIFE),
            uses: uses.unwrap_or(1),
        };
        Some(Self(user?, new))
    }
}

impl Shape for MadePass {
    const NAME: &'static str = "Pass";

    fn members() -> Vec<Member> {
        vec![
            member("pass", text(), "To be read out. Shown once."),
            member("expires_at", time(), "From then on it is refused."),
            member("uses", integer(), "How often it can be used."),
        ]
    }
}
