//! Failures after the head: the client gets every valid byte, then a reset, and never the end of the
//! framing.

use std::{
    thread,
    time::{Duration, Instant},
};

use datastreamer::{Error, ErrorKind, StreamOptions};
use datastreamer_http::{DRAIN_MAX, Download};
use datastreamer_testkit::{Source, fails_after, noise, panics_after};

use crate::support::{
    raw::{End, Raw, Received},
    serving::{Serving, Setup},
    spy::Event,
    streams::{Started, gate, writes_then_waits},
};

/// Before the first byte, in the first piece, at usual buffer sizes, beyond them, far beyond them.
const OFFSETS: [usize; 6] = [0, 1, 1000, 65_536, 200_000, 5_000_000];

#[derive(Clone, Copy, Debug)]
enum Failure {
    Error,
    Panic,
}

const FAILURES: [Failure; 2] = [Failure::Error, Failure::Panic];

impl Failure {
    fn after(self, bytes: usize) -> Source {
        match self {
            Self::Error => fails_after(bytes as u64, 8192),
            Self::Panic => panics_after(bytes as u64, 8192),
        }
    }
}

/// Commits at the first byte, so that every failure after it comes after the head.
fn download() -> Download {
    Download::new("text/plain").commit_bytes(1)
}

/// Serves one file that fails, of unknown or known length.
fn serve_failing(failure: Failure, after: usize, length: Option<u64>) -> Serving {
    Setup::HTTP1.serve(move |request| {
        download().length(length).respond(&request, move |options| {
            options.stream_out(failure.after(after))
        })
    })
}

fn assert_fails_after(received: &Received, bytes: usize, what: &str) {
    assert_eq!(received.head.status, 200, "{what}");
    assert_eq!(received.body.len(), bytes, "{what}");
    assert!(received.body == noise(bytes), "{what}: wrong bytes");
    assert_eq!(received.end, End::Reset, "{what}");
}

#[test]
fn a_failure_gives_every_valid_byte_and_then_resets() {
    for failure in FAILURES {
        for after in OFFSETS.into_iter().filter(|&after| after > 0) {
            let serving = serve_failing(failure, after, None);
            let received = Raw::connect(serving.address()).get("/");
            assert!(received.head.is_chunked());
            assert_fails_after(&received, after, &format!("{failure:?} after {after}"));
            // Never disarmed, never shut down cleanly.
            let spy = serving.spy(0);
            spy.wait_dropped();
            assert_eq!(spy.events(), [Event::Armed, Event::Dropped]);
            assert_eq!(spy.bytes_unarmed(), 0);
        }
    }
}

#[test]
fn a_failure_before_the_first_byte_and_after_the_head_resets() {
    for failure in FAILURES {
        let (open, gate) = gate();
        let serving = Setup::HTTP1.serve(move |request| {
            let source = writes_then_waits(0, gate.clone(), failure.after(0));
            download()
                .commit_after(Duration::from_millis(10))
                .respond(&request, |options| options.stream_out(source))
        });
        let mut client = Raw::connect(serving.address());
        client.ask("/");
        let head = client.read_head();
        drop(open);
        let (body, end) = client.read_body(&head);
        assert_fails_after(&Received { head, body, end }, 0, &format!("{failure:?}"));
    }
}

#[test]
fn a_failure_breaks_the_framing_before_the_reset() {
    // After `Connection: close`, node's fetch takes a reset alone for the end, and the header may be
    // the client's or the server's; others take the end of the connection for it.
    const VALID_BYTES: usize = 200_000;
    for failure in FAILURES {
        for (keep_alive, asked) in [(true, ""), (true, "Connection: x, Close\r\n"), (false, "")] {
            let setup = Setup {
                keep_alive,
                ..Setup::HTTP1
            };
            let serving = setup.serve(move |request| {
                let source = failure.after(VALID_BYTES);
                download().respond(&request, |options| options.stream_out(source))
            });
            let mut client = Raw::connect(serving.address());
            client.ask_with("/", asked);
            let head = client.read_head();
            let closes = head.get("connection") == Some("close");
            assert_eq!(closes, !keep_alive || !asked.is_empty());
            assert!(client.read_at_least(VALID_BYTES) == noise(VALID_BYTES));
            let (rest, end) = client.read_rest();
            assert_eq!(end, End::Reset);
            let digits = String::from_utf8(rest).unwrap();
            assert!(digits.len() > 16 && u64::from_str_radix(&digits, 16).is_err());
        }
        // With a known length every byte is data: nothing may be added.
        let serving = serve_failing(failure, VALID_BYTES, Some(VALID_BYTES as u64 + 100));
        let mut client = Raw::connect(serving.address());
        client.ask_with("/", "Connection: close\r\n");
        assert_fails_after(&client.read_response(), VALID_BYTES, "of known length");
    }
}

#[test]
fn a_failure_below_the_promised_length_gives_every_valid_byte_and_then_resets() {
    for failure in FAILURES {
        for after in OFFSETS.into_iter().filter(|&after| after > 0) {
            let length = after + 100_000;
            let serving = serve_failing(failure, after, Some(length as u64));
            let received = Raw::connect(serving.address()).get("/");
            assert_eq!(received.head.content_length(), Some(length));
            assert_fails_after(&received, after, &format!("{failure:?} after {after}"));
        }
    }
}

#[test]
fn a_failure_at_the_promised_length_withholds_the_last_byte() {
    for failure in FAILURES {
        for length in [1000, 65_536, 200_000, 5_000_000] {
            let serving = serve_failing(failure, length, Some(length as u64));
            let received = Raw::connect(serving.address()).get("/");
            assert_eq!(received.head.content_length(), Some(length));
            let what = format!("{failure:?} after all of {length}");
            assert_fails_after(&received, length - 1, &what);
        }
    }
}

#[test]
fn a_source_that_breaks_its_promise_of_length_resets() {
    for (writes, promised) in [(999_999, 1_000_000), (1_000_001, 1_000_000)] {
        let serving = Setup::HTTP1.serve(move |request| {
            let source = datastreamer_testkit::noise_source(writes, 1000);
            download()
                .length(promised)
                .respond(&request, |options| options.stream_out(source))
        });
        let received = Raw::connect(serving.address()).get("/");
        assert_eq!(received.end, End::Reset, "{writes} of {promised}");
        assert!((received.body.len() as u64) < promised);
        assert!(noise(1_000_000).starts_with(&received.body));
    }
}

#[test]
fn a_slow_reader_gets_every_valid_byte_before_the_reset() {
    for (failure, length) in [(Failure::Error, None), (Failure::Panic, Some(3_000_000))] {
        const VALID_BYTES: usize = 2_500_000;
        let serving = serve_failing(failure, VALID_BYTES, length);
        let mut client = Raw::connect_narrow(serving.address());
        client.pace(1_000_000);
        let received = client.get("/");
        assert_fails_after(&received, VALID_BYTES, &format!("{failure:?}"));
    }
}

/// How long a client that takes nothing may delay the failure: the drain, the interval of the checks,
/// and a reserve for a busy machine.
const STALLED_LIMIT: Duration = Duration::from_secs(4);

/// Serves a file that fails only after more bytes than a client that reads nothing accepts. All of
/// them fit into the buffer: the source is never blocked.
fn serve_stalled(started: Started, source: impl Fn() -> Source + Send + Sync + 'static) -> Serving {
    Setup::HTTP1.serve(move |request| {
        let (started, source) = (started.clone(), source());
        download()
            .options(StreamOptions::new().buffer_bytes(8 << 20))
            .observe(move |stream| started.note(stream))
            .respond(&request, |options| options.stream_out(source))
    })
}

fn assert_ends_in_time(serving: &Serving, failed: Instant, client: &mut Raw) {
    let dropped = serving.spy(0).wait_dropped();
    let waited = dropped.saturating_duration_since(failed);
    assert!(waited < STALLED_LIMIT, "{waited:?}");
    // The bytes before the reset are valid, and the file does not look complete.
    let head = client.read_head();
    let (body, end) = client.read_body(&head);
    assert_eq!(end, End::Reset);
    assert!(noise(3_000_000).starts_with(&body));
}

#[test]
fn a_failure_aborts_a_stalled_reader_in_the_time_of_a_drain() {
    for failure in FAILURES {
        let started = Started::default();
        let serving = serve_stalled(started.clone(), move || failure.after(3_000_000));
        let mut client = Raw::connect_narrow(serving.address());
        client.ask("/");
        let failed = started.handle(0);
        datastreamer_testkit::eventually("the source fails", || failed.record().outcome.is_some());
        assert_ends_in_time(&serving, Instant::now(), &mut client);
        let record = started.record(0);
        assert_eq!(record.outcome, Some(datastreamer::Outcome::SourceError));
    }
}

#[test]
fn a_stop_aborts_a_stalled_reader_in_the_time_of_a_drain() {
    let started = Started::default();
    let serving = serve_stalled(started.clone(), || datastreamer_testkit::endless(8192));
    let mut client = Raw::connect_narrow(serving.address());
    client.ask("/");
    let handle = started.handle(0);
    thread::sleep(Duration::from_millis(300));
    handle.stop(Error::new(ErrorKind::ShutDown, "for the test"));
    let stopped = Instant::now();
    let dropped = serving.spy(0).wait_dropped();
    let waited = dropped.saturating_duration_since(stopped);
    assert!(
        waited < STALLED_LIMIT && waited > DRAIN_MAX / 2,
        "{waited:?}"
    );
    client.read_head();
}

#[test]
fn the_end_of_the_process_resets_what_is_under_way() {
    let serving = Setup::HTTP1.serve(|request| {
        download().respond(&request, |options| {
            options.stream_out(datastreamer_testkit::endless(8192))
        })
    });
    let mut client = Raw::connect(serving.address());
    client.ask("/");
    let head = client.read_head();
    let begin = client.read_at_least(100_000);
    let client = thread::spawn(move || client.read_body(&head));
    serving.crash();
    let (rest, end) = client.join().unwrap();
    assert_eq!(end, End::Reset);
    let all = [begin, rest].concat();
    assert!(noise(all.len()) == all);
}

#[test]
fn without_an_armed_connection_a_failure_still_lacks_the_last_chunk() {
    let serving = Setup::HTTP1.serve(|mut request| {
        request.extensions_mut().clear();
        download().respond(&request, |options| {
            options.stream_out(fails_after(200_000, 8192))
        })
    });
    let received = Raw::connect(serving.address()).get("/");
    assert_eq!(received.end, End::Fin);
    assert!(noise(200_000).starts_with(&received.body));
}
