//! Fields that are known only at the end, and the commit at a flush.

use std::{
    thread,
    time::{Duration, Instant},
};

use datastreamer_http::Download;
use datastreamer_testkit::{Source, fails_after, noise, noise_source};
use http::{HeaderMap, HeaderName, HeaderValue, Request};

use crate::support::{
    raw::{End, Raw},
    serving::{Serving, Setup},
    streams::{Started, gate, write_noise},
};

const DIGEST: HeaderName = HeaderName::from_static("repr-digest");
const VALUE: &str = "sha-256=:abc=:";

fn serve(
    length: Option<u64>,
    source: impl Fn() -> Source + Send + Sync + 'static,
    started: &Started,
) -> Serving {
    let started = started.clone();
    Setup::HTTP1.serve(move |request: Request<()>| {
        let (source, started) = (source(), started.clone());
        Download::new("text/plain")
            .length(length)
            .trailers(&[DIGEST], || {
                HeaderMap::from_iter([(DIGEST, HeaderValue::from_static(VALUE))])
            })
            .observe(move |stream| started.note(stream))
            .respond(&request, |options| options.stream_out(source))
    })
}

/// The trailer section behind the last chunk (RFC 9112, 7.1.2).
fn trailer_section(client: &mut Raw) -> String {
    let (rest, _) = client.read_rest();
    String::from_utf8(rest).unwrap().to_lowercase()
}

#[test]
fn a_client_that_takes_trailers_gets_them_behind_a_complete_file() {
    let started = Started::default();
    let serving = serve(None, || noise_source(300_000, 4096), &started);
    for (te, gets) in [
        ("TE: trailers\r\n", true),
        ("TE: gzip , Trailers\r\n", true),
        ("", false),
    ] {
        let mut client = Raw::connect(serving.address());
        client.ask_with("/", &format!("{te}Connection: close, TE\r\n"));
        let head = client.read_head();
        assert_eq!(head.get("trailer"), gets.then_some("repr-digest"), "{te:?}");
        assert!(client.read_at_least(300_000) == noise(300_000));
        let rest = trailer_section(&mut client);
        let expected = match gets {
            true => format!("0\r\nrepr-digest: {VALUE}\r\n\r\n"),
            false => "0\r\n\r\n".to_owned(),
        };
        assert_eq!(rest, expected);
    }
    for index in 0..3 {
        let outcome = started.record(index).outcome;
        assert_eq!(outcome, Some(datastreamer::Outcome::Complete));
    }
}

#[test]
fn a_file_that_fails_has_no_trailers() {
    let serving = serve(None, || fails_after(300_000, 4096), &Started::default());
    let mut client = Raw::connect(serving.address());
    client.ask_with("/", "TE: trailers\r\n");
    let head = client.read_head();
    let (body, end) = client.read_body(&head);
    assert!(body == noise(300_000));
    assert_eq!(end, End::Reset);
}

#[test]
fn a_short_file_has_them_in_its_head_and_a_known_length_leaves_no_place_for_them() {
    let short = serve(None, || noise_source(1000, 100), &Started::default());
    let received = Raw::connect(short.address()).get("/");
    assert_eq!(received.head.get("repr-digest"), Some(VALUE));
    let known = serve(
        Some(300_000),
        || noise_source(300_000, 4096),
        &Started::default(),
    );
    let mut client = Raw::connect(known.address());
    client.ask_with("/", "TE: trailers\r\n");
    let received = client.read_response();
    assert_eq!(received.end, End::Whole);
    assert_eq!(received.head.get("trailer"), None);
}

/// Writes ten bytes, pauses, flushes, and ends when the gate opens. Returns how long the head took.
fn time_of_head(wanted: bool, commit_after: Duration, pause: Duration) -> Duration {
    let (open, gate) = gate();
    let serving = Setup::HTTP1.serve(move |request| {
        let gate = gate.clone();
        Download::new("text/plain")
            .commit_on_flush(wanted)
            .commit_after(commit_after)
            .respond(&request, move |options| {
                let options = options.flush_after(Duration::from_millis(10));
                options.stream_out(move |out| {
                    write_noise(out, 0, 10)?;
                    thread::sleep(pause);
                    out.flush_now()?;
                    gate.pass();
                    Ok::<(), datastreamer_testkit::BoxError>(())
                })
            })
    });
    let mut client = Raw::connect(serving.address());
    let asked = Instant::now();
    client.ask("/");
    let head = client.read_head();
    let time = asked.elapsed();
    thread::sleep(Duration::from_millis(20));
    drop(open);
    assert_eq!(client.read_body(&head), (noise(10), End::Whole));
    time
}

#[test]
fn a_flush_commits_the_response_if_that_is_wanted() {
    let at_once = |wanted| {
        let time = time_of_head(wanted, Duration::from_secs(2), Duration::ZERO);
        time < Duration::from_secs(1)
    };
    assert!(at_once(true));
    assert!(!at_once(false));
}

#[test]
fn a_flush_behind_bytes_that_have_arrived_commits_too() {
    // The watchdog hands them over before the flush.
    let time = time_of_head(true, Duration::from_secs(15), Duration::from_millis(300));
    assert!(time < Duration::from_secs(10), "{time:?}");
}

#[test]
fn the_flushes_of_a_coder_do_not_commit() {
    for coding in ["gzip", "zstd"] {
        let serving = Setup::HTTP1.serve(move |request| {
            Download::new("text/csv")
                .compressible(true)
                .commit_on_flush(true)
                .respond(&request, |options| {
                    options.stream_out(|_| -> Result<(), datastreamer_testkit::BoxError> {
                        thread::sleep(Duration::from_millis(200));
                        Err("the database is gone".into())
                    })
                })
        });
        let mut client = Raw::connect(serving.address());
        client.ask_with("/", &format!("Accept-Encoding: {coding}\r\n"));
        assert_eq!(client.read_head().status, 500);
    }
}
