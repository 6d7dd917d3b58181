//! c25 and c26: deadlines and records. c24 is in pool.rs.

use std::{
    collections::HashSet,
    io,
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant, SystemTime},
};

use datastreamer::push::DataStreamer;
use datastreamer::{
    BlockedOn, ChunkReader, Error, ErrorKind, Outcome, PoolOptions, Record, StreamHandle,
    StreamOptions, StreamPool, stream_out,
};
use datastreamer_testkit::{
    BoxError, Call, EventLoop, Probe, Recorder, Source, endless, eventually, fails_after, noise,
    noise_source, panics_after, promptly, silent_until_stopped, within, writes,
};

/// A deadline that is short for a test and long beside what a loaded machine does to threads.
const STALL: Duration = Duration::from_millis(400);

/// By how much a deadline may be late.
const LATE: Duration = Duration::from_millis(200);

fn small() -> StreamOptions {
    StreamOptions::new().chunk_bytes(1000).buffer_bytes(4000)
}

fn ended(handle: &StreamHandle) -> Record {
    let handle = handle.clone();
    within("the end of the stream", move || handle.wait())
}

fn last_error(chunks: ChunkReader) -> Error {
    within("the end of the stream", || chunks.read_to_vec()).unwrap_err()
}

/// Takes a chunk every so often, for so long; returns how the stream ended, if it did.
fn sip(chunks: &mut ChunkReader, every: Duration, for_long: Duration) -> Option<Error> {
    let start = Instant::now();
    while start.elapsed() < for_long {
        if let Err(error) = chunks.next_chunk_blocking()? {
            return Some(error);
        }
        thread::sleep(every);
    }
    None
}

// ---- c25: the consumer ----

#[test]
fn c25_a_consumer_that_takes_nothing_is_dropped_and_the_source_told() {
    promptly("from the last chunk to the drop", STALL + LATE, || {
        let probe = Probe::new();
        let options = small().consumer_stall(STALL);
        let mut chunks = options.stream_out(probe.wrap(endless(100)));
        chunks.next_chunk_blocking().unwrap().unwrap();
        let stalled = Instant::now();
        let (told, why) = probe.wait_told();
        assert_eq!(why.kind(), ErrorKind::ConsumerStalled);
        let delay = told - stalled;
        assert!(
            delay >= STALL - Duration::from_millis(5),
            "too early: {delay:?}"
        );
        probe.wait_ended();
        let record = chunks.handle().record();
        assert_eq!(record.outcome, Some(Outcome::ClientStalled));
        assert_eq!(last_error(chunks).kind(), ErrorKind::ConsumerStalled);
        delay
    });
}

#[test]
fn c25_a_paused_push_consumer_stalls_too() {
    let (consumer, log) = Recorder::new();
    let consumer = consumer.on_register(|producer| producer.pause_producing());
    let context = EventLoop::start();
    let streamer = DataStreamer::new(endless(100), consumer).options(small().consumer_stall(STALL));
    let handle = streamer.start().unwrap().run_in(context.call_later());
    assert_eq!(ended(&handle).outcome, Some(Outcome::ClientStalled));
    // The stream does not wait for a consumer that has stalled, which is told in its event loop.
    eventually("the consumer is told", || log.calls_but_writes().len() >= 4);
    let end = [Call::Unregister, Call::Abort(ErrorKind::ConsumerStalled)];
    assert_eq!(log.calls_but_writes()[2..], end);
}

#[test]
fn c25_a_consumer_that_pauses_with_nothing_queued_stalls_too() {
    let asks_in_vain: [(&str, Source, usize); 2] = [
        // It holds all that the buffer may hold, so the source waits.
        ("with its hands full", endless(100), 3),
        ("before the end", writes(vec!["small"]), 0),
    ];
    for (what, source, pauses_at) in asks_in_vain {
        let (consumer, _log) = Recorder::new();
        let consumer = consumer.keeps_chunks().on_write(move |log, index| {
            if index == pauses_at {
                log.producer().pause_producing();
            }
            Ok(())
        });
        let context = EventLoop::start();
        let streamer = DataStreamer::new(source, consumer).options(small().consumer_stall(STALL));
        let handle = streamer.start().unwrap().run_in(context.call_later());
        assert_eq!(
            ended(&handle).outcome,
            Some(Outcome::ClientStalled),
            "{what}"
        );
    }
}

#[test]
fn c25_a_consumer_that_is_stuck_in_its_write_stalls_too() {
    let (go_on, proceed) = channel::<()>();
    let (consumer, _log) = Recorder::new();
    let consumer = consumer.on_write(move |_, _| {
        proceed.recv().ok();
        Ok(())
    });
    let probe = Probe::new();
    let context = EventLoop::start();
    let streamer = DataStreamer::new(probe.wrap(endless(100)), consumer);
    let delivery = streamer
        .options(small().consumer_stall(STALL))
        .start()
        .unwrap();
    let handle = delivery.run_in(context.call_later());
    assert_eq!(probe.wait_told().1.kind(), ErrorKind::ConsumerStalled);
    probe.wait_ended();
    drop(go_on);
    assert_eq!(ended(&handle).outcome, Some(Outcome::ClientStalled));
}

#[test]
fn c25_a_consumer_that_never_fetches_the_end_stalls_too() {
    let chunks = small()
        .consumer_stall(STALL)
        .stream_out(writes(vec!["small"]));
    let handle = chunks.handle();
    eventually("the verdict", || handle.record().outcome.is_some());
    assert_eq!(handle.record().outcome, Some(Outcome::ClientStalled));
    assert_eq!(last_error(chunks).kind(), ErrorKind::ConsumerStalled);
}

#[test]
fn c25_deadlines_are_of_progress_not_of_duration() {
    let stall = Duration::from_secs(1);
    let mut chunks = small().consumer_stall(stall).stream_out(endless(100));
    let end = sip(&mut chunks, stall / 50, 2 * stall);
    assert!(
        end.is_none(),
        "a slow but steady consumer was dropped: {end:?}"
    );
    // A source that is slow does not make the consumer late.
    let slow: Source = Box::new(|out| {
        for _ in 0..4 {
            thread::sleep(STALL);
            out.write_slice(b"x")?;
            out.flush_now()?;
        }
        Ok(())
    });
    let chunks = small().consumer_stall(STALL / 2).stream_out(slow);
    assert_eq!(within("the end", || chunks.read_to_vec()).unwrap(), b"xxxx");
}

#[test]
fn c25_a_consumer_that_gets_on_with_one_large_chunk_has_not_stalled() {
    // Six naps for one chunk are more than the deadline, each of them is less.
    let stall = Duration::from_secs(1);
    for (says_so, outcome) in [(true, None), (false, Some(Outcome::ClientStalled))] {
        let mut chunks = small().consumer_stall(stall).stream_out(endless(100));
        let handle = chunks.handle();
        let _slowly_sent = chunks.next_chunk_blocking().unwrap().unwrap();
        for _ in 0..6 {
            thread::sleep(stall / 4);
            if says_so {
                handle.note_progress();
            }
        }
        assert_eq!(handle.record().outcome, outcome);
    }
}

#[test]
fn c25_a_consumer_below_the_minimum_rate_is_dropped() {
    // 1000 bytes every 50 ms are 20,000 B/s or less.
    let sips = |minimum| {
        let options = small().consumer_stall(STALL).min_bytes_per_second(minimum);
        let mut chunks = options.stream_out(endless(100));
        sip(&mut chunks, Duration::from_millis(50), 4 * STALL + LATE)
    };
    let error = sips(30_000).unwrap();
    assert_eq!(error.kind(), ErrorKind::ConsumerStalled);
    assert!(
        error.to_string().ends_with("B/s are below 30000 B/s"),
        "{error}"
    );
    let end = sips(500);
    assert!(
        end.is_none(),
        "a consumer above the minimum was dropped: {end:?}"
    );
}

#[test]
fn c25_the_minimum_rate_is_only_asked_for_while_the_source_waits() {
    let slow: Source = Box::new(|out| {
        for _ in 0..20 {
            out.write_slice(b"x")?;
            out.flush_now()?;
            thread::sleep(Duration::from_millis(30));
        }
        Ok(())
    });
    let options = small()
        .consumer_stall(STALL)
        .min_bytes_per_second(1_000_000);
    let chunks = options.stream_out(slow);
    assert_eq!(
        within("the end", || chunks.read_to_vec()).unwrap(),
        [b'x'; 20]
    );
}

// ---- c25: the source ----

#[test]
fn c25_a_source_that_writes_nothing_is_stopped() {
    promptly("from the start to the stop", STALL + LATE, || {
        let probe = Probe::new();
        let asked = Instant::now();
        let options = small().source_stall(STALL);
        let error = last_error(options.stream_out(probe.wrap(silent_until_stopped())));
        let delay = asked.elapsed();
        assert_eq!(error.kind(), ErrorKind::SourceStalled);
        assert_eq!(error.outcome(), Outcome::SourceStalled);
        assert!(delay >= STALL, "too early: {delay:?}");
        assert_eq!(probe.wait_told().1.kind(), ErrorKind::SourceStalled);
        probe.wait_ended();
        delay
    });
}

#[test]
fn c25_a_source_that_drips_has_not_stalled() {
    let stall = Duration::from_secs(1);
    let streams = [Some(Duration::from_millis(20)), None].map(|flush_after| {
        let drips: Source = Box::new(move |out| {
            for _ in 0..40 {
                out.write_slice(b"x")?;
                thread::sleep(stall / 25);
            }
            Ok(())
        });
        let options = small().source_stall(stall).flush_after(flush_after);
        options.stream_out(drips)
    });
    for chunks in streams {
        let all = within("the end", || chunks.read_to_vec());
        assert_eq!(all.unwrap(), [b'x'; 40]);
    }
}

#[test]
fn c25_a_source_that_waits_for_its_consumer_has_not_stalled() {
    let mut chunks = small()
        .source_stall(STALL)
        .consumer_stall(None)
        .stream_out(noise_source(20_000, 100));
    chunks.next_chunk_blocking().unwrap().unwrap();
    thread::sleep(3 * STALL);
    let rest = within("the end", || chunks.read_to_vec()).unwrap();
    assert_eq!(rest, noise(20_000)[1000..]);
}

#[test]
fn c25_a_source_that_waits_for_a_paused_consumer_has_not_stalled() {
    let (consumer, log) = Recorder::new();
    let consumer = consumer.on_register(|producer| producer.pause_producing());
    let context = EventLoop::start();
    let options = small().source_stall(STALL).consumer_stall(None);
    let streamer = DataStreamer::new(noise_source(20_000, 100), consumer).options(options);
    let handle = streamer.start().unwrap().run_in(context.call_later());
    thread::sleep(3 * STALL);
    log.producer().resume_producing();
    assert_eq!(ended(&handle).outcome, Some(Outcome::Complete));
}

#[test]
fn c25_the_wait_for_a_place_is_nobodys_stall() {
    let pool = StreamPool::new(PoolOptions::new().max_active(1));
    let active = pool.stream_out(silent_until_stopped());
    let options = small()
        .pool(&pool)
        .source_stall(STALL)
        .consumer_stall(STALL);
    let waiting = options.stream_out(writes(vec!["served"]));
    let reading = thread::spawn(|| waiting.read_to_vec());
    thread::sleep(3 * STALL);
    drop(active);
    assert_eq!(
        within("its turn", || reading.join().unwrap()).unwrap(),
        b"served"
    );
}

#[test]
fn c25_who_was_waiting_for_whom_is_recorded() {
    // The source waits for the consumer.
    let mut chunks = small().stream_out(endless(100));
    let handle = chunks.handle();
    eventually("a full buffer", || {
        handle.record().blocked_on == BlockedOn::Consumer
    });
    chunks.next_chunk_blocking().unwrap().unwrap();
    drop(chunks);

    // The consumer waits for the source.
    let chunks = small().stream_out(silent_until_stopped());
    let handle = chunks.handle();
    let reading = thread::spawn(|| chunks.read_to_vec());
    eventually("a waiting consumer", || {
        handle.record().blocked_on == BlockedOn::Source
    });
    handle.stop(Error::new(ErrorKind::Stopped, "seen"));
    reading.join().unwrap().unwrap_err();
}

// ---- c26: records ----

#[test]
fn c26_the_record_of_a_whole_stream() {
    let before = SystemTime::now();
    let source: Source = Box::new(|out| {
        out.expect_rows(3);
        for row in 0..3 {
            out.write_slice(&noise(1500))?;
            out.add_rows(1);
            assert_eq!(out.context(), "/tables/gaia");
            assert!(row < 3);
        }
        Ok(())
    });
    let chunks = small()
        .length(4500)
        .context("/tables/gaia")
        .stream_out(source);
    let handle = chunks.handle();
    let id = handle.id();
    let sizes: Vec<usize> = chunks
        .into_iter()
        .map(|chunk| chunk.unwrap().len())
        .collect();
    assert_eq!(sizes.iter().sum::<usize>(), 4500);
    let record = ended(&handle);
    assert_eq!(record.id, id);
    assert_eq!(&*record.context, "/tables/gaia");
    assert_eq!((record.bytes_written, record.bytes_delivered), (4500, 4500));
    assert_eq!(record.bytes_expected, Some(4500));
    assert_eq!(record.chunks_delivered, sizes.len() as u64);
    assert_eq!((record.rows, record.rows_expected), (3, Some(3)));
    assert!(record.started >= before && record.started <= SystemTime::now());
    assert!(record.time_to_first_byte.unwrap() <= record.duration);
    assert_eq!(record.outcome, Some(Outcome::Complete));
    assert!(record.error.is_none());
    let later = record.duration;
    thread::sleep(Duration::from_millis(5));
    assert_eq!(
        handle.record().duration,
        later,
        "the clock of an ended stream runs"
    );
}

#[test]
fn c26_times_tell_who_was_slow() {
    let nap = Duration::from_millis(150);

    // A source that thinks before the first byte, and once more.
    promptly("off by", nap / 5, || {
        let thinks: Source = Box::new(move |out| {
            thread::sleep(nap / 2);
            out.write_slice(b"x")?;
            out.flush_now()?;
            thread::sleep(nap / 2);
            Ok(())
        });
        let chunks = small().stream_out(thinks);
        let handle = chunks.handle();
        chunks.read_to_vec().unwrap();
        let record = ended(&handle);
        let first = record.time_to_first_byte.unwrap();
        assert!(first >= nap / 2 && record.duration >= nap, "{record:?}");
        record
            .blocked_on_source
            .abs_diff(nap)
            .max(record.blocked_on_consumer)
            .max(first.abs_diff(nap / 2))
            .max(record.duration.abs_diff(nap))
    });

    // A consumer that dawdles.
    promptly("off by", nap / 5, || {
        let mut chunks = small().stream_out(noise_source(20_000, 100));
        let handle = chunks.handle();
        eventually("a full buffer", || {
            handle.record().blocked_on == BlockedOn::Consumer
        });
        thread::sleep(nap);
        // Also while it lasts.
        let so_far = handle.record().blocked_on_consumer;
        while chunks.next_chunk_blocking().is_some() {}
        let record = ended(&handle);
        assert!(
            so_far >= nap && record.blocked_on_consumer >= so_far,
            "{record:?}"
        );
        so_far
            .abs_diff(nap)
            .max(record.blocked_on_consumer.abs_diff(nap))
            .max(record.blocked_on_source)
    });
}

#[test]
fn c26_a_stream_without_a_byte_has_no_time_to_the_first() {
    let chunks = stream_out(|_| ());
    let handle = chunks.handle();
    chunks.read_to_vec().unwrap();
    assert_eq!(ended(&handle).time_to_first_byte, None);
}

#[test]
fn c26_every_kind_of_end_has_its_outcome() {
    let busy = StreamPool::new(PoolOptions::new().max_active(1).max_waiting(0));
    let _active = busy.stream_out(silent_until_stopped());
    let closed = StreamPool::new(PoolOptions::default());
    closed.refuse_new();
    let soon = Duration::from_millis(20);
    let read = |chunks: ChunkReader| drop(chunks.read_to_vec());
    let stop = |chunks: ChunkReader| {
        chunks
            .handle()
            .stop(Error::new(ErrorKind::Stopped, "a test"));
        drop(chunks.read_to_vec());
    };
    let fail = |chunks: ChunkReader| {
        let mut full: &mut [u8] = &mut [];
        drop(chunks.write_to(&mut full));
    };
    let dawdle = |chunks: ChunkReader| {
        let handle = chunks.handle();
        eventually("the stall", || handle.record().outcome.is_some());
    };
    type Case<'a> = (
        ChunkReader,
        &'a dyn Fn(ChunkReader),
        Outcome,
        Option<ErrorKind>,
        &'a str,
    );
    let cases: [Case<'_>; 12] = [
        (
            stream_out(noise_source(9, 1)),
            &read,
            Outcome::Complete,
            None,
            "complete",
        ),
        (
            stream_out(endless(9)),
            &drop,
            Outcome::ClientGone,
            Some(ErrorKind::HangUp),
            "client_gone",
        ),
        (
            stream_out(endless(9)),
            &fail,
            Outcome::ClientGone,
            Some(ErrorKind::ConsumerFailed),
            "client_gone",
        ),
        (
            small().consumer_stall(soon).stream_out(endless(9)),
            &dawdle,
            Outcome::ClientStalled,
            Some(ErrorKind::ConsumerStalled),
            "client_stalled",
        ),
        (
            stream_out(fails_after(9, 1)),
            &read,
            Outcome::SourceError,
            Some(ErrorKind::SourceFailed),
            "source_error",
        ),
        (
            stream_out(panics_after(9, 1)),
            &read,
            Outcome::SourceError,
            Some(ErrorKind::SourcePanicked),
            "source_error",
        ),
        (
            small().length(10).stream_out(noise_source(9, 1)),
            &read,
            Outcome::SourceError,
            Some(ErrorKind::LengthMismatch),
            "source_error",
        ),
        (
            small().length(8).stream_out(noise_source(9, 1)),
            &read,
            Outcome::SourceError,
            Some(ErrorKind::LengthMismatch),
            "source_error",
        ),
        (
            small()
                .source_stall(soon)
                .stream_out(silent_until_stopped()),
            &read,
            Outcome::SourceStalled,
            Some(ErrorKind::SourceStalled),
            "source_stalled",
        ),
        (
            stream_out(endless(9)),
            &stop,
            Outcome::Cancelled,
            Some(ErrorKind::Stopped),
            "cancelled",
        ),
        (
            busy.stream_out(endless(9)),
            &read,
            Outcome::Shed,
            Some(ErrorKind::Busy),
            "shed",
        ),
        (
            closed.stream_out(endless(9)),
            &read,
            Outcome::Cancelled,
            Some(ErrorKind::ShutDown),
            "cancelled",
        ),
    ];
    for (chunks, consume, outcome, kind, name) in cases {
        let handle = chunks.handle();
        consume(chunks);
        let record = ended(&handle);
        assert_eq!(record.outcome, Some(outcome), "{record:?}");
        assert_eq!(record.error.map(|error| error.kind()), kind);
        assert_eq!(outcome.to_string(), name);
    }
}

#[test]
fn c26_a_file_is_complete_only_when_the_consumer_says_so() {
    // An upload, or a response with a trailer, knows later than "the last chunk was taken".
    let mut chunks = stream_out(noise_source(10, 10));
    chunks.hold_verdict();
    let handle = chunks.handle();
    while chunks.next_chunk_blocking().is_some() {}
    assert_eq!(handle.record().outcome, None);
    chunks.confirm();
    assert_eq!(handle.record().outcome, Some(Outcome::Complete));

    let mut chunks = stream_out(noise_source(10, 10));
    chunks.hold_verdict();
    let handle = chunks.handle();
    chunks.next_chunk_blocking().unwrap().unwrap();
    chunks.confirm(); // too early: does nothing
    assert!(chunks.next_chunk_blocking().is_none());
    drop(chunks);
    assert_eq!(ended(&handle).outcome, Some(Outcome::ClientGone));
}

#[test]
fn c26_identities_are_unique() {
    let (tell, told) = channel();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let tell = tell.clone();
            thread::spawn(move || {
                for _ in 0..50 {
                    let chunks = stream_out(|_| ());
                    tell.send(chunks.handle().id()).unwrap();
                    chunks.read_to_vec().unwrap();
                }
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    drop(tell);
    let ids: HashSet<_> = told.iter().collect();
    assert_eq!(ids.len(), 200);
    let texts: HashSet<String> = ids.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 200);
    assert!(texts.iter().all(|text| text.len() == 16));
}

#[test]
fn c26_the_writer_carries_identity_and_context() {
    let (tell, told) = channel();
    let chunks = small()
        .context("/a/path")
        .stream_out(move |out| -> Result<(), BoxError> {
            Ok(tell.send((out.id(), out.context().to_owned()))?)
        });
    let id = chunks.handle().id();
    chunks.read_to_vec().unwrap();
    assert_eq!(told.recv().unwrap(), (id, "/a/path".to_owned()));
}

#[test]
fn c26_a_handle_knows_why_its_stream_was_broken_off() {
    let chunks = small().stream_out(fails_after(5, 5));
    let handle = chunks.handle();
    assert!(chunks.read_to_vec().is_err());
    let error = handle.error().unwrap();
    assert_eq!(error.kind(), ErrorKind::SourceFailed);
    let whole = small().stream_out(noise_source(5, 5));
    let handle = whole.handle();
    whole.read_to_vec().unwrap();
    assert!(handle.error().is_none());
}

#[test]
fn c26_what_is_printed_of_a_stream_names_it() {
    let pool = StreamPool::new(PoolOptions::new());
    let (tell, told) = channel();
    let chunks = pool.stream_out(move |out| -> Result<(), BoxError> {
        tell.send(format!("{out:?}"))?;
        silent_until_stopped()(out)
    });
    let id = format!("{:?}", chunks.handle().id());
    let printed = [
        told.recv().unwrap(),
        format!("{chunks:?}"),
        format!("{:?}", chunks.handle()),
    ];
    for printed in printed {
        assert!(printed.contains(&id), "{printed}");
    }
    let pool = format!("{pool:?}");
    assert!(pool.contains("active: 1, waiting: 0"), "{pool}");
}

#[test]
fn c26_an_error_in_an_io_error_is_found_again() {
    let (tell, told) = channel();
    let mut chunks = stream_out(move |out| -> io::Result<()> {
        loop {
            if let Err(error) = io::Write::write_all(out, &[7; 1000]) {
                tell.send(io::Error::new(error.kind(), error.to_string()))
                    .unwrap();
                return Err(io::Error::other(error)); // wrapped once more, on its way up
            }
        }
    });
    let handle = chunks.handle();
    chunks.next_chunk_blocking().unwrap().unwrap();
    drop(chunks);
    assert_eq!(told.recv().unwrap().kind(), io::ErrorKind::BrokenPipe);
    assert_eq!(ended(&handle).error.unwrap().kind(), ErrorKind::HangUp);
}
