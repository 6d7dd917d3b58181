//! The unfinished file (`NAME.part`): one process has it, and only a complete one gets its name.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};

use super::{
    PART_SUFFIX,
    failure::{Exit, Failure},
    state::{State, sync_folder, with_suffix},
};

/// What to do if the name is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    Keep,
    Replace,
}

/// An open unfinished file, locked for as long as it lives.
#[derive(Debug)]
pub(crate) struct PartFile {
    pub(crate) file: File,
    part: PathBuf,
    path: PathBuf,
    existing: Existing,
}

impl PartFile {
    /// Opens or makes the unfinished file of `path`, and locks it.
    ///
    /// # Errors
    /// When the name is taken, when another process has the file, and those of the disk.
    pub(crate) fn open(path: &Path, existing: Existing) -> Result<Self, Failure> {
        check_free(path, existing)?;
        let part = with_suffix(path, PART_SUFFIX);
        check_part(&part)?;
        // Another process may finish between the steps: then what was opened is its finished file.
        const ATTEMPTS: u32 = 8;
        for _ in 0..ATTEMPTS {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(false);
            // Nobody else makes it lead elsewhere.
            options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
            let file = options.open(&part);
            let file = file.map_err(|error| match check_part(&part) {
                Ok(()) => disk(Exit::Config, &part, "opened", &error),
                Err(failure) => failure,
            })?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(taken(path)),
                Err(TryLockError::Error(error)) => {
                    return Err(disk(Exit::Other, &part, "locked", &error));
                }
            }
            let is_same = |there: &fs::Metadata, ours: &fs::Metadata| {
                (there.dev(), there.ino()) == (ours.dev(), ours.ino())
            };
            match (fs::metadata(&part), file.metadata()) {
                (Ok(there), Ok(ours)) if is_same(&there, &ours) => {
                    check_free(path, existing)?;
                    return Ok(Self {
                        file,
                        part,
                        path: path.to_owned(),
                        existing,
                    });
                }
                _ => {}
            }
        }
        Err(taken(path))
    }

    /// The path of the unfinished file.
    pub(crate) fn part(&self) -> &Path {
        &self.part
    }

    /// Gives the file its name, for good. The bytes must be on the disk.
    ///
    /// # Errors
    /// When the name was taken meanwhile, and those of the disk.
    pub(crate) fn commit(&self) -> Result<(), Failure> {
        let renamed = match self.existing {
            Existing::Replace => fs::rename(&self.part, &self.path),
            Existing::Keep => {
                let flags = RenameFlags::NOREPLACE;
                match renameat_with(CWD, &self.part, CWD, &self.path, flags) {
                    // The file system cannot: a check before is next to it.
                    Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                        check_free(&self.path, self.existing)?;
                        fs::rename(&self.part, &self.path)
                    }
                    done => done.map_err(io::Error::from),
                }
            }
        };
        match renamed {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(in_the_way(&self.path));
            }
            Err(error) => return Err(disk(Exit::Other, &self.part, "renamed", &error)),
        }
        let done = sync_folder(&self.path).and_then(|()| State::remove(&self.part));
        done.map_err(|error| disk(Exit::Other, &self.path, "made durable", &error))
    }

    /// Removes the file, and what is known about it.
    ///
    /// # Errors
    /// Those of the disk.
    pub(crate) fn discard(&self) -> Result<(), Failure> {
        let removed = State::remove(&self.part).and_then(|()| fs::remove_file(&self.part));
        removed.map_err(|error| disk(Exit::Other, &self.part, "removed", &error))
    }
}

/// Refuses a name that is taken.
pub(crate) fn check_free(path: &Path, existing: Existing) -> Result<(), Failure> {
    match fs::symlink_metadata(path) {
        Ok(there) if there.is_dir() => Err(Failure::last(
            Exit::Config,
            format!("{} is a folder: name a file", path.display()),
        )),
        Ok(_) if existing == Existing::Keep => Err(in_the_way(path)),
        _ => Ok(()),
    }
}

/// Refuses what is no file in the place of the unfinished one.
fn check_part(part: &Path) -> Result<(), Failure> {
    let Ok(there) = fs::symlink_metadata(part) else {
        return Ok(());
    };
    let what = match there.file_type() {
        kind if kind.is_file() => return Ok(()),
        kind if kind.is_symlink() => "a symbolic link",
        kind if kind.is_dir() => "a folder",
        _ => "no regular file",
    };
    let text = format!(
        "{} is {what}, where the unfinished file would be: remove it, or name another file with --output",
        part.display()
    );
    Err(Failure::last(Exit::Config, text))
}

fn in_the_way(path: &Path) -> Failure {
    let text = format!(
        "{} is there already: --force replaces it, --output names another file",
        path.display()
    );
    Failure::last(Exit::Config, text)
}

fn taken(path: &Path) -> Failure {
    let text = format!("another process is downloading {}", path.display());
    Failure::last(Exit::Other, text)
}

/// A failure of the disk.
pub(crate) fn disk(exit: Exit, path: &Path, done: &str, error: &io::Error) -> Failure {
    Failure::last(
        exit,
        format!("{} cannot be {done}: {error}", path.display()),
    )
}
