//! `serve`: what an application gets without remembering anything.

use std::{net::SocketAddr, thread, time::Duration};

use axum::{
    Router,
    extract::{ConnectInfo, Request},
    response::IntoResponse,
    routing::get,
};
use datastreamer::{Outcome, PoolOptions, Shutdown, StreamOptions, StreamPool};
use datastreamer_http::{Connection, Download, Serve};
use datastreamer_testkit::{endless, noise, noise_source};
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
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let pool = StreamPool::new(PoolOptions::default());
    let started = Started::default();
    let (its_pool, its_started) = (pool.clone(), started.clone());
    let answer = move |request: Request| {
        let (pool, started) = (its_pool.clone(), its_started.clone());
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
                .map(axum::body::Body::new)
        }
    };
    let peer = async |ConnectInfo(peer): ConnectInfo<SocketAddr>, request: Request| {
        let connection = Connection::of(request.extensions()).expect("armed");
        assert_eq!(connection.peer(), Some(peer));
        peer.to_string().into_response()
    };
    let router = Router::new().route("/peer", get(peer)).fallback(answer);
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
