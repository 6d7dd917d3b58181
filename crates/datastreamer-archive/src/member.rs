//! The metadata of a member and the rules for its name, which all archive formats
//! share. How a format stores them belongs to the format. Called by `tar.rs` and
//! `directory.rs`; pure.

use super::error::{MemberError, MemberProblem};

/// The longest name or link target, in bytes: sixteen times Linux's `PATH_MAX`
/// of 4096, so that every file that can be opened can be named. The head of a
/// member still remains smaller than the copy buffer.
pub const MEMBER_NAME_BYTES_MAX: usize = 64 * 1024;

/// The metadata of a member: everything but its name and content.
///
/// Times are in seconds, without fractions. A fraction would need a record of
/// 1024 bytes before *every* member of a tar archive, as much as a small file
/// itself.
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
    /// Permission bits, including set-uid, set-gid and sticky. Only the lowest
    /// twelve bits are used, so a raw `st_mode` is accepted.
    pub mode: u32,
    /// The owner's user ID.
    pub uid: u32,
    /// The group ID.
    pub gid: u32,
    /// The time of the last modification, in seconds since 1970-01-01 00:00
    /// UTC; negative for earlier times.
    pub mtime_seconds: i64,
    /// The owner's name. Extraction prefers it to the ID if such a user exists.
    pub user_name: Option<String>,
    /// The group's name. Extraction prefers it to the ID if such a group exists.
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

/// Takes permissions, owner and time from a file. The names remain empty, since
/// finding them would read the system's user database.
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

/// A valid name of a member: relative, without `.`, `..` or empty components,
/// without NUL, and not too long. It can be made only by a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MemberName(Vec<u8>);

impl MemberName {
    pub(super) fn parse(name: &[u8]) -> Result<Self, MemberError> {
        match refusal(name) {
            None => Ok(Self(name.to_vec())),
            Some(reason) => Err(MemberError::new(name, MemberProblem::Refused(reason))),
        }
    }

    /// Returns the name of `file_name` inside the directory `self`.
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
