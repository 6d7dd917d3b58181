//! `serve`: what an application gets without remembering anything.

use std::{convert::Infallible, net::SocketAddr, thread, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request},
    response::{IntoResponse, Response},
    routing::get,
};
use datastreamer::{Outcome, PoolOptions, Shutdown, StreamOptions, StreamPool};
use datastreamer_http::{Connection, Download, Serve};
use datastreamer_testkit::{endless, fails_after, noise, noise_source};
use futures_util::{StreamExt, stream};
use tokio::{net::TcpListener, runtime::Runtime, sync::oneshot, task::JoinHandle};

use crate::support::{
    raw::{End, Raw},
    streams::Started,
};

struct Serving {
    address: SocketAddr,
    pool: StreamPool,
    started: Started,
    stop: oneshot::Sender<()>,
    served: JoinHandle<std::io::Result<Shutdown>>,
    runtime: Runtime,
}

/// Serves `/endless`, `/slow` (a second) and `/peer`.
fn serve(drain: Duration) -> Serving {
    serve_router(drain, |pool, started| {
        let (pool, started) = (pool.clone(), started.clone());
        let answer = move |request: Request| {
            let (pool, started) = (pool.clone(), started.clone());
            async move {
                let source = match request.uri().path() {
                    "/endless" => endless(4096),
                    _ => Box::new(|out: &mut datastreamer::StreamWriter| {
                        out.write_slice(&noise(1000))?;
                        thread::sleep(Duration::from_secs(1));
                        noise_source(0, 1)(out)
                    }),
                };
                Download::new("text/plain")
                    .commit_bytes(1)
                    .commit_after(Duration::from_millis(10))
                    .options(
                        StreamOptions::new()
                            .pool(&pool)
                            .flush_after(Duration::from_millis(5)),
                    )
                    .observe(move |stream| started.note(stream))
                    .respond(&request, |options| options.stream_out(source))
                    .await
                    .map(Body::new)
            }
        };
        let peer = async |ConnectInfo(peer): ConnectInfo<SocketAddr>, request: Request| {
            let connection = Connection::of(request.extensions()).expect("armed");
            assert_eq!(connection.peer(), Some(peer));
            peer.to_string().into_response()
        };
        Router::new().route("/peer", get(peer)).fallback(answer)
    })
}

fn serve_router(drain: Duration, make: impl FnOnce(&StreamPool, &Started) -> Router) -> Serving {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let pool = StreamPool::new(PoolOptions::default());
    let started = Started::default();
    let router = make(&pool, &started);
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let serving = Serve::new(listener, router).pool(&pool).drain(drain);
    let served = runtime.spawn(serving.until(async { drop(stopped.await) }));
    Serving {
        address,
        pool,
        started,
        stop,
        served,
        runtime,
    }
}

#[test]
fn handlers_have_the_clients_address_beside_the_armed_connection() {
    let serving = serve(Duration::ZERO);
    let received = Raw::connect(serving.address).get("/peer");
    let peer = String::from_utf8(received.body).unwrap();
    assert!(peer.starts_with("127.0.0.1:"), "{peer}");
    drop(serving.runtime);
}

#[test]
fn the_framing_is_the_first_field_of_a_head() {
    let serving = serve(Duration::ZERO);
    let mut client = Raw::connect(serving.address);
    client.ask("/endless");
    let chunked = client.read_head();
    assert_eq!(chunked.names()[0], "transfer-encoding");
    drop(client);
    // A handler's own response, whose length hyper would write last.
    let page = Raw::connect(serving.address).get("/peer").head;
    assert_eq!(page.names()[0], "content-length");
    assert_eq!(page.all("content-length").len(), 1);
    drop(serving.runtime);
}

/// What is no download, or no longer looks like one: a failure behind these bytes.
const VALID_BYTES: usize = 300_000;

/// Serves bodies that are not made by `Download`, or are changed by a layer.
fn serve_others() -> Serving {
    let fails = || fails_after(VALID_BYTES as u64, 8192);
    serve_router(Duration::from_millis(100), |pool, _| {
        let options = StreamOptions::new().pool(pool);
        let (ready, layered) = (options.clone(), options.clone());
        let other = StreamPool::new(PoolOptions::default());
        Router::new()
            .route(
                "/ready",
                get(async move || {
                    let chunks = ready.stream_out(fails()).ready().await.expect("it began");
                    Response::new(Body::new(chunks))
                }),
            )
            .route(
                // As a layer does that compresses.
                "/layered",
                get(async move |request: Request| {
                    let response = Download::new("text/plain")
                        .commit_bytes(1)
                        .length(2 * VALID_BYTES as u64)
                        .options(layered)
                        .respond(&request, |options| options.stream_out(fails()))
                        .await;
                    let (mut parts, body) = response.into_parts();
                    parts.headers.remove("content-length");
                    let body = Body::from_stream(Body::new(body).into_data_stream());
                    Response::from_parts(parts, body)
                }),
            )
            .route(
                "/own",
                get(async || {
                    let valid = noise(VALID_BYTES);
                    let chunks: Vec<_> =
                        valid.chunks(8192).map(|piece| Ok(piece.to_vec())).collect();
                    let failure = std::iter::once(Err("it fails"));
                    Body::from_stream(stream::iter(chunks.into_iter().chain(failure)))
                }),
            )
            .route(
                "/own/endless",
                get(async || {
                    let pieces = stream::repeat_with(|| Ok::<_, Infallible>(vec![7; 8192]));
                    Body::from_stream(pieces)
                }),
            )
            .route(
                "/own/silent",
                get(async || {
                    let begin = stream::iter([Ok::<_, Infallible>("the begin")]);
                    Body::from_stream(begin.chain(stream::pending()))
                }),
            )
            .route(
                "/other_pool",
                get(async move |request: Request| {
                    Download::new("text/plain")
                        .options(StreamOptions::new().pool(&other))
                        .respond(&request, |options| options.stream_out(endless(4096)))
                        .await
                        .map(Body::new)
                }),
            )
    })
}

#[test]
fn a_failure_of_any_body_breaks_the_framing_and_resets() {
    let serving = serve_others();
    for path in ["/ready", "/layered", "/own"] {
        for asked in ["", "Connection: close\r\n"] {
            let mut client = Raw::connect(serving.address);
            client.ask_with(path, asked);
            let head = client.read_head();
            assert!(head.is_chunked(), "{path}");
            // Every valid byte, and no further chunk.
            assert_eq!(
                client.read_at_least(VALID_BYTES),
                noise(VALID_BYTES),
                "{path}"
            );
            let (rest, end) = client.read_rest();
            assert_eq!(rest, b"fffffffffffffffffff", "{path}");
            assert_eq!(end, End::Reset, "{path}");
        }
        // The end of the connection is the end of the file here.
        let mut client = Raw::connect(serving.address);
        client.send(&format!("GET {path} HTTP/1.0\r\n\r\n"));
        let head = client.read_head();
        let (_, end) = client.read_rest();
        match head.status {
            200 => assert_eq!(end, End::Reset, "{path}"),
            status => assert_eq!(status, 505, "{path}"),
        }
    }
    drop(serving.runtime);
}

#[test]
fn a_connection_goes_on_after_a_body_that_is_no_download() {
    let serving = serve_others();
    let mut client = Raw::connect(serving.address);
    for _ in 0..3 {
        assert_eq!(client.get("/missing").head.status, 404);
    }
    serving.stop.send(()).unwrap();
    assert_eq!(client.read_close(), End::Fin);
}

#[test]
fn a_shutdown_aborts_visibly_what_is_in_no_pool_that_it_knows() {
    for path in ["/own/endless", "/own/silent", "/other_pool"] {
        let serving = serve_others();
        let mut client = Raw::connect(serving.address);
        client.ask_with(path, "Connection: close\r\n");
        assert!(client.read_head().is_chunked());
        client.read_at_least(9);
        let reading = thread::spawn(move || client.read_rest());
        serving.stop.send(()).unwrap();
        let shutdown = serving.runtime.block_on(serving.served).unwrap().unwrap();
        assert_eq!((shutdown.aborted, shutdown.left), (1, 0), "{path}");
        let (rest, end) = reading.join().unwrap();
        assert!(rest.ends_with(b"fffffffffffffffffff"), "{path}");
        assert_eq!(end, End::Reset, "{path}");
    }
}

#[test]
fn a_shutdown_lets_downloads_end_within_the_drain() {
    let serving = serve(Duration::from_secs(20));
    let mut client = Raw::connect(serving.address);
    client.ask("/slow");
    let head = client.read_head();
    serving.stop.send(()).unwrap();
    let (body, end) = client.read_body(&head);
    assert_eq!((body, end), (noise(1000), End::Whole));
    let shutdown = serving.runtime.block_on(serving.served).unwrap().unwrap();
    assert_eq!((shutdown.aborted, shutdown.left), (0, 0));
}

#[test]
fn a_shutdown_aborts_visibly_what_does_not_end_and_refuses_what_comes() {
    let serving = serve(Duration::from_millis(500));
    let mut kept_alive = Raw::connect(serving.address);
    assert_eq!(kept_alive.get("/peer").end, End::Whole);
    let mut client = Raw::connect(serving.address);
    client.ask("/endless");
    let head = client.read_head();
    let reading = thread::spawn(move || client.read_body(&head).1);
    serving.stop.send(()).unwrap();
    let shutdown = serving.runtime.block_on(serving.served).unwrap().unwrap();
    assert_eq!((shutdown.aborted, shutdown.left), (1, 0));
    assert_eq!(reading.join().unwrap(), End::Reset);
    assert_eq!(serving.started.record(0).outcome, Some(Outcome::Cancelled));
    assert_eq!(serving.pool.active(), 0);
    // An idle connection ends in good order.
    assert_eq!(kept_alive.read_close(), End::Fin);
}
