//! The armed abort for `axum::serve`.

use std::{io, net::SocketAddr};

use axum::{
    extract::connect_info::{ConnectInfo, Connected},
    serve::{IncomingStream, Listener},
};
use tokio::net::{TcpListener, TcpStream};

use crate::armed::{Armed, Connection};

/// A listener whose connections are [`Armed`].
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
pub struct ArmedListener {
    inner: TcpListener,
}

impl ArmedListener {
    /// Wraps a listener.
    pub fn new(inner: TcpListener) -> Self {
        Self { inner }
    }
}

impl Listener for ArmedListener {
    type Io = Armed<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        // axum's own accept loop sleeps over errors such as EMFILE.
        let (socket, address) = Listener::accept(&mut self.inner).await;
        (Armed::new(socket), address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

impl Connected<IncomingStream<'_, ArmedListener>> for Connection {
    fn connect_info(stream: IncomingStream<'_, ArmedListener>) -> Self {
        stream.io().connection()
    }
}

/// Finds the connection where a framework has put it.
pub(crate) fn connection(extensions: &http::Extensions) -> Option<Connection> {
    extensions
        .get::<ConnectInfo<Connection>>()
        .map(|ConnectInfo(connection)| connection.clone())
}
