//! Armed connections for `axum::serve`.
//!
//! axum calls it for each connection; it wraps the socket in [`Armed`] and leaves the rest to
//! `armed/`.

use std::{io, time::Duration};

use axum::{
    body::Body,
    extract::{ConnectInfo, Request, connect_info::Connected},
    middleware::Next,
    response::Response,
    serve::{IncomingStream, Listener},
};
use http::StatusCode;
use tokio::net::TcpListener;

use crate::{
    armed::{Armed, Connection, DEFAULT_WRITE_STALL, HalfClose, Socket},
    problem::Problem,
};

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
    half_close: HalfClose,
}

impl<L> ArmedListener<L> {
    /// Wraps a listener.
    pub fn new(inner: L) -> Self {
        Self {
            inner,
            write_stall: Some(DEFAULT_WRITE_STALL),
            half_close: HalfClose::default(),
        }
    }

    /// Sets what a half-close by a client means: see [`Armed::half_close`].
    #[must_use]
    pub fn half_close(mut self, half_close: HalfClose) -> Self {
        self.half_close = half_close;
        self
    }

    /// Sets how long a client may take nothing before its connection is reset: see
    /// [`Armed::write_stall`].
    #[must_use]
    pub fn write_stall(mut self, deadline: impl Into<Option<Duration>>) -> Self {
        self.write_stall = deadline.into();
        self
    }
}

/// Middleware that counts the requests of each armed connection as open until their responses have
/// been sent, and refuses those of a connection on which too many streams have stalled: see
/// [`Connection::open_request`]. It also makes `ConnectInfo<SocketAddr>` work in handlers, although
/// the connect info of the service is a [`Connection`]. [`serve`](crate::serve()) uses it.
///
/// ```
/// use axum::{Router, middleware, routing::get};
///
/// let app: Router = Router::new()
///     .route("/", get(|| async { "a page" }))
///     .layer(middleware::from_fn(datastreamer_http::count_requests));
/// ```
pub async fn count_requests(mut request: Request, next: Next) -> Response {
    let connection = Connection::of(request.extensions());
    if let Some(peer) = connection.as_ref().and_then(Connection::peer) {
        request.extensions_mut().insert(ConnectInfo(peer));
    }
    let open = connection.as_ref().map(Connection::open_request);
    match open {
        None => next.run(request).await,
        Some(None) => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many downloads of this connection have stalled",
        )
        .into_response(),
        Some(Some(open)) => {
            let response = open.count(next.run(request).await);
            response.map(Body::new)
        }
    }
}

impl<L: Listener<Io: Socket>> Listener for ArmedListener<L> {
    type Io = Armed<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        // axum's own accept loop waits and tries again after errors such as EMFILE.
        let (socket, address) = self.inner.accept().await;
        let armed = Armed::new(socket)
            .write_stall(self.write_stall)
            .half_close(self.half_close);
        (armed, address)
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
