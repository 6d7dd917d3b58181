//! TLS: a failed download is reset below it, and ends without close_notify.
//!
//! ```sh
//! cargo run -p datastreamer-examples --bin tls
//! curl -kO https://127.0.0.1:3006/stars.csv
//! curl -kO https://127.0.0.1:3006/broken # curl: (56) or (18)
//! ```

use std::{
    env,
    error::Error,
    io::{self, Write},
    sync::Arc,
};

use axum::{Router, extract::Request, http::Response, routing::get};
use datastreamer_http::{ArmedListener, Download, DownloadBody, Serve, datastreamer::StreamWriter};
use tokio::net::TcpListener;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::PrivateKeyDer},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or("127.0.0.1:3006".into());
    let tcp = TcpListener::bind(address).await?;
    println!("https://{}", tcp.local_addr()?);
    // A certificate that this program has just made; yours comes from a file.
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let key = PrivateKeyDer::Pkcs8(certified.signing_key.serialize_der().into());
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)?;
    let listener = ArmedListener::new(tcp).tls(TlsAcceptor::from(Arc::new(config)));
    let app = Router::new()
        .route("/stars.csv", get(|request| download(request, None)))
        .route("/broken", get(|request| download(request, Some(100_000))));
    let served = Serve::on(listener, app).until(std::future::pending());
    Ok(served.await.map(drop)?)
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
