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

/// How many unsent bytes the kernel may hold for a connection: 128 KiB. Without the limit a
/// stalled client costs 2.3 MB of kernel memory, with it 0.25 MB. No loss of throughput was
/// measured.
const UNSENT_BYTES_MAX: u32 = 128 * 1024;

/// A socket that can be armed.
///
/// Implemented for tokio's `TcpStream`; implement it for your own wrapper of one. TLS goes
/// **around** [`Armed`](crate::Armed), not into it.
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
    /// Sets whether closing the socket sends a reset or, again, a plain FIN.
    ///
    /// # Errors
    /// The error of the operating system.
    fn arm(&self, reset: bool) -> io::Result<()>;

    /// Returns whether everything that was written has been sent.
    fn is_sent(&self) -> bool;

    /// Ready when the peer has closed and nothing is left to read before that; otherwise
    /// registers the task to be woken then. Needed because hyper does not read while it has a
    /// pipelined request.
    fn poll_hung_up(&self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    /// Limits what the kernel buffers for a slow peer, and disables Nagle's algorithm so that
    /// small last chunks are sent at once. Called once; a failure is harmless.
    fn prepare(&self) {}

    /// Returns the client's address, if it is known.
    fn peer(&self) -> Option<SocketAddr> {
        None
    }
}

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
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // If poll fails there is nothing to wait for.
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
