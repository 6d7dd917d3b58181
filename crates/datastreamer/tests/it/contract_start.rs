//! c01 to c04: before the first byte.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::channel,
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use datastreamer::push::{
    AlreadyRegistered, Consumer, DataStreamer, Producer, ProducerSlot, StartError,
};
use datastreamer::{EndOnStop, Error, ErrorKind, Outcome, StreamOptions, StreamPool};
use datastreamer_testkit::{Call, Probe, Recorder, Source, endless, within, writes};

fn own_pool() -> StreamPool {
    StreamPool::new(Default::default())
}

/// Counts what it is told.
#[derive(Default)]
struct CountingProducer {
    stops: AtomicUsize,
}

impl Producer for CountingProducer {
    fn resume_producing(&self) {}
    fn pause_producing(&self) {}
    fn stop_producing(&self) {
        self.stops.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn c01_a_consumer_gone_before_the_start_starts_no_thread_and_registers_nothing() {
    let pool = own_pool();
    let (consumer, log) = Recorder::new();
    let probe = Probe::new();
    let started = DataStreamer::new(probe.wrap(writes(vec!["x"])), consumer.gone("no channel"))
        .options(StreamOptions::new().pool(&pool))
        .start();
    assert_eq!(
        started.unwrap_err(),
        StartError::Disconnected("no channel".into())
    );
    assert_eq!(log.calls(), []);
    assert_eq!(
        (pool.threads(), pool.active(), pool.streams().len()),
        (0, 0, 0)
    );
    assert!(!probe.has_started());
}

#[test]
fn c01_the_caller_learns_why_in_words() {
    let why = StartError::Disconnected("no channel".into());
    assert_eq!(why.to_string(), "the consumer has disconnected: no channel");
}

#[test]
fn c02_it_registers_then_asks_for_hang_ups_then_starts_the_source() {
    let probe = Probe::new();
    let (consumer, log) = Recorder::new();
    let consumer = consumer.on_register({
        let probe = probe.clone();
        move |_| {
            thread::sleep(Duration::from_millis(20));
            assert!(
                !probe.has_started(),
                "the source ran before the registration was over"
            );
        }
    });
    let seen_by_the_source = log.clone();
    let (tell, told) = channel();
    let source: Source = Box::new(move |_| Ok(tell.send(seen_by_the_source.calls())?));
    let delivery = DataStreamer::new(probe.wrap(source), consumer)
        .start()
        .unwrap();
    assert_eq!(told.recv().unwrap(), [Call::Register, Call::NotifyHangUp]);
    delivery.wait();
    let all = [
        Call::Register,
        Call::NotifyHangUp,
        Call::Unregister,
        Call::Finish,
    ];
    assert_eq!(log.calls(), all);
}

#[test]
fn c02_a_consumer_may_pause_from_inside_the_registration() {
    let (consumer, log) = Recorder::new();
    let consumer = consumer.on_register(|producer| producer.pause_producing());
    let delivery = DataStreamer::new(writes(vec!["abc"]), consumer)
        .start()
        .unwrap();
    let producer = log.producer();
    let waiting = thread::spawn(move || delivery.wait());
    thread::sleep(Duration::from_millis(50));
    assert_eq!(log.writes(), 0, "written to while paused");
    producer.resume_producing();
    let record = within("the end", move || waiting.join().unwrap());
    assert_eq!(record.outcome, Some(Outcome::Complete));
    assert_eq!(log.bytes(), b"abc");
}

#[test]
fn c02_a_consumer_may_resume_from_inside_the_registration() {
    let (consumer, log) = Recorder::new();
    let consumer = consumer.on_register(|producer| producer.resume_producing());
    DataStreamer::new(writes(vec!["abc"]), consumer)
        .start()
        .unwrap()
        .wait();
    assert_eq!(log.bytes(), b"abc");
}

#[test]
fn c02_a_consumer_may_stop_from_inside_the_registration() {
    for (on_stop, end) in [
        (EndOnStop::Abort, Call::Abort(ErrorKind::Stopped)),
        (EndOnStop::Finish, Call::Finish),
    ] {
        let pool = own_pool();
        let probe = Probe::new();
        let (consumer, log) = Recorder::new();
        let consumer = consumer.on_register(|producer| producer.stop_producing());
        let record = DataStreamer::new(probe.wrap(endless(10)), consumer)
            .options(StreamOptions::new().pool(&pool).end_on_stop(on_stop))
            .start()
            .unwrap()
            .wait();
        assert!(!probe.has_started(), "the source of a stopped stream ran");
        assert_eq!(pool.threads(), 0, "a thread for a stream that is over");
        assert_eq!(record.outcome, Some(Outcome::Cancelled));
        assert_eq!(log.calls_but_writes()[2..], [Call::Unregister, end]);
        assert_eq!(log.writes(), 0);
    }
}

#[test]
fn c03_registering_with_a_consumer_that_has_a_producer_is_an_error() {
    let pool = own_pool();
    let first = Arc::new(CountingProducer::default());
    let (consumer, log) = Recorder::new();
    let started = DataStreamer::new(endless(10), consumer.taken(first.clone()))
        .options(StreamOptions::new().pool(&pool))
        .start();
    assert_eq!(started.unwrap_err(), StartError::AlreadyRegistered);
    assert_eq!(log.calls(), []);
    assert_eq!((pool.threads(), pool.active()), (0, 0));
    assert_eq!(
        first.stops.load(Ordering::Relaxed),
        0,
        "the first producer was disturbed"
    );
}

#[test]
fn c03_registering_with_a_disconnected_consumer_stops_at_once_and_attaches_nothing() {
    let pool = own_pool();
    let probe = Probe::new();
    let (consumer, _log) = Recorder::new();
    let record = DataStreamer::new(probe.wrap(endless(10)), consumer.disconnected())
        .options(StreamOptions::new().pool(&pool))
        .start()
        .unwrap()
        .wait();
    assert_eq!(record.outcome, Some(Outcome::Cancelled));
    assert_eq!(pool.threads(), 0);
    assert!(!probe.has_started());
}

#[test]
fn c03_the_slot_keeps_the_rules() {
    let (first, second) = (CountingProducer::default(), CountingProducer::default());
    let (first, second) = (Arc::new(first), Arc::new(second));
    let mut slot = ProducerSlot::default();
    assert_eq!(slot.register(first.clone()), Ok(()));
    assert_eq!(slot.register(second.clone()), Err(AlreadyRegistered));
    slot.unregister();
    assert!(slot.get().is_none());
    assert_eq!(slot.register(second.clone()), Ok(()));
    slot.disconnect();
    assert_eq!(second.stops.load(Ordering::Relaxed), 1);
    assert!(slot.get().is_none());
    assert_eq!(slot.register(first.clone()), Ok(()));
    assert_eq!(
        first.stops.load(Ordering::Relaxed),
        1,
        "who comes too late is stopped"
    );
    assert!(slot.get().is_none(), "who comes too late is not attached");
}

/// The five calls that a consumer must have, and nothing else.
#[derive(Default)]
struct Minimal {
    bytes: Vec<u8>,
    finished: bool,
    aborted: bool,
    fails: Arc<AtomicBool>,
}

impl Consumer for Minimal {
    fn register_producer(&mut self, _: Arc<dyn Producer>) -> Result<(), AlreadyRegistered> {
        Ok(())
    }
    fn unregister_producer(&mut self) {}
    fn write(&mut self, chunk: Bytes) -> io::Result<()> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.bytes.extend_from_slice(&chunk);
        Ok(())
    }
    fn finish(&mut self) -> io::Result<()> {
        self.finished = true;
        Ok(())
    }
    fn abort(&mut self, _: &Error) {
        self.aborted = true;
    }
}

#[test]
fn c04_a_consumer_without_hang_up_notices_works() {
    let (record, consumer) = DataStreamer::new(writes(vec!["ab", "c"]), Minimal::default())
        .start()
        .unwrap()
        .wait_for_consumer();
    assert_eq!(record.outcome, Some(Outcome::Complete));
    assert_eq!(consumer.bytes, b"abc");
    assert!(consumer.finished && !consumer.aborted);
}

#[test]
fn c04_without_hang_up_notices_the_next_failing_write_shows_the_hang_up() {
    let consumer = Minimal::default();
    consumer.fails.store(true, Ordering::Relaxed);
    let (record, consumer) = DataStreamer::new(endless(100), consumer)
        .start()
        .unwrap()
        .wait_for_consumer();
    assert_eq!(record.outcome, Some(Outcome::ClientGone));
    assert_eq!(record.error.unwrap().kind(), ErrorKind::ConsumerFailed);
    assert!(!consumer.finished && consumer.aborted);
}
