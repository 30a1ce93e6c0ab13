//! One connection from its first byte to its last: handshake, requests, time-outs, farewell.

use std::{
    convert::Infallible,
    future::poll_fn,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{
            AtomicBool,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    http::{HeaderValue, Request, Response, StatusCode, Version, header::CONNECTION},
};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    runtime::Handle,
    task::coop::unconstrained,
    time::{Sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::{
    Peer, TransportSettings, TransportStats,
    activity::{Activity, Patience, Verdict},
    body::{CountedBody, TimedBody},
    crowd::Crowd,
    tls::Tls,
    turnstile::Turnstile,
    watched::Watched,
};

/// The most a handshake gets: it is a few round trips and some arithmetic.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What all connections share.
pub(super) struct Host {
    pub(super) closing: Closing,
    protocol: auto::Builder<TokioExecutor>,
    router: Router,
    tls: Option<Arc<Tls>>,
    patience: Patience,
    handshake_timeout: Duration,
    body_timeout: Duration,
    pub(super) stats: Arc<TransportStats>,
    pub(super) crowd: Arc<Crowd>,
    pub(super) turnstile: Arc<Turnstile>,
}

impl Host {
    pub(super) fn new(
        settings: &TransportSettings,
        tls: Option<Arc<Tls>>,
        router: Router,
        stats: Arc<TransportStats>,
    ) -> Self {
        Self {
            closing: Closing::default(),
            protocol: protocol(),
            // Builds every route now instead of at each request.
            router: router.with_state(()),
            tls,
            patience: Patience::new(settings),
            handshake_timeout: settings.header_timeout.min(HANDSHAKE),
            body_timeout: settings.body_timeout,
            stats,
            crowd: Arc::default(),
            turnstile: Arc::new(Turnstile::new(Handle::current().metrics().num_workers())),
        }
    }
}

/// The bounds on what a client may make us hold. HTTP/1 gets no timer on purpose: `activity` has
/// the better one. The number of its headers is left at hyper's own bound of 100, as naming another
/// one puts a slower parser to work.
fn protocol() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().max_buf_size(32 * 1024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10))
        .max_concurrent_streams(128)
        .max_header_list_size(16 * 1024)
        .initial_stream_window_size(64 * 1024)
        .initial_connection_window_size(256 * 1024)
        .max_send_buf_size(64 * 1024);
    builder
}

/// The wish to end all connections. The flag is what every poll looks at, as the token takes a
/// lock that all connections would share.
#[derive(Default)]
pub(super) struct Closing {
    begun: AtomicBool,
    token: CancellationToken,
}

impl Closing {
    /// Asks every connection to finish.
    pub(super) fn begin(&self) {
        self.begun.store(true, Release);
        self.token.cancel();
    }
}

/// Counts a connection as open as long as it lives.
struct Open<'a>(&'a TransportStats);

impl<'a> Open<'a> {
    fn count(stats: &'a TransportStats) -> Self {
        stats.accepted.fetch_add(1, Relaxed);
        stats.open.fetch_add(1, Relaxed);
        Self(stats)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

/// Serves one accepted connection to its end.
pub(super) async fn attend(stream: TcpStream, address: SocketAddr, host: Arc<Host>) {
    let _open = Open::count(&host.stats);
    // Answers are written whole; waiting for more would only delay them. Failing costs speed alone.
    let _ = stream.set_nodelay(true);
    let peer = Peer {
        address: SocketAddr::new(address.ip().to_canonical(), address.port()),
        tls: host.tls.is_some(),
    };
    let Some(tls) = &host.tls else {
        return converse(stream, peer, &host).await;
    };
    let handshake = timeout(host.handshake_timeout, tls.acceptor().accept(stream));
    match host.closing.token.run_until_cancelled(handshake).await {
        Some(Ok(Ok(stream))) => converse(stream, peer, &host).await,
        Some(Err(_)) => host.stats.count_timeout(),
        // Not a TLS client, or one that hung up; or the server is closing.
        Some(Ok(Err(_))) | None => {}
    }
}

async fn converse<S>(stream: S, peer: Peer, host: &Host)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let activity = Arc::new(Activity::new(host.patience, Arc::clone(&host.stats)));
    let _place = host.crowd.enter(&activity);
    let io = TokioIo::new(Watched::new(
        stream,
        Arc::clone(&activity),
        Arc::clone(&host.turnstile),
    ));
    let service = hyper::service::service_fn(|request| answer(request, peer, host, &activity));
    let mut connection = pin!(host.protocol.serve_connection(io, service));
    let mut closing = pin!(host.closing.token.cancelled());
    let mut alarm = pin!(sleep_until(activity.instant(activity.due())));
    let mut alarm = Alarm::new(alarm.as_mut(), &activity);
    let mut finishing = false;
    let mut first = true;

    // tokio::select! would poll all three every time. The token and the timer need it only once:
    // they wake this task, whose waker stays the same, and tell cheaply whether they have.
    poll_fn(|cx| {
        if first {
            first = false;
            activity.belongs_to(cx.waker());
            alarm.listen(cx);
            let _ = unconstrained_poll(closing.as_mut(), cx);
        }
        loop {
            if connection.as_mut().poll(cx).is_ready() {
                // An error here is the client's (garbage, a reset): nobody is left to tell.
                return Poll::Ready(());
            }
            let finish = match alarm.check(&activity, cx) {
                Verdict::Cut => return Poll::Ready(()),
                Verdict::Finish => true,
                // A request that waits for its turn has it first.
                Verdict::WaitUntil(_) => host.closing.begun.load(Acquire) && !activity.is_held(),
            };
            if finishing || !finish {
                return Poll::Pending;
            }
            finishing = true;
            activity.finish();
            connection.as_mut().graceful_shutdown();
        }
    })
    .await;
}

/// The one timer of a connection.
struct Alarm<'a> {
    timer: Pin<&'a mut Sleep>,
    /// When it rings, in the unit of [`Activity::due`].
    set_for: u64,
}

impl<'a> Alarm<'a> {
    fn new(timer: Pin<&'a mut Sleep>, activity: &Activity) -> Self {
        let set_for = activity.since_opening(timer.deadline());
        Self { timer, set_for }
    }

    /// Sees to it that the task is woken when the timer rings.
    fn listen(&mut self, cx: &mut Context<'_>) {
        let _ = unconstrained_poll(self.timer.as_mut(), cx);
    }

    /// Judges the connection if the timer has rung or a deadline has come up before it.
    fn check(&mut self, activity: &Activity, cx: &mut Context<'_>) -> Verdict {
        if !self.timer.is_elapsed() && activity.due() >= self.set_for {
            return Verdict::WaitUntil(self.timer.deadline());
        }
        let verdict = activity.judge();
        if let Verdict::WaitUntil(instant) = verdict {
            self.timer.as_mut().reset(instant);
            self.set_for = activity.since_opening(instant);
            self.listen(cx);
        }
        verdict
    }
}

/// Polls past tokio's budget, which could answer "not yet" without having registered the waker.
fn unconstrained_poll<F: Future>(future: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
    pin!(unconstrained(future)).poll(cx)
}

/// Hands one request to the router.
fn answer(
    mut request: Request<Incoming>,
    peer: Peer,
    host: &Host,
    activity: &Arc<Activity>,
) -> impl Future<Output = Result<Response<CountedBody>, Infallible>> + Send + use<> {
    let multiplexed = request.version() == Version::HTTP_2;
    let in_flight = activity.request_begins(multiplexed);
    request.extensions_mut().insert(peer);
    let patience = host.body_timeout;
    let leaving = host.stats.is_leaving();
    let mine = Arc::clone(activity);
    let request = request.map(|body| TimedBody::new(body, patience, Arc::clone(&mine)));
    let answer = host.router.clone().call(request);
    async move {
        let mut response = answer.await?;
        if !multiplexed && mine.has_late_body() {
            say_late(&mut response);
        }
        let too_large = response.status() == StatusCode::PAYLOAD_TOO_LARGE;
        if !multiplexed && (too_large || leaving || mine.has_abandoned_body()) {
            say_last(&mut response);
        }
        Ok(response.map(|inner| CountedBody {
            inner,
            _in_flight: in_flight,
        }))
    }
}

/// The rest of the body may still come, so this connection can carry no further request. A plain
/// "bad request", which is what an unaware extractor makes of any failing body, becomes the
/// precise status.
fn say_late<B>(response: &mut Response<B>) {
    if response.status() == StatusCode::BAD_REQUEST {
        *response.status_mut() = StatusCode::REQUEST_TIMEOUT;
    }
    say_last(response);
}

/// Tells the client that the connection ends with this answer.
fn say_last<B>(response: &mut Response<B>) {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
}
