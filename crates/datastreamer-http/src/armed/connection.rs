//! The state that an armed connection shares with its responses.
//!
//! [`DownloadBody`](crate::DownloadBody) calls it when a response begins, ends or fails.
//! `Armed`, `h1.rs` and `h2.rs` read it and report what the socket has taken. This file decides
//! nothing but whether anything of a response has been used ([`Usage`]).

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::Duration,
};

use datastreamer::{ChunkReader, StreamHandle};
#[cfg(feature = "axum")]
use datastreamer::{Error, ErrorKind};

/// How long an abort waits for the valid bytes to be sent: two seconds. A client that takes
/// nothing for so long has no use for them.
pub const DRAIN_MAX: Duration = Duration::from_secs(2);

/// A handle to a request's connection, with which a [`Download`](crate::Download) makes its
/// failure visible.
///
/// Put it into the extensions of each request. For axum, [`crate::ArmedListener`] provides it as
/// connect info.
#[derive(Clone, Debug)]
pub struct Connection {
    state: Arc<Mutex<State>>,
    peer: Option<SocketAddr>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// Responses that are being sent.
    pub(super) active: Vec<StreamHandle>,
    /// Responses without a length that are no streams: the bodies of others, while they are sent.
    pub(super) others: usize,
    /// Responses whose last byte hyper has taken and the socket perhaps has not.
    pub(super) unflushed: Vec<ChunkReader>,
    /// A response was aborted: the connection must not end cleanly.
    pub(super) failed: bool,
    /// HTTP/2: many streams share the socket. Known from the first bytes, or under TLS once the first
    /// response begins.
    pub(super) multiplexed: bool,
    /// A body waits until everything has been sent.
    pub(super) drain_wanted: bool,
    /// Everything has been sent. Checked after each flush once it is wanted.
    pub(super) drained: bool,
    /// Bytes written to the socket. A connection on which this stands still may be idle.
    pub(super) written: u64,
    /// The socket takes nothing at the moment: the connection is not idle.
    pub(super) blocked: bool,
    /// A body that gives nothing meanwhile: see [`Connection::poll_taking`].
    pub(super) waiting_body: Option<Waker>,
    /// The socket has been dropped: no more streams are kept here.
    pub(super) socket_dropped: bool,
    /// HTTP/2: requests that have not ended. `None`: nobody counts them.
    pub(super) open_requests: Option<usize>,
    /// The connection carries TLS: what is written here directly would break its records.
    pub(super) is_tls: bool,
    /// The TLS of this connection asks here, and breaks the framing within it.
    pub(super) is_tls_ours: bool,
    /// The next flush breaks the chunked framing: see `INVALID_CHUNK_SIZE` in `h1.rs`.
    pub(super) framing_break_wanted: bool,
    /// It was broken, or is about to be.
    pub(super) is_framing_broken: bool,
}

/// Whether anything of a response has been used since it began. A service that drops a body of which
/// nothing was used sends another response, for example 304; otherwise the client has a part of it.
#[derive(Debug)]
pub(crate) struct Usage {
    /// How many bytes the socket had taken when the response began.
    written_before: u64,
    is_polled: bool,
}

impl Usage {
    /// Of a response that begins.
    pub(crate) fn begin(connection: Option<&Connection>) -> Self {
        Self {
            written_before: connection.map_or(0, |known| known.written().0),
            is_polled: false,
        }
    }

    /// Notes that the first frame was requested: the head has been made.
    pub(crate) fn poll(&mut self) {
        self.is_polled = true;
    }

    /// Returns whether the socket had taken so many bytes when the response began.
    pub(crate) fn began_at(&self, written: u64) -> bool {
        self.written_before == written
    }

    /// Returns whether the head has been made, or the socket has taken something that may be it.
    pub(crate) fn is_used(&self, connection: &Connection) -> bool {
        self.is_polled || !self.began_at(connection.written().0)
    }
}

impl Connection {
    pub(super) fn new(peer: Option<SocketAddr>) -> Self {
        Self {
            state: Arc::default(),
            peer,
        }
    }

    /// Finds the connection in the extensions of a request.
    pub fn of(extensions: &http::Extensions) -> Option<Self> {
        let own = extensions.get::<Self>().cloned();
        #[cfg(feature = "axum")]
        let own = own.or_else(|| {
            let info = extensions.get::<axum::extract::ConnectInfo<Self>>();
            info.map(|axum::extract::ConnectInfo(connection)| connection.clone())
        });
        own
    }

    /// Returns the client's address, if it is known.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Notes that a response begins.
    pub(crate) fn begin(&self, stream: StreamHandle, multiplexed: bool) {
        let mut state = self.state();
        state.multiplexed |= multiplexed;
        if !state.socket_dropped {
            state.active.push(stream);
        }
    }

    /// Takes a response whose last byte was handed to hyper. The next flush confirms it.
    pub(crate) fn end(&self, reader: ChunkReader) {
        let id = reader.handle().id();
        let mut state = self.state();
        state.active.retain(|stream| stream.id() != id);
        if !state.socket_dropped {
            state.unflushed.push(reader);
        }
    }

    /// Notes that a response was aborted.
    pub(crate) fn fail(&self, stream: &StreamHandle) {
        let mut state = self.state();
        // On HTTP/2 hyper resets the one stream, and the others go on.
        state.failed |= !state.multiplexed;
        state.active.retain(|other| other.id() != stream.id());
    }

    /// Notes that a response will not be sent.
    pub(crate) fn withdraw(&self, stream: &StreamHandle) {
        let mut state = self.state();
        state.active.retain(|other| other.id() != stream.id());
    }

    /// Notes that a response begins that has no length, and whose body is no stream.
    #[cfg(feature = "axum")]
    pub(crate) fn begin_other(&self) {
        self.state().others += 1;
    }

    /// Notes that such a response was handed to hyper to its end, will not be sent, or, if it `failed`, was
    /// aborted.
    #[cfg(feature = "axum")]
    pub(crate) fn end_other(&self, failed: bool) {
        let mut state = self.state();
        state.others -= 1;
        state.failed |= failed && !state.multiplexed;
    }

    /// Stops all streams that are being sent; returns how many of them were not stopped before.
    #[cfg(feature = "axum")]
    pub(crate) fn shut_down(&self) -> usize {
        let active = self.state().active.clone();
        let running = active.iter().filter(|stream| stream.error().is_none());
        let running: Vec<_> = running.collect();
        for stream in &running {
            stream.stop(Error::new(ErrorKind::ShutDown, "the server ends"));
        }
        running.len()
    }

    /// Whether streams are being sent.
    #[cfg(feature = "axum")]
    pub(crate) fn has_streams(&self) -> bool {
        !self.state().active.is_empty()
    }

    /// Returns how many bytes the socket has taken, and whether it took the last write.
    pub(crate) fn written(&self) -> (u64, bool) {
        let state = self.state();
        (state.written, !state.blocked)
    }

    /// Whether nothing is being sent and nothing has failed, so that the end may look intended.
    pub(crate) fn may_end_cleanly(&self) -> bool {
        let state = self.state();
        state.active.is_empty() && state.others == 0 && !state.failed
    }

    pub(crate) fn is_multiplexed(&self) -> bool {
        self.state().multiplexed
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
