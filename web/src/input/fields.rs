//! Reads a request field by field, gathers every fault, and can describe what would be read.

use std::collections::HashSet;

use app::{Fault, Settings};
use serde::de::IgnoredAny;
use serde_json::Value;
use utoipa::openapi::Schema;

use super::field::Field;
use super::members::Members;
use crate::refusal::Refusal;
use crate::schema::{described, nullable};

/// Faults told at most: a body of nothing but made-up members would get an answer many
/// times its size.
const MOST_FAULTS: usize = 100;

/// Where a field stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A part of the path.
    Path,
    /// A parameter after the `?`.
    Query,
    /// A member of the body.
    Body,
}

/// A field that was asked for.
pub(crate) struct Wanted {
    pub(crate) place: Place,
    pub(crate) name: &'static str,
    pub(crate) schema: Schema,
    pub(crate) about: &'static str,
    pub(crate) required: bool,
}

/// Everything that an input asks for.
#[derive(Default)]
pub(crate) struct Description(pub(crate) Vec<Wanted>);

impl Description {
    /// The fields at that place.
    pub(crate) fn at(&self, place: Place) -> impl Iterator<Item = &Wanted> {
        self.0.iter().filter(move |wanted| wanted.place == place)
    }

    /// A body without which the call makes no sense.
    pub(crate) fn needs_body(&self) -> bool {
        self.at(Place::Body).any(|wanted| wanted.required)
    }
}

/// What a request brought along.
#[derive(Default)]
pub(crate) struct Given<'a> {
    pub(crate) path: Vec<(String, String)>,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) body: &'a [u8],
    /// What the body holds when it is that of an HTML form.
    pub(crate) form: Option<Vec<(String, String)>>,
    /// Faults found before.
    pub(crate) faults: Vec<Fault>,
}

/// The fields of one request, or the list of those that an input asks for.
#[derive(Default)]
pub(crate) struct Fields<'a> {
    settings: Option<&'a Settings>,
    path: Vec<(String, String)>,
    query: Vec<(String, String)>,
    members: Vec<(String, Value)>,
    faults: Vec<Fault>,
    wanted: Description,
    describing: bool,
}

impl<'a> Fields<'a> {
    /// The fields of a request.
    ///
    /// # Errors
    /// [`Refusal::NotJson`] for a body that is not JSON, an empty one included unless
    /// the call can do without; a fault for one that is no object.
    pub(crate) fn of(
        given: Given<'_>,
        needs_body: bool,
        settings: &'a Settings,
    ) -> Result<Self, Refusal> {
        let mut faults = given.faults;
        let mut members = Vec::new();
        if let Some(pairs) = given.form {
            let pairs = pairs.into_iter();
            members.extend(pairs.map(|(name, value)| (name, Value::String(value))));
        } else if !given.body.is_empty() || needs_body {
            match parse(given.body)? {
                Some(found) => members = found.0,
                None => return Err(app::Error::invalid("", "Must be a JSON object.").into()),
            }
        }
        report_repeated(&mut members, Place::Body, &mut faults);
        let mut query = given.query;
        report_repeated(&mut query, Place::Query, &mut faults);
        Ok(Self {
            settings: Some(settings),
            path: given.path,
            query,
            members,
            faults,
            ..Self::default()
        })
    }

    /// What an input asks for.
    pub(crate) fn describe(read: impl FnOnce(&mut Fields<'_>)) -> Description {
        let mut fields = Fields {
            describing: true,
            ..Fields::default()
        };
        read(&mut fields);
        fields.wanted
    }

    /// The rules in force; `None` while describing.
    pub(crate) fn settings(&self) -> Option<&'a Settings> {
        self.settings
    }

    /// A part of the path.
    pub(crate) fn path<T>(&mut self, name: &'static str, field: &Field<T>) -> Option<T> {
        if self.note(Place::Path, name, field, true) {
            return None;
        }
        let at = self.path.iter().position(|(given, _)| given == name);
        let text = at.map(|at| self.path.swap_remove(at).1);
        // Only a part that is not UTF-8 is missing; it fits nothing.
        let value = Value::String(text.unwrap_or_default());
        self.take(format!("{{{name}}}"), field, &value)
    }

    /// A parameter of the query; `None` when it is missing, too.
    pub(crate) fn query<T>(&mut self, name: &'static str, field: &Field<T>) -> Option<T> {
        if self.note(Place::Query, name, field, false) {
            return None;
        }
        let at = self.query.iter().position(|(given, _)| given == name)?;
        let value = Value::String(self.query.swap_remove(at).1);
        self.take(format!("?{name}"), field, &value)
    }

    /// A parameter of the query that must be there.
    pub(crate) fn required_query<T>(&mut self, name: &'static str, field: &Field<T>) -> Option<T> {
        if self.note(Place::Query, name, field, true) {
            return None;
        }
        match self.query.iter().position(|(given, _)| given == name) {
            Some(at) => {
                let value = Value::String(self.query.swap_remove(at).1);
                self.take(format!("?{name}"), field, &value)
            }
            None => {
                self.fault(format!("?{name}"), "Is required.");
                None
            }
        }
    }

    /// A member of the body that must be there.
    pub(crate) fn required<T>(&mut self, name: &'static str, field: &Field<T>) -> Option<T> {
        if self.note(Place::Body, name, field, true) {
            return None;
        }
        match self.member(name) {
            Some(value) => self.take(format!("/{name}"), field, &value),
            None => {
                self.fault(format!("/{name}"), "Is required.");
                None
            }
        }
    }

    /// A member of the body that may be missing or `null`; `None` then, too.
    pub(crate) fn optional<T>(&mut self, name: &'static str, field: &Field<T>) -> Option<T> {
        if self.note(Place::Body, name, field, false) {
            return None;
        }
        match self.member(name)? {
            Value::Null => None,
            value => self.take(format!("/{name}"), field, &value),
        }
    }

    /// Adds a fault that concerns more than one field.
    pub(crate) fn fault(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        self.faults.push(Fault::new(pointer, detail));
    }

    /// Adds faults that were found in what has been read.
    pub(crate) fn faults(&mut self, faults: Vec<Fault>) {
        self.faults.extend(faults);
    }

    /// The input, or every fault: what was not asked for is one, too.
    ///
    /// # Errors
    /// [`app::Error::Invalid`].
    pub(crate) fn finish<T>(mut self, input: Option<T>) -> Result<T, app::Error> {
        for (name, _) in std::mem::take(&mut self.members) {
            let detail = "Is not a member of this request.";
            self.fault(pointer(Place::Body, &name), detail);
        }
        for (name, _) in std::mem::take(&mut self.query) {
            let detail = "Is not a parameter of this request.";
            self.fault(pointer(Place::Query, &name), detail);
        }
        self.faults.truncate(MOST_FAULTS);
        match input {
            Some(input) if self.faults.is_empty() => Ok(input),
            _ => Err(app::Error::Invalid(self.faults)),
        }
    }

    /// Notes what is wanted; true while describing, when there is nothing to read.
    fn note<T>(
        &mut self,
        place: Place,
        name: &'static str,
        field: &Field<T>,
        required: bool,
    ) -> bool {
        if self.describing {
            let mut schema = (field.schema)();
            if place == Place::Body {
                schema = described(schema, field.about);
                if !required {
                    schema = nullable(schema);
                }
            }
            self.wanted.0.push(Wanted {
                place,
                name,
                schema,
                about: field.about,
                required,
            });
        }
        self.describing
    }

    fn member(&mut self, name: &str) -> Option<Value> {
        let at = self.members.iter().position(|(given, _)| given == name)?;
        Some(self.members.swap_remove(at).1)
    }

    fn take<T>(&mut self, pointer: String, field: &Field<T>, value: &Value) -> Option<T> {
        match (field.parse)(value) {
            Ok(parsed) => Some(parsed),
            Err(detail) => {
                self.fault(pointer, detail);
                None
            }
        }
    }
}

/// `None` for JSON that is no object.
fn parse(body: &[u8]) -> Result<Option<Members>, Refusal> {
    if body.is_empty() {
        return Err(Refusal::NotJson(
            "The body is empty; it must be a JSON object.".into(),
        ));
    }
    match serde_json::from_slice(body) {
        Ok(members) => Ok(Some(members)),
        // No object; but it may have been given up before the end was seen.
        Err(error) if error.is_data() => match serde_json::from_slice::<IgnoredAny>(body) {
            Ok(_) => Ok(None),
            Err(error) => Err(not_json(&error)),
        },
        Err(error) => Err(not_json(&error)),
    }
}

fn not_json(error: &serde_json::Error) -> Refusal {
    let (line, column) = (error.line(), error.column());
    // The library has no kind of error for it, and its limit is ours (I-19).
    let fault = match error.to_string().starts_with("recursion limit") {
        true => "nested too deep",
        false => "not JSON",
    };
    Refusal::NotJson(format!(
        "The body is {fault}: line {line}, column {column}."
    ))
}

/// Reports each name that is given more than once, and leaves one of it.
fn report_repeated<T>(given: &mut Vec<(String, T)>, place: Place, faults: &mut Vec<Fault>) {
    let mut seen = HashSet::new();
    let mut told = HashSet::new();
    given.retain(|(name, _)| {
        let first = seen.insert(name.clone());
        if !first && told.insert(name.clone()) {
            faults.push(Fault::new(pointer(place, name), "Is given more than once."));
        }
        first
    });
}

/// Where a name that the client made up stands; in the body a JSON pointer (RFC 6901).
/// A long name is cut.
pub(super) fn pointer(place: Place, name: &str) -> String {
    let name: String = name.chars().take(64).collect();
    match place {
        Place::Path => format!("{{{name}}}"),
        Place::Query => format!("?{name}"),
        Place::Body => format!("/{}", name.replace('~', "~0").replace('/', "~1")),
    }
}

#[cfg(test)]
#[path = "fields_tests.rs"]
pub(super) mod tests;
