//! API keys: listed, made, revoked.

use app::{KeyView, MadeKey, NewKey, Page, RevokedKey};
use domain::api_key::KeyId;
use domain::{Scope, Scopes};
use serde_json::Value;
use utoipa::openapi::Schema;

use crate::allowed::{Allowed, KeysWrite};
use crate::answer::{Done, Made, Outcome};
use crate::api::devices::USUAL_LIMIT;
use crate::input::{
    ABOUT_CURSOR, Field, Fields, Input, LIMIT, cursor, line_of, string, whole_number,
};
use crate::schema::{
    self, Member, Shape, constant, either, integer_of, list_of, member, nullable, pattern, text,
    time, words,
};

/// The longest name of a key, in characters.
const LONGEST_NAME: usize = 128;

/// The longest life of a key that has an end: ten years of 365 days, in seconds.
const LONGEST_LIFE: u32 = 315_360_000;

const NAME: Field<String> = Field {
    about: "A name for people.",
    schema: || pattern("^[^\\x00-\\x1f\\x7f-\\x9f]{1,128}$"),
    parse: |value| line_of(value, LONGEST_NAME),
};

const SCOPES: Field<Scopes> = Field {
    about: "What it may do: a list of scopes, or one text with spaces between.",
    schema: || either(list_of(scope(), 1, Scope::ALL.len()), scopes_in_a_row()),
    parse: scopes,
};

const EXPIRES_IN: Field<u32> = Field {
    about: "Seconds until it is refused; without, it has no end.",
    schema: || integer_of(1, LONGEST_LIFE),
    parse: |value| whole_number(value, 1, LONGEST_LIFE),
};

const CURSOR: Field<String> = Field {
    about: ABOUT_CURSOR,
    schema: || pattern("^[A-Za-z0-9]{1,32}$"),
    parse: |value| cursor(value, 1..=32, u8::is_ascii_alphanumeric),
};

const ID: Field<KeyId> = Field {
    about: "The public part of the key.",
    schema: || pattern("^[A-Za-z0-9]{1,32}$"),
    parse: |value| {
        KeyId::parse(string(value)?).ok_or_else(|| "This is not the id of a key.".into())
    },
};

fn scope() -> Schema {
    words(Scope::ALL.map(Scope::as_str))
}

fn scopes_in_a_row() -> Schema {
    let words = Scope::ALL.map(Scope::as_str).join("|");
    pattern(&format!("^({words})( ({words}))*$"))
}

fn scopes(value: &Value) -> Result<Scopes, String> {
    let scopes = match value {
        Value::String(text) => Scopes::from_words(text.split(' ')),
        Value::Array(words) if words.len() <= Scope::ALL.len() => {
            let words: Result<Vec<&str>, String> = words.iter().map(string).collect();
            Scopes::from_words(words?)
        }
        _ => return Err("Must be a list of scopes, or one text with spaces between.".into()),
    };
    match scopes {
        Ok(scopes) if scopes == Scopes::NONE => Err("Must name at least one scope.".into()),
        Ok(scopes) => Ok(scopes),
        Err(error) => Err(error.to_string()),
    }
}

/// A part of the list.
pub(crate) struct KeyQuery {
    limit: u32,
    cursor: Option<String>,
}

pub(crate) async fn list(call: Allowed<KeysWrite>, query: KeyQuery) -> Outcome<Page<KeyView>> {
    let KeyQuery { limit, cursor } = query;
    Ok(call.app().api_keys(cursor.as_deref(), limit).await?)
}

pub(crate) async fn make(call: Allowed<KeysWrite>, new: NewKey) -> Outcome<Made<MadeKey>> {
    let reply = call.app().make_key(&call.context, &new).await?;
    Ok(Made::reply("API key made successfully", reply))
}

pub(crate) async fn revoke(call: Allowed<KeysWrite>, id: KeyId) -> Outcome<Done<RevokedKey>> {
    let revoked = call.app().revoke_key(&call.context, id.as_str()).await?;
    Ok(Done::new("API key revoked successfully", revoked))
}

impl Input for KeyQuery {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            limit: fields.query("limit", &LIMIT).unwrap_or(USUAL_LIMIT),
            cursor: fields.query("cursor", &CURSOR),
        })
    }
}

impl Input for NewKey {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let name = fields.required("name", &NAME);
        let scopes = fields.required("scopes", &SCOPES);
        let expires_in = fields.optional("expires_in", &EXPIRES_IN);
        Some(Self {
            name: name?,
            scopes: scopes?,
            expires_in,
        })
    }
}

/// The key of the path.
impl Input for KeyId {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        fields.path("id", &ID)
    }
}

impl Shape for MadeKey {
    const NAME: &'static str = "MadeKey";

    fn members() -> Vec<Member> {
        vec![
            member("id", text(), "The public part."),
            member("key", text(), "The whole credential. Shown once."),
            member("name", text(), "A name for people."),
            member("scopes", schema::list(scope()), "What it may do."),
            member("created_at", time(), "When it was made."),
            member(
                "expires_at",
                nullable(time()),
                "From then on it is refused.",
            ),
        ]
    }
}

impl Shape for KeyView {
    const NAME: &'static str = "Key";

    fn members() -> Vec<Member> {
        let states = words(["active", "expired", "revoked", "env"]);
        vec![
            member(
                "id",
                text(),
                "The public part; `env` for the key of the environment.",
            ),
            member("name", text(), "A name for people."),
            member("scopes", schema::list(scope()), "What it may do."),
            member(
                "status",
                states,
                "`env`: can only be removed by a restart without it.",
            ),
            member("created_by", text(), "Who made it."),
            member("created_at", nullable(time()), "When it was made."),
            member(
                "expires_at",
                nullable(time()),
                "From then on it is refused.",
            ),
            member("revoked_at", nullable(time()), "Since then it is refused."),
        ]
    }
}

impl Shape for RevokedKey {
    const NAME: &'static str = "RevokedKey";

    fn members() -> Vec<Member> {
        vec![
            member("id", text(), "The public part."),
            member("revoked", constant(true), "It is refused everywhere."),
        ]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scopes_come_as_a_list_or_as_one_text() {
        fn check(value: Value, expected: Option<&str>) {
            let read = scopes(&value).ok().map(|scopes| scopes.to_string());
            assert_eq!(read.as_deref(), expected, "{value}");
        }
        check(
            json!(["otp:verify", "devices:read"]),
            Some("devices:read otp:verify"),
        );
        check(
            json!("otp:verify devices:read"),
            Some("devices:read otp:verify"),
        );
        check(json!(["admin"]), Some("admin"));
        check(json!([]), None);
        check(json!(vec!["admin"; 12]), None);
        check(json!("otp:verify  devices:read"), None);
        check(json!(""), None);
        check(json!(["otp:verify", 1]), None);
        check(json!(["otp:verify devices:read"]), None);
        check(json!("root"), None);
        check(json!(7), None);
    }
}
