//! What only an HTTP/2 connection needs. Many responses share the socket, each limited by a window
//! that the client opens.
//!
//! hyper does not poll the body of a stream whose window is closed, so that body cannot fail.
//! [`Armed`](super::Armed) therefore asks this file before each read whether the connection must
//! be aborted. This file calls only the streams.

use std::task::{Context, Poll};

use datastreamer::{ErrorKind, StreamHandle};
use tokio::time::Instant;

use super::connection::{DRAIN_MAX, State};

/// Watches for streams whose windows stay closed.
#[derive(Debug, Default)]
pub(super) struct Windows {
    /// Since when all streams have been stopped with nothing written, and how many bytes had been
    /// written then.
    idle_since: Option<(Instant, u64)>,
}

impl Windows {
    /// Returns when the connection must be aborted: after the time of a drain, if every request of it
    /// is a stream that was stopped. `None`: it goes on. Registers the task to be woken when a stream
    /// is stopped.
    pub(super) fn deadline(
        &mut self,
        now: Instant,
        state: &State,
        cx: &mut Context<'_>,
    ) -> Option<Instant> {
        // Whatever the reason of the stop: a body cannot report it before its window opens.
        let active = state.active.iter();
        let stopped = active.filter_map(|stream| why_stopped(stream, cx)).count();
        if stopped == 0 || stopped < state.active.len() || state.open_requests != Some(stopped) {
            self.idle_since = None;
            return None;
        }
        // As long as bytes are written, streams that have finished may still be sending.
        let idle = self.idle_since.filter(|(_, then)| *then == state.written);
        let (since, _) = *self.idle_since.insert(idle.unwrap_or((now, state.written)));
        Some(since + DRAIN_MAX)
    }
}

/// Returns why a stream was stopped, if it was; registers the task to be woken when it is.
pub(super) fn why_stopped(stream: &StreamHandle, cx: &mut Context<'_>) -> Option<ErrorKind> {
    match stream.poll_stopped(cx) {
        Poll::Ready(error) => error.map(|error| error.kind()),
        Poll::Pending => None,
    }
}
