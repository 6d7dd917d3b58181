//! HTTP/2: a failed stream is reset with INTERNAL_ERROR, and other streams are not affected.

use std::{
    thread,
    time::{Duration, Instant},
};

use datastreamer::{Error, ErrorKind, Outcome, PoolOptions, StreamOptions, StreamPool};
use datastreamer_http::{DRAIN_MAX, Download};
use datastreamer_testkit::{
    BoxError, Probe, Source, endless, eventually, fails_after, noise, noise_source, panics_after,
    silent_until_stopped,
};
use h2::Reason;
use http::Request;

use crate::support::{
    h2_client::{Client, End},
    serving::{Serving, Setup},
    spy::Event,
    streams::{A_WHILE, Started, gate, write_noise, writes_then_waits},
};

const INTERNAL_ERROR: End = End::Reset(Reason::INTERNAL_ERROR);

/// Serves what the path says: `/good/BYTES`, `/fails/AFTER`, `/panics/AFTER`, with `?LENGTH` for
/// a promised length.
fn serve() -> Serving {
    Setup::HTTP2.serve(|request: Request<()>| {
        let (kind, bytes) = request.uri().path()[1..].split_once('/').unwrap();
        let bytes = bytes.parse().unwrap();
        let source = match kind {
            "good" => noise_source(bytes, 4096),
            "fails" => fails_after(bytes, 4096),
            _ => panics_after(bytes, 4096),
        };
        Download::new("text/plain")
            .length(request.uri().query().map(|length| length.parse().unwrap()))
            .commit_bytes(1)
            .respond(&request, |options| options.stream_out(source))
    })
}

#[test]
fn a_failure_gives_every_valid_byte_and_then_resets_its_stream_alone() {
    let serving = serve();
    let client = Client::connect(serving.address());
    for kind in ["fails", "panics"] {
        for after in [1, 1000, 65_536, 200_000, 5_000_000] {
            for query in ["", "?6000000"] {
                let path = format!("/{kind}/{after}{query}");
                let neighbour = client.ask("/good/1000000");
                let (body, end) = client.ask(&path).read();
                assert_eq!(end, INTERNAL_ERROR, "{path}");
                assert_eq!(body.len(), after, "{path}");
                assert!(body == noise(after), "{path}: wrong bytes");
                let (body, end) = neighbour.read();
                assert_eq!((body.len(), end), (1_000_000, End::Whole), "beside {path}");
            }
        }
    }
    assert_eq!(client.ask("/good/10").read().1, End::Whole);
}

#[test]
fn a_failure_before_the_first_byte_and_after_the_head_resets() {
    for panics in [false, true] {
        let (open, gate) = gate();
        let serving = Setup::HTTP2.serve(move |request| {
            let then = match panics {
                false => fails_after(0, 1),
                true => panics_after(0, 1),
            };
            let source = writes_then_waits(0, gate.clone(), then);
            Download::new("text/plain")
                .commit_after(Duration::from_millis(10))
                .respond(&request, |options| options.stream_out(source))
        });
        let client = Client::connect(serving.address());
        let response = client.ask("/");
        assert_eq!(response.head.status, 200);
        drop(open);
        assert_eq!(response.read(), (Vec::new(), INTERNAL_ERROR));
    }
}

#[test]
fn a_failure_is_internal_whatever_a_source_hands_on_from_upstream() {
    for reason in [Reason::NO_ERROR, Reason::CANCEL] {
        let serving = Setup::HTTP2.serve(move |request| {
            Download::new("text/plain")
                .commit_bytes(1)
                .respond(&request, move |options| {
                    options.stream_out(move |out| {
                        write_noise(out, 0, 200_000)?;
                        Err::<(), BoxError>(h2::Error::from(reason).into())
                    })
                })
        });
        let (body, end) = Client::connect(serving.address()).ask("/").read();
        assert_eq!((body.len(), end), (200_000, INTERNAL_ERROR), "{reason}");
    }
}

#[test]
fn a_slow_reader_gets_every_valid_byte_before_the_reset() {
    const VALID_BYTES: usize = 1_500_000;
    for (window_bytes, rate) in [(65_535, 1_000_000), (1 << 24, 1_000_000), (20_000, 400_000)] {
        let serving = serve();
        let client = Client::connect_with_window(serving.address(), window_bytes);
        let response = client.ask(&format!("/fails/{VALID_BYTES}"));
        let (body, end) = response.read_paced(Some(rate));
        assert_eq!(end, INTERNAL_ERROR, "window {window_bytes}");
        assert!(noise(VALID_BYTES).starts_with(&body));
        assert_eq!(body.len(), VALID_BYTES, "window {window_bytes}");
    }
}

#[test]
fn an_early_failure_has_a_status_on_a_living_connection() {
    let serving = Setup::HTTP2.serve(|request| {
        Download::new("text/plain")
            .respond(&request, |options| options.stream_out(fails_after(100, 10)))
    });
    let client = Client::connect(serving.address());
    for _ in 0..3 {
        let response = client.ask("/");
        assert_eq!(response.head.status, 500);
        assert_eq!(response.read().1, End::Whole);
    }
}

#[test]
fn a_short_file_has_its_length() {
    let serving = Setup::HTTP2.serve(|request| {
        Download::new("text/plain").respond(&request, |options| {
            options.stream_out(noise_source(1000, 100))
        })
    });
    let client = Client::connect(serving.address());
    let response = client.ask("/");
    assert_eq!(response.head.headers["content-length"], "1000");
    assert_eq!(response.read(), (noise(1000), End::Whole));
}

const CLIENT_STALL: Duration = Duration::from_millis(500);

fn serve_paths(
    started: &Started,
    pool: &StreamPool,
    source: impl Fn(&str) -> Source + Send + Sync + 'static,
) -> Serving {
    let (started, pool) = (started.clone(), pool.clone());
    Setup::HTTP2.serve(move |request: Request<()>| {
        let (started, source) = (started.clone(), source(request.uri().path()));
        let options = StreamOptions::new()
            .pool(&pool)
            .consumer_stall(CLIENT_STALL);
        Download::new("text/plain")
            .commit_bytes(1)
            .options(options)
            .observe(move |stream| started.note(stream))
            .respond(&request, |options| options.stream_out(source))
    })
}

fn two_places() -> StreamPool {
    StreamPool::new(PoolOptions::new().max_active(2).max_waiting(0))
}

#[test]
fn a_stalled_stream_is_no_hindrance_to_its_neighbours() {
    let started = Started::default();
    let pool = two_places();
    let serving = serve_paths(&started, &pool, |_| noise_source(3_000_000, 4096));
    let client = Client::connect_with_window(serving.address(), 65_535);
    let mut stalled = client.ask("/");
    stalled.peek();
    let (body, end) = client.ask("/").read();
    assert_eq!((body.len(), end), (3_000_000, End::Whole));
}

#[test]
fn a_stalled_stream_is_dropped_in_time_and_gives_its_place_back() {
    let started = Started::default();
    let pool = two_places();
    let serving = serve_paths(&started, &pool, |_| endless(4096));
    let client = Client::connect_with_window(serving.address(), 65_535);
    let since = Instant::now();
    let mut stalled = client.ask("/");
    stalled.peek();
    let record = started.record(0);
    assert_eq!(record.outcome, Some(Outcome::ClientStalled));
    let waited = since.elapsed();
    assert!(waited < 5 * CLIENT_STALL + DRAIN_MAX, "{waited:?}");
    eventually("the place is free", || pool.active() == 0);
    // Nothing else moved on it: the connection is aborted.
    thread::sleep(DRAIN_MAX + Duration::from_secs(1));
    assert!(matches!(stalled.read().1, End::Lost(_)));
    assert!(!serving.spy(0).events().contains(&Event::ShutDown));
}

#[test]
fn a_stream_that_was_stopped_behind_a_closed_window_gives_its_place_back() {
    let (started, pool) = (Started::default(), two_places());
    let serving = serve_paths(&started, &pool, |_| endless(4096));
    let client = Client::connect_with_window(serving.address(), 65_535);
    let mut stalled = client.ask("/");
    stalled.peek();
    started
        .handle(0)
        .stop(Error::new(ErrorKind::ShutDown, "a test"));
    assert_eq!(started.record(0).outcome, Some(Outcome::Cancelled));
    eventually("the place is free", || pool.active() == 0);
}

#[test]
fn a_stalled_stream_goes_when_its_last_neighbour_has_ended() {
    let started = Started::default();
    let serving = serve_paths(&started, &two_places(), |path| match path {
        "/stalled" => endless(4096),
        _ => noise_source(1_500_000, 4096),
    });
    let client = Client::connect_with_window(serving.address(), 65_535);
    let mut stalled = client.ask("/stalled");
    stalled.peek();
    // Three times the deadline.
    let (body, end) = client.ask("/neighbour").read_paced(Some(1_000_000));
    assert_eq!((body.len(), end), (1_500_000, End::Whole));
    assert_eq!(started.record(0).outcome, Some(Outcome::ClientStalled));
    assert_eq!(started.record(1).outcome, Some(Outcome::Complete));
}

#[test]
fn a_connection_with_many_stalled_streams_gets_no_new_ones_and_keeps_those_that_move() {
    let started = Started::default();
    let serving = serve_paths(&started, StreamPool::global(), |path| match path {
        "/moves" => noise_source(3_000_000, 4096),
        _ => endless(4096),
    });
    let client = Client::connect_with_window(serving.address(), 65_535);
    let mut stalled: Vec<_> = (0..5).map(|_| client.ask("/")).collect();
    stalled
        .iter_mut()
        .for_each(|response| drop(response.peek()));
    let moving = client.ask("/moves");
    let moving = thread::spawn(move || moving.read_paced(Some(1_000_000)));
    for index in 0..5 {
        assert_eq!(started.record(index).outcome, Some(Outcome::ClientStalled));
    }
    assert_eq!(client.ask("/").head.status, 503);
    let (body, end) = moving.join().unwrap();
    assert_eq!((body.len(), end), (3_000_000, End::Whole));
    // Now none of its requests lives.
    thread::sleep(DRAIN_MAX + Duration::from_secs(1));
    assert!(matches!(stalled.remove(0).read().1, End::Lost(_)));
}

#[test]
fn a_stalled_stream_does_not_take_a_neighbour_along_that_has_not_begun() {
    for counts in [true, false] {
        let started = Started::default();
        let its_started = started.clone();
        let pool = two_places();
        let (open, gate) = gate();
        let setup = Setup {
            counts,
            ..Setup::HTTP2
        };
        let serving = setup.serve(move |request| {
            let started = its_started.clone();
            let source = match request.uri().path() {
                "/late" => writes_then_waits(0, gate.clone(), noise_source(1000, 100)),
                _ => endless(4096),
            };
            let options = StreamOptions::new()
                .pool(&pool)
                .consumer_stall(CLIENT_STALL);
            Download::new("text/plain")
                .commit_after(Duration::from_secs(60))
                .commit_bytes(1)
                .options(options)
                .observe(move |stream| started.note(stream))
                .respond(&request, |options| options.stream_out(source))
        });
        let client = Client::connect_with_window(serving.address(), 65_535);
        let mut stalled = client.ask("/");
        stalled.peek();
        thread::scope(|scope| {
            let late = scope.spawn(|| client.ask("/late").read());
            assert_eq!(started.record(0).outcome, Some(Outcome::ClientStalled));
            thread::sleep(DRAIN_MAX + Duration::from_millis(500));
            drop(open);
            assert_eq!(late.join().unwrap(), (noise(1000), End::Whole), "{counts}");
        });
        // If nobody counts the requests, the connection outlives the stalled one.
        let other = client.ask_if_alive("/");
        assert!(counts || other.is_some());
    }
}

#[test]
fn a_stream_that_stalls_on_its_last_bytes_gives_its_place_back() {
    let started = Started::default();
    let pool = two_places();
    let serving = serve_paths(&started, &pool, |_| noise_source(100_000, 4096));
    let client = Client::connect_with_window(serving.address(), 65_535);
    let mut stalled = client.ask("/");
    stalled.peek();
    let record = started.record(0);
    assert_eq!(record.outcome, Some(Outcome::ClientStalled));
    eventually("the place is free", || pool.active() == 0);
}

#[test]
fn a_response_is_complete_only_when_the_client_has_let_its_last_byte_in() {
    const BYTES: usize = 1000;
    // Complete within the commit window, and with a promised length.
    for (length, commit_bytes) in [(None, BYTES + 1), (Some(BYTES as u64), 1)] {
        let (started, pool) = (Started::default(), two_places());
        let (its_started, its_pool) = (started.clone(), pool.clone());
        let serving = Setup::HTTP2.serve(move |request| {
            let started = its_started.clone();
            Download::new("text/plain")
                .length(length)
                .commit_bytes(commit_bytes)
                .options(StreamOptions::new().pool(&its_pool))
                .observe(move |stream| started.note(stream))
                .respond(&request, |options| {
                    options.stream_out(noise_source(BYTES as u64, BYTES))
                })
        });
        let client = Client::connect_with_window(serving.address(), 1);
        let response = client.ask("/");
        thread::sleep(A_WHILE);
        assert_eq!(started.handle(0).record().outcome, None);
        assert_eq!(pool.active(), 1);
        assert_eq!(response.read(), (noise(BYTES), End::Whole));
        assert_eq!(started.record(0).outcome, Some(Outcome::Complete));
        eventually("the place is free", || pool.active() == 0);
    }
}

#[test]
fn a_stream_that_the_client_resets_stops_its_source_and_no_other() {
    let started = Started::default();
    let probe = Probe::new();
    let its_probe = probe.clone();
    let serving = serve_paths(&started, &two_places(), move |path| match path {
        "/reset" => its_probe.wrap(endless(4096)),
        _ => noise_source(3_000_000, 4096),
    });
    let client = Client::connect(serving.address());
    let mut reset = client.ask("/reset");
    reset.peek();
    let neighbour = client.ask("/");
    let left = Instant::now();
    drop(reset);
    let (told, why) = probe.wait_told();
    assert_eq!(why.kind(), ErrorKind::HangUp);
    assert!(told - left < Duration::from_secs(1));
    assert_eq!(started.record(0).outcome, Some(Outcome::ClientGone));
    let (body, end) = neighbour.read();
    assert_eq!((body.len(), end), (3_000_000, End::Whole));
}

#[test]
fn a_connection_that_is_lost_stops_all_its_sources() {
    let probes = [Probe::new(), Probe::new()];
    let its_probes = probes.clone();
    let serving = Setup::HTTP2.serve(move |request: Request<()>| {
        let source = match request.uri().path() {
            "/silent" => its_probes[0].wrap(silent_until_stopped()),
            _ => its_probes[1].wrap(endless(4096)),
        };
        Download::new("text/plain")
            .commit_after(Duration::from_millis(10))
            .respond(&request, |options| options.stream_out(source))
    });
    let client = Client::connect(serving.address());
    let _silent = client.ask("/silent");
    let _loud = client.ask("/loud").peek();
    let left = Instant::now();
    drop(client);
    for probe in probes {
        let (told, why) = probe.wait_told();
        assert_eq!(why.kind(), ErrorKind::HangUp);
        assert!(told - left < Duration::from_secs(1));
    }
}
