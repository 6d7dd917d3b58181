//! What every archive format must know of a member: its metadata, and the rules
//! that its name obeys. It refuses to know how a format stores either.

use super::error::{MemberError, MemberProblem};

/// The longest name or link target, in bytes: sixteen times Linux's `PATH_MAX`
/// of 4096, so that whatever can be opened can be named, while the head of a
/// member stays small beside the copy buffer.
pub const MEMBER_NAME_BYTES_MAX: usize = 64 * 1024;

/// Describes a member apart from its name and content.
///
/// Times have whole seconds. A fraction would need a record of 1024 bytes
/// before *every* member of a tar archive, which for small files is as much as
/// the file itself.
///
/// ```
/// use datastreamer_archive::MemberMetadata;
///
/// let mut metadata = MemberMetadata::new(0o640, 1_700_000_000);
/// metadata.uid = 1000;
/// metadata.user_name = Some("ada".to_owned());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberMetadata {
    /// Permission bits, with set-uid, set-gid and sticky. Only the lowest
    /// twelve bits count, so a raw `st_mode` will do.
    pub mode: u32,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// The time of the last modification, in seconds since 1970-01-01 00:00
    /// UTC. Negative before.
    pub mtime_seconds: i64,
    /// The owner's name, which extraction prefers to the number where such a
    /// user exists.
    pub user_name: Option<String>,
    /// The group's name, likewise.
    pub group_name: Option<String>,
}

impl MemberMetadata {
    /// Creates metadata with the given permissions and modification time,
    /// owned by user 0 and group 0 without names.
    #[must_use]
    pub fn new(mode: u32, mtime_seconds: i64) -> Self {
        Self {
            mode,
            mtime_seconds,
            ..Self::default()
        }
    }
}

/// Takes permissions, owner and time from a real file; names stay empty, since
/// looking them up would read the system's user database.
#[cfg(unix)]
impl From<&std::fs::Metadata> for MemberMetadata {
    fn from(metadata: &std::fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self {
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
            mtime_seconds: metadata.mtime(),
            user_name: None,
            group_name: None,
        }
    }
}

/// A name that may stand in an archive: relative, without `.`, `..` or empty
/// components, without NUL, and not too long. Holding one is the proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MemberName(Vec<u8>);

impl MemberName {
    pub(super) fn parse(name: &[u8]) -> Result<Self, MemberError> {
        match refusal(name) {
            None => Ok(Self(name.to_vec())),
            Some(reason) => Err(MemberError::new(name, MemberProblem::Refused(reason))),
        }
    }

    /// The name of `file_name` inside the directory `self`.
    #[cfg(unix)]
    pub(super) fn child(&self, file_name: &[u8]) -> Result<Self, MemberError> {
        Self::parse(&[&self.0, b"/".as_slice(), file_name].concat())
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn fails(&self, problem: MemberProblem) -> MemberError {
        MemberError::new(&self.0, problem)
    }
}

fn refusal(name: &[u8]) -> Option<&'static str> {
    if name.is_empty() {
        return Some("the name is empty");
    }
    if name.len() > MEMBER_NAME_BYTES_MAX {
        return Some("the name is longer than 65536 bytes");
    }
    if name.contains(&0) {
        return Some("the name contains a NUL byte");
    }
    if name.starts_with(b"/") {
        return Some("the name is absolute; names in an archive must be relative");
    }
    name.split(|byte| *byte == b'/')
        .find_map(|part| match part {
            b"" => Some("the name has an empty component or a slash at its end"),
            b"." => Some("the name has a component \".\""),
            b".." => Some("the name has a component \"..\", which leads out of the archive"),
            _ => None,
        })
}
