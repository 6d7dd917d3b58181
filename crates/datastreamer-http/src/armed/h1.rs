//! What only an HTTP/1 connection needs. One response at a time uses the socket.
//!
//! Therefore the bytes that the socket takes are that response's progress, a drained socket means
//! that its valid bytes have been sent, and its failure ends the connection, if necessary after
//! broken chunked framing. [`Armed`](super::Armed) and [`DownloadBody`](crate::DownloadBody) call
//! it; it calls the streams and the [`Socket`].

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use datastreamer::{ChunkReader, Error, ErrorKind, StreamHandle};
use tokio::time::Instant;

use super::{
    connection::{Connection, DRAIN_MAX, State},
    socket::Socket,
};

/// A chunk size of more than 64 bits, without the end of its line: no parser takes it for the last
/// chunk. node's fetch accepts a reset as the end of a response with `Connection: close`, but not
/// this; Apple's CFNetwork accepts the end of the connection at a chunk's boundary.
const INVALID_CHUNK_SIZE: &[u8] = b"fffffffffffffffffff";

impl Connection {
    /// Pending while the socket takes nothing, or has taken nothing since it had taken so many bytes:
    /// hyper has bytes for it then, and what a body gave it beside them it would hold for a client that
    /// may have stalled.
    pub(crate) fn poll_taking(&self, since: Option<u64>, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let mut state = self.state();
        let is_taking = !state.blocked && since != Some(state.written);
        if is_taking || state.socket_dropped {
            return Poll::Ready(());
        }
        let replaced = state.waiting_body.replace(waker);
        drop(state);
        drop(replaced);
        Poll::Pending
    }

    /// Asks that each flush check whether everything has been sent; `true` once it has.
    pub(crate) fn poll_drained(&self) -> bool {
        let mut state = self.state();
        state.drain_wanted = true;
        state.drained
    }

    /// Asks that the next flush break the chunked framing, well before the reset: node's fetch
    /// may process the reset before the bytes that precede it. Returns `false`, and does nothing,
    /// below the TLS of others, and unless everything has been sent: after a part of a chunk the
    /// client would take the invalid chunk size for data.
    pub(crate) fn break_framing(&self) -> bool {
        let mut state = self.state();
        state.framing_break_wanted = state.drained && (!state.is_tls || state.is_tls_ours);
        state.is_framing_broken |= state.framing_break_wanted;
        state.framing_break_wanted
    }

    /// Whether a body has broken the framing: nobody does so twice.
    #[cfg(feature = "axum")]
    pub(crate) fn is_framing_broken(&self) -> bool {
        self.state().is_framing_broken
    }

    /// Notes that the TLS of this connection breaks the framing within it.
    #[cfg(feature = "tls")]
    pub(crate) fn note_tls(&self) {
        self.state().is_tls_ours = true;
    }

    /// Returns, once, what TLS is to write now, to break the framing.
    #[cfg(feature = "tls")]
    pub(crate) fn take_framing_break(&self) -> Option<&'static [u8]> {
        let is_wanted = std::mem::take(&mut self.state().framing_break_wanted);
        is_wanted.then_some(INVALID_CHUNK_SIZE)
    }
}

/// Does what bodies have asked for: checks whether everything has been sent, and breaks the
/// framing.
pub(super) fn after_flush<S: Socket>(state: &mut State, socket: &mut S) {
    if state.drain_wanted && !state.drained {
        state.drained = socket.is_sent();
    }
    if !state.is_tls && std::mem::take(&mut state.framing_break_wanted) {
        let cx = &mut Context::from_waker(Waker::noop());
        let _best_effort = Pin::new(socket).poll_write(cx, INVALID_CHUNK_SIZE);
    }
}

/// Notes on all streams that the client has taken bytes.
pub(super) fn note_progress(state: &State) {
    state.active.iter().for_each(StreamHandle::note_progress);
    let unflushed = state.unflushed.iter().map(ChunkReader::handle);
    unflushed.for_each(|stream| stream.note_progress());
}

/// A stream that has ended early while the socket takes nothing: hyper does not poll its body, so
/// the body cannot report it.
#[derive(Debug, Default)]
pub(super) struct DelayedFailure {
    /// When this was first seen; `None` while the socket takes bytes.
    since: Option<Instant>,
}

impl DelayedFailure {
    /// Returns the stall deadline, or an earlier one if a stream on this connection was stopped
    /// or has failed. Registers the task to be woken when one is stopped.
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
            // The bytes before the failure are valid: they get the time of a drain.
            Some(_) => {
                let drained = *self.since.get_or_insert(now) + DRAIN_MAX;
                Some(deadline.map_or(drained, |deadline| deadline.min(drained)))
            }
        }
    }
}

/// Returns why the first stream that has ended early was stopped or failed.
fn stop_or_failure(active: &[StreamHandle], cx: &mut Context<'_>) -> Option<Error> {
    active
        .iter()
        .find_map(|stream| match stream.poll_stopped(cx) {
            Poll::Ready(Some(error)) => Some(error),
            Poll::Ready(None) | Poll::Pending => stream.error(),
        })
}
