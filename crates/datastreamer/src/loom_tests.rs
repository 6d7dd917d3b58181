//! Models of the core: of `queue.rs` with `depth.rs`, of the turns in `writer.rs`, of a stream's place
//! (`pool.rs`, `share.rs`, `stream_core.rs`) and of async sources. Each model runs under every order in
//! which its threads can take the locks, or under those of few preemptions (`bounded`).
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
    time::{Duration, Instant},
};

use bytes::Bytes;
use loom::{
    future::block_on,
    sync::Arc,
    thread::{self, JoinHandle},
};

use crate::{
    async_writer::AsyncStreamWriter,
    config::StreamOptions,
    depth::{Depth, Growing, Reserve},
    error::{Error, ErrorKind},
    outcome::Outcome,
    pool::{Job, Refused, Source, StreamPool},
    pool_options::PoolOptions,
    push::turn::Turn,
    queue::{End, Queue},
    reader::ChunkReader,
    settings::EndOnStop,
    share::{Share, ShareOf},
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

/// Runs a model under all orders with at most so many switches that no thread asks for: without a
/// bound it takes minutes. Few of them find most errors (Musuvathi and Qadeer, PLDI 2007).
fn bounded(preemptions: usize, run: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(run);
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

// ---- how deep the buffer is ----

const FAST: Duration = Duration::from_millis(1);
const SLOW: Duration = Duration::from_secs(1);

/// A queue of chunks that count as one byte, with a base for three of them and a depth for seven. Its
/// source's waits for room last as long as is said here.
fn growing_queue(reserve: &Reserve, waits: &[Duration]) -> Arc<Queue> {
    let buffer = Growing { base: 4, max: 8 };
    let depth = Depth::new(buffer, Growing::fixed(1), reserve).with_waits(waits);
    Arc::new(Queue::new(depth, EndOnStop::Abort))
}

/// Pushes a chunk that counts as one byte, after which the stream has delivered enough to grow.
fn push_much(queue: &Queue, byte: u8) {
    queue.push(Bytes::from(vec![byte; 200]), 1).unwrap();
}

#[test]
fn loom_releases_down_to_the_low_water_mark_wake_the_source() {
    loom::model(|| {
        // Room for three chunks; a source that waits is woken when one is left.
        let depth = Depth::new(Growing::fixed(8), Growing::fixed(2), &Reserve::new(0));
        let queue = Arc::new(Queue::new(depth, EndOnStop::Abort));
        let push = |queue: &Queue| queue.push(Bytes::from_static(&[7; 2]), 2).is_ok();
        assert!((0..3).all(|_| push(&queue)));
        for _ in 0..2 {
            next(&queue).unwrap().unwrap();
        }
        let source = spawn(&queue, push);
        // The consumer does not ask for more.
        let elsewhere = spawn(&queue, |queue| queue.release(2));
        queue.release(2);
        assert!(source.join().unwrap());
        elsewhere.join().unwrap();
    });
}

#[test]
fn loom_two_sources_that_grow_borrow_no_more_than_the_reserve() {
    let seen = StdArc::new(std::sync::Mutex::new(std::collections::BTreeSet::new()));
    let seeing = StdArc::clone(&seen);
    bounded(3, move || {
        let reserve = Reserve::new(4);
        let queues = [(); 2].map(|()| growing_queue(&reserve, &[FAST]));
        let sources = queues.each_ref().map(|queue| {
            (0..3).for_each(|byte| push_much(queue, byte));
            spawn(queue, |queue| {
                push_much(queue, 3);
                queue.depth_bytes()
            })
        });
        for queue in &queues {
            for _ in 0..3 {
                next(queue).unwrap().unwrap();
                queue.release(1);
            }
        }
        let depths = sources.map(|source| source.join().unwrap());
        seeing.lock().unwrap().insert(depths);
        for queue in &queues {
            queue.end(End::Finish);
            queue.consumer_done();
            queue.release(1);
        }
        assert_eq!(reserve.left(), 4);
    });
    // A source that need not wait does not grow.
    let seen: Vec<_> = seen.lock().unwrap().iter().copied().collect();
    assert_eq!(seen, [[4, 4], [4, 8], [8, 4]]);
}

/// A source with a deep buffer waits for a consumer that has become slow.
fn shrink_beside(releases: bool) {
    bounded(3, move || {
        let reserve = Reserve::new(4);
        let buffer = Growing { base: 4, max: 8 };
        let depth = Depth::new(buffer, Growing::fixed(1), &reserve);
        let mut depth = depth.with_waits(&[FAST, SLOW]);
        depth.adapt_after_wait(Instant::now(), 64);
        assert_eq!(reserve.left(), 0, "it has grown");
        let queue = Arc::new(Queue::new(depth, EndOnStop::Abort));
        (1..=7).for_each(|byte| push(&queue, byte).unwrap());
        let source = spawn(&queue, |queue| produce(queue, &[8, 9], End::Finish));
        assert_eq!(consume(&queue, releases), ((1..=9).collect(), Ok(())));
        source.join().unwrap();
        queue.consumer_done();
        if !releases {
            (0..9).for_each(|_| queue.release(1));
        }
        assert_eq!(reserve.left(), 4);
    });
}

#[test]
fn loom_a_source_is_woken_although_its_buffer_shrinks() {
    shrink_beside(true);
}

#[test]
fn loom_a_source_is_woken_by_a_reader_that_keeps_its_chunks_although_its_buffer_shrinks() {
    shrink_beside(false);
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
    // Three threads, of which one has a waker of loom's.
    bounded(3, || {
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

// ---- a stream's place in the pool ----

/// A pool with one place.
fn small_pool() -> StreamPool {
    StreamPool::new(PoolOptions::new().max_active(1))
}

/// A stream that has a place or waits for one, or shares that of another; the model is its source.
fn submitted(pool: &StreamPool, other: Option<&StdArc<StreamCore>>) -> StdArc<StreamCore> {
    submitted_with(pool, other, |_| {})
}

fn submitted_with(
    pool: &StreamPool,
    other: Option<&StdArc<StreamCore>>,
    prepare: impl FnOnce(&StdArc<StreamCore>),
) -> StdArc<StreamCore> {
    let share = Share::new("a client", ShareOf::Consumer, 1).max_waiting(2);
    let options = StreamOptions::new().chunk_bytes(2).buffer_bytes(4);
    let core = options.pool(pool).share(share).new_stream();
    prepare(&core);
    let job = Job {
        core: StdArc::clone(&core),
        source: Source::Reader,
    };
    assert!(pool.submit(job, other).is_ok());
    core
}

/// Ends both sides as a source and a consumer do that have succeeded.
fn end_well(core: &StreamCore) {
    core.end_source(End::Finish);
    core.end_consumer();
}

fn places(pool: &StreamPool) -> (usize, usize) {
    (pool.active(), pool.waiting())
}

/// All streams are done, and nothing is left of them.
fn assert_empty(pool: &StreamPool) {
    assert_eq!((places(pool), pool.shares()), ((0, 0), 0));
    assert!(pool.live_streams().is_empty());
}

#[test]
fn loom_a_place_is_given_back_once_whatever_ends_the_stream() {
    loom::model(|| {
        let pool = small_pool();
        let first = submitted(&pool, None);
        let second = submitted(&pool, None);
        assert_eq!(places(&pool), (1, 1));
        let reader = ChunkReader::new(StdArc::clone(&first));
        let source = spawn_with(&first, |core, _| core.end_source(End::Finish));
        let watchdog = spawn_with(&first, |core, _| {
            core.stop(Error::of_kind(ErrorKind::ConsumerStalled));
        });
        drop(reader);
        source.join().unwrap();
        watchdog.join().unwrap();
        assert_eq!(places(&pool), (1, 0), "the stream that waits is next");
        assert!(second.source_has_started());
        end_well(&second);
        assert_empty(&pool);
    });
}

#[test]
fn loom_a_consumer_that_is_given_up_beside_the_end_keeps_no_place() {
    loom::model(|| {
        let pool = small_pool();
        let first = submitted(&pool, None);
        let second = submitted(&pool, None);
        let reader = ChunkReader::new(StdArc::clone(&first));
        let source = spawn_with(&first, |core, _| core.end_source(abort(FAILED)));
        first.stop(Error::of_kind(ErrorKind::ConsumerStalled));
        source.join().unwrap();
        assert_eq!(places(&pool), (1, 0), "although nobody polls");
        drop(reader);
        assert_eq!(places(&pool), (1, 0));
        end_well(&second);
        assert_empty(&pool);
    });
}

#[test]
fn loom_a_stop_beside_the_end_of_both_sides_keeps_no_place() {
    loom::model(|| {
        let pool = small_pool();
        let first = submitted(&pool, None);
        let second = submitted(&pool, None);
        let stopping = spawn_with(&first, |core, _| core.stop(Error::of_kind(STOPPED)));
        let source = spawn_with(&first, |core, _| core.end_source(End::Finish));
        first.end_consumer();
        stopping.join().unwrap();
        source.join().unwrap();
        assert_eq!(places(&pool), (1, 0));
        end_well(&second);
        assert_empty(&pool);
    });
}

#[test]
fn loom_a_stream_that_leaves_beside_its_admission_keeps_no_place() {
    loom::model(|| {
        let pool = small_pool();
        let first = submitted(&pool, None);
        let drops = StdArc::new(AtomicUsize::new(0));
        let second = submitted_with(&pool, None, |core| park_for_ever(core, &drops));
        let third = submitted(&pool, None);
        let reader = ChunkReader::new(StdArc::clone(&second));
        let source = spawn_with(&first, |core, _| end_well(core));
        drop(reader);
        source.join().unwrap();
        assert_eq!(drops.load(Ordering::Relaxed), 1, "its source");
        assert_eq!(places(&pool), (1, 0), "the next but one has it");
        assert!(third.source_has_started());
        end_well(&third);
        assert_empty(&pool);
    });
}

#[test]
fn loom_a_stream_that_is_stopped_and_leaves_beside_its_admission_keeps_no_place() {
    bounded(3, || {
        let pool = small_pool();
        let first = submitted(&pool, None);
        let drops = StdArc::new(AtomicUsize::new(0));
        let second = submitted_with(&pool, None, |core| park_for_ever(core, &drops));
        let reader = ChunkReader::new(StdArc::clone(&second));
        let source = spawn_with(&first, |core, _| end_well(core));
        let stopping = spawn_with(&second, |core, _| core.stop(Error::of_kind(STOPPED)));
        drop(reader);
        source.join().unwrap();
        stopping.join().unwrap();
        assert_eq!(drops.load(Ordering::Relaxed), 1, "its source");
        assert_empty(&pool);
    });
}

#[test]
fn loom_a_place_that_is_shared_is_given_back_with_the_last_of_both() {
    loom::model(|| {
        let pool = small_pool();
        let plain = submitted(&pool, None);
        let coded = submitted(&pool, Some(&plain));
        let next = submitted(&pool, None);
        assert_eq!(places(&pool), (1, 1));
        let ending = spawn_with(&plain, |core, _| end_well(core));
        let coded = spawn_with(&coded, |core, _| core.end_source(End::Finish));
        coded.join().unwrap();
        ending.join().unwrap();
        assert_eq!(places(&pool), (1, 1), "the coded one is read still");
        assert!(!next.source_has_started());
    });
}

#[test]
fn loom_a_stream_that_shares_a_place_beside_its_end_holds_up_nobody() {
    loom::model(|| {
        let pool = small_pool();
        let first = submitted(&pool, None);
        let plain = submitted(&pool, None);
        // The place comes, and the coded stream asks for it.
        let first = spawn_with(&first, |core, _| end_well(core));
        let coding = {
            let (pool, plain) = (pool.clone(), StdArc::clone(&plain));
            thread::spawn(move || submitted(&pool, Some(&plain)))
        };
        first.join().unwrap();
        let coded = coding.join().unwrap();
        assert!(coded.source_has_started());
        let next = submitted(&pool, None);
        assert_eq!(places(&pool), (1, 1));
        // Both leave it at once.
        let plain = spawn_with(&plain, |core, _| end_well(core));
        end_well(&coded);
        plain.join().unwrap();
        assert_eq!(places(&pool), (1, 0));
        end_well(&next);
        assert_empty(&pool);
    });
}

#[test]
fn loom_a_stop_beside_the_request_for_a_place_leaves_nothing_that_waits() {
    loom::model(|| {
        let pool = small_pool();
        let first = submitted(&pool, None);
        let core = StreamOptions::new().pool(&pool).new_stream();
        let stopping = spawn_with(&core, |core, _| core.stop(Error::of_kind(STOPPED)));
        let job = Job {
            core: StdArc::clone(&core),
            source: Source::Reader,
        };
        if let Err(Refused { job, error }) = pool.submit(job, None) {
            assert_eq!(error.kind(), STOPPED);
            job.end_unrun(error);
        }
        stopping.join().unwrap();
        assert_eq!(places(&pool), (1, 0));
        core.end_consumer();
        end_well(&first);
        assert_empty(&pool);
    });
}

#[test]
fn loom_a_shut_down_beside_an_end_admits_or_refuses_whoever_waits() {
    loom::model(|| {
        let pool = small_pool();
        let first = submitted(&pool, None);
        let second = submitted(&pool, None);
        let ending = spawn_with(&first, |core, _| end_well(core));
        pool.refuse_new();
        ending.join().unwrap();
        let admitted = second.source_has_started();
        assert_eq!(places(&pool), (usize::from(admitted), 0));
        if !admitted {
            let refused = second.record().error.unwrap();
            assert_eq!(refused.kind(), ErrorKind::ShutDown);
        }
        end_well(&second);
        assert_empty(&pool);
    });
}

// ---- async sources ----

/// Counts a drop.
struct NoteDrop(StdArc<AtomicUsize>);

impl Drop for NoteDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Parks a source that writes nothing and never ends.
fn park_for_ever(core: &StdArc<StreamCore>, drops: &StdArc<AtomicUsize>) {
    let note = NoteDrop(StdArc::clone(drops));
    core.async_source.park(async move {
        let _note = note;
        std::future::pending::<Result<(), Error>>().await
    });
}

/// Parks a source that writes one byte and succeeds.
fn park_one_byte(core: &StdArc<StreamCore>, drops: &StdArc<AtomicUsize>) {
    let note = NoteDrop(StdArc::clone(drops));
    let mut writer = async_writer(core);
    core.async_source.park(async move {
        let _note = note;
        writer.write_slice(&[1]).await
    });
}

fn async_writer(core: &StdArc<StreamCore>) -> AsyncStreamWriter {
    AsyncStreamWriter::new(StreamWriter::new(StdArc::clone(core)))
}

/// Reads to the end.
fn read(reader: &mut ChunkReader) -> (Vec<u8>, Result<(), ErrorKind>) {
    let mut bytes = Vec::new();
    loop {
        match block_on(poll_fn(|cx| reader.poll_chunk(cx))) {
            Some(Ok(chunk)) => bytes.extend_from_slice(&chunk),
            Some(Err(error)) => return (bytes, Err(error.kind())),
            None => return (bytes, Ok(())),
        }
    }
}

#[test]
fn loom_a_stop_beside_the_poll_of_an_async_source_drops_it_once() {
    loom::model(|| {
        let core = stream();
        let drops = StdArc::new(AtomicUsize::new(0));
        park_for_ever(&core, &drops);
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
fn loom_a_stop_beside_the_last_poll_of_an_async_source_makes_one_end() {
    loom::model(|| {
        let pool = small_pool();
        let drops = StdArc::new(AtomicUsize::new(0));
        let core = submitted_with(&pool, None, |core| park_one_byte(core, &drops));
        let mut reader = ChunkReader::new(StdArc::clone(&core));
        let stopping = spawn_with(&core, |core, _| core.stop(Error::of_kind(STOPPED)));
        let (bytes, end) = read(&mut reader);
        stopping.join().unwrap();
        drop(reader);
        let outcome = core.record().outcome;
        match end {
            Ok(()) => assert_eq!(
                (bytes.as_slice(), outcome),
                (&[1][..], Some(Outcome::Complete))
            ),
            Err(kind) => assert_eq!((kind, outcome), (STOPPED, Some(Outcome::Cancelled))),
        }
        assert_eq!(drops.load(Ordering::Relaxed), 1);
        assert_empty(&pool);
    });
}

#[test]
fn loom_an_async_source_that_gets_its_place_beside_a_poll_runs() {
    loom::model(|| {
        let pool = small_pool();
        let first = submitted(&pool, None);
        let drops = StdArc::new(AtomicUsize::new(0));
        let second = submitted_with(&pool, None, |core| park_one_byte(core, &drops));
        let mut reader = ChunkReader::new(second);
        let first = spawn_with(&first, |core, _| end_well(core));
        assert_eq!(read(&mut reader), (vec![1], Ok(())));
        first.join().unwrap();
        assert_eq!(drops.load(Ordering::Relaxed), 1);
        assert_empty(&pool);
    });
}

#[test]
fn loom_a_stop_beside_the_drop_of_the_reader_drops_an_async_source_once() {
    loom::model(|| {
        let pool = small_pool();
        let drops = StdArc::new(AtomicUsize::new(0));
        let core = submitted_with(&pool, None, |core| park_for_ever(core, &drops));
        let mut reader = ChunkReader::new(StdArc::clone(&core));
        let stopping = spawn_with(&core, |core, _| core.stop(Error::of_kind(STOPPED)));
        assert!(!matches!(
            reader.try_next_chunk(),
            std::task::Poll::Ready(None)
        ));
        drop(reader);
        stopping.join().unwrap();
        assert_eq!(drops.load(Ordering::Relaxed), 1);
        assert_empty(&pool);
    });
}

#[test]
fn loom_the_drop_of_the_reader_reaches_a_writer_in_another_task() {
    loom::model(|| {
        let pool = small_pool();
        let drops = StdArc::new(AtomicUsize::new(0));
        let core = submitted_with(&pool, None, |core| park_for_ever(core, &drops));
        let reader = ChunkReader::new(StdArc::clone(&core));
        // More than there is room for.
        let mut writer = async_writer(&core);
        let task = thread::spawn(move || block_on(writer.write_slice(&[7; 6])).unwrap_err().kind());
        drop(reader);
        assert_eq!(task.join().unwrap(), HUNG_UP);
        assert_eq!(drops.load(Ordering::Relaxed), 1);
        assert_empty(&pool);
    });
}

#[test]
fn loom_a_write_in_another_task_beside_the_end_of_the_future_is_whole_or_refused() {
    loom::model(|| {
        let pool = small_pool();
        let drops = StdArc::new(AtomicUsize::new(0));
        let core = submitted_with(&pool, None, |core| park_one_byte(core, &drops));
        let mut reader = ChunkReader::new(StdArc::clone(&core));
        let mut writer = async_writer(&core);
        let task = thread::spawn(move || block_on(writer.write_slice(&[2])));
        let (bytes, end) = read(&mut reader);
        assert_eq!(end, Ok(()));
        match task.join().unwrap() {
            Ok(()) => assert!(matches!(bytes.as_slice(), [1, 2] | [2, 1]), "{bytes:?}"),
            Err(error) => assert_eq!((bytes, error.kind()), (vec![1], ErrorKind::Ended)),
        }
        assert_empty(&pool);
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
