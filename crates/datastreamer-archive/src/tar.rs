//! The writer of tar archives: POSIX ustar headers, with pax extended headers
//! only for values that do not fit.
//!
//! This file owns the order of the bytes (head, content, padding, end) and the
//! promise that only a complete archive is ever finished. It does not find
//! members (see [`directory`](super::directory)), does not compress, and keeps
//! nothing: memory does not grow with the archive.
//!
//! `directory.rs` and callers outside of the crate call [`TarWriter`]. It calls
//! `head.rs` for the bytes before a member's content, and the underlying writer.

mod head;

use std::fmt;
use std::io::{self, Read, Write};

use self::head::BLOCK_BYTES;
pub(super) use self::head::MemberKind;
use super::error::{MemberError, MemberProblem};
use super::member::{MEMBER_NAME_BYTES_MAX, MemberMetadata, MemberName};

/// Writes a tar archive, member by member, to any [`Write`].
///
/// Format: the *pax interchange format* of IEEE Std 1003.1 (POSIX), utility
/// `pax`, sections "pax Interchange Format" and "ustar Interchange Format".
/// Any tar of this century reads it. A member has one ustar header of 512 bytes.
/// A pax header of 1024 bytes or more is added for a name that is too long or
/// not ASCII, a size of 8 GiB or more, a user ID above 2097151, or a time before
/// 1970 or after 2242.
///
/// Names are bytes, with `/` between components: a [`str`], [`String`] or
/// `&[u8]`. For a path use [`OsStr::as_encoded_bytes`]. Names that are not valid
/// UTF-8 are stored unchanged and declared as such (`hdrcharset=BINARY`). A name
/// that is absolute, contains NUL, or has an empty, `.` or `..` component is
/// refused.
///
/// Every call blocks as long as the underlying writer, or a member's reader,
/// blocks. A head is written by one `write_all`, content in pieces of up to
/// [`COPY_BUFFER_BYTES`].
///
/// # Ending
///
/// Only [`finish`](Self::finish) ends an archive. Dropping the writer writes
/// nothing, so the archive lacks its end, which readers report or can at least
/// detect. After *any* error, even if nothing was written, the writer is broken:
/// all further calls fail, including `finish`. Therefore an archive that ends
/// cleanly has all the members that were requested.
///
/// # Caveats
///
/// - Modification times are in seconds, without fractions.
/// - Names are not checked for duplicates; readers use the last member of a name.
/// - The archive is not padded to a record of 10240 bytes. POSIX requires that for
///   block devices; readers of files and pipes do not need it.
///
/// # Examples
///
/// ```
/// use datastreamer_archive::MemberMetadata;
/// use datastreamer_archive::tar::TarWriter;
///
/// # fn main() -> std::io::Result<()> {
/// let mut tar = TarWriter::new(Vec::new());
/// let now = 1_700_000_000;
/// tar.append_directory("run-7", &MemberMetadata::new(0o755, now))?;
/// let table = b"ra,dec\n10.5,-3.25\n";
/// tar.append_file(
///     "run-7/table.csv",
///     table.len() as u64,
///     &MemberMetadata::new(0o644, now),
///     table.as_slice(),
/// )?;
/// tar.append_symlink("run-7/latest.csv", "table.csv", &MemberMetadata::new(0o777, now))?;
/// let archive = tar.finish()?;
/// assert_eq!(archive.len(), 512 + (512 + 512) + 512 + 1024);
/// # Ok(())
/// # }
/// ```
///
/// [`OsStr::as_encoded_bytes`]: std::ffi::OsStr::as_encoded_bytes
#[must_use = "an archive that is not finished is broken"]
pub struct TarWriter<W: Write> {
    out: W,
    copy_buffer: Box<[u8]>,
    /// True after an error, and during every call, so that a panic in a reader
    /// leaves the archive broken as well.
    broken: bool,
}

/// The size of the buffer through which all contents are copied: so large that
/// the cost of a system call (about 1 µs) is small compared to that of copying
/// (about 10 µs).
pub const COPY_BUFFER_BYTES: usize = 128 * 1024;

/// The archive's end: two blocks of zeros.
pub(super) const END: [u8; 2 * BLOCK_BYTES] = [0; 2 * BLOCK_BYTES];

impl<W: Write> TarWriter<W> {
    /// Creates a writer of an archive that begins at the current position of
    /// `out`.
    ///
    /// Writes nothing yet; allocates the copy buffer.
    pub fn new(out: W) -> Self {
        Self {
            out,
            copy_buffer: vec![0; COPY_BUFFER_BYTES].into_boxed_slice(),
            broken: false,
        }
    }

    /// Appends a directory, without its entries.
    ///
    /// `name` must not end with a slash; in the archive it does.
    ///
    /// # Errors
    ///
    /// A [`MemberError`] if the name is refused; the writer's own error,
    /// unchanged, if it fails; an error if the archive is already broken.
    pub fn append_directory(
        &mut self,
        name: impl AsRef<[u8]>,
        metadata: &MemberMetadata,
    ) -> io::Result<()> {
        self.unless_broken(|tar| {
            let name = MemberName::parse(name.as_ref())?;
            tar.write_head(&name, &MemberKind::Directory, metadata)
        })
    }

    /// Appends a file of exactly `size_bytes` bytes, read from `reader`.
    ///
    /// The size is written before the content and cannot be corrected later.
    /// Therefore the reader must end after `size_bytes` bytes: it is read once
    /// more, which blocks if the reader blocks (a pipe that is not yet closed).
    ///
    /// # Errors
    ///
    /// A [`MemberError`] if the name is refused, if reading fails, or if the
    /// content ends before or goes on after `size_bytes`; the writer's own
    /// error, unchanged, if it fails; an error if the archive is already broken.
    /// [`io::ErrorKind::Interrupted`] from the reader is retried.
    ///
    /// # Panics
    ///
    /// If `reader` claims to have read more than the buffer holds.
    pub fn append_file(
        &mut self,
        name: impl AsRef<[u8]>,
        size_bytes: u64,
        metadata: &MemberMetadata,
        mut reader: impl Read,
    ) -> io::Result<()> {
        self.unless_broken(|tar| {
            let name = MemberName::parse(name.as_ref())?;
            tar.write_head(&name, &MemberKind::File { size_bytes }, metadata)?;
            tar.copy_content(&name, size_bytes, &mut reader)?;
            tar.out.write_all(padding(size_bytes))
        })
    }

    /// Appends a symbolic link.
    ///
    /// `target` is stored unchanged and not checked: it may be absolute, lead
    /// upwards, or not exist. The file to which it points is not read.
    ///
    /// # Errors
    ///
    /// A [`MemberError`] if the name is refused, or if the target is empty, too
    /// long or contains NUL; the writer's own error, unchanged, if it fails; an
    /// error if the archive is already broken.
    pub fn append_symlink(
        &mut self,
        name: impl AsRef<[u8]>,
        target: impl AsRef<[u8]>,
        metadata: &MemberMetadata,
    ) -> io::Result<()> {
        self.unless_broken(|tar| {
            let name = MemberName::parse(name.as_ref())?;
            let target = target.as_ref();
            tar.write_head(&name, &MemberKind::Symlink { target }, metadata)
        })
    }

    /// Appends a hard link: another name for a file that is already in this
    /// archive under the name `target`.
    ///
    /// Extraction fails at this member if there is no such file before it. The
    /// writer does not check this, because it does not keep names.
    ///
    /// # Errors
    ///
    /// A [`MemberError`] if the name is refused, or if the target is not a
    /// valid member name; the writer's own error, unchanged, if it fails; an
    /// error if the archive is already broken.
    pub fn append_hard_link(
        &mut self,
        name: impl AsRef<[u8]>,
        target: impl AsRef<[u8]>,
        metadata: &MemberMetadata,
    ) -> io::Result<()> {
        self.unless_broken(|tar| {
            let name = MemberName::parse(name.as_ref())?;
            let target = MemberName::parse(target.as_ref()).map_err(|_| {
                name.fails(MemberProblem::Refused(
                    "the target of the hard link is not a valid member name",
                ))
            })?;
            let target = target.as_bytes();
            tar.write_head(&name, &MemberKind::HardLink { target }, metadata)
        })
    }

    /// Ends the archive, flushes the underlying writer and returns it.
    ///
    /// # Errors
    ///
    /// The writer's own error, unchanged, if it fails; an error if the archive
    /// is broken by an earlier one. The underlying writer is then dropped.
    pub fn finish(mut self) -> io::Result<W> {
        self.unless_broken(|tar| {
            tar.out.write_all(&END)?;
            tar.out.flush()
        })?;
        Ok(self.out)
    }

    /// Marks the archive as broken: a member that was requested is not in it.
    #[cfg(unix)]
    pub(super) fn abandon(&mut self) {
        self.broken = true;
    }

    fn unless_broken(&mut self, step: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other(
                "the archive is broken by an earlier error: it can be neither continued nor finished",
            ));
        }
        self.broken = true;
        step(self)?;
        self.broken = false;
        Ok(())
    }

    fn write_head(
        &mut self,
        name: &MemberName,
        kind: &MemberKind<'_>,
        metadata: &MemberMetadata,
    ) -> io::Result<()> {
        self.out.write_all(&head(name, kind, metadata)?)
    }

    fn copy_content(
        &mut self,
        name: &MemberName,
        size_bytes: u64,
        reader: &mut impl Read,
    ) -> io::Result<()> {
        let mut missing_bytes = size_bytes;
        loop {
            // One byte more than is missing, so that the read of the last byte also
            // detects content that is too long.
            let wanted = at_most(COPY_BUFFER_BYTES, missing_bytes.saturating_add(1));
            let got = match reader.read(&mut self.copy_buffer[..wanted]) {
                Ok(0) => break,
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => {
                    let attempt = "reading";
                    return Err(name
                        .fails(MemberProblem::Unreadable { attempt, source })
                        .into());
                }
            };
            if got as u64 > missing_bytes {
                return Err(name.fails(grew(size_bytes)).into());
            }
            self.out.write_all(&self.copy_buffer[..got])?;
            missing_bytes -= got as u64;
        }
        if missing_bytes > 0 {
            return Err(name.fails(ended_early(size_bytes, missing_bytes)).into());
        }
        Ok(())
    }
}

impl<W: Write> fmt::Debug for TarWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TarWriter")
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}

/// Returns the length of a member in the archive: head, content and padding.
#[cfg(unix)]
pub(super) fn member_bytes(
    name: &MemberName,
    kind: &MemberKind<'_>,
    metadata: &MemberMetadata,
) -> Result<u64, MemberError> {
    let head_bytes = head(name, kind, metadata)?.len() as u64;
    let size_bytes = match kind {
        MemberKind::File { size_bytes } => *size_bytes,
        MemberKind::Directory | MemberKind::Symlink { .. } | MemberKind::HardLink { .. } => 0,
    };
    Ok(head_bytes
        .saturating_add(size_bytes)
        .saturating_add(padding(size_bytes).len() as u64))
}

/// Returns the bytes before a member's content, if all its texts can be stored.
fn head(
    name: &MemberName,
    kind: &MemberKind<'_>,
    metadata: &MemberMetadata,
) -> Result<Vec<u8>, MemberError> {
    let target_refusal = match kind {
        MemberKind::Symlink { target: [] } => Some("the link's target is empty"),
        MemberKind::Symlink { target } if !storable(target) => {
            Some("the link's target contains a NUL byte or is longer than 65536 bytes")
        }
        _ => None,
    };
    let owner_names = [&metadata.user_name, &metadata.group_name];
    let owner_refusal = owner_names
        .into_iter()
        .flatten()
        .any(|owner_name| !storable(owner_name.as_bytes()))
        .then_some("the user or group name contains a NUL byte or is longer than 65536 bytes");
    match target_refusal.or(owner_refusal) {
        Some(reason) => Err(name.fails(MemberProblem::Refused(reason))),
        None => Ok(head::encode(name, kind, metadata)),
    }
}

fn storable(text: &[u8]) -> bool {
    text.len() <= MEMBER_NAME_BYTES_MAX && !text.contains(&0)
}

/// Returns the zeros that fill the last block of the content.
fn padding(size_bytes: u64) -> &'static [u8] {
    const ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];
    let used = (size_bytes % BLOCK_BYTES as u64) as usize;
    if used == 0 { &[] } else { &ZEROS[used..] }
}

fn at_most(limit: usize, bytes: u64) -> usize {
    usize::try_from(bytes).map_or(limit, |bytes| bytes.min(limit))
}

fn grew(size_bytes: u64) -> MemberProblem {
    MemberProblem::Grew {
        expected_bytes: size_bytes,
        seen_bytes: size_bytes.saturating_add(1),
    }
}

fn ended_early(size_bytes: u64, missing_bytes: u64) -> MemberProblem {
    MemberProblem::EndedEarly {
        expected_bytes: size_bytes,
        seen_bytes: size_bytes - missing_bytes,
    }
}
