//! Armed connections for `axum::serve`.
//!
//! axum calls it for each connection; it wraps the socket in [`Armed`] and leaves the rest to
//! `armed/`.

use std::{io, time::Duration};

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use tokio::net::TcpListener;

use crate::armed::{Armed, Connection, DEFAULT_WRITE_STALL, Socket};

/// A listener that wraps each connection in [`Armed`].
///
/// The inner listener is tokio's, or any other whose connections implement [`Socket`].
///
/// ```no_run
/// use axum::{Router, extract::Request, routing::get};
/// use datastreamer_http::{ArmedListener, Connection, Download};
///
/// # async fn serve() -> std::io::Result<()> {
/// let app = Router::new().route("/file", get(|request: Request| async move {
///     Download::new("text/plain")
///         .respond(&request, |options| options.stream_out(|out| out.write_slice(b"a file")))
///         .await
/// }));
/// let listener = ArmedListener::new(tokio::net::TcpListener::bind("127.0.0.1:0").await?);
/// axum::serve(listener, app.into_make_service_with_connect_info::<Connection>()).await
/// # }
/// ```
#[derive(Debug)]
pub struct ArmedListener<L = TcpListener> {
    inner: L,
    write_stall: Option<Duration>,
}

impl<L> ArmedListener<L> {
    /// Wraps a listener.
    pub fn new(inner: L) -> Self {
        Self {
            inner,
            write_stall: Some(DEFAULT_WRITE_STALL),
        }
    }

    /// Sets how long a client may take nothing before its connection is reset: see
    /// [`Armed::write_stall`].
    #[must_use]
    pub fn write_stall(mut self, deadline: impl Into<Option<Duration>>) -> Self {
        self.write_stall = deadline.into();
        self
    }
}

impl<L: Listener<Io: Socket>> Listener for ArmedListener<L> {
    type Io = Armed<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        // axum's own accept loop waits and tries again after errors such as EMFILE.
        let (socket, address) = self.inner.accept().await;
        (Armed::new(socket).write_stall(self.write_stall), address)
    }

    fn local_addr(&self) -> io::Result<L::Addr> {
        self.inner.local_addr()
    }
}

impl<L: Listener<Io: Socket>> Connected<IncomingStream<'_, ArmedListener<L>>> for Connection {
    fn connect_info(stream: IncomingStream<'_, ArmedListener<L>>) -> Self {
        stream.io().connection()
    }
}
