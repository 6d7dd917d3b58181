//! `axum::serve` over an `ArmedListener` keeps the promises of every armed connection.

use std::{fmt::Debug, net::SocketAddr, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::Request,
    response::Response,
    routing::get,
    serve::{Listener, ListenerExt},
};
use datastreamer::Outcome;
use datastreamer_http::{ArmedListener, Connection, Download, Socket};
use datastreamer_testkit::{
    Probe, Source, endless, fails_after, noise, noise_source, panics_after,
};
use h2::Reason;
use tokio::{net::TcpListener, runtime::Runtime};

use crate::support::{
    h2_client::{self, Client},
    raw::{self, End, Raw},
    streams::Started,
};

const BYTES: usize = 300_000;

/// Serves `/good`, `/fails`, `/panics`, `/early` and `/endless` until it is dropped.
struct App {
    address: SocketAddr,
    started: Started,
    probe: Probe,
    _runtime: Runtime,
}

impl App {
    fn serve() -> Self {
        Self::serve_over(ArmedListener::new)
    }

    fn serve_over<L>(arm: impl FnOnce(TcpListener) -> ArmedListener<L>) -> Self
    where
        L: Listener<Io: Socket, Addr: Debug>,
    {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (started, probe) = (Started::default(), Probe::new());
        let (its_started, its_probe) = (started.clone(), probe.clone());
        let peer = |request: Request| async move {
            let connection = Connection::of(request.extensions()).expect("the connection");
            connection.peer().unwrap().to_string()
        };
        let answer = move |request: Request| respond(&request, &its_started, &its_probe);
        let app = Router::new().route("/peer", get(peer)).fallback(answer);
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let listener = arm(listener);
        runtime.spawn(async move {
            let service = app.into_make_service_with_connect_info::<Connection>();
            axum::serve(listener, service).await.unwrap();
        });
        Self {
            address,
            started,
            probe,
            _runtime: runtime,
        }
    }
}

fn respond(
    request: &Request,
    started: &Started,
    probe: &Probe,
) -> impl Future<Output = Response> + use<> {
    let bytes = BYTES as u64;
    let source: Source = match request.uri().path() {
        "/good" => noise_source(bytes, 4096),
        "/fails" => fails_after(bytes, 4096),
        "/panics" => panics_after(bytes, 4096),
        "/endless" => probe.wrap(endless(4096)),
        _ => fails_after(10, 10),
    };
    let started = started.clone();
    let answer = Download::new("text/plain")
        .compressible(true)
        .observe(move |stream| started.note(stream))
        .respond(request, |options| options.stream_out(source));
    async { answer.await.map(Body::new) }
}

#[test]
fn good_responses_are_whole_and_complete_over_one_connection() {
    let app = App::serve();
    let mut client = Raw::connect(app.address);
    for index in 0..20 {
        let received = client.get("/good");
        assert_eq!(received.end, End::Whole);
        assert!(received.body == noise(BYTES));
        assert_eq!(app.started.record(index).outcome, Some(Outcome::Complete));
    }
    client.ask_with("/good", "Connection: close\r\n");
    assert_eq!(client.read_response().end, End::Whole);
    assert_eq!(client.read_close(), End::Fin);
}

#[test]
fn a_failure_gives_every_valid_byte_and_then_resets() {
    let app = App::serve();
    for path in ["/fails", "/panics"] {
        let (received, _) = raw::get(app.address, path);
        assert_eq!(received.head.status, 200);
        assert_eq!(received.end, End::Reset, "{path}");
        assert!(received.body == noise(BYTES), "{path}");
    }
}

#[test]
fn an_early_failure_has_a_status() {
    let app = App::serve();
    let mut client = Raw::connect(app.address);
    assert_eq!(client.get("/early").head.status, 500);
    assert_eq!(client.get("/good").end, End::Whole);
}

#[test]
fn a_client_that_leaves_stops_the_source() {
    let app = App::serve();
    let mut client = Raw::connect(app.address);
    client.ask("/endless");
    client.read_head();
    let left = std::time::Instant::now();
    drop(client);
    let (told, _) = app.probe.wait_told();
    assert!(told.saturating_duration_since(left) < Duration::from_secs(1));
    assert_eq!(app.started.record(0).outcome, Some(Outcome::ClientGone));
}

#[test]
fn a_failure_over_http_2_resets_its_stream_alone() {
    let app = App::serve();
    let client = Client::connect(app.address);
    for path in ["/fails", "/panics"] {
        let (body, end) = client.ask(path).read();
        assert_eq!(end, h2_client::End::Reset(Reason::INTERNAL_ERROR), "{path}");
        assert!(body == noise(BYTES), "{path}");
    }
    assert_eq!(client.ask("/good").read().1, h2_client::End::Whole);
}

#[test]
fn head_says_no_length_that_is_not_known() {
    let app = App::serve();
    let mut client = Raw::connect(app.address);
    for coding in ["", "Accept-Encoding: gzip\r\n"] {
        client.send(&format!(
            "HEAD /good HTTP/1.1\r\nHost: localhost\r\n{coding}\r\n"
        ));
        let head = client.read_head();
        assert_eq!(head.get("content-encoding").is_some(), !coding.is_empty());
        assert_eq!((head.status, head.content_length()), (200, None));
    }
    assert_eq!(client.get("/good").end, End::Whole, "and no body");
}

#[test]
fn any_listener_will_do_and_has_its_deadline() {
    let app = App::serve_over(|listener| {
        ArmedListener::new(listener.tap_io(|_| {})).write_stall(Duration::from_millis(300))
    });
    let mut client = Raw::connect_narrow(app.address);
    client.ask("/endless");
    assert_eq!(app.started.record(0).outcome, Some(Outcome::ClientStalled));
    let head = client.read_head();
    assert_eq!(client.read_body(&head).1, End::Reset);
}

#[test]
fn a_handler_knows_its_client() {
    let app = App::serve();
    let (received, _) = raw::get(app.address, "/peer");
    let text = String::from_utf8(received.body).unwrap();
    assert!(text.starts_with("127.0.0.1:"), "{text}");
}
