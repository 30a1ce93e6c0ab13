//! What a handler answers with: the envelopes of the contract, and how each is described.

use app::{Page, Reply};
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Response, StatusCode};
use serde::Serialize;
use utoipa::openapi::{RefOr, Schema};

use crate::refusal::{IDEMPOTENT_REPLAYED, Refusal};
use crate::schema::{Shape, constant, list, member, nullable, object, text};

/// The media type of most answers.
pub(crate) const JSON: &str = "application/json";

/// What a handler returns.
pub(crate) type Outcome<T> = Result<T, Refusal>;

/// An answer that knows its own description.
pub(crate) trait Output: Send {
    /// The statuses it may have.
    const STATUSES: &'static [StatusCode];
    /// The media type of its body.
    const MEDIA_TYPE: &'static str = JSON;
    /// Another one that a client may ask for by `Accept`.
    const OTHER_MEDIA_TYPE: Option<&'static str> = None;
    /// It may come with a cookie.
    const SETS_COOKIE: bool = false;

    /// What the body is like.
    fn schema() -> RefOr<Schema>;

    /// Names that the schema refers to.
    fn shapes() -> Vec<(&'static str, Schema)> {
        Vec::new()
    }

    /// The answer itself.
    ///
    /// # Errors
    /// When it cannot be written as JSON, which is a defect.
    fn into_response(self) -> Outcome<Response<Body>>;
}

/// `{"success": true, "message": …, "data": {…}}`.
pub(crate) struct Success<T, const STATUS: u16> {
    message: &'static str,
    data: Reply<T>,
    replayed: bool,
}

/// Done: 200.
pub(crate) type Done<T> = Success<T, 200>;

/// Made: 201.
pub(crate) type Made<T> = Success<T, 201>;

impl<T, const STATUS: u16> Success<T, STATUS> {
    /// An answer made just now.
    pub(crate) fn new(message: &'static str, data: T) -> Self {
        Self::reply(message, Reply::Fresh(data))
    }

    /// An answer made just now, or the kept one.
    pub(crate) fn reply(message: &'static str, data: Reply<T>) -> Self {
        Self {
            message,
            replayed: matches!(data, Reply::Replayed(_)),
            data,
        }
    }

    /// Says that a lane gave its kept answer.
    pub(crate) fn replayed(mut self, replayed: bool) -> Self {
        self.replayed = replayed;
        self
    }
}

#[derive(Serialize)]
struct Envelope<'a, T: ?Sized> {
    success: bool,
    message: &'a str,
    data: &'a T,
}

impl<T: Serialize + Shape + Send, const STATUS: u16> Output for Success<T, STATUS> {
    const STATUSES: &'static [StatusCode] = status::<STATUS>();

    fn schema() -> RefOr<Schema> {
        let data = crate::schema::Member {
            name: "data",
            schema: T::reference(),
            required: true,
        };
        let members = vec![
            member("success", constant(true), "The call did what it says."),
            member("message", text(), "A sentence for people."),
            data,
        ];
        object(members).into()
    }

    fn shapes() -> Vec<(&'static str, Schema)> {
        vec![(T::NAME, object(T::members()))]
    }

    fn into_response(self) -> Outcome<Response<Body>> {
        let mut response = match &self.data {
            Reply::Fresh(data) => envelope(self.message, data)?,
            Reply::Replayed(data) => envelope(self.message, data)?,
        };
        *response.status_mut() = Self::STATUSES[0];
        note(&mut response, self.replayed);
        Ok(response)
    }
}

fn envelope<T: Serialize + ?Sized>(message: &str, data: &T) -> Outcome<Response<Body>> {
    json(&Envelope {
        success: true,
        message,
        data,
    })
}

/// A list: `{"data": […], "next_cursor": …}`.
impl<T: Serialize + Shape + Send> Output for Page<T> {
    const STATUSES: &'static [StatusCode] = &[StatusCode::OK];

    fn schema() -> RefOr<Schema> {
        let about = "Where the next page begins; `null` at the end.";
        let members = vec![
            member("data", list(T::reference()), "The entries."),
            member("next_cursor", nullable(text()), about),
        ];
        object(members).into()
    }

    fn shapes() -> Vec<(&'static str, Schema)> {
        vec![(T::NAME, object(T::members()))]
    }

    fn into_response(self) -> Outcome<Response<Body>> {
        json(&self)
    }
}

/// A value without an envelope.
pub(crate) struct Bare<T, const STATUS: u16>(pub(crate) T);

impl<T: Serialize + Shape + Send, const STATUS: u16> Output for Bare<T, STATUS> {
    const STATUSES: &'static [StatusCode] = status::<STATUS>();

    fn schema() -> RefOr<Schema> {
        T::reference()
    }

    fn shapes() -> Vec<(&'static str, Schema)> {
        vec![(T::NAME, object(T::members()))]
    }

    fn into_response(self) -> Outcome<Response<Body>> {
        let mut response = json(&self.0)?;
        *response.status_mut() = Self::STATUSES[0];
        Ok(response)
    }
}

/// An answer of an old service, without an envelope: made just now, or the kept one.
pub(crate) struct Fixed<T, const STATUS: u16> {
    data: Reply<T>,
    replayed: bool,
}

impl<T, const STATUS: u16> Fixed<T, STATUS> {
    /// An answer made just now, or the kept one.
    pub(crate) fn reply(data: Reply<T>) -> Self {
        Self {
            replayed: matches!(data, Reply::Replayed(_)),
            data,
        }
    }

    /// The answer of a lane, which says itself whether it is the kept one.
    pub(crate) fn of_lane(data: T, replayed: bool) -> Self {
        let data = Reply::Fresh(data);
        Self { data, replayed }
    }
}

impl<T: Serialize + Shape + Send, const STATUS: u16> Output for Fixed<T, STATUS> {
    const STATUSES: &'static [StatusCode] = status::<STATUS>();

    fn schema() -> RefOr<Schema> {
        T::reference()
    }

    fn shapes() -> Vec<(&'static str, Schema)> {
        vec![(T::NAME, object(T::members()))]
    }

    fn into_response(self) -> Outcome<Response<Body>> {
        let mut response = match &self.data {
            Reply::Fresh(data) => json(data)?,
            Reply::Replayed(data) => json(data)?,
        };
        *response.status_mut() = Self::STATUSES[0];
        note(&mut response, self.replayed);
        Ok(response)
    }
}

/// Says of a kept answer that it is one.
fn note(response: &mut Response<Body>, replayed: bool) {
    if replayed {
        let yes = HeaderValue::from_static("true");
        response.headers_mut().insert(IDEMPOTENT_REPLAYED, yes);
    }
}

const fn status<const STATUS: u16>() -> &'static [StatusCode] {
    match STATUS {
        201 => &[StatusCode::CREATED],
        202 => &[StatusCode::ACCEPTED],
        _ => &[StatusCode::OK],
    }
}

/// A value as an answer with status 200.
///
/// # Errors
/// When it cannot be written as JSON, which is a defect.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> Outcome<Response<Body>> {
    let mut body = Vec::with_capacity(256);
    serde_json::to_writer(&mut body, value).map_err(app::Error::from)?;
    Ok(typed(JSON, Body::from(body)))
}

/// A body of that media type as an answer with status 200.
pub(crate) fn typed(media_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let media_type = HeaderValue::from_static(media_type);
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;
    use crate::schema::Member;

    #[derive(Serialize)]
    struct Sample {
        valid: bool,
    }

    impl Shape for Sample {
        const NAME: &'static str = "Sample";
        fn members() -> Vec<Member> {
            vec![member("valid", constant(true), "Right.")]
        }
    }

    async fn told(output: impl Output) -> (u16, Option<String>, String) {
        let response = output.into_response().unwrap();
        let replayed = response.headers().get(IDEMPOTENT_REPLAYED);
        let replayed = replayed.map(|value| value.to_str().unwrap().to_owned());
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, replayed, String::from_utf8(body.into()).unwrap())
    }

    #[tokio::test]
    async fn a_success_has_the_envelope_of_the_contract() {
        let text = r#"{"success":true,"message":"Well","data":{"valid":true}}"#;
        let sample = || Sample { valid: true };
        let fresh = told(Done::new("Well", sample())).await;
        assert_eq!(fresh, (200, None, text.into()));
        let made = told(Made::new("Well", sample())).await;
        assert_eq!(made, (201, None, text.into()));
        let kept = serde_json::value::to_raw_value(&sample()).unwrap();
        let kept = told(Made::<Sample>::reply("Well", Reply::Replayed(kept))).await;
        assert_eq!(kept, (201, Some("true".into()), text.into()));
        let lane = told(Done::new("Well", sample()).replayed(true)).await;
        assert_eq!(lane.1.as_deref(), Some("true"));
    }

    #[tokio::test]
    async fn an_old_service_has_no_envelope() {
        let text = r#"{"valid":true}"#;
        let sample = || Sample { valid: true };
        let fresh = told(Fixed::<_, 201>::reply(Reply::Fresh(sample()))).await;
        assert_eq!(fresh, (201, None, text.into()));
        let kept = serde_json::value::to_raw_value(&sample()).unwrap();
        let kept = told(Fixed::<Sample, 200>::reply(Reply::Replayed(kept))).await;
        assert_eq!(kept, (200, Some("true".into()), text.into()));
        let lane = told(Fixed::<_, 200>::of_lane(sample(), true)).await;
        assert_eq!(lane.1.as_deref(), Some("true"));
    }

    #[tokio::test]
    async fn a_list_has_its_entries_and_a_cursor() {
        let page = Page {
            data: vec![Sample { valid: true }],
            next_cursor: None,
        };
        let text = r#"{"data":[{"valid":true}],"next_cursor":null}"#;
        assert_eq!(told(page).await, (200, None, text.into()));
    }
}
