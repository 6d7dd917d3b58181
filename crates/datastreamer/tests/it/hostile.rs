//! What the code around a stream may do without harm: keep what it should drop, block where it should
//! not, run several things at once, ask for the absurd.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc::channel,
    },
    thread::{self, ThreadId},
    time::Duration,
};

use bytes::Bytes;
use datastreamer::push::{AlreadyRegistered, Consumer, DataStreamer, Producer};
use datastreamer::{Error, ErrorKind, Outcome, PoolOptions, StreamOptions, StreamPool, stream_out};
use datastreamer_testkit::{
    BoxError, endless, eventually, noise, noise_source, silent_until_stopped, within,
};

fn small() -> StreamOptions {
    StreamOptions::new().chunk_bytes(1000)
}

fn pool_of(max_active: usize) -> StreamPool {
    StreamPool::new(PoolOptions::new().max_active(max_active).max_waiting(0))
}

// ---- consumers that never come back ----

#[test]
fn c25_a_reader_that_is_kept_unpolled_after_a_stall_gives_its_place_back() {
    let stall = Duration::from_millis(80);
    for length in [None, Some(10_000_000)] {
        let pool = pool_of(1);
        let options = small().pool(&pool).consumer_stall(stall).length(length);
        let mut kept = options.stream_out(noise_source(10_000_000, 1000));
        let handle = kept.handle();
        let held = kept.next_chunk_blocking().unwrap().unwrap();
        eventually("its place", || pool.active() == 0);
        let record = handle.wait();
        assert_eq!(record.outcome, Some(Outcome::ClientStalled));
        // The next stream runs although the reader is still there.
        let next = small().pool(&pool).stream_out(noise_source(5000, 1000));
        assert_eq!(next.read_to_vec().unwrap(), noise(5000));
        // What was queued is gone, and the end is no clean one.
        let error = kept.next_chunk_blocking().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConsumerStalled);
        assert_eq!(held, noise(1000));
        drop(kept);
        assert_eq!(handle.record().outcome, Some(Outcome::ClientStalled));
    }
}

#[test]
fn c25_a_reader_that_is_kept_unpolled_behind_the_end_of_its_source_gives_its_place_back() {
    let pool = pool_of(1);
    let options = small()
        .pool(&pool)
        .consumer_stall(Duration::from_millis(80));
    let kept = options.stream_out(noise_source(3000, 1000));
    eventually("its place", || pool.active() == 0);
    assert_eq!(kept.handle().record().outcome, Some(Outcome::ClientStalled));
    assert!(kept.read_to_vec().is_err());
}

// ---- handles that are kept ----

#[test]
fn c08_the_reserve_comes_back_although_handles_are_kept() {
    let pool = StreamPool::new(PoolOptions::new().reserve_bytes(100_000));
    let run = || {
        let options = small()
            .pool(&pool)
            .buffer_bytes(4000)
            .fast_buffer_bytes(100_000);
        let chunks = options.stream_out(noise_source(20_000_000, 1000));
        let handle = chunks.handle();
        let mut deepest = 0;
        for chunk in chunks {
            chunk.unwrap();
            let record = handle.record();
            deepest = deepest.max(record.bytes_written - record.bytes_delivered);
        }
        (handle, deepest)
    };
    let mut kept = Vec::new();
    for number in 0..10 {
        let (handle, deepest) = run();
        kept.push(handle);
        assert!(
            deepest > 4000,
            "stream {number} got no deeper buffer: {deepest}"
        );
    }
}

#[test]
fn c17_a_callback_whose_guard_was_dropped_does_not_run_and_is_not_kept() {
    let ran = Arc::new(Mutex::new(Vec::new()));
    let noting = Arc::clone(&ran);
    let held = Arc::new(());
    let holding = Arc::clone(&held);
    let (ready, is_ready) = channel();
    let chunks = stream_out(move |out| -> Result<(), BoxError> {
        let note = |name: &'static str| {
            let (ran, held) = (Arc::clone(&noting), Arc::clone(&holding));
            move |_: &Error| {
                let _held = &held;
                ran.lock().unwrap().push(name);
            }
        };
        // One query after another, each with its cancellation.
        for _ in 0..1000 {
            let _cancels = out.on_stop(note("an earlier query"));
        }
        ready.send(Arc::strong_count(&holding))?;
        let _cancels = out.on_stop(note("this query"));
        out.on_stop(note("the connection")).keep();
        silent_until_stopped()(out)
    });
    assert_eq!(is_ready.recv().unwrap(), 2, "callbacks are kept");
    let handle = chunks.handle();
    drop(chunks);
    handle.wait();
    eventually("the callbacks", || ran.lock().unwrap().len() == 2);
    thread::sleep(Duration::from_millis(20));
    assert_eq!(*ran.lock().unwrap(), ["this query", "the connection"]);
}

// ---- foreign errors ----

#[test]
fn c20_only_its_own_stop_decides_how_a_stream_ends() {
    for kind in [
        ErrorKind::Busy,
        ErrorKind::HangUp,
        ErrorKind::Stopped,
        ErrorKind::ConsumerStalled,
        ErrorKind::ShutDown,
    ] {
        // The source reads another stream, and passes on how that one has failed.
        let foreign = move || io::Error::from(Error::new(kind, "of another stream"));
        let chunks = stream_out(move |out| -> io::Result<()> {
            out.write_slice(b"valid")?;
            Err(foreign())
        });
        let handle = chunks.handle();
        let mut received = Vec::new();
        let mut failure = None;
        for chunk in chunks {
            match chunk {
                Ok(chunk) => received.extend_from_slice(&chunk),
                Err(error) => failure = Some(error),
            }
        }
        assert_eq!(received, b"valid", "{kind:?}");
        assert_eq!(failure.unwrap().kind(), ErrorKind::SourceFailed, "{kind:?}");
        let record = handle.wait();
        assert_eq!(record.outcome, Some(Outcome::SourceError), "{kind:?}");
    }
}

#[test]
fn c16_a_source_that_passes_its_stop_on_ends_with_it() {
    let chunks = small().stream_out(endless(100));
    let handle = chunks.handle();
    handle.stop(Error::new(ErrorKind::Stopped, "enough"));
    assert!(chunks.read_to_vec().is_err());
    let error = handle.wait().error.unwrap();
    assert_eq!(error.to_string(), "the stream was stopped: enough");
}

#[cfg(feature = "anyhow")]
#[test]
fn the_first_error_behind_an_anyhow_error_is_found() {
    use anyhow::Context;
    #[derive(Debug)]
    struct NoSuchTable;
    impl std::fmt::Display for NoSuchTable {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("no such table")
        }
    }
    impl std::error::Error for NoSuchTable {}
    for with_context in [false, true] {
        let chunks = stream_out(move |_| -> anyhow::Result<()> {
            let failed = Err(NoSuchTable);
            match with_context {
                true => failed.context("while opening"),
                false => Ok(failed?),
            }
        });
        let error = chunks.read_to_vec().unwrap_err();
        let mut next: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        let mut found = false;
        while let Some(error) = next {
            found |= error.is::<NoSuchTable>();
            next = error.source();
        }
        assert!(found, "{error:?}");
        assert!(error.to_string().ends_with("no such table"), "{error}");
    }
}

// ---- values that block when they are dropped ----

/// How long the drop takes: far longer than what must not wait for it takes on a busy machine.
const SLOW_DROP: Duration = Duration::from_secs(2);
const NOT_HELD_UP: Duration = Duration::from_millis(1500);

/// Says on which thread it was dropped, after a while.
struct SlowDrop(std::sync::mpsc::Sender<ThreadId>);

impl Drop for SlowDrop {
    fn drop(&mut self) {
        thread::sleep(SLOW_DROP);
        let _nobody_listens = self.0.send(thread::current().id());
    }
}

#[test]
fn c30_a_source_that_never_runs_is_dropped_off_the_callers_thread() {
    let pool = pool_of(1);
    let active = pool.stream_out(silent_until_stopped());
    let (tell, told) = channel();
    let slow = SlowDrop(tell);
    let asked = std::time::Instant::now();
    let refused = pool.stream_out(move |_| drop(slow));
    let error = refused.read_to_vec().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(
        asked.elapsed() < NOT_HELD_UP,
        "the refusal waits for the drop"
    );
    assert_ne!(told.recv().unwrap(), thread::current().id());
    drop(active);
}

#[test]
fn c30_a_source_that_waits_for_too_long_does_not_hold_up_the_deadlines_of_others() {
    let pool = StreamPool::new(
        PoolOptions::new()
            .max_active(1)
            .queue_timeout(Duration::from_millis(50)),
    );
    let active = pool.stream_out(silent_until_stopped());
    let (tell, told) = channel();
    let slow: Vec<_> = (0..3).map(|_| SlowDrop(tell.clone())).collect();
    let late: Vec<_> = slow
        .into_iter()
        .map(|slow| pool.stream_out(move |_| drop(slow)))
        .collect();
    let began = std::time::Instant::now();
    for late in late {
        let error = late.read_to_vec().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Busy);
    }
    assert!(began.elapsed() < SLOW_DROP, "{:?}", began.elapsed());
    for _ in 0..3 {
        told.recv().unwrap();
    }
    drop(active);
}

#[test]
fn c30_a_callback_that_blocks_when_it_is_dropped_does_not_block_the_next_source() {
    let pool = StreamPool::new(PoolOptions::new().max_active(1));
    let (tell, told) = channel();
    let slow = SlowDrop(tell);
    let first = pool.stream_out(move |out| {
        out.on_stop(move |_| drop(slow)).keep();
        out.write_slice(b"first")
    });
    let began = std::time::Instant::now();
    let second = pool.stream_out(|out| out.write_slice(b"second"));
    assert_eq!(first.read_to_vec().unwrap(), b"first");
    assert_eq!(second.read_to_vec().unwrap(), b"second");
    assert!(began.elapsed() < NOT_HELD_UP, "{:?}", began.elapsed());
    told.recv().unwrap();
}

// ---- consumers that do more than write ----

type Job = Box<dyn FnOnce() + Send>;

/// Runs the loop's other jobs from inside its own write, as a GUI does that shows a dialogue.
struct Reentrant {
    jobs: Arc<Mutex<VecDeque<Job>>>,
    received: Arc<Mutex<Vec<u8>>>,
    producer: Option<Arc<dyn Producer>>,
    depth: Arc<AtomicUsize>,
}

impl Consumer for Reentrant {
    fn register_producer(&mut self, producer: Arc<dyn Producer>) -> Result<(), AlreadyRegistered> {
        self.producer = Some(producer);
        Ok(())
    }

    fn unregister_producer(&mut self) {
        self.producer = None;
    }

    fn write(&mut self, chunk: Bytes) -> io::Result<()> {
        assert_eq!(
            self.depth.fetch_add(1, Ordering::SeqCst),
            0,
            "one call at a time"
        );
        self.received.lock().unwrap().extend_from_slice(&chunk);
        if let Some(producer) = &self.producer {
            producer.pause_producing();
            producer.resume_producing();
        }
        thread::sleep(Duration::from_micros(200));
        loop {
            let job = self.jobs.lock().unwrap().pop_front();
            match job {
                Some(job) => job(),
                None => break,
            }
        }
        self.depth.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.received.lock().unwrap().extend_from_slice(b"END");
        Ok(())
    }

    fn abort(&mut self, _: &Error) {}
}

#[test]
fn c13_a_consumer_may_run_its_loops_other_jobs_from_inside_its_write() {
    let jobs = Arc::new(Mutex::new(VecDeque::<Job>::new()));
    let received = Arc::new(Mutex::new(Vec::new()));
    let consumer = Reentrant {
        jobs: Arc::clone(&jobs),
        received: Arc::clone(&received),
        producer: None,
        depth: Arc::default(),
    };
    let later = Arc::clone(&jobs);
    let source = |out: &mut datastreamer::StreamWriter| -> Result<(), BoxError> {
        for piece in noise(30_000).chunks(500) {
            out.write_slice(piece)?;
            thread::sleep(Duration::from_micros(100));
        }
        Ok(())
    };
    let streamer = DataStreamer::new(source, consumer).options(small());
    let handle = streamer
        .start()
        .unwrap()
        .run_in(move |job| later.lock().unwrap().push_back(job));
    within("the end", move || {
        while handle.record().outcome.is_none() {
            let job = jobs.lock().unwrap().pop_front();
            job.into_iter().for_each(|job| job());
            thread::sleep(Duration::from_micros(50));
        }
    });
    let received = received.lock().unwrap();
    assert!(received[..30_000] == noise(30_000));
    assert_eq!(&received[30_000..], b"END");
}

/// Panics in each call.
struct Panicking;

impl Consumer for Panicking {
    fn register_producer(&mut self, _: Arc<dyn Producer>) -> Result<(), AlreadyRegistered> {
        Ok(())
    }

    fn unregister_producer(&mut self) {
        std::panic::resume_unwind(Box::new("in unregister"));
    }

    fn write(&mut self, _: Bytes) -> io::Result<()> {
        std::panic::resume_unwind(Box::new("in write"));
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn abort(&mut self, _: &Error) {
        std::panic::resume_unwind(Box::new("in abort"));
    }
}

#[test]
fn c18_a_consumer_that_panics_in_every_call_ends_its_delivery_and_not_the_process() {
    let streamer = DataStreamer::new(endless(100), Panicking).options(small());
    let delivery = streamer.start().unwrap();
    let handle = delivery.handle();
    let panicked = thread::spawn(move || delivery.wait()).join();
    assert!(panicked.is_err());
    assert_eq!(handle.wait().outcome, Some(Outcome::Cancelled));
}

// ---- absurd sizes ----

#[test]
fn absurd_sizes_are_bounded() {
    for options in [
        StreamOptions::new().chunk_bytes(usize::MAX),
        StreamOptions::new().buffer_bytes(usize::MAX),
        StreamOptions::new()
            .buffer_bytes(usize::MAX)
            .chunk_bytes(usize::MAX),
        StreamOptions::new().fast_buffer_bytes(usize::MAX),
    ] {
        let chunks = options.stream_out(|out| {
            out.write_slice(b"a")?;
            out.set_chunk_bytes(usize::MAX);
            out.write_slice(b"b")?;
            out.set_chunk_bytes(0);
            out.write_slice(b"cd")
        });
        assert_eq!(chunks.read_to_vec().unwrap(), b"abcd");
    }
}

// ---- reading again behind a failure ----

#[cfg(feature = "tokio")]
#[tokio::test]
async fn a_byte_wise_reader_gets_the_failure_at_every_later_read() {
    use tokio::io::AsyncReadExt;
    let mut chunks = stream_out(|out| -> Result<(), BoxError> {
        out.write_slice(b"valid")?;
        Err("row 7".into())
    });
    let mut all = Vec::new();
    for _ in 0..3 {
        let error = chunks.read_to_end(&mut all).await.unwrap_err();
        assert_eq!(
            Error::find_in(&error).map(Error::kind),
            Some(ErrorKind::SourceFailed)
        );
    }
    assert_eq!(all, b"valid");
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn a_look_at_the_beginning_loses_nothing() {
    for bytes in [0, 1, 1000, 5000] {
        for length in [None, Some(bytes as u64)] {
            let options = small().length(length);
            let chunks = options.stream_out(noise_source(bytes as u64, 77));
            let handle = chunks.handle();
            let ready = chunks.ready().await.unwrap();
            assert_eq!(ready.bytes_left(), length);
            let mut all = Vec::new();
            ready.write_to_async(&mut all).await.unwrap();
            assert_eq!(all, noise(bytes));
            assert_eq!(handle.ended().await.outcome, Some(Outcome::Complete));
        }
    }
    let chunks = stream_out(|_| Err::<(), BoxError>("no such table".into()));
    assert_eq!(
        chunks.ready().await.unwrap_err().kind(),
        ErrorKind::SourceFailed
    );
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn a_delivery_gives_its_consumer_back_to_async_code() {
    use datastreamer::push::WriteConsumer;
    let streamer = DataStreamer::new(noise_source(5000, 100), WriteConsumer::new(Vec::new()));
    let (record, consumer) = streamer.start().unwrap().deliver().await;
    assert_eq!(record.outcome, Some(Outcome::Complete));
    assert_eq!(consumer.into_complete().unwrap(), noise(5000));
}
