//! HTTP/2 over plain TCP, and pipelining.

use super::*;
use axum::{
    body::{Body, HttpBody},
    http::{Request, Version},
};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

type Sender = http2::SendRequest<Body>;

async fn open(server: &Server) -> (Sender, JoinHandle<hyper::Result<()>>) {
    let io = TokioIo::new(server.connect().await);
    let (sender, connection) = within(http2::handshake(TokioExecutor::new(), io))
        .await
        .unwrap();
    (sender, tokio::spawn(connection))
}

fn request(path: &str, body: Body) -> Request<Body> {
    let empty = body.size_hint().exact() == Some(0);
    Request::builder()
        .method(if empty { "GET" } else { "POST" })
        .uri(format!("http://test{path}"))
        .body(body)
        .unwrap()
}

async fn ask(sender: &mut Sender, path: &str, body: Body) -> (StatusCode, String) {
    let answer = within(sender.send_request(request(path, body)))
        .await
        .unwrap();
    assert_eq!(answer.version(), Version::HTTP_2);
    let status = answer.status();
    let body = within(answer.into_body().collect())
        .await
        .unwrap()
        .to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn http2_is_served_without_tls_to_who_begins_with_it() {
    let server = Server::start(patient()).await;
    let (mut sender, _connection) = open(&server).await;
    assert_eq!(
        ask(&mut sender, "/", Body::empty()).await,
        (StatusCode::OK, "hello".to_owned())
    );
    let echo = ask(&mut sender, "/echo", Body::new(Full::from("12345"))).await;
    assert_eq!(echo, (StatusCode::OK, "12345".to_owned()));
    assert_eq!(server.stats.accepted(), 1);
    server.stop().await;
}

#[tokio::test]
async fn idle_http2_connections_are_closed() {
    let server = Server::start(TransportSettings {
        idle_timeout: SHORT,
        ..patient()
    })
    .await;
    let (mut sender, connection) = open(&server).await;
    ask(&mut sender, "/", Body::empty()).await;
    within(connection).await.unwrap().unwrap();
    until("it is counted out", || server.stats.open() == 0).await;
    assert_eq!(server.stats.timed_out(), 0);
    server.stop().await;
}

#[tokio::test]
async fn a_silent_http2_client_is_closed() {
    let server = Server::start(TransportSettings {
        header_timeout: SHORT,
        ..patient()
    })
    .await;
    let (_sender, connection) = open(&server).await;
    let _ = within(connection).await.unwrap();
    until("it is counted", || server.stats.timed_out() == 1).await;
    server.stop().await;
}

#[tokio::test]
async fn slow_http2_bodies_are_recognised() {
    let server = Server::start(TransportSettings {
        body_timeout: SHORT,
        ..patient()
    })
    .await;
    let (mut sender, _connection) = open(&server).await;
    let endless = Body::from_stream(futures_util::stream::pending::<Result<Bytes, axum::Error>>());
    let late = ask(&mut sender, "/raw", endless).await;
    assert_eq!(late, (StatusCode::REQUEST_TIMEOUT, "late".to_owned()));
    assert_eq!(server.stats.timed_out(), 1);
    assert_eq!(ask(&mut sender, "/", Body::empty()).await.0, StatusCode::OK);
    server.stop().await;
}

#[tokio::test]
async fn the_drain_finishes_http2_requests() {
    let server = Server::start(patient()).await;
    let (mut sender, connection) = open(&server).await;
    ask(&mut sender, "/", Body::empty()).await;
    let held = sender.send_request(request("/held", Body::empty()));
    let held = tokio::spawn(held);
    let echo = ask(&mut sender, "/echo", Body::new(Full::from("sent after"))).await;
    assert_eq!(echo.1, "sent after");

    server.shutdown.cancel();
    server.hold.gate.add_permits(1);
    let answer = within(held).await.unwrap().unwrap();
    let body = within(answer.into_body().collect())
        .await
        .unwrap()
        .to_bytes();
    assert_eq!(body, "released");
    within(connection).await.unwrap().unwrap();
    server.stop().await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = Server::start(patient()).await;
    let mut client = server.connect().await;
    let echo = |text: &str| {
        let length = text.len();
        format!("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{text}")
    };
    send(&mut client, &(echo("one") + &echo("two") + GET)).await;
    for expected in ["one", "two", "hello"] {
        assert!(receive(&mut client).await.ends_with(expected));
    }
    server.stop().await;
}
