//! A request in the making: sent when it is awaited.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;

use axum::body::Body;
use axum::http::{HeaderValue, Request};
use http_body_util::BodyExt;
use tower::ServiceExt;
use web::transport::Peer;

use crate::answer::Answer;
use crate::described;
use crate::harness::{ADMIN, Server};

/// Where requests come from unless a test says otherwise.
const CLIENT: &str = "192.0.2.7";

/// A request in the making; awaited, it is sent. Without more said, it comes from
/// [`CLIENT`] with the credential [`ADMIN`].
pub(crate) struct Call<'a> {
    server: &'a Server,
    method: &'static str,
    path: String,
    authorization: Vec<String>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    peer: IpAddr,
}

impl<'a> Call<'a> {
    pub(crate) fn new(server: &'a Server, method: &'static str, path: &str) -> Self {
        Self {
            server,
            method,
            path: path.to_owned(),
            authorization: vec![format!("Bearer {ADMIN}")],
            headers: Vec::new(),
            body: Vec::new(),
            peer: CLIENT.parse().unwrap(),
        }
    }

    /// With that body, said to be JSON.
    pub(crate) fn body(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        self.header("content-type", "application/json")
    }

    /// With that bearer credential.
    pub(crate) fn key(self, credential: &str) -> Self {
        self.authorization(&[&format!("Bearer {credential}")])
    }

    /// Without any credential.
    pub(crate) fn anonymous(self) -> Self {
        self.authorization(&[])
    }

    /// With exactly these `Authorization` headers.
    pub(crate) fn authorization(mut self, values: &[&str]) -> Self {
        self.authorization = values.iter().map(|value| (*value).to_owned()).collect();
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without the header of that name.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self
    }

    /// With an `Idempotency-Key`.
    pub(crate) fn once(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    /// From that socket.
    pub(crate) fn from(mut self, peer: &str) -> Self {
        self.peer = peer.parse().unwrap();
        self
    }

    fn request(self) -> Request<Body> {
        let mut request = Request::builder().method(self.method).uri(&self.path);
        for value in &self.authorization {
            request = request.header("authorization", value);
        }
        for (name, value) in &self.headers {
            // As bytes: a client may send more than ASCII.
            request = request.header(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let mut request = request.body(Body::from(self.body)).unwrap();
        request.extensions_mut().insert(Peer {
            address: SocketAddr::new(self.peer, 40_000),
            tls: false,
        });
        request
    }
}

/// A request on its way.
pub(crate) type Sent = Pin<Box<dyn Future<Output = Answer> + Send>>;

impl IntoFuture for Call<'_> {
    type Output = Answer;
    type IntoFuture = Sent;

    fn into_future(self) -> Self::IntoFuture {
        let router = self.server.router.clone();
        let (method, path) = (self.method, self.path.clone());
        let request = self.request();
        Box::pin(async move {
            let response = router.oneshot(request).await.unwrap();
            let (head, body) = response.into_parts();
            let answer = Answer {
                request: format!("{method} {path}"),
                status: head.status.as_u16(),
                headers: head.headers,
                body: body.collect().await.unwrap().to_bytes().to_vec(),
            };
            described::check(method, &path, &answer);
            answer
        })
    }
}

/// Sends all at once; the answers come in the order of the calls.
pub(crate) async fn together<'a>(calls: impl IntoIterator<Item = Call<'a>>) -> Vec<Answer> {
    let sent: Vec<_> = calls
        .into_iter()
        .map(|call| tokio::spawn(call.into_future()))
        .collect();
    let mut answers = Vec::new();
    for answer in sent {
        answers.push(answer.await.unwrap());
    }
    answers
}
