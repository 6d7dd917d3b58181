//! Random operations, compared with a simple model: what was written under a key is what every reader
//! gets, until it is gone.

use std::collections::HashMap;

use datastreamer_spool::{Beginning, How, Key, Piece, Production, Spool, SpoolOptions, State};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::common::*;

const TOTAL_BYTES_MAX: u64 = 400_000;
const PRODUCTION_BYTES_MAX: u64 = 150_000;
const KEYS: u8 = 4;

#[derive(Clone, Debug)]
enum Step {
    /// Joins, or begins a source that is led.
    Request(u8),
    Write(u8, u64),
    End(u8),
    Fail(u8),
    /// Reads a range of what there must be.
    Read(u8, u64, u64),
    /// Drops the handle.
    Leave(u8),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..KEYS;
    prop_oneof![
        4 => key.clone().prop_map(Step::Request),
        6 => (key.clone(), 1..60_000u64).prop_map(|(key, bytes)| Step::Write(key, bytes)),
        3 => key.clone().prop_map(Step::End),
        1 => key.clone().prop_map(Step::Fail),
        4 => (key.clone(), 0..150_000u64, 1..100_000u64)
            .prop_map(|(key, at, bytes)| Step::Read(key, at, bytes)),
        2 => key.prop_map(Step::Leave),
        1 => Just(Step::Restart),
    ]
}

/// What the model knows of the newest production of a key.
struct Known {
    leader: Option<Led>,
    written: u64,
    handle: Option<Production>,
    etag: String,
    state: Expected,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Running,
    /// It may have been evicted while nobody held it.
    Complete,
    Failed,
}

struct World {
    folder: TempDir,
    spool: Option<Spool>,
    known: HashMap<u8, Known>,
}

impl World {
    fn new() -> Self {
        let folder = folder();
        let spool = Some(open(&folder, options()));
        Self {
            folder,
            spool,
            known: HashMap::new(),
        }
    }

    fn spool(&self) -> &Spool {
        self.spool.as_ref().unwrap()
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Request(key) => self.request(key),
            Step::Write(key, bytes) => self.write(key, bytes),
            Step::End(key) => self.end(key),
            Step::Fail(key) => self.fail(key),
            Step::Read(key, at, bytes) => self.read(key, at, bytes),
            Step::Leave(key) => {
                if let Some(known) = self.known.get_mut(&key) {
                    known.handle = None;
                }
            }
            Step::Restart => self.restart(),
        }
    }

    fn request(&mut self, key: u8) {
        let (leader, reader) = led();
        let begin = || Beginning::new(reader).keep(KEPT);
        let spool = self.spool.as_ref().unwrap();
        let (handle, how) = spool.join_or_begin(name(key), begin).unwrap();
        let etag = handle.etag().to_string();
        match how {
            How::Joined => {
                let known = self.known.get_mut(&key).expect("it was begun before");
                assert_eq!(known.etag, etag);
                assert_ne!(known.state, Expected::Failed, "nobody joins a failure");
                known.handle = Some(handle);
            }
            How::Begun => {
                if let Some(before) = self.known.get(&key) {
                    let is_held = before.handle.is_some();
                    let is_usable = before.state != Expected::Failed;
                    assert!(!(is_held && is_usable), "a second run beside a good one");
                    assert_ne!(before.state, Expected::Running);
                }
                let known = Known {
                    leader: Some(leader),
                    written: 0,
                    handle: Some(handle),
                    etag,
                    state: Expected::Running,
                };
                self.known.insert(key, known);
            }
        }
    }

    /// A production that runs, with a handle on it.
    fn running(&mut self, key: u8) -> Option<(&mut Known, Production)> {
        let spool = self.spool.as_ref().unwrap();
        let known = self.known.get_mut(&key)?;
        if known.state != Expected::Running {
            return None;
        }
        let handle = known.handle.clone();
        let handle = handle.or_else(|| spool.find(&name(key))).unwrap();
        Some((known, handle))
    }

    fn write(&mut self, key: u8, bytes: u64) {
        let Some((known, handle)) = self.running(key) else {
            return;
        };
        known.leader.as_ref().unwrap().write(bytes);
        known.written += bytes;
        let written = known.written;
        let fits = eventually("it is written, or does not fit", || match handle.state() {
            State::Failed(_) => Some(false),
            _ if handle.bytes_so_far() == written => Some(true),
            _ => None,
        });
        assert!(fits || written > PRODUCTION_BYTES_MAX || self.may_be_full());
        if !fits {
            self.has_failed(key);
        }
    }

    /// Whether what is held and running, and the last piece, may be more than there is room for.
    fn may_be_full(&self) -> bool {
        let written: u64 = self.known.values().map(|known| known.written).sum();
        written > TOTAL_BYTES_MAX - 60_000
    }

    fn has_failed(&mut self, key: u8) {
        if let Some(known) = self.known.get_mut(&key) {
            known.state = Expected::Failed;
            known.leader = None;
        }
    }

    fn end(&mut self, key: u8) {
        let Some((known, handle)) = self.running(key) else {
            return;
        };
        known.leader.take().unwrap().tell(Word::End);
        known.state = Expected::Complete;
        complete(&handle);
        assert_eq!(handle.length(), Some(known.written));
    }

    fn fail(&mut self, key: u8) {
        let Some((known, handle)) = self.running(key) else {
            return;
        };
        known.leader.as_ref().unwrap().tell(Word::Fail("told to"));
        let state = finished(&handle);
        assert!(matches!(state, State::Failed(_)), "{state:?}");
        self.has_failed(key);
    }

    fn read(&mut self, key: u8, at: u64, bytes: u64) {
        let Some(known) = self.known.get(&key) else {
            return;
        };
        let handle = known.handle.clone();
        let Some(handle) = handle.or_else(|| self.spool().find(&name(key))) else {
            assert_ne!(known.state, Expected::Running);
            return;
        };
        if handle.etag().to_string() != known.etag {
            panic!("another production of key {key}");
        }
        // What has failed for want of room has less than was written.
        let there = handle.bytes_so_far().min(known.written);
        if known.state != Expected::Failed {
            assert_eq!(there, known.written);
        }
        let range = at.min(there)..(at + bytes).min(there);
        let range = range.start.min(range.end)..range.end;
        let reader = handle.open(vec![Piece::Range(range.clone())], readers());
        assert!(reader.read_to_vec().unwrap() == self::bytes(range));
    }

    fn restart(&mut self) {
        for known in self.known.values_mut() {
            known.handle = None;
            if known.state == Expected::Running {
                // Its source is stopped with the spool.
                known.state = Expected::Failed;
            }
        }
        let spool = self.spool.take().unwrap();
        spool.close();
        drop(spool);
        for known in self.known.values_mut() {
            known.leader = None;
        }
        self.spool = Some(open(&self.folder, options()));
        for (key, known) in &self.known {
            let found = self.spool().find(&name(*key));
            match known.state {
                Expected::Complete => {
                    assert!(found.is_none_or(|it| it.etag().to_string() == known.etag));
                }
                Expected::Running | Expected::Failed => assert!(found.is_none()),
            }
        }
    }

    /// At every moment.
    fn check(&self) {
        let usage = self.spool().usage();
        assert!(usage.bytes <= TOTAL_BYTES_MAX, "{usage:?}");
    }
}

fn options() -> SpoolOptions {
    SpoolOptions::new()
        .total_bytes_max(TOTAL_BYTES_MAX)
        .production_bytes_max(PRODUCTION_BYTES_MAX)
        .tail_bytes(50_000)
}

fn name(key: u8) -> Key {
    Key::new(format!("key {key}"))
}

fn cases() -> u32 {
    let asked = std::env::var("DATASTREAMER_SPOOL_CASES");
    asked.map_or(40, |it| it.parse().expect("a number"))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_spool_is_what_its_model_is(steps in proptest::collection::vec(step(), 1..40)) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
            world.check();
        }
        world.restart();
        assert_no_leftovers(world.folder.path());
    }
}
