//! Bodies: a request's must arrive in time, an answer's tells when it is finished.

use std::{
    error::Error,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body as AnswerBody, Bytes};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep};

use super::activity::{Activity, InFlight};

/// Whether `error`, or anything that it was caused by, is a request body that did not arrive in
/// time. Such a request is answered with 408.
pub fn is_body_timeout(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if matches!(error.downcast_ref(), Some(BodyError::Late)) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    /// It did not arrive in time.
    #[error("the body of the request did not arrive in time")]
    Late,
    /// The connection or the protocol failed.
    #[error("the body of the request broke off")]
    Broken(#[source] hyper::Error),
}

/// A request's body with a limit on the time it takes.
#[derive(Debug)]
pub(super) struct TimedBody {
    inner: Incoming,
    patience: Duration,
    wait: Wait,
    activity: Arc<Activity>,
}

/// What we know about the sender's speed.
#[derive(Debug)]
enum Wait {
    /// Whatever we asked for was there.
    Never,
    /// The sender lets us wait, or did once.
    For(Pin<Box<Sleep>>),
    /// The body has ended, one way or another.
    Over,
}

impl TimedBody {
    pub(super) fn new(inner: Incoming, patience: Duration, activity: Arc<Activity>) -> Self {
        Self {
            inner,
            patience,
            wait: Wait::Never,
            activity,
        }
    }

    /// The body has nothing for us now. The timer is set here and not before: hyper reads the
    /// beginning of a body before anybody asks for it, so one that came along with its header never
    /// gets this far.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if matches!(self.wait, Wait::Never) {
            self.activity.stats.count_awaited_body();
            self.wait = Wait::For(Box::pin(sleep(self.patience)));
        }
        match &mut self.wait {
            Wait::For(timer) => timer.as_mut().poll(cx),
            Wait::Never | Wait::Over => Poll::Ready(()),
        }
    }
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if matches!(self.wait, Wait::Over) {
            return Poll::Ready(None);
        }
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(frame))),
            Poll::Ready(Some(Err(error))) => {
                self.wait = Wait::Over;
                Poll::Ready(Some(Err(BodyError::Broken(error))))
            }
            Poll::Ready(None) => {
                self.wait = Wait::Over;
                Poll::Ready(None)
            }
            Poll::Pending => self.poll_patience(cx).map(|()| {
                self.wait = Wait::Over;
                self.activity.body_came_late();
                self.activity.body_left_unread(None);
                Some(Err(BodyError::Late))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for TimedBody {
    fn drop(&mut self) {
        if !matches!(self.wait, Wait::Over) && !self.inner.is_end_stream() {
            let left = self.inner.size_hint().upper();
            self.activity.body_left_unread(left);
        }
    }
}

/// An answer's body; the request counts as in flight as long as it lives.
pub(super) struct CountedBody {
    pub(super) inner: AnswerBody,
    pub(super) _in_flight: InFlight,
}

impl Body for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
