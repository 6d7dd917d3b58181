//! Limits, eviction and expiry.

use std::{fs, time::Duration};

use datastreamer::StreamOptions;
use datastreamer_spool::{
    Beginning, Error, ErrorKind, Failure, How, Keep, Key, Piece, Production, Spool, SpoolOptions,
    State,
};

use crate::common::*;

fn begin(spool: &Spool, key: &str, length: u64) -> Production {
    let begin = || beginning(length);
    spool.join_or_begin(Key::new(key), begin).unwrap().0
}

fn begin_complete(spool: &Spool, key: &str, length: u64) {
    complete(&begin(spool, key, length));
}

fn failure(production: &Production) -> Error {
    match finished(production) {
        State::Failed(Failure::Spool(error)) => error,
        state => panic!("{state:?}"),
    }
}

fn is_there(spool: &Spool, key: &str) -> bool {
    spool.find(&Key::new(key)).is_some()
}

/// Bytes of the data in the folder.
fn on_disk(folder: &std::path::Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let data = entries.filter(|entry| {
        let name = entry.file_name().into_string().unwrap();
        name.ends_with(".data") || name.ends_with(".part")
    });
    data.map(|entry| entry.metadata().unwrap().len()).sum()
}

#[test]
fn a_production_beyond_its_limit_fails_and_others_go_on() {
    let folder = folder();
    let spool = open(&folder, SpoolOptions::new().production_bytes_max(100_000));
    let (led, reader) = led();
    let other = Beginning::new(reader).keep(KEPT);
    let (other, _) = spool.begin(Key::new("other"), other).unwrap();
    led.write(50_000);
    let large = begin(&spool, "large", 100_001);
    let (valid, end) = read(all(&large));
    let end = end.unwrap_err();
    let error = Error::find_in(&end).unwrap();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.is_out_of_room());
    assert_eq!(valid, bytes(0..valid.len() as u64));
    assert_eq!(failure(&large).kind(), ErrorKind::TooLarge);
    begin_complete(&spool, "exact", 100_000);
    led.write(50_000);
    led.tell(Word::End);
    complete(&other);
}

#[test]
fn a_promise_beyond_a_limit_fails_before_the_first_byte() {
    let folder = folder();
    let spool = open(&folder, SpoolOptions::new().total_bytes_max(100_000));
    let (_led, reader) = led_with(StreamOptions::new().length(100_001));
    let begin = || Beginning::new(reader).keep(KEPT);
    let (production, _) = spool.join_or_begin(Key::new("a"), begin).unwrap();
    let failed = block_on(production.known_length()).unwrap_err();
    assert!(matches!(failed, Failure::Spool(error) if error.kind() == ErrorKind::Full));
    assert_eq!(production.bytes_so_far(), 0);
}

#[test]
fn a_promised_length_is_reserved() {
    let folder = folder();
    let spool = open(&folder, SpoolOptions::new().total_bytes_max(100_000));
    let (led, reader) = led_with(StreamOptions::new().length(60_000));
    let promised = Beginning::new(reader).keep(KEPT);
    let (promised, _) = spool.begin(Key::new("a"), promised).unwrap();
    block_on(promised.known_length()).unwrap();
    assert_eq!(spool.usage().bytes, 60_000);
    assert_eq!(failure(&begin(&spool, "b", 40_001)).kind(), ErrorKind::Full);
    led.write(60_000);
    led.tell(Word::End);
    complete(&promised);
    assert_eq!(spool.usage().bytes, 60_000);
}

#[test]
fn the_least_recently_used_is_evicted_first_and_what_is_read_never() {
    let folder = folder();
    let spool = open(&folder, SpoolOptions::new().total_bytes_max(1_000_000));
    for key in ["a", "b", "c"] {
        begin_complete(&spool, key, 300_000);
    }
    // Now b is the oldest, and c is being read.
    assert!(is_there(&spool, "a"));
    let read_now = all(&spool.find(&Key::new("c")).unwrap());
    begin_complete(&spool, "d", 300_000);
    assert_eq!(spool.usage().evicted, 1);
    assert!(!is_there(&spool, "b"));
    for key in ["c", "d", "a"] {
        assert!(is_there(&spool, key), "{key}");
    }
    assert!(on_disk(folder.path()) <= 1_000_000);
    // All but c can go: d first, then a.
    begin_complete(&spool, "e", 300_000);
    assert!(!is_there(&spool, "d"));
    begin_complete(&spool, "f", 600_000);
    assert!(!is_there(&spool, "a") && !is_there(&spool, "e"));
    // c is in the way of this one.
    let large = begin(&spool, "g", 900_000);
    assert_eq!(failure(&large).kind(), ErrorKind::Full);
    assert_eq!(read_now.read_to_vec().unwrap(), bytes(0..300_000));
    drop(large);
    begin_complete(&spool, "g", 900_000);
    assert!(!is_there(&spool, "c"));
    assert!(on_disk(folder.path()) <= 1_000_000);
}

#[test]
fn nothing_is_evicted_for_what_does_not_fit_anyway() {
    let folder = folder();
    let spool = open(&folder, SpoolOptions::new().total_bytes_max(1_000_000));
    begin_complete(&spool, "a", 500_000);
    let (_led, reader) = led_with(StreamOptions::new().length(1_000_001));
    let large = Beginning::new(reader).keep(KEPT);
    let (large, _) = spool.begin(Key::new("b"), large).unwrap();
    assert_eq!(failure(&large).kind(), ErrorKind::Full);
    assert!(is_there(&spool, "a"));
}

#[test]
fn a_client_has_its_own_limit_and_evicts_only_its_own() {
    let folder = folder();
    let spool = open(&folder, SpoolOptions::new().client_bytes_max(500_000));
    let of = |client: &'static str, key: &'static str, length| {
        let begin = || beginning(length).client(client);
        spool.join_or_begin(Key::new(key), begin).unwrap().0
    };
    complete(&of("one", "a", 400_000));
    complete(&of("two", "b", 400_000));
    complete(&of("two", "c", 400_000));
    assert!(is_there(&spool, "a") && !is_there(&spool, "b"));
    let held = spool.find(&Key::new("c")).unwrap();
    let refused = of("two", "d", 200_000);
    assert_eq!(failure(&refused).kind(), ErrorKind::ClientFull);
    complete(&of("three", "e", 200_000));
    drop(held);
}

#[test]
fn the_number_of_productions_is_bounded() {
    let folder = folder();
    let spool = open(&folder, SpoolOptions::new().productions_max(2));
    begin_complete(&spool, "a", 0);
    let (_led, reader) = led();
    let running = Beginning::new(reader).keep(KEPT);
    let (_running, _) = spool.begin(Key::new("b"), running).unwrap();
    let held = eventually("a makes room", || {
        let began = spool.join_or_begin(Key::new("c"), || beginning(10));
        began.ok().map(|(production, _)| production)
    });
    complete(&held);
    assert!(!is_there(&spool, "a"));
    let refused = spool.join_or_begin(Key::new("d"), || beginning(10));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::TooMany);
}

#[test]
fn a_production_expires_after_its_last_use() {
    let folder = folder();
    let spool = spool(&folder);
    let begin = || beginning(1000).keep(Keep::For(Duration::from_millis(300)));
    let (production, _) = spool.join_or_begin(Key::new("a"), begin).unwrap();
    complete(&production);
    std::thread::sleep(Duration::from_millis(500));
    assert!(is_there(&spool, "a"), "a handle is a use");
    drop(production);
    assert!(is_there(&spool, "a"), "it was used just now");
    wait_until("it expires", || spool.usage().productions == 0);
    assert_eq!(spool.usage().expired, 1);
    assert_no_leftovers(folder.path());
}

#[test]
fn equal_tags_join_and_other_runs_of_a_key_begin() {
    let folder = folder();
    let spool = spool(&folder);
    let tag = |text: &str| datastreamer_spool::ETag::new(text).unwrap();
    let begin = |text| {
        let beginning = beginning(1000).etag(tag(text));
        spool.begin(Key::new("a"), beginning).unwrap()
    };
    let (first, how) = begin("1");
    assert_eq!((how, first.etag()), (How::Begun, &tag("1")));
    let (same, how) = begin("1");
    assert_eq!((how, same.id()), (How::Joined, first.id()));
    let (second, how) = begin("2");
    assert_eq!(how, How::Begun);
    assert_eq!(spool.find(&Key::new("a")).unwrap().id(), second.id());
    let unique = spool.begin(Key::new("a"), beginning(1000)).unwrap().0;
    assert_ne!(unique.etag(), second.etag());
    let early = first.open(vec![Piece::From(0)], readers());
    assert_eq!(early.read_to_vec().unwrap(), bytes(0..1000));
}

#[test]
fn temporary_files_of_callers_count_and_evict_what_nobody_reads() {
    let folder = folder();
    let spool = open(&folder, SpoolOptions::new().total_bytes_max(1000));
    let (kept, _) = spool
        .join_or_begin(Key::new("kept"), || beginning(600).keep(KEPT))
        .unwrap();
    complete(&kept);
    // It is being used.
    let full = spool.take_room(500).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::Full);
    drop(kept);
    let room = spool.take_room(500).unwrap();
    assert!(spool.find(&Key::new("kept")).is_none());
    let usage = spool.usage();
    assert_eq!((usage.bytes, usage.temporary_bytes), (500, 500));
    let (next, _) = spool
        .join_or_begin(Key::new("next"), || beginning(600))
        .unwrap();
    match finished(&next) {
        State::Failed(Failure::Spool(error)) => assert_eq!(error.kind(), ErrorKind::Full),
        state => panic!("{state:?}"),
    }
    drop((room, next));
    wait_until("the room is free", || spool.usage().bytes == 0);
    let all = spool.take_room(1000).unwrap();
    assert_eq!(spool.take_room(1).unwrap_err().kind(), ErrorKind::Full);
    drop(all);
}
