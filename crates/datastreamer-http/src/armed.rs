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

use std::{
    future::Future,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use datastreamer::{ChunkReader, Error, ErrorKind, StreamHandle};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};

/// How long an abort waits for the valid bytes to be sent: a client that takes nothing for two
/// seconds has no use for them.
pub const DRAIN_MAX: Duration = Duration::from_secs(2);

/// How long a socket may take nothing before the connection is reset: the default of the
/// streams' own stall deadline. The streams cannot see a client that stalls on the last bytes.
pub const DEFAULT_WRITE_STALL: Duration = datastreamer::DEFAULT_CONSUMER_STALL;

/// How often a socket that takes nothing is looked at for a stream that has failed meanwhile,
/// which hyper cannot see before the socket takes more: a quarter of [`DRAIN_MAX`].
const FAILURE_LOOK: Duration = Duration::from_millis(500);

/// Streams of one HTTP/2 connection that may stall while others go on: a few paused downloads.
/// hyper keeps up to 256 KiB for each and cannot be told to let go of one.
const STALLED_STREAMS_MAX: usize = 4;

/// What the kernel may hold of a response unsent, in bytes: 128 KiB. Without it a stalled client
/// costs 2.3 MB of kernel memory, with it 0.25 MB, and no throughput that could be measured.
const UNSENT_BYTES_MAX: u32 = 128 * 1024;

/// The size of a chunk beyond 64 bits, without the end of its line: no parser takes it for the
/// last chunk. To node's fetch a reset behind `Connection: close` is a good end, this is not.
const SPOILT_CHUNK: &[u8] = b"fffffffffffffffffff";

const STALLED_TEXT: &str = "the client took nothing for too long";

/// A socket that can be armed. Implemented for tokio's `TcpStream`; implement it for what wraps
/// one. TLS goes **around** [`Armed`], not into it.
///
/// ```
/// use std::{io, net::SocketAddr, task::{Context, Poll}};
/// use datastreamer_http::Socket;
/// use tokio::net::TcpStream;
///
/// struct Counted(TcpStream); // with an AsyncRead and an AsyncWrite that count
///
/// impl Socket for Counted {
///     fn arm(&self, reset: bool) -> io::Result<()> {
///         self.0.arm(reset)
///     }
///     fn is_sent(&self) -> bool {
///         self.0.is_sent()
///     }
///     fn poll_hung_up(&self, cx: &mut Context<'_>) -> Poll<()> {
///         self.0.poll_hung_up(cx)
///     }
///     fn prepare(&self) {
///         self.0.prepare();
///     }
///     fn peer(&self) -> Option<SocketAddr> {
///         self.0.peer()
///     }
/// }
/// # impl tokio::io::AsyncRead for Counted {
/// #     fn poll_read(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut tokio::io::ReadBuf<'_>) -> Poll<io::Result<()>> { std::pin::Pin::new(&mut self.0).poll_read(cx, buf) }
/// # }
/// # impl tokio::io::AsyncWrite for Counted {
/// #     fn poll_write(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> { std::pin::Pin::new(&mut self.0).poll_write(cx, data) }
/// #     fn poll_flush(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> { std::pin::Pin::new(&mut self.0).poll_flush(cx) }
/// #     fn poll_shutdown(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> { std::pin::Pin::new(&mut self.0).poll_shutdown(cx) }
/// # }
/// ```
pub trait Socket: AsyncRead + AsyncWrite + Unpin {
    /// Makes the socket's death a reset, or a plain end again.
    ///
    /// # Errors
    /// What the system says.
    fn arm(&self, reset: bool) -> io::Result<()>;

    /// Says whether everything written is on the wire.
    fn is_sent(&self) -> bool;

    /// Ready when the peer has closed and nothing is left to read before that; else has the task
    /// woken then. hyper does not read while it has a pipelined request.
    fn poll_hung_up(&self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    /// Bounds what the kernel holds for a slow peer, and has small last chunks sent at once.
    /// Called once; failure is harmless.
    fn prepare(&self) {}

    /// Returns the client's address, where it is known.
    fn peer(&self) -> Option<SocketAddr> {
        None
    }
}

impl Socket for TcpStream {
    fn arm(&self, reset: bool) -> io::Result<()> {
        SockRef::from(self).set_linger(reset.then_some(Duration::ZERO))
    }

    /// With a low-water mark of 1 the kernel calls a socket writable once nothing is unsent.
    fn is_sent(&self) -> bool {
        #[cfg(target_os = "linux")]
        if SockRef::from(self).set_tcp_notsent_lowat(1).is_err() {
            return true;
        }
        let mut fds = [PollFd::new(self, PollFlags::OUT)];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // A poll that fails cannot be waited for.
        !matches!(poll(&mut fds, Some(&now)), Ok(0))
    }

    fn poll_hung_up(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut byte = [0];
        match self.poll_peek(cx, &mut ReadBuf::new(&mut byte)) {
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(()),
            Poll::Ready(Ok(_)) | Poll::Pending => Poll::Pending,
        }
    }

    fn prepare(&self) {
        let _best_effort = self.set_nodelay(true);
        #[cfg(target_os = "linux")]
        let _best_effort = SockRef::from(self).set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
    }

    fn peer(&self) -> Option<SocketAddr> {
        self.peer_addr().ok()
    }
}

/// A request's connection: what a [`Download`](crate::Download) needs to make its failure
/// visible. Put it into each request's extensions; [`crate::ArmedListener`] does so for axum.
#[derive(Clone, Debug)]
pub struct Connection {
    state: Arc<Mutex<State>>,
    peer: Option<SocketAddr>,
}

#[derive(Debug, Default)]
struct State {
    /// Responses under way.
    active: Vec<StreamHandle>,
    /// Responses whose last byte hyper has and the socket perhaps not.
    unflushed: Vec<ChunkReader>,
    /// A response broke off: the connection must not end well.
    failed: bool,
    /// HTTP/2: a flush is no proof.
    multiplexed: bool,
    /// Someone waits for everything to be sent; the second tells him that it is.
    drain_wanted: bool,
    drained: bool,
    /// Bytes written to the socket; tells whether a connection is quiet.
    written: u64,
    /// The socket takes nothing: a connection that waits for it is not quiet.
    blocked: bool,
    /// The socket is no more: nothing is kept for it.
    gone: bool,
    /// The next flush breaks the framing: see [`SPOILT_CHUNK`].
    spoil: bool,
}

impl Connection {
    /// Finds the connection among a request's extensions.
    pub fn of(extensions: &http::Extensions) -> Option<Self> {
        let own = extensions.get::<Self>().cloned();
        #[cfg(feature = "axum")]
        let own = own.or_else(|| {
            let info = extensions.get::<axum::extract::ConnectInfo<Self>>();
            info.map(|axum::extract::ConnectInfo(connection)| connection.clone())
        });
        own
    }

    /// Returns the client's address, where it is known.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    pub(crate) fn begin(&self, stream: StreamHandle, multiplexed: bool) {
        let mut state = self.state();
        state.multiplexed |= multiplexed;
        if !state.gone {
            state.active.push(stream);
        }
    }

    /// Takes a response whose last byte was handed to hyper; the flush confirms it.
    pub(crate) fn end(&self, reader: ChunkReader) {
        let id = reader.handle().id();
        let mut state = self.state();
        state.active.retain(|stream| stream.id() != id);
        if !state.gone {
            state.unflushed.push(reader);
        }
    }

    /// Takes note that a response broke off.
    pub(crate) fn fail(&self, stream: &StreamHandle) {
        let mut state = self.state();
        // One broken stream does not break the others on an HTTP/2 connection: it is reset.
        state.failed |= !state.multiplexed;
        state.active.retain(|other| other.id() != stream.id());
    }

    /// Takes note that a response will not be sent.
    pub(crate) fn withdraw(&self, stream: &StreamHandle) {
        let mut state = self.state();
        state.active.retain(|other| other.id() != stream.id());
    }

    /// Asks for the socket to be drained; `true` once everything is sent.
    pub(crate) fn poll_drained(&self) -> bool {
        let mut state = self.state();
        state.drain_wanted = true;
        state.drained
    }

    /// Has the chunked framing broken with the next flush, well before the reset: node's fetch
    /// may have read the reset before it looks at what came in front of it. `false` unless all
    /// is sent so far: behind a part of a chunk it would be taken for data.
    pub(crate) fn spoil_framing(&self) -> bool {
        let mut state = self.state();
        state.spoil = state.drained;
        state.spoil
    }

    /// Returns how many bytes the socket has taken, and whether it would take more.
    pub(crate) fn written(&self) -> (u64, bool) {
        let state = self.state();
        (state.written, !state.blocked)
    }

    pub(crate) fn is_multiplexed(&self) -> bool {
        self.state().multiplexed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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
    /// When that was first seen to keep a stream waiting that is over.
    over_since: Option<Instant>,
    /// HTTP/2: since when all streams have been stalled, and what had been written then.
    idle_since: Option<(Instant, u64)>,
    /// The next look at a connection on which nothing moves.
    next_look: Option<Pin<Box<Sleep>>>,
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
            connection: Connection {
                state: Arc::default(),
                peer,
            },
            armed: false,
            write_stall: Some(DEFAULT_WRITE_STALL),
            stalled_since: None,
            over_since: None,
            idle_since: None,
            next_look: None,
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
        let under_way = {
            let state = self.connection.state();
            !state.active.is_empty() || !state.unflushed.is_empty()
        };
        if under_way {
            self.socket.arm(true)?;
            self.armed = true;
        }
        Ok(())
    }

    /// After a flush: confirms what has ended, disarms if that was all.
    fn settle(&mut self) -> io::Result<()> {
        let mut state = self.connection.state();
        if state.drain_wanted && !state.drained {
            state.drained = self.socket.is_sent();
        }
        if std::mem::take(&mut state.spoil) {
            let cx = &mut Context::from_waker(Waker::noop());
            let _best_effort = Pin::new(&mut self.socket).poll_write(cx, SPOILT_CHUNK);
        }
        let confirmed = std::mem::take(&mut state.unflushed);
        let at_rest = state.active.is_empty() && !state.failed && !state.multiplexed;
        drop(state);
        for mut reader in confirmed {
            reader.confirm();
        }
        if at_rest {
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
        self.over_since = None;
        let mut state = self.connection.state();
        state.written += bytes as u64;
        state.blocked = false;
        // On HTTP/2 the bytes may be another stream's: there only whole chunks count.
        if !state.multiplexed {
            state.active.iter().for_each(StreamHandle::note_progress);
            let unflushed = state.unflushed.iter();
            unflushed.for_each(|reader| reader.handle().note_progress());
        }
    }

    /// The socket takes nothing: fails when that has lasted too long.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.connection.state().blocked = true;
        loop {
            let now = Instant::now();
            let deadline = self.stall_deadline(now, cx);
            if deadline.is_some_and(|deadline| now >= deadline) {
                return Err(self.give_up());
            }
            let look = now + FAILURE_LOOK;
            let next = deadline.map_or(look, |deadline| deadline.min(look));
            if self.poll_look(next, cx).is_pending() {
                return Ok(());
            }
        }
    }

    /// Has this task woken for the next look, and no later than at `next`.
    fn poll_look(&mut self, next: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let look = match &mut self.next_look {
            Some(look) => {
                look.as_mut().reset(next);
                look
            }
            None => self.next_look.insert(Box::pin(sleep_until(next))),
        };
        look.as_mut().poll(cx)
    }

    /// `None`: never.
    fn stall_deadline(&mut self, now: Instant, cx: &mut Context<'_>) -> Option<Instant> {
        let since = *self.stalled_since.get_or_insert(now);
        let deadline = self.write_stall.and_then(|stall| since.checked_add(stall));
        match self.reason_to_hurry(cx) {
            None => deadline,
            Some(error) if error.kind() == ErrorKind::ConsumerStalled => Some(now),
            // The stream is over: what is valid gets the time of a drain.
            Some(_) => {
                let drained = *self.over_since.get_or_insert(now) + DRAIN_MAX;
                Some(deadline.map_or(drained, |deadline| deadline.min(drained)))
            }
        }
    }

    /// Why a stream on this connection was stopped or has failed, if one has; has this task
    /// woken when one is stopped. On HTTP/2 one stream says nothing of the connection.
    fn reason_to_hurry(&self, cx: &mut Context<'_>) -> Option<Error> {
        let state = self.connection.state();
        if state.multiplexed {
            return None;
        }
        state
            .active
            .iter()
            .find_map(|stream| match stream.poll_stopped(cx) {
                Poll::Ready(Some(error)) => Some(error),
                Poll::Ready(None) | Poll::Pending => stream.record().error,
            })
    }

    /// HTTP/2: hyper does not ask the body of a stream whose window is closed, and so the body
    /// cannot fail. Fails the connection when nothing else moves on it, or too many stall.
    fn check_windows(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let (stopped, all, written) = {
            let state = self.connection.state();
            if !state.multiplexed {
                return Ok(());
            }
            let stopped = state
                .active
                .iter()
                .filter_map(|stream| why_stopped(stream, cx));
            let stopped: Vec<_> = stopped.collect();
            (stopped, state.active.len(), state.written)
        };
        let stalled = stopped
            .iter()
            .filter(|kind| **kind == ErrorKind::ConsumerStalled);
        if stalled.count() > STALLED_STREAMS_MAX {
            return Err(self.give_up());
        }
        // Whatever a stream was stopped for: its body cannot say so before the window opens.
        if stopped.is_empty() || stopped.len() < all {
            self.idle_since = None;
            return Ok(());
        }
        loop {
            // Streams that have ended well may still have bytes on their way.
            let now = Instant::now();
            let idle = self.idle_since.filter(|(_, then)| *then == written);
            let (since, _) = *self.idle_since.insert(idle.unwrap_or((now, written)));
            let deadline = since + DRAIN_MAX;
            if now >= deadline {
                return Err(self.give_up());
            }
            if self
                .poll_look(deadline.min(now + FAILURE_LOOK), cx)
                .is_pending()
            {
                return Ok(());
            }
        }
    }

    /// Tells the streams why they end: they would take the drop of their bodies for a hang-up.
    fn give_up(&mut self) -> io::Error {
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
            stream.stop(Error::new(ErrorKind::ConsumerStalled, STALLED_TEXT));
        }
        io::Error::new(io::ErrorKind::TimedOut, STALLED_TEXT)
    }

    /// Looks for a hang-up that hyper cannot see: an HTTP/2 connection is always read from.
    fn check_hung_up(&self, cx: &mut Context<'_>) -> io::Result<()> {
        let waits = {
            let state = self.connection.state();
            !state.multiplexed && !state.active.is_empty()
        };
        if waits && self.socket.poll_hung_up(cx).is_ready() {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionReset,
                "the client left",
            ));
        }
        Ok(())
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

fn why_stopped(stream: &StreamHandle, cx: &mut Context<'_>) -> Option<ErrorKind> {
    match stream.poll_stopped(cx) {
        Poll::Ready(error) => error.map(|error| error.kind()),
        Poll::Pending => None,
    }
}

impl<S: Socket> Drop for Armed<S> {
    /// A clone of the connection that is kept must not keep streams, and their places, with it.
    fn drop(&mut self) {
        let mut state = self.connection.state();
        state.gone = true;
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
            self.settle()?;
        }
        flushed.map(Ok)
    }

    /// A connection that has not ended in good order gets no FIN: it would overtake the reset.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let may_end_well = {
            let state = self.connection.state();
            state.active.is_empty() && !state.failed
        };
        if !may_end_well {
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
