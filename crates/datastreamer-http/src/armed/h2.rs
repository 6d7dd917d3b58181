//! What only an HTTP/2 connection does: many responses share the socket, each behind a window of
//! the client's.
//!
//! hyper does not ask the body of a stream whose window is closed, and so the body cannot fail.
//! [`Armed`](super::Armed) therefore asks here, before each read, whether the connection must be
//! given up; this file calls nothing but the streams.

use std::task::{Context, Poll};

use datastreamer::{ErrorKind, StreamHandle};
use tokio::time::Instant;

use super::connection::{DRAIN_MAX, State};

/// Streams of one HTTP/2 connection that may stall while others go on: a few paused downloads.
/// hyper keeps up to 256 KiB for each and cannot be told to let go of one.
const STALLED_STREAMS_MAX: usize = 4;

/// What is known of the windows of a connection's streams.
#[derive(Debug, Default)]
pub(super) struct Windows {
    /// Since when all streams have been stalled, and what had been written then.
    idle_since: Option<(Instant, u64)>,
}

impl Windows {
    /// Returns when the connection must be given up: when nothing has moved on it for the time of
    /// a drain, or at once if too many streams stall. `None`: it goes on. Has this task woken
    /// when a stream is stopped.
    pub(super) fn deadline(
        &mut self,
        now: Instant,
        state: &State,
        cx: &mut Context<'_>,
    ) -> Option<Instant> {
        let streams = state.active.iter();
        let stopped: Vec<_> = streams.filter_map(|one| why_stopped(one, cx)).collect();
        let stalled = stopped
            .iter()
            .filter(|kind| **kind == ErrorKind::ConsumerStalled);
        if stalled.count() > STALLED_STREAMS_MAX {
            return Some(now);
        }
        // Whatever a stream was stopped for: its body cannot say so before the window opens.
        if stopped.is_empty() || stopped.len() < state.active.len() {
            self.idle_since = None;
            return None;
        }
        // Streams that have ended well may still have bytes on their way.
        let idle = self.idle_since.filter(|(_, then)| *then == state.written);
        let (since, _) = *self.idle_since.insert(idle.unwrap_or((now, state.written)));
        Some(since + DRAIN_MAX)
    }
}

fn why_stopped(stream: &StreamHandle, cx: &mut Context<'_>) -> Option<ErrorKind> {
    match stream.poll_stopped(cx) {
        Poll::Ready(error) => error.map(|error| error.kind()),
        Poll::Pending => None,
    }
}
