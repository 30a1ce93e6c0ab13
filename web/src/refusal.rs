//! How a request ends that is not answered with what it asked for: the problem document.

use std::error::Error as _;

use app::Fault;
use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

use crate::problem::Problem;
use crate::schema::{Member, Shape, constant, integer, list, maybe, member, object, text, words};

/// Says that an answer is the kept one of an earlier request.
pub(crate) const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// The media type of problem documents.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// Why a request is not answered with what it asked for.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The application says so.
    App(app::Error),
    /// There is no such path.
    NoRoute,
    /// Not with this method.
    Method,
    /// The body is too long.
    TooLarge,
    /// The body came too slowly.
    TooSlow,
    /// The body is not JSON; a sentence that says why.
    NotJson(String),
}

impl From<app::Error> for Refusal {
    fn from(error: app::Error) -> Self {
        Self::App(error)
    }
}

/// What the document is about and how much it may say.
pub(crate) struct Telling<'a> {
    /// The id of the request.
    pub(crate) request_id: &'a str,
    /// Under `/api/v1`, whose clients look for `success` and `message`.
    pub(crate) envelope: bool,
    /// Name the causes.
    pub(crate) debug: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    success: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<Vec<FaultView<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    debug: Option<Vec<String>>,
}

#[derive(Serialize)]
struct FaultView<'a> {
    pointer: &'a str,
    detail: &'a str,
}

impl Shape for Refusal {
    const NAME: &'static str = "Problem";

    fn members() -> Vec<Member> {
        let fault = object(vec![
            member(
                "pointer",
                text(),
                "Where: a JSON pointer into the body (`/otp`), a parameter (`?limit`), a part of the path (`{device_id}`) or a header (`Idempotency-Key:`).",
            ),
            member("detail", text(), "What is wrong with it."),
        ]);
        let codes = Problem::ALL.iter().map(|problem| problem.code());
        vec![
            member("type", text(), "The code as a URN."),
            member("title", text(), "A few words, the same each time."),
            member("status", integer(), "The status of the answer."),
            member("detail", text(), "A sentence for people."),
            member("code", words(codes), "The stable word for programs."),
            member("request_id", text(), "The same as `X-Request-Id`."),
            maybe("success", constant(false), "Under `/api/v1`."),
            maybe("message", text(), "`detail` again, under `/api/v1`."),
            maybe(
                "errors",
                list(fault),
                "Every fault, with `validation_failed`.",
            ),
            maybe(
                "debug",
                list(text()),
                "The chain of causes, in debug mode only.",
            ),
        ]
    }
}

impl Refusal {
    fn problem(&self) -> Problem {
        match self {
            Self::App(error) => Problem::of(error),
            Self::NoRoute => Problem::NotFound,
            Self::Method => Problem::MethodNotAllowed,
            Self::TooLarge => Problem::BodyTooLarge,
            Self::TooSlow => Problem::BodyTimeout,
            Self::NotJson(_) => Problem::InvalidJson,
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::App(error) => error.to_string(),
            Self::NoRoute => "There is nothing at this path.".into(),
            Self::Method => "This path does not take this method.".into(),
            Self::TooLarge => "The body is longer than 16 KiB.".into(),
            Self::TooSlow => "The body did not arrive in time.".into(),
            Self::NotJson(why) => why.clone(),
        }
    }

    /// The problem document with its headers. Causes that are not the client's are
    /// logged here, once.
    pub(crate) fn answer(&self, telling: &Telling<'_>) -> Response<Body> {
        let problem = self.problem();
        let causes = self.causes();
        self.log(telling.request_id, &causes);
        let detail = self.detail();
        let document = Document {
            r#type: format!("urn:otpd:error:{}", problem.code()),
            title: problem.title(),
            status: problem.status().as_u16(),
            detail: &detail,
            code: problem.code(),
            request_id: telling.request_id,
            success: telling.envelope.then_some(false),
            message: telling.envelope.then_some(&detail),
            errors: self.faults().map(views),
            debug: (telling.debug && !causes.is_empty()).then_some(causes),
        };
        // Texts and numbers only: this cannot fail.
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = problem.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if problem.status() == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after() {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if matches!(self, Self::App(app::Error::Replayed(_))) {
            headers.insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
        }
        response
    }

    fn faults(&self) -> Option<&[Fault]> {
        match self {
            Self::App(app::Error::Invalid(faults)) => Some(faults),
            _ => None,
        }
    }

    fn retry_after(&self) -> Option<u32> {
        match self {
            Self::App(
                app::Error::RateLimited { retry_after } | app::Error::Locked { retry_after },
            ) => Some(*retry_after),
            Self::App(app::Error::Busy | app::Error::Unavailable(_)) => Some(1),
            _ => None,
        }
    }

    fn causes(&self) -> Vec<String> {
        let Self::App(error) = self else {
            return Vec::new();
        };
        let mut causes = Vec::new();
        let mut cause = error.source();
        while let Some(next) = cause {
            causes.push(next.to_string());
            cause = next.source();
        }
        causes
    }

    fn log(&self, request_id: &str, causes: &[String]) {
        match self {
            Self::App(app::Error::Internal(_)) => {
                tracing::error!(request_id, causes = causes.join(": "), "a request failed");
            }
            Self::App(app::Error::Unavailable(_)) => {
                tracing::warn!(request_id, causes = causes.join(": "), "no database");
            }
            _ => {}
        }
    }
}

fn views(faults: &[Fault]) -> Vec<FaultView<'_>> {
    let view = |fault| {
        let Fault { pointer, detail }: &Fault = fault;
        FaultView { pointer, detail }
    };
    faults.iter().map(view).collect()
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use serde_json::{Value, json};

    use super::*;

    async fn told(refusal: Refusal, envelope: bool, debug: bool) -> (Response<()>, Value) {
        let telling = Telling {
            request_id: "r-1",
            envelope,
            debug,
        };
        let (parts, body) = refusal.answer(&telling).into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let body = serde_json::from_slice(&body).unwrap();
        (Response::from_parts(parts, ()), body)
    }

    #[tokio::test]
    async fn faults_are_listed_and_old_clients_find_success_and_message() {
        let error = app::Error::invalid("/otp", "Must be a code.");
        let (response, body) = told(error.into(), true, false).await;
        assert_eq!(response.headers()[CONTENT_TYPE], PROBLEM_JSON);
        let expected = json!({
            "type": "urn:otpd:error:validation_failed",
            "title": "Not valid",
            "status": 422,
            "detail": "The request is not valid.",
            "code": "validation_failed",
            "request_id": "r-1",
            "success": false,
            "message": "The request is not valid.",
            "errors": [{ "pointer": "/otp", "detail": "Must be a code." }],
        });
        assert_eq!(body, expected);
    }

    #[tokio::test]
    async fn headers_tell_how_to_go_on() {
        async fn check(refusal: Refusal, name: HeaderName, value: &str) {
            let (response, _) = told(refusal, false, false).await;
            assert_eq!(response.headers()[name], value);
        }
        let limited = app::Error::RateLimited { retry_after: 7 };
        check(limited.into(), RETRY_AFTER, "7").await;
        check(app::Error::Busy.into(), RETRY_AFTER, "1").await;
        check(
            app::Error::Unauthenticated.into(),
            WWW_AUTHENTICATE,
            "Bearer",
        )
        .await;
        let kept = app::Error::Replayed(Box::new(app::Error::DeviceExists));
        check(kept.into(), IDEMPOTENT_REPLAYED, "true").await;
    }

    #[tokio::test]
    async fn causes_are_told_in_debug_mode_only() {
        let broken = || app::Error::Internal("the cause".into());
        let (_, body) = told(broken().into(), false, false).await;
        assert_eq!(body.get("debug"), None);
        assert_eq!(body.get("success"), None);
        assert_eq!(body["detail"], "The server could not do this.");
        let (_, body) = told(broken().into(), false, true).await;
        assert_eq!(body["debug"], json!(["the cause"]));
    }
}
