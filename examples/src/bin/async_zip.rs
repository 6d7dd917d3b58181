//! An async writer as the source: a zip archive by async-zip, without a thread.
//!
//! ```sh
//! cargo run -p datastreamer-examples --bin async_zip
//! curl -O http://127.0.0.1:3003/stars.zip
//! curl -O http://127.0.0.1:3003/broken.zip # curl: (56): not an archive that looks complete
//! ```

use std::{env, error::Error, io};

use async_zip::{Compression, ZipEntryBuilder, tokio::write::ZipFileWriter};
use axum::{Router, extract::Request, http::Response, routing::get};
use datastreamer_http::{Download, DownloadBody, datastreamer::AsyncStreamWriter, serve};
use futures_util::AsyncWriteExt;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or("127.0.0.1:3003".into());
    let listener = TcpListener::bind(address).await?;
    println!("http://{}", listener.local_addr()?);
    let app = Router::new()
        .route("/stars.zip", get(|request| archive(request, None)))
        .route("/broken.zip", get(|request| archive(request, Some(10_000))));
    serve(listener, app).await
}

async fn archive(request: Request, fails_after: Option<u32>) -> Response<DownloadBody> {
    Download::new("application/zip")
        .file_name("stars.zip")
        .respond(&request, |options| {
            options.stream_out_async_write(move |out| write_zip(out, fails_after))
        })
        .await
}

/// The result of this future decides whether the archive is complete. Nothing of it is spawned, so
/// nothing goes on when the client has disconnected.
async fn write_zip(
    out: AsyncStreamWriter,
    fails_after: Option<u32>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut zip = ZipFileWriter::with_tokio(out);
    for name in ["north.csv", "south.csv"] {
        let entry = ZipEntryBuilder::new(name.into(), Compression::Deflate);
        let mut member = zip.write_entry_stream(entry).await?;
        member.write_all(b"id,name\n").await?;
        for id in 0..20_000 {
            if fails_after.is_some_and(|most| id >= most) {
                return Err("the database is gone".into());
            }
            let row = format!("{id},star {id}\n");
            member.write_all(row.as_bytes()).await?;
        }
        member.close().await?;
    }
    zip.close().await?;
    Ok(())
}
