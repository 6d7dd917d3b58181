//! A cache of one value per file of a table, valid while the file is in the same state.

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    panic::AssertUnwindSafe,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};

use crate::{
    error::EngineError,
    guard::error_of,
    pinned::{FileState, PinnedFile},
};

/// One value per file of a table. It has as many entries as the table has files.
///
/// A file is read once, however many scans wait for it
/// (`the_columns_of_a_file_are_read_once_however_many_scans_wait_for_them`), and whoever of them
/// gives up: whoever is left, or comes next, goes on waiting for the same run
/// (`whoever_gives_up_neither_stops_the_run_for_others_nor_starts_another`). So there is one run per
/// file at a time.
pub(crate) struct FileCache<T>(Mutex<HashMap<PathBuf, Entry<T>>>);

enum Entry<T> {
    Known(FileState, T),
    /// The file is being read, in this state.
    Run(FileState, Run<T>),
}

/// Ends only where somebody polls it.
type Run<T> = Shared<BoxFuture<'static, Result<T, Arc<EngineError>>>>;

impl<T: Clone + Send + 'static> FileCache<T> {
    /// Fills a cache.
    pub(crate) fn new(values: impl IntoIterator<Item = (PinnedFile, T)>) -> Self {
        let values = values.into_iter();
        let values = values.map(|(file, value)| (file.path, Entry::Known(file.state, value)));
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
        F: Future<Output = Result<T, EngineError>> + Send + 'static,
    {
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            files.push(self.get(path, &read).await?);
        }
        let mut entries = self.entries();
        if entries.len() > files.len() {
            let paths: HashSet<_> = files.iter().map(|(file, _)| &file.path).collect();
            entries.retain(|path, _| paths.contains(path));
        }
        drop(entries);
        Ok(files)
    }

    async fn get<F>(
        &self,
        path: PathBuf,
        read: &impl Fn(PathBuf) -> F,
    ) -> Result<(PinnedFile, T), EngineError>
    where
        F: Future<Output = Result<T, EngineError>> + Send + 'static,
    {
        loop {
            let state = FileState::read(&path)?;
            let (of, run) = match self.known_or_run(&path, &state, read) {
                Ok(value) => return Ok((PinnedFile { path, state }, value)),
                Err(run) => run,
            };
            let ended = run.clone().await;
            self.settle(&path, &of, &run, &ended);
            // A run of an earlier state had to end first.
            if of == state {
                let value = ended.map_err(|error| error.copy())?;
                return Ok((PinnedFile { path, state }, value));
            }
        }
    }

    /// Returns the value, or the run that will have it: another one's or a new one.
    fn known_or_run<F>(
        &self,
        path: &PathBuf,
        state: &FileState,
        read: impl Fn(PathBuf) -> F,
    ) -> Result<T, (FileState, Run<T>)>
    where
        F: Future<Output = Result<T, EngineError>> + Send + 'static,
    {
        let mut entries = self.entries();
        match entries.get(path) {
            Some(Entry::Known(of, value)) if of == state => return Ok(value.clone()),
            Some(Entry::Run(of, run)) => return Err((of.clone(), run.clone())),
            _ => {}
        }
        // A panic would be one of every later scan.
        let read = AssertUnwindSafe(read(path.clone())).catch_unwind();
        let read = read.map(|read| {
            let read = read.unwrap_or_else(|panic| Err(error_of(panic.as_ref())));
            read.map_err(Arc::new)
        });
        let run = read.boxed().shared();
        let entry = Entry::Run(state.clone(), run.clone());
        entries.insert(path.clone(), entry);
        Err((state.clone(), run))
    }

    /// Keeps what a run has found. An error is for whoever waited for it: the next scan tries again.
    fn settle(
        &self,
        path: &PathBuf,
        of: &FileState,
        run: &Run<T>,
        ended: &Result<T, Arc<EngineError>>,
    ) {
        let mut entries = self.entries();
        if !matches!(entries.get(path), Some(Entry::Run(_, other)) if other.ptr_eq(run)) {
            return;
        }
        entries.remove(path);
        if let Ok(value) = ended {
            entries.insert(path.clone(), Entry::Known(of.clone(), value.clone()));
        }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<PathBuf, Entry<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> std::fmt::Debug for FileCache<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileCache").finish_non_exhaustive()
    }
}
