//! The bytes of a connection on their way: what passes is noted, and a request that comes while many do is held back until it is let in.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    activity::Activity,
    turnstile::{Ticket, Turnstile},
};

/// The most bytes of an unread request that are swallowed before the connection is closed.
const LINGER_BYTES: usize = 16 << 20;

/// What requests of HTTP/1 begin with that clients of ours send.
const METHODS: [&[u8]; 7] = [
    b"GET ",
    b"POST ",
    b"PUT ",
    b"PATCH ",
    b"DELETE ",
    b"HEAD ",
    b"OPTIONS ",
];

/// The beginning of a request, and its place in the queue.
#[derive(Debug)]
struct Held {
    bytes: Vec<u8>,
    ticket: Arc<Ticket>,
}

/// A stream that notes in its [`Activity`] what passes through it.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
    turnstile: Arc<Turnstile>,
    /// The first bytes of a request that has to wait.
    held: Option<Held>,
    /// Nothing has come yet.
    fresh: bool,
    /// A flush is waiting. (On plain TCP it never does, and its success says nothing.)
    flushing: bool,
    /// The writing half is closed.
    write_closed: bool,
    swallowed: usize,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, activity: Arc<Activity>, turnstile: Arc<Turnstile>) -> Self {
        Self {
            stream,
            activity,
            turnstile,
            held: None,
            fresh: true,
            flushing: false,
            write_closed: false,
            swallowed: 0,
        }
    }

    fn note_write<T>(&self, written: &Poll<T>) {
        if written.is_pending() {
            self.activity.blocked();
        } else {
            self.activity.unblocked();
        }
    }
}

impl<S: AsyncRead + Unpin> Watched<S> {
    /// What was held back, once its turn has come.
    fn poll_held(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(held) = &mut self.held {
            ready!(held.ticket.poll(cx));
            let fits = held.bytes.len().min(buf.remaining());
            buf.put_slice(&held.bytes[..fits]);
            held.bytes.drain(..fits);
            if held.bytes.is_empty() {
                self.held = None;
                self.activity.hold(false);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Swallows what the client is still sending. Closing a socket with unread bytes in it resets
    /// the connection, and the answer ("too large", "too slow") could be lost before it is read.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.activity.lingers();
        let mut scratch = [0; 4096];
        while self.swallowed < LINGER_BYTES {
            let mut room = ReadBuf::new(&mut scratch);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut room));
            if read.is_err() || room.filled().is_empty() {
                break;
            }
            self.swallowed += room.filled().len();
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.held.is_some() {
            return self.poll_held(cx, buf);
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let begins = self.fresh || self.activity.expects_header();
        let bytes = &buf.filled()[before..];
        if bytes.is_empty() || !begins {
            return Poll::Ready(Ok(()));
        }
        // The rest of a refused request's body may come first, or the protocol has it already.
        let may_be_body = self.activity.passes_for_unread_body(bytes.len() as u64);
        let is_request = begins_request(bytes);
        if may_be_body && !is_request {
            return Poll::Ready(Ok(()));
        }
        // The time of the first header runs since the connection was opened.
        if !std::mem::take(&mut self.fresh) {
            self.activity.header_begins();
        }
        // A body's rest that is held back would be missed where it is skipped.
        if self.activity.has_unread_body() && !is_request {
            return Poll::Ready(Ok(()));
        }
        let Err(ticket) = self.turnstile.enter(bytes) else {
            return Poll::Ready(Ok(()));
        };
        let bytes = bytes.to_vec();
        buf.set_filled(before);
        self.held = Some(Held { bytes, ticket });
        self.activity.hold(true);
        self.poll_held(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note_write(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.note_write(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_pending() {
            self.flushing = true;
            self.activity.blocked();
        } else if self.flushing {
            self.flushing = false;
            self.activity.unblocked();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.write_closed {
            let closed = Pin::new(&mut self.stream).poll_shutdown(cx);
            self.note_write(&closed);
            ready!(closed)?;
            self.write_closed = true;
        }
        if self.activity.has_unread_body() {
            ready!(self.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}

/// Whether bytes begin as a request of HTTP/1 does, or may go on to. A body that does so, too, is
/// taken for one: if the protocol wanted to skip it, it ends the connection instead.
fn begins_request(bytes: &[u8]) -> bool {
    METHODS
        .iter()
        .any(|method| bytes.starts_with(method) || method.starts_with(bytes))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::super::{TransportStats, activity::Patience};
    use super::*;

    /// A connection after an answer before which five bytes of a body were left unread.
    async fn after_a_refusal() -> (DuplexStream, Watched<DuplexStream>) {
        let patience = Patience::of(Duration::from_secs(1), Duration::from_secs(100));
        let activity = Arc::new(Activity::new(patience, Arc::new(TransportStats::default())));
        let (mut client, server) = duplex(100);
        let turnstile = Arc::new(Turnstile::new(1));
        let mut watched = Watched::new(server, Arc::clone(&activity), turnstile);
        let mut piece = [0; 100];
        client.write_all(b"a header").await.unwrap();
        assert_eq!(watched.read(&mut piece).await.unwrap(), 8);
        let in_flight = activity.request_begins(false);
        activity.body_left_unread(Some(5));
        drop(in_flight);
        (client, watched)
    }

    /// Whether each of those pieces starts the time of a header.
    async fn check(pieces: &[(&str, bool)]) {
        let (mut client, mut watched) = after_a_refusal().await;
        let mut piece = [0; 100];
        for (text, begins) in pieces {
            client.write_all(text.as_bytes()).await.unwrap();
            assert_eq!(watched.read(&mut piece).await.unwrap(), text.len());
            assert_eq!(watched.activity.due() < 50_000, *begins, "{text}");
        }
    }

    #[tokio::test]
    async fn what_is_left_of_an_unread_body_is_no_header() {
        check(&[("hello", false), ("G", true)]).await;
        check(&[("hel", false), ("lo", true)]).await;
        check(&[("helloGET /", true)]).await;
        // No method we know.
        check(&[("FIND ", false), ("/", true)]).await;
    }

    /// The body came with its header, as it mostly does.
    #[tokio::test]
    async fn a_request_after_an_unread_body_is_known_by_its_method() {
        check(&[("GET /", true)]).await;
        check(&[("G", true), ("ET", true)]).await;
        check(&[("POST ", true)]).await;
        check(&[("DEL", true)]).await;
    }

    /// Whether bytes that begin so wait while others have used up the round.
    async fn check_turn(text: &str, waits: bool) {
        let (mut client, mut watched) = after_a_refusal().await;
        while watched.turnstile.enter(b"another").is_ok() {}
        let mut piece = [0; 100];
        client.write_all(text.as_bytes()).await.unwrap();
        let read = tokio::time::timeout(Duration::from_millis(50), watched.read(&mut piece)).await;
        assert_eq!(read.is_err(), waits, "{text}");
        assert_eq!(watched.activity.is_held(), waits, "{text}");
    }

    #[tokio::test]
    async fn a_request_after_an_unread_body_waits_for_its_turn() {
        check_turn("POST /", true).await;
        check_turn("GET /livez HTTP/1.1", false).await;
        check_turn("hello", false).await;
        check_turn("hello and more than was left", false).await;
    }
}
