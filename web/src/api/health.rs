//! Whether the server lives, and whether it can do its work: for people, monitors and orchestrators.

use std::sync::Arc;

use app::{Health, Readiness};
use axum::body::Body;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, Response, StatusCode};
use utoipa::openapi::{RefOr, Schema};

use crate::answer::{JSON, Outcome, Output, json, typed};
use crate::front::Front;
use crate::schema::{maybe, member, object, text, words};

const OK: &str = r#"{"status":"ok"}"#;

/// The full answer.
pub(crate) struct Report(Readiness, Health);

pub(crate) async fn health(front: Arc<Front>) -> Outcome<Report> {
    let (readiness, health) = front.app.health().await;
    Ok(Report(readiness, health))
}

/// The process runs.
pub(crate) struct Alive;

/// Touches nothing: as long as this is answered, a restart would not help.
pub(crate) async fn alive(_front: Arc<Front>) -> Outcome<Alive> {
    Ok(Alive)
}

/// The status in one word.
pub(crate) struct Word(Readiness);

pub(crate) async fn ready(front: Arc<Front>) -> Outcome<Word> {
    if front.stats.is_leaving() {
        return Ok(Word(Readiness::NotReady));
    }
    let (readiness, _) = front.app.health().await;
    Ok(Word(readiness))
}

const EITHER: &[StatusCode] = &[StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE];

fn with_readiness(mut response: Response<Body>, readiness: Readiness) -> Response<Body> {
    if readiness == Readiness::NotReady {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

impl Output for Report {
    const STATUSES: &'static [StatusCode] = EITHER;

    fn schema() -> RefOr<Schema> {
        let database = member(
            "database",
            words(["ok", "degraded", "unavailable"]),
            "The system of record.",
        );
        let mail = member("mail", words(["ok", "degraded"]), "The way out for mail.");
        let redis = maybe(
            "redis",
            words(["ok", "degraded"]),
            "What the servers count rates in together, where `redis.url` is set.",
        );
        let states = words(["ok", "degraded", "unavailable"]);
        object(vec![
            member("status", states, "The whole."),
            member("version", text(), "The version of the server."),
            member(
                "checks",
                object(vec![database, mail, redis]),
                "Each dependency.",
            ),
            maybe(
                "details",
                object(vec![
                    maybe("database", text(), "What became of the system of record."),
                    maybe("mail", text(), "Why mail does not go out."),
                ]),
                "What is wrong, in words for people; absent when nothing is to be told.",
            ),
        ])
        .into()
    }

    fn into_response(self) -> Outcome<Response<Body>> {
        Ok(with_readiness(json(&self.1)?, self.0))
    }
}

fn word_schema() -> RefOr<Schema> {
    let states = words(["ok", "unavailable"]);
    object(vec![member("status", states, "The answer.")]).into()
}

impl Output for Word {
    const STATUSES: &'static [StatusCode] = EITHER;

    fn schema() -> RefOr<Schema> {
        word_schema()
    }

    fn into_response(self) -> Outcome<Response<Body>> {
        let word = match self.0 {
            Readiness::Ready => OK,
            Readiness::NotReady => r#"{"status":"unavailable"}"#,
        };
        Ok(with_readiness(typed(JSON, Body::from(word)), self.0))
    }
}

impl Output for Alive {
    const STATUSES: &'static [StatusCode] = &[StatusCode::OK];

    fn schema() -> RefOr<Schema> {
        word_schema()
    }

    fn into_response(self) -> Outcome<Response<Body>> {
        Ok(typed(JSON, Body::from(OK)))
    }
}
