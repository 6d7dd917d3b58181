//! Whether the files that a plan reads are still what they were when it was made.
//!
//! DataFusion opens a file anew for each piece: without this check the rows of a table that is
//! replaced while it is read would be partly old and partly new.

use std::{
    fs::Metadata,
    hash::{BuildHasher, RandomState},
    path::{Path, PathBuf},
    sync::LazyLock,
    time::SystemTime,
};

use datafusion::object_store::{ObjectMeta, path::Path as StorePath};

use crate::error::EngineError;

/// A file, and its state when the plan was made.
#[derive(Clone, Debug, Hash)]
pub(crate) struct PinnedFile {
    path: PathBuf,
    state: FileState,
}

/// What `stat` says of a file: two equal ones mean the same bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileState {
    bytes: u64,
    modified: Option<SystemTime>,
    #[cfg(unix)]
    inode: u64,
}

impl FileState {
    fn new(metadata: &Metadata) -> Self {
        Self {
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
            #[cfg(unix)]
            inode: std::os::unix::fs::MetadataExt::ino(metadata),
        }
    }

    /// Reads the state of a file. Blocks for a `stat`.
    ///
    /// # Errors
    /// There is no such file.
    pub(crate) fn read(path: &Path) -> Result<Self, EngineError> {
        match path.metadata() {
            Ok(metadata) => Ok(Self::new(&metadata)),
            Err(error) => Err(EngineError::data(format!("{}: {error}", path.display()))),
        }
    }

    /// As [`read`](Self::read), of a file that must have bytes: whoever writes a file anew empties
    /// it first.
    ///
    /// # Errors
    /// There is no such file, or it is empty.
    pub(crate) fn of_table(path: &Path) -> Result<Self, EngineError> {
        let state = Self::read(path)?;
        match state.bytes {
            0 => Err(EngineError::data(format!("{}: is empty", path.display()))),
            _ => Ok(state),
        }
    }

    /// Returns the file as DataFusion knows it.
    ///
    /// # Errors
    /// The path is not absolute, or not UTF-8.
    pub(crate) fn object(&self, path: &Path) -> Result<ObjectMeta, EngineError> {
        let location = StorePath::from_absolute_path(path)
            .map_err(|error| EngineError::data(format!("{}: {error}", path.display())))?;
        Ok(ObjectMeta {
            location,
            last_modified: self.modified.unwrap_or(SystemTime::UNIX_EPOCH).into(),
            size: self.bytes,
            e_tag: None,
            version: None,
        })
    }
}

impl PinnedFile {
    /// Pins a file to the state that the plan was made from.
    pub(crate) fn new(path: PathBuf, state: FileState) -> Self {
        Self { path, state }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// As [`FileState::object`].
    pub(crate) fn object(&self) -> Result<ObjectMeta, EngineError> {
        self.state.object(&self.path)
    }

    /// Checks that the file is in the same state now. Blocks for a `stat`.
    ///
    /// # Errors
    /// The file changed, or is gone.
    pub(crate) fn check(&self) -> Result<(), EngineError> {
        let path = self.path.display();
        match FileState::read(&self.path)? == self.state {
            true => Ok(()),
            false => Err(EngineError::data(format!(
                "{path} changed while it was read"
            ))),
        }
    }
}

/// Returns a number that differs, within this process, between two states of the files; `None` of
/// no files.
pub(crate) fn version(pinned: &[PinnedFile]) -> Option<u64> {
    static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    (!pinned.is_empty()).then(|| KEYS.hash_one(pinned))
}
