//! c24: how many streams run, how many wait, for how long; and the threads that they run on.

use std::{
    collections::HashSet,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc::channel,
    },
    task::{Context, Waker},
    thread,
    time::{Duration, Instant},
};

use datastreamer::push::DataStreamer;
use datastreamer::{
    BlockedOn, ChunkReader, Error, ErrorKind, Outcome, PoolOptions, StreamHandle, StreamOptions,
    StreamPool,
};
use datastreamer_testkit::{
    BoxError, Call, Probe, Recorder, Source, endless, eventually, noise, noise_source, promptly,
    silent_until_stopped, within, writes,
};

use crate::ways_out::block_on;

fn pool(max_active: usize, max_waiting: usize) -> StreamPool {
    StreamPool::new(
        PoolOptions::new()
            .max_active(max_active)
            .max_waiting(max_waiting),
    )
}

fn refusal(chunks: ChunkReader) -> Error {
    within("the refusal", || chunks.read_to_vec()).unwrap_err()
}

#[test]
fn c24_no_more_than_max_active_sources_run_at_once() {
    let pool = pool(3, 100);
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let streams: Vec<_> = (0..30)
        .map(|_| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            let chunks = pool.stream_out(move |out| -> Result<(), BoxError> {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(3));
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(out.write_slice(b"served")?)
            });
            thread::spawn(move || chunks.read_to_vec().unwrap())
        })
        .collect();
    for stream in streams {
        assert_eq!(
            within("its turn", move || stream.join().unwrap()),
            b"served"
        );
    }
    assert_eq!(most.load(Ordering::SeqCst), 3);
    assert!(pool.threads() <= 3);
}

#[test]
fn c24_beyond_the_waiting_room_a_stream_is_refused_at_once() {
    let pool = pool(1, 2);
    let probe = Probe::new();
    let _active = pool.stream_out(silent_until_stopped());
    let _waiting = [(); 2].map(|()| pool.stream_out(endless(1)));
    assert_eq!((pool.active(), pool.waiting()), (1, 2));
    promptly("the refusal", Duration::from_millis(50), || {
        let asked = Instant::now();
        refusal(pool.stream_out(probe.wrap(endless(1))));
        asked.elapsed()
    });
    let error = refusal(pool.stream_out(probe.wrap(endless(1))));
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert_eq!(error.outcome(), Outcome::Shed);
    assert_eq!(error.to_string(), "too many streams: 1 active, 2 waiting");
    assert!(!probe.has_started());
    assert_eq!((pool.active(), pool.waiting()), (1, 2));
}

#[test]
fn c24_who_waits_too_long_is_refused() {
    let timeout = Duration::from_millis(200);
    let pool = StreamPool::new(PoolOptions::new().max_active(1).queue_timeout(timeout));
    let active = pool.stream_out(silent_until_stopped());
    let asked = Instant::now();
    let probe = Probe::new();
    let chunks = pool.stream_out(probe.wrap(endless(1)));
    let handle = chunks.handle();
    assert_eq!(handle.record().blocked_on, BlockedOn::Admission);
    let error = refusal(chunks);
    let waited = asked.elapsed();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(waited >= timeout, "refused after {waited:?}");
    assert!(
        waited < timeout + Duration::from_millis(150),
        "refused after {waited:?}"
    );
    assert_eq!(handle.record().outcome, Some(Outcome::Shed));
    // The consumer learns of the refusal a moment before the stream leaves the queue.
    eventually("an empty queue", || pool.waiting() == 0);
    assert!(!probe.has_started());
    drop(active);
}

#[test]
fn c24_a_refused_push_consumer_is_aborted() {
    let pool = pool(1, 0);
    let _active = pool.stream_out(silent_until_stopped());
    let (consumer, log) = Recorder::new();
    let record = DataStreamer::new(endless(1), consumer)
        .options(StreamOptions::new().pool(&pool))
        .start()
        .unwrap()
        .wait();
    assert_eq!(record.outcome, Some(Outcome::Shed));
    let calls = [
        Call::Register,
        Call::NotifyHangUp,
        Call::Unregister,
        Call::Abort(ErrorKind::Busy),
    ];
    assert_eq!(log.calls(), calls);
}

#[test]
fn c24_a_free_place_is_passed_on_in_the_order_of_asking() {
    let pool = pool(1, 10);
    let order = Arc::new(Mutex::new(Vec::new()));
    let first = pool.stream_out(silent_until_stopped());
    let waiting: Vec<ChunkReader> = (0..5)
        .map(|number| {
            let order = Arc::clone(&order);
            pool.stream_out(move |_| order.lock().unwrap().push(number))
        })
        .collect();
    drop(first);
    for chunks in waiting {
        assert_eq!(within("its turn", || chunks.read_to_vec()).unwrap(), b"");
    }
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4]);
    eventually("an empty pool", || pool.active() == 0);
}

#[test]
fn c24_a_place_is_held_until_the_consumer_is_done_too() {
    // Otherwise the finished sources of stalled consumers would fill the memory.
    let pool = pool(1, 10);
    let probe = Probe::new();
    let unread = pool.stream_out(probe.wrap(writes(vec!["small"])));
    probe.wait_ended();
    let next = Probe::new();
    let waiting = pool.stream_out(next.wrap(writes(vec!["x"])));
    thread::sleep(Duration::from_millis(30));
    assert!(!next.has_started());
    assert_eq!(unread.read_to_vec().unwrap(), b"small");
    assert_eq!(within("its turn", || waiting.read_to_vec()).unwrap(), b"x");
}

#[test]
fn c24_whoever_hangs_up_while_waiting_leaves_the_room_at_once() {
    let pool = pool(1, 2);
    let active = pool.stream_out(silent_until_stopped());
    let probes = [Probe::new(), Probe::new()];
    let impatient = pool.stream_out(probes[0].wrap(endless(1)));
    let patient = pool.stream_out(probes[1].wrap(writes(vec!["served"])));
    let handle = impatient.handle();
    drop(impatient);
    assert_eq!(pool.waiting(), 1);
    assert_eq!(handle.wait().outcome, Some(Outcome::ClientGone));
    drop(active);
    assert_eq!(
        within("its turn", || patient.read_to_vec()).unwrap(),
        b"served"
    );
    assert!(!probes[0].has_started(), "a source ran for nobody");
}

#[test]
fn c24_a_stop_while_waiting_ends_the_stream_at_once() {
    let pool = pool(1, 2);
    let _active = pool.stream_out(silent_until_stopped());
    let chunks = pool.stream_out(endless(1));
    chunks
        .handle()
        .stop(Error::new(ErrorKind::Stopped, "a test"));
    assert_eq!(pool.waiting(), 0);
    assert_eq!(refusal(chunks).kind(), ErrorKind::Stopped);
}

#[test]
fn c24_a_consumer_that_stops_inside_its_registration_takes_no_place() {
    let pool = pool(1, 0);
    let (consumer, _log) = Recorder::new();
    let stopped = DataStreamer::new(
        endless(1),
        consumer.on_register(|producer| producer.stop_producing()),
    );
    let stopped = stopped
        .options(StreamOptions::new().pool(&pool))
        .start()
        .unwrap();
    assert_eq!(
        pool.stream_out(writes(vec!["x"])).read_to_vec().unwrap(),
        b"x"
    );
    stopped.wait();
}

#[test]
fn c24_a_transforming_stream_needs_no_place_of_its_own() {
    // Otherwise a full pool of compressed downloads would wait for itself.
    let pool = pool(1, 0);
    let passed_on = pass_on(
        &pool,
        &Probe::new(),
        pool.stream_out(noise_source(10_000, 100)),
    );
    assert_eq!(
        within("both streams", || passed_on.read_to_vec()).unwrap(),
        noise(10_000)
    );
    assert_empties(&pool);
}

/// Passes a stream on through another one that shares its place.
fn pass_on(pool: &StreamPool, probe: &Probe, plain: ChunkReader) -> ChunkReader {
    StreamOptions::new()
        .pool(pool)
        .within_admitted_stream(&plain.handle())
        .stream_out(probe.wrap(|out| {
            for chunk in plain {
                out.write_bytes(chunk?)?;
            }
            Ok(())
        }))
}

fn assert_empties(pool: &StreamPool) {
    eventually("an empty pool", || {
        (pool.active(), pool.waiting(), pool.streams().len()) == (0, 0, 0)
    });
}

fn is_admitted(stream: &StreamHandle) -> bool {
    let cx = &mut Context::from_waker(Waker::noop());
    pin!(stream.admitted()).poll(cx).is_ready()
}

#[test]
fn c24_a_shared_place_is_passed_on_when_both_streams_are_done() {
    let pool = pool(1, 1);
    let plain = pool.stream_out(noise_source(10_000, 100));
    let first = plain.handle();
    let passed_on = pass_on(&pool, &Probe::new(), plain);
    within("the end of the plain stream", move || first.wait());
    let probe = Probe::new();
    let next = pool.stream_out(probe.wrap(noise_source(1, 1)));
    assert_eq!((pool.active(), pool.waiting()), (1, 1));
    assert!(!probe.has_started());
    assert_eq!(passed_on.read_to_vec().unwrap(), noise(10_000));
    probe.wait_started();
    drop(next);
    assert_empties(&pool);
}

#[test]
fn c24_a_stream_that_shares_a_place_starts_when_it_is_there() {
    let pool = pool(1, 1);
    let occupied = pool.stream_out(silent_until_stopped());
    assert!(is_admitted(&occupied.handle()));
    let probe = Probe::new();
    let passed_on = pass_on(&pool, &probe, pool.stream_out(noise_source(10, 10)));
    let handle = passed_on.handle();
    assert!(!is_admitted(&handle));
    assert_eq!(handle.record().blocked_on, BlockedOn::Admission);
    assert!(!probe.has_started());
    assert_eq!(pool.threads(), 1);
    let admitted = thread::spawn(move || block_on(handle.admitted()));
    drop(occupied);
    within("admission", || admitted.join().unwrap());
    assert_eq!(passed_on.read_to_vec().unwrap(), noise(10));
    assert_empties(&pool);
}

#[test]
fn c24_a_stream_that_shares_a_place_is_refused_with_the_other() {
    let probe = Probe::new();
    // At once, after a wait, by a stop, by a shutdown.
    type Refuse = fn(&StreamPool, &StreamHandle);
    let refusals: [(usize, Refuse, ErrorKind); 4] = [
        (0, |_, _| {}, ErrorKind::Busy),
        (1, |_, _| {}, ErrorKind::Busy),
        (
            1,
            |_, other| other.stop(Error::new(ErrorKind::HangUp, "a test")),
            ErrorKind::HangUp,
        ),
        (1, |pool, _| pool.refuse_new(), ErrorKind::ShutDown),
    ];
    for (max_waiting, refuse, kind) in refusals {
        let pool = StreamPool::new(
            PoolOptions::new()
                .max_active(1)
                .max_waiting(max_waiting)
                .queue_timeout(Duration::from_millis(200)),
        );
        let occupied = pool.stream_out(silent_until_stopped());
        let plain = pool.stream_out(endless(1));
        let other = plain.handle();
        let passed_on = pass_on(&pool, &probe, plain);
        let handle = passed_on.handle();
        refuse(&pool, &other);
        assert_eq!(refusal(passed_on).kind(), kind);
        within("it is over", move || {
            block_on(handle.admitted());
        });
        drop(occupied);
        assert_empties(&pool);
    }
    assert!(!probe.has_started());
}

#[test]
fn c24_a_storm_of_streams_leaves_nothing_behind() {
    let pool = pool(4, 1000);
    let consumers: Vec<_> = (0..200)
        .map(|number| {
            let options = StreamOptions::new().pool(&pool).chunk_bytes(100);
            let mut chunks = options.stream_out(noise_source(5000, 77));
            thread::spawn(move || match number % 4 {
                0 => drop(chunks),
                1 => drop(chunks.next_chunk_blocking()),
                2 => chunks
                    .handle()
                    .stop(Error::new(ErrorKind::Stopped, "a test")),
                _ => assert_eq!(chunks.read_to_vec().unwrap(), noise(5000)),
            })
        })
        .collect();
    for consumer in consumers {
        within("its end", move || consumer.join().unwrap());
    }
    let empty = || (pool.active(), pool.waiting(), pool.streams().len()) == (0, 0, 0);
    eventually("an empty pool", empty);
}

// ---- threads ----

#[test]
fn c24_threads_are_reused_and_named() {
    let pool = StreamPool::new(PoolOptions::new().thread_name("tables"));
    let mut names = HashSet::new();
    for _ in 0..20 {
        let probe = Probe::new();
        let chunks = pool.stream_out(probe.wrap(writes(vec!["x"])));
        let handle = chunks.handle();
        chunks.read_to_vec().unwrap();
        handle.wait();
        names.insert(probe.thread_name().unwrap());
        // The thread that has ended a stream is not idle yet.
        thread::sleep(Duration::from_millis(2));
    }
    assert!(
        names.iter().all(|name| name.starts_with("tables-")),
        "{names:?}"
    );
    assert!(
        names.len() <= 3,
        "20 streams, one after the other, had {names:?}"
    );
}

#[test]
fn c24_each_thread_has_a_name_of_its_own() {
    let pool = StreamPool::new(PoolOptions::new().thread_name("tables"));
    let (tell, told) = channel();
    let streams = [(); 3].map(|()| {
        let tell = tell.clone();
        pool.stream_out(move |out| {
            tell.send(thread::current().name().map(str::to_owned))?;
            silent_until_stopped()(out)
        })
    });
    let mut names = streams.each_ref().map(|_| told.recv().unwrap().unwrap());
    names.sort();
    assert_eq!(names, ["tables-1", "tables-2", "tables-3"]);
}

#[test]
fn c24_a_thread_that_cannot_be_started_is_a_refusal_and_counts_nowhere() {
    // More than the address space of the process.
    let pool = StreamPool::new(PoolOptions::new().stack_bytes(1 << 50));
    for _ in 0..2 {
        let refused = refusal(pool.stream_out(writes(vec!["x"])));
        assert_eq!(refused.kind(), ErrorKind::Busy);
        assert_eq!((pool.threads(), pool.active()), (0, 0));
    }
}

#[test]
fn c24_idle_threads_leave() {
    let pool = StreamPool::new(PoolOptions::new().idle_thread(Duration::from_millis(100)));
    let streams: Vec<ChunkReader> = (0..5)
        .map(|_| pool.stream_out(silent_until_stopped()))
        .collect();
    assert_eq!(pool.threads(), 5);
    drop(streams);
    eventually("the end of all streams", || pool.active() == 0);
    let idle_since = Instant::now();
    eventually("the end of all threads", || pool.threads() == 0);
    assert!(idle_since.elapsed() < Duration::from_secs(2));
    assert_eq!(
        pool.stream_out(writes(vec!["again"]))
            .read_to_vec()
            .unwrap(),
        b"again"
    );
}

#[test]
fn c24_the_stack_is_as_large_as_asked_for() {
    let pool = StreamPool::new(PoolOptions::new().stack_bytes(Some(64 * 1024 * 1024)));
    // Deeper than any default stack would bear.
    fn deep(frames: u32) -> u64 {
        let frame = std::hint::black_box([u64::from(frames); 128]);
        if frames == 0 {
            0
        } else {
            deep(frames - 1) + frame[7] / u64::from(frames)
        }
    }
    let (tell, told) = channel();
    let source: Source = Box::new(move |_| Ok(tell.send(deep(20_000))?));
    pool.stream_out(source).read_to_vec().unwrap();
    assert_eq!(told.recv().unwrap(), 20_000);
}

#[test]
fn c24_a_panicking_source_does_not_cost_its_thread() {
    let pool = pool(1, 100);
    for _ in 0..20 {
        let source: Source = Box::new(|_| std::panic::resume_unwind(Box::new("quiet")));
        assert_eq!(
            refusal(pool.stream_out(source)).kind(),
            ErrorKind::SourcePanicked
        );
    }
    assert_eq!(
        pool.stream_out(writes(vec!["alive"]))
            .read_to_vec()
            .unwrap(),
        b"alive"
    );
    assert!(pool.threads() <= 2);
}

/// Panics without a word when it is dropped.
struct Panics;

impl Drop for Panics {
    fn drop(&mut self) {
        std::panic::resume_unwind(Box::new("quiet"));
    }
}

#[test]
fn c24_a_waker_that_panics_costs_neither_the_place_nor_the_thread() {
    struct PanicsWhenWoken;
    impl std::task::Wake for PanicsWhenWoken {
        fn wake(self: Arc<Self>) {
            drop(Panics);
        }
    }
    let pool = pool(1, 100);
    for _ in 0..3 {
        let (go_on, proceed) = channel::<()>();
        let chunks = pool.stream_out(move |_| proceed.recv().unwrap_or_default());
        let mut ended = Box::pin(chunks.handle().ended());
        let waker = Arc::new(PanicsWhenWoken).into();
        let mut cx = std::task::Context::from_waker(&waker);
        assert!(ended.as_mut().poll(&mut cx).is_pending());
        // So that the end of the source is the end of the stream, and its thread wakes.
        drop(chunks);
        drop(go_on);
        eventually("the free place", || pool.active() == 0);
    }
    let alive = pool.stream_out(writes(vec!["alive"]));
    assert_eq!(
        within("its turn", || alive.read_to_vec()).unwrap(),
        b"alive"
    );
    assert!(pool.threads() <= 2, "{} threads", pool.threads());
}

#[test]
fn c24_a_refused_source_that_panics_when_it_is_dropped_harms_nobody() {
    let pool = StreamPool::new(
        PoolOptions::new()
            .max_active(1)
            .queue_timeout(Duration::from_millis(50)),
    );
    let active = pool.stream_out(silent_until_stopped());
    // The second shows that the watchdog has survived the first.
    for _ in 0..2 {
        let held = Panics;
        let waiting = pool.stream_out(move |_| drop(held));
        assert_eq!(refusal(waiting).kind(), ErrorKind::Busy);
    }
    drop(active);
    eventually("an empty pool", || pool.streams().is_empty());
}

#[test]
fn c24_no_limit_of_time_is_too_long() {
    let pool = StreamPool::new(
        PoolOptions::new()
            .queue_timeout(Duration::MAX)
            .idle_thread(Duration::MAX),
    );
    let options = StreamOptions::new()
        .pool(&pool)
        .flush_after(Duration::MAX)
        .consumer_stall(Duration::MAX)
        .source_stall(Duration::MAX);
    for _ in 0..2 {
        let chunks = options.clone().stream_out(writes(vec!["x"]));
        let handle = chunks.handle();
        assert_eq!(within("its turn", || chunks.read_to_vec()).unwrap(), b"x");
        handle.wait();
        assert!(pool.wait_until_empty(Duration::MAX));
    }
    assert!((1..=2).contains(&pool.threads()));
}

#[test]
fn c24_the_pool_knows_its_streams() {
    let pool = pool(1, 10);
    let streams: Vec<ChunkReader> = ["a", "b"]
        .into_iter()
        .map(|context| {
            let options = StreamOptions::new().pool(&pool).context(context);
            options.stream_out(silent_until_stopped())
        })
        .collect();
    let mut contexts: Vec<String> = pool
        .records()
        .iter()
        .map(|record| record.context.to_string())
        .collect();
    contexts.sort();
    assert_eq!(contexts, ["a", "b"], "the waiting ones included");
    for handle in pool.streams() {
        handle.stop(Error::new(ErrorKind::Stopped, "by the operator"));
    }
    for chunks in streams {
        assert_eq!(refusal(chunks).kind(), ErrorKind::Stopped);
    }
    eventually("an empty pool", || pool.records().is_empty());
    assert!(pool.wait_until_empty(Duration::ZERO));
}
