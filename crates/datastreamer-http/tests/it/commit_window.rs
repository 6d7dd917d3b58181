//! When the head is sent, and what it contains.

use std::time::{Duration, Instant};

use datastreamer_http::Download;
use datastreamer_testkit::{Probe, endless, noise, noise_source, silent_until_stopped};
use http::{HeaderName, HeaderValue, Request};

use crate::support::{
    raw::{End, Raw},
    serving::Setup,
    streams::{ends, gate, writes_then_waits},
};

#[test]
fn a_file_that_ends_in_the_window_has_its_exact_length() {
    for bytes in [0, 1, 10, 65_535] {
        let serving = Setup::HTTP1.serve(move |request| {
            Download::new("text/csv").respond(&request, move |options| {
                options.stream_out(noise_source(bytes as u64, 1000))
            })
        });
        let mut client = Raw::connect(serving.address());
        let received = client.get("/");
        assert_eq!(received.head.content_length(), Some(bytes));
        assert!(received.body == noise(bytes));
        assert_eq!(client.get("/").end, End::Whole, "the connection goes on");
    }
}

#[test]
fn enough_bytes_commit_at_once() {
    let (open, gate) = gate();
    let serving = Setup::HTTP1.serve(move |request| {
        let source = writes_then_waits(20_000, gate.clone(), ends());
        Download::new("text/csv")
            .commit_bytes(20_000)
            .commit_after(Duration::from_secs(60))
            .respond(&request, |options| options.stream_out(source))
    });
    let mut client = Raw::connect(serving.address());
    client.ask("/");
    let head = client.read_head();
    assert!(head.is_chunked());
    assert_eq!(client.read_at_least(20_000), noise(20_000));
    drop(open);
    assert_eq!(client.read_body(&head), (Vec::new(), End::Whole));
}

#[test]
fn time_commits_with_whatever_there_is() {
    const COMMIT_AFTER: Duration = Duration::from_millis(300);
    for bytes in [0, 10] {
        let (open, gate) = gate();
        let serving = Setup::HTTP1.serve(move |request| {
            let source = writes_then_waits(bytes, gate.clone(), ends());
            Download::new("text/csv")
                .commit_after(COMMIT_AFTER)
                .respond(&request, |options| options.stream_out(source))
        });
        let mut client = Raw::connect(serving.address());
        let asked = Instant::now();
        client.ask("/");
        let head = client.read_head();
        assert!(asked.elapsed() >= COMMIT_AFTER);
        assert!(asked.elapsed() < 10 * COMMIT_AFTER);
        assert!(head.is_chunked());
        assert_eq!(client.read_at_least(bytes), noise(bytes));
        drop(open);
        assert_eq!(client.read_body(&head), (Vec::new(), End::Whole));
    }
}

#[test]
fn a_promised_length_is_told_before_the_file_is_done() {
    let (open, gate) = gate();
    let serving = Setup::HTTP1.serve(move |request| {
        let source = writes_then_waits(100_000, gate.clone(), ends());
        Download::new("text/csv")
            .length(100_000)
            .respond(&request, |options| options.stream_out(source))
    });
    let mut client = Raw::connect(serving.address());
    client.ask("/");
    // Committed by time or by bytes: the last chunk waits for the source's result.
    let opener = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        drop(open);
    });
    let received = client.read_response();
    assert_eq!(received.head.content_length(), Some(100_000));
    assert_eq!((received.body, received.end), (noise(100_000), End::Whole));
    opener.join().unwrap();
}

#[test]
fn a_header_of_its_own_replaces_and_a_vary_adds() {
    let serving = Setup::HTTP1.serve(|request| {
        let header = |name| {
            move |value| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            }
        };
        let (link, vary) = (header("link"), header("vary"));
        let (ranges, length) = (header("accept-ranges"), header("content-length"));
        let headers = [
            link("</a>"),
            link("</b>"),
            vary("origin"),
            ranges("bytes"),
            length("7"),
        ];
        let download = Download::new("text/csv").compressible(true);
        headers
            .into_iter()
            .fold(download, |download, (name, value)| {
                download.header(name, value)
            })
            .respond(&request, |options| options.stream_out(noise_source(10, 10)))
    });
    let head = Raw::connect(serving.address()).get("/").head;
    assert_eq!(head.all("link"), ["</a>", "</b>"]);
    assert_eq!(head.all("vary"), ["accept-encoding", "origin"]);
    assert_eq!(head.all("accept-ranges"), ["bytes"]);
    assert_eq!(head.all("content-length"), ["10"]);
}

#[test]
fn a_window_without_an_end_in_time_is_possible() {
    let serving = Setup::HTTP1.serve(|request| {
        Download::new("text/csv")
            .commit_after(Duration::MAX)
            .respond(&request, |options| options.stream_out(noise_source(10, 10)))
    });
    assert_eq!(Raw::connect(serving.address()).get("/").body, noise(10));
}

#[test]
fn head_describes_the_file_and_never_starts_the_source() {
    let probe = Probe::new();
    let its_probe = probe.clone();
    let serving = Setup::HTTP1.serve(move |request: Request<()>| {
        let source = its_probe.wrap(endless(1000));
        let length = (request.uri().path() == "/known").then_some(12_345);
        Download::new("text/csv")
            .file_name("stars.csv")
            .length(length)
            .header(
                HeaderName::from_static("x-table"),
                HeaderValue::from_static("stars"),
            )
            .respond(&request, |options| options.stream_out(source))
    });
    let mut client = Raw::connect(serving.address());
    for (path, length) in [("/known", Some(12_345)), ("/unknown", None)] {
        client.send(&format!("HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        let head = client.read_head();
        assert_eq!(head.status, 200);
        assert_eq!(head.content_length(), length, "{path}");
        assert_eq!(head.get("content-type"), Some("text/csv"));
        assert_eq!(
            head.get("content-disposition"),
            Some("attachment; filename=\"stars.csv\"")
        );
        assert_eq!(head.get("x-table"), Some("stars"));
        assert_eq!(head.get("x-accel-buffering"), Some("no"));
        assert_eq!(head.get("accept-ranges"), Some("none"));
    }
    serving.close_gracefully();
    assert_eq!(client.read_close(), End::Fin, "and no body");
    assert!(!probe.has_started());
}

#[test]
fn a_client_that_leaves_during_the_window_stops_the_source() {
    let probe = Probe::new();
    let its_probe = probe.clone();
    let serving = Setup::HTTP1.serve(move |request| {
        let source = its_probe.wrap(silent_until_stopped());
        Download::new("text/csv")
            .commit_after(Duration::from_secs(60))
            .respond(&request, |options| options.stream_out(source))
    });
    let mut client = Raw::connect(serving.address());
    client.ask("/");
    probe.wait_started();
    drop(client);
    let (_, why) = probe.wait_told();
    assert_eq!(why.kind(), datastreamer::ErrorKind::HangUp);
}
