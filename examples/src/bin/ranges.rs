//! Ranges: a file on disk, and bytes in memory, which clients resume and read parts of.
//!
//! ```sh
//! cargo run -p datastreamer-examples --bin ranges -- 127.0.0.1:3000 Cargo.toml
//! curl -r 10-19 http://127.0.0.1:3000/file
//! curl -C - -O http://127.0.0.1:3000/numbers
//! ```

use std::{env, io, path::PathBuf, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    http::Response,
    routing::get,
};
use datastreamer_http::{
    BareRanges, DiskFile, Download, DownloadBody, ETag, Piece, Planned,
    datastreamer::{Error, StreamWriter},
    serve,
};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let address = arguments.next().unwrap_or("127.0.0.1:3000".into());
    let path = arguments.next().unwrap_or("Cargo.toml".into());
    let listener = TcpListener::bind(address).await?;
    println!("http://{}", listener.local_addr()?);
    let app = Router::new()
        .route("/file", get(file))
        .with_state(PathBuf::from(path))
        .route("/numbers", get(numbers));
    serve(listener, app).await
}

/// The file is opened on the stream's own thread. A client that resumes without `If-Range` is trusted,
/// as most servers of files do.
async fn file(State(path): State<PathBuf>, request: Request) -> Response<DownloadBody> {
    Download::new("application/octet-stream")
        .file_name("file")
        .respond_planned(&request, |options, report| {
            options.stream_out(move |out| {
                let file = DiskFile::open(&path)?;
                match report.done(file.planned().bare_ranges(BareRanges::All)) {
                    Some(pieces) => file.write(&pieces, out),
                    None => Ok(()),
                }
            })
        })
        .await
}

/// Bytes that are the same for ever, so they may have a tag. Any source that can start at an offset is
/// served like this: an object of a store, a record of fixed size in a database.
async fn numbers(request: Request) -> Response<DownloadBody> {
    let numbers: Arc<[u8]> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    Download::new("application/octet-stream")
        .file_name("numbers.bin")
        .respond_planned(&request, |options, report| {
            options.stream_out(move |out| {
                let planned = Planned::new()
                    .length(numbers.len() as u64)
                    .etag(ETag::new("numbers-1"))
                    .ranges(true);
                match report.done(planned) {
                    Some(pieces) => write(pieces.as_slice(), &numbers, out),
                    None => Ok(()), // HEAD, 304, 412 or 416
                }
            })
        })
        .await
}

fn write(pieces: &[Piece], numbers: &[u8], out: &StreamWriter) -> Result<(), Error> {
    for piece in pieces {
        match piece {
            Piece::Bytes(bytes) => out.write_bytes(bytes.clone())?,
            Piece::Range(range) => {
                out.write_slice(&numbers[range.start as usize..range.end as usize])?;
            }
            Piece::From(start) => out.write_slice(&numbers[*start as usize..])?,
        }
    }
    Ok(())
}
