//! What a client on a real socket sees of the transport.

mod crowd;
mod leaving;
mod limits;
mod protocols;
mod tls;
mod turns;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{Extension, Router, body::Bytes, http::StatusCode, routing};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{Bound, Peer, TransportError, TransportSettings, TransportStats, bind};

/// Long enough for any machine, short enough to see that something hangs.
const DEADLINE: Duration = Duration::from_secs(20);

/// Long enough never to be reached by a test.
const LONG: Duration = Duration::from_secs(600);

/// Short enough to wait for.
const SHORT: Duration = Duration::from_millis(150);

fn patient() -> TransportSettings {
    TransportSettings {
        host: "127.0.0.1".to_owned(),
        port: 0,
        tls: None,
        max_connections: 100,
        max_connections_per_address: 100,
        unlimited: Vec::new(),
        header_timeout: LONG,
        body_timeout: LONG,
        idle_timeout: LONG,
        leave_timeout: Duration::ZERO,
        drain_timeout: LONG,
    }
}

/// Keeps the requests of `/held` until the test adds a permit to `gate`.
struct Hold {
    gate: Semaphore,
    entered: AtomicU64,
}

fn router(hold: &Arc<Hold>) -> Router {
    let hold = Arc::clone(hold);
    let held = move || async move {
        hold.entered.fetch_add(1, Relaxed);
        hold.gate.acquire().await.unwrap().forget();
        "released"
    };
    Router::new()
        .route("/", routing::get(|| async { "hello" }))
        .route("/echo", routing::post(|body: Bytes| async { body }))
        .route("/early", routing::post(|| async { "not read" }))
        .route("/large", routing::get(|| async { vec![0_u8; 64 << 20] }))
        .route("/panic", routing::get(panicking))
        .route("/peer", routing::get(show_peer))
        .route("/raw", routing::post(judge_body))
        .route("/held", routing::get(held))
}

async fn panicking() -> &'static str {
    panic!("on purpose")
}

async fn show_peer(Extension(peer): Extension<Peer>) -> String {
    format!("{} {}", peer.address, peer.tls)
}

async fn judge_body(body: axum::body::Body) -> (StatusCode, &'static str) {
    match axum::body::to_bytes(body, 1000).await {
        Ok(_) => (StatusCode::OK, "whole"),
        Err(error) if super::is_body_timeout(&error) => (StatusCode::REQUEST_TIMEOUT, "late"),
        Err(_) => (StatusCode::PAYLOAD_TOO_LARGE, "broken"),
    }
}

struct Server {
    address: SocketAddr,
    shutdown: CancellationToken,
    stats: Arc<TransportStats>,
    hold: Arc<Hold>,
    task: JoinHandle<Result<(), TransportError>>,
}

impl Server {
    async fn start(settings: TransportSettings) -> Self {
        Self::serve(bind(&settings).await.unwrap())
    }

    fn serve(bound: Bound) -> Self {
        let hold = Arc::new(Hold {
            gate: Semaphore::new(0),
            entered: AtomicU64::new(0),
        });
        let shutdown = CancellationToken::new();
        let stats = Arc::new(TransportStats::default());
        Self {
            address: bound.local_addr(),
            task: tokio::spawn(bound.serve(router(&hold), shutdown.clone(), Arc::clone(&stats))),
            shutdown,
            stats,
            hold,
        }
    }

    async fn connect(&self) -> TcpStream {
        within(TcpStream::connect(self.address)).await.unwrap()
    }

    async fn connect_held(&self) -> TcpStream {
        let mut client = self.connect().await;
        send(&mut client, "GET /held HTTP/1.1\r\nHost: test\r\n\r\n").await;
        until("the request is held", || {
            self.hold.entered.load(Relaxed) > 0
        })
        .await;
        client
    }

    async fn stop(self) {
        self.shutdown.cancel();
        within(self.task).await.unwrap().unwrap();
        assert_eq!(self.stats.open(), 0);
    }
}

async fn within<F: Future>(future: F) -> F::Output {
    timeout(DEADLINE, future).await.expect("this hangs")
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, wait).await.expect(what);
}

async fn send(stream: &mut TcpStream, text: &str) {
    within(stream.write_all(text.as_bytes())).await.unwrap();
}

/// Reads one answer with a `Content-Length`.
async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = String::new();
    let mut byte = [0];
    while !text.ends_with("\r\n\r\n") {
        let read = within(stream.read(&mut byte)).await.unwrap();
        assert_eq!(read, 1, "closed after {text:?}");
        text.push(char::from(byte[0]));
    }
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    within(stream.read_exact(&mut body)).await.unwrap();
    text + &String::from_utf8(body).unwrap()
}

/// Reads to the end of the connection. A reset counts as one.
async fn rest(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let _ = within(stream.read_to_end(&mut text)).await;
    String::from_utf8(text).unwrap()
}

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

async fn assert_hello(stream: &mut TcpStream) {
    send(stream, GET).await;
    let answer = receive(stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
}
