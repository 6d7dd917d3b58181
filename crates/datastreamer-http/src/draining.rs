//! The delay of a failure: until the valid bytes before it have been sent, and the chunked framing is
//! broken.
//!
//! A body that has failed polls it before it reports its error to hyper.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

use crate::armed::{Connection, DRAIN_MAX};

/// How often a drain checks whether everything has been sent: 5 ms is no delay that a user
/// notices, and at most 400 checks cost nothing.
const DRAIN_CHECK_INTERVAL: Duration = Duration::from_millis(5);

/// At how many checks in a row an HTTP/2 connection must have been idle: on a busy machine its
/// task may have to wait for 20 ms.
const IDLE_CHECKS: u32 = 4;

pub(crate) struct Draining {
    until: Instant,
    /// Until when the client may react to the broken framing before the reset; `None` before the
    /// framing is broken.
    framing_break_until: Option<Instant>,
    check_timer: Pin<Box<Sleep>>,
    /// How many bytes the socket had taken at the last check.
    written: u64,
    /// At how many checks since then nothing more was written although the socket was free.
    idle_checks: u32,
}

impl Draining {
    pub(crate) fn new() -> Self {
        Self {
            until: Instant::now() + DRAIN_MAX,
            framing_break_until: None,
            check_timer: Box::pin(sleep(DRAIN_CHECK_INTERVAL)),
            written: u64::MAX,
            idle_checks: 0,
        }
    }

    /// Ready when the valid bytes have been sent, or the time is up. hyper flushes while the body
    /// is pending, and at each flush the connection checks its socket.
    pub(crate) fn poll(
        &mut self,
        connection: Option<&Connection>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let Some(connection) = connection else {
            // Without a connection there is no socket to check: wait for one flush, so that at
            // least the head is sent.
            return self.check_timer.as_mut().poll(cx);
        };
        loop {
            if Instant::now() >= self.until {
                return Poll::Ready(());
            }
            if !connection.is_multiplexed() && connection.poll_drained() {
                return Poll::Ready(());
            }
            ready!(self.check_timer.as_mut().poll(cx));
            if connection.is_multiplexed() && self.is_idle(connection) {
                return Poll::Ready(());
            }
            self.check_timer
                .as_mut()
                .reset(Instant::now() + DRAIN_CHECK_INTERVAL);
        }
    }

    /// Breaks the chunked framing, then waits for the time of a drain. A client that notices closes
    /// the connection before that, and the body is dropped. Ready at once if the framing cannot be
    /// broken.
    pub(crate) fn poll_framing_broken(
        &mut self,
        connection: &Connection,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let until = match self.framing_break_until {
            Some(until) => until,
            None if connection.break_framing() => {
                // For one more flush: the last one may have been before this poll.
                cx.waker().wake_by_ref();
                *self.framing_break_until.insert(Instant::now() + DRAIN_MAX)
            }
            None => return Poll::Ready(()),
        };
        self.check_timer.as_mut().reset(until);
        self.check_timer.as_mut().poll(cx)
    }

    /// HTTP/2: bytes of one stream cannot be distinguished from those of another, so a drain waits
    /// until the connection is idle.
    fn is_idle(&mut self, connection: &Connection) -> bool {
        let (written, takes_more) = connection.written();
        self.idle_checks = match written == self.written && takes_more {
            true => self.idle_checks + 1,
            false => 0,
        };
        self.written = written;
        self.idle_checks >= IDLE_CHECKS
    }
}
