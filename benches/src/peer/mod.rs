//! The servers that are compared side by side: one process each, with the same listener, router,
//! hyper and bytes; only the body differs. This file owns the server around the bodies.

use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::thread;

use axum::Router;
use axum::body::Body;
use axum::extract::{RawQuery, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::ListenerExt;
use datastreamer::DEFAULT_CHUNK_BYTES;
use datastreamer_http::{ArmedListener, Connection};
use tokio::net::{TcpListener, TcpStream};

use crate::cli::{Mode, Peer};
use crate::pattern::CHUNK_BYTES;

mod bridge;
mod ceiling;
mod mpsc;
mod ours;

/// Serves `/noise.bin?n=BYTES&piece=BYTES` on a free port until it is killed or
/// its stdin ends, so that it never outlives the measurement.
pub(crate) fn serve(peer: &Peer) -> io::Result<()> {
    let &Peer { mode, sndbuf } = peer;
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink()); // An error is an end, too.
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async move {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        announce(&listener)?;
        if mode == Mode::OursArmed {
            let router = Router::new().route("/noise.bin", get(answer_armed));
            let router = router.into_make_service_with_connect_info::<Connection>();
            return axum::serve(ArmedListener::new(listener), router).await;
        }
        let router = Router::new().route("/noise.bin", get(move |query| answer(mode, query)));
        axum::serve(
            listener.tap_io(move |stream| set_up(stream, sndbuf)),
            router,
        )
        .await
    })
}

fn announce(listener: &TcpListener) -> io::Result<()> {
    let mut stdout = io::stdout();
    writeln!(stdout, "listening on http://{}", listener.local_addr()?)?;
    stdout.flush()
}

fn set_up(stream: &mut TcpStream, sndbuf: Option<usize>) {
    let nodelay = stream.set_nodelay(true);
    let sized = sndbuf.map_or(Ok(()), |bytes| {
        socket2::SockRef::from(&*stream).set_send_buffer_size(bytes)
    });
    if let Err(error) = nodelay.and(sized) {
        eprintln!("socket option: {error}");
    }
}

async fn answer_armed(RawQuery(query): RawQuery, request: Request) -> Response {
    match asked(query) {
        Some((total_bytes, piece_bytes)) => ours::response(&request, total_bytes, piece_bytes)
            .await
            .map(Body::new),
        None => StatusCode::BAD_REQUEST.into_response(),
    }
}

async fn answer(mode: Mode, RawQuery(query): RawQuery) -> Response {
    let Some((total_bytes, piece_bytes)) = asked(query) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    (
        [(CONTENT_TYPE, "application/octet-stream")],
        body(mode, total_bytes, piece_bytes),
    )
        .into_response()
}

/// Total and piece, in bytes.
fn asked(query: Option<String>) -> Option<(u64, u64)> {
    let query = query.unwrap_or_default();
    Some((number(&query, "n")?, number(&query, "piece")?))
}

fn number(query: &str, wanted: &str) -> Option<u64> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| *name == wanted)?.1.parse().ok()
}

fn body(mode: Mode, total_bytes: u64, piece_bytes: u64) -> Body {
    match mode {
        Mode::Static => ceiling::body(total_bytes, CHUNK_BYTES),
        Mode::StaticLarge => ceiling::body(total_bytes, DEFAULT_CHUNK_BYTES),
        Mode::Bridge => bridge::body(total_bytes, piece_bytes),
        Mode::Mpsc => mpsc::body(total_bytes, piece_bytes),
        Mode::Ours | Mode::OursArmed => ours::body(total_bytes, piece_bytes),
        Mode::OursBytes => ours::body_of_bytes(total_bytes, piece_bytes),
    }
}
