//! Makes the OpenAPI 3.1 document of the routes, the answers that all calls share included.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::{Method, StatusCode};
use utoipa::openapi::path::{OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    Components, Content, ContentBuilder, Header, HeaderBuilder, HttpMethod, InfoBuilder,
    LicenseBuilder, OpenApi, OpenApiBuilder, Paths, Ref, Required, Response, ResponseBuilder,
    Schema,
};

use crate::allowed::IDEMPOTENCY_KEY_PATTERN;
use crate::answer::JSON;
use crate::examples;
use crate::input::{Place, Wanted};
use crate::problem::Problem;
use crate::refusal::{PROBLEM_JSON, Refusal};
use crate::schema::{self, Member, Shape, object, there};
use crate::security;
use crate::table::Operation;

const FORM: &str = "application/x-www-form-urlencoded";

const ABOUT: &str = "One-time passwords for services: devices, codes, users. Errors are `application/problem+json` documents (RFC 9457); programs go by `code`.";

/// The document of these operations, under these headings.
pub(crate) fn of(operations: Vec<Operation>, tags: &[(&'static str, &'static str)]) -> OpenApi {
    let mut components = Components::new();
    security::schemes(&mut components);
    let problem = object(Refusal::members());
    components
        .schemas
        .insert(Refusal::NAME.into(), problem.into());
    for problem in Problem::ALL {
        let status = problem.status();
        let response = problem_response(status, &[]);
        components
            .responses
            .insert(reference(status), response.into());
    }
    let mut paths = Paths::new();
    for operation in operations {
        for (name, shape) in &operation.shapes {
            components
                .schemas
                .insert((*name).into(), shape.clone().into());
        }
        let method = match operation.method {
            Method::POST => HttpMethod::Post,
            Method::DELETE => HttpMethod::Delete,
            _ => HttpMethod::Get,
        };
        paths.add_path_operation(operation.path, vec![method], described(&operation));
    }
    let tag = |(name, about): &(&str, &str)| {
        let tag = TagBuilder::new().name(*name).description(Some(*about));
        tag.build()
    };
    let license = LicenseBuilder::new()
        .name("MIT")
        .identifier(Some("MIT"))
        .build();
    let info = InfoBuilder::new()
        .title("otpd")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(license))
        .build();
    OpenApiBuilder::new()
        .info(info)
        .tags(Some(tags.iter().map(tag)))
        .paths(paths)
        .components(Some(components))
        .build()
}

fn described(operation: &Operation) -> utoipa::openapi::path::Operation {
    let mut builder = OperationBuilder::new()
        .tag(operation.tag)
        .summary(Some(operation.summary))
        .operation_id(Some(id(operation)));
    for wanted in &operation.input.0 {
        if wanted.place != Place::Body {
            builder = builder.parameter(parameter(wanted));
        }
    }
    if repeatable(operation) {
        builder = builder.parameter(idempotency_key());
    }
    for requirement in security::requirements(operation) {
        builder = builder.security(requirement);
    }
    builder = builder.request_body(body(operation));
    for status in operation.statuses {
        builder = builder.response(status.as_str(), success(operation, *status));
    }
    for (status, own) in problems(operation) {
        builder = match own.as_slice() {
            [] => builder.response(status.as_str(), Ref::from_response_name(reference(status))),
            own => builder.response(status.as_str(), problem_response(status, own)),
        };
    }
    builder.build()
}

/// `POST /api/v1/devices/{device_id}/confirm` is `post_devices_device_id_confirm`;
/// `POST /otp/verify` is `post_user_otp_verify`, as the other one is under `/api/v1`.
fn id(operation: &Operation) -> String {
    let path = match operation.path.strip_prefix("/otp/") {
        Some(rest) => &format!("/user/otp/{rest}"),
        None => operation.path.trim_start_matches("/api/v1"),
    };
    let words = path.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let method = operation.method.as_str().to_ascii_lowercase();
    format!("{method}_{}", words.join("_"))
}

fn repeatable(operation: &Operation) -> bool {
    operation.scope.is_some() && operation.method == Method::POST
}

fn parameter(wanted: &Wanted) -> Parameter {
    let place = match wanted.place {
        Place::Path => ParameterIn::Path,
        Place::Query | Place::Body => ParameterIn::Query,
    };
    ParameterBuilder::new()
        .name(wanted.name)
        .parameter_in(place)
        .required(if wanted.required {
            Required::True
        } else {
            Required::False
        })
        .description(Some(wanted.about))
        .schema(Some(wanted.schema.clone()))
        .example(match wanted.place {
            Place::Path => examples::of_part(wanted.name).map(Into::into),
            Place::Query | Place::Body => None,
        })
        .build()
}

fn idempotency_key() -> Parameter {
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("Made by the caller for each attempt: repeated with the same body, the call gives its first answer again and nothing happens twice."))
        .schema(Some(schema::pattern(IDEMPOTENCY_KEY_PATTERN)))
        .build()
}

fn body(operation: &Operation) -> Option<utoipa::openapi::request_body::RequestBody> {
    let member = |wanted: &Wanted| {
        let schema = wanted.schema.clone();
        Member {
            name: wanted.name,
            // A form has no `null`.
            schema: if operation.form {
                there(schema)
            } else {
                schema
            }
            .into(),
            required: wanted.required,
        }
    };
    let members: Vec<Member> = operation.input.at(Place::Body).map(member).collect();
    if members.is_empty() {
        return None;
    }
    let example = examples::of(operation).and_then(|it| it.request.clone());
    let content = ContentBuilder::new()
        .schema(Some(object(members)))
        .example(example)
        .build();
    let media_type = if operation.form { FORM } else { JSON };
    Some(
        RequestBodyBuilder::new()
            .content(media_type, content)
            .required(Some(if operation.input.needs_body() {
                Required::True
            } else {
                Required::False
            }))
            .build(),
    )
}

fn success(operation: &Operation, status: StatusCode) -> Response {
    let example = examples::of(operation).and_then(|it| it.answer.clone());
    let content = ContentBuilder::new()
        .schema(Some(operation.schema.clone()))
        .example(example)
        .build();
    let mut builder = ResponseBuilder::new()
        .description(title(status))
        .content(operation.media_type, content.clone())
        .header("X-Request-Id", request_id());
    if let Some(other) = operation.other_media_type {
        builder = builder.content(other, content);
    }
    if operation.sets_cookie {
        let about = "The login that waits, or that it does no more.";
        builder = builder.header("Set-Cookie", header(schema::text(), about));
    }
    if repeatable(operation) {
        builder = builder.header("Idempotent-Replayed", replayed());
    }
    builder.build()
}

/// The statuses of problems that this call may end with, each with the codes that are
/// its own; an empty list is what all calls share.
fn problems(operation: &Operation) -> BTreeMap<StatusCode, Vec<Problem>> {
    let mut shared = BTreeSet::new();
    if operation.scope.is_some() {
        let needs = [Problem::Unauthenticated, Problem::InsufficientScope];
        shared.extend(needs.map(Problem::status));
    }
    if operation.scope.is_some() || operation.public {
        shared.extend(
            [
                Problem::ValidationFailed,
                Problem::RateLimited,
                Problem::InternalError,
                Problem::Unavailable,
            ]
            .map(Problem::status),
        );
    }
    if operation.method == Method::POST {
        shared.extend(
            [
                Problem::InvalidJson,
                Problem::BodyTimeout,
                Problem::BodyTooLarge,
            ]
            .map(Problem::status),
        );
    }
    if repeatable(operation) {
        shared.insert(Problem::IdempotencyKeyRunning.status());
    }
    let mut problems: BTreeMap<_, _> = shared.into_iter().map(|status| (status, vec![])).collect();
    for problem in operation.problems {
        problems.entry(problem.status()).or_default().push(*problem);
    }
    problems
}

fn reference(status: StatusCode) -> String {
    format!("Problem{}", status.as_u16())
}

fn problem_response(status: StatusCode, own: &[Problem]) -> Response {
    let codes = own.iter().map(|problem| format!("`{}`", problem.code()));
    let codes: Vec<String> = codes.collect();
    let description = match codes.as_slice() {
        [] => title(status).to_owned(),
        codes => format!("{}: {}", title(status), codes.join(", ")),
    };
    let content = Content::new(Some(<Refusal as Shape>::reference()));
    let mut builder = ResponseBuilder::new()
        .description(description)
        .content(PROBLEM_JSON, content)
        .header("X-Request-Id", request_id());
    if status == StatusCode::UNAUTHORIZED {
        builder = builder.header("WWW-Authenticate", Header::default());
    }
    if matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    ) {
        builder = builder.header("Retry-After", seconds());
    }
    // These two are kept for a repeated request, as a success is; and a kept success
    // becomes "wrong code" when what proved it has been revoked since.
    if matches!(status, StatusCode::NOT_FOUND | StatusCode::CONFLICT)
        || own.contains(&Problem::InvalidOtp)
    {
        builder = builder.header("Idempotent-Replayed", replayed());
    }
    builder.build()
}

fn title(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("Answer")
}

fn request_id() -> Header {
    header(
        schema::pattern("^[A-Za-z0-9._-]{1,64}$"),
        "The id of the request, as in the logs.",
    )
}

fn replayed() -> Header {
    header(
        schema::words(["true"]),
        "There when this is the kept answer of an earlier request.",
    )
}

fn seconds() -> Header {
    header(schema::integer(), "Seconds to wait.")
}

fn header(schema: Schema, about: &str) -> Header {
    HeaderBuilder::new()
        .schema(Some(schema))
        .description(Some(about))
        .build()
}
