//! hyper without a framework: every connection is armed, and every request knows its connection.
//!
//! ```sh
//! cargo run -p datastreamer-examples --bin hyper
//! curl -O http://127.0.0.1:3001/stars.csv
//! curl -O http://127.0.0.1:3001/broken # curl: (56) Recv failure: Connection reset by peer
//! curl -i http://127.0.0.1:3001/early  # 503 with the reason: the head had not been sent
//! ```

use std::{
    convert::Infallible,
    env,
    io::{self, Write},
};

use datastreamer::StreamWriter;
use datastreamer_http::{Armed, Download, DownloadBody, FailWith, Problem};
use hyper::{
    Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main]
async fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or("127.0.0.1:3001".into());
    let listener = TcpListener::bind(address).await?;
    println!("http://{}", listener.local_addr()?);
    loop {
        let (socket, _) = listener.accept().await?;
        tokio::spawn(serve(socket));
    }
}

async fn serve(socket: TcpStream) {
    let io = Armed::new(socket);
    let connection = io.connection();
    let service = service_fn(move |mut request: Request<Incoming>| {
        // Without this a failed download only closes the connection.
        request.extensions_mut().insert(connection.clone());
        async move { Ok::<_, Infallible>(answer(request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(io), service)
        .await;
    if let Err(error) = served {
        eprintln!("{error}");
    }
}

async fn answer(request: Request<Incoming>) -> Response<DownloadBody> {
    let source = match request.uri().path() {
        "/stars.csv" => write_stars,
        "/broken" => write_stars_and_fail,
        "/early" => fail_early,
        _ => return Problem::new(StatusCode::NOT_FOUND, "no such file").into_response(),
    };
    Download::new("text/csv")
        .respond(&request, |options| options.stream_out(source))
        .await
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
    fail(out)
}

/// The client gets this status and text; those of other errors are for the log.
fn fail_early(out: &mut StreamWriter) -> io::Result<()> {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    Err(out.fail_with(status, "the database is gone").into())
}

fn fail(_: &mut StreamWriter) -> io::Result<()> {
    Err(io::Error::other("the database is gone"))
}
