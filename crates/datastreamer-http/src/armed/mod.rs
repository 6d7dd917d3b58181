//! The armed abort: a connection that resets if it dies while a response is under way.
//!
//! [`Armed`] wraps a socket and lies under hyper; [`DownloadBody`](crate::DownloadBody) tells it
//! through a [`Connection`] when a response begins and ends. Between the two the socket has
//! `SO_LINGER {on, 0}`, so that whatever ends the connection (an error, a panic, `kill -9`)
//! sends RST. A plain FIN, which hyper's own abort is, looks like the end of the file to wget,
//! to HTTP/1.0 proxies and to others; no client tried takes an RST for it.
//!
//! It disarms only after a flush that follows the last byte of the last response. For HTTP/2 the
//! flush says nothing (data may wait for a window inside hyper), so such a connection stays
//! armed until hyper shuts it down in good order.
//!
//! One client needs more: node's fetch takes a reset for the end of a chunked body when the
//! response said `Connection: close`, which hyper does when the request did. There a failure
//! breaks the chunked framing first, and the reset waits until the client has closed, at most
//! [`DRAIN_MAX`]. That takes a frame's boundary, so it cannot be done after a `kill -9`, nor for
//! a client that took nothing until the drain's time was up: there such a client (its user asked
//! for the header) does not see that a chunked file is cut. One of known length it does, and
//! without the header it sees both.
//!
//! RST throws away what the kernel has not sent. Before an abort on an error the body waits, at
//! most [`DRAIN_MAX`], until everything is on the wire.
//!
//! hyper calls [`Armed`]. This file decides between the protocols and calls `h1.rs` or `h2.rs`
//! for what only one of them does; `connection.rs` holds what bodies and socket tell each other,
//! `socket.rs` calls the kernel.

mod connection;
mod h1;
mod h2;
mod socket;

use std::{
    future::Future,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use datastreamer::{ChunkReader, Error, ErrorKind};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

pub use self::{
    connection::{Connection, DRAIN_MAX},
    socket::Socket,
};

/// How long a socket may take nothing before the connection is reset: the default of the
/// streams' own stall deadline. The streams cannot see a client that stalls on the last bytes.
pub const DEFAULT_WRITE_STALL: Duration = datastreamer::DEFAULT_CONSUMER_STALL;

/// How often a socket that takes nothing is looked at for a stream that has failed meanwhile,
/// which hyper cannot see before the socket takes more: a quarter of [`DRAIN_MAX`].
const STALL_CHECK_INTERVAL: Duration = Duration::from_millis(500);

const STALL_MESSAGE: &str = "the client took nothing for too long";

/// A socket under hyper that resets the connection if it dies in the middle of a response.
///
/// ```
/// use datastreamer_http::{Armed, Connection};
/// # async fn serve_one(tcp: tokio::net::TcpStream) {
/// let io = Armed::new(tcp);
/// let connection: Connection = io.connection();
/// // hyper_util::rt::TokioIo::new(io) goes to hyper; in the service:
/// # let mut request = http::Request::new(());
/// request.extensions_mut().insert(connection.clone());
/// # }
/// ```
///
/// A client that closes its half of the connection during a response counts as gone, as with
/// hyper by default (`half_close(false)`).
///
/// # Panics
/// When polled outside of a tokio runtime whose time is enabled.
#[derive(Debug)]
pub struct Armed<S: Socket> {
    socket: S,
    connection: Connection,
    armed: bool,
    /// `None`: never.
    write_stall: Option<Duration>,
    /// Since when the socket has taken nothing.
    stalled_since: Option<Instant>,
    delayed_failure: h1::DelayedFailure,
    windows: h2::Windows,
    /// The next look at a connection on which nothing moves.
    check_timer: Option<Pin<Box<Sleep>>>,
}

impl<S: Socket> Armed<S> {
    /// Wraps an accepted connection and [prepares](Socket::prepare) it.
    pub fn new(socket: S) -> Self {
        let peer = socket.peer();
        Self::with_socket(socket, peer)
    }

    /// Does the same for one whose client is better known than by the socket: behind a proxy.
    pub fn with_socket(socket: S, peer: Option<SocketAddr>) -> Self {
        socket.prepare();
        Self {
            socket,
            connection: Connection::new(peer),
            armed: false,
            write_stall: Some(DEFAULT_WRITE_STALL),
            stalled_since: None,
            delayed_failure: h1::DelayedFailure::default(),
            windows: h2::Windows::default(),
            check_timer: None,
        }
    }

    /// Sets how long the socket may take nothing before the connection is reset; `None`: for
    /// ever.
    #[must_use]
    pub fn write_stall(mut self, deadline: impl Into<Option<Duration>>) -> Self {
        self.write_stall = deadline.into();
        self
    }

    /// Returns the handle for the requests that come over this connection.
    pub fn connection(&self) -> Connection {
        self.connection.clone()
    }

    /// Returns the socket.
    pub fn get_ref(&self) -> &S {
        &self.socket
    }

    /// Arms before the first byte of a response goes out.
    fn arm_if_streaming(&mut self) -> io::Result<()> {
        if self.armed {
            return Ok(());
        }
        let is_streaming = {
            let state = self.connection.state();
            !state.active.is_empty() || !state.unflushed.is_empty()
        };
        if is_streaming {
            self.socket.arm(true)?;
            self.armed = true;
        }
        Ok(())
    }

    /// After a flush: confirms what has ended, disarms if that was all.
    fn after_flush(&mut self) -> io::Result<()> {
        let mut state = self.connection.state();
        h1::after_flush(&mut state, &mut self.socket);
        let confirmed = std::mem::take(&mut state.unflushed);
        // HTTP/1 only: on HTTP/2 a flush proves nothing.
        let may_disarm = !state.multiplexed && state.active.is_empty() && !state.failed;
        drop(state);
        for mut reader in confirmed {
            reader.confirm();
        }
        if may_disarm {
            self.disarm()?;
        }
        Ok(())
    }

    fn disarm(&mut self) -> io::Result<()> {
        if self.armed {
            self.socket.arm(false)?;
            self.armed = false;
        }
        Ok(())
    }

    fn note_progress(&mut self, bytes: usize) {
        self.stalled_since = None;
        self.delayed_failure = h1::DelayedFailure::default();
        let mut state = self.connection.state();
        state.written += bytes as u64;
        state.blocked = false;
        // On HTTP/2 the bytes may be another stream's: there only whole chunks count.
        if !state.multiplexed {
            h1::note_progress(&state);
        }
    }

    /// The socket takes nothing: fails when that has lasted too long.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.connection.state().blocked = true;
        loop {
            let now = Instant::now();
            let deadline = self.stall_deadline(now, cx);
            if deadline.is_some_and(|deadline| now >= deadline) {
                return Err(self.abort_stalled());
            }
            let check = now + STALL_CHECK_INTERVAL;
            let next = deadline.map_or(check, |deadline| deadline.min(check));
            if self.poll_check_timer(next, cx).is_pending() {
                return Ok(());
            }
        }
    }

    /// Has this task woken for the next look, and no later than at `next`.
    fn poll_check_timer(&mut self, next: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = match &mut self.check_timer {
            Some(timer) => {
                timer.as_mut().reset(next);
                timer
            }
            None => self.check_timer.insert(Box::pin(sleep_until(next))),
        };
        timer.as_mut().poll(cx)
    }

    /// `None`: never.
    fn stall_deadline(&mut self, now: Instant, cx: &mut Context<'_>) -> Option<Instant> {
        let since = *self.stalled_since.get_or_insert(now);
        let deadline = self.write_stall.and_then(|stall| since.checked_add(stall));
        let state = self.connection.state();
        match state.multiplexed {
            // One stream says nothing of the connection.
            true => deadline,
            false => self
                .delayed_failure
                .shorten(deadline, now, &state.active, cx),
        }
    }

    /// HTTP/2: fails the connection when nothing moves on it any more.
    fn check_windows(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let deadline = {
            let state = self.connection.state();
            match state.multiplexed {
                true => self.windows.deadline(Instant::now(), &state, cx),
                false => None,
            }
        };
        let Some(deadline) = deadline else {
            return Ok(());
        };
        loop {
            let now = Instant::now();
            if now >= deadline {
                return Err(self.abort_stalled());
            }
            let next = deadline.min(now + STALL_CHECK_INTERVAL);
            if self.poll_check_timer(next, cx).is_pending() {
                return Ok(());
            }
        }
    }

    /// HTTP/1: looks for a hang-up. hyper always reads from an HTTP/2 connection and sees it.
    fn check_hung_up(&self, cx: &mut Context<'_>) -> io::Result<()> {
        let waits = {
            let state = self.connection.state();
            !state.multiplexed && !state.active.is_empty()
        };
        match waits {
            true => h1::check_hung_up(&self.socket, cx),
            false => Ok(()),
        }
    }

    /// Tells the streams why they end: they would take the drop of their bodies for a hang-up.
    fn abort_stalled(&mut self) -> io::Error {
        let (active, unflushed) = {
            let mut state = self.connection.state();
            state.failed = true;
            (
                std::mem::take(&mut state.active),
                std::mem::take(&mut state.unflushed),
            )
        };
        let ended = unflushed.iter().map(ChunkReader::handle);
        for stream in active.into_iter().chain(ended) {
            stream.stop(Error::new(ErrorKind::ConsumerStalled, STALL_MESSAGE));
        }
        io::Error::new(io::ErrorKind::TimedOut, STALL_MESSAGE)
    }

    fn after_write(
        &mut self,
        written: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(bytes)) => {
                self.note_progress(bytes);
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => match self.poll_stalled(cx) {
                Ok(()) => Poll::Pending,
                Err(error) => Poll::Ready(Err(error)),
            },
        }
    }
}

impl<S: Socket> Drop for Armed<S> {
    /// A clone of the connection that is kept must not keep streams, and their places, with it.
    fn drop(&mut self) {
        let mut state = self.connection.state();
        state.socket_dropped = true;
        let left = (
            std::mem::take(&mut state.active),
            std::mem::take(&mut state.unflushed),
        );
        drop(state);
        drop(left);
    }
}

impl<S: Socket> AsyncWrite for Armed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.arm_if_streaming()?;
        let written = Pin::new(&mut self.socket).poll_write(cx, data);
        self.after_write(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.arm_if_streaming()?;
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.after_write(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    /// hyper flushes when it has written all that it has, the last chunk included.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_hung_up(cx)?;
        let flushed = Pin::new(&mut self.socket).poll_flush(cx)?;
        if flushed.is_ready() {
            self.after_flush()?;
        }
        flushed.map(Ok)
    }

    /// A connection that has not ended in good order gets no FIN: it would overtake the reset.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let may_end_cleanly = {
            let state = self.connection.state();
            state.active.is_empty() && !state.failed
        };
        if !may_end_cleanly {
            return Poll::Ready(Ok(()));
        }
        self.disarm()?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl<S: Socket> AsyncRead for Armed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_windows(cx)?;
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}
