//! A client closes its half of the connection after its request, and reads.

use std::{
    thread,
    time::{Duration, Instant},
};

use datastreamer::{ErrorKind, Outcome};
use datastreamer_http::{Download, HalfClose};
use datastreamer_testkit::{Probe, noise, noise_source, silent_until_stopped};
use http::Request;

use crate::support::{
    raw::{End, Raw},
    serving::{Serving, Setup},
    streams::{A_WHILE, Started, gate, writes_then_waits},
};

/// How late a hang-up may be seen that wakes nobody: one check of the connection, and some.
const SEEN_WITHIN: Duration = Duration::from_secs(2);

/// Serves `/BYTES`, after a pause of `A_WHILE` before the first byte.
fn serve(half_close: HalfClose, started: &Started) -> Serving {
    let setup = Setup {
        half_close,
        ..Setup::HTTP1
    };
    let started = started.clone();
    setup.serve(move |request: Request<()>| {
        let bytes = request.uri().path()[1..].parse().unwrap();
        let (started, write) = (started.clone(), noise_source(bytes, 4096));
        Download::new("text/plain")
            .observe(move |stream| started.note(stream))
            .respond(&request, |options| {
                options.stream_out(|out| {
                    thread::sleep(A_WHILE);
                    write(out)
                })
            })
    })
}

#[test]
fn a_half_close_is_a_hang_up_by_default() {
    let started = Started::default();
    let serving = serve(HalfClose::HangUp, &started);
    let mut client = Raw::connect(serving.address());
    client.ask("/5000000");
    // A server that reads both at once need not begin.
    let _begun = started.handle(0);
    client.half_close();
    assert_eq!(started.record(0).outcome, Some(Outcome::ClientGone));
}

#[test]
fn a_client_that_half_closes_gets_its_file_if_that_is_allowed() {
    let started = Started::default();
    let serving = serve(HalfClose::Allow, &started);
    for (index, bytes) in [0, 1, 1000, 200_000, 5_000_000].into_iter().enumerate() {
        let mut client = Raw::connect(serving.address());
        client.ask(&format!("/{bytes}"));
        client.half_close();
        let received = client.read_response();
        assert_eq!((received.head.status, received.end), (200, End::Whole));
        assert!(received.body == noise(bytes));
        // And then the connection is over.
        assert_eq!(client.read_close(), End::Fin);
        assert_eq!(started.record(index).outcome, Some(Outcome::Complete));
    }
}

#[test]
fn several_requests_before_the_half_close_are_all_answered() {
    let started = Started::default();
    let serving = serve(HalfClose::Allow, &started);
    let mut client = Raw::connect(serving.address());
    for bytes in [1000, 100_000, 10] {
        client.ask(&format!("/{bytes}"));
    }
    client.half_close();
    for bytes in [1000, 100_000, 10] {
        let received = client.read_response();
        assert_eq!(received.end, End::Whole);
        assert!(received.body == noise(bytes));
    }
    assert_eq!(client.read_close(), End::Fin);
}

/// Serves a source that writes 1000 bytes and then nothing; returns its probe, and a client that has
/// these bytes.
fn serve_silent(half_close: HalfClose) -> (Serving, Probe, Raw) {
    let probe = Probe::new();
    let its_probe = probe.clone();
    let (open, gate) = gate();
    let setup = Setup {
        half_close,
        ..Setup::HTTP1
    };
    let serving = setup.serve(move |request| {
        let _closed = &open;
        let source = writes_then_waits(1000, gate.clone(), silent_until_stopped());
        let source = its_probe.wrap(source);
        Download::new("text/plain")
            .commit_bytes(1)
            .respond(&request, |options| options.stream_out(source))
    });
    let mut client = Raw::connect(serving.address());
    client.ask("/");
    client.read_head();
    client.read_at_least(1000);
    (serving, probe, client)
}

#[test]
fn a_reset_behind_a_half_close_is_a_hang_up_although_the_source_is_silent() {
    let (_serving, probe, mut client) = serve_silent(HalfClose::Allow);
    client.half_close();
    thread::sleep(A_WHILE);
    assert!(!probe.was_told());
    let left = Instant::now();
    client.reset();
    let (told, why) = probe.wait_told();
    assert_eq!(why.kind(), ErrorKind::HangUp);
    assert!(told - left < SEEN_WITHIN, "{:?}", told - left);
}

#[test]
fn a_half_close_behind_a_request_that_nobody_reads_is_seen() {
    let (_serving, probe, mut client) = serve_silent(HalfClose::HangUp);
    // More than hyper reads ahead.
    for _ in 0..300 {
        client.ask(
            "/a-pipelined-request-that-is-long-enough-to-fill-a-buffer-of-hyper-after-some-time",
        );
    }
    thread::sleep(A_WHILE);
    let left = Instant::now();
    client.half_close();
    let (told, why) = probe.wait_told();
    assert_eq!(why.kind(), ErrorKind::HangUp);
    assert!(told - left < SEEN_WITHIN, "{:?}", told - left);
}
