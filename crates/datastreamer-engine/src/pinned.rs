//! Whether the files that a plan reads are still what they were when it was made.
//!
//! DataFusion opens a file anew for each piece: without this check the rows of a table that is
//! replaced while it is read would be partly old and partly new.

use std::{
    fmt::Display,
    hash::{BuildHasher, RandomState},
    path::{Path, PathBuf},
    sync::LazyLock,
    time::SystemTime,
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

/// What `stat` says of a file: two equal ones mean the same bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
pub(crate) struct FileState {
    bytes: u64,
    modified: Option<SystemTime>,
    #[cfg(unix)]
    inode: u64,
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
            inode: std::os::unix::fs::MetadataExt::ino(&metadata),
        })
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
        match FileState::read(&self.path)? == self.state {
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
