//! The socket below the armed connection: what it must be able to do, and tokio's `TcpStream`.
//!
//! Called by the rest of this folder; calls the kernel. Knows nothing of HTTP.

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

/// What the kernel may hold of a response unsent, in bytes: 128 KiB. Without it a stalled client
/// costs 2.3 MB of kernel memory, with it 0.25 MB, and no throughput that could be measured.
const UNSENT_BYTES_MAX: u32 = 128 * 1024;

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
