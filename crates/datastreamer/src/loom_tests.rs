//! Models of `queue.rs`, and of the turns in `writer.rs`: each model runs under every order in
//! which its threads can take the locks.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p datastreamer --lib --release loom`
//!
//! A lost wake-up is a deadlock here, which loom reports. The queue's models use plain bytes
//! without a lease as chunks, so each model calls `release` itself. Counters of calls and drops are
//! std's, which loom does not see; they are read after the threads have joined.

use std::{
    future::poll_fn,
    sync::{
        Arc as StdArc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Wake, Waker},
};

use bytes::Bytes;
use loom::{
    future::block_on,
    sync::Arc,
    thread::{self, JoinHandle},
};

use crate::{
    config::StreamOptions,
    depth::Depth,
    error::{Error, ErrorKind},
    pool::StreamPool,
    pool_options::PoolOptions,
    push::turn::Turn,
    queue::{End, Queue},
    settings::EndOnStop,
    stop_callback::StopCallback,
    stream_core::StreamCore,
    writer::{StreamWriter, hand_over_if_idle},
};

const FAILED: ErrorKind = ErrorKind::SourceFailed;
const STOPPED: ErrorKind = ErrorKind::Stopped;
const HUNG_UP: ErrorKind = ErrorKind::HangUp;

/// Makes a queue of this many bytes; each chunk of the models has one byte.
fn queue(limit_bytes: usize) -> Arc<Queue> {
    Arc::new(Queue::new(Depth::fixed(limit_bytes), EndOnStop::Abort))
}

fn spawn<T: 'static>(queue: &Arc<Queue>, run: impl FnOnce(&Queue) -> T + 'static) -> JoinHandle<T> {
    let queue = Arc::clone(queue);
    thread::spawn(move || run(&queue))
}

fn push(queue: &Queue, byte: u8) -> Result<(), ErrorKind> {
    let chunk = Bytes::copy_from_slice(&[byte]);
    queue.push(chunk, 1).map_err(|error| error.kind())
}

/// Pushes all bytes, then ends; stops at the first refusal. Returns what was accepted.
fn produce(queue: &Queue, bytes: &[u8], end: End) -> Vec<u8> {
    let accepted = bytes.iter().take_while(|byte| push(queue, **byte).is_ok());
    let accepted = accepted.copied().collect();
    queue.end(end);
    accepted
}

fn abort(kind: ErrorKind) -> End {
    End::Abort(Error::of_kind(kind))
}

fn stop(queue: &Queue, kind: ErrorKind) -> Option<usize> {
    let stopping = queue.stop(&Error::of_kind(kind))?;
    Some(run_all(&stopping.callbacks))
}

/// Runs callbacks as the stream does; returns how many.
fn run_all(callbacks: &[StdArc<StopCallback>]) -> usize {
    let error = Error::of_kind(STOPPED);
    callbacks.iter().for_each(|callback| callback.run(&error));
    callbacks.len()
}

fn callback(call: impl FnOnce(&Error) + Send + 'static) -> StdArc<StopCallback> {
    StopCallback::new(Box::new(call))
}

fn next(queue: &Queue) -> Option<Result<Bytes, ErrorKind>> {
    let next = block_on(poll_fn(|cx| queue.poll_pop(cx)));
    next.map(|chunk| chunk.map_err(|error| error.kind()))
}

/// Takes everything up to the end. `releases`: releases each chunk before it polls for the next.
fn consume(queue: &Queue, releases: bool) -> (Vec<u8>, Result<(), ErrorKind>) {
    let mut bytes = Vec::new();
    loop {
        match next(queue) {
            Some(Ok(chunk)) => {
                bytes.push(chunk[0]);
                if releases {
                    queue.release(1);
                }
            }
            Some(Err(kind)) => return (bytes, Err(kind)),
            None => return (bytes, Ok(())),
        }
    }
}

/// Counts wake-ups.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: StdArc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn cause(queue: &Queue) -> Option<ErrorKind> {
    queue.snapshot().cause.map(|error| error.kind())
}

// ---- order and back-pressure ----

#[test]
fn loom_chunks_arrive_in_order_and_then_the_end() {
    loom::model(|| {
        let queue = queue(2);
        let source = spawn(&queue, |queue| produce(queue, &[1, 2], End::Finish));
        assert_eq!(consume(&queue, true), (vec![1, 2], Ok(())));
        assert_eq!(source.join().unwrap(), [1, 2]);
    });
}

#[test]
fn loom_a_push_wakes_the_reader_that_registers_meanwhile() {
    loom::model(|| {
        let queue = queue(10);
        let source = spawn(&queue, |queue| push(queue, 1));
        assert_eq!(next(&queue).unwrap().unwrap(), [1].as_slice());
        assert_eq!(source.join().unwrap(), Ok(()));
    });
}

#[test]
fn loom_a_release_wakes_the_push_that_waits_meanwhile() {
    loom::model(|| {
        let queue = queue(1);
        push(&queue, 1).unwrap();
        let source = spawn(&queue, |queue| push(queue, 2));
        // Takes and releases, but does not poll for more: only the release can wake the source.
        assert_eq!(next(&queue).unwrap().unwrap(), [1].as_slice());
        queue.release(1);
        assert_eq!(source.join().unwrap(), Ok(()));
    });
}

#[test]
fn loom_a_release_elsewhere_wakes_the_source() {
    // The consumer passes its chunk to another thread, which releases it.
    loom::model(|| {
        let queue = queue(1);
        push(&queue, 1).unwrap();
        assert_eq!(next(&queue).unwrap().unwrap(), [1].as_slice());
        let source = spawn(&queue, |queue| push(queue, 2));
        let elsewhere = spawn(&queue, |queue| queue.release(1));
        assert_eq!(source.join().unwrap(), Ok(()));
        elsewhere.join().unwrap();
        assert_eq!(next(&queue).unwrap().unwrap(), [2].as_slice());
    });
}

#[test]
fn loom_a_reader_that_keeps_its_chunks_and_asks_for_more_gets_more() {
    loom::model(|| {
        let queue = queue(1);
        push(&queue, 1).unwrap();
        let source = spawn(&queue, |queue| produce(queue, &[2], End::Finish));
        assert_eq!(consume(&queue, false), (vec![1, 2], Ok(())));
        assert_eq!(source.join().unwrap(), [2]);
    });
}

#[test]
fn loom_a_chunk_above_the_bound_passes_an_empty_queue() {
    loom::model(|| {
        let queue = queue(1);
        push(&queue, 1).unwrap();
        let source = spawn(&queue, |queue| queue.push(Bytes::from_static(&[2; 9]), 9));
        assert_eq!(next(&queue).unwrap().unwrap().len(), 1);
        queue.release(1);
        source.join().unwrap().unwrap();
        assert_eq!(next(&queue).unwrap().unwrap().len(), 9);
    });
}

// ---- the writer's turn ----

/// A stream of chunks of three bytes with room for everything that a model writes. The model acts
/// as source, watchdog and reader.
fn stream() -> StdArc<StreamCore> {
    let pool = StreamPool::new(PoolOptions::default());
    let options = StreamOptions::new().chunk_bytes(3).buffer_bytes(100);
    options.pool(&pool).new_stream()
}

fn spawn_with<T: 'static>(
    core: &StdArc<StreamCore>,
    run: impl FnOnce(&StdArc<StreamCore>, &StreamWriter) -> T + 'static,
) -> JoinHandle<T> {
    let core = StdArc::clone(core);
    thread::spawn(move || run(&core, &StreamWriter::new(StdArc::clone(&core))))
}

/// The chunks that are queued after the writer was closed.
fn written(core: &StdArc<StreamCore>) -> Vec<Vec<u8>> {
    let writer = StreamWriter::new(StdArc::clone(core));
    writer.close().unwrap();
    core.queue.end(End::Finish);
    let chunks = std::iter::from_fn(|| next(&core.queue));
    let chunks = chunks.map(|chunk| chunk.unwrap().to_vec()).collect();
    core.queue.consumer_done();
    chunks
}

#[test]
fn loom_the_watchdogs_hand_over_beside_writes_keeps_the_order() {
    loom::model(|| {
        let core = stream();
        StreamWriter::new(StdArc::clone(&core))
            .write_slice(&[1])
            .unwrap();
        let seen = hand_over_if_idle(&core, None);
        // One write that only fills the chunk, and one that does not fit.
        let source = spawn_with(&core, |_, writer| {
            writer.write_slice(&[2]).unwrap();
            writer.write_slice(&[3, 4]).unwrap();
        });
        let watchdog = spawn_with(&core, move |core, _| hand_over_if_idle(core, seen));
        source.join().unwrap();
        watchdog.join().unwrap();
        assert_eq!(written(&core).concat(), [1, 2, 3, 4]);
    });
}

#[test]
fn loom_writes_of_two_threads_stay_whole() {
    loom::model(|| {
        let core = stream();
        let one = spawn_with(&core, |_, writer| writer.write_slice(&[1, 1]));
        let other = spawn_with(&core, |_, writer| writer.write_slice(&[2, 2]));
        one.join().unwrap().unwrap();
        other.join().unwrap().unwrap();
        let chunks = written(&core);
        assert!(matches!(
            chunks.concat().as_slice(),
            [1, 1, 2, 2] | [2, 2, 1, 1]
        ));
        assert_eq!(chunks[0].len(), 3, "a chunk was handed over half full");
    });
}

#[test]
fn loom_a_write_beside_the_close_is_whole_or_refused() {
    loom::model(|| {
        let core = stream();
        StreamWriter::new(StdArc::clone(&core))
            .write_slice(&[1])
            .unwrap();
        let late = spawn_with(&core, |_, writer| writer.write_slice(&[2]).is_ok());
        let bytes = written(&core).concat();
        let accepted = late.join().unwrap();
        assert_eq!(bytes, if accepted { vec![1, 2] } else { vec![1] });
    });
}

// ---- ends ----

#[test]
fn loom_a_finish_wakes_the_reader_that_registers_meanwhile() {
    loom::model(|| {
        let queue = queue(1);
        let source = spawn(&queue, |queue| queue.end(End::Finish));
        assert!(next(&queue).is_none());
        source.join().unwrap();
        assert!(next(&queue).is_none(), "the end stays the end");
    });
}

#[test]
fn loom_an_abort_comes_after_the_chunks_before_it() {
    loom::model(|| {
        let queue = queue(1);
        let source = spawn(&queue, |queue| produce(queue, &[1], abort(FAILED)));
        assert_eq!(consume(&queue, true), (vec![1], Err(FAILED)));
        source.join().unwrap();
        assert_eq!(cause(&queue), Some(FAILED));
    });
}

#[test]
fn loom_a_write_beside_the_end_is_delivered_or_refused() {
    loom::model(|| {
        let queue = queue(2);
        let late = spawn(&queue, |queue| push(queue, 1));
        queue.end(End::Finish);
        let late = late.join().unwrap();
        let (bytes, end) = consume(&queue, true);
        assert_eq!(end, Ok(()));
        match late {
            Ok(()) => assert_eq!(bytes, [1]),
            Err(kind) => {
                assert_eq!(kind, ErrorKind::Ended);
                assert_eq!(bytes, []);
            }
        }
        assert_eq!(push(&queue, 2), Err(ErrorKind::Ended));
    });
}

#[test]
fn loom_the_stream_is_done_once_whoever_is_last() {
    loom::model(|| {
        let queue = queue(1);
        let source = spawn(&queue, |queue| queue.end(End::Finish));
        let consumer = spawn(&queue, |queue| {
            stop(queue, HUNG_UP);
            queue.consumer_done()
        });
        let told = [source.join().unwrap(), consumer.join().unwrap()];
        assert!(told[0] != told[1], "{told:?}");
        assert!(!queue.end(End::Finish) && !queue.consumer_done());
    });
}

#[test]
fn loom_the_end_of_the_last_side_wakes_whoever_awaits_both() {
    loom::model(|| {
        let queue = queue(1);
        queue.consumer_done();
        let source = spawn(&queue, |queue| queue.end(End::Finish));
        block_on(poll_fn(|cx| queue.poll_done(cx)));
        source.join().unwrap();
    });
}

// ---- stops ----

#[test]
fn loom_a_stop_frees_a_push_that_is_blocked() {
    loom::model(|| {
        let queue = queue(1);
        push(&queue, 1).unwrap();
        let source = spawn(&queue, |queue| push(queue, 2));
        assert_eq!(stop(&queue, STOPPED), Some(0));
        assert_eq!(source.join().unwrap(), Err(STOPPED));
        assert_eq!(
            push(&queue, 3),
            Err(STOPPED),
            "once refused, always refused"
        );
        assert_eq!(consume(&queue, true), (vec![1], Err(STOPPED)));
    });
}

#[test]
fn loom_a_hang_up_frees_the_source_and_throws_the_queue_away() {
    loom::model(|| {
        let queue = queue(1);
        let source = spawn(&queue, |queue| produce(queue, &[1, 2], End::Finish));
        stop(&queue, HUNG_UP);
        assert_eq!(next(&queue), Some(Err(HUNG_UP)));
        queue.consumer_done();
        source.join().unwrap();
        assert!(queue.has_hung_up());
        assert_eq!(cause(&queue), Some(HUNG_UP));
    });
}

#[test]
fn loom_a_stop_beside_the_end_gives_the_reader_one_end_and_the_record_the_same() {
    loom::model(|| {
        let queue = queue(1);
        let source = spawn(&queue, |queue| queue.end(End::Finish));
        let stopping = spawn(&queue, |queue| stop(queue, STOPPED));
        let (bytes, end) = consume(&queue, true);
        queue.consumer_done();
        source.join().unwrap();
        stopping.join().unwrap();
        assert_eq!(bytes, []);
        match end {
            Err(kind) => assert_eq!((kind, cause(&queue)), (STOPPED, Some(STOPPED))),
            // The stop came after the consumer had the end: it is too late to have any effect.
            Ok(()) => assert_eq!(cause(&queue), None),
        }
    });
}

#[test]
fn loom_a_hang_up_after_the_whole_was_taken_counts_until_the_consumer_is_done() {
    loom::model(|| {
        let queue = queue(1);
        queue.end(End::Finish);
        assert!(next(&queue).is_none());
        let stopping = spawn(&queue, |queue| stop(queue, STOPPED));
        let hanging_up = spawn(&queue, |queue| stop(queue, HUNG_UP));
        queue.consumer_done();
        stopping.join().unwrap();
        hanging_up.join().unwrap();
        // A stop that comes too late is not reported, unless the consumer hung up as well.
        assert_eq!(cause(&queue).is_some(), queue.has_hung_up());
    });
}

#[test]
fn loom_a_failure_beside_a_stop_is_an_abort_with_one_cause() {
    loom::model(|| {
        let queue = queue(1);
        let source = spawn(&queue, |queue| queue.end(abort(FAILED)));
        let stopping = spawn(&queue, |queue| stop(queue, STOPPED));
        let (_, end) = consume(&queue, true);
        source.join().unwrap();
        assert_eq!(
            stopping.join().unwrap(),
            Some(0),
            "the source was told, whoever was first"
        );
        let cause = cause(&queue).unwrap();
        assert_eq!(
            end,
            Err(cause),
            "the reader and the record tell two stories"
        );
    });
}

#[test]
fn loom_of_two_stops_one_counts_and_it_alone_gets_the_callbacks() {
    loom::model(|| {
        let queue = queue(1);
        let runs = StdArc::new(AtomicUsize::new(0));
        let count = StdArc::clone(&runs);
        let kept = queue.on_stop(&callback(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        }));
        assert!(kept.is_none());
        let one = spawn(&queue, |queue| stop(queue, STOPPED));
        let other = spawn(&queue, |queue| stop(queue, ErrorKind::ShutDown));
        let (one, other) = (one.join().unwrap(), other.join().unwrap());
        assert!(matches!((one, other), (Some(1), None) | (None, Some(1))));
        assert_eq!(runs.load(Ordering::Relaxed), 1);
        let winner = if one.is_some() {
            STOPPED
        } else {
            ErrorKind::ShutDown
        };
        assert_eq!(cause(&queue), Some(winner));
        assert_eq!(push(&queue, 1), Err(winner));
        assert_eq!(next(&queue), Some(Err(winner)));
    });
}

#[test]
fn loom_a_callback_that_comes_beside_the_stop_runs_once() {
    loom::model(|| {
        let queue = queue(1);
        let runs = StdArc::new(AtomicUsize::new(0));
        let count = StdArc::clone(&runs);
        let source = spawn(&queue, move |queue| {
            let callback = callback(move |_| {
                count.fetch_add(1, Ordering::Relaxed);
            });
            if let Some(why) = queue.on_stop(&callback) {
                callback.run(&why);
            }
        });
        stop(&queue, STOPPED);
        source.join().unwrap();
        assert_eq!(runs.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn loom_a_callback_of_a_stream_that_ends_well_is_dropped_unrun() {
    loom::model(|| {
        let queue = queue(1);
        let held = StdArc::new(());
        let holds = StdArc::clone(&held);
        let source = spawn(&queue, move |queue| {
            let stopped = queue.on_stop(&callback(move |_| unreachable!("{holds:?}")));
            assert!(stopped.is_none());
            queue.end(End::Finish);
        });
        assert!(next(&queue).is_none());
        queue.consumer_done();
        source.join().unwrap();
        assert_eq!(stop(&queue, STOPPED), None);
        assert_eq!(StdArc::strong_count(&held), 1);
    });
}

#[test]
fn loom_a_stop_wakes_whoever_awaits_it() {
    loom::model(|| {
        let queue = queue(1);
        let stopping = spawn(&queue, |queue| stop(queue, STOPPED));
        let why = block_on(poll_fn(|cx| queue.poll_stopped(cx)));
        assert_eq!(why.unwrap().kind(), STOPPED);
        assert!(queue.is_stopped());
        stopping.join().unwrap();
    });
}

#[test]
fn loom_whoever_awaits_a_stop_hears_of_an_end_without_one() {
    // Three threads, of which one has a waker of loom's: without a bound the model takes minutes. Three
    // switches that no thread asks for find most errors (Musuvathi and Qadeer, PLDI 2007).
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let queue = queue(1);
        let source = spawn(&queue, |queue| queue.end(End::Finish));
        let consumer = spawn(&queue, |queue| {
            assert!(next(queue).is_none());
            queue.consumer_done();
        });
        let why = block_on(poll_fn(|cx| queue.poll_stopped(cx)));
        assert!(why.is_none());
        source.join().unwrap();
        consumer.join().unwrap();
    });
}

#[test]
fn loom_a_hang_up_beside_a_stop_leaves_nothing_for_the_dead_consumer() {
    loom::model(|| {
        let queue = queue(2);
        push(&queue, 1).unwrap();
        let kept = queue.on_stop(&callback(|_| {}));
        assert!(kept.is_none());
        let stopping = spawn(&queue, |queue| stop(queue, STOPPED));
        let hanging_up = spawn(&queue, |queue| stop(queue, HUNG_UP));
        let told = [stopping.join().unwrap(), hanging_up.join().unwrap()];
        let calls: usize = told.iter().flatten().sum();
        assert_eq!(calls, 1, "the source was told once");
        assert_eq!(next(&queue), Some(Err(HUNG_UP)));
        assert!(queue.has_hung_up());
    });
}

#[test]
fn loom_nothing_follows_a_write_that_failed() {
    loom::model(|| {
        let queue = queue(2);
        let source = spawn(&queue, |queue| produce(queue, &[1, 2], End::Finish));
        // The consumer fails at the first, while the second may be on its way.
        assert_eq!(next(&queue).unwrap().unwrap(), [1].as_slice());
        stop(&queue, ErrorKind::ConsumerFailed);
        assert_eq!(next(&queue), Some(Err(ErrorKind::ConsumerFailed)));
        source.join().unwrap();
        assert_eq!(next(&queue), Some(Err(ErrorKind::ConsumerFailed)));
    });
}

// ---- pauses ----

#[test]
fn loom_a_chunk_that_comes_in_a_pause_is_delivered_after_it() {
    loom::model(|| {
        let queue = queue(1);
        let source = spawn(&queue, |queue| {
            queue.pause();
            push(queue, 1).unwrap();
            queue.resume();
        });
        assert_eq!(next(&queue).unwrap().unwrap(), [1].as_slice());
        source.join().unwrap();
    });
}

#[test]
fn loom_a_push_beside_a_resume_wakes_the_reader() {
    loom::model(|| {
        let queue = queue(1);
        queue.pause();
        let wakes = StdArc::new(Wakes::default());
        let waker = Waker::from(StdArc::clone(&wakes));
        let mut cx = Context::from_waker(&waker);
        assert!(queue.poll_pop(&mut cx).is_pending());
        let source = spawn(&queue, |queue| push(queue, 1));
        let resuming = spawn(&queue, |queue| queue.resume());
        assert_eq!(source.join().unwrap(), Ok(()));
        resuming.join().unwrap();
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        assert!(queue.poll_pop(&mut cx).is_ready());
    });
}

#[test]
fn loom_a_pause_and_a_resume_beside_the_end_lose_nothing() {
    loom::model(|| {
        let queue = queue(1);
        push(&queue, 1).unwrap();
        queue.end(End::Finish);
        let pausing = spawn(&queue, |queue| {
            queue.pause();
            queue.resume();
        });
        assert_eq!(consume(&queue, true), (vec![1], Ok(())));
        pausing.join().unwrap();
    });
}

#[test]
fn loom_a_resume_wakes_the_reader_that_waits_paused() {
    loom::model(|| {
        let queue = queue(1);
        queue.pause();
        push(&queue, 1).unwrap();
        let resuming = spawn(&queue, |queue| queue.resume());
        assert_eq!(next(&queue).unwrap().unwrap(), [1].as_slice());
        resuming.join().unwrap();
    });
}

#[test]
fn loom_a_resume_frees_the_source_behind_a_paused_reader() {
    loom::model(|| {
        let queue = queue(1);
        queue.pause();
        push(&queue, 1).unwrap();
        let source = spawn(&queue, |queue| push(queue, 2));
        let resuming = spawn(&queue, |queue| queue.resume());
        assert_eq!(next(&queue).unwrap().unwrap(), [1].as_slice());
        queue.release(1);
        assert_eq!(source.join().unwrap(), Ok(()));
        resuming.join().unwrap();
    });
}

#[test]
fn loom_a_stop_reaches_a_reader_whoever_pauses() {
    loom::model(|| {
        let queue = queue(1);
        let pausing = spawn(&queue, |queue| queue.pause());
        let stopping = spawn(&queue, |queue| stop(queue, STOPPED));
        assert_eq!(consume(&queue, true), (vec![], Err(STOPPED)));
        pausing.join().unwrap();
        stopping.join().unwrap();
    });
}

#[test]
fn loom_a_resume_beside_a_stop_does_not_revive() {
    loom::model(|| {
        let queue = queue(1);
        queue.pause();
        push(&queue, 1).unwrap();
        let source = spawn(&queue, |queue| push(queue, 2));
        let resuming = spawn(&queue, |queue| queue.resume());
        stop(&queue, HUNG_UP);
        assert_eq!(source.join().unwrap(), Err(HUNG_UP));
        resuming.join().unwrap();
        assert_eq!(next(&queue), Some(Err(HUNG_UP)));
    });
}

// ---- consumers that are given up ----

#[test]
fn loom_a_stall_beside_the_end_and_the_drop_makes_the_stream_done_once() {
    loom::model(|| {
        let queue = queue(2);
        push(&queue, 1).unwrap();
        let source = spawn(&queue, |queue| queue.end(End::Finish));
        let stalling = spawn(&queue, |queue| {
            let stopping = queue.stop(&Error::of_kind(ErrorKind::ConsumerStalled));
            stopping.is_some_and(|stopping| stopping.is_done)
        });
        let dropped = queue.consumer_done();
        let told = [source.join().unwrap(), stalling.join().unwrap(), dropped];
        let times = told.iter().filter(|told| **told).count();
        assert_eq!(times, 1, "{told:?}");
        assert!(queue.snapshot().is_done);
    });
}

#[test]
fn loom_a_source_of_a_consumer_that_was_given_up_ends_the_stream() {
    loom::model(|| {
        let queue = queue(1);
        push(&queue, 1).unwrap();
        // It is blocked, or about to be.
        let source = spawn(&queue, |queue| {
            let error = push(queue, 2).unwrap_err();
            assert_eq!(error, ErrorKind::ConsumerStalled);
            queue.end(abort(error))
        });
        queue.stop(&Error::of_kind(ErrorKind::ConsumerStalled));
        assert!(source.join().unwrap(), "although nobody polls");
    });
}

// ---- async writers ----

fn wait_for_room(queue: &Queue) {
    block_on(poll_fn(|cx| queue.poll_room(1, cx)));
}

/// A writer that waits for room beside a reader that releases its chunks, or keeps them.
fn write_beside(releases: bool) {
    loom::model(move || {
        let queue = queue(1);
        push(&queue, 1).unwrap();
        let writer = spawn(&queue, |queue| {
            wait_for_room(queue);
            queue.push_now(Bytes::from_static(&[2]), 1).unwrap();
            queue.end(End::Finish);
        });
        assert_eq!(consume(&queue, releases), (vec![1, 2], Ok(())));
        writer.join().unwrap();
    });
}

#[test]
fn loom_a_release_wakes_the_async_writer_that_registers_meanwhile() {
    write_beside(true);
}

#[test]
fn loom_a_reader_that_keeps_its_chunks_wakes_the_async_writer() {
    write_beside(false);
}

#[test]
fn loom_a_stop_wakes_the_async_writer() {
    loom::model(|| {
        let queue = queue(1);
        push(&queue, 1).unwrap();
        let writer = spawn(&queue, |queue| {
            wait_for_room(queue);
            queue.check_open().unwrap_err().kind()
        });
        stop(&queue, STOPPED);
        assert_eq!(writer.join().unwrap(), STOPPED);
    });
}

#[test]
fn loom_a_stop_beside_the_poll_of_an_async_source_drops_it_once() {
    loom::model(|| {
        let core = stream();
        let drops = StdArc::new(AtomicUsize::new(0));
        struct NoteDrop(StdArc<AtomicUsize>);
        impl Drop for NoteDrop {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let note = NoteDrop(StdArc::clone(&drops));
        core.async_source.park(async move {
            let _note = note;
            std::future::pending::<Result<(), Error>>().await
        });
        core.let_reader_poll();
        let stopping = {
            let core = StdArc::clone(&core);
            thread::spawn(move || {
                core.queue.stop(&Error::of_kind(STOPPED));
                core.dismiss_source();
            })
        };
        let cx = &mut Context::from_waker(Waker::noop());
        crate::async_source::poll_source(&core, cx);
        stopping.join().unwrap();
        assert_eq!(drops.load(Ordering::Relaxed), 1);
        assert!(!core.queue.end(End::Finish), "its side has ended");
    });
}

#[test]
fn loom_a_resume_beside_a_hand_over_loses_nothing() {
    loom::model(|| {
        let pool = StreamPool::new(PoolOptions::default());
        let options = StreamOptions::new().chunk_bytes(2).buffer_bytes(4);
        let core = options.pool(&pool).new_stream();
        let writer = StreamWriter::new(StdArc::clone(&core));
        writer.write_slice(&[1, 2]).unwrap();
        // The consumer keeps all that the buffer holds, and asks for more: there is room only as long
        // as it waits.
        let kept = next(&core.queue).unwrap().unwrap();
        writer.write_slice(&[3]).unwrap();
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(core.queue.poll_pop(cx).is_pending());
        let resuming = spawn_with(&core, |core, _| core.queue.resume());
        writer.hand_over_part();
        resuming.join().unwrap();
        assert_eq!(written(&core).concat(), [3]);
        drop(kept);
    });
}

// ---- the turn of a delivery in an event loop ----

/// Two threads note an event each and wake; a job runs on the thread that wakes, which is the worst of
/// event loops. Whoever drives last has seen both events.
#[test]
fn loom_a_wake_up_while_a_delivery_is_driven_drives_it_once_more() {
    loom::model(|| {
        let events = Arc::new(loom::sync::atomic::AtomicUsize::new(0));
        let seen = StdArc::new(AtomicUsize::new(0));
        let turn = Arc::new(Turn::new(()));
        let wake = |events: Arc<loom::sync::atomic::AtomicUsize>,
                    turn: Arc<Turn<()>>,
                    seen: StdArc<AtomicUsize>| {
            thread::spawn(move || {
                events.fetch_add(1, Ordering::SeqCst);
                while turn.must_schedule()
                    && turn.run(|()| {
                        seen.store(events.load(Ordering::SeqCst), Ordering::SeqCst);
                        false
                    })
                {}
            })
        };
        let threads =
            [0, 1].map(|_| wake(Arc::clone(&events), Arc::clone(&turn), StdArc::clone(&seen)));
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(seen.load(Ordering::SeqCst), 2);
    });
}
