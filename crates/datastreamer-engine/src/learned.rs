//! What was read of each file of a table, for as long as the file is in the same state.

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

/// One value for each file of a table.
///
/// The lock is held while files are read, so that each is read once, however many scans wait for it
/// (`the_columns_of_a_file_are_read_once_however_many_scans_wait_for_them`).
#[derive(Debug)]
pub(crate) struct Learned<T>(Mutex<HashMap<PathBuf, (FileState, T)>>);

impl<T> Default for Learned<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Learned<T> {
    /// Keeps these values.
    pub(crate) fn new(values: impl IntoIterator<Item = (PinnedFile, T)>) -> Self {
        let values = values.into_iter();
        let values = values.map(|(file, value)| (file.path, (file.state, value)));
        Self(Mutex::new(values.collect()))
    }

    /// Returns the files in their states now, each with its value. Calls `read` for those that are
    /// new or in another state than when they were last read, one after the other; forgets files
    /// that are not among `paths`.
    ///
    /// # Errors
    /// A file is gone, or `read` fails.
    pub(crate) async fn of_files<F>(
        &self,
        paths: Vec<PathBuf>,
        read: impl Fn(PathBuf) -> F,
    ) -> Result<Vec<(PinnedFile, T)>, EngineError>
    where
        F: Future<Output = Result<T, EngineError>>,
    {
        let mut known = self.0.lock().await;
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            let state = FileState::read(&path)?;
            let value = match known.get(&path).filter(|(then, _)| *then == state) {
                Some((_, value)) => value.clone(),
                None => {
                    let value = read(path.clone()).await?;
                    known.insert(path.clone(), (state.clone(), value.clone()));
                    value
                }
            };
            files.push((PinnedFile { path, state }, value));
        }
        if known.len() > files.len() {
            let paths: HashSet<_> = files.iter().map(|(file, _)| &file.path).collect();
            known.retain(|path, _| paths.contains(path));
        }
        Ok(files)
    }
}
