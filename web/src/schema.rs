//! A few words to describe JSON with: the shapes of bodies and answers in the OpenAPI document.

use serde_json::{Value, json};
use utoipa::openapi::schema::{
    AdditionalProperties, Array, KnownFormat, Object, OneOf, SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::{Ref, RefOr, Schema};

/// An object of the API that has a name of its own in the document.
pub(crate) trait Shape {
    /// The name.
    const NAME: &'static str;

    /// Its members.
    fn members() -> Vec<Member>;

    /// A reference to its description.
    fn reference() -> RefOr<Schema> {
        Ref::from_schema_name(Self::NAME).into()
    }
}

/// One member of an object.
pub(crate) struct Member {
    pub(crate) name: &'static str,
    pub(crate) schema: RefOr<Schema>,
    pub(crate) required: bool,
}

/// A member that is always there.
pub(crate) fn member(name: &'static str, schema: Schema, about: &str) -> Member {
    Member {
        name,
        schema: described(schema, about).into(),
        required: true,
    }
}

/// A member that may be missing.
pub(crate) fn maybe(name: &'static str, schema: Schema, about: &str) -> Member {
    Member {
        required: false,
        ..member(name, schema, about)
    }
}

/// An object with exactly these members.
pub(crate) fn object(members: Vec<Member>) -> Schema {
    let mut object = Object::with_type(Type::Object);
    for member in members {
        if member.required {
            object.required.push(member.name.to_owned());
        }
        object
            .properties
            .insert(member.name.to_owned(), member.schema);
    }
    object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
    Schema::Object(object)
}

/// Any text.
pub(crate) fn text() -> Schema {
    Schema::Object(Object::with_type(Type::String))
}

/// A text of so many characters.
pub(crate) fn text_of(least: usize, most: usize) -> Schema {
    let mut object = Object::with_type(Type::String);
    object.min_length = Some(least);
    object.max_length = Some(most);
    Schema::Object(object)
}

/// A text that matches a regular expression.
pub(crate) fn pattern(expression: &str) -> Schema {
    let mut object = Object::with_type(Type::String);
    object.pattern = Some(expression.to_owned());
    Schema::Object(object)
}

/// A text that is one of these words.
pub(crate) fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> Schema {
    let mut object = Object::with_type(Type::String);
    object.enum_values = Some(words.into_iter().map(Value::from).collect());
    Schema::Object(object)
}

/// An RFC 3339 time.
pub(crate) fn time() -> Schema {
    let mut object = Object::with_type(Type::String);
    object.format = Some(SchemaFormat::KnownFormat(KnownFormat::DateTime));
    Schema::Object(object)
}

/// A whole number.
pub(crate) fn integer() -> Schema {
    Schema::Object(Object::with_type(Type::Integer))
}

/// A whole number between two bounds, both included.
pub(crate) fn integer_of(least: u32, most: u32) -> Schema {
    let mut object = Object::with_type(Type::Integer);
    object.minimum = Some(bound(least));
    object.maximum = Some(bound(most));
    Schema::Object(object)
}

/// A whole number that fits 64 bits, with or without a sign.
pub(crate) fn integer_of_64_bits() -> Schema {
    let mut object = Object::with_type(Type::Integer);
    object.minimum = Some(utoipa::Number::Int(isize::MIN));
    object.maximum = Some(utoipa::Number::UInt(usize::MAX));
    Schema::Object(object)
}

fn bound(number: u32) -> utoipa::Number {
    utoipa::Number::UInt(number as usize)
}

/// Any number.
pub(crate) fn number() -> Schema {
    Schema::Object(Object::with_type(Type::Number))
}

/// True or false.
pub(crate) fn flag() -> Schema {
    Schema::Object(Object::with_type(Type::Boolean))
}

/// Always the same value.
pub(crate) fn constant(value: bool) -> Schema {
    let mut object = Object::with_type(Type::Boolean);
    object.enum_values = Some(vec![json!(value)]);
    Schema::Object(object)
}

/// An object whose members are not fixed.
pub(crate) fn anything() -> Schema {
    Schema::Object(Object::with_type(SchemaType::AnyValue))
}

/// A list of so many equal things.
pub(crate) fn list_of(item: impl Into<RefOr<Schema>>, least: usize, most: usize) -> Schema {
    let mut array = Array::new(item);
    array.min_items = Some(least);
    array.max_items = Some(most);
    Schema::Array(array)
}

/// A list of equal things.
pub(crate) fn list(item: impl Into<RefOr<Schema>>) -> Schema {
    Schema::Array(Array::new(item))
}

/// Either the one or the other.
pub(crate) fn either(one: Schema, other: Schema) -> Schema {
    let mut choice = OneOf::new();
    choice.items = vec![one.into(), other.into()];
    Schema::OneOf(choice)
}

/// The same, or `null`.
pub(crate) fn nullable(schema: Schema) -> Schema {
    match schema {
        Schema::Object(mut object) => {
            object.schema_type = with_null(object.schema_type);
            if let Some(values) = &mut object.enum_values {
                values.push(Value::Null);
            }
            Schema::Object(object)
        }
        Schema::Array(mut array) => {
            array.schema_type = with_null(array.schema_type);
            Schema::Array(array)
        }
        Schema::OneOf(mut choice) => {
            choice.items.push(Object::with_type(Type::Null).into());
            Schema::OneOf(choice)
        }
        other => other,
    }
}

/// The same without `null`.
pub(crate) fn there(schema: Schema) -> Schema {
    match schema {
        Schema::Object(mut object) => {
            if let SchemaType::Array(types) = &mut object.schema_type {
                types.retain(|one| *one != Type::Null);
                if let [only] = types.as_slice() {
                    object.schema_type = SchemaType::Type(only.clone());
                }
            }
            Schema::Object(object)
        }
        other => other,
    }
}

fn with_null(schema_type: SchemaType) -> SchemaType {
    match schema_type {
        SchemaType::Type(one) => SchemaType::Array(vec![one, Type::Null]),
        other => other,
    }
}

/// The same with a sentence for people.
pub(crate) fn described(schema: Schema, about: &str) -> Schema {
    let about = Some(about.to_owned());
    match schema {
        Schema::Object(mut object) => {
            object.description = about;
            Schema::Object(object)
        }
        Schema::Array(mut array) => {
            array.description = about;
            Schema::Array(array)
        }
        Schema::OneOf(mut choice) => {
            choice.description = about;
            Schema::OneOf(choice)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_added_to_every_kind_of_shape() {
        fn check(schema: Schema, expected: Value) {
            assert_eq!(serde_json::to_value(nullable(schema)).unwrap(), expected);
        }
        check(text(), json!({ "type": ["string", "null"] }));
        check(
            words(["a"]),
            json!({ "type": ["string", "null"], "enum": ["a", null] }),
        );
        check(
            list(text()),
            json!({ "type": ["array", "null"], "items": { "type": "string" } }),
        );
        check(
            either(text(), integer()),
            json!({ "oneOf": [{ "type": "string" }, { "type": "integer" }, { "type": "null" }] }),
        );
    }

    #[test]
    fn an_object_names_its_members_and_refuses_others() {
        let shape = object(vec![
            member("a", integer_of(1, 5), "A number."),
            maybe("b", flag(), "A flag."),
        ]);
        let expected = json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["a"],
            "properties": {
                "a": { "type": "integer", "minimum": 1, "maximum": 5, "description": "A number." },
                "b": { "type": "boolean", "description": "A flag." },
            },
        });
        assert_eq!(serde_json::to_value(shape).unwrap(), expected);
    }
}
