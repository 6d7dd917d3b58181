//! The error that names the member that failed. This file owns the messages and
//! the choice of [`io::ErrorKind`]; the rest of the crate makes the errors.
//! Errors of the writer that takes the archive's bytes are not handled here: they
//! pass through unchanged.

use std::error::Error;
use std::fmt;
use std::io;

/// Names the member of an archive that failed, and the reason.
///
/// Archive functions return [`io::Error`], so that they fit every writer. If a
/// *member* failed, the error contains a `MemberError`. If the underlying writer
/// failed (the consumer hung up, the disk is full), it contains none and has the
/// kind that the writer gave it. This is how the two are distinguished.
///
/// ```
/// use datastreamer_archive::{MemberError, MemberMetadata, MemberProblem};
/// use datastreamer_archive::tar::TarWriter;
///
/// let mut tar = TarWriter::new(Vec::new());
/// let metadata = MemberMetadata::new(0o644, 0);
/// let error = tar.append_file("short.bin", 10, &metadata, &b"only 7!"[..]).err();
/// let member_error = error.as_ref().and_then(MemberError::find_in);
/// let Some(member_error) = member_error else {
///     return Err("a member that is too short must fail".into());
/// };
/// assert_eq!(member_error.member(), b"short.bin");
/// assert!(matches!(
///     member_error.problem(),
///     MemberProblem::EndedEarly { expected_bytes: 10, seen_bytes: 7 }
/// ));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct MemberError {
    member: Vec<u8>,
    problem: MemberProblem,
}

/// What went wrong with a member.
#[derive(Debug)]
#[non_exhaustive]
pub enum MemberProblem {
    /// The name, a link's target or an owner's name cannot be stored, for the
    /// given reason. Kind: [`io::ErrorKind::InvalidInput`].
    Refused(&'static str),
    /// The content ended before its declared size.
    /// Kind: [`io::ErrorKind::UnexpectedEof`].
    EndedEarly {
        /// The size that was declared, in bytes.
        expected_bytes: u64,
        /// The length of the content, all of which is already in the archive.
        seen_bytes: u64,
    },
    /// The content continued after its declared size.
    /// Kind: [`io::ErrorKind::InvalidData`].
    Grew {
        /// The size that was declared, in bytes.
        expected_bytes: u64,
        /// The number of bytes seen: one more than expected. The content may be
        /// longer; it was not read any further.
        seen_bytes: u64,
    },
    /// The content was modified while it was copied, so the copy may be half old
    /// and half new. Kind: [`io::ErrorKind::InvalidData`].
    Rewritten,
    /// Opening, listing or reading the member failed. The kind is that of the
    /// cause, except that [`io::ErrorKind::BrokenPipe`] becomes
    /// [`io::ErrorKind::Other`]: programs ignore a broken pipe, because it means
    /// that the *consumer* disconnected, but must not ignore a failed member.
    Unreadable {
        /// What failed, for example "opening" or "reading".
        attempt: &'static str,
        /// The error of the operating system or of the reader.
        source: io::Error,
    },
    /// The member became another kind of file while it was archived, for
    /// example a file was replaced by a symlink.
    /// Kind: [`io::ErrorKind::InvalidData`].
    Replaced,
    /// The tree is not the one that was surveyed before: see
    /// `DirectoryTar::unchanged_since`. Kind: [`io::ErrorKind::InvalidData`].
    Changed,
    /// The directory is deeper than the limit.
    /// Kind: [`io::ErrorKind::InvalidInput`].
    TooDeep {
        /// The limit, in levels below the root.
        depth_max: usize,
    },
    /// The listings of the directory and its parents take more memory than the
    /// limit.
    /// Kind: [`io::ErrorKind::OutOfMemory`].
    ListingTooLarge {
        /// The limit, in bytes.
        listing_bytes_max: usize,
    },
}

impl MemberError {
    /// Returns the member's error inside an [`io::Error`], if there is one.
    #[must_use]
    pub fn find_in(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// Returns the name that the member has, or would have, in the archive.
    #[must_use]
    pub fn member(&self) -> &[u8] {
        &self.member
    }

    /// Returns what went wrong.
    #[must_use]
    pub fn problem(&self) -> &MemberProblem {
        &self.problem
    }

    pub(super) fn new(member: &[u8], problem: MemberProblem) -> Self {
        Self {
            member: member.to_vec(),
            problem,
        }
    }

    fn kind(&self) -> io::ErrorKind {
        match &self.problem {
            MemberProblem::Refused(_) | MemberProblem::TooDeep { .. } => {
                io::ErrorKind::InvalidInput
            }
            MemberProblem::EndedEarly { .. } => io::ErrorKind::UnexpectedEof,
            MemberProblem::Grew { .. }
            | MemberProblem::Rewritten
            | MemberProblem::Replaced
            | MemberProblem::Changed => io::ErrorKind::InvalidData,
            MemberProblem::ListingTooLarge { .. } => io::ErrorKind::OutOfMemory,
            MemberProblem::Unreadable { source, .. } => match source.kind() {
                io::ErrorKind::BrokenPipe => io::ErrorKind::Other,
                kind => kind,
            },
        }
    }
}

impl From<MemberError> for io::Error {
    fn from(error: MemberError) -> Self {
        Self::new(error.kind(), error)
    }
}

impl Error for MemberError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.problem {
            MemberProblem::Unreadable { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl fmt::Display for MemberError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "archive member {}: ", Quoted(&self.member))?;
        match &self.problem {
            MemberProblem::Refused(reason) => f.write_str(reason),
            MemberProblem::EndedEarly {
                expected_bytes,
                seen_bytes,
            } => write!(
                f,
                "its content ended early: {expected_bytes} bytes were declared, {seen_bytes} were read"
            ),
            MemberProblem::Grew {
                expected_bytes,
                seen_bytes,
            } => write!(
                f,
                "its content is too long: {expected_bytes} bytes were declared, at least {seen_bytes} were \
                 read"
            ),
            MemberProblem::Unreadable { attempt, source } => {
                write!(f, "{attempt} failed: {source}")
            }
            MemberProblem::Rewritten => f.write_str("it was modified while it was copied"),
            MemberProblem::Replaced => {
                f.write_str("it was replaced by another kind of file while it was archived")
            }
            MemberProblem::Changed => {
                f.write_str("something in it has changed since the archive was announced")
            }
            MemberProblem::TooDeep { depth_max } => {
                write!(f, "it is deeper than {depth_max} levels")
            }
            MemberProblem::ListingTooLarge { listing_bytes_max } => write!(
                f,
                "the directory listings take more than the limit of {listing_bytes_max} bytes"
            ),
        }
    }
}

/// Displays a name on one line, whatever bytes it consists of.
struct Quoted<'a>(&'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for chunk in self.0.utf8_chunks() {
            write!(f, "{}", chunk.valid().escape_debug())?;
            write!(f, "{}", chunk.invalid().escape_ascii())?;
        }
        f.write_str("\"")
    }
}
