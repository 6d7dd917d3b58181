//! axum-server: its acceptor wraps each socket, so that a failed download is a reset of TCP.
//!
//! ```sh
//! cargo run -p datastreamer-examples --bin axum_server # or: --bin axum_server -- 127.0.0.1:3007 tls
//! curl -O http://127.0.0.1:3007/stars.csv
//! curl -O http://127.0.0.1:3007/broken # curl: (56) Recv failure: Connection reset by peer
//! ```
//!
//! axum-server calls an acceptor with each socket and its service. The one here arms the socket, and
//! adds the connection to each request. With TLS, axum-server's own acceptor goes around it, and a
//! second one of ours around that, which keeps a failed response from ending with close_notify.

use std::{
    env,
    error::Error,
    future::{Future, Ready, ready},
    io::{self, Write},
    net::TcpListener,
    pin::Pin,
    sync::Arc,
};

use axum::{Router, extract::Request, http::Response, middleware, routing::get};
use axum_server::{
    accept::Accept,
    tls::TlsService,
    tls_rustls::{RustlsAcceptor, RustlsConfig},
};
use datastreamer_http::{
    Armed, ArmedTls, Connection, Download, DownloadBody, count_requests, datastreamer::StreamWriter,
};
use tokio::net::TcpStream;
use tokio_rustls::rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tower_http::add_extension::AddExtension;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or("127.0.0.1:3007".into());
    let tcp = TcpListener::bind(address)?;
    tcp.set_nonblocking(true)?;
    let local = tcp.local_addr()?;
    let app = Router::new()
        .route("/stars.csv", get(|request| download(request, None)))
        .route("/broken", get(|request| download(request, Some(100_000))))
        .layer(middleware::from_fn(count_requests))
        .into_make_service();
    let server = axum_server::from_tcp(tcp)?;
    if env::args().nth(2).as_deref() == Some("tls") {
        println!("https://{local}");
        let tls = RustlsAcceptor::new(certificate()?).acceptor(Arm);
        server.acceptor(ArmTls(tls)).serve(app).await?;
    } else {
        println!("http://{local}");
        server.acceptor(Arm).serve(app).await?;
    }
    Ok(())
}

/// Arms each socket.
#[derive(Clone)]
struct Arm;

impl<S> Accept<TcpStream, S> for Arm {
    type Stream = Armed<TcpStream>;
    type Service = AddExtension<S, Connection>;
    type Future = Ready<io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, socket: TcpStream, service: S) -> Self::Future {
        let armed = Armed::new(socket);
        // Without this a failed download only closes the connection.
        let service = AddExtension::new(service, armed.connection());
        ready(Ok((armed, service)))
    }
}

/// Wraps each TLS stream whose socket [`Arm`] has armed.
#[derive(Clone)]
struct ArmTls(RustlsAcceptor<Arm>);

impl<S: Send + 'static> Accept<TcpStream, S> for ArmTls {
    type Stream = ArmedTls;
    type Service = TlsService<AddExtension<S, Connection>>;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, socket: TcpStream, service: S) -> Self::Future {
        let accepted = self.0.accept(socket, service);
        Box::pin(async {
            let (stream, service) = accepted.await?;
            Ok((ArmedTls::new(stream), service))
        })
    }
}

/// A certificate that this program has just made; yours comes from a file.
fn certificate() -> Result<RustlsConfig, Box<dyn Error>> {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let key = PrivateKeyDer::Pkcs8(certified.signing_key.serialize_der().into());
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(RustlsConfig::from_config(Arc::new(config)))
}

async fn download(request: Request, fails_after: Option<u32>) -> Response<DownloadBody> {
    Download::new("text/csv")
        .respond(&request, |options| {
            options.stream_out(move |out| write_stars(out, fails_after))
        })
        .await
}

fn write_stars(out: &mut StreamWriter, fails_after: Option<u32>) -> io::Result<()> {
    writeln!(out, "id,name")?;
    for id in 0..200_000 {
        if fails_after.is_some_and(|most| id >= most) {
            return Err(io::Error::other("the database is gone"));
        }
        writeln!(out, "{id},star {id}")?;
    }
    Ok(())
}
