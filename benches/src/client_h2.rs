//! A client of HTTP/2 with prior knowledge: so many requests at once on one connection. It counts the
//! payload of each response exactly; it does not judge figures.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{self, SendRequest};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// The window of each stream: what a client on loopback needs never to hold the server up (curl has
/// 10 MB).
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// The window of the connection, for all of its streams.
const CONNECTION_WINDOW_BYTES: u32 = 64 * 1024 * 1024;

/// A server that takes longer than this for one download is broken.
const DOWNLOAD_MAX: Duration = Duration::from_secs(120);

/// Requests the paths at once on one connection; returns how many bytes came in all.
///
/// # Errors
/// If the server cannot be reached, a status is not 200, or a body is reset.
pub(crate) fn download(address: SocketAddr, paths: &[String]) -> io::Result<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        tokio::time::timeout(DOWNLOAD_MAX, download_all(address, paths))
            .await
            .map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))?
    })
}

async fn download_all(address: SocketAddr, paths: &[String]) -> io::Result<u64> {
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let (requests, connection) = client::Builder::new()
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .handshake::<_, Bytes>(tcp)
        .await
        .map_err(io::Error::other)?;
    let connection = tokio::spawn(connection);
    let mut streams = JoinSet::new();
    for path in paths {
        let uri = format!("http://{address}{path}");
        streams.spawn(download_one(requests.clone(), uri));
    }
    let mut bytes = 0;
    while let Some(counted) = streams.join_next().await {
        bytes += counted.map_err(io::Error::other)??;
    }
    drop(requests);
    connection.abort();
    Ok(bytes)
}

async fn download_one(requests: SendRequest<Bytes>, uri: String) -> io::Result<u64> {
    let request = axum::http::Request::get(uri)
        .body(())
        .map_err(io::Error::other)?;
    let mut requests = requests.ready().await.map_err(io::Error::other)?;
    let (response, _) = requests
        .send_request(request, true)
        .map_err(io::Error::other)?;
    let response = response.await.map_err(io::Error::other)?;
    if response.status() != 200 {
        return Err(io::Error::other(format!("status {}", response.status())));
    }
    let mut body = response.into_body();
    let mut bytes = 0;
    while let Some(chunk) = body.data().await {
        let chunk = chunk.map_err(io::Error::other)?;
        bytes += chunk.len() as u64;
        body.flow_control()
            .release_capacity(chunk.len())
            .map_err(io::Error::other)?;
    }
    Ok(bytes)
}
