//! Which entries of a directory tree are archived, and which never are.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use datastreamer_archive::directory::{
    DEPTH_MAX, DirectoryTar, Event, LISTING_ENTRY_BYTES, SkipReason, Tally,
};
use datastreamer_archive::tar::TarWriter;
use datastreamer_archive::{MemberError, MemberProblem};
use tempfile::{TempDir, tempdir};

use crate::readers::{self, Reader};
use crate::trees::{Entry, set_mode, set_mtime, snapshot};
use crate::writers::{Failing, Hooked};

fn archive_of(root: &Path, prefix: &str) -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    DirectoryTar::open(root, prefix)
        .unwrap()
        .write_to(&mut tar, |_| {})
        .unwrap();
    tar.finish().unwrap()
}

fn names_in(archive: &[u8]) -> Vec<String> {
    tar::Archive::new(archive)
        .entries()
        .unwrap()
        .map(|entry| String::from_utf8_lossy(&entry.unwrap().path_bytes()).into_owned())
        .collect()
}

/// Archives the tree while `action` runs at the place where `trigger` is
/// written, and returns the error's kind and text; the archive must be broken.
fn failure_when(root: &Path, trigger: &'static str, action: impl FnOnce()) -> (ErrorKind, String) {
    let mut tar = TarWriter::new(Hooked::new(trigger, action));
    let error = DirectoryTar::open(root, "t")
        .unwrap()
        .write_to(&mut tar, |_| {})
        .unwrap_err();
    assert!(tar.finish().is_err(), "a broken archive was finished");
    (error.kind(), error.to_string())
}

/// A tree with one of everything that can be copied.
fn rich_tree() -> TempDir {
    let tree = tempdir().unwrap();
    let root = tree.path();
    let at = |name: &str| root.join(name);
    fs::create_dir_all(at("sub/deeper")).unwrap();
    fs::create_dir(at("empty-directory")).unwrap();
    fs::write(at("empty"), "").unwrap();
    fs::write(at("sub/data.bin"), vec![42; 300_000]).unwrap();
    fs::write(at("sub/deeper/Grüße 星.txt"), "unicode").unwrap();
    fs::write(root.join(OsStr::from_bytes(b"latin1-\xfc")), "binary name").unwrap();
    fs::write(at(&"l".repeat(255)), "long name").unwrap();
    symlink("sub/data.bin", at("link-to-file")).unwrap();
    symlink("sub", at("link-to-directory")).unwrap();
    symlink("/nonexistent", at("link-to-nowhere")).unwrap();
    symlink(OsStr::from_bytes(b"t\xff"), at("link-to-binary")).unwrap();
    fs::hard_link(at("sub/data.bin"), at("sub/data-again.bin")).unwrap();
    set_mode(&at("empty"), 0o600);
    set_mode(&at("sub/data.bin"), 0o4751);
    set_mode(&at("sub/deeper"), 0o1777);
    // Whole seconds, as in the archive; each directory after what it contains.
    set_mtime(&at("empty"), 1);
    set_mtime(&at("sub/data.bin"), 1_234_567_890);
    set_mtime(&at("sub/deeper/Grüße 星.txt"), 1_600_000_000);
    set_mtime(&root.join(OsStr::from_bytes(b"latin1-\xfc")), 1_600_000_001);
    set_mtime(&at(&"l".repeat(255)), 1_600_000_002);
    set_mtime(&at("empty-directory"), 1_600_000_003);
    set_mtime(&at("sub/deeper"), 1_000_000_000);
    set_mtime(&at("sub"), 1_100_000_000);
    tree
}

#[test]
fn a_tree_comes_back_as_it_was() {
    let tree = rich_tree();
    let original = snapshot(tree.path());
    let scratch = tempdir().unwrap();
    let archive = scratch.path().join("archive.tar");
    fs::write(&archive, archive_of(tree.path(), "")).unwrap();
    for reader in readers::ALL {
        let copy = scratch.path().join(format!("{reader:?}"));
        fs::create_dir(&copy).unwrap();
        reader.extract(&archive, &copy);
        assert_eq!(snapshot(&copy), original, "{reader:?}");
    }
}

#[test]
fn gnu_tar_finds_no_difference() {
    let tree = rich_tree();
    let scratch = tempdir().unwrap();
    let archive = scratch.path().join("archive.tar");
    fs::write(&archive, archive_of(tree.path(), "")).unwrap();
    let output = std::process::Command::new("tar")
        .args(["--warning=no-unknown-keyword", "-df"])
        .args([&archive, Path::new("-C"), tree.path()])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    assert!(
        output.stdout.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

#[test]
fn the_tally_counts_each_kind() {
    let tree = rich_tree();
    let mut tar = TarWriter::new(Vec::new());
    let tally = DirectoryTar::open(tree.path(), "t")
        .unwrap()
        .write_to(&mut tar, |_| {})
        .unwrap();
    let mut expected = Tally::default();
    expected.files = 5;
    expected.directories = 4;
    expected.symlinks = 4;
    expected.hard_links = 1;
    expected.content_bytes = 300_000 + 7 + 11 + 9;
    assert_eq!(tally, expected);
}

#[test]
fn the_archive_is_exactly_as_long_as_computed() {
    let tree = rich_tree();
    for prefix in ["", "t", "a/b/c", "Grüße"] {
        let computed = DirectoryTar::open(tree.path(), prefix)
            .unwrap()
            .survey()
            .unwrap()
            .archive_bytes;
        assert_eq!(archive_of(tree.path(), prefix).len() as u64, computed);
    }
}

type Change = fn(&Path);

/// What may happen to a tree.
const CHANGES: [(&str, Change); 8] = [
    ("a byte", |tree| {
        fs::write(tree.join("d/b"), "2").unwrap();
    }),
    ("a rewritten file", |tree| {
        fs::write(tree.join("d/b.new"), "1").unwrap();
        fs::rename(tree.join("d/b.new"), tree.join("d/b")).unwrap();
    }),
    ("a file more", |tree| {
        fs::write(tree.join("d/c"), "").unwrap();
    }),
    ("a file less", |tree| {
        fs::remove_file(tree.join("a")).unwrap();
    }),
    ("another name", |tree| {
        fs::rename(tree.join("a"), tree.join("z")).unwrap();
    }),
    ("permissions", |tree| {
        fs::set_permissions(tree.join("d"), Permissions::from_mode(0o700)).unwrap();
    }),
    ("a time", |tree| {
        let file = File::options().write(true).open(tree.join("a")).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    }),
    ("another target", |tree| {
        fs::remove_file(tree.join("l")).unwrap();
        symlink("elsewhere", tree.join("l")).unwrap();
    }),
];

#[test]
fn an_archive_of_a_tree_that_was_surveyed_fails_if_anything_has_changed() {
    for (what, change) in CHANGES {
        let tree = tempdir().unwrap();
        fs::create_dir(tree.path().join("d")).unwrap();
        fs::write(tree.path().join("a"), "1").unwrap();
        fs::write(tree.path().join("d/b"), "1").unwrap();
        symlink("a", tree.path().join("l")).unwrap();
        let open = || DirectoryTar::open(tree.path(), "t").unwrap();
        let survey = open().survey().unwrap();
        assert_eq!(open().survey().unwrap(), survey);
        assert!(survey.changed.elapsed().unwrap() < Duration::from_secs(10));
        let write = || {
            let mut tar = TarWriter::new(Vec::new());
            let tree = open().unchanged_since(&survey);
            let written = tree.write_to(&mut tar, |_| {});
            written.map(|_| tar.finish().unwrap())
        };
        assert_eq!(write().unwrap().len() as u64, survey.archive_bytes);

        change(tree.path());
        assert_ne!(
            open().survey().unwrap().fingerprint,
            survey.fingerprint,
            "{what}"
        );
        let error = write().expect_err(what);
        let error = MemberError::find_in(&error).unwrap();
        assert_eq!(error.member(), b"t");
        assert!(
            matches!(error.problem(), MemberProblem::Changed),
            "{what}: {error}"
        );
    }
}

#[test]
fn a_tree_that_changes_while_it_is_archived_is_found_at_the_end() {
    let tree = tempdir().unwrap();
    for name in ["a", "b"] {
        fs::write(tree.path().join(name), "1").unwrap();
    }
    let opened = DirectoryTar::open(tree.path(), "").unwrap();
    let survey = opened.survey().unwrap();
    let mut tar = TarWriter::new(Vec::new());
    let written = opened.unchanged_since(&survey).write_to(&mut tar, |event| {
        if matches!(event, Event::Archived { member: b"a" }) {
            fs::write(tree.path().join("b"), "2").unwrap();
        }
    });
    let error = written.unwrap_err();
    let error = MemberError::find_in(&error).unwrap();
    assert_eq!(error.member(), b".");
    assert!(matches!(error.problem(), MemberProblem::Changed));
}

#[test]
fn the_same_tree_gives_the_same_archive_in_sorted_order() {
    let tree = tempdir().unwrap();
    for name in ["b", "a.c", "a", "B"] {
        fs::create_dir(tree.path().join(name)).unwrap();
        fs::write(tree.path().join(name).join("f"), name).unwrap();
    }
    let archive = archive_of(tree.path(), "t");
    assert_eq!(
        names_in(&archive),
        [
            "t/", "t/B/", "t/B/f", "t/a/", "t/a/f", "t/a.c/", "t/a.c/f", "t/b/", "t/b/f"
        ]
    );
    assert!(archive == archive_of(tree.path(), "t"));
}

#[test]
fn without_a_prefix_the_entries_stand_at_the_top() {
    let tree = tempdir().unwrap();
    fs::write(tree.path().join("f"), "").unwrap();
    assert_eq!(names_in(&archive_of(tree.path(), "")), ["f"]);
    let empty = tempdir().unwrap();
    assert_eq!(archive_of(empty.path(), ""), [0; 1024]);
}

#[test]
fn a_tree_can_be_written_beside_other_members() {
    let tree = tempdir().unwrap();
    fs::write(tree.path().join("f"), "").unwrap();
    let mut tar = TarWriter::new(Vec::new());
    let metadata = Default::default();
    tar.append_file("README", 2, &metadata, &b"hi"[..]).unwrap();
    for prefix in ["one", "two"] {
        DirectoryTar::open(tree.path(), prefix)
            .unwrap()
            .write_to(&mut tar, |_| {})
            .unwrap();
    }
    let names = names_in(&tar.finish().unwrap());
    assert_eq!(names, ["README", "one/", "one/f", "two/", "two/f"]);
}

#[test]
fn symlinks_are_archived_as_links_and_never_followed() {
    let tree = tempdir().unwrap();
    symlink("/etc", tree.path().join("directory")).unwrap();
    symlink("/etc/passwd", tree.path().join("file")).unwrap();
    symlink(".", tree.path().join("loop")).unwrap();
    let archive = archive_of(tree.path(), "t");
    assert_eq!(
        names_in(&archive),
        ["t/", "t/directory", "t/file", "t/loop"]
    );
    assert_eq!(archive.len(), 4 * 512 + 1024);
}

#[test]
fn special_files_are_skipped_and_reported_without_being_opened() {
    let tree = tempdir().unwrap();
    let fifo = tree.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, 0o600.into()).unwrap();
    let _listener = UnixListener::bind(tree.path().join("socket")).unwrap();
    fs::write(tree.path().join("z"), "").unwrap();

    let mut skipped = Vec::new();
    let mut tar = TarWriter::new(Vec::new());
    let tree = DirectoryTar::open(tree.path(), "t").unwrap();
    let tally = tree
        .write_to(&mut tar, |event| {
            if let Event::Skipped { member, reason } = event {
                skipped.push((String::from_utf8_lossy(member).into_owned(), reason));
            }
        })
        .unwrap();
    let archive = tar.finish().unwrap();
    assert_eq!(
        skipped,
        [
            ("t/fifo".to_owned(), SkipReason::Fifo),
            ("t/socket".to_owned(), SkipReason::Socket)
        ]
    );
    assert_eq!(tally.skipped, 2);
    assert_eq!(names_in(&archive), ["t/", "t/z"]);
    assert_eq!(tree.survey().unwrap().archive_bytes, archive.len() as u64);
}

#[test]
fn a_file_that_vanishes_after_the_listing_is_named() {
    let tree = tempdir().unwrap();
    fs::write(tree.path().join("a"), "alpha").unwrap();
    fs::write(tree.path().join("b"), "beta").unwrap();
    let (kind, text) = failure_when(tree.path(), "alpha", || {
        fs::remove_file(tree.path().join("b")).unwrap();
    });
    assert_eq!(kind, ErrorKind::NotFound);
    assert!(
        text.starts_with("archive member \"t/b\": reading the metadata failed: "),
        "{text}"
    );
}

#[test]
fn a_file_that_shrinks_while_it_is_copied_is_named() {
    let tree = tempdir().unwrap();
    let path = tree.path().join("a");
    fs::write(&path, vec![1; 500_000]).unwrap();
    let shrink = || {
        fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(1000)
            .unwrap();
    };
    let (kind, text) = failure_when(tree.path(), "t/a\0", shrink);
    assert_eq!(kind, ErrorKind::UnexpectedEof);
    assert_eq!(
        text,
        "archive member \"t/a\": its content ended early: 500000 bytes were declared, 1000 were read"
    );
}

#[test]
fn a_file_that_grows_while_it_is_copied_is_named() {
    let tree = tempdir().unwrap();
    let path = tree.path().join("a");
    fs::write(&path, vec![1; 500_000]).unwrap();
    let grow = || {
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"more").unwrap();
    };
    let (kind, text) = failure_when(tree.path(), "t/a\0", grow);
    assert_eq!(kind, ErrorKind::InvalidData);
    assert_eq!(
        text,
        "archive member \"t/a\": its content is too long: 500000 bytes were declared, at least 500001 were \
         read"
    );
}

#[test]
fn a_file_that_is_rewritten_with_the_same_size_while_it_is_copied_is_named() {
    let tree = tempdir().unwrap();
    let path = tree.path().join("a");
    fs::write(&path, vec![1; 500_000]).unwrap();
    // Long ago: two changes within a tick of the clock are one.
    set_mtime(&path, 1_000_000_000);
    let rewrite = || {
        let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all(b"other").unwrap();
    };
    let (kind, text) = failure_when(tree.path(), "t/a\0", rewrite);
    assert_eq!(kind, ErrorKind::InvalidData);
    assert_eq!(
        text,
        "archive member \"t/a\": it was modified while it was copied"
    );
}

#[test]
fn every_member_is_told_of_when_it_is_in_the_archive() {
    let tree = rich_tree();
    let mut told = Vec::new();
    let mut tar = TarWriter::new(Vec::new());
    let tree = DirectoryTar::open(tree.path(), "t").unwrap();
    tree.write_to(&mut tar, |event| {
        if let Event::Archived { member } = event {
            told.push(String::from_utf8_lossy(member).into_owned());
        }
    })
    .unwrap();
    let names = names_in(&tar.finish().unwrap());
    let names: Vec<_> = names
        .iter()
        .map(|name| name.trim_end_matches('/'))
        .collect();
    assert_eq!(told, names);
}

#[test]
fn a_directory_that_is_replaced_by_a_symlink_does_not_lead_the_walk_elsewhere() {
    let tree = tempdir().unwrap();
    let at = |name: &str| tree.path().join(name);
    fs::create_dir(at("d")).unwrap();
    fs::write(at("d/a"), "alpha").unwrap();
    fs::write(at("d/passwd"), "harmless").unwrap();
    let moved = tempdir().unwrap();
    let mut tar = TarWriter::new(Hooked::new("alpha", || {
        fs::rename(at("d"), moved.path().join("d")).unwrap();
        symlink("/etc", at("d")).unwrap();
    }));
    DirectoryTar::open(tree.path(), "t")
        .unwrap()
        .write_to(&mut tar, |_| {})
        .unwrap();
    let archive = tar.finish().unwrap().bytes;
    assert_eq!(names_in(&archive), ["t/", "t/d/", "t/d/a", "t/d/passwd"]);
    assert!(archive.windows(8).any(|window| window == b"harmless"));
    assert!(!archive.windows(5).any(|window| window == b"root:"));
}

#[test]
fn a_root_that_is_replaced_stays_the_root_that_was_opened() {
    let scratch = tempdir().unwrap();
    let root = scratch.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("mine"), "").unwrap();
    let opened = DirectoryTar::open(&root, "t").unwrap();
    fs::rename(&root, scratch.path().join("moved")).unwrap();
    symlink("/etc", &root).unwrap();
    let mut tar = TarWriter::new(Vec::new());
    opened.write_to(&mut tar, |_| {}).unwrap();
    assert_eq!(names_in(&tar.finish().unwrap()), ["t/", "t/mine"]);
}

/// One thread exchanges a file and a directory with symlinks to secrets as fast
/// as it can, while another archives them. Each attempt ends well or with an
/// error; no secret ever gets out.
#[test]
fn a_symlink_swap_attack_never_reaches_outside() {
    let secret = tempdir().unwrap();
    fs::write(secret.path().join("f"), "SECRET").unwrap();
    let tree = tempdir().unwrap();
    let at = |name: &str| tree.path().join(name);
    fs::write(at("file"), "public").unwrap();
    fs::create_dir(at("directory")).unwrap();
    fs::write(at("directory/f"), "public").unwrap();
    let spare = tempdir().unwrap();
    symlink(secret.path().join("f"), spare.path().join("file")).unwrap();
    symlink(secret.path(), spare.path().join("directory")).unwrap();

    let done = AtomicBool::new(false);
    let swaps = Cell::new(0_u32);
    std::thread::scope(|scope| {
        let archiver = scope.spawn(|| {
            for _ in 0..2000 {
                let mut tar = TarWriter::new(Hooked::new("SECRET", || panic!("a secret got out")));
                let opened = DirectoryTar::open(tree.path(), "t").unwrap();
                let _ = opened.write_to(&mut tar, |_| {});
            }
            done.store(true, Ordering::Release);
        });
        while !done.load(Ordering::Acquire) && !archiver.is_finished() {
            for name in ["file", "directory"] {
                exchange(&at(name), &spare.path().join(name));
                swaps.set(swaps.get() + 1);
            }
        }
    });
    assert!(
        swaps.get() > 100,
        "only {} swaps: no attack took place",
        swaps.get()
    );
}

#[cfg(target_os = "linux")]
fn exchange(one: &Path, other: &Path) {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
}

#[cfg(not(target_os = "linux"))]
fn exchange(one: &Path, other: &Path) {
    let aside = other.with_extension("aside");
    fs::rename(one, &aside).unwrap();
    fs::rename(other, one).unwrap();
    fs::rename(&aside, other).unwrap();
}

#[test]
fn hard_links_share_one_content_after_extraction() {
    let tree = tempdir().unwrap();
    fs::create_dir(tree.path().join("d")).unwrap();
    fs::write(tree.path().join("d/one"), vec![1; 10_000]).unwrap();
    for name in ["d/two", "three"] {
        fs::hard_link(tree.path().join("d/one"), tree.path().join(name)).unwrap();
    }
    let scratch = tempdir().unwrap();
    let archive = scratch.path().join("archive.tar");
    fs::write(&archive, archive_of(tree.path(), "t")).unwrap();
    assert!(fs::metadata(&archive).unwrap().len() < 2 * 10_000);
    Reader::GnuTar.extract(&archive, scratch.path());
    let copy = snapshot(&scratch.path().join("t"));
    for name in ["d/one", "d/two", "three"] {
        let Entry::File { links, content, .. } = &copy[Path::new(name)] else {
            panic!("{name} is no file");
        };
        assert_eq!((*links, content.len()), (3, 10_000));
    }
}

#[test]
fn a_deep_tree_is_archived_up_to_the_limit_and_refused_beyond() {
    let tree = tempdir().unwrap();
    let mut deepest = tree.path().to_owned();
    for _ in 0..DEPTH_MAX {
        deepest.push("deep-er");
        fs::create_dir(&deepest).unwrap();
    }
    fs::write(deepest.join("f"), "bottom").unwrap();
    let archive = tempfile::NamedTempFile::new().unwrap();
    fs::write(archive.path(), archive_of(tree.path(), "t")).unwrap();
    for reader in readers::ALL {
        assert_eq!(
            reader.list(archive.path()).lines().count(),
            1 + DEPTH_MAX + 1
        );
    }

    fs::create_dir(deepest.join("one-more")).unwrap();
    let (kind, text) = failure_when(tree.path(), "never", || {});
    assert_eq!(kind, ErrorKind::InvalidInput);
    assert!(
        text.ends_with("/one-more\": it is deeper than 256 levels"),
        "{text}"
    );
}

#[test]
fn a_listing_beyond_its_limit_is_refused_by_name() {
    let tree = tempdir().unwrap();
    fs::create_dir(tree.path().join("d")).unwrap();
    for name in ["1", "2", "3"] {
        fs::write(tree.path().join("d").join(name), "").unwrap();
    }
    // One entry in the root, three below.
    let needed = 4 * (1 + LISTING_ENTRY_BYTES);
    let open = |limit| {
        DirectoryTar::open(tree.path(), "t")
            .unwrap()
            .with_listing_bytes_max(limit)
    };
    open(needed)
        .write_to(&mut TarWriter::new(Vec::new()), |_| {})
        .unwrap();
    let error = open(needed - 1).survey().unwrap_err();
    let member_error = MemberError::find_in(&error).unwrap();
    assert_eq!(member_error.member(), b"t/d");
    assert!(matches!(
        member_error.problem(),
        MemberProblem::ListingTooLarge { .. }
    ));
}

#[test]
fn listings_of_siblings_do_not_add_up() {
    let tree = tempdir().unwrap();
    for directory in 0..9 {
        let directory = tree.path().join(directory.to_string());
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("f"), "").unwrap();
    }
    let limit = (9 + 1) * (1 + LISTING_ENTRY_BYTES);
    let opened = DirectoryTar::open(tree.path(), "t")
        .unwrap()
        .with_listing_bytes_max(limit);
    opened.survey().unwrap();
}

#[test]
fn a_root_that_cannot_be_archived_is_refused_by_path() {
    let scratch = tempdir().unwrap();
    fs::write(scratch.path().join("file"), "").unwrap();
    for (name, kind) in [
        ("missing", ErrorKind::NotFound),
        ("file", ErrorKind::NotADirectory),
    ] {
        let root = scratch.path().join(name);
        let error = DirectoryTar::open(&root, "t").unwrap_err();
        assert_eq!(error.kind(), kind);
        let text = format!("cannot archive the directory {root:?}: ");
        assert!(error.to_string().starts_with(&text), "{error}");
    }
    let error = DirectoryTar::open(scratch.path(), "../t").unwrap_err();
    assert_eq!(MemberError::find_in(&error).unwrap().member(), b"../t");
}

#[test]
fn a_hang_up_ends_the_walk_with_the_error_of_the_writer() {
    let tree = rich_tree();
    let kind = ErrorKind::BrokenPipe;
    let mut tar = TarWriter::new(Failing {
        bytes_left: 5000,
        kind,
    });
    let error = DirectoryTar::open(tree.path(), "t")
        .unwrap()
        .write_to(&mut tar, |_| {})
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (kind, "the consumer left")
    );
    assert!(MemberError::find_in(&error).is_none());
}

#[cfg(target_os = "linux")]
#[test]
fn pseudo_files_whose_size_is_a_lie_fail_by_name() {
    let error = DirectoryTar::open("/proc/self/net", "net")
        .unwrap()
        .write_to(&mut TarWriter::new(Vec::new()), |_| {})
        .unwrap_err();
    assert!(
        MemberError::find_in(&error)
            .unwrap()
            .member()
            .starts_with(b"net/")
    );
}

#[test]
fn a_name_too_long_for_any_path_call_is_still_archived() {
    let tree = tempdir().unwrap();
    let long = OsString::from_vec(vec![b'x'; 255]);
    // 30 levels of 255 bytes: twice PATH_MAX, so each level is made by descriptor.
    let mut directory = rustix::fs::open(
        tree.path(),
        rustix::fs::OFlags::DIRECTORY,
        rustix::fs::Mode::empty(),
    )
    .unwrap();
    for _ in 0..30 {
        rustix::fs::mkdirat(&directory, &long, 0o700.into()).unwrap();
        let flags = rustix::fs::OFlags::DIRECTORY;
        directory = rustix::fs::openat(&directory, &long, flags, 0o700.into()).unwrap();
    }
    let archive = archive_of(tree.path(), "");
    assert_eq!(names_in(&archive).last().unwrap().len(), 30 * 256);
}
