//! Models of what threads share: each runs under every order in which they can take the locks.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p datastreamer-spool --lib --release loom`
//!
//! A lost wake-up is a deadlock here, which loom reports.

use std::{
    future::Future,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Wake, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use loom::{future::block_on, sync::Arc, thread};

use crate::{
    blocks::BlockHasher,
    digests::Hasher,
    error::{Error, ErrorKind, Failure},
    key::Key,
    names::ProductionId,
    progress::{Next, Phase, Progress, Wants},
    sync::{Mutex, lock},
    table::{Admission, Left, Limits, NewEntry, Reserved, Table},
};

fn publish(progress: &Progress, hasher: &mut BlockHasher, byte: u8) {
    let piece = Bytes::copy_from_slice(&[byte]);
    let sums = hasher.update(&piece);
    progress.publish(piece, sums);
}

fn failure() -> Failure {
    Error::new(ErrorKind::Full, "a model").into()
}

/// Reads to the end; returns the bytes, and whether the end was clean.
fn read(progress: &Progress) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    loop {
        match block_on(progress.next(bytes.len() as u64)) {
            Next::Memory(piece) => bytes.extend_from_slice(&piece),
            Next::End => return (bytes, true),
            Next::Failed(_) => return (bytes, false),
            Next::File => unreachable!("all is in memory"),
        }
    }
}

#[test]
fn no_reader_misses_a_byte_or_the_end() {
    for fails in [false, true] {
        loom::model(move || {
            let progress = Arc::new(Progress::running(1 << 20));
            let reader = {
                let progress = Arc::clone(&progress);
                thread::spawn(move || read(&progress))
            };
            let mut hasher = BlockHasher::default();
            publish(&progress, &mut hasher, 7);
            publish(&progress, &mut hasher, 8);
            match fails {
                true => assert!(progress.fail(failure())),
                false => progress.produced(0, Hasher::default().finish().unwrap()),
            }
            assert_eq!(reader.join().unwrap(), (vec![7, 8], !fails));
        });
    }
}

/// Counts wake-ups.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn every_reader_is_woken_and_one_that_left_is_not() {
    loom::model(|| {
        let progress = Arc::new(Progress::running(1 << 20));
        let pump = {
            let progress = Arc::clone(&progress);
            thread::spawn(move || publish(&progress, &mut BlockHasher::default(), 7))
        };
        let wakes = [(); 3].map(|()| std::sync::Arc::new(Wakes::default()));
        let wakers = wakes.clone().map(Waker::from);
        let mut readers = [(); 3].map(|()| Box::pin(progress.next(0)));
        let mut pending = [false; 3];
        for (nth, reader) in readers.iter_mut().enumerate() {
            let polled = reader.as_mut().poll(&mut Context::from_waker(&wakers[nth]));
            pending[nth] = polled.is_pending();
        }
        let [first, second, third] = readers;
        drop(third);
        pump.join().unwrap();
        for nth in 0..2 {
            let woken = wakes[nth].0.load(Ordering::Relaxed);
            assert_eq!(woken, usize::from(pending[nth]));
        }
        drop((first, second, wakers));
        // Nobody keeps the waker of a reader that is gone.
        let kept = wakes.each_ref().map(std::sync::Arc::strong_count);
        assert_eq!(kept, [1; 3]);
    });
}

#[test]
fn whoever_waits_for_the_length_is_told() {
    loom::model(|| {
        let progress = Arc::new(Progress::running(0));
        let waiting = Arc::clone(&progress);
        let length = thread::spawn(move || {
            let length = waiting.wait(Wants::Length, |sight| sight.length());
            block_on(length)
        });
        progress.promise_length(3);
        assert_eq!(length.join().unwrap(), 3);
    });
}

#[test]
fn whoever_waits_for_the_end_is_told() {
    loom::model(|| {
        let progress = Arc::new(Progress::running(0));
        let waiting = Arc::clone(&progress);
        let end = thread::spawn(move || {
            let is_over = |phase: &Phase| matches!(phase, Phase::Complete);
            let ended = waiting.wait(Wants::End, |sight| is_over(sight.phase()).then_some(()));
            block_on(ended);
        });
        progress.produced(0, Hasher::default().finish().unwrap());
        progress.complete();
        end.join().unwrap();
    });
}

#[test]
fn one_of_all_readers_checks_what_was_found() {
    loom::model(|| {
        let digests = Hasher::default().finish().unwrap();
        let progress = Arc::new(Progress::found(0, 0, digests));
        let others = [0, 1].map(|_| {
            let progress = Arc::clone(&progress);
            thread::spawn(move || {
                let checks = progress.begin_verifying();
                if checks {
                    progress.verified(BlockHasher::default().update(b""));
                }
                assert_eq!(read(&progress), (vec![], true));
                checks
            })
        });
        let checks = others.map(|thread| usize::from(thread.join().unwrap()));
        assert_eq!(checks.iter().sum::<usize>(), 1);
    });
}

type Shared = loom::sync::atomic::AtomicBool;
type Locked = Arc<Mutex<Table<Shared>>>;

const LIMITS: Limits = Limits {
    total_bytes: 100,
    production_bytes: 100,
    client_bytes: 1000,
    productions: 10,
};

fn add(table: &Locked, number: u8, keep: Option<Duration>) {
    let new = NewEntry {
        id: ProductionId::of(number),
        // Whether its source was stopped.
        shared: std::sync::Arc::new(Shared::new(false)),
        key: Key::new("key"),
        client: "".into(),
        keep,
    };
    lock(table).begin(new, Instant::now());
}

/// Leaves as a handle does: what follows is done after unlocking.
fn leave(table: &Locked, number: u8) {
    let left = lock(table).leave(&ProductionId::of(number), Instant::now());
    if let Left::Stop(shared) = left {
        shared.store(true, loom::sync::atomic::Ordering::SeqCst);
    }
}

#[test]
fn whoever_joins_gets_a_production_that_goes_on_or_begins_one() {
    loom::model(|| {
        let table: Locked = Arc::new(Mutex::new(Table::new(LIMITS)));
        add(&table, 1, None);
        let last = {
            let table = Arc::clone(&table);
            thread::spawn(move || leave(&table, 1))
        };
        let admission = lock(&table).join_or_claim(&Key::new("key")).unwrap();
        match admission {
            Admission::Join(shared) => {
                last.join().unwrap();
                let is_stopped = shared.load(loom::sync::atomic::Ordering::SeqCst);
                assert!(!is_stopped, "somebody has joined it");
                leave(&table, 1);
                assert!(shared.load(loom::sync::atomic::Ordering::SeqCst));
            }
            Admission::Begin => {
                add(&table, 2, None);
                lock(&table).unclaim(&Key::new("key"));
                last.join().unwrap();
                // The failure of the old one, as its pump reports it, leaves the new one alone.
                let victim = lock(&table).fail(&ProductionId::of(1)).unwrap();
                lock(&table).removed(&victim.id);
                assert!(lock(&table).join(&Key::new("key")).is_some());
            }
            Admission::Wait => unreachable!("nobody else begins"),
        }
    });
}

#[test]
fn of_equal_requests_one_begins() {
    loom::model(|| {
        let table: Locked = Arc::new(Mutex::new(Table::new(LIMITS)));
        let ask = |table: &Locked, number| {
            let admission = lock(table).join_or_claim(&Key::new("key")).unwrap();
            if matches!(admission, Admission::Begin) {
                add(table, number, None);
                lock(table).unclaim(&Key::new("key"));
                return true;
            }
            false
        };
        let other = {
            let table = Arc::clone(&table);
            thread::spawn(move || ask(&table, 1))
        };
        let begins = [ask(&table, 2), other.join().unwrap()];
        assert!(begins.iter().any(|begins| *begins));
        assert_eq!(lock(&table).figures().productions, 1);
    });
}

#[test]
fn what_is_read_is_not_evicted() {
    loom::model(|| {
        let table: Locked = Arc::new(Mutex::new(Table::new(LIMITS)));
        add(&table, 1, Some(Duration::from_secs(60)));
        assert!(matches!(
            lock(&table).reserve(&ProductionId::of(1), 60),
            Reserved::Done
        ));
        let completed = lock(&table).complete(&ProductionId::of(1), 60, Instant::now());
        assert!(matches!(completed, Some(Left::Nothing)));
        leave(&table, 1);
        let reader = {
            let table = Arc::clone(&table);
            thread::spawn(move || lock(&table).join(&Key::new("key")).is_some())
        };
        let new = NewEntry {
            id: ProductionId::of(2),
            shared: std::sync::Arc::new(Shared::new(false)),
            key: Key::new("other"),
            client: "".into(),
            keep: None,
        };
        lock(&table).begin(new, Instant::now());
        let reserved = lock(&table).reserve(&ProductionId::of(2), 60);
        let is_read = reader.join().unwrap();
        match reserved {
            Reserved::AfterRemoving(victims) => {
                assert!(!is_read && victims.len() == 1);
            }
            Reserved::Refused(error) => {
                assert!(is_read && error.kind() == ErrorKind::Full);
            }
            Reserved::Done => unreachable!("there is no room"),
        }
    });
}
