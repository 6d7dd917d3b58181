//! What a caller may choose of a walk: whether files may grow, and whether hidden entries are archived.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use datastreamer_archive::directory::{DirectoryTar, Event, Hidden, OnChange, SkipReason, Tally};
use datastreamer_archive::tar::TarWriter;
use tempfile::tempdir;

use crate::readers;
use crate::trees::{set_mtime, snapshot};
use crate::writers::Hooked;

/// The names of files that have grown, with the bytes of each that are in the archive, and are not.
type Frozen = Vec<(String, u64, u64)>;

/// Archives a tree whose files may grow, while `action` runs at the place where `trigger` is written.
/// Returns the archive and what was said of frozen files.
fn frozen_when(
    root: &Path,
    trigger: &'static str,
    action: impl FnOnce(),
) -> io::Result<(Vec<u8>, Tally, Frozen)> {
    let mut frozen = Vec::new();
    let mut tar = TarWriter::new(Hooked::new(trigger, action));
    let tree = DirectoryTar::open(root, "t")?.with_on_change(OnChange::Freeze);
    let tally = tree.write_to(&mut tar, |event| {
        if let Event::Frozen {
            member,
            archived_bytes,
            left_out_bytes,
        } = event
        {
            let member = String::from_utf8_lossy(member).into_owned();
            frozen.push((member, archived_bytes, left_out_bytes));
        }
    });
    match tally {
        Ok(tally) => Ok((tar.finish()?.bytes, tally, frozen)),
        Err(error) => {
            assert!(tar.finish().is_err(), "a broken archive was finished");
            Err(error)
        }
    }
}

fn append(path: &Path, bytes: &[u8]) {
    let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(bytes).unwrap();
}

#[test]
fn a_file_that_may_grow_has_the_size_that_it_had_when_its_member_began() {
    let tree = tempdir().unwrap();
    let log = tree.path().join("a.log");
    let content: Vec<u8> = (0..500_001).map(|at| (at % 251) as u8).collect();
    fs::write(&log, &content).unwrap();
    fs::write(tree.path().join("b"), "behind it").unwrap();
    let grow = || append(&log, &[7; 200_000]);
    let (archive, tally, frozen) = frozen_when(tree.path(), "t/a.log\0", grow).unwrap();
    assert_eq!(frozen, [("t/a.log".to_owned(), 500_001, 200_000)]);
    assert_eq!((tally.files, tally.frozen), (2, 1));
    assert_eq!(tally.content_bytes, 500_001 + 9);

    let scratch = tempdir().unwrap();
    let file = scratch.path().join("archive.tar");
    fs::write(&file, archive).unwrap();
    for reader in readers::ALL {
        let target = scratch.path().join(format!("{reader:?}"));
        fs::create_dir(&target).unwrap();
        reader.extract(&file, &target);
        assert_eq!(fs::read(target.join("t/a.log")).unwrap(), content);
        assert_eq!(fs::read(target.join("t/b")).unwrap(), b"behind it");
    }
    let sizes: Vec<_> = readers::members(&file)
        .iter()
        .map(|member| member.size_bytes)
        .collect();
    assert_eq!(sizes, [0, 500_001, 9]);
}

#[test]
fn files_that_stay_the_same_are_archived_alike_whatever_may_happen() {
    let tree = tempdir().unwrap();
    fs::write(tree.path().join("a"), vec![1; 300_000]).unwrap();
    let (archive, tally, frozen) = frozen_when(tree.path(), "t/a\0", || ()).unwrap();
    let mut strict = TarWriter::new(Vec::new());
    let directory = DirectoryTar::open(tree.path(), "t").unwrap();
    assert_eq!(directory.write_to(&mut strict, |_| ()).unwrap(), tally);
    assert_eq!(strict.finish().unwrap(), archive);
    assert!(frozen.is_empty());
}

#[test]
fn a_file_that_shrinks_or_is_rewritten_fails_although_files_may_grow() {
    let tree = tempdir().unwrap();
    let path = tree.path().join("a");
    let write = || {
        fs::write(&path, vec![1; 500_000]).unwrap();
        set_mtime(&path, 1_000_000_000);
    };
    write();
    let shrink = || {
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(100).unwrap();
    };
    let error = frozen_when(tree.path(), "t/a\0", shrink).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{error}");
    write();
    let rewrite = || fs::write(&path, vec![2; 500_000]).unwrap();
    let error = frozen_when(tree.path(), "t/a\0", rewrite).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
    assert!(error.to_string().contains("\"t/a\": it was modified"));
}

#[test]
fn hidden_entries_are_archived_unless_they_are_left_out() {
    let tree = tempdir().unwrap();
    let at = |name: &str| tree.path().join(name);
    fs::create_dir_all(at(".git/objects")).unwrap();
    fs::create_dir(at("sub")).unwrap();
    for name in [
        ".env",
        ".git/config",
        "sub/.hidden",
        "sub/...",
        "a.b",
        "sub/c.",
    ] {
        fs::write(at(name), name).unwrap();
    }
    // The first name of this file is hidden: the other one is no link to nothing.
    fs::hard_link(at(".env"), at("same")).unwrap();
    let archive = |hidden| {
        let mut skipped = Vec::new();
        let mut tar = TarWriter::new(Vec::new());
        let tree = DirectoryTar::open(tree.path(), ".t").unwrap();
        let tree = tree.with_hidden(hidden);
        let bytes = tree.survey().unwrap().archive_bytes;
        let tally = tree.write_to(&mut tar, |event| {
            if let Event::Skipped { member, reason } = event {
                assert_eq!(reason, SkipReason::Hidden);
                skipped.push(String::from_utf8_lossy(member).into_owned());
            }
        });
        let archive = tar.finish().unwrap();
        assert_eq!(archive.len() as u64, bytes);
        (archive, tally.unwrap(), skipped)
    };
    let (_, tally, skipped) = archive(Hidden::Archive);
    assert_eq!((tally.files, tally.hard_links, tally.skipped), (6, 1, 0));
    assert!(skipped.is_empty());

    let (archive, tally, skipped) = archive(Hidden::LeaveOut);
    assert_eq!(
        skipped,
        [".t/.env", ".t/.git", ".t/sub/...", ".t/sub/.hidden"]
    );
    assert_eq!((tally.files, tally.hard_links, tally.skipped), (3, 0, 4));
    let scratch = tempdir().unwrap();
    let file = scratch.path().join("archive.tar");
    fs::write(&file, &archive).unwrap();
    // As GNU tar makes it of the same tree with the same choice.
    let own = scratch.path().join("gnu.tar");
    let status = std::process::Command::new("tar")
        .args(["--exclude=.*", "-cf"])
        .arg(&own)
        .arg("-C")
        .arg(tree.path())
        .args(["a.b", "same", "sub"])
        .status();
    assert!(status.unwrap().success());
    let extracted = |name: &str, archive: &Path| {
        let target = scratch.path().join(name);
        fs::create_dir(&target).unwrap();
        readers::Reader::GnuTar.extract(archive, &target);
        target
    };
    let ours = snapshot(&extracted("ours", &file).join(".t"));
    let theirs = snapshot(&extracted("theirs", &own));
    assert_eq!(ours, theirs);
    let members = readers::members(&file);
    let members: Vec<_> = members
        .iter()
        .map(|member| String::from_utf8_lossy(&member.name).into_owned())
        .collect();
    assert_eq!(members, [".t", ".t/a.b", ".t/same", ".t/sub", ".t/sub/c."]);
}
