//! Every answer of every test is compared with what the OpenAPI document says of it.

use std::sync::LazyLock;

use serde_json::Value;

use crate::answer::Answer;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| serde_json::to_value(web::openapi()).unwrap());

/// Fails if the document promises something else. Paths and methods that it does not
/// have are none of its business.
#[track_caller]
pub(crate) fn check(method: &str, path: &str, answer: &Answer) {
    let Some(operation) = operation(method, path) else {
        return;
    };
    let place = format!("{method} {path}: {}", answer.status);
    let response = &operation["responses"][answer.status.to_string()];
    assert!(
        !response.is_null(),
        "{place} is not in the document: {}",
        answer.text()
    );
    let response = resolved(response);
    let media_type = answer.header("content-type").unwrap_or_default();
    let content = &response["content"][media_type];
    assert!(
        !content.is_null(),
        "{place} is not described as {media_type}"
    );
    for header in answer.header_names() {
        let told = [
            "content-type",
            "content-length",
            "cache-control",
            "x-content-type-options",
        ];
        let described = response["headers"].as_object().into_iter().flatten();
        let mut described = described.map(|(name, _)| name.to_ascii_lowercase());
        assert!(
            told.contains(&header) || described.any(|name| name == header),
            "{place}: the header {header} is not described"
        );
    }
    if media_type.ends_with("json") {
        let body = serde_json::from_slice(&answer.body).unwrap();
        if let Err(fault) = fits(&content["schema"], &body) {
            panic!("{place}{fault}\n{body:#}");
        }
    }
}

/// Whether a value is what a schema of the document says.
pub(crate) fn fits_schema(schema: &Value, value: &Value) -> Result<(), String> {
    let schema: &'static Value = Box::leak(Box::new(schema.clone()));
    fits(schema, value)
}

fn operation(method: &str, path: &str) -> Option<&'static Value> {
    let path = path.split('?').next()?;
    let parts: Vec<&str> = path.split('/').collect();
    let same = |template: &str| {
        let template: Vec<&str> = template.split('/').collect();
        template.len() == parts.len()
            && template
                .iter()
                .zip(&parts)
                .all(|(wanted, part)| wanted.starts_with('{') || wanted == part)
    };
    let mut paths = DOCUMENT["paths"].as_object()?.iter();
    let (_, operations) = paths.find(|(template, _)| same(template))?;
    operations.get(method.to_ascii_lowercase())
}

fn resolved(value: &'static Value) -> &'static Value {
    match value["$ref"].as_str() {
        None => value,
        Some(reference) => {
            let found = DOCUMENT.pointer(reference.trim_start_matches('#'));
            found.unwrap_or_else(|| panic!("{reference} leads nowhere"))
        }
    }
}

/// The part of JSON Schema that the document uses; the error is the place and the fault.
fn fits(schema: &'static Value, value: &Value) -> Result<(), String> {
    let schema = resolved(schema);
    for (keyword, wanted) in schema.as_object().unwrap() {
        let fine = match keyword.as_str() {
            // Patterns and formats are for a real validator: schemathesis is one.
            "description" | "format" | "pattern" | "minLength" | "maxLength" => true,
            "type" => has_type(wanted, value),
            "enum" => wanted.as_array().unwrap().contains(value),
            "required" => has_all(wanted, value),
            "properties" => {
                members(wanted, value)?;
                true
            }
            "minimum" | "maximum" => is_bounded(keyword, wanted, value),
            "minItems" | "maxItems" => has_length(keyword, wanted, value),
            "additionalProperties" if wanted == false => has_no_other(schema, value),
            "additionalProperties" => {
                rest(schema, wanted, value)?;
                true
            }
            "items" => {
                elements(wanted, value)?;
                true
            }
            "oneOf" => {
                let choices = wanted.as_array().unwrap();
                choices
                    .iter()
                    .filter(|choice| fits(choice, value).is_ok())
                    .count()
                    == 1
            }
            other => panic!("this check does not know the keyword {other}"),
        };
        if !fine {
            return Err(format!(": {value} is not {keyword} {wanted}"));
        }
    }
    Ok(())
}

fn has_type(wanted: &Value, value: &Value) -> bool {
    if let Some(choices) = wanted.as_array() {
        return choices.iter().any(|choice| has_type(choice, value));
    }
    match wanted.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other} is no type"),
    }
}

fn is_bounded(keyword: &str, bound: &Value, value: &Value) -> bool {
    let (Some(bound), Some(number)) = (bound.as_f64(), value.as_f64()) else {
        return true;
    };
    match keyword {
        "minimum" => number >= bound,
        _ => number <= bound,
    }
}

fn has_length(keyword: &str, bound: &Value, value: &Value) -> bool {
    let (Some(bound), Some(elements)) = (bound.as_u64(), value.as_array()) else {
        return true;
    };
    match keyword {
        "minItems" => elements.len() as u64 >= bound,
        _ => elements.len() as u64 <= bound,
    }
}

fn has_all(required: &Value, value: &Value) -> bool {
    let mut names = required.as_array().unwrap().iter();
    value
        .as_object()
        .is_none_or(|members| names.all(|name| members.contains_key(name.as_str().unwrap())))
}

fn members(properties: &'static Value, value: &Value) -> Result<(), String> {
    for (name, schema) in properties.as_object().unwrap() {
        if let Some(member) = value.get(name) {
            fits(schema, member).map_err(|fault| format!("/{name}{fault}"))?;
        }
    }
    Ok(())
}

fn has_no_other(schema: &Value, value: &Value) -> bool {
    let known = |name: &String| schema["properties"].get(name).is_some();
    value
        .as_object()
        .is_none_or(|members| members.keys().all(known))
}

fn rest(schema: &Value, wanted: &'static Value, value: &Value) -> Result<(), String> {
    for (name, member) in value.as_object().into_iter().flatten() {
        if wanted.is_object() && schema["properties"].get(name).is_none() {
            fits(wanted, member).map_err(|fault| format!("/{name}{fault}"))?;
        }
    }
    Ok(())
}

fn elements(items: &'static Value, value: &Value) -> Result<(), String> {
    for (number, element) in value.as_array().into_iter().flatten().enumerate() {
        fits(items, element).map_err(|fault| format!("/{number}{fault}"))?;
    }
    Ok(())
}
