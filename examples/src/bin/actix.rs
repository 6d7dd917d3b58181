//! actix-web: a stream is a response body, because it is a `futures` stream of chunks.
//!
//! ```sh
//! cargo run -p datastreamer-examples --bin actix
//! curl -O http://127.0.0.1:3002/stars.csv
//! curl -O http://127.0.0.1:3002/broken  # curl: (56) Recv failure: Connection reset by peer
//! curl -O http://127.0.0.1:3002/closed  # curl: (18) transfer closed with outstanding read data
//! ```
//!
//! If a stream fails, actix closes the connection without the last chunk (`/closed`). curl and
//! browsers notice that; some clients, and HTTP/1.0 proxies, do not. `datastreamer_http::Armed`
//! makes every failure a reset, but it has to wrap the socket, which actix does not allow.
//! `on_connect` gives access to the socket, so here a failing stream sets `SO_LINGER` to 0 just
//! before the connection is closed (`/broken`). This covers an error or a panic of the source, but
//! not the end of the process. There is no commit window: an early failure is a truncated 200.

use std::{
    any::Any,
    env,
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer, dev::Extensions, rt::net::TcpStream, web,
};
use datastreamer::{StreamWriter, stream_out};
use futures_util::TryStreamExt;
use socket2::{SockRef, Socket};

#[actix_web::main]
async fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or("127.0.0.1:3002".into());
    let app = || {
        App::new()
            .route("/stars.csv", web::get().to(stars))
            .route("/broken", web::get().to(broken))
            .route("/closed", web::get().to(closed))
    };
    let server = HttpServer::new(app)
        .on_connect(keep_socket)
        // The source stops as soon as the client disconnects, not at the next write.
        .h1_allow_half_closed(false)
        .bind(address)?;
    for address in server.addrs() {
        println!("http://{address}");
    }
    server.run().await
}

async fn stars(request: HttpRequest) -> HttpResponse {
    download(&request, write_stars)
}

async fn broken(request: HttpRequest) -> HttpResponse {
    download(&request, write_stars_and_fail)
}

/// Sufficient if a closed connection is a visible failure for all clients.
async fn closed() -> HttpResponse {
    HttpResponse::Ok().streaming(stream_out(write_stars_and_fail))
}

type Source = fn(&mut StreamWriter) -> io::Result<()>;

/// Streams a source. Its failure resets the connection.
fn download(request: &HttpRequest, source: Source) -> HttpResponse {
    let socket = request.conn_data::<Arc<Socket>>().cloned();
    let chunks = stream_out(source).inspect_err(move |error| {
        eprintln!("{error}");
        if let Some(socket) = &socket {
            // This fails only if the socket is closed already.
            let _closed = socket.set_linger(Some(Duration::ZERO));
        }
    });
    HttpResponse::Ok()
        .content_type("text/csv")
        .streaming(chunks)
}

/// Keeps a second handle to the connection's socket, for the requests that arrive on it.
fn keep_socket(connection: &dyn Any, data: &mut Extensions) {
    if let Some(tcp) = connection.downcast_ref::<TcpStream>()
        && let Ok(socket) = SockRef::from(tcp).try_clone()
    {
        data.insert(Arc::new(socket));
    }
}

fn write_stars(out: &mut StreamWriter) -> io::Result<()> {
    writeln!(out, "id,name")?;
    for id in 0..200_000 {
        writeln!(out, "{id},star {id}")?; // blocks while the client is slow
    }
    Ok(())
}

fn write_stars_and_fail(out: &mut StreamWriter) -> io::Result<()> {
    for id in 0..20_000 {
        writeln!(out, "{id},star {id}")?;
    }
    Err(io::Error::other("the database is gone"))
}
