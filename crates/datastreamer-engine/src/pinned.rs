//! Whether the files that a plan reads are still what they were when it was made.
//!
//! DataFusion opens a file anew for each piece: without this check the rows of a table that is
//! replaced while it is read would be partly old and partly new.

#[cfg(unix)]
use std::os::unix::fs::MetadataExt;
use std::{
    fmt::Display,
    hash::{BuildHasher, RandomState},
    path::{Path, PathBuf},
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use datafusion::object_store::ObjectMeta;
use serde::{Deserialize, Serialize};

use crate::{error::EngineError, packed, store::location};

/// A file, and its state when the plan was made.
#[derive(Clone, Debug, Hash, Deserialize, Serialize)]
pub(crate) struct PinnedFile {
    #[serde(with = "packed::path")]
    pub(crate) path: PathBuf,
    pub(crate) state: FileState,
}

/// What `stat` says of a file: two equal ones mean the same bytes. The time of modification can be set
/// back by whoever rewrites a file, the time of the change cannot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
pub(crate) struct FileState {
    bytes: u64,
    modified: Option<SystemTime>,
    #[cfg(unix)]
    inode: u64,
    /// Seconds and nanoseconds.
    #[cfg(unix)]
    changed: (i64, i64),
    #[cfg(unix)]
    links: u64,
}

impl FileState {
    /// Reads the state of a file. Blocks for a `stat`.
    ///
    /// # Errors
    /// There is no such file.
    pub(crate) fn read(path: &Path) -> Result<Self, EngineError> {
        let metadata = path.metadata();
        let metadata = metadata.map_err(|error| EngineError::of_system(path, &error))?;
        Ok(Self {
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
            #[cfg(unix)]
            inode: metadata.ino(),
            #[cfg(unix)]
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            #[cfg(unix)]
            links: metadata.nlink(),
        })
    }

    /// Returns when the file was last changed: its bytes, its name or its permissions.
    pub(crate) fn changed(&self) -> SystemTime {
        #[cfg(unix)]
        let changed = u64::try_from(self.changed.0).ok();
        #[cfg(unix)]
        let changed = changed.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        #[cfg(not(unix))]
        let changed = self.modified;
        changed.unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Returns whether the bytes are those of an earlier state. A file that has got or lost a name has
    /// changed, but not its bytes.
    fn has_bytes_of(&self, before: &Self) -> bool {
        #[cfg(unix)]
        let now = &Self {
            changed: match self.links == before.links {
                true => self.changed,
                false => before.changed,
            },
            links: before.links,
            ..self.clone()
        };
        #[cfg(not(unix))]
        let now = self;
        now == before
    }
}

impl PinnedFile {
    /// Returns the file as DataFusion knows it.
    ///
    /// # Errors
    /// The path is not absolute.
    pub(crate) fn object(&self) -> Result<ObjectMeta, EngineError> {
        let location = location(&self.path);
        Ok(ObjectMeta {
            location: location.map_err(|error| self.error(&error))?,
            last_modified: self.state.modified.unwrap_or(SystemTime::UNIX_EPOCH).into(),
            size: self.state.bytes,
            e_tag: None,
            version: None,
        })
    }

    /// Checks that the file is in the same state now. Blocks for a `stat`.
    ///
    /// # Errors
    /// The file changed, or is gone.
    pub(crate) fn check(&self) -> Result<(), EngineError> {
        match FileState::read(&self.path)?.has_bytes_of(&self.state) {
            true => Ok(()),
            false => Err(EngineError::data(format!(
                "{} changed while it was read",
                self.path.display()
            ))),
        }
    }

    /// Returns an error about this file.
    pub(crate) fn error(&self, text: &dyn Display) -> EngineError {
        EngineError::of_file(&self.path, text.to_string())
    }
}

/// Returns a number that differs, within this process, between two states of the files; `None` of
/// no files.
pub(crate) fn version(pinned: &[PinnedFile]) -> Option<u64> {
    static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    (!pinned.is_empty()).then(|| KEYS.hash_one(pinned))
}
