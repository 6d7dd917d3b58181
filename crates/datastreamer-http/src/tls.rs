//! TLS around armed connections.
//!
//! The reset goes to the TCP socket, below TLS. A failed response must not end with a close_notify
//! either, because it says that the end is intended (RFC 8446, 6.1). node's fetch takes both for the
//! end of a chunked response with `Connection: close`, so the framing is broken within TLS.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    armed::{Armed, Connection, Socket},
    axum_listener::ArmedListener,
};

/// A client that has not finished its handshake after ten seconds is disconnected.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// A TLS stream over an armed connection.
///
/// ```
/// use datastreamer_http::{Armed, ArmedTls};
/// # async fn serve_one(tcp: tokio::net::TcpStream, acceptor: tokio_rustls::TlsAcceptor) -> std::io::Result<()> {
/// let armed = Armed::new(tcp);
/// let connection = armed.connection(); // for the extensions of each request
/// let io = ArmedTls::new(acceptor.accept(armed).await?);
/// // hyper_util::rt::TokioIo::new(io) goes to hyper
/// # drop((connection, io));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ArmedTls<S: Socket = TcpStream> {
    stream: TlsStream<Armed<S>>,
    connection: Connection,
}

impl<S: Socket> ArmedTls<S> {
    /// Wraps a stream whose handshake is done.
    pub fn new(stream: TlsStream<Armed<S>>) -> Self {
        let connection = stream.get_ref().0.connection();
        connection.note_tls();
        Self { stream, connection }
    }

    /// Returns the handle for the requests that arrive on this connection.
    pub fn connection(&self) -> Connection {
        self.connection.clone()
    }

    /// Returns the TLS stream, for example for its session.
    pub fn get_ref(&self) -> &TlsStream<Armed<S>> {
        &self.stream
    }
}

impl<S: Socket> AsyncRead for ArmedTls<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: Socket> AsyncWrite for ArmedTls<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        let Some(framing_break) = self.connection.take_framing_break() else {
            return Poll::Ready(Ok(()));
        };
        let _best_effort = Pin::new(&mut self.stream).poll_write(cx, framing_break);
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Sends no close_notify if the connection did not end cleanly.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.connection.may_end_cleanly() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A listener of TLS connections over armed sockets: see [`ArmedListener::tls`].
pub struct ArmedTlsListener {
    tcp: ArmedListener<TcpListener>,
    acceptor: TlsAcceptor,
    handshakes: JoinSet<Option<(ArmedTls, SocketAddr)>>,
}

impl ArmedListener<TcpListener> {
    /// Serves TLS. Handshakes run beside each other, and have ten seconds. As many as there are
    /// connections: a limit here would let silent clients keep out all others.
    ///
    /// ```no_run
    /// use datastreamer_http::{ArmedListener, Connection};
    ///
    /// # async fn serve(app: axum::Router, acceptor: tokio_rustls::TlsAcceptor) -> std::io::Result<()> {
    /// let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    /// let listener = ArmedListener::new(tcp).tls(acceptor);
    /// axum::serve(listener, app.into_make_service_with_connect_info::<Connection>()).await
    /// # }
    /// ```
    pub fn tls(self, acceptor: TlsAcceptor) -> ArmedTlsListener {
        ArmedTlsListener {
            tcp: self,
            acceptor,
            handshakes: JoinSet::new(),
        }
    }
}

impl Listener for ArmedTlsListener {
    type Io = ArmedTls;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (ArmedTls, SocketAddr) {
        loop {
            tokio::select! {
                (armed, address) = self.tcp.accept() => {
                    let accepted = self.acceptor.accept(armed);
                    self.handshakes.spawn(async move {
                        let stream = timeout(HANDSHAKE_MAX, accepted).await;
                        Some((ArmedTls::new(stream.ok()?.ok()?), address))
                    });
                }
                Some(done) = self.handshakes.join_next() => {
                    // Whoever speaks no TLS has been disconnected.
                    if let Ok(Some(accepted)) = done {
                        return accepted;
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

impl Connected<IncomingStream<'_, ArmedTlsListener>> for Connection {
    fn connect_info(stream: IncomingStream<'_, ArmedTlsListener>) -> Self {
        stream.io().connection()
    }
}

impl std::fmt::Debug for ArmedTlsListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArmedTlsListener")
            .field("tcp", &self.tcp)
            .finish_non_exhaustive()
    }
}
