//! Statistics by hour or day, and what there is now.

use app::{Bucket, Stats, StatsQuery};

use crate::allowed::{Allowed, StatsRead};
use crate::answer::{Done, Outcome};
use crate::input::{Field, Fields, Input, TIME, word_of};
use crate::schema::{Member, Shape, integer, list, member, nullable, number, object, time, words};

const BUCKETS: [(&str, Bucket); 2] = [("hour", Bucket::Hour), ("day", Bucket::Day)];

const BUCKET: Field<Bucket> = Field {
    about: "The length of a bucket: `hour` (default) or `day`.",
    schema: || words(BUCKETS.map(|(word, _)| word)),
    parse: |value| word_of(value, &BUCKETS),
};

pub(crate) async fn stats(call: Allowed<StatsRead>, query: StatsQuery) -> Outcome<Done<Stats>> {
    let stats = call.app().stats(query).await?;
    Ok(Done::new("Statistics", stats))
}

impl Input for StatsQuery {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            from: fields.query("from", &TIME),
            to: fields.query("to", &TIME),
            bucket: fields.query("bucket", &BUCKET).unwrap_or(Bucket::Hour),
        })
    }
}

impl Shape for Stats {
    const NAME: &'static str = "Stats";

    fn members() -> Vec<Member> {
        let devices = object(vec![
            member("active", integer(), "In force."),
            member("pending", integer(), "Waiting for their first code."),
            member("deactivated", integer(), "Deactivated."),
        ]);
        let totals = object(vec![
            member("devices", devices, "Devices by status."),
            member("users", integer(), "All users."),
            member("users_with_2fa", integer(), "Users with a device in force."),
            member(
                "adoption",
                nullable(number()),
                "The second as a share of the first, 0 to 1.",
            ),
        ]);
        vec![
            member("from", time(), "Beginning of the first bucket."),
            member("to", time(), "End of the last one."),
            member(
                "bucket",
                words(BUCKETS.map(|(word, _)| word)),
                "Their length.",
            ),
            member(
                "buckets",
                list(bucket()),
                "Every bucket, also empty ones, ascending.",
            ),
            member("totals", totals, "What there is now."),
        ]
    }
}

fn bucket() -> utoipa::openapi::Schema {
    let seconds = |name, about| member(name, nullable(number()), about);
    let mean = "Seconds from the issue or sending of a code to its acceptance: mean; `null` when none was accepted.";
    let judged = || {
        object(vec![
            member("accepted", integer(), "Right ones."),
            member("rejected", integer(), "Wrong or used ones."),
            member("locked", integer(), "Not judged because of a lock."),
        ])
    };
    let logins = object(vec![
        member("accepted", integer(), "Right passwords."),
        member(
            "rejected",
            integer(),
            "Wrong passwords of accounts that exist.",
        ),
        member("second_factor", judged(), "After a right password."),
    ]);
    let emails = object(vec![
        member("sent", integer(), "Codes sent."),
        member("failed", integer(), "Mails that could not be delivered."),
        member("accepted", integer(), "Right codes."),
        member("rejected", integer(), "Wrong, used or late codes."),
        member(
            "locked",
            integer(),
            "Not judged because of too many wrong ones.",
        ),
    ]);
    object(vec![
        member("start", time(), "Its beginning."),
        member(
            "verifications",
            judged(),
            "Codes, recovery codes and passes judged.",
        ),
        member("registrations", integer(), "Devices registered."),
        member("deactivations", integer(), "Devices deactivated."),
        member("signups", integer(), "Accounts made."),
        member("logins", logins, "Logins."),
        member("issued", integer(), "Codes issued to sister services."),
        member("emails", emails, "Codes sent by email."),
        member(
            "recoveries",
            judged(),
            "Of these, recovery codes and passes outside of logins.",
        ),
        seconds("issue_to_verify_mean_seconds", mean),
        seconds("issue_to_verify_median_seconds", "The same, median."),
        seconds("issue_to_verify_p95_seconds", "The same, 95th percentile."),
    ])
}
