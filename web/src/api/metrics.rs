//! The metrics page.

use axum::body::Body;
use axum::http::{Response, StatusCode};
use utoipa::openapi::{RefOr, Schema};

use crate::allowed::{Allowed, MetricsRead};
use crate::answer::{Outcome, Output, typed};
use crate::schema;

/// All metrics as text.
pub(crate) struct Text(String);

pub(crate) async fn metrics(call: Allowed<MetricsRead>, (): ()) -> Outcome<Text> {
    let stats = &call.front.stats;
    let text = call.app().metrics_text(stats.open(), stats.refused())?;
    Ok(Text(text))
}

impl Output for Text {
    const STATUSES: &'static [StatusCode] = &[StatusCode::OK];
    const MEDIA_TYPE: &'static str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    fn schema() -> RefOr<Schema> {
        schema::text().into()
    }

    fn into_response(self) -> Outcome<Response<Body>> {
        Ok(typed(Self::MEDIA_TYPE, Body::from(self.0)))
    }
}
