//! Devices: register, look at, deactivate, remove.

use app::{
    Deactivated, Deleted, DeviceQuery, DeviceView, Page, Registered, Registration, TestCode,
};
use domain::DeviceName;

use crate::allowed::{Admin, Allowed, DevicesRead, DevicesWrite};
use crate::answer::{Done, Made, Outcome};
use crate::input::{
    ABOUT_CURSOR, DEVICE_ID, Field, Fields, Input, LIMIT, USER_FILTER, cursor, word_of,
};
use crate::schema::{
    Member, Shape, constant, either, flag, integer, member, nullable, pattern, text, time, words,
};

/// The entries of a page when no limit is given.
pub(crate) const USUAL_LIMIT: u32 = 50;

const STATES: [(&str, &str); 3] = [
    ("active", "active"),
    ("pending", "pending"),
    ("deactivated", "deactivated"),
];

const STATUS: Field<&str> = Field {
    about: "Only in that state.",
    schema: || words(STATES.map(|(word, _)| word)),
    parse: |value| word_of(value, &STATES),
};

const CURSOR: Field<String> = Field {
    about: ABOUT_CURSOR,
    schema: || pattern("^[1-9][0-9]{0,17}$"),
    parse: |value| cursor(value, 1..=18, u8::is_ascii_digit),
};

pub(crate) async fn register(
    call: Allowed<DevicesWrite>,
    registration: Registration,
) -> Outcome<Made<Registered>> {
    let reply = call.app().register(&call.context, &registration).await?;
    Ok(Made::reply("Device registered successfully", reply))
}

pub(crate) async fn list(
    call: Allowed<DevicesRead>,
    query: DeviceQuery,
) -> Outcome<Page<DeviceView>> {
    Ok(call.app().devices(&query).await?)
}

pub(crate) async fn show(
    call: Allowed<DevicesRead>,
    device: DeviceName,
) -> Outcome<Done<DeviceView>> {
    let view = call.app().device(&device).await?;
    Ok(Done::new("Device found", view))
}

pub(crate) async fn deactivate(
    call: Allowed<DevicesWrite>,
    device: DeviceName,
) -> Outcome<Done<Deactivated>> {
    let reply = call.app().deactivate(&call.context, &device).await?;
    Ok(Done::reply("Device deactivated successfully", reply))
}

pub(crate) async fn remove(
    call: Allowed<DevicesWrite>,
    device: DeviceName,
) -> Outcome<Done<Deleted>> {
    let deleted = call.app().delete_device(&call.context, &device).await?;
    Ok(Done::new("Device removed successfully", deleted))
}

/// The device whose code is asked for.
pub(crate) struct TestDevice(DeviceName);

pub(crate) async fn test_code(
    call: Allowed<Admin>,
    TestDevice(device): TestDevice,
) -> Outcome<Done<TestCode>> {
    let reply = call.app().test_code(&call.context, &device).await?;
    Ok(Done::reply("Code of a test device", reply))
}

/// The device of the path.
impl Input for DeviceName {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        fields.path("device_id", &DEVICE_ID)
    }
}

impl Input for TestDevice {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        fields.required("device_id", &DEVICE_ID).map(Self)
    }
}

impl Input for DeviceQuery {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            user: fields.query("user_id", &USER_FILTER),
            status: fields.query("status", &STATUS).map(str::to_owned),
            limit: fields.query("limit", &LIMIT).unwrap_or(USUAL_LIMIT),
            cursor: fields.query("cursor", &CURSOR),
        })
    }
}

/// A `user_id` as the client wrote it when the device was registered.
pub(crate) fn user() -> Member {
    let about = "The owner as the client wrote it, a string or a number.";
    member("user_id", either(text(), integer()), about)
}

/// The facts of a device that never change.
fn facts() -> Vec<Member> {
    vec![
        member("device_id", text(), "The device's name."),
        user(),
        member(
            "algorithm",
            words(["SHA1", "SHA256", "SHA512"]),
            "Hash of its codes.",
        ),
        member("digits", integer(), "Length of its codes."),
        member(
            "period",
            nullable(integer()),
            "Seconds per step; `null` for HOTP.",
        ),
        member("status", words(STATES.map(|(word, _)| word)), "Its state."),
        member("created_at", time(), "When it was registered."),
    ]
}

impl Shape for Registered {
    const NAME: &'static str = "Registered";

    fn members() -> Vec<Member> {
        let mut members = facts();
        members.extend([
            member("derived_key", text(), "The key in base64. Shown once."),
            member("secret", text(), "The key in base32. Shown once."),
            member(
                "provisioning_uri",
                text(),
                "For the authenticator app. Shown once.",
            ),
        ]);
        members
    }
}

impl Shape for DeviceView {
    const NAME: &'static str = "Device";

    fn members() -> Vec<Member> {
        let mut members = facts();
        members.extend([
            member("kind", words(["totp", "hotp"]), "How it counts."),
            member("policy", nullable(text()), "The named security level."),
            member("label", nullable(text()), "A name for people."),
            member(
                "issuer",
                nullable(text()),
                "Who issues the codes, when not the server's own name.",
            ),
            member("is_active", flag(), "In force."),
            member("usage_count", integer(), "Codes accepted."),
            member("last_used", nullable(time()), "When the last one was."),
            member(
                "deactivated_at",
                nullable(time()),
                "Since when none is accepted.",
            ),
            member(
                "locked_until",
                nullable(time()),
                "The end of the user's lock, when it has one.",
            ),
            member(
                "needs_unlock",
                flag(),
                "The user is locked without an end: only `POST /api/v1/users/{user_id}/unlock` opens it.",
            ),
            member(
                "failed_attempts",
                integer(),
                "The user's wrong codes since the last right one.",
            ),
            member(
                "drift_seconds",
                integer(),
                "How far its clock is ahead of the server's.",
            ),
        ]);
        members
    }
}

impl Shape for Deactivated {
    const NAME: &'static str = "Deactivated";

    fn members() -> Vec<Member> {
        vec![
            member("device_id", text(), "The device's name."),
            member("is_active", constant(false), "Not in force."),
            member(
                "deactivated_at",
                time(),
                "Since when none of its codes is accepted.",
            ),
        ]
    }
}

impl Shape for Deleted {
    const NAME: &'static str = "Deleted";

    fn members() -> Vec<Member> {
        vec![
            member("device_id", text(), "The device's name."),
            member(
                "deleted",
                constant(true),
                "It is gone, and its key with it.",
            ),
        ]
    }
}

impl Shape for TestCode {
    const NAME: &'static str = "TestCode";

    fn members() -> Vec<Member> {
        let left = "Seconds that it stays the current one; `null` for HOTP.";
        vec![
            member("device_id", text(), "The device's name."),
            member("otp", text(), "Its code now."),
            member("expires_in", nullable(integer()), left),
        ]
    }
}
