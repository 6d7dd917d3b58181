//! axum with what services have: a JSON body, a query, layers of tower, a status of its own, a graceful
//! shutdown.
//!
//! ```sh
//! cargo run -p datastreamer-examples --bin layers
//! curl -O -d '{"rows": 200000}' -H 'content-type: application/json' http://127.0.0.1:3005/report.csv
//! curl -i -d '{"rows": 0}' -H 'content-type: application/json' http://127.0.0.1:3005/report.csv # 422
//! ```
//! Ctrl-C lets running downloads end within ten seconds, and then aborts them visibly.

use std::{
    env,
    io::{self, Write},
    net::SocketAddr,
    time::Duration,
};

use axum::{
    Json, Router,
    extract::ConnectInfo,
    http::{Response, StatusCode, request::Parts},
    routing::post,
};
use datastreamer_http::{Download, DownloadBody, FailWith, Serve};
use serde::Deserialize;
use tokio::net::TcpListener;
use tower_http::{timeout::TimeoutLayer, trace::TraceLayer};

/// Longer than the commit window, which is a part of the handler's time: a source that needs three
/// seconds for its first bytes is none that is late.
const HANDLER_MAX: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or("127.0.0.1:3005".into());
    let listener = TcpListener::bind(address).await?;
    println!("http://{}", listener.local_addr()?);
    let late = StatusCode::GATEWAY_TIMEOUT;
    let app = Router::new()
        .route("/report.csv", post(report))
        .layer(TimeoutLayer::with_status_code(late, HANDLER_MAX))
        .layer(TraceLayer::new_for_http());
    let shutdown = Serve::new(listener, app)
        .drain(Duration::from_secs(10))
        .until(async { drop(tokio::signal::ctrl_c().await) })
        .await?;
    println!("{} downloads were aborted", shutdown.aborted);
    Ok(())
}

#[derive(Deserialize)]
struct Asked {
    rows: u32,
}

/// The body is read by the extractor: the response needs only the head of the request.
async fn report(
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    parts: Parts,
    Json(asked): Json<Asked>,
) -> Response<DownloadBody> {
    Download::new("text/csv")
        .file_name("report.csv")
        .observe(move |stream| eprintln!("{client}: stream {}", stream.id()))
        .respond_to(&parts, |options| {
            options.stream_out(move |out| {
                if asked.rows == 0 {
                    let status = StatusCode::UNPROCESSABLE_ENTITY;
                    return Err(out.fail_with(status, "a report has rows").into());
                }
                writeln!(out, "id,name")?;
                for id in 0..asked.rows {
                    writeln!(out, "{id},star {id}")?;
                }
                Ok::<(), io::Error>(())
            })
        })
        .await
}
