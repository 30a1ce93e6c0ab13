//! The OpenAPI document and the page that shows it, with nothing loaded from elsewhere.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderValue, Response};
use axum::routing::{MethodFilter, on};
use utoipa_swagger_ui::Config;

use crate::answer::{JSON, Outcome, typed};
use crate::endpoint::settle;
use crate::front::Front;
use crate::refusal::Refusal;

/// Scripts from here only; the page sets styles of its own, which need the exception.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PAGE: &str = r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>otpd API</title>
<link rel="icon" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="page"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"#;

const START: &str = r##"// Two calls stand apart for the sake of one name; they are for the end of the list.
const late = (it) => ["get", "delete"].includes(it.get("method")) && it.get("path").endsWith("/devices/register");
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#page",
  deepLinking: true,
  displayRequestDuration: true,
  filter: true,
  operationsSorter: (a, b) => late(a) - late(b),
  defaultModelsExpandDepth: 0,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
});
"##;

/// The files of the bundle that the page uses.
const FILES: [&str; 3] = [
    "favicon-32x32.png",
    "swagger-ui.css",
    "swagger-ui-bundle.js",
];

/// Written once: it is the same for every request.
static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| {
    let document = crate::routes::openapi();
    serde_json::to_vec(&document).unwrap_or_default().into()
});

/// `/openapi.json`, `/docs` and what the page needs.
pub(crate) fn router() -> Router<Arc<Front>> {
    Router::new()
        .route("/openapi.json", on(MethodFilter::GET, document))
        .route("/docs", on(MethodFilter::GET, page))
        .route("/docs/{file}", on(MethodFilter::GET, file))
}

async fn document(State(front): State<Arc<Front>>, request: Request) -> Response<Body> {
    let body = Body::from(DOCUMENT.clone());
    settle(&front, &request, Ok(typed(JSON, body)))
}

async fn page(State(front): State<Arc<Front>>, request: Request) -> Response<Body> {
    let mut response = typed("text/html; charset=utf-8", Body::from(PAGE));
    let policy = HeaderValue::from_static(POLICY);
    response
        .headers_mut()
        .insert(CONTENT_SECURITY_POLICY, policy);
    settle(&front, &request, Ok(response))
}

async fn file(
    State(front): State<Arc<Front>>,
    Path(name): Path<String>,
    request: Request,
) -> Response<Body> {
    let result = match name.as_str() {
        "start.js" => Ok(typed("text/javascript; charset=utf-8", Body::from(START))),
        name if FILES.contains(&name) => bundled(name),
        _ => Err(Refusal::NoRoute),
    };
    settle(&front, &request, result)
}

fn bundled(name: &str) -> Outcome<Response<Body>> {
    let file = utoipa_swagger_ui::serve(name, Arc::new(Config::default()));
    let file = file.ok().flatten().ok_or(Refusal::NoRoute)?;
    let media_type = HeaderValue::from_str(&file.content_type);
    let mut response = Response::new(Body::from(file.bytes.into_owned()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, media_type.map_err(|_| Refusal::NoRoute)?);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=3600"));
    if file.gzpipped {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}
