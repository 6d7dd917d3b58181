//! How other programs read the archive's bytes.

use std::fs;
use std::io::{self, Read};

use datastreamer_archive::MemberMetadata;
use datastreamer_archive::tar::{COPY_BUFFER_BYTES, TarWriter};

use crate::readers::{self, Listed, Reader};
use crate::writers::Sparse;

fn metadata() -> MemberMetadata {
    MemberMetadata::new(0o644, 1_700_000_000)
}

/// Writes an archive and lists it with Python, after the other readers have
/// listed it without a complaint.
fn read_back(write: impl FnOnce(&mut TarWriter<Vec<u8>>) -> io::Result<()>) -> Vec<Listed> {
    let mut tar = TarWriter::new(Vec::new());
    write(&mut tar).unwrap();
    let archive = tempfile::NamedTempFile::new().unwrap();
    fs::write(archive.path(), tar.finish().unwrap()).unwrap();
    for reader in readers::ALL {
        reader.list(archive.path());
    }
    readers::members(archive.path())
}

fn read_back_one(write: impl FnOnce(&mut TarWriter<Vec<u8>>) -> io::Result<()>) -> Listed {
    let mut members = read_back(write);
    assert_eq!(members.len(), 1);
    members.remove(0)
}

fn bytes_of_one(name: &str, metadata: &MemberMetadata) -> usize {
    let mut tar = TarWriter::new(Vec::new());
    tar.append_file(name, 0, metadata, io::empty()).unwrap();
    tar.finish().unwrap().len() - 1024
}

#[test]
fn an_empty_archive_is_two_zero_blocks() {
    let archive = TarWriter::new(Vec::new()).finish().unwrap();
    assert_eq!(archive, [0; 1024]);
    assert!(read_back(|_| Ok(())).is_empty());
}

#[test]
fn all_metadata_come_back() {
    let mut metadata = MemberMetadata::new(0o104_755, 1_234_567_890);
    (metadata.uid, metadata.gid) = (1000, 2_097_151);
    metadata.user_name = Some("ada".to_owned());
    metadata.group_name = Some("astronomers".to_owned());
    let member = read_back_one(|tar| tar.append_file("a.bin", 3, &metadata, &b"abc"[..]));
    assert_eq!(
        member,
        Listed {
            kind: "file".to_owned(),
            mode: 0o4755,
            uid: 1000,
            gid: 2_097_151,
            size_bytes: 3,
            mtime_seconds: 1_234_567_890,
            user_name: "ada".to_owned(),
            group_name: "astronomers".to_owned(),
            name: b"a.bin".to_vec(),
            target: Vec::new(),
        }
    );
    assert_eq!(bytes_of_one("a.bin", &metadata), 512);
}

#[test]
fn gnu_tar_shows_what_was_declared() {
    let mut tar = TarWriter::new(Vec::new());
    tar.append_directory("d", &MemberMetadata::new(0o750, 0))
        .unwrap();
    tar.append_file(
        "d/f",
        5,
        &MemberMetadata::new(0o640, 1_700_000_000),
        &b"hello"[..],
    )
    .unwrap();
    tar.append_symlink("d/s", "../x", &MemberMetadata::new(0o777, 60))
        .unwrap();
    tar.append_hard_link("d/h", "d/f", &MemberMetadata::new(0o640, 60))
        .unwrap();
    let archive = tempfile::NamedTempFile::new().unwrap();
    fs::write(archive.path(), tar.finish().unwrap()).unwrap();
    let listing = Reader::GnuTar.list(archive.path());
    let lines: Vec<_> = listing
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        lines,
        [
            "drwxr-x--- 0/0 0 1970-01-01 00:00 d/",
            "-rw-r----- 0/0 5 2023-11-14 22:13 d/f",
            "lrwxrwxrwx 0/0 0 1970-01-01 00:01 d/s -> ../x",
            "hrw-r----- 0/0 0 1970-01-01 00:01 d/h link to d/f",
        ]
    );
}

#[test]
fn names_of_every_length_come_back() {
    let lengths = [
        1, 99, 100, 101, 155, 156, 200, 255, 256, 257, 300, 512, 1000, 4000,
    ];
    let mut names = Vec::new();
    for length in lengths {
        names.push("n".repeat(length));
        // Components of 50, so that some slash leaves a prefix that fits.
        let deep = format!("{}/", "c".repeat(49)).repeat(length / 50 + 1);
        names.push(format!("{}e", &deep[..length - 1]));
    }
    let listed = read_back(|tar| {
        for name in &names {
            tar.append_file(name, 2, &metadata(), &b"ok"[..])?;
            tar.append_directory(format!("{name}.d"), &metadata())?;
        }
        Ok(())
    });
    let expected: Vec<_> = names
        .iter()
        .flat_map(|name| [name.clone(), format!("{name}.d")])
        .map(String::into_bytes)
        .collect();
    assert_eq!(
        listed
            .into_iter()
            .map(|member| member.name)
            .collect::<Vec<_>>(),
        expected
    );
}

#[test]
fn a_name_that_the_prefix_can_hold_needs_no_pax_header() {
    let name = format!("{}/{}", "p".repeat(155), "n".repeat(100));
    assert_eq!(bytes_of_one(&name, &metadata()), 512);
    assert_eq!(
        bytes_of_one(&format!("{name}n"), &metadata()),
        512 + 512 + 512
    );
}

#[test]
fn unicode_names_come_back() {
    let names = [
        "Grüße/αβγ.fits",
        "星表.csv",
        "emoji 🛰 and\nnewline",
        "e\u{301}",
    ];
    let listed = read_back(|tar| {
        for name in names {
            tar.append_symlink(name, name, &metadata())?;
        }
        Ok(())
    });
    for (listed, name) in listed.iter().zip(names) {
        assert_eq!(listed.name, name.as_bytes());
        assert_eq!(listed.target, name.as_bytes());
    }
}

#[test]
fn names_that_are_not_utf8_come_back_and_are_declared_binary() {
    let name = b"latin1-\xfcber/\xff\xfe";
    let listed = read_back(|tar| {
        tar.append_file(name, 0, &metadata(), io::empty())?;
        tar.append_symlink("proper-ö", name, &metadata())
    });
    assert_eq!(listed[0].name, name);
    assert_eq!(listed[1].name, "proper-ö".as_bytes());
    assert_eq!(listed[1].target, name);

    let mut tar = TarWriter::new(Vec::new());
    tar.append_file(name, 0, &metadata(), io::empty()).unwrap();
    let archive = tar.finish().unwrap();
    assert!(archive[512..].starts_with(b"21 hdrcharset=BINARY\n"));
}

#[test]
fn long_link_targets_come_back() {
    let target = "t/".repeat(60);
    let listed = read_back(|tar| {
        tar.append_symlink("s100", &target[..100], &metadata())?;
        tar.append_symlink("s120", &target, &metadata())?;
        tar.append_file(&target[..119], 0, &metadata(), io::empty())?;
        tar.append_hard_link("h119", &target[..119], &metadata())
    });
    let targets: Vec<_> = listed.iter().map(|member| member.target.len()).collect();
    assert_eq!(targets, [100, 120, 0, 119]);
    assert_eq!(listed[3].kind, "hard link");
}

#[test]
fn numbers_that_do_not_fit_come_back() {
    let mut wide = MemberMetadata::new(0o600, -86_400);
    (wide.uid, wide.gid) = (2_097_152, u32::MAX);
    let mut late = MemberMetadata::new(0o600, 8_589_934_592);
    late.user_name = Some("Ægir".to_owned());
    late.group_name = Some("g".repeat(32));
    let listed = read_back(|tar| {
        tar.append_file("wide", 0, &wide, io::empty())?;
        tar.append_file("late", 0, &late, io::empty())
    });
    assert_eq!(
        (listed[0].uid, listed[0].gid),
        (2_097_152, u64::from(u32::MAX))
    );
    assert_eq!(listed[0].mtime_seconds, -86_400);
    assert_eq!(listed[1].mtime_seconds, 8_589_934_592);
    assert_eq!(listed[1].user_name, "Ægir");
    assert_eq!(listed[1].group_name, "g".repeat(32));
}

#[test]
fn contents_of_every_length_around_a_block_and_a_buffer_come_back() {
    let lengths = [0, 1, 511, 512, 513]
        .into_iter()
        .chain([
            COPY_BUFFER_BYTES - 1,
            COPY_BUFFER_BYTES,
            COPY_BUFFER_BYTES + 1,
        ])
        .chain([3 * COPY_BUFFER_BYTES + 7]);
    let contents: Vec<Vec<u8>> = lengths
        .map(|length| (0..length).map(|at| (at % 251) as u8).collect())
        .collect();
    let mut tar = TarWriter::new(Vec::new());
    for content in &contents {
        let name = content.len().to_string();
        tar.append_file(name, content.len() as u64, &metadata(), content.as_slice())
            .unwrap();
    }
    let scratch = tempfile::tempdir().unwrap();
    let archive = scratch.path().join("archive.tar");
    fs::write(&archive, tar.finish().unwrap()).unwrap();
    for reader in readers::ALL {
        let target = scratch.path().join(format!("{reader:?}"));
        fs::create_dir(&target).unwrap();
        reader.extract(&archive, &target);
        for content in &contents {
            assert!(fs::read(target.join(content.len().to_string())).unwrap() == *content);
        }
    }
}

#[test]
fn a_file_of_nine_gibibytes_is_followed_by_the_next_member() {
    let giant_bytes = 9 << 30;
    let archive = tempfile::NamedTempFile::new().unwrap();
    let mut tar = TarWriter::new(Sparse::new(archive.reopen().unwrap()));
    tar.append_file(
        "giant",
        giant_bytes,
        &metadata(),
        io::repeat(0).take(giant_bytes),
    )
    .unwrap();
    tar.append_file("after", 5, &metadata(), &b"hello"[..])
        .unwrap();
    tar.finish().unwrap();
    for reader in [Reader::GnuTar, Reader::BsdTar] {
        let listing = reader.list(archive.path());
        let [giant, after] = listing.lines().collect::<Vec<_>>()[..] else {
            panic!("{reader:?}: {listing}");
        };
        assert!(
            giant.contains(" 9663676416 ") && giant.ends_with(" giant"),
            "{giant}"
        );
        assert!(after.ends_with(" after"), "{after}");
    }
    let members = readers::members(archive.path());
    assert_eq!(members[0].size_bytes, giant_bytes);
    assert_eq!(
        (members[1].name.as_slice(), members[1].size_bytes),
        (&b"after"[..], 5)
    );
}

#[test]
fn eight_gibibytes_less_one_byte_is_the_most_without_a_pax_header() {
    let head_bytes = |size_bytes: u64| {
        let mut archive = Vec::new();
        let mut tar = TarWriter::new(&mut archive);
        assert!(
            tar.append_file("x", size_bytes, &metadata(), io::empty())
                .is_err()
        );
        archive.len()
    };
    assert_eq!(head_bytes((8 << 30) - 1), 512);
    assert_eq!(head_bytes(8 << 30), 1536);
    assert_eq!(head_bytes(u64::MAX), 1536);
}
