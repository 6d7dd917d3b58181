//! The folder for temporary files of all query processes of one server. Their files have no names
//! (`spill.rs`); the folder is what Landlock lets them write in, so nothing else may be in it.
//!
//! A server that is killed leaves its folder, empty. The next one removes it: a lock on each folder
//! says whose server still runs.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use tempfile::TempDir;

/// How the names of these folders begin.
const PREFIX: &str = "datastreamer-queries-";

/// A folder, for as long as the server runs.
pub(super) struct QueryFolder {
    folder: TempDir,
    /// Locked, until this process ends.
    _lock: File,
}

impl QueryFolder {
    /// Makes a folder in another one, and removes those there whose server has ended.
    ///
    /// # Errors
    /// No folder can be made.
    pub(super) fn new(parent: &Path) -> io::Result<Self> {
        sweep(parent);
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
        let lock = File::open(folder.path())?;
        lock.lock()?;
        Ok(Self {
            folder,
            _lock: lock,
        })
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Removes folders that nobody has locked. One that is not empty is not of this kind, and stays.
fn sweep(parent: &Path) {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let is_ours = name.to_str().is_some_and(|name| name.starts_with(PREFIX));
        // Those of other users and links stay, too: they can be neither opened nor removed as folders.
        if is_ours && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let lock = File::open(entry.path());
            if lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
                let _gone = fs::remove_dir(entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_with_its_server_or_with_the_next_one() {
        let parent = tempfile::tempdir().unwrap();
        let names = || fs::read_dir(parent.path()).unwrap().count();
        let left = parent.path().join(format!("{PREFIX}left"));
        let full = parent.path().join(format!("{PREFIX}full"));
        fs::create_dir(&left).unwrap();
        fs::create_dir(&full).unwrap();
        fs::write(full.join("file"), "mine").unwrap();
        let one = QueryFolder::new(parent.path()).unwrap();
        assert!(!left.exists() && full.exists());
        let other = QueryFolder::new(parent.path()).unwrap();
        assert!(one.path().exists(), "its server runs");
        drop((one, other));
        assert_eq!(names(), 1);
    }
}
