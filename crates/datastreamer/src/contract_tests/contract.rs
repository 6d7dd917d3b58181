//! The contract that every way out of a stream keeps towards its client.
//!
//! The first promise: an incomplete file never looks complete.

use std::{
    io,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use crate::{ErrorKind, PoolOptions, StreamOptions, StreamPool};

use super::{
    noise::{NOISE_PERIOD, noise},
    probe::Probe,
    sources::{
        BoxError, FAILURE, Source, endless, fails_after, noise_source, panics_after, swallows_stop,
        writes,
    },
    wait::{eventually, promptly},
};

/// Small chunks, so that a few kilobytes already make a long stream.
const CHUNK_BYTES: usize = 1000;

/// Greatest delay from the client's hang-up until the source is notified.
const TOLD_WITHIN: Duration = Duration::from_millis(50);

/// One way from a stream to a client: a push consumer, or a way of pulling from a reader.
pub trait WayOut {
    /// Returns the way's name, for failure messages.
    fn name(&self) -> &str;

    /// Streams a source to its end, blocking; returns what the client has received.
    fn receive(&self, options: StreamOptions, source: Source) -> Received;

    /// Streams a source, blocking, to a client that disconnects once it has received at least that
    /// many bytes; returns when it disconnected.
    fn leave_after(&self, options: StreamOptions, source: Source, bytes: u64) -> Instant;

    /// Returns whether the bytes that arrived before a failure can be inspected. An upload that is
    /// undone leaves nothing.
    fn shows_failed_bytes(&self) -> bool {
        true
    }
}

/// What a client has received.
#[derive(Debug)]
pub struct Received {
    /// All bytes, in order.
    pub bytes: Vec<u8>,
    /// `Ok` if the client takes them for a complete file.
    pub verdict: Result<(), BoxError>,
}

/// Checks one way out against the complete contract.
///
/// # Panics
/// If the way breaks the contract.
pub fn consumer_contract(way: &dyn WayOut) {
    the_bytes_arrive_whole_and_in_order(way);
    an_empty_stream_is_a_clean_finish(way);
    a_failure_shows_and_the_bytes_before_it_arrive(way);
    a_broken_promise_of_length_shows(way);
    a_kept_promise_of_length_is_clean(way);
    a_stopped_stream_is_not_whole(way);
    a_source_that_swallows_the_stop_sends_nothing_more(way);
    a_refused_stream_is_not_an_empty_file(way);
    a_client_that_leaves_stops_the_source(way);
}

fn the_bytes_arrive_whole_and_in_order(way: &dyn WayOut) {
    // More than two periods of the noise, so that any shift is detected.
    let long = 2 * NOISE_PERIOD + 12_345;
    for (bytes, write_bytes, chunk_bytes) in [
        (1, 1, 1),
        (1000, 7, 13),
        (20_000, 5, CHUNK_BYTES),
        (20_000, 20_000, CHUNK_BYTES),
        (long, 8192, 64 * 1024),
        (long, 300_000, 100_000),
    ] {
        let case = Case::new(way, chunk_bytes);
        let received = case.receive(noise_source(bytes, write_bytes));
        assert!(received.verdict.is_ok(), "{case}: {:?}", received.verdict);
        assert!(
            received.bytes == noise(bytes as usize),
            "{case}: {bytes} bytes"
        );
        case.is_over();
    }
}

fn an_empty_stream_is_a_clean_finish(way: &dyn WayOut) {
    for source in [writes::<&str>(vec![]), writes(vec!["", "", ""])] {
        let case = Case::new(way, CHUNK_BYTES);
        let received = case.receive(source);
        assert!(received.verdict.is_ok(), "{case}: {:?}", received.verdict);
        assert!(received.bytes.is_empty(), "{case}");
        case.is_over();
    }
}

fn a_failure_shows_and_the_bytes_before_it_arrive(way: &dyn WayOut) {
    let chunk = CHUNK_BYTES as u64;
    for bytes in [0, 1, chunk - 1, chunk, chunk + 1, 50 * chunk + 17] {
        for source in [fails_after(bytes, 77), panics_after(bytes, 77)] {
            let case = Case::new(way, CHUNK_BYTES);
            let received = case.receive(source);
            assert!(
                received.verdict.is_err(),
                "{case}: {bytes} bytes passed for a file"
            );
            case.shows(&received, &noise(bytes as usize));
            case.is_over();
        }
    }
}

fn a_broken_promise_of_length_shows(way: &dyn WayOut) {
    let promised = 5000;
    for bytes in [0, promised - 1, promised + 1, 10 * promised] {
        let case = Case::new(way, CHUNK_BYTES).promising(promised);
        let received = case.receive(noise_source(bytes, 77));
        assert!(
            received.verdict.is_err(),
            "{case}: {bytes} of {promised} bytes"
        );
        // A client that counts bytes must not find as many as were promised.
        assert!(
            (received.bytes.len() as u64) < promised,
            "{case}: {bytes} of {promised} bytes"
        );
        let valid = noise(received.bytes.len());
        case.shows(&received, &valid);
        case.is_over();
    }
    let case = Case::new(way, CHUNK_BYTES).promising(promised);
    let received = case.receive(fails_after(promised, 77));
    assert!(
        received.verdict.is_err(),
        "{case}: failed after the last byte"
    );
    case.shows(&received, &noise(promised as usize - 1));
    case.is_over();
}

fn a_kept_promise_of_length_is_clean(way: &dyn WayOut) {
    for bytes in [0, 1, 1000, 5001] {
        let case = Case::new(way, CHUNK_BYTES).promising(bytes);
        let received = case.receive(noise_source(bytes, 77));
        assert!(received.verdict.is_ok(), "{case}: {:?}", received.verdict);
        assert!(received.bytes == noise(bytes as usize), "{case}");
        case.is_over();
    }
}

fn a_stopped_stream_is_not_whole(way: &dyn WayOut) {
    let case = Case::new(way, CHUNK_BYTES);
    let pool = case.pool.clone();
    let received = case.receive(Box::new(move |out| {
        out.write_slice(&noise(10_500))?;
        pool.abort_all();
        Ok(())
    }));
    assert!(
        received.verdict.is_err(),
        "{case}: a stopped stream passed for a file"
    );
    let valid = noise(received.bytes.len());
    case.shows(&received, &valid);
    case.is_over();
}

fn a_source_that_swallows_the_stop_sends_nothing_more(way: &dyn WayOut) {
    let case = Case::new(way, CHUNK_BYTES);
    let pool = case.pool.clone();
    let refusals = Arc::new(Mutex::new(Vec::new()));
    let swallowing = swallows_stop(100, Arc::clone(&refusals));
    let received = case.receive(Box::new(move |out| {
        out.write_slice(&noise(1500))?;
        pool.abort_all();
        swallowing(out)
    }));
    assert!(
        received.verdict.is_err(),
        "{case}: a stopped stream passed for a file"
    );
    assert!(
        received.bytes.len() <= 1500,
        "{case}: bytes from after the stop"
    );
    case.is_over();
    let refusals = refusals.lock().unwrap().clone();
    assert_eq!(refusals, [ErrorKind::ShutDown; 100], "{case}");
}

fn a_refused_stream_is_not_an_empty_file(way: &dyn WayOut) {
    let case = Case::new(way, CHUNK_BYTES);
    case.pool.refuse_new();
    let received = case.receive(writes(vec!["never run"]));
    assert!(
        received.verdict.is_err(),
        "{case}: a refusal passed for a file"
    );
    assert!(received.bytes.is_empty(), "{case}");
}

fn a_client_that_leaves_stops_the_source(way: &dyn WayOut) {
    let silent: fn() -> Source = || {
        Box::new(|out| {
            out.write_slice(&noise(1))?;
            out.flush_now()?;
            while !out.is_stopped() {
                thread::sleep(Duration::from_millis(1));
            }
            Err(io::Error::other(FAILURE).into())
        })
    };
    let cases: [(u64, fn() -> Source); 3] =
        [(1, silent), (1, || endless(1)), (100_000, || endless(700))];
    for (bytes, source) in cases {
        let what = format!("{}: from the client's leaving to the source", way.name());
        promptly(&what, TOLD_WITHIN, || {
            let case = Case::new(way, CHUNK_BYTES);
            let probe = Probe::new();
            let left = way.leave_after(case.options(), probe.wrap(source()), bytes);
            let (told, _) = probe.wait_told();
            probe.wait_ended();
            case.is_over();
            told.saturating_duration_since(left)
        });
    }
}

/// One stream in a pool of its own, so that anything it leaves behind can be detected.
struct Case<'a> {
    way: &'a dyn WayOut,
    pool: StreamPool,
    chunk_bytes: usize,
    length: Option<u64>,
}

impl<'a> Case<'a> {
    fn new(way: &'a dyn WayOut, chunk_bytes: usize) -> Self {
        Self {
            way,
            pool: StreamPool::new(PoolOptions::default()),
            chunk_bytes,
            length: None,
        }
    }

    fn promising(mut self, length: u64) -> Self {
        self.length = Some(length);
        self
    }

    fn options(&self) -> StreamOptions {
        StreamOptions::new()
            .pool(&self.pool)
            .chunk_bytes(self.chunk_bytes)
            .length(self.length)
    }

    fn receive(&self, source: Source) -> Received {
        self.way.receive(self.options(), source)
    }

    fn shows(&self, received: &Received, bytes: &[u8]) {
        if self.way.shows_failed_bytes() {
            assert!(
                received.bytes == bytes,
                "{self}: {} bytes before the failure, {} expected, or other ones",
                received.bytes.len(),
                bytes.len()
            );
        }
    }

    /// The place in the pool was returned.
    fn is_over(&self) {
        let what = format!("{self}: the end of the stream");
        eventually(&what, || {
            self.pool.active() == 0 && self.pool.streams().is_empty()
        });
    }
}

impl std::fmt::Display for Case<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} (chunks of {} bytes)",
            self.way.name(),
            self.chunk_bytes
        )?;
        self.length
            .map_or(Ok(()), |length| write!(f, " promising {length} bytes"))
    }
}
