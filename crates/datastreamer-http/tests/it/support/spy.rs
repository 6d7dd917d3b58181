//! A socket that records the calls and passes them on to the real one.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use datastreamer_http::{Peer, Socket};
use datastreamer_testkit::eventually;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// A recorded call to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Armed,
    Disarmed,
    ShutDown,
    Dropped,
}

/// What was recorded about one connection of a server. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spy {
    seen: Arc<Mutex<Seen>>,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    events: Vec<Event>,
    /// Bytes that were written while the kernel had SO_LINGER {on, 0}, and while it did not.
    bytes_armed: u64,
    bytes_unarmed: u64,
    dropped: Option<Instant>,
    /// The limits of unsent bytes, as the kernel has them.
    unsent_marks: Vec<u32>,
}

impl Spy {
    pub(crate) fn wrap(&self, tcp: TcpStream) -> Spied {
        Spied {
            tcp,
            spy: self.clone(),
        }
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.seen.lock().unwrap().events.clone()
    }

    pub(crate) fn bytes_armed(&self) -> u64 {
        self.seen.lock().unwrap().bytes_armed
    }

    pub(crate) fn bytes_unarmed(&self) -> u64 {
        self.seen.lock().unwrap().bytes_unarmed
    }

    pub(crate) fn unsent_marks(&self) -> Vec<u32> {
        self.seen.lock().unwrap().unsent_marks.clone()
    }

    /// Waits until the server has dropped the socket; returns when that was.
    pub(crate) fn wait_dropped(&self) -> Instant {
        eventually("the end of the connection", || {
            self.seen.lock().unwrap().dropped.is_some()
        });
        self.seen.lock().unwrap().dropped.unwrap()
    }

    /// Waits until the last change of SO_LINGER is this one.
    pub(crate) fn wait_last(&self, event: Event) {
        eventually("the socket is armed or disarmed", || {
            self.events().last() == Some(&event)
        });
    }

    fn note(&self, event: Event) {
        let mut seen = self.seen.lock().unwrap();
        seen.events.push(event);
        if event == Event::Dropped {
            seen.dropped = Some(Instant::now());
        }
    }
}

/// The socket.
#[derive(Debug)]
pub(crate) struct Spied {
    tcp: TcpStream,
    spy: Spy,
}

impl Spied {
    fn note_unsent_mark(&self) {
        #[cfg(target_os = "linux")]
        {
            let mark = SockRef::from(&self.tcp).tcp_notsent_lowat().unwrap();
            self.spy.seen.lock().unwrap().unsent_marks.push(mark);
        }
    }

    fn note_written(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &written {
            let armed = SockRef::from(&self.tcp).linger().unwrap() == Some(Duration::ZERO);
            let mut seen = self.spy.seen.lock().unwrap();
            match armed {
                true => seen.bytes_armed += *bytes as u64,
                false => seen.bytes_unarmed += *bytes as u64,
            }
        }
        written
    }
}

impl Socket for Spied {
    fn arm(&self, reset: bool) -> io::Result<()> {
        self.tcp.arm(reset)?;
        // Read from the kernel, not from our own records.
        let linger = SockRef::from(&self.tcp).linger()?;
        assert_eq!(linger, reset.then_some(Duration::ZERO));
        self.spy.note(match reset {
            true => Event::Armed,
            false => Event::Disarmed,
        });
        Ok(())
    }

    fn is_sent(&self) -> bool {
        self.tcp.is_sent()
    }

    fn poll_peer(&self, cx: &mut Context<'_>) -> Peer {
        self.tcp.poll_peer(cx)
    }

    fn prepare(&self) {
        self.tcp.prepare();
        self.note_unsent_mark();
    }

    fn limit_unsent(&self, bytes: u32) {
        self.tcp.limit_unsent(bytes);
        self.note_unsent_mark();
    }
}

impl AsyncWrite for Spied {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write(cx, data);
        self.note_written(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write_vectored(cx, slices);
        self.note_written(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.spy.note(Event::ShutDown);
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

impl AsyncRead for Spied {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl Drop for Spied {
    fn drop(&mut self) {
        self.spy.note(Event::Dropped);
    }
}
