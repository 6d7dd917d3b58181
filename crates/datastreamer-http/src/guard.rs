//! What [`Serve`](crate::Serve) adds to every response, whoever made its body and whatever layers have
//! changed: its failure is visible, and it ends when the server does.
//!
//! `serve.rs` wraps the bodies here, outside of all layers. [`DownloadBody`](crate::DownloadBody) reports
//! for itself, but a layer that compresses makes a chunked response of one with a length, and a body of
//! the application reports nothing. On HTTP/2 hyper resets the one stream.

use std::{
    error::Error as StdError,
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use axum::body::{Body, Bytes, HttpBody};
use http::{Response, Version, header};
use http_body::{Frame, SizeHint};
use tokio::{
    sync::watch,
    time::{Instant, Sleep, sleep_until},
};

use crate::{
    armed::{Connection, DRAIN_MAX, Usage},
    draining::Draining,
};

/// Twice a drain for a stream that was stopped, which drains and then waits until its client has seen the
/// broken framing. It ends by itself within that.
const STREAMS_END: u32 = 2;

type BoxError = Box<dyn StdError + Send + Sync>;

/// Ends responses that are still being sent when a server ends.
#[derive(Clone)]
pub(crate) struct Ends {
    ended: watch::Receiver<bool>,
    /// Responses, and streams of them, that were aborted.
    aborted: Arc<AtomicUsize>,
}

impl Ends {
    pub(crate) fn new(ended: watch::Receiver<bool>) -> Self {
        Self {
            ended,
            aborted: Arc::default(),
        }
    }

    pub(crate) fn aborted(&self) -> usize {
        self.aborted.load(Ordering::Relaxed)
    }

    /// Guards a response to a request of this version.
    pub(crate) fn guard(
        &self,
        response: Response<Body>,
        connection: Option<&Connection>,
        version: Version,
    ) -> Response<Body> {
        if response.body().is_end_stream() {
            return response;
        }
        let is_chunked = response.headers().contains_key(header::TRANSFER_ENCODING);
        let has_length = response.headers().contains_key(header::CONTENT_LENGTH);
        let is_armed = version < Version::HTTP_2 && !has_length;
        let connection = connection.cloned();
        response.map(|body| {
            let arms = connection.clone().filter(|_| is_armed);
            let mut ended = self.ended.clone();
            let ended = async move {
                // Nobody has ended it who has dropped it.
                if ended.wait_for(|ended| *ended).await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            Body::new(GuardedBody {
                body,
                sent: arms.map(|connection| Sent::begin(connection, is_chunked)),
                connection,
                failing: None,
                ended: Box::pin(ended),
                ending: None,
                aborted: Arc::clone(&self.aborted),
            })
        })
    }
}

struct GuardedBody {
    body: Body,
    connection: Option<Connection>,
    /// Of a response of HTTP/1 without a length.
    sent: Option<Sent>,
    failing: Option<Failing>,
    /// Ready when the server ends.
    ended: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// The server has ended, and so does this response: at this time, if not before.
    ending: Option<Pin<Box<Sleep>>>,
    aborted: Arc<AtomicUsize>,
}

/// A failure that waits until the valid bytes before it have been sent.
struct Failing {
    error: BoxError,
    draining: Draining,
    breaks_framing: bool,
}

/// A response that the connection knows of until it has ended.
struct Sent {
    connection: Connection,
    is_chunked: bool,
    usage: Usage,
    ended: bool,
}

impl Sent {
    fn begin(connection: Connection, is_chunked: bool) -> Self {
        connection.begin_other();
        Self {
            usage: Usage::begin(Some(&connection)),
            connection,
            is_chunked,
            ended: false,
        }
    }

    fn end(&mut self, failed: bool) {
        if !self.ended {
            self.ended = true;
            self.connection.end_other(failed);
        }
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.end(self.usage.is_used(&self.connection));
    }
}

impl GuardedBody {
    /// Ready when the server has ended, and the response has had its time.
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.ending.is_none() {
            ready!(self.ended.as_mut().poll(cx));
            let connection = self.connection.as_ref();
            let stopped = connection.map_or(0, Connection::shut_down);
            self.aborted.fetch_add(stopped, Ordering::Relaxed);
            let has_streams = connection.is_some_and(Connection::has_streams);
            let time = DRAIN_MAX * if has_streams { STREAMS_END } else { 0 };
            self.ending = Some(Box::pin(sleep_until(Instant::now() + time)));
        }
        match &mut self.ending {
            Some(timer) => timer.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }

    fn fail(&mut self, error: BoxError) {
        let sent = self.sent.as_ref();
        let breaks_framing =
            sent.is_some_and(|sent| sent.is_chunked && !sent.connection.is_framing_broken());
        self.failing = Some(Failing {
            error,
            draining: Draining::new(),
            breaks_framing,
        });
    }

    /// Ready when the client has what is valid, and its framing is broken.
    fn poll_failed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (Some(failing), Some(sent)) = (&mut self.failing, &mut self.sent) else {
            return Poll::Ready(());
        };
        let draining = &mut failing.draining;
        ready!(draining.poll(Some(&sent.connection), cx));
        if failing.breaks_framing {
            ready!(draining.poll_framing_broken(&sent.connection, cx));
        }
        sent.end(true);
        Poll::Ready(())
    }

    /// Notes that hyper polls no more.
    fn end(&mut self) {
        self.sent.iter_mut().for_each(|sent| sent.end(false));
    }
}

impl HttpBody for GuardedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        this.sent.iter_mut().for_each(|sent| sent.usage.poll());
        if this.failing.is_none() && this.poll_ended(cx).is_ready() {
            this.aborted.fetch_add(1, Ordering::Relaxed);
            this.fail(Box::new(ServerEnded));
        }
        if this.failing.is_none() {
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    // hyper polls no more after the trailer fields.
                    if frame.is_trailers() || this.body.is_end_stream() {
                        this.end();
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
                Some(Err(error)) => this.fail(error.into_inner()),
                None => {
                    this.end();
                    return Poll::Ready(None);
                }
            }
        }
        ready!(this.poll_failed(cx));
        Poll::Ready(this.failing.take().map(|failing| Err(failing.error)))
    }

    fn is_end_stream(&self) -> bool {
        self.failing.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Why a response was aborted that is no stream.
#[derive(Debug)]
struct ServerEnded;

impl fmt::Display for ServerEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server has ended")
    }
}

impl StdError for ServerEnded {}
