//! Whether the files that a plan reads are still what they were when it was made.
//!
//! DataFusion opens a file anew for each piece: without this check a table that is replaced on
//! the way would be half the old and half the new one.

use std::{
    fs::Metadata,
    hash::{BuildHasher, RandomState},
    path::{Path, PathBuf},
    sync::LazyLock,
    time::SystemTime,
};

use datafusion::object_store::ObjectMeta;

use crate::error::EngineError;

/// A file, and what `stat` said of it.
#[derive(Debug, Hash)]
pub(crate) struct PinnedFile {
    path: PathBuf,
    seen: Seen,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    bytes: u64,
    modified: Option<SystemTime>,
    #[cfg(unix)]
    inode: u64,
}

impl Seen {
    fn of(metadata: &Metadata) -> Self {
        Self {
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
            #[cfg(unix)]
            inode: std::os::unix::fs::MetadataExt::ino(metadata),
        }
    }

    /// Looks at a file as it is now; blocks for a `stat`.
    pub(crate) fn look(path: &Path) -> Result<Self, EngineError> {
        match path.metadata() {
            Ok(metadata) => Ok(Self::of(&metadata)),
            Err(error) => Err(EngineError::data(format!("{}: {error}", path.display()))),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Says whether DataFusion saw the same.
    pub(crate) fn is(&self, planned: &ObjectMeta) -> bool {
        self.bytes == planned.size && self.modified == Some(planned.last_modified.into())
    }
}

impl PinnedFile {
    /// Pins a file as it was when the plan was made.
    pub(crate) fn new(path: PathBuf, seen: Seen) -> Self {
        Self { path, seen }
    }

    /// Pins a file as it is, if that is what the plan was made of.
    pub(crate) fn pin(path: PathBuf, planned: &ObjectMeta) -> Result<Self, EngineError> {
        let seen = Seen::look(&path)?;
        match seen.is(planned) {
            true => Ok(Self { path, seen }),
            false => Err(changed(&path)),
        }
    }

    /// Fails if the file is another one by now.
    pub(crate) fn check(&self) -> Result<(), EngineError> {
        let now = self.path.metadata().map(|metadata| Seen::of(&metadata));
        match now {
            Ok(now) if now == self.seen => Ok(()),
            Ok(_) => Err(changed(&self.path)),
            Err(error) => Err(EngineError::data(format!(
                "{}: {error}",
                self.path.display()
            ))),
        }
    }
}

pub(crate) fn changed(path: &Path) -> EngineError {
    EngineError::data(format!("{} changed while it was read", path.display()))
}

/// Tells one state of the files from another, within this process; `None` of no files.
pub(crate) fn version(pinned: &[PinnedFile]) -> Option<u64> {
    static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    (!pinned.is_empty()).then(|| KEYS.hash_one(pinned))
}
