//! The error that names the member at fault. It owns the texts and the choice
//! of [`io::ErrorKind`]; it says nothing about errors of the writer that takes
//! the archive's bytes, which pass through unchanged.

use std::error::Error;
use std::fmt;
use std::io;

/// Says which member of an archive failed, and why.
///
/// Archive functions return [`io::Error`], so that they fit every writer. A
/// failure that is the *member's* carries a `MemberError` inside. A failure of
/// the writer underneath (the consumer hung up, the disk is full) carries none
/// and keeps the kind that the writer gave it: this is how the two are told
/// apart.
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
    /// The name, a link's target or an owner's name cannot be stored; the text
    /// says why. Kind: [`io::ErrorKind::InvalidInput`].
    Refused(&'static str),
    /// The content ended before its declared size.
    /// Kind: [`io::ErrorKind::UnexpectedEof`].
    EndedEarly {
        /// The size that was declared, in bytes.
        expected_bytes: u64,
        /// The bytes that the content had, and that the archive already holds.
        seen_bytes: u64,
    },
    /// The content went on after its declared size.
    /// Kind: [`io::ErrorKind::InvalidData`].
    Grew {
        /// The size that was declared, in bytes.
        expected_bytes: u64,
        /// The bytes that were seen: one more than expected. The content may be
        /// longer, it is not read further.
        seen_bytes: u64,
    },
    /// The content was written to while it was copied: it may be half old, half
    /// new. Kind: [`io::ErrorKind::InvalidData`].
    Rewritten,
    /// Opening, listing or reading the member failed. The kind is the cause's,
    /// except that [`io::ErrorKind::BrokenPipe`] becomes
    /// [`io::ErrorKind::Other`]: a broken pipe means that the *consumer* left,
    /// and may be passed over in silence; a member that broke may not.
    Unreadable {
        /// What was tried, as "opening" or "reading".
        attempt: &'static str,
        /// What the operating system, or the reader, answered.
        source: io::Error,
    },
    /// The member became another kind of thing while it was archived, for
    /// example a file was replaced by a symlink.
    /// Kind: [`io::ErrorKind::InvalidData`].
    Replaced,
    /// The directory lies deeper than the limit.
    /// Kind: [`io::ErrorKind::InvalidInput`].
    TooDeep {
        /// The limit, in levels below the root.
        depth_max: usize,
    },
    /// The directory has more entries than may be held in memory.
    /// Kind: [`io::ErrorKind::OutOfMemory`].
    ListingTooLarge {
        /// The limit, in bytes.
        listing_bytes_max: usize,
    },
}

impl MemberError {
    /// Finds the member's error inside an [`io::Error`], if there is one.
    #[must_use]
    pub fn find_in(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// Returns the member's name, as it stands or would stand in the archive.
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
            MemberProblem::Grew { .. } | MemberProblem::Rewritten | MemberProblem::Replaced => {
                io::ErrorKind::InvalidData
            }
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
                "it ended early: {expected_bytes} bytes were declared, {seen_bytes} came"
            ),
            MemberProblem::Grew {
                expected_bytes,
                seen_bytes,
            } => write!(
                f,
                "it grew: {expected_bytes} bytes were declared, at least {seen_bytes} came"
            ),
            MemberProblem::Unreadable { attempt, source } => {
                write!(f, "{attempt} it failed: {source}")
            }
            MemberProblem::Rewritten => f.write_str("it was written to while it was copied"),
            MemberProblem::Replaced => {
                f.write_str("it was replaced by another kind of file while it was archived")
            }
            MemberProblem::TooDeep { depth_max } => {
                write!(f, "it lies deeper than {depth_max} levels")
            }
            MemberProblem::ListingTooLarge { listing_bytes_max } => write!(
                f,
                "the listing takes more than the {listing_bytes_max} bytes that are allowed"
            ),
        }
    }
}

/// A name for people and logs: one line, whatever bytes it consists of.
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
