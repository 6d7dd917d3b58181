//! What the armed connection and its responses know of each other.
//!
//! [`DownloadBody`](crate::DownloadBody) reports here when a response begins, ends or fails;
//! `Armed` and the files of the two protocols read it and report what the socket has taken.
//! Calls nothing but the streams.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use datastreamer::{ChunkReader, StreamHandle};

/// How long an abort waits for the valid bytes to be sent: a client that takes nothing for two
/// seconds has no use for them.
pub const DRAIN_MAX: Duration = Duration::from_secs(2);

/// A request's connection: what a [`Download`](crate::Download) needs to make its failure
/// visible. Put it into each request's extensions; [`crate::ArmedListener`] does so for axum.
#[derive(Clone, Debug)]
pub struct Connection {
    state: Arc<Mutex<State>>,
    peer: Option<SocketAddr>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// Responses under way.
    pub(super) active: Vec<StreamHandle>,
    /// Responses whose last byte hyper has and the socket perhaps not.
    pub(super) unflushed: Vec<ChunkReader>,
    /// A response broke off: the connection must not end well.
    pub(super) failed: bool,
    /// HTTP/2: a flush is no proof.
    pub(super) multiplexed: bool,
    /// Someone waits for everything to be sent; the second tells him that it is.
    pub(super) drain_wanted: bool,
    pub(super) drained: bool,
    /// Bytes written to the socket; tells whether a connection is quiet.
    pub(super) written: u64,
    /// The socket takes nothing: a connection that waits for it is not quiet.
    pub(super) blocked: bool,
    /// The socket is no more: nothing is kept for it.
    pub(super) socket_dropped: bool,
    /// The next flush breaks the framing: see `INVALID_CHUNK_SIZE` in `h1.rs`.
    pub(super) framing_break_wanted: bool,
}

impl Connection {
    pub(super) fn new(peer: Option<SocketAddr>) -> Self {
        Self {
            state: Arc::default(),
            peer,
        }
    }

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
        if !state.socket_dropped {
            state.active.push(stream);
        }
    }

    /// Takes a response whose last byte was handed to hyper; the flush confirms it.
    pub(crate) fn end(&self, reader: ChunkReader) {
        let id = reader.handle().id();
        let mut state = self.state();
        state.active.retain(|stream| stream.id() != id);
        if !state.socket_dropped {
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

    /// Returns how many bytes the socket has taken, and whether it would take more.
    pub(crate) fn written(&self) -> (u64, bool) {
        let state = self.state();
        (state.written, !state.blocked)
    }

    pub(crate) fn is_multiplexed(&self) -> bool {
        self.state().multiplexed
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
