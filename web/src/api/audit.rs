//! The audit log: searched, and vouched for by checkpoints.

use app::Page;
use app::audit::{AuditEntry, AuditQuery};
use domain::checkpoint::Checkpoint;
use domain::{Action, Time};

use crate::allowed::{Allowed, AuditRead};
use crate::answer::{Bare, Fixed, Outcome};
use crate::api::devices::USUAL_LIMIT;
use crate::input::{
    ABOUT_CURSOR, DEVICE_FILTER, Field, Fields, Input, LIMIT, TIME, USER_FILTER, cursor, string,
    word_of,
};
use crate::schema::{
    Member, Shape, anything, flag, integer, list, member, nullable, object, pattern, text, time,
    words,
};

const ACTION: Field<Action> = Field {
    about: "Only of that action.",
    schema: || words(Action::ALL.iter().map(|action| action.as_str())),
    parse: |value| {
        let unknown = |_| "Is not an audit action.".to_owned();
        string(value)?.parse().map_err(unknown)
    },
};

const YES_AND_NO: [(&str, bool); 2] = [("true", true), ("false", false)];

const SUCCESS: Field<bool> = Field {
    about: "Only what did, or did not do, what was asked.",
    schema: || words(YES_AND_NO.map(|(word, _)| word)),
    parse: |value| word_of(value, &YES_AND_NO),
};

const CURSOR: Field<String> = Field {
    about: ABOUT_CURSOR,
    // 128 bits in base64url: the last character has two of them.
    schema: || pattern("^[A-Za-z0-9_-]{21}[AQgw]$"),
    parse: |value| {
        let part = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-".contains(byte);
        cursor(value, 22..=22, part)
    },
};

const FROM: Field<Time> = Field {
    about: "Not before this time, as in RFC 3339.",
    ..TIME
};

const TO: Field<Time> = Field {
    about: "Before this time, as in RFC 3339.",
    ..TIME
};

pub(crate) async fn search(
    call: Allowed<AuditRead>,
    query: AuditQuery,
) -> Outcome<Page<AuditEntry>> {
    Ok(call.app().search_audit(&query).await?)
}

/// A checkpoint comes without an envelope: it is a file to be kept elsewhere as it is.
pub(crate) async fn latest(call: Allowed<AuditRead>, (): ()) -> Outcome<Bare<Checkpoint, 200>> {
    Ok(Bare(call.app().latest_checkpoint().await?))
}

pub(crate) async fn checkpoint(
    call: Allowed<AuditRead>,
    (): (),
) -> Outcome<Fixed<Checkpoint, 201>> {
    Ok(Fixed::reply(
        call.app().checkpoint_once(&call.context).await?,
    ))
}

impl Input for AuditQuery {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            device: fields.query("device_id", &DEVICE_FILTER),
            user: fields.query("user_id", &USER_FILTER),
            action: fields.query("action", &ACTION),
            success: fields.query("success", &SUCCESS),
            from: fields.query("from", &FROM),
            to: fields.query("to", &TO),
            cursor: fields.query("cursor", &CURSOR),
            limit: fields.query("limit", &LIMIT).unwrap_or(USUAL_LIMIT),
        })
    }
}

impl Shape for AuditEntry {
    const NAME: &'static str = "AuditEntry";

    fn members() -> Vec<Member> {
        let user = "The canonical name of the user; `null` for none or after an erasure.";
        vec![
            member("id", text(), "Its number in the database."),
            member(
                "device_id",
                nullable(text()),
                "The device it names; `null` for none or after an erasure.",
            ),
            member("user_id", nullable(text()), user),
            member("action", text(), "What happened."),
            member("success", flag(), "Whether it did what was asked."),
            member("timestamp", time(), "When."),
            member("ip_address", nullable(text()), "The client's address."),
            member(
                "user_agent",
                nullable(text()),
                "What the client calls itself.",
            ),
            member("request_id", nullable(text()), "The request that asked."),
            member("caller", text(), "The credential that asked."),
            member(
                "additional_data",
                anything(),
                "More, as an object, or `null`.",
            ),
        ]
    }
}

impl Shape for Checkpoint {
    const NAME: &'static str = "Checkpoint";

    fn members() -> Vec<Member> {
        let head = object(vec![
            member(
                "chain",
                pattern("^[0-9a-f]{32}$"),
                "The chain's random name.",
            ),
            member("seq", integer(), "Events in it."),
            member(
                "link",
                pattern("^[0-9a-f]{64}$"),
                "The link of the last one.",
            ),
        ]);
        vec![
            member(
                "id",
                integer(),
                "Number of the checkpoint in its database, from 1.",
            ),
            member(
                "instance",
                pattern("^[0-9a-f]{32}$"),
                "The database that it speaks of.",
            ),
            member("at", integer(), "When it was made, Unix milliseconds."),
            member("heads", list(head), "All chains, sorted by name."),
            member("kid", text(), "Which key signed it."),
            member(
                "public_key",
                text(),
                "The key's public half (Ed25519), in hexadecimal.",
            ),
            member("signature", text(), "The signature, in hexadecimal."),
        ]
    }
}
