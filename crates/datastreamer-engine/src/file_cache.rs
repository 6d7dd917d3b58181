//! A cache of one value per file of a table, valid while the file is in the same state.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    path::PathBuf,
};

use tokio::sync::Mutex;

use crate::{
    error::EngineError,
    pinned::{FileState, PinnedFile},
};

/// One value per file of a table. It has as many entries as the table has files.
///
/// The lock is held while files are read, so that each is read once, however many scans wait for it
/// (`the_columns_of_a_file_are_read_once_however_many_scans_wait_for_them`).
#[derive(Debug)]
pub(crate) struct FileCache<T>(Mutex<HashMap<PathBuf, (FileState, T)>>);

impl<T: Clone> FileCache<T> {
    /// Fills a cache.
    pub(crate) fn new(values: impl IntoIterator<Item = (PinnedFile, T)>) -> Self {
        let values = values.into_iter();
        let values = values.map(|(file, value)| (file.path, (file.state, value)));
        Self(Mutex::new(values.collect()))
    }

    /// Returns the files in their current states, each with its value. Calls `read` for those that
    /// are new or whose state changed, one after the other; drops the entries of files that are not
    /// among `paths`. Blocks for a `stat` per file.
    ///
    /// # Errors
    /// A file is gone, or `read` fails.
    pub(crate) async fn get_all<F>(
        &self,
        paths: Vec<PathBuf>,
        read: impl Fn(PathBuf) -> F,
    ) -> Result<Vec<(PinnedFile, T)>, EngineError>
    where
        F: Future<Output = Result<T, EngineError>>,
    {
        let mut entries = self.0.lock().await;
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            let state = FileState::read(&path)?;
            let value = match entries.get(&path).filter(|(then, _)| *then == state) {
                Some((_, value)) => value.clone(),
                None => {
                    let value = read(path.clone()).await?;
                    entries.insert(path.clone(), (state.clone(), value.clone()));
                    value
                }
            };
            files.push((PinnedFile { path, state }, value));
        }
        if entries.len() > files.len() {
            let paths: HashSet<_> = files.iter().map(|(file, _)| &file.path).collect();
            entries.retain(|path, _| paths.contains(path));
        }
        Ok(files)
    }
}
