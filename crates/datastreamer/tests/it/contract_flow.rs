//! c05 to c13: while bytes flow.

use std::{
    io::{self, Write},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::channel,
    },
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use datastreamer::push::DataStreamer;
use datastreamer::{
    ErrorKind, Outcome, Record, StreamHandle, StreamOptions, StreamWriter, stream_out,
};
use datastreamer_testkit::{
    BoxError, Call, EventLoop, Log, NoiseCheck, Probe, Recorder, Source, endless, eventually,
    noise, noise_source, promptly, within, writes,
};

/// What "at once" means: the original looks every 100 ms. Wake-ups take microseconds; the rest is
/// for the other tests, which run beside on the same cores.
const AT_ONCE: Duration = Duration::from_millis(30);

/// Long enough for anything that wrongly happens to happen.
const A_WHILE: Duration = Duration::from_millis(60);

/// Four chunks of 1000 bytes.
fn small() -> StreamOptions {
    StreamOptions::new().chunk_bytes(1000).buffer_bytes(4000)
}

/// Starts a stream into a recorder on an event loop of its own.
fn push(options: StreamOptions, source: Source, consumer: Recorder) -> (EventLoop, StreamHandle) {
    let context = EventLoop::start();
    let delivery = DataStreamer::new(source, consumer).options(options).start();
    let handle = delivery.unwrap().run_in(context.call_later());
    (context, handle)
}

fn ended(handle: &StreamHandle) -> Record {
    let handle = handle.clone();
    within("the end of the stream", move || handle.wait())
}

fn grows(log: &Log) -> bool {
    let before = log.writes();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) {
        if log.writes() > before {
            return true;
        }
        thread::sleep(Duration::from_millis(1));
    }
    false
}

fn stands_still(log: &Log) -> bool {
    // What was on its way when the pause came may still arrive.
    thread::sleep(Duration::from_millis(20));
    let before = log.writes();
    thread::sleep(A_WHILE);
    log.writes() == before
}

/// Returns the sizes of all chunks.
fn chunk_sizes(options: StreamOptions, source: Source) -> Vec<usize> {
    let chunks = options.stream_out(source).into_iter();
    chunks.map(|chunk| chunk.unwrap().len()).collect()
}

// ---- pause, resume, stop ----

#[test]
fn c05_a_producer_starts_unpaused() {
    let (consumer, log) = Recorder::new();
    let (_context, handle) = push(small(), writes(vec!["abc"]), consumer);
    assert_eq!(ended(&handle).outcome, Some(Outcome::Complete));
    assert_eq!(log.bytes(), b"abc");
}

#[test]
fn c05_pause_and_resume_are_flags_not_counters() {
    let (consumer, log) = Recorder::new();
    let (_context, handle) = push(small(), endless(100), consumer);
    let producer = log.producer();
    log.wait_bytes(10_000);
    (0..3).for_each(|_| producer.pause_producing());
    assert!(stands_still(&log));
    producer.resume_producing();
    assert!(grows(&log), "three pauses took more than one resume");
    (0..5).for_each(|_| producer.resume_producing());
    producer.pause_producing();
    assert!(stands_still(&log), "resumes were saved up");
    producer.resume_producing();
    assert!(grows(&log));
    producer.stop_producing();
    ended(&handle);
}

#[test]
fn c05_resume_after_stop_does_not_revive() {
    let (consumer, log) = Recorder::new();
    let (_context, handle) = push(small(), endless(100), consumer);
    let producer = log.producer();
    log.wait_bytes(1);
    producer.stop_producing();
    producer.resume_producing();
    assert_eq!(ended(&handle).outcome, Some(Outcome::Cancelled));
    let before = log.calls();
    producer.resume_producing();
    producer.stop_producing();
    thread::sleep(A_WHILE);
    assert_eq!(log.calls(), before);
    let end = [Call::Unregister, Call::Abort(ErrorKind::Stopped)];
    assert_eq!(log.calls_but_writes()[2..], end);
}

#[test]
fn c06_pause_and_resume_may_come_from_any_threads_at_once() {
    let bytes = 3_000_000;
    let (consumer, log) = Recorder::new();
    let (context, handle) = push(small(), noise_source(bytes, 333), consumer);
    let over = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let (producer, over) = (log.producer(), Arc::clone(&over));
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    producer.pause_producing();
                    thread::yield_now();
                    producer.resume_producing();
                    thread::yield_now();
                }
                producer.resume_producing();
            })
        })
        .collect();
    let producer = log.producer();
    for _ in 0..100 {
        // From the event loop, too.
        let producer = Arc::clone(&producer);
        context.run(move || producer.pause_producing());
    }
    over.store(true, Ordering::Relaxed);
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    assert_eq!(ended(&handle).outcome, Some(Outcome::Complete));
    assert!(log.bytes() == noise(bytes as usize));
}

#[test]
fn c06_the_consumer_may_pause_from_inside_its_own_write() {
    let (consumer, log) = Recorder::new();
    let consumer = consumer.on_write(|log, _| {
        log.producer().pause_producing();
        Ok(())
    });
    let (_context, handle) = push(small(), noise_source(5000, 100), consumer);
    for write in 1..=5 {
        log.wait_bytes(write * 1000);
        thread::sleep(Duration::from_millis(10));
        assert_eq!(log.writes(), write, "written to while paused");
        log.producer().resume_producing();
    }
    assert_eq!(ended(&handle).outcome, Some(Outcome::Complete));
    assert_eq!(log.bytes(), noise(5000));
}

#[test]
fn c06_the_consumer_may_pause_and_resume_from_inside_its_own_write() {
    let (consumer, log) = Recorder::new();
    let consumer = consumer.on_write(|log, _| {
        log.producer().pause_producing();
        log.producer().resume_producing();
        Ok(())
    });
    let (_context, handle) = push(small(), noise_source(50_000, 100), consumer);
    assert_eq!(ended(&handle).outcome, Some(Outcome::Complete));
    assert_eq!(log.bytes(), noise(50_000));
}

#[test]
fn c06_the_consumer_may_stop_from_inside_its_own_write() {
    let (consumer, log) = Recorder::new();
    let consumer = consumer.on_write(|log, index| {
        if index == 3 {
            log.producer().stop_producing();
        }
        Ok(())
    });
    let probe = Probe::new();
    let (_context, handle) = push(small(), probe.wrap(endless(100)), consumer);
    assert_eq!(ended(&handle).outcome, Some(Outcome::Cancelled));
    probe.wait_ended();
    let end = [Call::Unregister, Call::Abort(ErrorKind::Stopped)];
    assert_eq!(log.calls_but_writes()[2..], end);
    let bytes = log.bytes();
    assert!(bytes == noise(bytes.len()));
}

// ---- back-pressure ----

/// Writes noise for ever and notes when each write passed.
fn noting_passes(passed: Arc<Mutex<Vec<Instant>>>) -> Source {
    Box::new(move |out| {
        loop {
            out.write_slice(&[7; 1000])?;
            passed.lock().unwrap().push(Instant::now());
        }
    })
}

#[test]
fn c07_a_paused_consumer_blocks_the_source_and_resume_wakes_it_at_once() {
    let passed = Arc::new(Mutex::new(Vec::new()));
    let (consumer, log) = Recorder::new();
    let (_context, handle) = push(small(), noting_passes(Arc::clone(&passed)), consumer);
    let producer = log.producer();
    let mut delays = Vec::new();
    for round in 1..=9 {
        log.wait_bytes(round * 1000);
        producer.pause_producing();
        thread::sleep(Duration::from_millis(20));
        let before = passed.lock().unwrap().len();
        thread::sleep(Duration::from_millis(20));
        assert_eq!(
            passed.lock().unwrap().len(),
            before,
            "a write passed while paused"
        );
        let resumed = Instant::now();
        producer.resume_producing();
        eventually("the next write", || passed.lock().unwrap().len() > before);
        delays.push(passed.lock().unwrap()[before] - resumed);
    }
    delays.sort();
    assert!(
        delays[4] < AT_ONCE,
        "from resume to the next write: {delays:?}"
    );
    producer.stop_producing();
    ended(&handle);
}

#[test]
fn c07_stop_wakes_a_blocked_source_at_once() {
    let mut delays = Vec::new();
    for _ in 0..9 {
        let (consumer, log) = Recorder::new();
        let consumer = consumer.on_register(|producer| producer.pause_producing());
        let probe = Probe::new();
        let (_context, handle) = push(small(), probe.wrap(endless(100)), consumer);
        eventually("a full buffer", || handle.record().bytes_written >= 3000);
        thread::sleep(Duration::from_millis(5));
        let stopped = Instant::now();
        log.producer().stop_producing();
        delays.push(probe.wait_ended() - stopped);
        ended(&handle);
    }
    delays.sort();
    assert!(
        delays[4] < AT_ONCE,
        "from stop to the source's end: {delays:?}"
    );
}

#[test]
fn c07_a_slow_reader_blocks_the_source_and_wakes_it_when_the_buffer_is_nearly_empty() {
    let passed = Arc::new(Mutex::new(Vec::new()));
    let mut chunks = small().stream_out(noting_passes(Arc::clone(&passed)));
    let passes = || passed.lock().unwrap().len();
    eventually("a full buffer", || passes() == 3);
    for round in 1..=20 {
        thread::sleep(Duration::from_millis(2));
        // Two of at most three queued chunks are taken: one is left, at which the source is woken.
        for _ in 0..2 {
            drop(chunks.next_chunk_blocking().unwrap().unwrap());
        }
        let taken = 2 * round;
        eventually("the next writes", || passes() >= taken + 2);
        assert!(passes() <= taken + 3, "the source ran ahead");
    }
}

#[test]
fn c07_a_consumer_that_keeps_its_chunks_and_asks_for_more_gets_more() {
    let bytes = 1_000_000;
    let chunks = small().stream_out(noise_source(bytes, 333));
    let kept: Vec<Bytes> = within("all chunks", move || {
        chunks.into_iter().map(Result::unwrap).collect()
    });
    let mut check = NoiseCheck::default();
    kept.iter().for_each(|chunk| check.feed(chunk));
    assert_eq!(check.bytes(), bytes);

    let (consumer, log) = Recorder::new();
    let (_context, handle) = push(small(), noise_source(bytes, 333), consumer.keeps_chunks());
    assert_eq!(ended(&handle).outcome, Some(Outcome::Complete));
    assert!(log.bytes() == noise(bytes as usize));
}

// ---- sizes: c08 is in memory.rs ----

#[test]
fn c09_five_byte_writes_cost_a_buffer_copy_and_no_more() {
    let bytes = 2_000_000;
    let chunks = StreamOptions::new().stream_out(noise_source(bytes, 5));
    let handle = chunks.handle();
    assert!(chunks.read_to_vec().unwrap() == noise(bytes as usize));
    // Not one message per write: only whole chunks travelled.
    let chunks = bytes.div_ceil(datastreamer::DEFAULT_CHUNK_BYTES as u64);
    let flushed = handle.record().duration.as_millis() as u64 / 125;
    assert!(handle.record().chunks_delivered <= chunks + flushed);
}

#[test]
fn c09_a_five_byte_write_takes_no_longer_than_a_few_copies_into_a_vector() {
    const WRITES: u32 = 200_000;
    let piece = std::hint::black_box(*b"12345");
    let mut vector = Vec::with_capacity(WRITES as usize * piece.len());
    let start = Instant::now();
    for _ in 0..WRITES {
        std::hint::black_box(&mut vector).extend_from_slice(&piece);
    }
    let copy = start.elapsed() / WRITES;
    // Unoptimised, a write takes some 4 such copies, and with a message to the reader 30 and more.
    promptly("a write of 5 bytes", 9 * copy, || {
        // Room for all: what is measured is the writing, not the wait for the reader.
        let options = StreamOptions::new().buffer_bytes(2 * vector.len());
        let (tell, told) = channel();
        let chunks = options.stream_out(move |out| -> Result<(), BoxError> {
            let start = Instant::now();
            for _ in 0..WRITES {
                out.write_slice(&piece)?;
            }
            Ok(tell.send(start.elapsed() / WRITES)?)
        });
        assert!(chunks.read_to_vec().unwrap() == vector);
        told.recv().unwrap()
    });
}

/// The time of one write of so many bytes, from the start to the last chunk.
fn time_of_one_write(bytes: usize, owned: bool) -> Duration {
    // Fresh zeroes: the system hands out one page for all of them, so this costs no memory.
    let data = Bytes::from(vec![0; bytes]);
    let start = Instant::now();
    let chunks = stream_out(move |out| {
        if owned {
            out.write_bytes(data)
        } else {
            out.write_slice(&data)
        }
    });
    let mut taken = 0;
    for chunk in chunks {
        taken += chunk.unwrap().len();
    }
    assert_eq!(taken, bytes);
    start.elapsed()
}

#[test]
fn c09_one_write_of_1_gb_takes_ten_times_as_long_as_one_of_100_mb() {
    for owned in [false, true] {
        let small = (0..3)
            .map(|_| time_of_one_write(100_000_000, owned))
            .min()
            .unwrap();
        let large = (0..3)
            .map(|_| time_of_one_write(1_000_000_000, owned))
            .min()
            .unwrap();
        // Quadratic would be 100; below a few milliseconds there is only noise.
        let ratio = large.as_secs_f64() / small.as_secs_f64().max(0.005);
        assert!(
            ratio < 15.0,
            "owned: {owned}, {small:?} and {large:?}: {ratio:.1}"
        );
    }
}

#[test]
fn c09_an_owned_buffer_passes_through_without_a_copy() {
    let data = Bytes::from(noise(1_000_000));
    let (start, end) = (data.as_ptr() as usize, data.as_ptr() as usize + data.len());
    let chunks = stream_out({
        let data = data.clone();
        move |out| {
            out.write_slice(b"before")?;
            out.write_bytes(data)?;
            out.write_slice(b"after")
        }
    });
    let chunks: Vec<Bytes> = chunks.into_iter().map(Result::unwrap).collect();
    let mut expected = start;
    for chunk in &chunks[1..chunks.len() - 1] {
        assert_eq!(chunk.as_ptr() as usize, expected, "a chunk was copied");
        assert!(chunk.len() <= datastreamer::DEFAULT_CHUNK_BYTES);
        expected += chunk.len();
    }
    assert_eq!(expected, end);
    assert_eq!(chunks[0], "before");
    assert_eq!(chunks[chunks.len() - 1], "after");
}

#[test]
fn c09_a_small_owned_buffer_is_gathered_like_any_write() {
    let source: Source = Box::new(|out| {
        for _ in 0..10 {
            out.write_bytes(Bytes::from_static(b"12345"))?;
        }
        Ok(())
    });
    assert_eq!(chunk_sizes(small().chunk_bytes(20), source), [20, 20, 10]);
}

#[test]
fn c10_bytes_are_regrouped_into_chunks_and_the_last_is_partial() {
    for chunk_bytes in [1, 2, 3, 7, 64, 1000, 4096] {
        for write_bytes in [1, 2, 5, 64, 999, 1000, 1001, 10_000] {
            for bytes in [1, 63, 64, 65, 5000] {
                let options = StreamOptions::new()
                    .chunk_bytes(chunk_bytes)
                    .flush_after(None);
                let sizes = chunk_sizes(options, noise_source(bytes as u64, write_bytes));
                let case = format!("{bytes} bytes, {write_bytes} a write, {chunk_bytes} a chunk");
                let (last, whole) = sizes.split_last().unwrap();
                assert!(
                    whole.iter().all(|size| *size == chunk_bytes),
                    "{case}: {sizes:?}"
                );
                assert_eq!(whole.len() * chunk_bytes + last, bytes, "{case}");
                assert!(*last <= chunk_bytes && *last > 0, "{case}: {sizes:?}");
            }
        }
    }
}

#[test]
fn c10_the_chunk_size_can_be_changed_while_streaming() {
    for (source, sizes) in [
        // Between chunks.
        (
            resizing(&[(8, 4), (8, 2), (4, 0)]),
            vec![4, 4, 2, 2, 2, 2, 1, 1, 1, 1],
        ),
        // Grown with a part in hand: the part goes on in the larger chunk.
        (resizing(&[(3, 4), (10, 8)]), vec![8, 5]),
        // Shrunk with a part in hand that still fits.
        (resizing(&[(2, 8), (5, 4)]), vec![4, 3]),
        // Shrunk with a part in hand that is a chunk, or several: never above the new size.
        (resizing(&[(4, 8), (5, 4)]), vec![4, 4, 1]),
        (resizing(&[(7, 8), (4, 2)]), vec![2, 2, 2, 2, 2, 1]),
        (resizing(&[(7, 8), (0, 3)]), vec![3, 3, 1]),
    ] {
        let options = StreamOptions::new().buffer_bytes(64).flush_after(None);
        assert_eq!(chunk_sizes(options, source), sizes);
    }
}

/// Sets a chunk size, then writes so many bytes, for each pair of `(bytes, chunk_bytes)`.
fn resizing(steps: &'static [(usize, usize)]) -> Source {
    Box::new(move |out| {
        for (bytes, chunk_bytes) in steps {
            out.set_chunk_bytes(*chunk_bytes);
            out.write_slice(&vec![7; *bytes])?;
        }
        Ok(())
    })
}

#[test]
fn c10_the_order_holds_over_a_change_of_chunk_size() {
    let source: Source = Box::new(|out| {
        let all = noise(100_000);
        for (index, piece) in all.chunks(1009).enumerate() {
            out.set_chunk_bytes([1, 10, 900, 3, 64][index % 5]);
            out.write_slice(piece)?;
        }
        Ok(())
    });
    let options = StreamOptions::new().buffer_bytes(4000).flush_after(None);
    assert!(options.stream_out(source).read_to_vec().unwrap() == noise(100_000));
}

#[test]
fn c10_owned_buffers_keep_to_a_changed_chunk_size() {
    let source: Source = Box::new(|out| {
        out.set_chunk_bytes(10_000);
        Ok(out.write_bytes(Bytes::from(vec![7; 25_000]))?)
    });
    assert_eq!(
        chunk_sizes(StreamOptions::new(), source),
        [10_000, 10_000, 5000]
    );
}

#[test]
fn c10_empty_writes_deliver_nothing() {
    let source: Source = Box::new(|out| {
        out.write_slice(b"")?;
        out.write_bytes(Bytes::new())?;
        out.flush_now()?;
        out.write_slice(b"abcd")?;
        out.write_slice(b"")?;
        out.flush_now()?;
        out.flush_now()?;
        Ok(out.write_bytes(Bytes::new())?)
    });
    assert_eq!(
        chunk_sizes(StreamOptions::new().chunk_bytes(4), source),
        [4]
    );
}

#[test]
fn c10_an_empty_stream_is_just_a_clean_finish() {
    let (consumer, log) = Recorder::new();
    let (_context, handle) = push(small(), writes::<&str>(vec![]), consumer);
    let record = ended(&handle);
    assert_eq!(record.outcome, Some(Outcome::Complete));
    assert_eq!((record.bytes_delivered, record.chunks_delivered), (0, 0));
    assert_eq!(log.calls()[2..], [Call::Unregister, Call::Finish]);
}

// ---- latency ----

#[test]
fn c11_written_bytes_arrive_within_the_delay_while_the_source_computes() {
    let flush_after = Duration::from_millis(200);
    promptly("from a write to its arrival", flush_after + AT_ONCE, || {
        let (written, writes) = channel();
        let (go_on, proceed) = channel::<()>();
        let source: Source = Box::new(move |out| {
            for piece in ["a few", " bytes", " a time"] {
                out.write_slice(piece.as_bytes())?;
                written.send(Instant::now())?;
                proceed.recv()?; // computes
            }
            Ok(())
        });
        let options = StreamOptions::new().flush_after(flush_after);
        let mut chunks = options.stream_out(source);
        let mut latest = Duration::ZERO;
        for piece in ["a few", " bytes", " a time"] {
            assert_eq!(chunks.next_chunk_blocking().unwrap().unwrap(), piece);
            latest = latest.max(writes.recv().unwrap().elapsed());
            go_on.send(()).unwrap();
        }
        assert!(chunks.next_chunk_blocking().is_none());
        latest
    });
}

#[test]
fn c11_a_source_that_drips_is_not_held_back_either() {
    let flush_after = Duration::from_millis(100);
    promptly("from a write to its arrival", flush_after + AT_ONCE, || {
        let start = Instant::now();
        let source: Source = Box::new(move |out| {
            // Each write comes before the delay of the last is over.
            for _ in 0..100 {
                out.write_slice(&(start.elapsed().as_micros() as u64).to_le_bytes())?;
                thread::sleep(Duration::from_millis(5));
            }
            Ok(())
        });
        let options = StreamOptions::new().flush_after(flush_after);
        let mut latest = Duration::ZERO;
        for chunk in options.stream_out(source) {
            // The first write in a chunk has waited longest.
            let written = u64::from_le_bytes(chunk.unwrap()[..8].try_into().unwrap());
            latest = latest.max(start.elapsed() - Duration::from_micros(written));
        }
        latest
    });
}

#[test]
fn c11_flush_hands_over_what_there_is_now() {
    let (written, flushes) = channel();
    let (go_on, proceed) = channel::<()>();
    let source: Source = Box::new(move |out| {
        for _ in 0..5 {
            out.write_slice(b"now")?;
            written.send(Instant::now())?;
            out.flush()?;
            proceed.recv()?;
        }
        Ok(())
    });
    let mut chunks = StreamOptions::new().flush_after(None).stream_out(source);
    let mut delays = Vec::new();
    for _ in 0..5 {
        let chunk = chunks.next_chunk_blocking().unwrap().unwrap();
        assert_eq!(chunk, "now");
        delays.push(flushes.recv().unwrap().elapsed());
        go_on.send(()).unwrap();
    }
    delays.sort();
    assert!(delays[2] < AT_ONCE, "{delays:?}");
}

#[test]
fn c11_without_a_delay_bytes_wait_for_their_chunk_to_fill() {
    let (go_on, proceed) = channel::<()>();
    let source: Source = Box::new(move |out| {
        out.write_slice(b"12")?;
        proceed.recv()?;
        Ok(out.write_slice(b"34")?)
    });
    let options = StreamOptions::new().chunk_bytes(4).flush_after(None);
    let mut chunks = options.stream_out(source);
    thread::sleep(A_WHILE);
    assert!(chunks.try_next_chunk().is_pending());
    go_on.send(()).unwrap();
    assert_eq!(chunks.next_chunk_blocking().unwrap().unwrap(), "1234");
}

#[test]
fn c12_text_is_utf8() {
    let source = |out: &mut StreamWriter| -> io::Result<()> {
        write!(out, "Größe {}", 3.5)?;
        writeln!(out, " µm, 星, 🔭")
    };
    // Chunks of three bytes cut characters in two, which must not matter.
    let all = StreamOptions::new()
        .chunk_bytes(3)
        .stream_out(source)
        .read_to_vec();
    assert_eq!(
        String::from_utf8(all.unwrap()).unwrap(),
        "Größe 3.5 µm, 星, 🔭\n"
    );
}

// ---- where calls happen ----

#[test]
fn c13_every_call_of_the_consumer_is_on_its_event_loop_and_the_source_is_not() {
    let (consumer, log) = Recorder::new();
    let (tell, told) = channel();
    let source: Source = Box::new(move |out| {
        tell.send(thread::current().id())?;
        for piece in noise(100_000).chunks(777) {
            out.write_slice(piece)?;
            if piece[0] == 0 {
                out.flush()?;
            }
        }
        Ok(())
    });
    let context = EventLoop::start();
    let id = context.thread_id();
    // The registration, too, if the start is called from there.
    let call_later = context.call_later();
    let handle = context.run(move || {
        let streamer = DataStreamer::new(source, consumer).options(small());
        streamer.start().unwrap().run_in(call_later)
    });
    assert_eq!(ended(&handle).outcome, Some(Outcome::Complete));
    assert!(log.bytes() == noise(100_000));
    assert!(
        log.threads().iter().all(|thread| *thread == id),
        "called from elsewhere"
    );
    assert_ne!(told.recv().unwrap(), id, "the source ran on the event loop");
}

#[test]
fn c13_a_waiting_thread_makes_every_call_itself() {
    let (consumer, log) = Recorder::new();
    let streamer = DataStreamer::new(noise_source(50_000, 100), consumer).options(small());
    streamer.start().unwrap().wait();
    let own = thread::current().id();
    assert!(log.threads().iter().all(|thread| *thread == own));
}

#[test]
fn c13_a_source_that_is_faster_than_its_consumer_leaves_the_event_loop_its_turns() {
    let (consumer, log) = Recorder::new();
    // So slow that there is always a chunk for it.
    let consumer = consumer.on_write(|_, _| {
        thread::sleep(Duration::from_millis(1));
        Ok(())
    });
    let (context, handle) = push(small(), endless(100), consumer);
    log.wait_bytes(1);
    let start = Instant::now();
    for _ in 0..5 {
        context.run(|| ());
    }
    let took = start.elapsed();
    assert!(
        took < Duration::from_secs(1),
        "5 turns of others took {took:?}"
    );
    handle.stop(datastreamer::Error::new(ErrorKind::Stopped, "seen enough"));
    ended(&handle);
}

#[test]
fn c13_several_threads_write_through_one_streamer_each_write_whole() {
    let options = StreamOptions::new().chunk_bytes(100).buffer_bytes(400);
    let chunks = options.stream_out(|out| -> Result<(), BoxError> {
        let threads: Vec<_> = (0..4u8)
            .map(|name| {
                let out = out.clone();
                thread::spawn(move || {
                    for count in 0..150u16 {
                        // Also ones that are larger than the whole buffer, and owned ones.
                        let bytes = [5, 90, 250, 1000, 17_000][usize::from(count) % 5];
                        let mut record = vec![name; bytes];
                        record[1..3].copy_from_slice(&count.to_le_bytes());
                        record[3..5].copy_from_slice(&(bytes as u16).to_le_bytes());
                        if count % 2 == 0 {
                            out.write_slice(&record)?;
                        } else {
                            out.write_bytes(record.into())?;
                        }
                    }
                    Ok::<(), datastreamer::Error>(())
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap()?;
        }
        Ok(())
    });
    let all = within("all records", move || chunks.read_to_vec().unwrap());
    let mut rest = all.as_slice();
    let mut counts = [0u16; 4];
    while !rest.is_empty() {
        let name = rest[0];
        let count = u16::from_le_bytes([rest[1], rest[2]]);
        let bytes = usize::from(u16::from_le_bytes([rest[3], rest[4]]));
        assert!(
            rest[5..bytes].iter().all(|byte| *byte == name),
            "a write was cut in two"
        );
        assert_eq!(
            count,
            counts[usize::from(name)],
            "a thread's writes changed places"
        );
        counts[usize::from(name)] += 1;
        rest = &rest[bytes..];
    }
    assert_eq!(counts, [150; 4]);
}

#[test]
fn c13_the_calls_of_one_consumer_come_one_at_a_time() {
    let inside = Arc::new(AtomicU64::new(0));
    let (consumer, log) = Recorder::new();
    let consumer = consumer.on_write({
        let inside = Arc::clone(&inside);
        move |_, _| {
            assert_eq!(
                inside.fetch_add(1, Ordering::SeqCst),
                0,
                "two calls at once"
            );
            thread::yield_now();
            inside.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        }
    });
    // An "event loop" of many threads: each job gets its own.
    let streamer = DataStreamer::new(noise_source(200_000, 100), consumer).options(small());
    let handle = streamer
        .start()
        .unwrap()
        .run_in(|job| drop(thread::spawn(job)));
    assert_eq!(ended(&handle).outcome, Some(Outcome::Complete));
    assert!(log.bytes() == noise(200_000));
}

#[test]
fn a_reader_without_news_says_pending_and_does_not_block() {
    let (go_on, proceed) = channel::<()>();
    let source: Source = Box::new(move |_| Ok(proceed.recv()?));
    let mut chunks = stream_out(source);
    assert!(matches!(chunks.try_next_chunk(), Poll::Pending));
    go_on.send(()).unwrap();
    assert!(chunks.next_chunk_blocking().is_none());
    assert!(chunks.is_over());
    assert!(
        matches!(chunks.try_next_chunk(), Poll::Ready(None)),
        "the end is the end"
    );
}
