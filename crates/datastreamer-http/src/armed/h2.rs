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

/// How many streams of one connection may stall while others go on: a few paused downloads. hyper
/// keeps up to 256 KiB for each and cannot be asked to drop one.
const STALLED_STREAMS_MAX: usize = 4;

/// Watches for streams whose windows stay closed.
#[derive(Debug, Default)]
pub(super) struct Windows {
    /// Since when all streams have been stopped with nothing written, and how many bytes had been
    /// written then.
    idle_since: Option<(Instant, u64)>,
}

impl Windows {
    /// Returns when the connection must be aborted: at once if too many streams have stalled, or
    /// after the time of a drain if all streams were stopped. `None`: it goes on. Registers the
    /// task to be woken when a stream is stopped.
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
        // Whatever the reason of the stop: a body cannot report it before its window opens.
        if stopped.is_empty() || stopped.len() < state.active.len() {
            self.idle_since = None;
            return None;
        }
        // As long as bytes are written, streams that have finished may still be sending.
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
