//! The assertion that a verifying call may ask for: to whom it is addressed, and a nonce.

use app::Wanted;
use serde_json::{Map, Value};

use super::field::{Field, line_of};
use super::fields::{Fields, Place, pointer};
use crate::schema::{Member, described, nullable, object, pattern};

/// The longest audience and nonce, in characters.
const LONGEST: usize = 256;

/// `{"audience", "nonce"}`, to be read by [`assertion`].
const ASSERTION: Field<Map<String, Value>> = Field {
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
    parse: |value| {
        let members = value.as_object().cloned();
        members.ok_or_else(|| "Must be an object with an audience.".into())
    },
};

/// The member `assertion`; `None` when it is missing, and after a fault.
pub(crate) fn assertion(fields: &mut Fields<'_>) -> Option<Wanted> {
    let mut members = fields.optional("assertion", &ASSERTION)?;
    members.retain(|_, value| !value.is_null());
    if !members.contains_key("audience") {
        fields.fault("/assertion/audience", "Is required.");
    }
    let audience = text(fields, &mut members, "audience");
    let nonce = text(fields, &mut members, "nonce");
    for name in members.keys() {
        let place = format!("/assertion{}", pointer(Place::Body, name));
        fields.fault(place, "Is not a member of this object.");
    }
    Some(Wanted {
        audience: audience?,
        nonce,
    })
}

fn text(fields: &mut Fields<'_>, members: &mut Map<String, Value>, name: &str) -> Option<String> {
    let text = line_of(&members.remove(name)?, LONGEST);
    text.map_err(|why| fields.fault(format!("/assertion/{name}"), why))
        .ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Given, Input};
    use super::*;

    struct Asked(Option<Wanted>);

    impl Input for Asked {
        fn read(fields: &mut Fields<'_>) -> Option<Self> {
            Some(Self(assertion(fields)))
        }
    }

    /// What is read of a member `assertion`, or where its faults are.
    fn read(value: &Value) -> Result<Option<Wanted>, Vec<String>> {
        let body = json!({ "assertion": value }).to_string();
        let given = Given {
            body: body.as_bytes(),
            ..Given::default()
        };
        let settings = super::super::fields::tests::settings();
        let mut fields = Fields::of(given, false, &settings).expect("an object");
        let asked = Asked::read(&mut fields);
        match fields.finish(asked) {
            Ok(Asked(wanted)) => Ok(wanted),
            Err(app::Error::Invalid(faults)) => {
                Err(faults.into_iter().map(|it| it.pointer).collect())
            }
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn an_audience_is_needed_and_each_fault_is_told_where_it_is() {
        fn check(value: Value, expected: Result<Option<(&str, Option<&str>)>, &[&str]>) {
            let found = read(&value);
            let found = found.as_ref().map(|wanted| {
                let wanted = wanted.as_ref();
                wanted.map(|w| (w.audience.as_str(), w.nonce.as_deref()))
            });
            let expected = expected.map_err(|it| it.iter().map(|it| (*it).to_owned()).collect());
            let expected: Result<_, Vec<String>> = expected;
            assert_eq!(found, expected.as_ref().copied(), "{value}");
        }
        check(Value::Null, Ok(None));
        check(json!({"audience": "shop"}), Ok(Some(("shop", None))));
        check(
            json!({"audience": "shop", "nonce": "n"}),
            Ok(Some(("shop", Some("n")))),
        );
        check(
            json!({"audience": "shop", "nonce": null}),
            Ok(Some(("shop", None))),
        );
        check(json!({"nonce": "n"}), Err(&["/assertion/audience"]));
        check(json!({"audience": null}), Err(&["/assertion/audience"]));
        check(json!({"audience": ""}), Err(&["/assertion/audience"]));
        check(json!({"audience": ["shop"]}), Err(&["/assertion/audience"]));
        check(
            json!({"audience": "shop", "nonce": 7}),
            Err(&["/assertion/nonce"]),
        );
        check(
            json!({"audience": "shop", "a/b": "x"}),
            Err(&["/assertion/a~1b"]),
        );
        check(
            json!({"nonce": "", "aud": 1}),
            Err(&["/assertion/audience", "/assertion/nonce", "/assertion/aud"]),
        );
        check(json!("shop"), Err(&["/assertion"]));
    }
}
