//! The folder of a spool: its lock, and the files of productions from their first byte to their
//! removal.
//!
//! Called by `pump.rs`, `reader.rs` and `sweep.rs` on threads that may block. It decides nothing:
//! which production may be written or must go is decided in `table.rs`.
//!
//! The order of a completion: the data are synchronized, then renamed; the manifest is written,
//! synchronized and renamed; then the folder is synchronized. Whatever is lost in between, a manifest
//! under its final name vouches for data that were on the storage before it was.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, IoSliceMut, Read, Write},
    os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use rustix::{
    buffer::spare_capacity,
    io::{Errno, ReadWriteFlags, preadv2},
};

use crate::{
    blocks::{BlockHasher, NewSums},
    error::{Error, ErrorKind},
    manifest::Manifest,
    names::{FILE_KINDS, FileKind, LOCK_NAME, ProductionId},
};

/// 1 MiB: a manifest is about 1 KiB and the caller's key. A larger file is not one.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// 1 MiB for each read of a check: some 0.2 ms, a thousand reads for 1 GiB.
const CHECK_BYTES: usize = 1 << 20;

pub(crate) struct Folder {
    path: PathBuf,
    /// Locked for as long as it is open.
    lock: Mutex<File>,
    /// The file system does not tell what it has in memory: it has no `RWF_NOWAIT` (preadv2(2)).
    cannot_tell: AtomicBool,
}

/// A complete production in the folder.
pub(crate) struct Found {
    pub(crate) manifest: Manifest,
    pub(crate) modified: SystemTime,
}

impl Folder {
    /// Opens or makes the folder, and locks it.
    pub(crate) fn open(path: PathBuf) -> Result<Self, Error> {
        let lock = Mutex::new(Self::make(&path)?);
        Ok(Self {
            path,
            lock,
            cannot_tell: AtomicBool::new(false),
        })
    }

    /// Makes the folder if it is not there, and locks it.
    fn make(path: &Path) -> Result<File, Error> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|error| failed("making", path, error))?;
        let lock_path = path.join(LOCK_NAME);
        let lock = file_options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(|error| failed("opening", &lock_path, error))?;
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(TryLockError::WouldBlock) => {
                let text = format!("another spool has locked {}", lock_path.display());
                Err(Error::new(ErrorKind::Locked, text))
            }
            Err(TryLockError::Error(error)) => Err(failed("locking", &lock_path, error)),
        }
    }

    /// Finds the complete productions, the least recently written first, and removes all other files
    /// of the spool.
    pub(crate) fn load(&self) -> Result<Vec<Found>, Error> {
        let mut ids = Vec::new();
        let mut leftovers = Vec::new();
        let reading = |error| failed("reading", &self.path, error);
        for entry in fs::read_dir(&self.path).map_err(reading)? {
            let name = entry.map_err(reading)?.file_name();
            match name.to_str().and_then(FileKind::parse) {
                Some((id, FileKind::Manifest)) => ids.push(id),
                Some((id, _)) => leftovers.push(id),
                None => {}
            }
        }
        let found = ids.iter().map(|id| self.find(id));
        let mut found = found.collect::<Result<Vec<_>, _>>()?;
        found.retain(Option::is_some);
        let mut found: Vec<_> = found.into_iter().flatten().collect();
        let kept: std::collections::HashSet<_> = found.iter().map(|it| it.manifest.id).collect();
        for id in ids.iter().chain(&leftovers) {
            if !kept.contains(id) {
                self.remove(id)?;
            }
        }
        for id in &kept {
            self.remove_kinds(id, &[FileKind::NewManifest, FileKind::Part])?;
        }
        found.sort_by_key(|found| found.modified);
        Ok(found)
    }

    /// The production of a manifest; `None`: nothing vouches for it.
    fn find(&self, id: &ProductionId) -> Result<Option<Found>, Error> {
        let manifest_path = FileKind::Manifest.path(&self.path, id);
        let read = read_small(&manifest_path);
        let (json, modified) = match read {
            Ok(read) => read,
            Err(error) if is_no_plain_file(&error) => return Ok(None),
            Err(error) => return Err(failed("reading", &manifest_path, error)),
        };
        let Some(manifest) = Manifest::from_json(&json).filter(|read| read.id == *id) else {
            return Ok(None);
        };
        let data_path = FileKind::Data.path(&self.path, id);
        let has_length = match fs::symlink_metadata(&data_path) {
            Ok(data) => data.is_file() && data.len() == manifest.bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(failed("reading", &data_path, error)),
        };
        Ok(has_length.then_some(Found { manifest, modified }))
    }

    /// Makes the file of a production that begins. A folder that somebody has removed is made again: what
    /// was in it is lost, and what begins is not.
    pub(crate) fn create(&self, id: &ProductionId) -> Result<File, Error> {
        let path = FileKind::Part.path(&self.path, id);
        let create = || {
            let mut options = file_options();
            options.read(true).write(true).create_new(true).open(&path)
        };
        let created = match create() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
                // Another production may have made the folder meanwhile, and its lock is in the folder.
                match create() {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        *lock = Self::make(&self.path)?;
                        create()
                    }
                    created => created,
                }
            }
            created => created,
        };
        created.map_err(|error| failed("making", &path, error))
    }

    /// Removes the name of a running production's file, which lives on while it is open.
    pub(crate) fn unname(&self, id: &ProductionId) -> Result<(), Error> {
        self.remove_kinds(id, &[FileKind::Part])
    }

    /// Makes a production durable: see the top of this file.
    pub(crate) fn complete(&self, file: &File, manifest: &Manifest) -> Result<(), Error> {
        let id = &manifest.id;
        let [part, data, new, named] = [
            FileKind::Part,
            FileKind::Data,
            FileKind::NewManifest,
            FileKind::Manifest,
        ]
        .map(|kind| kind.path(&self.path, id));
        file.sync_all()
            .map_err(|error| failed("synchronizing", &part, error))?;
        fs::rename(&part, &data).map_err(|error| failed("renaming", &part, error))?;
        let json = manifest.to_json();
        let json = json.map_err(|error| failed("writing", &new, error.into()))?;
        if json.len() as u64 > MANIFEST_BYTES_MAX {
            let text = format!("a manifest of {} bytes: the key is too long", json.len());
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        write_new(&new, &json).map_err(|error| failed("writing", &new, error))?;
        fs::rename(&new, &named).map_err(|error| failed("renaming", &new, error))?;
        self.sync()
    }

    /// Synchronizes the folder, and so the names of files.
    fn sync(&self) -> Result<(), Error> {
        let folder = File::open(&self.path);
        let synced = folder.and_then(|folder| folder.sync_all());
        synced.map_err(|error| failed("synchronizing", &self.path, error))
    }

    /// Opens the data of a complete production.
    pub(crate) fn open_data(&self, id: &ProductionId) -> Result<File, Error> {
        let path = FileKind::Data.path(&self.path, id);
        let opened = file_options().read(true).open(&path);
        opened.map_err(|error| failed("opening", &path, error))
    }

    /// Reads all data of a production and compares them with its manifest's checksum; returns the
    /// checksums of its blocks.
    pub(crate) fn check(
        &self,
        id: &ProductionId,
        bytes: u64,
        blake3: &[u8; 32],
    ) -> Result<(File, NewSums), Error> {
        let file = self.open_data(id)?;
        let mut blocks = BlockHasher::default();
        let mut sums = NewSums::default();
        let mut hasher = blake3::Hasher::new();
        let mut buffer = Vec::new();
        let mut at = 0;
        while at < bytes {
            let part =
                usize::try_from(bytes - at).map_or(CHECK_BYTES, |left| left.min(CHECK_BYTES));
            read_at(&file, &mut buffer, part, at)?;
            hasher.update(&buffer);
            let new = blocks.update(&buffer);
            sums.full.extend(new.full);
            sums.part = new.part;
            at += part as u64;
        }
        let size = file
            .metadata()
            .map_err(|error| Error::storage("its size", error));
        if size?.size() != bytes || hasher.finalize().as_bytes() != blake3 {
            return Err(Error::new(ErrorKind::Damaged, format!("{id}")));
        }
        Ok((file, sums))
    }

    /// Reads so many bytes if the system has them in memory; never waits for a disk. `None`: it has
    /// not, or cannot tell.
    pub(crate) fn read_if_cached(&self, file: &File, bytes: usize, at: u64) -> Option<Vec<u8>> {
        if self.cannot_tell.load(Ordering::Relaxed) {
            return None;
        }
        let mut read = vec![0; bytes];
        let parts = &mut [IoSliceMut::new(&mut read)];
        match preadv2(file, parts, at, ReadWriteFlags::NOWAIT) {
            Ok(count) => (count == bytes).then_some(read),
            Err(error) => {
                if error == Errno::OPNOTSUPP {
                    self.cannot_tell.store(true, Ordering::Relaxed);
                }
                None
            }
        }
    }

    /// Removes all files of a production. What is not there is no error.
    pub(crate) fn remove(&self, id: &ProductionId) -> Result<(), Error> {
        self.remove_kinds(id, &FILE_KINDS)
    }

    fn remove_kinds(&self, id: &ProductionId, kinds: &[FileKind]) -> Result<(), Error> {
        for kind in kinds {
            let path = kind.path(&self.path, id);
            match fs::remove_file(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // A folder of this name was not made by the spool.
                Err(error) if error.kind() == io::ErrorKind::IsADirectory => {}
                Err(error) => return Err(failed("removing", &path, error)),
            }
        }
        Ok(())
    }
}

/// Appends at an offset.
pub(crate) fn write_at(file: &File, data: &[u8], at: u64) -> Result<(), Error> {
    let written = file.write_all_at(data, at);
    written.map_err(|error| Error::storage(format!("writing {} bytes", data.len()), error))
}

/// Reads so many bytes that must be there, in the place of what a buffer has.
pub(crate) fn read_at(
    file: &File,
    buffer: &mut Vec<u8>,
    bytes: usize,
    at: u64,
) -> Result<(), Error> {
    let text = || format!("reading {bytes} bytes at {at}");
    buffer.clear();
    buffer.reserve_exact(bytes);
    while buffer.len() < bytes {
        // Without zeros first: they cost as much as the checksums.
        let from = at + buffer.len() as u64;
        match rustix::io::pread(file, spare_capacity(buffer), from) {
            Ok(0) => return Err(Error::new(ErrorKind::Damaged, text())),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(Error::storage(text(), error.into())),
        }
    }
    buffer.truncate(bytes);
    Ok(())
}

/// Of the owner alone, and never through a link that somebody else has put there.
fn file_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits();
    options.mode(0o600).custom_flags(no_follow.cast_signed());
    options
}

fn write_new(path: &Path, data: &[u8]) -> io::Result<()> {
    let mut file = file_options().write(true).create_new(true).open(path)?;
    file.write_all(data)?;
    file.sync_all()
}

fn read_small(path: &Path) -> io::Result<(Vec<u8>, SystemTime)> {
    let file = file_options().read(true).open(path)?;
    let metadata = file.metadata()?;
    let mut data = Vec::new();
    file.take(MANIFEST_BYTES_MAX).read_to_end(&mut data)?;
    Ok((data, metadata.modified()?))
}

/// A link or a folder instead of a file, or nothing at all.
fn is_no_plain_file(error: &io::Error) -> bool {
    use io::ErrorKind::{IsADirectory, NotFound};
    matches!(error.kind(), IsADirectory | NotFound)
        || error.raw_os_error() == Some(Errno::LOOP.raw_os_error())
}

fn failed(what: &str, path: &Path, error: io::Error) -> Error {
    Error::storage(format!("{what} {}", path.display()), error)
}
