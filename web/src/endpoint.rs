//! One request from its headers to its answer: who asks, what they say, what they are told.
//!
//! Everything that holds for all calls is said here, inside the one future that a
//! handler needs anyway: there is no layer around the routes that would cost each
//! request another allocation.

use std::sync::Arc;

use app::Fault;
use axum::body::Body;
use axum::extract::{FromRequestParts, Query, RawPathParams, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Response, Uri};

use crate::allowed::{Allowed, Need, repeatable};
use crate::answer::{Outcome, Output};
use crate::body;
use crate::front::{Front, has_envelope};
use crate::input::{Fields, Given, Input};
use crate::refusal::Refusal;
use crate::request_id::RequestId;
use crate::visitor::Visitor;

/// What is known of a route before any request.
#[derive(Clone, Copy)]
pub(crate) struct Facts {
    /// The path has variable parts.
    pub(crate) has_parts: bool,
    /// The call makes no sense without a body.
    pub(crate) needs_body: bool,
    /// A part that the path of this route spells out.
    pub(crate) spelled_out: Option<(&'static str, &'static str)>,
}

/// Serves a call that needs a credential.
pub(crate) async fn serve<N, I, O, F, Fut>(
    front: Arc<Front>,
    request: Request,
    facts: Facts,
    handler: F,
) -> Response<Body>
where
    N: Need,
    I: Input,
    O: Output,
    F: Fn(Allowed<N>, I) -> Fut,
    Fut: Future<Output = Outcome<O>>,
{
    let (mut parts, body) = request.into_parts();
    let request_id = front.request_id(&parts.headers);
    let result = async {
        let mut call = Allowed::check(&front, &parts, &request_id).await?;
        let input = read(&mut call, &mut parts, body, facts).await?;
        handler(call, input).await?.into_response()
    };
    let result = result.await;
    front.finish(&request_id, has_envelope(parts.uri.path()), result)
}

/// Serves a call that anybody may make.
pub(crate) async fn serve_open<O, F, Fut>(
    front: Arc<Front>,
    request: Request,
    handler: F,
) -> Response<Body>
where
    O: Output,
    F: Fn(Arc<Front>) -> Fut,
    Fut: Future<Output = Outcome<O>>,
{
    let request_id = front.request_id(request.headers());
    let output = handler(Arc::clone(&front)).await;
    let result = output.and_then(Output::into_response);
    front.finish(&request_id, false, result)
}

/// Serves a call that anybody may make and that says something.
pub(crate) async fn serve_public<I, O, F, Fut>(
    front: Arc<Front>,
    request: Request,
    facts: Facts,
    handler: F,
) -> Response<Body>
where
    I: Input,
    O: Output,
    F: Fn(Visitor, I) -> Fut,
    Fut: Future<Output = Outcome<O>>,
{
    let (mut parts, body) = request.into_parts();
    let request_id = front.request_id(&parts.headers);
    let result = async {
        let visitor = Visitor::of(&front, &parts, &request_id);
        let body = body::read(&parts.headers, body).await?;
        // An `Idempotency-Key` is honoured with a credential only.
        let input = fields(&front, &mut parts, &body, facts, Vec::new()).await?;
        handler(visitor, input).await?.into_response()
    };
    let result = result.await;
    front.finish(&request_id, has_envelope(parts.uri.path()), result)
}

/// Answers a request that no handler takes, or whose answer is ready.
pub(crate) fn settle(
    front: &Front,
    request: &Request,
    result: Outcome<Response<Body>>,
) -> Response<Body> {
    let request_id: RequestId = front.request_id(request.headers());
    front.finish(&request_id, has_envelope(request.uri().path()), result)
}

/// Reads what the request says, and notes whether it may be a repetition.
async fn read<N: Need, I: Input>(
    call: &mut Allowed<N>,
    parts: &mut Parts,
    body: Body,
    facts: Facts,
) -> Outcome<I> {
    let mut faults = Vec::new();
    let body = if parts.method == Method::POST {
        let body = body::read(&parts.headers, body).await?;
        match repeatable(parts, &body) {
            Ok(found) => call.context.repeatable = found,
            Err(fault) => faults.push(fault),
        }
        body
    } else {
        // Other methods take none; whatever came is left unread.
        axum::body::Bytes::new()
    };
    if faults.is_empty()
        && parts.uri.query().is_none()
        && let Some(input) = I::quick(&body)
    {
        return Ok(input);
    }
    Box::pin(fields(&call.front, parts, &body, facts, faults)).await
}

/// Reads every field, and tells every fault.
async fn fields<I: Input>(
    front: &Front,
    parts: &mut Parts,
    body: &[u8],
    facts: Facts,
    mut faults: Vec<Fault>,
) -> Outcome<I> {
    let form = match I::FORM && is_form(&parts.headers) {
        true => Some(form_pairs(body)?),
        false => None,
    };
    let given = Given {
        path: path_parts(parts, facts).await,
        query: query_pairs(parts, &mut faults)?,
        body,
        form,
        faults,
    };
    let mut fields = Fields::of(given, facts.needs_body, front.app.settings())?;
    let input = I::read(&mut fields);
    Ok(fields.finish(input)?)
}

/// The body is that of an HTML form, which some standards prescribe.
fn is_form(headers: &HeaderMap) -> bool {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let media_type = value.and_then(|value| value.split(';').next());
    media_type.is_some_and(|found| {
        found
            .trim()
            .eq_ignore_ascii_case("application/x-www-form-urlencoded")
    })
}

/// The variable parts of the path, decoded; a part that is not UTF-8 is left out.
async fn path_parts(parts: &mut Parts, facts: Facts) -> Vec<(String, String)> {
    if let Some((name, value)) = facts.spelled_out {
        return vec![(name.to_owned(), value.to_owned())];
    }
    if !facts.has_parts {
        return Vec::new();
    }
    let Ok(found) = RawPathParams::from_request_parts(parts, &()).await else {
        return Vec::new();
    };
    let pair = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    found.iter().map(pair).collect()
}

/// The parameters, decoded. One that is not UTF-8 is a fault: read with replacement
/// characters it would be another value than the one that was sent.
fn query_pairs(parts: &Parts, faults: &mut Vec<Fault>) -> Outcome<Vec<(String, String)>> {
    let query = parts.uri.query().unwrap_or_default();
    if query.is_empty() {
        return Ok(Vec::new());
    }
    if !is_utf8(query) {
        faults.push(Fault::new("?", "The query must be UTF-8."));
        return Ok(Vec::new());
    }
    let unreadable = || app::Error::invalid("?", "The query cannot be read.");
    Ok(pairs_of(&parts.uri).ok_or_else(unreadable)?)
}

/// A form is written like a query, and read by the same rules.
fn form_pairs(body: &[u8]) -> Outcome<Vec<(String, String)>> {
    let text = std::str::from_utf8(body).ok();
    let uri = text
        .filter(|text| is_utf8(text))
        .and_then(|text| Uri::try_from(format!("/?{text}")).ok());
    let unreadable = || Refusal::NotJson("The body is not that of a form.".into());
    uri.as_ref().and_then(pairs_of).ok_or_else(unreadable)
}

fn pairs_of(uri: &Uri) -> Option<Vec<(String, String)>> {
    let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri);
    pairs.ok().map(|pairs| pairs.0)
}

/// Whether what the text stands for is UTF-8. The characters that separate parameters
/// are ASCII, so none lies within another one.
fn is_utf8(text: &str) -> bool {
    std::str::from_utf8(&percent_decoded(text)).is_ok()
}

/// The bytes that a query stands for; a `%` without two digits stands for itself.
fn percent_decoded(query: &str) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut rest = query.as_bytes();
    let mut decoded = Vec::with_capacity(rest.len());
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        match (first, digit(rest.first()), digit(rest.get(1))) {
            (b'%', Some(high), Some(low)) => {
                // Two hexadecimal digits are one byte.
                decoded.push((high << 4 | low) as u8);
                rest = &rest[2..];
            }
            _ => decoded.push(*first),
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    #[test]
    fn a_query_that_is_not_utf_8_is_a_fault() {
        fn check(query: &str, expected: Option<&[(&str, &str)]>) {
            let uri = format!("/x?{query}");
            let (parts, ()) = Request::get(uri).body(()).unwrap().into_parts();
            let mut faults = Vec::new();
            let pairs = query_pairs(&parts, &mut faults).unwrap();
            let pairs: Vec<_> = pairs
                .iter()
                .map(|(n, v)| (n.as_str(), v.as_str()))
                .collect();
            assert_eq!(faults.is_empty(), expected.is_some(), "{query}");
            assert_eq!(pairs, expected.unwrap_or_default(), "{query}");
        }
        check("user_id=J%C3%BCrgen", Some(&[("user_id", "J\u{fc}rgen")]));
        check("a=1&b=%2B+%", Some(&[("a", "1"), ("b", "+ %")]));
        check("a=%zz", Some(&[("a", "%zz")]));
        check("user_id=%ff", None);
        check("user_id=%C3&limit=%BC", None);
        check("%c3=1", None);
    }
}
