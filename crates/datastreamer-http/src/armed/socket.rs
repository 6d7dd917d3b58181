//! What the socket below an armed connection must be able to do, and how tokio's `TcpStream` does
//! it.
//!
//! Called by the rest of this folder; calls the kernel. Knows nothing about HTTP.

use std::{
    io,
    net::SocketAddr,
    task::{Context, Poll},
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::unsent::UNSENT_BYTES_MIN;

/// A socket that can be armed.
///
/// Implemented for tokio's `TcpStream`; implement it for your own wrapper of one. TLS goes
/// **around** [`Armed`](crate::Armed), not into it.
///
/// ```
/// use std::{io, net::SocketAddr, task::{Context, Poll}};
/// use datastreamer_http::{Peer, Socket};
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
///     fn poll_peer(&self, cx: &mut Context<'_>) -> Peer {
///         self.0.poll_peer(cx)
///     }
///     fn prepare(&self) {
///         self.0.prepare();
///     }
///     fn limit_unsent(&self, bytes: u32) {
///         self.0.limit_unsent(bytes);
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
    /// Sets whether closing the socket sends a reset or, again, a plain FIN.
    ///
    /// # Errors
    /// The error of the operating system.
    fn arm(&self, reset: bool) -> io::Result<()>;

    /// Returns whether everything that was written has been sent.
    fn is_sent(&self) -> bool;

    /// Says whether the peer is still there. Needed because hyper does not read while it has a
    /// pipelined request.
    fn poll_peer(&self, _cx: &mut Context<'_>) -> Peer {
        Peer::Unwatched
    }

    /// Limits what the kernel buffers for a slow peer, and disables Nagle's algorithm so that
    /// small last chunks are sent at once. Called once; a failure is harmless.
    fn prepare(&self) {}

    /// Changes how many unsent bytes the kernel may hold: more for a peer that takes them quickly, few
    /// again once it has stalled. Optional; a failure is harmless.
    fn limit_unsent(&self, _bytes: u32) {}

    /// Returns the client's address, if it is known.
    fn peer(&self) -> Option<SocketAddr> {
        None
    }
}

/// What a socket knows of its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// It is there, and the task is woken when that may have changed.
    There,
    /// It is there, as far as is known, and nothing wakes the task when that changes: there is
    /// something to read that nobody reads.
    Unwatched,
    /// It has closed its half of the connection: it sends nothing more, and may still read.
    HalfClosed,
    /// It has closed or reset the connection.
    Gone,
}

/// The half-close behind bytes that nobody reads: only Linux tells of it.
#[cfg(target_os = "linux")]
const HALF_CLOSED: PollFlags = PollFlags::RDHUP;
#[cfg(not(target_os = "linux"))]
const HALF_CLOSED: PollFlags = PollFlags::empty();

fn is_half_closed(events: PollFlags) -> bool {
    events.intersects(HALF_CLOSED)
}

/// What has happened to a socket; waits for nothing.
fn events_of(socket: &TcpStream) -> PollFlags {
    let mut fds = [PollFd::new(socket, HALF_CLOSED)];
    match poll(&mut fds, Some(&NOW)) {
        Ok(_) => fds[0].revents(),
        Err(_) => PollFlags::empty(),
    }
}

const NOW: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

impl Socket for TcpStream {
    fn arm(&self, reset: bool) -> io::Result<()> {
        SockRef::from(self).set_linger(reset.then_some(Duration::ZERO))
    }

    /// With a low-water mark of 1 the kernel reports a socket as writable once nothing is unsent.
    fn is_sent(&self) -> bool {
        #[cfg(target_os = "linux")]
        if SockRef::from(self).set_tcp_notsent_lowat(1).is_err() {
            return true;
        }
        let mut fds = [PollFd::new(self, PollFlags::OUT)];
        // If poll fails there is nothing to wait for.
        !matches!(poll(&mut fds, Some(&NOW)), Ok(0))
    }

    fn poll_peer(&self, cx: &mut Context<'_>) -> Peer {
        let mut byte = [0];
        let unread = match self.poll_peek(cx, &mut ReadBuf::new(&mut byte)) {
            Poll::Pending => return Peer::There,
            Poll::Ready(Err(_)) => return Peer::Gone,
            Poll::Ready(Ok(unread)) => unread,
        };
        let events = events_of(self);
        if events.intersects(PollFlags::ERR | PollFlags::HUP) {
            Peer::Gone
        } else if unread == 0 || is_half_closed(events) {
            Peer::HalfClosed
        } else {
            Peer::Unwatched
        }
    }

    fn prepare(&self) {
        let _best_effort = self.set_nodelay(true);
        self.limit_unsent(UNSENT_BYTES_MIN);
    }

    fn limit_unsent(&self, bytes: u32) {
        #[cfg(target_os = "linux")]
        let _best_effort = SockRef::from(self).set_tcp_notsent_lowat(bytes);
        #[cfg(not(target_os = "linux"))]
        let _no_such_limit = bytes;
    }

    fn peer(&self) -> Option<SocketAddr> {
        self.peer_addr().ok()
    }
}
