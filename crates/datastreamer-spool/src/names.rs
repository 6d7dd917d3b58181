//! The names of productions and of their files. Only files with these names are ever removed.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use datastreamer::ETag;

use crate::{
    digests::{from_hex, to_hex},
    error::{Error, ErrorKind},
};

/// A production's identity: 128 random bits, so nobody can guess one. Written as 32 hexadecimal
/// digits in lower case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProductionId([u8; 16]);

impl ProductionId {
    /// Draws an identity from the system's random numbers.
    pub(crate) fn random() -> Result<Self, Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|error| {
            Error::new(ErrorKind::System, format!("no random numbers: {error}"))
        })?;
        Ok(Self(bytes))
    }

    /// Returns the tag of a production that shares it with no other one.
    pub(crate) fn etag(&self) -> ETag {
        ETag::hex(&self.0)
    }

    #[cfg(any(test, loom))]
    pub(crate) fn of(number: u8) -> Self {
        Self([number; 16])
    }
}

impl FromStr for ProductionId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bytes = from_hex(text);
        bytes
            .map(Self)
            .ok_or_else(|| Error::new(ErrorKind::Invalid, "a production has 32 digits (0-9, a-f)"))
    }
}

impl fmt::Display for ProductionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for ProductionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProductionId({self})")
    }
}

/// The lock that keeps other processes out of the folder.
pub(crate) const LOCK_NAME: &str = "spool.lock";

/// The files of a production.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// What vouches for the data; without it the data are a leftover.
    Manifest,
    /// A manifest that is being written.
    NewManifest,
    /// The bytes of a production whose source has succeeded.
    Data,
    /// The bytes of a production that runs.
    Part,
}

/// In the order in which they are removed: what vouches goes first.
pub(crate) const FILE_KINDS: [FileKind; 4] = [
    FileKind::Manifest,
    FileKind::NewManifest,
    FileKind::Data,
    FileKind::Part,
];

impl FileKind {
    fn suffix(self) -> &'static str {
        match self {
            Self::Manifest => ".json",
            Self::NewManifest => ".json.new",
            Self::Data => ".data",
            Self::Part => ".part",
        }
    }

    pub(crate) fn path(self, folder: &Path, id: &ProductionId) -> PathBuf {
        folder.join(format!("{id}{}", self.suffix()))
    }

    /// Reads a file's name; `None`: the file is not the spool's.
    pub(crate) fn parse(name: &str) -> Option<(ProductionId, Self)> {
        let (id, suffix) = name.split_at_checked(32)?;
        let kind = FILE_KINDS
            .into_iter()
            .find(|kind| kind.suffix() == suffix)?;
        Some((id.parse().ok()?, kind))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_spool_knows_its_own_names_and_no_others() {
        let id = ProductionId::random().unwrap();
        for kind in FILE_KINDS {
            let path = kind.path(Path::new("/f"), &id);
            let name = path.file_name().unwrap().to_str().unwrap();
            assert_eq!(FileKind::parse(name), Some((id, kind)));
            assert_eq!(FileKind::parse(&name.to_uppercase()), None);
            assert_eq!(FileKind::parse(&format!("{name}~")), None);
            assert_eq!(FileKind::parse(&name[1..]), None);
        }
        for foreign in ["", "notes.json", "spool.lock", "é".repeat(20).as_str()] {
            assert_eq!(FileKind::parse(foreign), None);
        }
    }
}
