//! How productions end, and how their sources do.

use std::{sync::atomic::Ordering, time::Duration};

use datastreamer::{ErrorKind, PoolOptions, StreamOptions, StreamPool};
use datastreamer_spool::{Beginning, Failure, How, Keep, Key, Piece, Spool, State};

use crate::common::*;

fn begin_led(spool: &Spool, key: &str, keep: Keep) -> (Led, datastreamer_spool::Production) {
    let (led, reader) = led();
    let begin = || Beginning::new(reader).keep(keep);
    let (production, how) = spool.join_or_begin(Key::new(key), begin).unwrap();
    assert_eq!(how, How::Begun);
    (led, production)
}

#[test]
fn the_last_reader_stops_the_source() {
    let folder = folder();
    let spool = spool(&folder);
    let (led, production) = begin_led(&spool, "a", Keep::WhileRunning);
    led.write(1000);
    let (first, second) = (all(&production), all(&production));
    drop(production);
    drop(first);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(led.stopped(), None, "one reader is left");
    drop(second);
    wait_until("the source is stopped", || led.stopped().is_some());
    assert_eq!(led.stopped(), Some(ErrorKind::HangUp));
    assert!(spool.find(&Key::new("a")).is_none());
    wait_until("nothing is left", || spool.usage().productions == 0);
    assert_eq!(spool.usage().bytes, 0);
    // The next request begins anew.
    let (_led, _production) = begin_led(&spool, "a", Keep::WhileRunning);
}

#[test]
fn a_reader_that_stalls_is_no_reader_for_ever() {
    let folder = folder();
    let spool = spool(&folder);
    let (led, production) = begin_led(&spool, "a", Keep::WhileRunning);
    led.write(1_000_000);
    let stall = readers().consumer_stall(Duration::from_millis(100));
    let mut stalled = production.open(vec![Piece::From(0)], stall);
    assert!(stalled.next_chunk_blocking().is_some());
    drop(production);
    wait_until("the source is stopped", || led.stopped().is_some());
    drop(stalled);
}

#[test]
fn what_is_kept_is_produced_without_a_reader() {
    let folder = folder();
    let spool = spool(&folder);
    let (led, production) = begin_led(&spool, "a", KEPT);
    drop(production);
    led.write(200_000);
    led.tell(Word::End);
    let found = eventually("it is complete", || {
        let found = spool.find(&Key::new("a"))?;
        matches!(found.state(), State::Complete).then_some(found)
    });
    assert_eq!(led.stopped(), None);
    let (valid, end) = read(all(&found));
    end.unwrap();
    assert_eq!(valid, bytes(0..200_000));
}

#[test]
fn what_is_not_kept_is_removed_when_its_last_reader_leaves() {
    let folder = folder();
    let spool = spool(&folder);
    let begin = || Beginning::new(counted(500_000)).keep(Keep::WhileRunning);
    let (production, _) = spool.join_or_begin(Key::new("a"), begin).unwrap();
    complete(&production);
    let (joined, how) = spool
        .join_or_begin(Key::new("a"), || unreachable!())
        .unwrap();
    assert_eq!(how, How::Joined);
    drop(production);
    let (valid, end) = read(all(&joined));
    end.unwrap();
    assert_eq!(valid, bytes(0..500_000));
    drop(joined);
    wait_until("it is gone", || spool.usage().productions == 0);
    assert_no_leftovers(folder.path());
}

#[test]
fn a_failure_comes_behind_every_valid_byte() {
    let folder = folder();
    let spool = spool(&folder);
    for (word, kind, text) in [
        (
            Word::Fail("row 7: no such column"),
            ErrorKind::SourceFailed,
            "the source failed: row 7: no such column",
        ),
        (
            Word::Panic,
            ErrorKind::SourcePanicked,
            "the source panicked: row 7",
        ),
    ] {
        let (led, production) = begin_led(&spool, "a", KEPT);
        let early = all(&production);
        led.write(2_000_000);
        led.tell(word);
        let state = finished(&production);
        let State::Failed(Failure::Source(error)) = state else {
            panic!("{state:?}");
        };
        assert_eq!(error.to_string(), text);
        let late = all(&production);
        for reader in [early, late] {
            let (valid, end) = read(reader);
            let end = end.unwrap_err();
            assert_eq!((end.kind(), end.to_string().as_str()), (kind, text));
            assert_eq!(valid.len(), 2_000_000);
            assert!(valid == bytes(0..2_000_000));
        }
        // A range that is there is complete.
        let range = production.open(vec![Piece::Range(10..1_000_000)], readers());
        assert!(range.read_to_vec().unwrap() == bytes(10..1_000_000));
        assert!(block_on(production.known_length()).is_err());
        assert!(spool.find(&Key::new("a")).is_none(), "nobody joins it");
        drop(production);
        wait_until("it is gone", || spool.usage().productions == 0);
    }
    assert_no_leftovers(folder.path());
}

#[test]
fn a_promised_length_is_known_at_once_and_kept() {
    let folder = folder();
    let spool = spool(&folder);
    let (led, reader) = led_with(StreamOptions::new().length(1000));
    let begin = || Beginning::new(reader).keep(KEPT);
    let (production, _) = spool.join_or_begin(Key::new("a"), begin).unwrap();
    assert_eq!(block_on(production.known_length()).unwrap(), 1000);
    let mut reader = all(&production);
    assert_eq!(reader.bytes_left(), Some(1000));
    // All bytes, and then a failure: the last byte never comes.
    led.write(1000);
    led.tell(Word::Fail("at the end"));
    let mut valid = Vec::new();
    while let Some(Ok(chunk)) = reader.next_chunk_blocking() {
        valid.extend_from_slice(&chunk);
    }
    assert_eq!(valid, bytes(0..999));
}

#[test]
fn a_length_that_is_promised_late_is_known_before_the_first_byte() {
    let folder = folder();
    let spool = spool(&folder);
    let (led, production) = begin_led(&spool, "a", KEPT);
    let known = production.known_length();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(production.length(), None);
    led.tell(Word::Promise(70_000));
    assert_eq!(block_on(known).unwrap(), 70_000);
    assert_eq!(production.bytes_so_far(), 0);
    led.write(70_000);
    led.tell(Word::End);
    assert_eq!(read(all(&production)).0, bytes(0..70_000));
    complete(&production);
}

#[test]
fn a_length_that_nobody_promised_is_known_at_the_end() {
    let folder = folder();
    let spool = spool(&folder);
    let (led, production) = begin_led(&spool, "a", KEPT);
    led.write(100);
    wait_until("bytes are there", || production.bytes_so_far() == 100);
    assert_eq!(production.length(), None);
    assert_eq!(all(&production).bytes_left(), None);
    let known = production.known_length();
    led.tell(Word::End);
    assert_eq!(block_on(known).unwrap(), 100);
    assert_eq!(all(&production).bytes_left(), Some(100));
}

#[test]
fn a_range_behind_the_end_is_an_error_and_one_ahead_waits() {
    let folder = folder();
    let spool = spool(&folder);
    let (led, production) = begin_led(&spool, "a", KEPT);
    let ahead = production.open(vec![Piece::Range(500_000..500_010)], readers());
    let behind = production.open(vec![Piece::Range(500_000..700_000)], readers());
    let beyond = production.open(vec![Piece::From(700_000)], readers());
    let at_the_end = production.open(vec![Piece::From(600_000)], readers());
    let stall = readers().source_stall(Duration::from_millis(100));
    let impatient = production.open(vec![Piece::Range(500_000..500_010)], stall);
    let (_, end) = read(impatient);
    assert_eq!(end.unwrap_err().kind(), ErrorKind::SourceStalled);
    led.write(600_000);
    led.tell(Word::End);
    assert_eq!(ahead.read_to_vec().unwrap(), bytes(500_000..500_010));
    assert_eq!(at_the_end.read_to_vec().unwrap(), b"");
    for reader in [behind, beyond] {
        let (_, end) = read(reader);
        let error = end.unwrap_err();
        let error = datastreamer_spool::Error::find_in(&error).unwrap();
        assert_eq!(error.kind(), datastreamer_spool::ErrorKind::OutOfRange);
    }
}

#[test]
fn the_place_of_a_source_is_free_when_it_ends_although_clients_are_slow() {
    let folder = folder();
    let spool = spool(&folder);
    let pool = StreamPool::new(PoolOptions::new().max_active(1).max_waiting(0));
    let source = |length| {
        let options = StreamOptions::new().pool(&pool);
        options.stream_out(move |out| write_range(out, 0..length))
    };
    let begin = || Beginning::new(source(3_000_000)).keep(KEPT);
    let (first, _) = spool.join_or_begin(Key::new("a"), begin).unwrap();
    let slow = all(&first);
    complete(&first);
    let begin = || Beginning::new(source(10)).keep(KEPT);
    let (second, _) = spool.join_or_begin(Key::new("b"), begin).unwrap();
    complete(&second);
    assert!(slow.read_to_vec().unwrap() == bytes(0..3_000_000));
}

#[test]
fn a_source_without_a_place_fails_its_production_as_it_is_refused() {
    let folder = folder();
    let spool = spool(&folder);
    let pool = StreamPool::new(PoolOptions::new().max_active(1).max_waiting(0));
    let (_held, holder) = led_with(StreamOptions::new().pool(&pool));
    let (led, refused) = led_with(StreamOptions::new().pool(&pool));
    let begin = || Beginning::new(refused).keep(KEPT);
    let (production, _) = spool.join_or_begin(Key::new("a"), begin).unwrap();
    let (_, end) = read(all(&production));
    assert_eq!(end.unwrap_err().kind(), ErrorKind::Busy);
    assert_eq!(led.runs.load(Ordering::SeqCst), 0);
    drop(holder);
}

#[test]
fn an_operator_can_stop_a_production_and_nobody_joins_it_then() {
    let folder = folder();
    let spool = spool(&folder);
    let (led, production) = begin_led(&spool, "a", KEPT);
    led.write(10);
    production.stop(datastreamer::Error::new(ErrorKind::Stopped, "by hand"));
    assert!(spool.find(&Key::new("a")).is_none());
    let (_, end) = read(all(&production));
    assert_eq!(end.unwrap_err().kind(), ErrorKind::Stopped);
    wait_until("the source is stopped", || led.stopped().is_some());
}

#[test]
fn a_closed_spool_begins_nothing_and_stops_what_runs() {
    let folder = folder();
    let spool = spool(&folder);
    let (led, production) = begin_led(&spool, "a", KEPT);
    spool.close();
    wait_until("the source is stopped", || led.stopped().is_some());
    assert!(matches!(finished(&production), State::Failed(_)));
    let refused = spool.join_or_begin(Key::new("b"), || beginning(1));
    assert_eq!(
        refused.unwrap_err().kind(),
        datastreamer_spool::ErrorKind::Closed
    );
}
