//! Codes: verify, confirm, resynchronise, explain.

use std::borrow::Cow;

use app::{Code, Explanation, Resynchronisation, Verification, Wanted};
use domain::DeviceName;
use domain::verify::Typed;
use serde::{Deserialize, Serialize};

use crate::allowed::{Admin, Allowed, DevicesWrite, InBatch, OtpVerify};
use crate::answer::{Done, Outcome};
use crate::input::{CODE, CODES, DEVICE_ID, Fields, Input, assertion as wanted_assertion};
use crate::schema::{
    Member, Shape, constant, flag, integer, maybe, member, nullable, text, time, words,
};

const COMPLETED: &str = "OTP verification completed";

/// A code of a device named in the body.
pub(crate) struct Presented {
    device: DeviceName,
    code: Typed,
    wanted: Option<Wanted>,
}

/// The answer to a verification.
#[derive(Serialize)]
pub(crate) struct Verified {
    valid: bool,
    reason: Option<&'static str>,
    retry_after: Option<i64>,
    attempts_remaining: u32,
    assertion: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
}

impl From<Verification> for Verified {
    fn from(found: Verification) -> Self {
        Self {
            valid: found.valid,
            reason: found.reason,
            retry_after: found.retry_after,
            attempts_remaining: found.attempts_remaining,
            assertion: found.assertion,
            replayed: found.replayed,
        }
    }
}

/// The answer to a first code. No assertion can be asked for: the code proves that
/// somebody has the key, and is no second factor of a login.
#[derive(Serialize)]
pub(crate) struct Confirmed {
    valid: bool,
    reason: Option<&'static str>,
    retry_after: Option<i64>,
    attempts_remaining: u32,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
}

impl From<Verification> for Confirmed {
    fn from(found: Verification) -> Self {
        Self {
            valid: found.valid,
            reason: found.reason,
            retry_after: found.retry_after,
            attempts_remaining: found.attempts_remaining,
            replayed: found.replayed,
        }
    }
}

pub(crate) async fn verify(
    call: Allowed<InBatch<OtpVerify>>,
    presented: Presented,
) -> Outcome<Done<Verified>> {
    let Presented {
        device,
        code,
        wanted,
    } = presented;
    let found = call
        .app()
        .verify(&call.context, device, code, wanted.as_ref());
    let found = found.await?;
    let replayed = found.replayed;
    Ok(Done::new(COMPLETED, found.into()).replayed(replayed))
}

/// The first code of the device in the path.
pub(crate) struct FirstCode(DeviceName, Typed);

pub(crate) async fn confirm(
    call: Allowed<InBatch<DevicesWrite>>,
    FirstCode(device, code): FirstCode,
) -> Outcome<Done<Confirmed>> {
    let found = call.app().confirm(&call.context, device, code).await?;
    let message = match found.valid {
        true => "Device confirmed successfully",
        false => COMPLETED,
    };
    let replayed = found.replayed;
    Ok(Done::new(message, found.into()).replayed(replayed))
}

/// Two codes in a row of the device in the path.
pub(crate) struct InARow(DeviceName, [Typed; 2]);

pub(crate) async fn resynchronise(
    call: Allowed<InBatch<DevicesWrite>>,
    InARow(device, [first, second]): InARow,
) -> Outcome<Done<Resynchronisation>> {
    let found = call
        .app()
        .resynchronise(&call.context, device, first, second);
    let found = found.await?;
    let message = match found.resynchronised {
        true => "Device resynchronised successfully",
        false => "Device resynchronisation completed",
    };
    let replayed = found.replayed;
    Ok(Done::new(message, found).replayed(replayed))
}

/// A code that the helpdesk asks about.
pub(crate) struct Asked(Presented);

pub(crate) async fn explain(
    call: Allowed<InBatch<Admin>>,
    Asked(presented): Asked,
) -> Outcome<Done<Explanation>> {
    let Presented { device, code, .. } = presented;
    let found = call.app().explain(&call.context, device, code).await?;
    let replayed = found.replayed;
    Ok(Done::new("OTP explanation completed", found).replayed(replayed))
}

impl Input for Presented {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let device = fields.required("device_id", &DEVICE_ID);
        let code = fields.required("otp", &CODE);
        let wanted = wanted_assertion(fields);
        Some(Self {
            device: device?,
            code: code?,
            wanted,
        })
    }

    /// The body of almost every verification, read without a copy but that of the name.
    fn quick(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Usual<'a> {
            #[serde(borrow)]
            device_id: Cow<'a, str>,
            #[serde(borrow)]
            otp: Cow<'a, str>,
        }
        // Serde would take a list of two for this object.
        if !body.trim_ascii_start().starts_with(b"{") {
            return None;
        }
        let usual: Usual<'_> = serde_json::from_slice(body).ok()?;
        Some(Self {
            device: DeviceName::parse(&usual.device_id).ok()?,
            code: Typed::Text(Code::parse(&usual.otp).ok()?),
            wanted: None,
        })
    }
}

impl Input for Asked {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let device = fields.required("device_id", &DEVICE_ID);
        let code = fields.required("otp", &CODE);
        Some(Self(Presented {
            device: device?,
            code: code?,
            wanted: None,
        }))
    }
}

impl Input for FirstCode {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let device = fields.path("device_id", &DEVICE_ID);
        let code = fields.required("otp", &CODE);
        Some(Self(device?, code?))
    }
}

impl Input for InARow {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let device = fields.path("device_id", &DEVICE_ID);
        let codes = fields.required("otp", &CODES);
        Some(Self(device?, codes?))
    }
}

/// Why a code was not accepted, and when to try again.
fn judgement() -> Vec<Member> {
    let reasons = nullable(words(["rejected", "locked", "inactive"]));
    let wait = "Seconds until a locked user may try again; `null` without a lock, or when only an administrator can open it.";
    let replayed = "This is the kept answer of an earlier request.";
    vec![
        member("reason", reasons, "Why not; `null` for a success."),
        member("retry_after", nullable(integer()), wait),
        maybe("replayed", constant(true), replayed),
    ]
}

impl Shape for Verified {
    const NAME: &'static str = "Verification";

    fn members() -> Vec<Member> {
        let mut members = Confirmed::members();
        let about = "The signed assertion, when asked for and the code was right.";
        members.push(member("assertion", nullable(text()), about));
        members
    }
}

impl Shape for Confirmed {
    const NAME: &'static str = "Confirmation";

    fn members() -> Vec<Member> {
        let mut members = judgement();
        let left = "Guesses that may still fail before the next lock.";
        members.extend([
            member("valid", flag(), "The code was right, and is spent now."),
            member("attempts_remaining", integer(), left),
        ]);
        members
    }
}

impl Shape for Resynchronisation {
    const NAME: &'static str = "Resynchronisation";

    fn members() -> Vec<Member> {
        let mut members = judgement();
        let drift = "How far the device's clock is ahead of the server's.";
        members.extend([
            member(
                "resynchronised",
                flag(),
                "The device is re-aligned; both codes are spent.",
            ),
            member("drift_seconds", nullable(integer()), drift),
        ]);
        members
    }
}

impl Shape for Explanation {
    const NAME: &'static str = "Explanation";

    fn members() -> Vec<Member> {
        let replayed = "This is the kept answer of an earlier request.";
        vec![
            member(
                "finding",
                text(),
                "`valid_steps_ago`, `already_used`, `not_past`, or why nothing can be said.",
            ),
            member(
                "steps_ago",
                nullable(integer()),
                "Steps (or counters) since the code was valid.",
            ),
            member(
                "locked_until",
                nullable(time()),
                "The end of the user's lock.",
            ),
            maybe("replayed", constant(true), replayed),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_cut_takes_the_usual_body_and_leaves_the_rest() {
        fn check(body: &str, taken: bool) {
            assert_eq!(Presented::quick(body.as_bytes()).is_some(), taken, "{body}");
        }
        check(r#"{"device_id":"a","otp":"123456"}"#, true);
        check(r#" { "otp" : "12345678", "device_id" : "\u0061" } "#, true);
        check(r#"{"device_id":"a","otp":123456}"#, false);
        check(r#"{"device_id":"a","otp":"12345"}"#, false);
        check(r#"{"device_id":"a b","otp":"123456"}"#, false);
        check(r#"{"device_id":"a"}"#, false);
        check(r#"{"device_id":"a","otp":"123456","x":1}"#, false);
        check(r#"{"device_id":"a","otp":"123456","otp":"123456"}"#, false);
        check(
            r#"{"device_id":"a","otp":"123456","assertion":null}"#,
            false,
        );
        check(r#"["a","123456"]"#, false);
        check("", false);
    }

    #[test]
    fn an_answer_has_the_members_of_the_contract() {
        let found = Verification {
            valid: false,
            reason: Some("locked"),
            retry_after: Some(30),
            attempts_remaining: 0,
            assertion: None,
            replayed: false,
        };
        let text = serde_json::to_string(&Verified::from(found)).unwrap();
        let expected = r#"{"valid":false,"reason":"locked","retry_after":30,"attempts_remaining":0,"assertion":null}"#;
        assert_eq!(text, expected);
    }
}
