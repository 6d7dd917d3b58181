//! Failures of an archive: they name the member, are reported, and are final.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};

use datastreamer_archive::tar::TarWriter;
use datastreamer_archive::{MEMBER_NAME_BYTES_MAX, MemberError, MemberMetadata, MemberProblem};

use crate::readers;
use crate::writers::Failing;

fn metadata() -> MemberMetadata {
    MemberMetadata::new(0o644, 0)
}

fn append_to_new(
    append: impl FnOnce(&mut TarWriter<Vec<u8>>) -> io::Result<()>,
) -> (TarWriter<Vec<u8>>, io::Error) {
    let mut tar = TarWriter::new(Vec::new());
    let error = append(&mut tar).unwrap_err();
    (tar, error)
}

fn assert_broken<W: Write>(mut tar: TarWriter<W>) {
    let text =
        "the archive is broken by an earlier error: it can be neither continued nor finished";
    let errors = [
        tar.append_directory("next", &metadata()).unwrap_err(),
        tar.append_file("next", 0, &metadata(), io::empty())
            .unwrap_err(),
        tar.append_symlink("next", "x", &metadata()).unwrap_err(),
        tar.append_hard_link("next", "x", &metadata()).unwrap_err(),
        tar.finish().map(|_| ()).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn a_truncated_member_is_named_with_both_sizes_and_breaks_the_archive() {
    for (size_bytes, content_bytes) in [(1, 0), (1000, 999), (400_000, 399_999)] {
        let content = vec![7; content_bytes];
        let (tar, error) = append_to_new(|tar| {
            tar.append_file("dir/short", size_bytes, &metadata(), content.as_slice())
        });
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        assert_eq!(
            error.to_string(),
            format!(
                "archive member \"dir/short\": its content ended early: \
                 {size_bytes} bytes were declared, {content_bytes} were read"
            )
        );
        assert_broken(tar);
    }
}

#[test]
fn a_grown_member_is_named_with_both_sizes_and_breaks_the_archive() {
    for size_bytes in [0, 1, 512, 128 * 1024, 128 * 1024 + 1] {
        let (tar, error) =
            append_to_new(|tar| tar.append_file("log", size_bytes, &metadata(), io::repeat(b'x')));
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert_eq!(
            error.to_string(),
            format!(
                "archive member \"log\": its content is too long: {size_bytes} bytes were declared, \
                 at least {} were read",
                size_bytes + 1
            )
        );
        assert_broken(tar);
    }
}

#[test]
fn a_reader_that_fails_is_named_and_keeps_its_kind() {
    struct Fails(ErrorKind);
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::new(self.0, "disk on fire"))
        }
    }
    let (tar, error) = append_to_new(|tar| {
        tar.append_file("a", 9, &metadata(), Fails(ErrorKind::PermissionDenied))
    });
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert_eq!(
        error.to_string(),
        "archive member \"a\": reading failed: disk on fire"
    );
    assert_broken(tar);

    let (_, error) =
        append_to_new(|tar| tar.append_file("a", 9, &metadata(), Fails(ErrorKind::BrokenPipe)));
    assert_eq!(
        error.kind(),
        ErrorKind::Other,
        "must not look like a hang-up"
    );
}

#[test]
fn an_interrupted_read_is_tried_again() {
    struct InterruptedOnce(bool);
    impl Read for InterruptedOnce {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            match std::mem::replace(&mut self.0, true) {
                false => Err(ErrorKind::Interrupted.into()),
                true => Ok(0),
            }
        }
    }
    let mut tar = TarWriter::new(Vec::new());
    tar.append_file("a", 0, &metadata(), InterruptedOnce(false))
        .unwrap();
    tar.finish().unwrap();
}

#[test]
fn a_panicking_reader_breaks_the_archive() {
    struct Panics;
    impl Read for Panics {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            panic!("on purpose");
        }
    }
    let mut tar = TarWriter::new(Vec::new());
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        tar.append_file("a", 1, &metadata(), Panics)
    }));
    assert!(caught.is_err());
    assert_broken(tar);
}

#[test]
fn an_error_of_the_writer_comes_back_unchanged_and_breaks_the_archive() {
    for kind in [
        ErrorKind::BrokenPipe,
        ErrorKind::StorageFull,
        ErrorKind::ConnectionReset,
    ] {
        // In the first head, in the content, in the padding.
        for bytes_left in [100, 600, 513 + 100] {
            let mut tar = TarWriter::new(Failing { bytes_left, kind });
            let error = tar
                .append_file("a", 101, &metadata(), &[1; 101][..])
                .unwrap_err();
            assert_eq!(error.kind(), kind);
            assert_eq!(error.to_string(), "the consumer left");
            assert!(MemberError::find_in(&error).is_none());
            assert_broken(tar);
        }
        let error = TarWriter::new(Failing {
            bytes_left: 1023,
            kind,
        })
        .finish()
        .map(|_| ());
        assert_eq!(error.unwrap_err().kind(), kind);
    }
}

#[test]
fn names_that_lead_elsewhere_or_nowhere_are_refused() {
    let too_long = "n".repeat(MEMBER_NAME_BYTES_MAX + 1);
    let names: [&[u8]; 14] = [
        b"",
        b"/",
        b"/etc/passwd",
        b"..",
        b"../up",
        b"a/../b",
        b"a/..",
        b".",
        b"./a",
        b"a/./b",
        b"a//b",
        b"a/",
        b"nul\0byte",
        too_long.as_bytes(),
    ];
    for name in names {
        let appended = [
            append_to_new(|tar| tar.append_directory(name, &metadata())),
            append_to_new(|tar| tar.append_file(name, 0, &metadata(), io::empty())),
            append_to_new(|tar| tar.append_symlink(name, "target", &metadata())),
            append_to_new(|tar| tar.append_hard_link(name, "target", &metadata())),
        ];
        for (tar, error) in appended {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let member_error = MemberError::find_in(&error).unwrap();
            assert_eq!(member_error.member(), name);
            assert!(matches!(member_error.problem(), MemberProblem::Refused(_)));
            assert_broken(tar);
        }
        let (_, error) = append_to_new(|tar| tar.append_hard_link("ok", name, &metadata()));
        assert_eq!(MemberError::find_in(&error).unwrap().member(), b"ok");
    }
}

#[test]
fn dots_inside_of_components_are_no_reason_to_refuse() {
    let mut tar = TarWriter::new(Vec::new());
    for name in ["...", "..a", "a..", ".hidden", "a/.b/c..d"] {
        tar.append_file(name, 0, &metadata(), io::empty()).unwrap();
    }
    tar.finish().unwrap();
}

#[test]
fn texts_that_cannot_be_stored_are_refused() {
    for target in ["", "nul\0byte"] {
        let (_, error) = append_to_new(|tar| tar.append_symlink("s", target, &metadata()));
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    let mut metadata = metadata();
    metadata.user_name = Some("nul\0byte".to_owned());
    let (_, error) = append_to_new(|tar| tar.append_directory("d", &metadata));
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn an_error_text_is_one_line_whatever_the_name() {
    let (_, error) = append_to_new(|tar| {
        tar.append_file(b"\n\x1b[2Jstar \xff \xc3\xa9", 1, &metadata(), io::empty())
    });
    let text = error.to_string();
    assert!(
        text.starts_with(r#"archive member "\n\u{1b}[2Jstar \xff é": "#),
        "{text}"
    );
}

#[test]
fn dropping_the_writer_is_not_a_clean_end() {
    let mut archive = Vec::new();
    let mut tar = TarWriter::new(&mut archive);
    tar.append_file("a", 600, &metadata(), &[1; 600][..])
        .unwrap();
    drop(tar);
    assert_eq!(archive.len(), 512 + 1024);
    assert_ne!(
        archive[1024..][..88],
        [0; 88],
        "nothing but the member was written"
    );
}

#[test]
fn readers_reject_an_archive_that_broke_inside_a_member() {
    let mut archive = Vec::new();
    let mut tar = TarWriter::new(&mut archive);
    tar.append_file("a", 10_000, &metadata(), &[1; 9000][..])
        .unwrap_err();
    drop(tar);
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), archive).unwrap();
    // Python's lists members without reading them, and does not notice.
    for reader in [readers::Reader::GnuTar, readers::Reader::BsdTar] {
        assert!(!reader.try_list(file.path()).status.success(), "{reader:?}");
    }
}
