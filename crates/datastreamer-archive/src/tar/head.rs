//! The bytes before a member's content: a ustar header, preceded by a pax extended
//! header if a value does not fit.
//!
//! This file owns the layout of blocks, fields and records. It is pure: the same
//! member gives the same bytes. It checks nothing: its only caller, `tar.rs`, has
//! checked names and texts.
//!
//! Source: IEEE Std 1003.1, utility `pax`, sections "ustar Interchange Format"
//! (table "ustar Header Block") and "pax Extended Header".

use std::ops::Range;

use crate::member::{MemberMetadata, MemberName};

/// The unit of a tar archive: a header is one block, content is padded to a
/// multiple of it.
pub(super) const BLOCK_BYTES: usize = 512;

/// The kind of a member, with what only this kind has.
pub(crate) enum MemberKind<'a> {
    File { size_bytes: u64 },
    Directory,
    Symlink { target: &'a [u8] },
    HardLink { target: &'a [u8] },
}

/// Encodes the head of a member: 512 bytes, or a pax header and 512 bytes.
pub(super) fn encode(
    name: &MemberName,
    kind: &MemberKind<'_>,
    metadata: &MemberMetadata,
) -> Vec<u8> {
    let mut head = Head::new(kind.typeflag());
    match kind {
        MemberKind::Directory => head.put_path(&[name.as_bytes(), b"/"].concat()),
        _ => head.put_path(name.as_bytes()),
    }
    match kind {
        MemberKind::File { size_bytes } => head.put_number(SIZE, "size", *size_bytes),
        MemberKind::Symlink { target } | MemberKind::HardLink { target } => {
            head.put_text(LINKNAME, "linkpath", target);
        }
        MemberKind::Directory => {}
    }
    head.put_number(MODE, "mode", metadata.mode & 0o7777);
    head.put_number(UID, "uid", metadata.uid);
    head.put_number(GID, "gid", metadata.gid);
    head.put_number(MTIME, "mtime", metadata.mtime_seconds);
    head.put_owner_name(UNAME, "uname", metadata.user_name.as_deref());
    head.put_owner_name(GNAME, "gname", metadata.group_name.as_deref());
    head.into_bytes()
}

impl MemberKind<'_> {
    fn typeflag(&self) -> u8 {
        match self {
            Self::File { .. } => b'0',
            Self::HardLink { .. } => b'1',
            Self::Symlink { .. } => b'2',
            Self::Directory => b'5',
        }
    }
}

/// A head that is being built: each value goes into its field of the ustar
/// header, or into a pax record if it does not fit there.
struct Head {
    block: [u8; BLOCK_BYTES],
    records: Vec<(&'static str, Vec<u8>)>,
}

impl Head {
    fn new(typeflag: u8) -> Self {
        let mut block = [0; BLOCK_BYTES];
        block[TYPEFLAG] = typeflag;
        put(&mut block, MAGIC_AND_VERSION, b"ustar\x0000");
        for number in [MODE, UID, GID, SIZE, MTIME, DEVMAJOR, DEVMINOR] {
            put_octal(&mut block, number, 0);
        }
        Self {
            block,
            records: Vec::new(),
        }
    }

    fn put_path(&mut self, path: &[u8]) {
        if let Some((prefix, name)) = split_path(path) {
            put(&mut self.block, PREFIX, prefix);
            put(&mut self.block, NAME, name);
        } else {
            put(&mut self.block, NAME, &stand_in(path, NAME.len()));
            self.records.push(("path", path.to_vec()));
        }
    }

    fn put_text(&mut self, field: Range<usize>, keyword: &'static str, text: &[u8]) {
        if text.is_ascii() && text.len() <= field.len() {
            put(&mut self.block, field, text);
        } else {
            put(&mut self.block, field.clone(), &stand_in(text, field.len()));
            self.records.push((keyword, text.to_vec()));
        }
    }

    /// Unlike other texts, an owner's name must end with NUL.
    fn put_owner_name(&mut self, field: Range<usize>, keyword: &'static str, name: Option<&str>) {
        let field = field.start..field.end - 1;
        self.put_text(field, keyword, name.unwrap_or_default().as_bytes());
    }

    /// A field has one digit less than bytes; the last byte remains NUL. A number
    /// that needs a record has 0 in its field, as with other writers.
    fn put_number(&mut self, field: Range<usize>, keyword: &'static str, value: impl Into<i128>) {
        let value = value.into();
        let limit = 8_u64.pow(field.len() as u32 - 1);
        match u64::try_from(value) {
            Ok(value) if value < limit => put_octal(&mut self.block, field, value),
            _ => self.records.push((keyword, value.to_string().into_bytes())),
        }
    }

    fn into_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BLOCK_BYTES);
        if !self.records.is_empty() {
            append_pax_header(&mut bytes, &self.records);
        }
        bytes.extend_from_slice(&with_checksum(self.block));
        bytes
    }
}

/// Appends the extended header: its own header block, and the records padded to
/// a multiple of the block size.
fn append_pax_header(bytes: &mut Vec<u8>, records: &[(&'static str, Vec<u8>)]) {
    let mut content = Vec::new();
    if records
        .iter()
        .any(|(_, value)| str::from_utf8(value).is_err())
    {
        // Must precede the records to which it applies.
        append_record(&mut content, "hdrcharset", b"BINARY");
    }
    for (keyword, value) in records {
        append_record(&mut content, keyword, value);
    }

    let mut header = Head::new(b'x');
    put(&mut header.block, NAME, PAX_HEADER_NAME);
    put_octal(&mut header.block, MODE, 0o644);
    put_octal(&mut header.block, SIZE, content.len() as u64);
    bytes.extend_from_slice(&with_checksum(header.block));
    content.resize(content.len().next_multiple_of(BLOCK_BYTES), 0);
    bytes.append(&mut content);
}

/// Appends `length keyword=value\n`. The length includes its own digits.
fn append_record(content: &mut Vec<u8>, keyword: &str, value: &[u8]) {
    let rest = " ".len() + keyword.len() + "=".len() + value.len() + "\n".len();
    let mut length = rest;
    while length != rest + decimal_digits(length) {
        length = rest + decimal_digits(length);
    }
    content.extend_from_slice(format!("{length} {keyword}=").as_bytes());
    content.extend_from_slice(value);
    content.push(b'\n');
}

fn decimal_digits(number: usize) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

/// Splits a path between the prefix field and the name field, if it fits.
///
/// The slash between the two is not stored. The last slash that leaves a short
/// enough prefix is chosen, so that the name is as short as possible.
fn split_path(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if !path.is_ascii() {
        return None;
    }
    if path.len() <= NAME.len() {
        return Some((b"", path));
    }
    // The last byte may be the slash of a directory, which belongs to the name.
    let slash_range = ..(PREFIX.len() + 1).min(path.len() - 1);
    let slash = path[slash_range].iter().rposition(|byte| *byte == b'/')?;
    let (prefix, name) = (&path[..slash], &path[slash + 1..]);
    (name.len() <= NAME.len()).then_some((prefix, name))
}

/// Returns what readers without support for pax headers see instead of a text
/// that does not fit: its beginning, in ASCII. Dots and slashes at the end are
/// removed, so that the result is neither `..` nor a directory.
fn stand_in(text: &[u8], length_max: usize) -> Vec<u8> {
    let mut stand_in: Vec<u8> = text
        .iter()
        .take(length_max)
        .map(|byte| if byte.is_ascii() { *byte } else { b'_' })
        .collect();
    while let Some(b'.' | b'/') = stand_in.last() {
        stand_in.pop();
    }
    if stand_in.is_empty() {
        stand_in.push(b'_');
    }
    stand_in
}

fn put(block: &mut [u8; BLOCK_BYTES], field: Range<usize>, text: &[u8]) {
    block[field][..text.len()].copy_from_slice(text);
}

fn put_octal(block: &mut [u8; BLOCK_BYTES], field: Range<usize>, value: u64) {
    let digits = field.len() - 1;
    put(block, field, format!("{value:0digits$o}").as_bytes());
}

/// Adds the checksum: the sum of all bytes, with the checksum field counted as
/// spaces.
fn with_checksum(mut block: [u8; BLOCK_BYTES]) -> [u8; BLOCK_BYTES] {
    block[CHECKSUM].fill(b' ');
    let sum: u32 = block.iter().copied().map(u32::from).sum();
    put(&mut block, CHECKSUM, format!("{sum:06o}\0").as_bytes());
    block
}

/// The name of all extended headers, seen only by readers that do not support
/// them. Python's `tarfile` uses the same.
const PAX_HEADER_NAME: &[u8] = b"././@PaxHeader";

const NAME: Range<usize> = 0..100;
const MODE: Range<usize> = 100..108;
const UID: Range<usize> = 108..116;
const GID: Range<usize> = 116..124;
const SIZE: Range<usize> = 124..136;
const MTIME: Range<usize> = 136..148;
const CHECKSUM: Range<usize> = 148..156;
const TYPEFLAG: usize = 156;
const LINKNAME: Range<usize> = 157..257;
const MAGIC_AND_VERSION: Range<usize> = 257..265;
const UNAME: Range<usize> = 265..297;
const GNAME: Range<usize> = 297..329;
const DEVMAJOR: Range<usize> = 329..337;
const DEVMINOR: Range<usize> = 337..345;
const PREFIX: Range<usize> = 345..500;

#[cfg(test)]
mod tests {
    use super::*;

    fn record(keyword: &str, value: &[u8]) -> String {
        let mut content = Vec::new();
        append_record(&mut content, keyword, value);
        String::from_utf8(content).unwrap()
    }

    #[test]
    fn a_record_length_counts_its_own_digits() {
        assert_eq!(record("path", b"a"), "9 path=a\n");
        assert_eq!(record("path", b"ab"), "11 path=ab\n");
        for value_bytes in 0..1200 {
            let record = record("path", &vec![b'x'; value_bytes]);
            let (length, _) = record.split_once(' ').unwrap();
            assert_eq!(length.parse(), Ok(record.len()));
        }
    }

    #[test]
    fn a_path_is_split_only_where_both_parts_fit() {
        let part = |bytes| "p".repeat(bytes);
        let split = |path: &str| {
            split_path(path.as_bytes()).map(|(prefix, name)| (prefix.len(), name.len()))
        };
        assert_eq!(split(&part(100)), Some((0, 100)));
        assert_eq!(split(&part(101)), None);
        assert_eq!(
            split(&format!("{}/{}", part(155), part(100))),
            Some((155, 100))
        );
        assert_eq!(split(&format!("{}/{}", part(156), part(100))), None);
        assert_eq!(split(&format!("{}/{}", part(155), part(101))), None);
        assert_eq!(
            split(&format!("{}/{}/", part(155), part(99))),
            Some((155, 100))
        );
        assert_eq!(split(&format!("{}/{}/", part(155), part(100))), None);
        assert_eq!(split(&format!("{}/", part(100))), None);
        assert_eq!(split("naïve"), None);
    }

    #[test]
    fn a_stand_in_never_ends_in_a_dot_dot_component() {
        let name = format!("{}/..secret", "d".repeat(97));
        assert_eq!(stand_in(name.as_bytes(), 100), "d".repeat(97).into_bytes());
        assert_eq!(stand_in(&[b'.'; 200], 100), b"_");
    }
}
