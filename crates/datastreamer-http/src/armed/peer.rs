//! HTTP/1: whether the client is still there while a response is being made or sent.
//!
//! hyper does not read while it holds a pipelined request, so [`Armed`](super::Armed) asks the socket
//! at each flush. And a client may close its half of the connection after its request: by default
//! that counts as a hang-up; otherwise hyper must not see it before the response has ended.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Waker},
    time::Duration,
};

use tokio::time::{Sleep, sleep};

use super::socket::Peer;

/// What it means that a client closes its half of an HTTP/1 connection (`shutdown(SHUT_WR)`) before
/// it has the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum HalfClose {
    /// It has disconnected, and its source is stopped. A client that disconnects sends the same, and
    /// while the source writes nothing there is no other sign. Most servers do so.
    #[default]
    HangUp,
    /// It still reads: the response goes on until it has ended, the connection is reset, or the client
    /// takes nothing for too long. A client that disconnects is noticed only then.
    Allow,
}

/// For how long a connection must have been without a response before hyper may see the half-close:
/// hyper may hold another request, and begins its response in less.
const SETTLE: Duration = Duration::from_millis(100);

/// For how long a request without a stream may keep the half-close from hyper: it may be incomplete, and
/// then it never gets a response. As long as a stream may stall.
const ANSWER_MAX: Duration = datastreamer::DEFAULT_CONSUMER_STALL;

/// One request and its response.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    /// A request was read, and its response has not ended.
    is_open: bool,
    /// Something was written since the request was read.
    has_written: bool,
    /// hyper's reader, which was not told of the half-close.
    hidden_from: Option<Waker>,
    /// How long the half-close is hidden without a stream, and for how long in all.
    settling: Option<(Pin<Box<Sleep>>, Duration)>,
}

impl Exchange {
    pub(super) fn note_read(&mut self) {
        self.is_open = true;
        self.has_written = false;
    }

    pub(super) fn note_written(&mut self) {
        self.has_written = true;
        self.settling = None;
    }

    /// Everything was flushed, and no stream is being sent: unless nothing was written, that was the
    /// end of the response.
    pub(super) fn note_flushed(&mut self) {
        if self.has_written {
            self.is_open = false;
            self.hidden_from.take().into_iter().for_each(Waker::wake);
        }
    }

    /// Hides the client's half-close from hyper while a response is under way, or another request may
    /// be; returns whether it does.
    pub(super) fn hide_half_close(
        &mut self,
        is_streaming: bool,
        counted_requests: usize,
        cx: &mut Context<'_>,
    ) -> bool {
        self.hidden_from = Some(cx.waker().clone());
        if is_streaming {
            // The stream has deadlines.
            return true;
        }
        let time = match self.is_open || counted_requests > 0 {
            true => ANSWER_MAX,
            false => SETTLE,
        };
        if self.settling.as_ref().is_none_or(|(_, set)| *set != time) {
            self.settling = Some((Box::pin(sleep(time)), time));
        }
        let settling = self.settling.as_mut();
        settling.is_some_and(|(timer, _)| timer.as_mut().poll(cx).is_pending())
    }
}

/// Fails if the client has disconnected; returns whether nothing will wake the task when it does.
pub(super) fn check(peer: Peer, half_close: HalfClose) -> io::Result<bool> {
    match (peer, half_close) {
        (Peer::There, _) => Ok(false),
        (Peer::Unwatched, _) | (Peer::HalfClosed, HalfClose::Allow) => Ok(true),
        (Peer::HalfClosed, HalfClose::HangUp) | (Peer::Gone, _) => Err(io::Error::new(
            io::ErrorKind::ConnectionReset,
            "the client disconnected",
        )),
    }
}
