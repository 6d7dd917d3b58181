//! Whether the files that a plan reads are still what they were when it was made.
//!
//! DataFusion opens a file anew for each piece: without this check a table that is replaced on
//! the way would be half the old and half the new one.

use std::{
    fs::Metadata,
    hash::{BuildHasher, RandomState},
    iter,
    path::PathBuf,
    sync::LazyLock,
    time::SystemTime,
};

use datafusion::{
    datasource::{physical_plan::FileScanConfig, source::DataSourceExec},
    physical_plan::ExecutionPlan,
};

use crate::{error::EngineError, fits::FitsScan};

/// A file, and what `stat` said of it.
#[derive(Debug, Hash)]
pub(crate) struct PinnedFile {
    path: PathBuf,
    seen: Seen,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Seen {
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
}

impl PinnedFile {
    pub(crate) fn pin(path: PathBuf) -> Result<Self, EngineError> {
        let metadata = path
            .metadata()
            .map_err(|error| EngineError::data(format!("{}: {error}", path.display())))?;
        let seen = Seen::of(&metadata);
        Ok(Self { path, seen })
    }

    /// Fails if the file is another one by now.
    pub(crate) fn check(&self) -> Result<(), EngineError> {
        let now = self.path.metadata().map(|metadata| Seen::of(&metadata));
        match now {
            Ok(now) if now == self.seen => Ok(()),
            Ok(_) => Err(EngineError::data(format!(
                "{} changed while it was read",
                self.path.display()
            ))),
            Err(error) => Err(EngineError::data(format!(
                "{}: {error}",
                self.path.display()
            ))),
        }
    }
}

/// Tells one state of the files from another, within this process; `None` of no files.
pub(crate) fn version(pinned: &[PinnedFile]) -> Option<u64> {
    static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    (!pinned.is_empty()).then(|| KEYS.hash_one(pinned))
}

/// Pins the files of a plan's scans. Blocks for a `stat` a file.
pub(crate) fn pin_files(plan: &dyn ExecutionPlan) -> Result<Vec<PinnedFile>, EngineError> {
    let mut pinned = Vec::new();
    for plan in nodes(plan) {
        if let Some(scan) = plan.downcast_ref::<FitsScan>() {
            pinned.extend(scan.pin()?);
        }
        let Some(source) = plan.downcast_ref::<DataSourceExec>() else {
            continue;
        };
        let Some(files) = source.data_source().downcast_ref::<FileScanConfig>() else {
            continue;
        };
        for file in files.file_groups.iter().flat_map(|group| group.files()) {
            let path = PathBuf::from(format!("/{}", file.object_meta.location));
            pinned.push(PinnedFile::pin(path)?);
        }
    }
    Ok(pinned)
}

/// A plan, and all plans that it is made of.
pub(crate) fn nodes(plan: &dyn ExecutionPlan) -> impl Iterator<Item = &dyn ExecutionPlan> {
    let mut plans = vec![plan];
    iter::from_fn(move || {
        let plan = plans.pop()?;
        plans.extend(plan.children().into_iter().map(AsRef::as_ref));
        Some(plan)
    })
}
