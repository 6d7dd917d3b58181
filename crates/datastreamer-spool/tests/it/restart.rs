//! What is in the folder when a spool is opened: what can be proved is served, everything else of the
//! spool is removed, and what is not the spool's is left alone.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use datastreamer_spool::{
    Beginning, ErrorKind, Failure, How, Key, Production, ProductionId, Spool, SpoolOptions, State,
};
use tempfile::TempDir;

use crate::common::*;

const LENGTH: u64 = 500_000;

/// A folder with one complete production; returns its identity.
fn with_one() -> (TempDir, ProductionId) {
    let folder = folder();
    let spool = spool(&folder);
    let begin = || beginning(LENGTH).media_type("text/csv").file_name("a.csv");
    let (production, _) = spool.join_or_begin(Key::new("a"), begin).unwrap();
    complete(&production);
    let id = production.id();
    (folder, id)
}

fn file(folder: &TempDir, id: &ProductionId, suffix: &str) -> PathBuf {
    folder.path().join(format!("{id}.{suffix}"))
}

fn find(spool: &Spool) -> Option<Production> {
    spool.find(&Key::new("a"))
}

#[test]
fn a_complete_production_is_the_same_after_a_restart() {
    let folder = folder();
    let first = spool(&folder);
    let begin = || beginning(LENGTH).media_type("text/csv").file_name("a.csv");
    let (before, _) = first.join_or_begin(Key::new("a"), begin).unwrap();
    complete(&before);
    let known = (before.id(), before.etag().clone(), before.digests());
    drop((before, first));
    let second = spool(&folder);
    assert_eq!(second.usage().bytes, LENGTH);
    let after = find(&second).unwrap();
    assert_eq!((after.id(), after.etag().clone(), after.digests()), known);
    assert_eq!(after.media_type(), "text/csv");
    assert_eq!(after.file_name(), Some("a.csv"));
    assert_eq!(after.length(), Some(LENGTH));
    assert!(matches!(after.state(), State::Complete));
    let (valid, end) = read(all(&after));
    end.unwrap();
    assert!(valid == bytes(0..LENGTH));
    let (_, how) = second
        .join_or_begin(Key::new("a"), || unreachable!())
        .unwrap();
    assert_eq!(how, How::Joined);
}

#[test]
fn what_had_not_ended_is_gone() {
    let folder = folder();
    let first = spool(&folder);
    let (led, reader) = led();
    let running = Beginning::new(reader).keep(KEPT);
    let (running, _) = first.begin(Key::new("a"), running).unwrap();
    led.write(100_000);
    wait_until("bytes are there", || running.bytes_so_far() > 0);
    // As a killed process leaves it.
    let (part, left) = (file(&folder, &running.id(), "part"), fs::read);
    let left = left(&part).unwrap();
    drop((running, led, first));
    let second = open(&folder, SpoolOptions::new());
    drop(second);
    fs::write(&part, left).unwrap();
    let third = open(&folder, SpoolOptions::new());
    assert!(!part.exists());
    let _complete_by_the_drop_of_its_leader = find(&third);
}

#[test]
fn a_flipped_byte_is_never_served() {
    for at in [0, LENGTH / 2, LENGTH - 1] {
        let (folder, id) = with_one();
        let path = file(&folder, &id, "data");
        let mut data = fs::read(&path).unwrap();
        data[at as usize] ^= 1;
        fs::write(&path, data).unwrap();
        let spool = spool(&folder);
        let found = find(&spool).unwrap();
        let (valid, end) = read(all(&found));
        assert_eq!(valid, b"");
        let error = end.unwrap_err();
        let error = datastreamer_spool::Error::find_in(&error).unwrap();
        assert_eq!(error.kind(), ErrorKind::Damaged);
        let failure = block_on(found.known_length()).unwrap_err();
        assert!(matches!(failure, Failure::Spool(_)));
        // The next request begins anew, and the damaged one goes.
        let (next, how) = spool
            .join_or_begin(Key::new("a"), || beginning(LENGTH))
            .unwrap();
        assert_eq!(how, How::Begun);
        assert!(read(all(&next)).0 == bytes(0..LENGTH));
        complete(&next);
        drop(found);
        wait_until("it is removed", || !path.exists());
    }
}

#[test]
fn a_byte_that_flips_while_the_spool_is_open_is_never_served() {
    let (folder, id) = with_one();
    let spool = spool(&folder);
    let found = find(&spool).unwrap();
    assert!(read(all(&found)).0 == bytes(0..LENGTH));
    let path = file(&folder, &id, "data");
    let mut data = fs::read(&path).unwrap();
    data[400_000] ^= 1;
    fs::write(&path, data).unwrap();
    let (valid, end) = read(all(&found));
    assert!(valid.len() <= 400_000 && valid == bytes(0..valid.len() as u64));
    let error = end.unwrap_err();
    let error = datastreamer_spool::Error::find_in(&error).unwrap();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(find(&spool).is_none());
}

#[test]
fn data_of_another_length_and_cut_manifests_are_removed() {
    let cut = |suffix: &'static str, length: fn(u64) -> u64| {
        move |folder: &TempDir, id: &ProductionId| {
            let file = fs::OpenOptions::new()
                .write(true)
                .open(self::file(folder, id, suffix))
                .unwrap();
            file.set_len(length(file.metadata().unwrap().len()))
                .unwrap();
        }
    };
    let remove = |suffix: &'static str| {
        move |folder: &TempDir, id: &ProductionId| {
            fs::remove_file(file(folder, id, suffix)).unwrap();
        }
    };
    type Harm = Box<dyn Fn(&TempDir, &ProductionId)>;
    let harms: [Harm; 7] = [
        Box::new(cut("data", |length| length - 1)),
        Box::new(cut("data", |length| length + 1)),
        Box::new(cut("data", |_| 0)),
        Box::new(cut("json", |length| length / 2)),
        Box::new(cut("json", |_| 0)),
        Box::new(remove("data")),
        Box::new(remove("json")),
    ];
    for (nth, harm) in harms.iter().enumerate() {
        let (folder, id) = with_one();
        harm(&folder, &id);
        let spool = spool(&folder);
        assert!(find(&spool).is_none(), "{nth}");
        assert_eq!(spool.usage().productions, 0);
        for suffix in ["data", "json"] {
            assert!(!file(&folder, &id, suffix).exists(), "{nth} {suffix}");
        }
    }
}

#[test]
fn a_manifest_vouches_only_for_its_own_data() {
    let (folder, id) = with_one();
    let other: ProductionId = "00112233445566778899aabbccddeeff".parse().unwrap();
    for suffix in ["data", "json"] {
        fs::copy(file(&folder, &id, suffix), file(&folder, &other, suffix)).unwrap();
    }
    let spool = spool(&folder);
    assert_eq!(find(&spool).unwrap().id(), id);
    assert_eq!(spool.usage().productions, 1);
    assert!(!file(&folder, &other, "data").exists());
}

#[test]
fn foreign_files_are_left_alone() {
    let (folder, id) = with_one();
    let elsewhere = self::folder();
    let target = elsewhere.path().join("precious");
    fs::write(&target, "x").unwrap();
    let id_of = |digit: &str| digit.repeat(32);
    let foreign = [
        "notes.txt".to_owned(),
        "a.json".to_owned(),
        format!("{}.json.bak", id_of("1")),
        format!("{}.data", id_of("A")),
        id_of("2"),
        format!("x{id}.data"),
    ];
    for name in &foreign {
        fs::write(folder.path().join(name), "x").unwrap();
    }
    // With a name of the spool, but not what the spool makes.
    let directory = folder.path().join(format!("{}.part", id_of("3")));
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("inside"), "x").unwrap();
    let link = folder.path().join(format!("{}.json", id_of("4")));
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let spool = spool(&folder);
    for name in &foreign {
        assert!(folder.path().join(name).exists(), "{name}");
    }
    assert!(directory.join("inside").exists());
    assert_eq!(fs::read_to_string(&target).unwrap(), "x");
    assert!(find(&spool).is_some());
}

#[test]
fn the_folder_and_its_files_are_for_the_owner_alone() {
    let parent = folder();
    let path = parent.path().join("new/spool");
    let spool = Spool::open(&path, SpoolOptions::new()).unwrap();
    let (production, _) = spool
        .join_or_begin(Key::new("a"), || beginning(1000))
        .unwrap();
    complete(&production);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    let mut files = 0;
    for entry in fs::read_dir(&path).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
        files += 1;
    }
    assert_eq!(files, 3);
}

#[test]
fn lower_limits_evict_at_the_start() {
    let folder = folder();
    let first = spool(&folder);
    for key in ["a", "b", "c"] {
        let (production, _) = first
            .join_or_begin(Key::new(key), || beginning(LENGTH))
            .unwrap();
        complete(&production);
        // Files are ordered by their times.
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    drop(first);
    let second = open(&folder, SpoolOptions::new().total_bytes_max(2 * LENGTH));
    assert!(find(&second).is_none());
    assert!(second.find(&Key::new("b")).is_some());
    drop(second);
    let third = open(&folder, SpoolOptions::new().productions_max(1));
    assert_eq!(third.usage().productions, 1);
    assert!(third.find(&Key::new("c")).is_some());
}

#[test]
fn a_second_spool_on_a_folder_is_refused() {
    let folder = folder();
    let first = spool(&folder);
    let refused = Spool::open(folder.path(), SpoolOptions::new());
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Locked);
    drop(first);
    open(&folder, SpoolOptions::new());
}

#[test]
fn a_folder_that_vanishes_fails_its_productions_and_is_made_again_for_the_next_one() {
    let (folder, _) = with_one();
    let spool = spool(&folder);
    let (led, reader) = led();
    let running = Beginning::new(reader).keep(KEPT);
    let (running, _) = spool.begin(Key::new("running"), running).unwrap();
    led.write(100_000);
    wait_until("bytes are there", || running.bytes_so_far() == 100_000);
    let path = folder.path().to_owned();
    fs::remove_dir_all(&path).unwrap();
    led.tell(Word::End);
    let (valid, end) = read(all(&running));
    assert!(valid == bytes(0..valid.len() as u64));
    // Readers may have the end before the storage has failed; the production is never complete.
    let _either = end;
    let storage = |state: State| match state {
        State::Failed(Failure::Spool(error)) => assert_eq!(error.kind(), ErrorKind::Storage),
        state => panic!("{state:?}"),
    };
    storage(finished(&running));
    let found = find(&spool).unwrap();
    let (valid, end) = read(all(&found));
    assert!(valid.is_empty() && end.is_err());
    drop((running, found));
    wait_until("nothing is counted", || spool.usage().bytes == 0);
    assert!(find(&spool).is_none());
    let begin = || beginning(10).keep(KEPT);
    let (next, _) = spool.join_or_begin(Key::new("next"), begin).unwrap();
    complete(&next);
    assert_eq!(read(all(&next)).0, bytes(0..10));
    // It is the folder of this spool again, and of no other one.
    let other = Spool::open(&path, SpoolOptions::new()).unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Locked);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_production_whose_file_was_removed_or_cut_is_given_up_before_anybody_reads_it() {
    given_up_after(|folder, _| fs::remove_dir_all(folder).unwrap());
    given_up_after(|_, data| fs::write(data, "").unwrap());
    given_up_after(|_, data| {
        let data = fs::OpenOptions::new().write(true).open(data).unwrap();
        data.set_len(data.metadata().unwrap().len() - 1).unwrap();
    });
}

fn given_up_after(harm: impl Fn(&Path, &Path)) {
    let (folder, id) = with_one();
    let spool = spool(&folder);
    let found = find(&spool).unwrap();
    assert!(block_on(found.is_there()));
    drop(found);
    wait_until("nobody reads", || spool.usage().readers == 0);
    harm(folder.path(), &file(&folder, &id, "data"));
    let found = find(&spool).unwrap();
    assert!(!block_on(found.is_there()));
    assert!(matches!(found.state(), State::Failed(Failure::Spool(_))));
    assert!(find(&spool).is_none());
    let begin = || beginning(10).keep(KEPT);
    let (next, how) = spool.join_or_begin(Key::new("a"), begin).unwrap();
    assert_eq!(how, How::Begun);
    assert!(block_on(next.is_there()), "it runs, or is open");
    complete(&next);
}
