//! Arbitrary members, read back by the `tar` crate.
//!
//! Without newlines in names: that crate takes each for the end of a pax record,
//! whatever the record's length says. `tar_format` has them, for other readers.

use std::io::Read;

use datastreamer_archive::MemberMetadata;
use datastreamer_archive::tar::TarWriter;
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Kind {
    File(Vec<u8>),
    Directory,
    Symlink(Vec<u8>),
    HardLink(Vec<u8>),
}

#[derive(Clone, Debug)]
struct Member {
    name: Vec<u8>,
    kind: Kind,
    metadata: MemberMetadata,
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_member_comes_back(members in vec(any_member(), 0..8)) {
        let mut tar = TarWriter::new(Vec::new());
        for Member { name, kind, metadata } in &members {
            match kind {
                Kind::File(content) => {
                    tar.append_file(name, content.len() as u64, metadata, content.as_slice())
                }
                Kind::Directory => tar.append_directory(name, metadata),
                Kind::Symlink(target) => tar.append_symlink(name, target, metadata),
                Kind::HardLink(target) => tar.append_hard_link(name, target, metadata),
            }?;
        }
        let archive = tar.finish()?;
        prop_assert_eq!(archive.len() % 512, 0);

        let mut archive = tar::Archive::new(archive.as_slice());
        let mut entries = archive.entries()?;
        for member in &members {
            let entry = entries.next().ok_or_else(|| TestCaseError::fail("a member is missing"))?;
            assert_same(&mut entry?, member)?;
        }
        prop_assert!(entries.next().is_none());
    }
}

fn assert_same(
    entry: &mut tar::Entry<'_, impl Read>,
    member: &Member,
) -> Result<(), TestCaseError> {
    let (typeflag, slash, content, target): (_, &[u8], &[u8], _) = match &member.kind {
        Kind::File(content) => (tar::EntryType::Regular, b"", content, None),
        Kind::Directory => (tar::EntryType::Directory, b"/", b"", None),
        Kind::Symlink(target) => (tar::EntryType::Symlink, b"", b"", Some(target.as_slice())),
        Kind::HardLink(target) => (tar::EntryType::Link, b"", b"", Some(target.as_slice())),
    };
    prop_assert_eq!(entry.header().entry_type(), typeflag);
    prop_assert_eq!(entry.path_bytes().to_vec(), [&member.name, slash].concat());
    let entry_target = entry.link_name_bytes().map(|target| target.to_vec());
    prop_assert_eq!(entry_target.as_deref(), target);

    let mut read = Vec::new();
    entry.read_to_end(&mut read)?;
    prop_assert_eq!(read, content);

    let wanted = &member.metadata;
    prop_assert_eq!(entry.header().mode()?, wanted.mode & 0o7777);
    prop_assert_eq!(
        number(entry, "uid", |header| header.uid())?,
        wanted.uid.into()
    );
    prop_assert_eq!(
        number(entry, "gid", |header| header.gid())?,
        wanted.gid.into()
    );
    prop_assert_eq!(
        number(entry, "mtime", |header| header.mtime())?,
        wanted.mtime_seconds.into()
    );
    Ok(())
}

/// A number from its pax record if there is one, otherwise from its field: the
/// crate itself does this only for some.
fn number(
    entry: &mut tar::Entry<'_, impl Read>,
    keyword: &str,
    field: impl Fn(&tar::Header) -> std::io::Result<u64>,
) -> Result<i128, TestCaseError> {
    if let Some(records) = entry.pax_extensions()? {
        for record in records {
            let record = record?;
            if record.key() == Ok(keyword) {
                let value = record
                    .value()
                    .map_err(|_| TestCaseError::fail("not UTF-8"))?;
                return value
                    .parse()
                    .map_err(|_| TestCaseError::fail("not a number"));
            }
        }
    }
    Ok(field(entry.header())?.into())
}

fn any_member() -> impl Strategy<Value = Member> {
    (any_name(), any_kind(), any_metadata()).prop_map(|(name, kind, metadata)| Member {
        name,
        kind,
        metadata,
    })
}

fn any_kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        vec(any::<u8>(), 0..2000).prop_map(Kind::File),
        Just(Kind::Directory),
        vec(b' '.., 1..300).prop_map(Kind::Symlink),
        any_name().prop_map(Kind::HardLink),
    ]
}

fn any_metadata() -> impl Strategy<Value = MemberMetadata> {
    let mtime_seconds = prop_oneof![any::<i64>(), -10_i64..10_000_000_000];
    let number = prop_oneof![any::<u32>(), 0_u32..3_000_000];
    (any::<u32>(), number.clone(), number, mtime_seconds).prop_map(
        |(mode, uid, gid, mtime_seconds)| {
            let mut metadata = MemberMetadata::new(mode, mtime_seconds);
            (metadata.uid, metadata.gid) = (uid, gid);
            metadata
        },
    )
}

fn any_name() -> impl Strategy<Value = Vec<u8>> {
    vec(any_component(), 1..8).prop_map(|components| components.join(&b'/'))
}

fn any_component() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => vec(b'a'..=b'z', 1..120),
        1 => vec(prop_oneof![Just('ä'), Just('星'), Just('🛰')], 1..30)
            .prop_map(|letters| letters.into_iter().collect::<String>().into_bytes()),
        1 => vec(any::<u8>(), 1..60),
    ]
    .prop_map(|mut component| {
        component
            .iter_mut()
            .filter(|byte| matches!(byte, b'/' | b'\n' | 0))
            .for_each(|byte| *byte = b'_');
        component
    })
    .prop_filter("not a component", |component| {
        component != b"." && component != b".."
    })
}
