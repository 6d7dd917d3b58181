//! A folder of this run for files and configurations; removed when dropped.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::client;

#[derive(Debug)]
pub(crate) struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    /// Makes an empty folder among the temporary ones.
    pub(crate) fn new() -> io::Result<Self> {
        let name = format!("datastreamer-bench-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder)?;
        Ok(Self { folder })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.folder
    }

    /// Downloads what a server sends, as a file of this name.
    pub(crate) fn copy(&self, from: SocketAddr, path: &str, name: &str) -> io::Result<PathBuf> {
        let copy = self.folder.join(name);
        let mut file = File::create(&copy)?;
        let mut written = Ok(());
        client::get(from, path)?.drain(|payload| {
            if written.is_ok() {
                written = file.write_all(payload);
            }
        })?;
        written.and(Ok(copy))
    }

    /// Writes a small file.
    pub(crate) fn write(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        let path = self.folder.join(name);
        fs::write(&path, text)?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left in the folder for temporary files is a nuisance, and no failure.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
