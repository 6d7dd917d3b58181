//! Directories for one test, below the one that Cargo gives to integration tests.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{fs, process};

/// A new, empty directory; dropping it removes it with all that it holds.
pub(crate) struct Scratch {
    directory: PathBuf,
}

impl Scratch {
    /// Makes a directory whose name begins with `label`.
    pub(crate) fn new(label: &str) -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let directory = root().join(format!("{label}-{}-{number}", process::id()));
        fs::create_dir_all(&directory).expect("a scratch directory can be made");
        Self { directory }
    }

    /// Returns the directory.
    pub(crate) fn path(&self) -> &Path {
        &self.directory
    }

    /// Returns the path of `name` in the directory; makes nothing.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left behind costs disk space in a directory that `cargo clean` empties.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Returns the directory below which everything temporary is made.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}
