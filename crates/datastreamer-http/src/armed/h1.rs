//! What only an HTTP/1 connection does: one response at a time has the socket to itself.
//!
//! So what the socket takes is that response's progress, a flush confirms its last byte and lets
//! the connection disarm, a hang-up is looked for, and a failure breaks the chunked framing and
//! then the connection. [`Armed`](super::Armed) and [`DownloadBody`](crate::DownloadBody) call in
//! here; this file calls the streams and the [`Socket`].

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use datastreamer::{ChunkReader, Error, ErrorKind, StreamHandle};
use tokio::time::Instant;

use super::{
    connection::{Connection, DRAIN_MAX, State},
    socket::Socket,
};

/// The size of a chunk beyond 64 bits, without the end of its line: no parser takes it for the
/// last chunk. To node's fetch a reset behind `Connection: close` is a good end, this is not.
const INVALID_CHUNK_SIZE: &[u8] = b"fffffffffffffffffff";

impl Connection {
    /// Asks for the socket to be drained; `true` once everything is sent.
    pub(crate) fn poll_drained(&self) -> bool {
        let mut state = self.state();
        state.drain_wanted = true;
        state.drained
    }

    /// Has the chunked framing broken with the next flush, well before the reset: node's fetch
    /// may have read the reset before it looks at what came in front of it. `false` unless all
    /// is sent so far: behind a part of a chunk it would be taken for data.
    pub(crate) fn break_framing(&self) -> bool {
        let mut state = self.state();
        state.framing_break_wanted = state.drained;
        state.framing_break_wanted
    }
}

/// After a flush: answers a body that waits for the socket to be drained, and breaks the framing
/// where a body has asked for it.
pub(super) fn after_flush<S: Socket>(state: &mut State, socket: &mut S) {
    if state.drain_wanted && !state.drained {
        state.drained = socket.is_sent();
    }
    if std::mem::take(&mut state.framing_break_wanted) {
        let cx = &mut Context::from_waker(Waker::noop());
        let _best_effort = Pin::new(socket).poll_write(cx, INVALID_CHUNK_SIZE);
    }
}

/// Takes note on the connection's streams that the client has taken bytes.
pub(super) fn note_progress(state: &State) {
    state.active.iter().for_each(StreamHandle::note_progress);
    let unflushed = state.unflushed.iter().map(ChunkReader::handle);
    unflushed.for_each(|stream| stream.note_progress());
}

/// Looks for a hang-up that hyper cannot see.
pub(super) fn check_hung_up<S: Socket>(socket: &S, cx: &mut Context<'_>) -> io::Result<()> {
    match socket.poll_hung_up(cx) {
        Poll::Ready(()) => Err(io::Error::new(
            io::ErrorKind::ConnectionReset,
            "the client left",
        )),
        Poll::Pending => Ok(()),
    }
}

/// How long a socket that takes nothing may keep a stream waiting that is over.
#[derive(Debug, Default)]
pub(super) struct DelayedFailure {
    /// When that was first seen.
    since: Option<Instant>,
}

impl DelayedFailure {
    /// Returns the stall deadline, or an earlier one once a stream on this connection was stopped
    /// or has failed; has this task woken when one is stopped.
    pub(super) fn shorten(
        &mut self,
        deadline: Option<Instant>,
        now: Instant,
        active: &[StreamHandle],
        cx: &mut Context<'_>,
    ) -> Option<Instant> {
        match stop_or_failure(active, cx) {
            None => deadline,
            Some(error) if error.kind() == ErrorKind::ConsumerStalled => Some(now),
            // The stream is over: what is valid gets the time of a drain.
            Some(_) => {
                let drained = *self.since.get_or_insert(now) + DRAIN_MAX;
                Some(deadline.map_or(drained, |deadline| deadline.min(drained)))
            }
        }
    }
}

/// Why a stream was stopped or has failed, if one has; has this task woken when one is stopped.
fn stop_or_failure(active: &[StreamHandle], cx: &mut Context<'_>) -> Option<Error> {
    active
        .iter()
        .find_map(|stream| match stream.poll_stopped(cx) {
            Poll::Ready(Some(error)) => Some(error),
            Poll::Ready(None) | Poll::Pending => stream.record().error,
        })
}
