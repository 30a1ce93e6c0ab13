//! The assertion that a verifying call may ask for: to whom it is addressed, and a nonce.

use app::Wanted;
use serde_json::{Map, Value};

use super::field::{Field, line_of};
use crate::schema::{Member, described, nullable, object, pattern};

/// The longest audience and nonce, in characters.
const LONGEST: usize = 256;

/// `{"audience", "nonce"}`.
pub(crate) const ASSERTION: Field<Wanted> = Field {
    about: "Asks for a signed proof of a right code, which the service named as `audience` can check by itself; `nonce` is given back in it.",
    schema: || {
        let text = || pattern("^[^\\x00-\\x1f\\x7f-\\x9f]{1,256}$");
        let member = |name, schema, about, required| Member {
            name,
            schema: described(schema, about).into(),
            required,
        };
        let audience = "The service that will check it.";
        object(vec![
            member("audience", text(), audience, true),
            member(
                "nonce",
                nullable(text()),
                "What that service gave against replays.",
                false,
            ),
        ])
    },
    parse,
};

fn parse(value: &Value) -> Result<Wanted, String> {
    let members = value.as_object();
    let members = members.ok_or("Must be an object with an audience.")?;
    let known = |name: &String| ["audience", "nonce"].contains(&name.as_str());
    if !members.keys().all(known) {
        return Err("May have the members audience and nonce only.".into());
    }
    Ok(Wanted {
        audience: text(members, "audience")?.ok_or("Must have an audience.")?,
        nonce: text(members, "nonce")?,
    })
}

fn text(members: &Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match line_of(value, LONGEST) {
            Ok(text) => Ok(Some(text)),
            Err(why) => Err(format!("The {name}: {why}")),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_audience_is_needed_and_nothing_else_is_known() {
        fn check(value: Value, expected: Option<(&str, Option<&str>)>) {
            let found = parse(&value).ok();
            let found = found.as_ref();
            let found = found.map(|w| (w.audience.as_str(), w.nonce.as_deref()));
            assert_eq!(found, expected, "{value}");
        }
        check(json!({"audience": "shop"}), Some(("shop", None)));
        check(
            json!({"audience": "shop", "nonce": "n"}),
            Some(("shop", Some("n"))),
        );
        check(
            json!({"audience": "shop", "nonce": null}),
            Some(("shop", None)),
        );
        check(json!({"nonce": "n"}), None);
        check(json!({"audience": ""}), None);
        check(json!({"audience": ["shop"]}), None);
        check(json!({"audience": "shop", "aud": "x"}), None);
        check(json!("shop"), None);
    }
}
