//! What readers get: every byte of every offset, while a production runs and afterwards, and one run
//! of the source for all of them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use bytes::Bytes;
use datastreamer::stream_out;
use datastreamer_spool::{Beginning, How, Key, Piece, Production, SpoolOptions};

use crate::common::*;

#[test]
fn a_reader_gets_the_bytes_of_the_source() {
    let folder = folder();
    let spool = spool(&folder);
    let length = 3_000_000;
    let (production, how) = spool
        .join_or_begin(Key::new("a"), || beginning(length))
        .unwrap();
    assert_eq!(how, How::Begun);
    assert!(read(all(&production)).0 == bytes(0..length));
    complete(&production);
    assert_eq!(production.length(), Some(length));
    let (valid, end) = read(all(&production));
    end.unwrap();
    assert!(valid == bytes(0..length));
    let digests = production.digests().unwrap();
    assert_eq!(digests.blake3, *blake3::hash(&bytes(0..length)).as_bytes());
}

#[test]
fn pieces_follow_each_other() {
    let folder = folder();
    let spool = spool(&folder);
    let (led, reader) = led();
    let begin = || Beginning::new(reader);
    let (production, _) = spool.join_or_begin(Key::new("a"), begin).unwrap();
    let pieces = || {
        vec![
            Piece::Bytes(Bytes::from_static(b"--head\r\n")),
            Piece::Range(10..200_000),
            Piece::Bytes(Bytes::from_static(b"--tail\r\n")),
            Piece::Range(5..5),
            Piece::Range(3..4),
            Piece::From(150_000),
        ]
    };
    let early = production.open(pieces(), readers());
    led.write(300_000);
    led.tell(Word::End);
    let early = read(early);
    complete(&production);
    let late = production.open(pieces(), readers());
    assert_eq!(late.bytes_left(), Some(199_990 + 16 + 1 + 150_000));
    let late = read(late);
    let mut expected = b"--head\r\n".to_vec();
    expected.extend(bytes(10..200_000));
    expected.extend(b"--tail\r\n");
    expected.extend(bytes(3..4));
    expected.extend(bytes(150_000..300_000));
    for (valid, end) in [early, late] {
        end.unwrap();
        assert!(valid == expected);
    }
}

/// Numbers without a pattern (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed ^ (mixed >> 27)) % limit
    }
}

/// Reads random ranges until there are enough.
fn read_ranges(production: &Production, length: u64, seed: u64, ranges: usize) {
    let mut numbers = Numbers(seed);
    for _ in 0..ranges {
        let begin = numbers.below(length);
        let size = [1, 100, 70_000, 600_000][numbers.below(4) as usize];
        let end = length.min(begin + 1 + numbers.below(size));
        let reader = production.open(vec![Piece::Range(begin..end)], readers());
        let (valid, result) = read(reader);
        result.unwrap();
        assert!(valid == bytes(begin..end), "{begin}..{end}, seed {seed}");
    }
}

#[test]
fn every_range_is_right_while_it_runs_and_afterwards() {
    let folder = folder();
    // A small tail: most reads are of the file.
    let spool = open(&folder, SpoolOptions::new().tail_bytes(100_000));
    let length = 4_000_000;
    let (led, reader) = led();
    let (production, _) = spool
        .begin(Key::new("a"), Beginning::new(reader).keep(KEPT))
        .unwrap();
    thread::scope(|scope| {
        for seed in 0..4 {
            let production = &production;
            scope.spawn(move || read_ranges(production, length, seed, 20));
        }
        for _ in 0..40 {
            led.write(length / 40);
            thread::sleep(std::time::Duration::from_millis(5));
        }
        led.tell(Word::End);
    });
    complete(&production);
    read_ranges(&production, length, 99, 30);
}

#[test]
fn a_hundred_readers_run_the_source_once() {
    let folder = folder();
    let spool = spool(&folder);
    let runs = Arc::new(AtomicUsize::new(0));
    let length = 1_000_000;
    thread::scope(|scope| {
        for reader in 0..100u64 {
            let (spool, runs) = (&spool, Arc::clone(&runs));
            scope.spawn(move || {
                let begin = || {
                    Beginning::new(stream_out(move |out| {
                        runs.fetch_add(1, Ordering::SeqCst);
                        write_range(out, 0..length)
                    }))
                    .keep(KEPT)
                };
                let (production, _) = spool.join_or_begin(Key::new("a"), begin).unwrap();
                let from = reader * 1000;
                let reader = production.open(vec![Piece::From(from)], readers());
                let (valid, end) = read(reader);
                end.unwrap();
                assert!(valid == bytes(from..length));
            });
        }
    });
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    assert_eq!(spool.usage().readers, 0);
    let found = spool.find(&Key::new("a")).unwrap();
    complete(&found);
    assert!(read(all(&found)).0 == bytes(0..length));
}

#[test]
fn other_keys_are_other_productions() {
    let folder = folder();
    let spool = spool(&folder);
    let of = |key: &str, length| {
        let key = Key::new(key);
        spool.join_or_begin(key, || beginning(length)).unwrap()
    };
    let (first, second) = (of("a", 10), of("b", 20));
    assert_eq!((first.1, second.1), (How::Begun, How::Begun));
    assert_ne!(first.0.id(), second.0.id());
    assert_ne!(first.0.etag(), second.0.etag());
    assert_eq!(read(all(&second.0)).0, bytes(0..20));
}

#[test]
fn a_closure_that_panics_leaves_the_key_free() {
    let folder = folder();
    let spool = spool(&folder);
    let panicking = std::panic::AssertUnwindSafe(|| {
        spool.join_or_begin(Key::new("a"), || panic!("while it began"))
    });
    assert!(std::panic::catch_unwind(panicking).is_err());
    let (production, how) = spool
        .join_or_begin(Key::new("a"), || beginning(10))
        .unwrap();
    assert_eq!(how, How::Begun);
    complete(&production);
}

#[test]
fn many_small_chunks_do_not_fill_the_memory() {
    let folder = folder();
    let spool = open(&folder, SpoolOptions::new().tail_bytes(10_000));
    let (led, reader) = led();
    let (production, _) = spool
        .begin(Key::new("a"), Beginning::new(reader).keep(KEPT))
        .unwrap();
    for _ in 0..2000 {
        led.write(3);
    }
    led.tell(Word::End);
    complete(&production);
    assert_eq!(read(all(&production)).0, bytes(0..6000));
}

#[test]
fn a_reader_runs_on_an_event_loop_and_outside_of_one() {
    let folder = folder();
    let spool = open(&folder, SpoolOptions::new().tail_bytes(0));
    let (production, _) = spool
        .join_or_begin(Key::new("a"), || beginning(1_000_000))
        .unwrap();
    let here = all(&production).read_to_vec().unwrap();
    let there = block_on(async {
        let mut reader = all(&production);
        let mut valid = Vec::new();
        while let Some(chunk) = reader.next_chunk().await {
            valid.extend_from_slice(&chunk.unwrap());
        }
        // The spool's own runtime must not be dropped with a wait here.
        drop((reader, production, spool));
        valid
    });
    assert!(here == bytes(0..1_000_000) && here == there);
}

#[test]
fn readers_that_stall_cost_no_thread_and_little_memory() {
    let folder = folder();
    let spool = spool(&folder);
    let length = 4_000_000;
    let (production, _) = spool
        .join_or_begin(Key::new("a"), || beginning(length))
        .unwrap();
    complete(&production);
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let before = (threads(), resident_bytes());
    let mut stalled: Vec<_> = (0..200).map(|_| all(&production)).collect();
    for reader in &mut stalled {
        assert!(reader.next_chunk_blocking().is_some());
    }
    // The threads for reads are eight at most, however many readers there are.
    assert!(threads() <= before.0 + 8, "{} threads", threads());
    // A piece of 16 KiB each, and the file once for all; everything they read would be 800 MB.
    let more = resident_bytes().saturating_sub(before.1);
    let allowed = length + 200 * 32 * 1024;
    assert!(more <= allowed, "{more} bytes more, {allowed} allowed");
    for reader in stalled.into_iter().step_by(40) {
        let (valid, end) = read(reader);
        end.unwrap();
        // The first chunk has been taken.
        assert!(valid == bytes(length - valid.len() as u64..length));
    }
}

/// The resident memory of the process (proc_pid_statm(5)).
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}
