//! Directory trees on disk, and what must be the same in a copy.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Directory {
        mode: u32,
        mtime_seconds: i64,
    },
    File {
        mode: u32,
        mtime_seconds: i64,
        links: u64,
        content: Vec<u8>,
    },
    Symlink {
        target: PathBuf,
    },
}

/// What stands below `root`, by relative path; the root itself is left out.
pub(crate) fn snapshot(root: &Path) -> BTreeMap<PathBuf, Entry> {
    let mut entries = BTreeMap::new();
    collect(root, Path::new(""), &mut entries);
    entries
}

fn collect(directory: &Path, relative: &Path, entries: &mut BTreeMap<PathBuf, Entry>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let (path, relative) = (entry.path(), relative.join(entry.file_name()));
        let metadata = entry.metadata().unwrap();
        let (mode, mtime_seconds) = (metadata.mode() & 0o7777, metadata.mtime());
        let found = if metadata.is_dir() {
            collect(&path, &relative, entries);
            Entry::Directory {
                mode,
                mtime_seconds,
            }
        } else if metadata.is_symlink() {
            let target = fs::read_link(&path).unwrap();
            Entry::Symlink { target }
        } else {
            let (links, content) = (metadata.nlink(), fs::read(&path).unwrap());
            Entry::File {
                mode,
                mtime_seconds,
                links,
                content,
            }
        };
        entries.insert(relative, found);
    }
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

pub(crate) fn set_mtime(path: &Path, mtime_seconds: u64) {
    let mtime = UNIX_EPOCH + Duration::from_secs(mtime_seconds);
    fs::File::open(path).unwrap().set_modified(mtime).unwrap();
}
