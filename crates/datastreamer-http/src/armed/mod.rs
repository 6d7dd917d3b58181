//! The armed connection: if it ends while a response is being sent, the client gets a reset.
//!
//! hyper calls [`Armed`]. This file owns what both protocols share and decides between them:
//! `h1.rs` and `h2.rs` hold what only one of them needs, `connection.rs` what response bodies and
//! the socket report to each other, `socket.rs` the calls to the kernel.
//!
//! [`Armed`] wraps a socket below hyper. [`DownloadBody`](crate::DownloadBody) reports through a
//! [`Connection`] when a response begins and ends. Between the two the socket has
//! `SO_LINGER {on, 0}`, so that RST is sent whatever ends the connection: an error, a panic,
//! `kill -9`. hyper's own abort is a plain FIN, which wget, HTTP/1.0 proxies and others take for
//! the end of the file. No client that was tested takes an RST for it.
//!
//! The connection disarms only after a flush that follows the last byte of the last response. On
//! HTTP/2 a flush proves nothing, because data may wait for a window inside hyper. An HTTP/2
//! connection therefore stays armed until hyper shuts it down cleanly.
//!
//! One client needs more. If the response carries `Connection: close`, node's fetch takes a reset for
//! the end of a chunked body. hyper adds that header when the request has it, and also when keep-alive
//! is off or the server shuts down, which a body does not see. So every failure of a chunked HTTP/1.1
//! response first breaks the chunked framing, and the reset waits until the client has closed, at most
//! [`DRAIN_MAX`]. The framing can be broken only at a chunk's boundary; over TLS `ArmedTls` breaks it
//! within TLS, and below another's TLS it is never touched. After a
//! `kill -9`, or if the client takes nothing until the drain times out, such a client does not notice
//! that a chunked file is truncated. It does notice if the length is known, and without the header it
//! notices in both cases.
//!
//! RST discards what the kernel has not sent. Before an abort on an error the body therefore
//! waits, at most [`DRAIN_MAX`], until everything has been sent.

mod connection;
mod h1;
mod h2;
mod open_request;
mod peer;
mod socket;
mod unsent;

use std::{
    future::Future,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use datastreamer::{ChunkReader, Error, ErrorKind};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

pub(crate) use self::connection::Usage;
pub use self::{
    connection::{Connection, DRAIN_MAX},
    open_request::OpenRequest,
    peer::HalfClose,
    socket::{Peer, Socket},
};

/// How long a socket may take nothing before the connection is reset.
///
/// The same as the default stall deadline of a stream. A stream's own deadline does not cover a
/// client that stalls on the last bytes.
pub const DEFAULT_WRITE_STALL: Duration = datastreamer::DEFAULT_CONSUMER_STALL;

/// How often a connection whose socket takes nothing checks whether a stream has failed
/// meanwhile, which hyper does not see before the socket takes more: a quarter of [`DRAIN_MAX`].
const STALL_CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// The first byte of a TLS connection, the type of a handshake's record (RFC 8446, 5.1). No HTTP
/// request begins with it.
const TLS_HANDSHAKE: u8 = 0x16;

/// How a connection of HTTP/2 begins (RFC 9113, 3.4), in as many bytes as no method of HTTP/1 has.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2";

const STALL_MESSAGE: &str = "the client took nothing for too long";

/// A socket below hyper that resets the connection if it ends in the middle of a response.
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
/// A client that closes its half of the connection during a response counts as disconnected, unless
/// [`half_close`](Self::half_close) allows it.
///
/// # Panics
/// Polling panics outside of a tokio runtime with time enabled.
#[derive(Debug)]
pub struct Armed<S: Socket> {
    socket: S,
    connection: Connection,
    armed: bool,
    reads_first_byte: bool,
    half_close: HalfClose,
    exchange: peer::Exchange,
    /// `None`: no limit.
    write_stall: Option<Duration>,
    /// Since when the socket has taken nothing; `None` while it takes bytes.
    stalled_since: Option<Instant>,
    unsent_mark: unsent::UnsentMark,
    delayed_failure: h1::DelayedFailure,
    windows: h2::Windows,
    /// Wakes the task for the next check of a connection on which nothing moves.
    check_timer: Option<Pin<Box<Sleep>>>,
}

impl<S: Socket> Armed<S> {
    /// Wraps an accepted connection and [prepares](Socket::prepare) it.
    pub fn new(socket: S) -> Self {
        let peer = socket.peer();
        Self::with_socket(socket, peer)
    }

    /// Does the same, with a client address that the socket does not know: behind a proxy.
    pub fn with_socket(socket: S, peer: Option<SocketAddr>) -> Self {
        socket.prepare();
        Self {
            socket,
            connection: Connection::new(peer),
            armed: false,
            reads_first_byte: true,
            half_close: HalfClose::default(),
            exchange: peer::Exchange::default(),
            write_stall: Some(DEFAULT_WRITE_STALL),
            stalled_since: None,
            unsent_mark: unsent::UnsentMark::default(),
            delayed_failure: h1::DelayedFailure::default(),
            windows: h2::Windows::default(),
            check_timer: None,
        }
    }

    /// Sets how long the socket may take nothing before the connection is reset. `None`: no
    /// limit.
    #[must_use]
    pub fn write_stall(mut self, deadline: impl Into<Option<Duration>>) -> Self {
        self.write_stall = deadline.into();
        self
    }

    /// Sets what it means that a client closes its half of an HTTP/1 connection before it has the
    /// response. Not for a connection that carries TLS or HTTP/2, where that always ends the
    /// connection.
    #[must_use]
    pub fn half_close(mut self, half_close: HalfClose) -> Self {
        self.half_close = half_close;
        self
    }

    /// Returns the handle for the requests that arrive on this connection.
    pub fn connection(&self) -> Connection {
        self.connection.clone()
    }

    /// Returns the socket.
    pub fn get_ref(&self) -> &S {
        &self.socket
    }

    /// Arms the socket before the first byte of a response is written.
    fn arm_if_streaming(&mut self) -> io::Result<()> {
        if self.armed {
            return Ok(());
        }
        let is_streaming = {
            let state = self.connection.state();
            !state.active.is_empty() || !state.unflushed.is_empty() || state.others > 0
        };
        if is_streaming {
            self.socket.arm(true)?;
            self.armed = true;
        }
        Ok(())
    }

    /// Confirms the responses that have ended, and disarms if no other one is being sent.
    fn after_flush(&mut self) -> io::Result<()> {
        let mut state = self.connection.state();
        h1::after_flush(&mut state, &mut self.socket);
        let confirmed = std::mem::take(&mut state.unflushed);
        // Never on HTTP/2, where a flush proves nothing.
        let is_over = state.active.is_empty() && state.others == 0;
        let may_disarm = !state.multiplexed && is_over && !state.failed;
        drop(state);
        for mut reader in confirmed {
            reader.confirm();
        }
        if may_disarm {
            self.exchange.note_flushed();
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
        if let Some(mark) = self.unsent_mark.note_taken(bytes) {
            self.socket.limit_unsent(mark);
        }
        self.delayed_failure = h1::DelayedFailure::default();
        let mut state = self.connection.state();
        state.written += bytes as u64;
        state.blocked = false;
        // On HTTP/2 the bytes may belong to another stream. A stream there makes progress when
        // hyper takes a chunk.
        if !state.multiplexed {
            h1::note_progress(&state);
        }
        let body = state.waiting_body.take();
        drop(state);
        body.into_iter().for_each(Waker::wake);
    }

    /// Called when the socket takes nothing: fails the connection once the deadline has passed.
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

    /// Polls the timer of the next check. One that fires earlier is left as it is: it costs one
    /// needless check, and setting it costs more than the write beside it.
    fn poll_check_timer(&mut self, next: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self
            .check_timer
            .get_or_insert_with(|| Box::pin(sleep_until(next)));
        if timer.is_elapsed() || timer.deadline() > next {
            timer.as_mut().reset(next);
        }
        timer.as_mut().poll(cx)
    }

    /// Returns until when the socket must take something. `None`: no limit.
    fn stall_deadline(&mut self, now: Instant, cx: &mut Context<'_>) -> Option<Instant> {
        let since = *self.stalled_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= unsent::STALLED {
            let mark = self.unsent_mark.note_stall();
            mark.into_iter()
                .for_each(|mark| self.socket.limit_unsent(mark));
        }
        let deadline = self.write_stall.and_then(|stall| since.checked_add(stall));
        let state = self.connection.state();
        match state.multiplexed {
            // The state of one stream says nothing about the connection.
            true => deadline,
            false => self
                .delayed_failure
                .shorten(deadline, now, &state.active, cx),
        }
    }

    /// HTTP/2: fails the connection when nothing has moved on it for too long.
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

    /// HTTP/1: fails the connection if the client has disconnected. hyper always reads from an
    /// HTTP/2 connection and so notices by itself.
    fn check_peer(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let waits = {
            let state = self.connection.state();
            !state.multiplexed && !state.active.is_empty()
        };
        while waits && peer::check(self.socket.poll_peer(cx), self.half_close)? {
            let next = Instant::now() + STALL_CHECK_INTERVAL;
            if self.poll_check_timer(next, cx).is_pending() {
                break;
            }
        }
        Ok(())
    }

    /// Whether the end of what the client sends is kept from hyper for now.
    fn hides_half_close(&mut self, cx: &mut Context<'_>) -> bool {
        if self.half_close == HalfClose::HangUp {
            return false;
        }
        let state = self.connection.state();
        let counted_requests = state.open_requests.unwrap_or_default();
        let is_streaming = !state.active.is_empty();
        let may_hide = !state.multiplexed && !state.is_tls;
        drop(state);
        may_hide
            && self
                .exchange
                .hide_half_close(is_streaming, counted_requests, cx)
    }

    /// Stops all streams as stalled: otherwise they would record the drop of their bodies as a
    /// hang-up.
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
                self.exchange.note_written();
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
    /// A clone of the connection must not keep streams, and their places, beyond the socket.
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

    /// hyper flushes when it has written everything that it has, including the last chunk.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_peer(cx)?;
        let flushed = Pin::new(&mut self.socket).poll_flush(cx)?;
        if flushed.is_ready() {
            self.after_flush()?;
        }
        flushed.map(Ok)
    }

    /// Sends no FIN if the connection did not end cleanly: it would overtake the reset.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.connection.may_end_cleanly() {
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
        let before = buf.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(cx, buf);
        let Some(first) = buf.filled().get(before) else {
            let is_end = matches!(read, Poll::Ready(Ok(()))) && buf.remaining() > 0;
            return match is_end && self.hides_half_close(cx) {
                true => Poll::Pending,
                false => read,
            };
        };
        if self.reads_first_byte {
            self.reads_first_byte = false;
            let mut state = self.connection.state();
            state.is_tls = *first == TLS_HANDSHAKE;
            state.multiplexed = buf.filled()[before..].starts_with(HTTP2_PREFACE);
        }
        self.exchange.note_read();
        read
    }
}
