//! c14 to c23: how streams end.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc::channel,
    },
    thread,
    time::{Duration, Instant},
};

use crate::support::read;
use datastreamer::push::{DataStreamer, WriteConsumer};
use datastreamer::{
    ChunkReader, EndOnStop, Error, ErrorKind, Outcome, PoolOptions, Record, StreamHandle,
    StreamOptions, StreamPool, StreamWriter, stream_out,
};
use datastreamer_testkit::{
    BoxError, Call, EventLoop, FAILURE, Log, Probe, Recorder, Source, deaf, endless, eventually,
    fails_after, noise, noise_source, panics_after, promptly, silent_until_stopped, swallows_stop,
    within, writes,
};

/// From a hang-up until the source knows.
const NOW: Duration = Duration::from_millis(50);

/// Long enough for anything that wrongly happens to happen.
const A_WHILE: Duration = Duration::from_millis(60);

/// Four chunks of 1000 bytes.
fn small() -> StreamOptions {
    StreamOptions::new().chunk_bytes(1000).buffer_bytes(4000)
}

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

/// What a consumer that started well gets at its end.
fn end_calls(log: &Log) -> Vec<Call> {
    log.calls_but_writes().split_off(2)
}

// ---- well ----

#[test]
fn c14_a_normal_end_delivers_everything_then_unregisters_then_finishes_once() {
    let (consumer, log) = Recorder::new();
    let (_context, handle) = push(small(), noise_source(10_500, 99), consumer);
    let record = ended(&handle);
    assert_eq!(record.outcome, Some(Outcome::Complete));
    assert_eq!(log.bytes(), noise(10_500));
    let calls = log.calls();
    assert!(
        calls[2..calls.len() - 2]
            .iter()
            .all(|call| matches!(call, Call::Write(_)))
    );
    assert_eq!(calls[calls.len() - 2..], [Call::Unregister, Call::Finish]);
    thread::sleep(A_WHILE);
    assert_eq!(log.calls(), calls);
}

#[test]
fn c14_a_paused_consumer_gets_the_end_only_after_the_resume() {
    let (consumer, log) = Recorder::new();
    let consumer = consumer.on_register(|producer| producer.pause_producing());
    let (_context, handle) = push(small(), writes(vec!["abc"]), consumer);
    thread::sleep(A_WHILE);
    assert_eq!(log.calls_but_writes(), [Call::Register, Call::NotifyHangUp]);
    log.producer().resume_producing();
    assert_eq!(ended(&handle).outcome, Some(Outcome::Complete));
    assert_eq!(end_calls(&log), [Call::Unregister, Call::Finish]);
}

#[test]
fn c14_a_stop_that_comes_after_the_whole_file_was_taken_changes_nothing() {
    for length in [None, Some(100)] {
        let (consumer, log) = Recorder::new();
        let stops = log.clone();
        let consumer = consumer.on_unregister(move || stops.producer().stop_producing());
        let options = small().length(length);
        let (_context, handle) = push(options, noise_source(100, 10), consumer);
        let record = ended(&handle);
        assert_eq!(record.outcome, Some(Outcome::Complete));
        assert!(record.error.is_none());
        assert_eq!(end_calls(&log), [Call::Unregister, Call::Finish]);
    }
    // Nor if it comes before a reader's own verdict: but without that nothing is whole.
    for (confirms, outcome) in [(true, Outcome::Complete), (false, Outcome::Cancelled)] {
        let mut chunks = stream_out(noise_source(10, 10));
        chunks.hold_verdict();
        let handle = chunks.handle();
        while chunks.next_chunk_blocking().is_some() {}
        handle.stop(Error::new(ErrorKind::Stopped, "a test"));
        assert_eq!(handle.record().outcome, None, "it is still open");
        if confirms {
            chunks.confirm();
        }
        drop(chunks);
        assert_eq!(ended(&handle).outcome, Some(outcome));
    }
}

// ---- late writers ----

#[test]
fn c15_a_writer_kept_beyond_the_sources_return_gets_an_error_and_nothing_arrives() {
    for source in [
        noise_source(100, 100),
        fails_after(100, 100),
        panics_after(100, 100),
    ] {
        let (keep, kept) = channel::<StreamWriter>();
        let (consumer, log) = Recorder::new();
        let source: Source = Box::new(move |out| {
            keep.send(out.clone())?;
            source(out)
        });
        let (_context, handle) = push(small(), source, consumer);
        ended(&handle);
        let before = log.calls();
        let late = kept.recv().unwrap();
        for _ in 0..3 {
            assert_eq!(
                late.write_slice(b"late").unwrap_err().kind(),
                ErrorKind::Ended
            );
            assert_eq!(late.write_slice(b"").unwrap_err().kind(), ErrorKind::Ended);
            let owned = late.write_bytes(vec![7; 100_000].into());
            assert_eq!(owned.unwrap_err().kind(), ErrorKind::Ended);
            assert_eq!(late.flush_now().unwrap_err().kind(), ErrorKind::Ended);
            late.set_chunk_bytes(2);
        }
        thread::sleep(A_WHILE);
        assert_eq!(log.calls(), before, "a late write arrived");
        assert!(log.bytes() == noise(100));
    }
}

#[test]
fn c15_a_writer_in_another_thread_is_cut_off_at_the_sources_return() {
    let (keep, kept) = channel();
    let chunks = small().stream_out(move |out| {
        let clone = out.clone();
        let writing = thread::spawn(move || {
            let mut whole = 0;
            loop {
                match clone.write_slice(&[7; 100]) {
                    Ok(()) => whole += 1,
                    Err(error) => return (whole, error.kind()),
                }
            }
        });
        thread::sleep(Duration::from_millis(20));
        keep.send(writing).unwrap();
    });
    let (bytes, error) = read(chunks);
    assert!(error.is_none(), "{error:?}");
    let (whole, why) = kept.recv().unwrap().join().unwrap();
    assert_eq!(why, ErrorKind::Ended);
    assert_eq!(
        bytes.len(),
        whole * 100,
        "an accepted write is lost, or a refused one arrived"
    );
}

// ---- stop ----

#[test]
fn c16_after_a_stop_the_next_write_fails_and_the_consumer_is_ended_once() {
    for (on_stop, end) in [
        (EndOnStop::Abort, Call::Abort(ErrorKind::Stopped)),
        (EndOnStop::Finish, Call::Finish),
    ] {
        let (consumer, log) = Recorder::new();
        let (stopped, proceed) = channel::<()>();
        let (tell, told) = channel();
        let source: Source = Box::new(move |out| {
            out.write_slice(b"before")?;
            out.flush_now()?;
            proceed.recv()?;
            let refused = out.write_slice(b"after");
            tell.send(refused.clone().unwrap_err())?;
            Ok(refused?)
        });
        let (_context, handle) = push(small().end_on_stop(on_stop), source, consumer);
        log.wait_bytes(6);
        log.producer().stop_producing();
        stopped.send(()).unwrap();
        assert_eq!(told.recv().unwrap().kind(), ErrorKind::Stopped);
        assert_eq!(ended(&handle).outcome, Some(Outcome::Cancelled));
        log.producer().stop_producing();
        thread::sleep(A_WHILE);
        assert_eq!(end_calls(&log), [Call::Unregister, end]);
        assert_eq!(log.bytes(), b"before");
    }
}

#[test]
fn c16_a_stop_fails_the_write_that_is_blocked_now() {
    let (tell, told) = channel();
    let source: Source = Box::new(move |out| {
        loop {
            if let Err(error) = out.write_slice(&[7; 100]) {
                tell.send(error.kind())?;
                return Err(error.into());
            }
        }
    });
    let (consumer, log) = Recorder::new();
    let consumer = consumer.on_register(|producer| producer.pause_producing());
    let (_context, handle) = push(small(), source, consumer);
    eventually("a full buffer", || handle.record().bytes_written == 3000);
    assert!(told.try_recv().is_err());
    log.producer().stop_producing();
    assert_eq!(told.recv().unwrap(), ErrorKind::Stopped);
    ended(&handle);
    assert_eq!(
        end_calls(&log),
        [Call::Unregister, Call::Abort(ErrorKind::Stopped)]
    );
}

#[test]
fn c16_the_reason_of_a_stop_reaches_source_consumer_and_record() {
    let probe = Probe::new();
    let (consumer, log) = Recorder::new();
    let (_context, handle) = push(small(), probe.wrap(endless(100)), consumer);
    log.wait_bytes(1);
    handle.stop(Error::new(ErrorKind::Stopped, "the operator wants it so"));
    let text = "the stream was stopped: the operator wants it so";
    assert_eq!(ended(&handle).error.unwrap().to_string(), text);
    assert_eq!(probe.wait_told().1.to_string(), text);
    assert_eq!(log.aborted_with().unwrap().to_string(), text);
}

#[test]
fn c16_only_a_plain_stop_may_finish_the_consumer() {
    let options = small().end_on_stop(EndOnStop::Finish);
    for kind in [
        ErrorKind::ShutDown,
        ErrorKind::SourceStalled,
        ErrorKind::ConsumerStalled,
    ] {
        let (consumer, log) = Recorder::new();
        let (_context, handle) = push(options.clone(), endless(100), consumer);
        log.wait_bytes(1);
        handle.stop(Error::new(kind, "a test"));
        ended(&handle);
        // A stream whose consumer has stalled ends without it.
        eventually("the abort", || log.aborted_with().is_some());
        assert_eq!(end_calls(&log), [Call::Unregister, Call::Abort(kind)]);
    }
    // And with a promised length no part is a whole.
    let (consumer, log) = Recorder::new();
    let (_context, handle) = push(options.length(1_000_000_000), endless(100), consumer);
    log.wait_bytes(1);
    log.producer().stop_producing();
    ended(&handle);
    assert_eq!(
        end_calls(&log),
        [Call::Unregister, Call::Abort(ErrorKind::Stopped)]
    );
}

// ---- hang-up ----

#[test]
fn c17_a_hang_up_is_told_now_to_a_source_that_does_not_write() {
    promptly("from the hang-up to flag, future and callback", NOW, || {
        let (told, tidings) = channel();
        let source: Source = Box::new(move |out| {
            let token = out.stop_token();
            // A flag to poll,
            let (flag, tell) = (token.clone(), told.clone());
            thread::spawn(move || {
                while !flag.is_stopped() {
                    thread::sleep(Duration::from_millis(1));
                }
                tell.send(("flag", Instant::now()))
            });
            // a future to await,
            let (stopped, tell) = (token.stopped(), told.clone());
            thread::spawn(move || {
                let why = pollster(stopped);
                assert_eq!(why.unwrap().kind(), ErrorKind::HangUp);
                tell.send(("future", Instant::now()))
            });
            // a callback to run.
            token
                .on_stop(move |why| {
                    assert_eq!(why.kind(), ErrorKind::HangUp);
                    told.send(("callback", Instant::now())).unwrap();
                })
                .keep();
            out.write_slice(b"x")?;
            out.flush_now()?;
            thread::sleep(Duration::from_millis(500));
            Err(io::Error::other("nobody told me").into())
        });
        let (consumer, log) = Recorder::new();
        let (_context, handle) = push(small(), source, consumer);
        log.wait_bytes(1);
        let hung_up = Instant::now();
        log.hang_up().notify("the connection was reset");
        let (mut names, mut latest) = (Vec::new(), Duration::ZERO);
        for (name, at) in tidings.iter().take(3) {
            latest = latest.max(at - hung_up);
            names.push(name);
        }
        names.sort_unstable();
        assert_eq!(names, ["callback", "flag", "future"]);
        let record = ended(&handle);
        assert_eq!(record.outcome, Some(Outcome::ClientGone));
        let text = "the consumer hung up: the connection was reset";
        assert_eq!(record.error.unwrap().to_string(), text);
        latest
    });
}

fn pollster<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let (wake, woken) = channel();
    struct Wake(std::sync::mpsc::Sender<()>);
    impl std::task::Wake for Wake {
        fn wake(self: Arc<Self>) {
            self.0.send(()).ok();
        }
    }
    let waker = Arc::new(Wake(wake)).into();
    let mut cx = std::task::Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut cx) {
            std::task::Poll::Ready(value) => return value,
            std::task::Poll::Pending => woken.recv().unwrap(),
        }
    }
}

#[test]
fn c17_a_hang_up_frees_a_source_that_is_blocked_in_write() {
    promptly("from the hang-up to the source's end", NOW, || {
        let probe = Probe::new();
        let (consumer, log) = Recorder::new();
        let consumer = consumer.on_register(|producer| producer.pause_producing());
        let (_context, handle) = push(small(), probe.wrap(endless(100)), consumer);
        eventually("a full buffer", || handle.record().bytes_written == 3000);
        let hung_up = Instant::now();
        log.hang_up().notify("gone");
        assert_eq!(ended(&handle).outcome, Some(Outcome::ClientGone));
        probe.wait_ended() - hung_up
    });
}

#[test]
fn c17_after_a_hang_up_no_call_reaches_the_dead_consumer() {
    // Chunks wait in the queue: none of them may come, and no end.
    let (consumer, log) = Recorder::new();
    let consumer = consumer.on_register(|producer| producer.pause_producing());
    let (_context, handle) = push(small(), endless(100), consumer);
    eventually("a full buffer", || handle.record().bytes_written == 3000);
    log.hang_up().notify("gone");
    log.producer().resume_producing();
    ended(&handle);
    thread::sleep(A_WHILE);
    assert_eq!(log.calls(), [Call::Register, Call::NotifyHangUp]);
}

#[test]
fn c17_nor_what_was_held_back_of_a_promised_length() {
    let (consumer, log) = Recorder::new();
    let (go_on, proceed) = channel::<()>();
    let source: Source = Box::new(move |out| {
        out.write_slice(&noise(1500))?;
        out.flush_now()?;
        Ok(proceed.recv()?)
    });
    let (context, handle) = push(small().length(1500), source, consumer);
    log.wait_bytes(1000);
    eventually("the last chunk", || handle.record().bytes_delivered == 1500);
    log.hang_up().notify("gone");
    drop(go_on);
    ended(&handle);
    context.run(|| {});
    let calls = [Call::Register, Call::NotifyHangUp, Call::Write(1000)];
    assert_eq!(log.calls(), calls);
}

#[test]
fn c17_nor_if_the_source_had_failed_before() {
    let (consumer, log) = Recorder::new();
    let consumer = consumer.on_register(|producer| producer.pause_producing());
    let probe = Probe::new();
    let (_context, handle) = push(small(), probe.wrap(fails_after(2500, 100)), consumer);
    probe.wait_ended();
    eventually("the verdict", || handle.record().outcome.is_some());
    log.hang_up().notify("gone");
    log.producer().resume_producing();
    let record = ended(&handle);
    assert_eq!(
        record.outcome,
        Some(Outcome::SourceError),
        "what came first counts"
    );
    thread::sleep(A_WHILE);
    assert_eq!(log.calls(), [Call::Register, Call::NotifyHangUp]);
}

#[test]
fn c17_nor_if_the_stream_had_been_stopped_before() {
    let (consumer, log) = Recorder::new();
    let (go_on, proceed) = channel::<()>();
    let consumer = consumer.on_write(move |log, index| {
        if index == 0 {
            // Both come while the consumer is busy.
            proceed.recv().unwrap();
            log.producer().stop_producing();
            log.hang_up().notify("gone");
        }
        Ok(())
    });
    let (_context, handle) = push(small(), endless(100), consumer);
    log.wait_bytes(1);
    eventually("a full buffer", || handle.record().bytes_written == 3000);
    go_on.send(()).unwrap();
    let record = ended(&handle);
    assert_eq!(
        record.outcome,
        Some(Outcome::Cancelled),
        "what came first counts"
    );
    thread::sleep(A_WHILE);
    assert_eq!(log.calls()[2..], [Call::Write(1000)]);
}

#[test]
fn c17_a_hang_up_from_inside_write_ends_the_calls_there() {
    let (consumer, log) = Recorder::new();
    let consumer = consumer.on_write(|log, index| {
        if index == 2 {
            log.hang_up().notify("gone");
        }
        Ok(())
    });
    let (_context, handle) = push(small(), endless(100), consumer);
    ended(&handle);
    assert_eq!(log.calls()[2..], [Call::Write(1000); 3]);
}

#[test]
fn c17_dropping_the_reader_is_a_hang_up() {
    promptly("from the drop to the callback", NOW, || {
        let probe = Probe::new();
        let mut chunks = small().stream_out(probe.wrap(endless(100)));
        let handle = chunks.handle();
        chunks.next_chunk_blocking().unwrap().unwrap();
        let dropped = Instant::now();
        drop(chunks);
        let (told, why) = probe.wait_told();
        assert_eq!(why.kind(), ErrorKind::HangUp);
        assert_eq!(ended(&handle).outcome, Some(Outcome::ClientGone));
        told - dropped
    });
}

#[test]
fn c17_a_reader_may_say_why_it_leaves() {
    let probe = Probe::new();
    let chunks = small().stream_out(probe.wrap(endless(100)));
    probe.wait_started();
    chunks.hang_up("RST_STREAM(CANCEL)");
    assert_eq!(
        probe.wait_told().1.to_string(),
        "the consumer hung up: RST_STREAM(CANCEL)"
    );
}

#[test]
fn c17_the_callbacks_run_once_each_even_beside_one_that_panics() {
    let ran = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ran);
    let chunks = stream_out(move |out| -> Result<(), BoxError> {
        for _ in 0..3 {
            let count = Arc::clone(&count);
            out.on_stop(move |_| {
                count.fetch_add(1, Ordering::SeqCst);
            })
            .keep();
            out.on_stop(|_| std::panic::resume_unwind(Box::new("quiet")))
                .keep();
        }
        silent_until_stopped()(out)
    });
    let handle = chunks.handle();
    thread::sleep(Duration::from_millis(10));
    handle.stop(Error::new(ErrorKind::Stopped, "once"));
    handle.stop(Error::new(ErrorKind::Stopped, "twice"));
    drop(chunks);
    eventually("all callbacks", || ran.load(Ordering::SeqCst) == 3);
    thread::sleep(A_WHILE);
    assert_eq!(ran.load(Ordering::SeqCst), 3);
}

#[test]
fn c17_a_callback_that_comes_after_the_stop_runs_at_once() {
    promptly("from the asking to the callback", NOW, || {
        let chunks = small().stream_out(endless(100));
        let handle = chunks.handle();
        drop(chunks);
        let (tell, told) = channel();
        let asked = Instant::now();
        handle
            .stop_token()
            .on_stop(move |why| tell.send((Instant::now(), why.kind())).unwrap())
            .keep();
        let (at, why) = told.recv().unwrap();
        assert_eq!(why, ErrorKind::HangUp);
        at - asked
    });
}

#[test]
fn c17_a_stream_that_ends_well_runs_no_callback_and_lets_go_of_it() {
    let held = Arc::new(());
    let (holds, ran) = (Arc::clone(&held), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&ran);
    let chunks = stream_out(move |out| {
        out.on_stop(move |_| {
            let _holds = &holds;
            count.fetch_add(1, Ordering::SeqCst);
        })
        .keep();
    });
    let handle = chunks.handle();
    assert_eq!(read(chunks).1.map(|error| error.kind()), None);
    ended(&handle);
    handle.stop(Error::new(ErrorKind::Stopped, "too late"));
    // The handle may live for long, in a list of past streams: what the callback holds must not.
    eventually("the callback's end", || Arc::strong_count(&held) == 1);
    assert_eq!(ran.load(Ordering::SeqCst), 0);
    assert_eq!(handle.record().outcome, Some(Outcome::Complete));
}

#[test]
fn c17_a_slow_callback_does_not_hold_up_whoever_hangs_up() {
    promptly("the hang-up", NOW, || {
        let chunks = stream_out(|out| -> Result<(), BoxError> {
            out.on_stop(|_| thread::sleep(Duration::from_millis(300)))
                .keep();
            silent_until_stopped()(out)
        });
        thread::sleep(Duration::from_millis(10));
        let dropped = Instant::now();
        drop(chunks);
        dropped.elapsed()
    });
}

// ---- the consumer fails ----

fn full_disk() -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, "the disk is full")
}

#[test]
fn c18_a_consumer_whose_write_fails_stops_the_source_with_that_error() {
    let (consumer, log) = Recorder::new();
    let consumer = consumer.on_write(|_, index| match index {
        2 => Err(full_disk()),
        _ => Ok(()),
    });
    let probe = Probe::new();
    let (_context, handle) = push(small(), probe.wrap(endless(100)), consumer);
    let record = ended(&handle);
    let (_, why) = probe.wait_told();
    for error in [why, record.error.unwrap(), log.aborted_with().unwrap()] {
        assert_eq!(error.kind(), ErrorKind::ConsumerFailed);
        assert_eq!(error.to_string(), "the consumer failed: the disk is full");
        let cause = std::error::Error::source(&error).unwrap();
        let cause = cause.downcast_ref::<io::Error>().unwrap();
        assert_eq!(cause.kind(), io::ErrorKind::StorageFull);
    }
    assert_eq!(
        end_calls(&log),
        [Call::Unregister, Call::Abort(ErrorKind::ConsumerFailed)]
    );
}

#[test]
fn c18_nothing_is_written_after_a_write_that_failed() {
    // Otherwise the consumer's file has a hole.
    let (consumer, log) = Recorder::new();
    let (go_on, proceed) = channel::<()>();
    let consumer = consumer.on_write(move |_, index| {
        if index == 1 {
            proceed.recv().unwrap();
            return Err(full_disk());
        }
        Ok(())
    });
    let (_context, handle) = push(small(), endless(100), consumer);
    log.wait_bytes(2000);
    eventually("chunks in the queue", || {
        handle.record().bytes_written >= 3000
    });
    go_on.send(()).unwrap();
    ended(&handle);
    let end = [Call::Unregister, Call::Abort(ErrorKind::ConsumerFailed)];
    assert_eq!(log.calls()[4..], end);
}

#[test]
fn c18_a_consumer_whose_last_write_fails_is_aborted_whatever_the_source_says() {
    // With a promised length the clean end comes with the last chunk.
    let (consumer, log) = Recorder::new();
    let consumer = consumer.on_write(|_, _| Err(full_disk()));
    let (_context, handle) = push(small().length(100), noise_source(100, 10), consumer);
    let record = ended(&handle);
    assert_eq!(record.outcome, Some(Outcome::ClientGone));
    assert_eq!(record.error.unwrap().kind(), ErrorKind::ConsumerFailed);
    assert_eq!(
        end_calls(&log),
        [Call::Unregister, Call::Abort(ErrorKind::ConsumerFailed)]
    );
}

#[test]
fn c18_a_consumer_that_is_another_streams_writer_fails_for_its_own_reason() {
    // The inner stream is stopped, which the outer one may not take for a stop of its own: it
    // would be finished.
    let (tell, told) = channel();
    let (_go_on, proceed) = channel::<()>();
    let inner = stream_out(move |out| -> Result<(), BoxError> {
        tell.send(out.clone())?;
        Ok(proceed.recv()?)
    });
    let relay = WriteConsumer::new(told.recv().unwrap());
    inner
        .handle()
        .stop(Error::new(ErrorKind::Stopped, "the inner one"));
    let options = small().end_on_stop(EndOnStop::Finish);
    let outer = DataStreamer::new(endless(100), relay).options(options);
    let delivery = outer.start().unwrap();
    let (record, relay) = within("the end", || delivery.wait_for_consumer());
    let error = record.error.unwrap();
    assert_eq!(error.kind(), ErrorKind::ConsumerFailed);
    assert_eq!(record.outcome, Some(Outcome::ClientGone));
    let text = "the consumer failed: the stream was stopped: the inner one";
    assert_eq!(error.to_string(), text);
    assert!(relay.into_complete().is_none());
}

#[test]
fn c18_a_consumer_that_cannot_finish_is_on_record() {
    let (consumer, log) = Recorder::new();
    let (_context, handle) = push(small(), noise_source(100, 10), consumer.finish_fails());
    let record = ended(&handle);
    assert_eq!(record.outcome, Some(Outcome::ClientGone));
    assert_eq!(record.error.unwrap().kind(), ErrorKind::ConsumerFailed);
    assert_eq!(end_calls(&log), [Call::Unregister, Call::Finish]);
}

#[test]
fn c18_write_to_passes_the_consumers_error_on_and_stops_the_source_with_it() {
    struct Full(usize);
    impl io::Write for Full {
        fn write(&mut self, data: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(data.len()).ok_or_else(full_disk)?;
            Ok(data.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let probe = Probe::new();
    let error = small()
        .stream_out(probe.wrap(endless(100)))
        .write_to(&mut Full(2500));
    assert_eq!(
        error.unwrap_err().to_string(),
        "the consumer failed: the disk is full"
    );
    assert_eq!(probe.wait_told().1.kind(), ErrorKind::ConsumerFailed);
    // Also if only the flush fails, or only the write that comes with the clean end.
    let mut buffered = io::BufWriter::new(Full(0));
    let consumers: [(Option<u64>, &mut dyn io::Write); 2] =
        [(None, &mut buffered), (Some(100), &mut Full(0))];
    for (length, mut consumer) in consumers {
        let chunks = small().length(length).stream_out(noise_source(100, 10));
        let handle = chunks.handle();
        chunks.write_to(&mut consumer).unwrap_err();
        let record = ended(&handle);
        assert_eq!(record.outcome, Some(Outcome::ClientGone));
        assert_eq!(record.error.unwrap().kind(), ErrorKind::ConsumerFailed);
    }
}

// ---- the source ----

#[test]
fn c19_a_source_that_swallows_the_stop_gets_it_at_every_further_write_and_sends_nothing() {
    let refusals = Arc::new(Mutex::new(Vec::new()));
    let (consumer, log) = Recorder::new();
    let consumer = consumer.on_write(|log, index| {
        if index == 2 {
            log.producer().stop_producing();
        }
        Ok(())
    });
    let source = swallows_stop(1000, Arc::clone(&refusals));
    let (_context, handle) = push(small(), source, consumer);
    let record = ended(&handle);
    assert_eq!(*refusals.lock().unwrap(), vec![ErrorKind::Stopped; 1000]);
    assert_eq!(
        record.outcome,
        Some(Outcome::Cancelled),
        "returning well does not make it whole"
    );
    assert_eq!(
        end_calls(&log),
        [Call::Unregister, Call::Abort(ErrorKind::Stopped)]
    );
    let bytes = log.bytes();
    assert!(bytes == noise(bytes.len()), "bytes from after the stop");
    assert!(
        record.bytes_written <= 7000,
        "bytes were taken after the stop"
    );
}

#[test]
fn c20_whatever_breaks_the_source_the_bytes_before_it_arrive_and_then_an_abort() {
    for bytes in [0, 1, 999, 1000, 1001, 3000, 123_456] {
        for (source, kind) in [
            (fails_after(bytes, 77), ErrorKind::SourceFailed),
            (panics_after(bytes, 77), ErrorKind::SourcePanicked),
        ] {
            let (consumer, log) = Recorder::new();
            let (_context, handle) = push(small(), source, consumer);
            let record = ended(&handle);
            assert_eq!(record.outcome, Some(Outcome::SourceError));
            assert!(
                log.bytes() == noise(bytes as usize),
                "{bytes} bytes before the failure"
            );
            assert_eq!(end_calls(&log), [Call::Unregister, Call::Abort(kind)]);
            assert!(log.aborted_with().unwrap().to_string().ends_with(FAILURE));
        }
    }
}

#[test]
fn c20_no_failure_is_ever_a_clean_end_in_a_hundred_tries() {
    for try_number in 0..100 {
        let bytes = try_number * 131;
        let (got, error) = read(small().stream_out(fails_after(bytes, 50)));
        assert_eq!(error.unwrap().kind(), ErrorKind::SourceFailed);
        assert!(got == noise(bytes as usize));
    }
}

#[test]
fn c20_a_panic_with_any_payload_is_told() {
    let panics: [(Source, &str); 3] = [
        (
            Box::new(|_| std::panic::resume_unwind(Box::new("a text"))),
            "the source panicked: a text",
        ),
        (
            Box::new(|_| std::panic::resume_unwind(Box::new(format!("row {}", 7)))),
            "the source panicked: row 7",
        ),
        (
            Box::new(|_| std::panic::resume_unwind(Box::new(7))),
            "the source panicked",
        ),
    ];
    for (source, text) in panics {
        assert_eq!(read(stream_out(source)).1.unwrap().to_string(), text);
    }
}

#[test]
fn c20_the_error_is_the_last_item_and_comes_once() {
    let mut chunks = stream_out(fails_after(10, 10));
    assert!(chunks.next_chunk_blocking().unwrap().is_ok());
    assert!(chunks.next_chunk_blocking().unwrap().is_err());
    assert!(chunks.next_chunk_blocking().is_none());
    assert!(chunks.is_over());
}

#[test]
fn c20_a_source_that_fails_with_another_streams_hang_up_is_aborted_all_the_same() {
    // A source that reads from another stream, whose consumer hung up: it is not *this* consumer.
    let foreign: Source = Box::new(|out| {
        out.write_slice(b"part")?;
        Err(Error::new(ErrorKind::HangUp, "of another stream").into())
    });
    let (consumer, log) = Recorder::new();
    let (_context, handle) = push(small(), foreign, consumer);
    ended(&handle);
    assert_eq!(end_calls(&log)[0], Call::Unregister);
    assert!(
        matches!(end_calls(&log)[1..], [Call::Abort(_)]),
        "{:?}",
        log.calls()
    );
    assert_eq!(log.bytes(), b"part");
}

#[test]
fn c20_a_known_length_keeps_its_last_byte_until_the_source_has_ended_well() {
    let (go_on, proceed) = channel::<Result<(), io::Error>>();
    let start = |end: Result<(), io::Error>| {
        go_on.send(end).unwrap();
    };
    let proceed = Arc::new(Mutex::new(proceed));
    let source = || -> Source {
        let proceed = Arc::clone(&proceed);
        Box::new(move |out| {
            out.write_slice(&noise(2500))?;
            out.flush_now()?;
            Ok(proceed.lock().unwrap().recv()??)
        })
    };
    for fails in [false, true] {
        let mut chunks = small().length(2500).stream_out(source());
        let mut taken = 0;
        while taken < 2000 {
            taken += chunks.next_chunk_blocking().unwrap().unwrap().len();
        }
        thread::sleep(Duration::from_millis(20));
        assert!(
            chunks.try_next_chunk().is_pending(),
            "the verdict is not known"
        );
        assert_eq!(chunks.bytes_left(), Some(500));
        if fails {
            start(Err(io::Error::other(FAILURE)));
            let rest = chunks.next_chunk_blocking().unwrap().unwrap();
            assert!(rest == noise(2499)[2000..], "all but the last byte");
            assert!(chunks.next_chunk_blocking().unwrap().is_err());
            assert_eq!(chunks.bytes_left(), Some(1));
        } else {
            start(Ok(()));
            let rest = chunks.next_chunk_blocking().unwrap().unwrap();
            assert!(rest == noise(2500)[2000..]);
            assert_eq!(chunks.bytes_left(), Some(0));
        }
        assert!(chunks.next_chunk_blocking().is_none());
    }
}

#[test]
fn c20_a_broken_promise_of_length_is_a_failure() {
    for (promised, bytes, text) in [
        (1000, 999, "999 of the promised 1000 bytes"),
        (1000, 0, "0 of the promised 1000 bytes"),
        (1000, 1001, "more than the promised 1000 bytes"),
        (0, 1, "more than the promised 0 bytes"),
    ] {
        let (got, error) = read(small().length(promised).stream_out(noise_source(bytes, 91)));
        let error = error.unwrap();
        assert_eq!(error.kind(), ErrorKind::LengthMismatch);
        assert!(error.to_string().ends_with(text), "{error}");
        assert!((got.len() as u64) < promised.max(1));
        assert!(got == noise(got.len()));
    }
    for bytes in [0, 1, 999, 1000, 1001, 100_000] {
        let (got, error) = read(small().length(bytes).stream_out(noise_source(bytes, 91)));
        assert!(error.is_none(), "{error:?}");
        assert!(got == noise(bytes as usize));
    }
}

#[test]
fn c20_a_source_that_swallows_the_refusal_of_its_surplus_has_failed_all_the_same() {
    let source: Source = Box::new(|out| {
        out.write_slice(&noise(1000))?;
        let refused = out.write_slice(b"!");
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::LengthMismatch);
        Ok(())
    });
    let (got, error) = read(small().length(1000).stream_out(source));
    assert_eq!(error.unwrap().kind(), ErrorKind::LengthMismatch);
    assert!(got.len() < 1000);
}

#[test]
fn c21_a_failure_before_the_first_byte_is_the_first_thing_that_the_reader_gets() {
    // So whoever makes a response of the reader looks at it before it commits to a status.
    let no_place = StreamPool::new(PoolOptions::default());
    no_place.refuse_new();
    for (chunks, kind) in [
        (stream_out(fails_after(0, 1)), ErrorKind::SourceFailed),
        (stream_out(panics_after(0, 1)), ErrorKind::SourcePanicked),
        (no_place.stream_out(endless(1)), ErrorKind::ShutDown),
    ] {
        let mut chunks = chunks;
        let first = within("the first poll", move || chunks.next_chunk_blocking());
        assert_eq!(first.unwrap().unwrap_err().kind(), kind);
    }
}

#[test]
fn c21_an_error_reads_well() {
    let error = read(stream_out(fails_after(0, 1))).1.unwrap();
    assert_eq!(error.to_string(), format!("the source failed: {FAILURE}"));
    assert_eq!(
        std::error::Error::source(&error).unwrap().to_string(),
        FAILURE
    );
}

// ---- clean-up ----

#[test]
fn c22_whatever_ends_the_stream_the_sources_guards_run_and_the_thread_ends() {
    let pool = StreamPool::new(PoolOptions::new().idle_thread(Duration::ZERO));
    let options = || small().pool(&pool);
    type Ending<'a> = (&'a str, Source, &'a dyn Fn(ChunkReader));
    let read_all = |chunks| drop(read(chunks));
    let endings: [Ending<'_>; 8] = [
        ("a normal end", noise_source(10_000, 99), &read_all),
        ("an error", fails_after(10_000, 99), &read_all),
        ("a panic", panics_after(10_000, 99), &read_all),
        ("a hang-up", endless(99), &drop),
        ("a hang-up in silence", silent_until_stopped(), &drop),
        ("a stop", endless(99), &|chunks| {
            chunks
                .handle()
                .stop(Error::new(ErrorKind::Stopped, "a test"));
            read_all(chunks);
        }),
        ("a failing consumer", endless(99), &|chunks| {
            let mut nothing: &mut [u8] = &mut [];
            chunks.write_to(&mut nothing).unwrap_err();
        }),
        ("a shutdown", endless(99), &|chunks| {
            pool.abort_all();
            read_all(chunks);
        }),
    ];
    for (name, source, consume) in endings {
        let probe = Probe::new();
        let chunks = options().stream_out(probe.wrap(source));
        let handle = chunks.handle();
        probe.wait_started();
        consume(chunks);
        probe.wait_ended();
        ended(&handle);
        eventually(name, || pool.threads() == 0 && pool.active() == 0);
    }
}

#[test]
fn c22_whoever_awaits_a_stop_that_does_not_come_is_let_go() {
    let (consumer, log) = Recorder::new();
    let streamer = DataStreamer::new(noise_source(10, 10), consumer);
    let delivery = streamer.start().unwrap();
    let stopped = delivery.handle().stop_token().stopped();
    let awaiting = thread::spawn(|| pollster(stopped));
    thread::sleep(Duration::from_millis(10));
    assert!(!awaiting.is_finished(), "before the end");
    assert_eq!(delivery.wait().outcome, Some(Outcome::Complete));
    let why = within("the answer", move || awaiting.join().unwrap());
    assert!(why.is_none() && log.bytes() == noise(10));
}

#[test]
fn c22_a_source_that_never_ran_is_dropped() {
    let pool = StreamPool::new(PoolOptions::new().max_active(1));
    let held = Arc::new(());
    let holds = Arc::clone(&held);
    let running = pool.stream_out(silent_until_stopped());
    let waiting = pool.stream_out(move |_| drop(holds));
    assert_eq!(Arc::strong_count(&held), 2);
    drop(waiting);
    eventually("its drop", || Arc::strong_count(&held) == 1);
    drop(running);
}

// ---- shutdown ----

#[test]
fn c23_a_shutdown_refuses_new_streams_and_lets_the_running_ones_finish() {
    let pool = StreamPool::new(PoolOptions::default());
    let (go_on, proceed) = channel::<()>();
    let running = pool.stream_out(move |out| -> Result<(), BoxError> {
        proceed.recv()?;
        Ok(out.write_slice(b"whole")?)
    });
    let reading = thread::spawn(move || running.read_to_vec());
    let shutting_down = thread::spawn({
        let pool = pool.clone();
        move || pool.shutdown(Duration::from_secs(10), Duration::from_secs(10))
    });
    eventually("the refusal", || {
        let refused = pool.stream_out(|_| ()).read_to_vec();
        refused.is_err_and(|error| error.kind() == ErrorKind::ShutDown)
    });
    go_on.send(()).unwrap();
    let shutdown = within("the shutdown", move || shutting_down.join().unwrap());
    assert_eq!((shutdown.aborted, shutdown.left), (0, 0));
    assert_eq!(reading.join().unwrap().unwrap(), b"whole");
    eventually("the threads' end", || pool.threads() == 0);
}

#[test]
fn c23_at_the_deadline_the_running_streams_are_aborted_visibly_and_clean_up() {
    let pool = StreamPool::new(PoolOptions::default());
    let probes: Vec<Probe> = (0..3).map(|_| Probe::new()).collect();
    let (consumer, log) = Recorder::new();
    let (_context, handle) = push(small().pool(&pool), probes[0].wrap(endless(100)), consumer);
    let silent = pool.stream_out(probes[1].wrap(silent_until_stopped()));
    let blocked = pool.stream_out(probes[2].wrap(endless(100)));
    let reading = thread::spawn(move || (read(silent), read(blocked)));
    for probe in &probes {
        probe.wait_started();
    }
    let started = Instant::now();
    let deadline = Duration::from_millis(100);
    let shutdown = pool.shutdown(deadline, Duration::from_secs(10));
    assert!(started.elapsed() >= deadline);
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!((shutdown.aborted, shutdown.left), (3, 0));
    for probe in &probes {
        assert_eq!(probe.wait_told().1.kind(), ErrorKind::ShutDown);
        assert!(probe.has_ended());
    }
    assert_eq!(ended(&handle).outcome, Some(Outcome::Cancelled));
    assert_eq!(
        end_calls(&log),
        [Call::Unregister, Call::Abort(ErrorKind::ShutDown)]
    );
    let (silent, blocked) = reading.join().unwrap();
    assert_eq!(silent.1.unwrap().kind(), ErrorKind::ShutDown);
    assert_eq!(blocked.1.unwrap().kind(), ErrorKind::ShutDown);
}

#[test]
fn c23_a_source_that_outlives_the_grace_is_counted() {
    let pool = StreamPool::new(PoolOptions::default());
    let chunks = pool.stream_out(deaf(Duration::from_millis(600)));
    let reading = thread::spawn(move || read(chunks).1.unwrap().kind());
    let started = Instant::now();
    let shutdown = pool.shutdown(Duration::from_millis(20), Duration::from_millis(50));
    assert!(started.elapsed() < Duration::from_millis(500));
    assert_eq!((shutdown.aborted, shutdown.left), (1, 1));
    // The consumer need not wait for the deaf source.
    assert_eq!(reading.join().unwrap(), ErrorKind::ShutDown);
}

#[test]
fn c23_who_waits_for_a_place_is_refused_by_a_shutdown() {
    let pool = StreamPool::new(PoolOptions::new().max_active(1));
    let running = pool.stream_out(silent_until_stopped());
    let probe = Probe::new();
    let waiting = pool.stream_out(probe.wrap(endless(1)));
    assert_eq!(pool.waiting(), 1);
    pool.refuse_new();
    assert_eq!(read(waiting).1.unwrap().kind(), ErrorKind::ShutDown);
    assert!(!probe.has_started());
    drop(running);
}

#[test]
fn c23_a_stream_is_over_only_when_its_consumer_was_ended() {
    // Otherwise a shutdown would let the process exit before the failure is visible.
    for source in [noise_source(10, 10), fails_after(10, 10), endless(10)] {
        let pool = StreamPool::new(PoolOptions::default());
        let (mut consumer, log) = Recorder::new();
        consumer = consumer.on_unregister(|| thread::sleep(A_WHILE));
        let (_context, _handle) = push(small().pool(&pool), source, consumer);
        log.wait_bytes(10);
        pool.shutdown(Duration::from_millis(20), Duration::from_secs(10));
        assert_eq!(end_calls(&log).len(), 2, "{:?}", log.calls());
    }
}

// ---- who drives the delivery ----

#[test]
fn c16_dropping_the_delivery_stops_the_source_and_aborts_the_consumer() {
    let probe = Probe::new();
    let (consumer, log) = Recorder::new();
    let delivery = DataStreamer::new(probe.wrap(endless(100)), consumer)
        .options(small())
        .start()
        .unwrap();
    let handle = delivery.handle();
    probe.wait_started();
    drop(delivery);
    assert_eq!(probe.wait_told().1.kind(), ErrorKind::Stopped);
    assert_eq!(ended(&handle).outcome, Some(Outcome::Cancelled));
    assert_eq!(
        end_calls(&log),
        [Call::Unregister, Call::Abort(ErrorKind::Stopped)]
    );
    assert_eq!(log.writes(), 0);
}

#[test]
fn c17_dropping_the_delivery_after_a_hang_up_leaves_the_dead_consumer_alone() {
    let (consumer, log) = Recorder::new();
    let delivery = DataStreamer::new(endless(100), consumer).start().unwrap();
    let handle = delivery.handle();
    log.hang_up().notify("gone");
    drop(delivery);
    assert_eq!(ended(&handle).outcome, Some(Outcome::ClientGone));
    assert_eq!(end_calls(&log), []);
}

#[test]
fn c22_an_event_loop_that_goes_away_ends_the_stream() {
    let probe = Probe::new();
    let (consumer, log) = Recorder::new();
    let streamer = DataStreamer::new(probe.wrap(endless(100)), consumer).options(small());
    let delivery = streamer.start().unwrap();
    probe.wait_started();
    // This loop is closed: it drops every job.
    let handle = delivery.run_in(drop);
    assert_eq!(ended(&handle).outcome, Some(Outcome::Cancelled));
    probe.wait_ended();
    assert_eq!(
        end_calls(&log),
        [Call::Unregister, Call::Abort(ErrorKind::Stopped)]
    );
}

#[test]
fn c22_an_event_loop_that_panics_when_it_is_called_ends_the_stream() {
    let pool = StreamPool::new(PoolOptions::default());
    let probe = Probe::new();
    let (consumer, log) = Recorder::new();
    let context = EventLoop::start();
    let call_later = context.call_later();
    let closed = Arc::new(AtomicUsize::new(0));
    let is_closed = Arc::clone(&closed);
    let streamer = DataStreamer::new(probe.wrap(endless(100)), consumer);
    let delivery = streamer.options(small().pool(&pool)).start().unwrap();
    let handle = delivery.run_in(move |job| {
        if is_closed.load(Ordering::SeqCst) > 0 {
            std::panic::resume_unwind(Box::new("the loop is closed"));
        }
        call_later(job);
    });
    log.wait_bytes(1);
    closed.store(1, Ordering::SeqCst);
    assert_eq!(ended(&handle).outcome, Some(Outcome::Cancelled));
    probe.wait_ended();
    assert_eq!(
        end_calls(&log),
        [Call::Unregister, Call::Abort(ErrorKind::Stopped)]
    );
    // And the pool is none the worse for it.
    for _ in 0..3 {
        assert!(read(pool.stream_out(writes(vec!["x"]))).1.is_none());
    }
}

#[test]
fn c22_a_consumer_that_panics_ends_the_stream() {
    let probe = Probe::new();
    let (consumer, _log) = Recorder::new();
    let consumer = consumer.on_write(|_, _| std::panic::resume_unwind(Box::new("quiet")));
    let streamer = DataStreamer::new(probe.wrap(endless(100)), consumer).options(small());
    let delivery = streamer.start().unwrap();
    let handle = delivery.handle();
    thread::spawn(move || delivery.wait()).join().unwrap_err();
    probe.wait_ended();
    assert_eq!(ended(&handle).outcome, Some(Outcome::Cancelled));
}
