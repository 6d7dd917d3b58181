//! HTTP/1.0 cannot distinguish the end of a stream from its failure: it gets a length, or a refusal.

use std::time::Duration;

use datastreamer_http::Download;
use datastreamer_testkit::{Probe, fails_after, noise, noise_source};
use http::Request;

use crate::support::{
    raw::{End, Raw, Received},
    serving::{Serving, Setup},
};

const BYTES: usize = 300_000;

/// Serves `/known`, `/unknown`, `/short`, `/empty` and `/failing`.
fn serve(probe: &Probe) -> Serving {
    let probe = probe.clone();
    Setup::HTTP1.serve(move |request: Request<()>| {
        let (source, length) = match request.uri().path() {
            "/known" => (noise_source(BYTES as u64, 4096), Some(BYTES as u64)),
            "/unknown" => (noise_source(u64::MAX, 4096), None),
            "/short" => (noise_source(1000, 100), None),
            "/failing" => (fails_after(200_000, 4096), Some(BYTES as u64)),
            _ => (noise_source(0, 1), None),
        };
        let source = probe.wrap(source);
        Download::new("text/csv")
            .compressible(true)
            .length(length)
            .commit_after(Duration::from_millis(500))
            .respond(&request, |options| options.stream_out(source))
    })
}

fn get(serving: &Serving, path: &str, headers: &str) -> (Received, End) {
    let mut client = Raw::connect(serving.address());
    client.send(&format!("GET {path} HTTP/1.0\r\n{headers}\r\n"));
    let received = client.read_response();
    let close = match received.end {
        End::Whole => client.read_close(),
        end => end,
    };
    (received, close)
}

#[test]
fn a_known_length_is_served() {
    let serving = serve(&Probe::new());
    let (received, close) = get(&serving, "/known", "");
    assert_eq!(received.head.status, 200);
    assert_eq!(received.head.content_length(), Some(BYTES));
    assert!(received.body == noise(BYTES));
    assert_eq!(close, End::Fin);
}

#[test]
fn a_known_length_is_served_to_clients_that_accept_a_coding() {
    // The length of a coded body is unknown: an uncoded response is better than a refusal.
    let serving = serve(&Probe::new());
    let (received, close) = get(&serving, "/known", "Accept-Encoding: gzip\r\n");
    assert_eq!(received.head.status, 200);
    assert_eq!(received.head.content_length(), Some(BYTES));
    assert!(received.body == noise(BYTES));
    assert_eq!(close, End::Fin);
}

#[test]
fn a_file_that_ends_in_the_window_is_served_with_its_length() {
    let serving = serve(&Probe::new());
    for (path, bytes) in [("/short", 1000), ("/empty", 0)] {
        let (received, close) = get(&serving, path, "");
        assert_eq!(received.head.status, 200);
        assert_eq!(received.head.content_length(), Some(bytes));
        assert!(received.body == noise(bytes));
        assert_eq!(close, End::Fin);
    }
}

#[test]
fn an_unknown_length_is_refused_and_its_source_stopped() {
    let probe = Probe::new();
    let serving = serve(&probe);
    let (received, close) = get(&serving, "/unknown", "");
    assert_eq!(received.head.status, 505);
    assert_eq!(
        received.head.get("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(received.end, End::Whole);
    assert_eq!(close, End::Fin);
    // It may have been stopped before its thread ran.
    if probe.has_started() {
        probe.wait_ended();
    }
}

#[test]
fn a_failure_below_the_known_length_resets() {
    let serving = serve(&Probe::new());
    let (received, close) = get(&serving, "/failing", "");
    assert_eq!(received.head.content_length(), Some(BYTES));
    assert!(received.body == noise(200_000));
    assert_eq!(close, End::Reset);
}
