//! axum: a CSV report and a zip archive as downloads, both written by ordinary blocking code.
//!
//! ```sh
//! cargo run -p datastreamer-examples --bin axum
//! curl -O http://127.0.0.1:3000/stars.csv
//! curl -O http://127.0.0.1:3000/stars.zip
//! curl -O http://127.0.0.1:3000/broken # curl: (56) Recv failure: Connection reset by peer
//! ```
//!
//! [`serve`] arms the connections, which causes the reset in the last line. axum alone only closes the
//! connection of a failed download, and some clients take that for the end of the file.

use std::{
    env,
    error::Error,
    io::{self, Write},
};

use axum::{Router, extract::Request, http::Response, routing::get};
use datastreamer_http::{Download, DownloadBody, datastreamer::StreamWriter, serve};
use tokio::net::TcpListener;
use zip::{ZipWriter, write::SimpleFileOptions};

#[tokio::main]
async fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or("127.0.0.1:3000".into());
    let listener = TcpListener::bind(address).await?;
    println!("http://{}", listener.local_addr()?);
    let app = Router::new()
        .route("/stars.csv", get(csv))
        .route("/stars.zip", get(archive))
        .route("/broken", get(broken));
    serve(listener, app).await
}

/// Writes as if to a file. It runs on its own thread, so it may block: while it waits for a
/// database, and in `writeln!` while the client is slow.
fn write_csv(out: &mut impl Write, stars: u32) -> io::Result<()> {
    writeln!(out, "id,name")?;
    for id in 0..stars {
        writeln!(out, "{id},star {id}")?;
    }
    Ok(())
}

async fn csv(request: Request) -> Response<DownloadBody> {
    Download::new("text/csv")
        .file_name("stars.csv")
        .compressible(true)
        .respond(&request, |options| {
            options.stream_out(|out| write_csv(out, 200_000))
        })
        .await
}

/// Any crate that writes to an `io::Write` can produce the file.
///
/// If a member fails, the drop of `ZipWriter` still writes the end of an archive that looks complete
/// (or prints an error if the client has disconnected). The client sees the failure because this
/// function returns `Err`.
fn write_zip(out: &mut StreamWriter) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut zip = ZipWriter::new_stream(out);
    for name in ["north.csv", "south.csv"] {
        zip.start_file(name, SimpleFileOptions::default())?;
        write_csv(&mut zip, 20_000)?;
    }
    zip.finish()?;
    Ok(())
}

async fn archive(request: Request) -> Response<DownloadBody> {
    Download::new("application/zip")
        .file_name("stars.zip")
        .respond(&request, |options| options.stream_out(write_zip))
        .await
}

/// Fails after about 300 kB: too late for an error status, so the connection is reset.
fn write_broken(out: &mut StreamWriter) -> io::Result<()> {
    for id in 0..20_000 {
        writeln!(out, "{id},star {id}")?;
    }
    Err(io::Error::other("the database is gone"))
}

async fn broken(request: Request) -> Response<DownloadBody> {
    Download::new("text/csv")
        .respond(&request, |options| options.stream_out(write_broken))
        .await
}
