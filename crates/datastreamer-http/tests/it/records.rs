//! The record of a response: complete only when the last byte has been sent.

use std::{
    thread,
    time::{Duration, Instant},
};

use datastreamer::{Outcome, Record, StreamOptions};
use datastreamer_http::Download;
use datastreamer_testkit::{Source, endless, eventually, fails_after, noise, noise_source};
use http::Request;

use crate::support::{
    raw::{End, Raw},
    serving::{Serving, Setup},
    streams::{A_WHILE, Started, incompressible},
};

fn serve(
    setup: Setup,
    started: &Started,
    source: impl Fn() -> Source + Send + Sync + 'static,
) -> Serving {
    let started = started.clone();
    // A source that waits for a processor has no part of a chunk sent before the rest.
    let options = StreamOptions::new()
        .chunk_bytes(CHUNK_BYTES)
        .flush_after(None);
    setup.serve(move |request: Request<()>| {
        let (started, source) = (started.clone(), source());
        Download::new("text/plain")
            .options(options.clone())
            .compressible(true)
            .commit_bytes(1)
            .observe(move |stream| started.note(stream))
            .respond(&request, |options| options.stream_out(source))
    })
}

/// More than the kernel takes: the last byte waits in hyper.
const STUCK_BYTES: usize = 400_000;
/// hyper takes no second chunk while the socket takes nothing.
const CHUNK_BYTES: usize = 2 * STUCK_BYTES;

/// Waits until hyper has taken everything and the socket has not.
fn wait_stuck(started: &Started) {
    let handle = started.handle(0);
    eventually("hyper has the last byte", || {
        handle.record().bytes_delivered >= STUCK_BYTES as u64
    });
    thread::sleep(A_WHILE);
    assert_eq!(handle.record().outcome, None, "it has not left");
}

#[test]
fn a_whole_response_is_complete() {
    let started = Started::default();
    let serving = serve(Setup::HTTP1, &started, || noise_source(1_000_000, 4096));
    let received = Raw::connect(serving.address()).get("/");
    assert_eq!(received.end, End::Whole);
    let record = started.record(0);
    assert_eq!(record.outcome, Some(Outcome::Complete));
    assert_eq!(record.bytes_delivered, 1_000_000);
    assert!(record.error.is_none());
}

#[test]
fn an_empty_response_is_complete() {
    let started = Started::default();
    let serving = serve(Setup::HTTP1, &started, || noise_source(0, 1));
    assert_eq!(Raw::connect(serving.address()).get("/").end, End::Whole);
    assert_eq!(started.record(0).outcome, Some(Outcome::Complete));
}

#[test]
fn a_response_is_complete_only_when_its_last_byte_has_left() {
    let started = Started::default();
    let serving = serve(Setup::HTTP1, &started, || {
        noise_source(STUCK_BYTES as u64, 4096)
    });
    let mut client = Raw::connect_narrow(serving.address());
    client.ask("/");
    wait_stuck(&started);
    let received = client.read_response();
    assert!(received.body == noise(STUCK_BYTES));
    assert_eq!(started.record(0).outcome, Some(Outcome::Complete));
}

#[test]
fn a_client_that_leaves_before_the_last_byte_is_gone() {
    let started = Started::default();
    let serving = serve(Setup::HTTP1, &started, || {
        noise_source(STUCK_BYTES as u64, 4096)
    });
    let mut client = Raw::connect_narrow(serving.address());
    client.ask("/");
    wait_stuck(&started);
    drop(client);
    assert_eq!(started.record(0).outcome, Some(Outcome::ClientGone));
}

const WRITE_STALL: Duration = Duration::from_millis(600);
const SHORT_STALL: Setup = Setup {
    write_stall: Some(WRITE_STALL),
    ..Setup::HTTP1
};

fn assert_stalled(record: &Record, since: Instant) {
    assert_eq!(record.outcome, Some(Outcome::ClientStalled));
    let waited = since.elapsed();
    assert!(waited >= WRITE_STALL, "{waited:?}");
    assert!(waited < 4 * WRITE_STALL, "{waited:?}");
}

#[test]
fn a_client_that_takes_nothing_is_dropped_as_stalled() {
    let started = Started::default();
    let serving = serve(SHORT_STALL, &started, || endless(4096));
    let mut client = Raw::connect_narrow(serving.address());
    let since = Instant::now();
    client.ask("/");
    let head = client.read_head();
    assert_stalled(&started.record(0), since);
    assert_eq!(client.read_body(&head).1, End::Reset);
}

#[test]
fn without_a_deadline_a_client_may_take_nothing_for_long() {
    for write_stall in [None, Some(Duration::MAX)] {
        let started = Started::default();
        let setup = Setup {
            write_stall,
            ..Setup::HTTP1
        };
        let serving = serve(setup, &started, || noise_source(STUCK_BYTES as u64, 4096));
        let mut client = Raw::connect_narrow(serving.address());
        client.ask("/");
        wait_stuck(&started);
        assert_eq!(client.read_response().end, End::Whole);
    }
}

#[test]
fn a_client_that_stalls_on_the_last_bytes_is_dropped_as_stalled() {
    let started = Started::default();
    let serving = serve(SHORT_STALL, &started, || {
        noise_source(STUCK_BYTES as u64, 4096)
    });
    let mut client = Raw::connect_narrow(serving.address());
    let since = Instant::now();
    client.ask("/");
    let head = client.read_head();
    assert_stalled(&started.record(0), since);
    let (body, end) = client.read_body(&head);
    assert_eq!(end, End::Reset);
    assert!(body.len() < STUCK_BYTES && noise(STUCK_BYTES).starts_with(&body));
}

#[test]
fn a_slow_client_is_not_a_stalled_one() {
    let started = Started::default();
    let serving = serve(SHORT_STALL, &started, || noise_source(1_500_000, 4096));
    let mut client = Raw::connect_narrow(serving.address());
    client.pace(800_000);
    let received = client.get("/");
    assert_eq!(received.end, End::Whole);
    assert_eq!(started.record(0).outcome, Some(Outcome::Complete));
}

#[test]
fn a_silent_source_is_not_a_stalled_client() {
    let started = Started::default();
    let serving = serve(SHORT_STALL, &started, || {
        Box::new(|out| {
            out.write_slice(&noise(100_000))?;
            thread::sleep(3 * WRITE_STALL);
            Ok(out.write_slice(b"x")?)
        })
    });
    let received = Raw::connect(serving.address()).get("/");
    assert_eq!((received.body.len(), received.end), (100_001, End::Whole));
    assert_eq!(started.record(0).outcome, Some(Outcome::Complete));
}

#[test]
fn an_idle_connection_is_not_a_stalled_client() {
    let started = Started::default();
    let serving = serve(SHORT_STALL, &started, || noise_source(100_000, 4096));
    let mut client = Raw::connect(serving.address());
    client.get("/");
    thread::sleep(3 * WRITE_STALL);
    assert_eq!(client.get("/").end, End::Whole);
}

#[test]
fn a_failed_source_is_a_source_error() {
    let started = Started::default();
    let serving = serve(Setup::HTTP1, &started, || fails_after(200_000, 4096));
    assert_eq!(Raw::connect(serving.address()).get("/").end, End::Reset);
    let record = started.record(0);
    assert_eq!(record.outcome, Some(Outcome::SourceError));
    assert_eq!(record.bytes_delivered, 200_000);
}

#[test]
fn a_coded_response_is_complete_only_when_its_last_byte_has_left() {
    for coding in ["gzip", "zstd"] {
        let started = Started::default();
        let serving = serve(Setup::HTTP1, &started, || {
            Box::new(|out| Ok(out.write_slice(&incompressible(STUCK_BYTES))?))
        });
        let mut client = Raw::connect_narrow(serving.address());
        client.ask_with("/", &format!("Accept-Encoding: {coding}\r\n"));
        wait_stuck(&started);
        drop(client);
        let record = started.record(0);
        assert_eq!(record.outcome, Some(Outcome::ClientGone), "{coding}");

        let mut client = Raw::connect(serving.address());
        client.ask_with("/", &format!("Accept-Encoding: {coding}\r\n"));
        assert_eq!(client.read_response().end, End::Whole);
        let record = started.record(1);
        assert_eq!(record.outcome, Some(Outcome::Complete), "{coding}");
        assert!(record.bytes_delivered >= STUCK_BYTES as u64);
    }
}
