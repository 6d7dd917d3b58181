//! Files that are compressed as a whole and must be read at any place: decompressed into temporary
//! files, which are bounded together.
//!
//! `fits.rs` opens files here. A file is decompressed once and kept while there is space for it; the
//! ones that were used least recently go first, and never one that is being read. The temporary files
//! have no names, as those of `spill.rs`: the system frees them when the process ends, however that
//! happens.

use std::{
    env,
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use datastreamer_text::{Compression, decompressed};

use crate::{
    error::{EngineError, EngineErrorKind},
    expansion::with_unit,
    pinned::FileState,
};

/// 4 GiB for decompressed files: the event lists of some hundred observations. They are kept, so it is
/// less than what a query may take of the disk for a while.
pub const DEFAULT_UNPACK_BYTES: u64 = 4 << 30;
/// 1 MiB is decompressed between two looks at the space.
const PIECE_BYTES: usize = 1 << 20;

/// Decompresses files, and keeps what they became.
#[derive(Debug)]
pub(crate) struct Unpacker {
    folder: PathBuf,
    bytes_max: u64,
    expansion_max: u64,
    /// Bytes of all temporary files.
    used: Arc<AtomicU64>,
    /// The one that was used last is the last.
    kept: Mutex<Vec<Kept>>,
}

#[derive(Debug)]
struct Kept {
    path: PathBuf,
    /// Of the compressed file.
    state: FileState,
    slot: Arc<Slot>,
}

/// Locked by the thread that decompresses the file; others wait for it.
type Slot = Mutex<Option<Arc<Unpacked>>>;

/// A temporary file, whose bytes count until its last user drops it.
#[derive(Debug)]
struct Unpacked {
    file: File,
    bytes: u64,
    used: Arc<AtomicU64>,
}

/// A file to read at any place.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) file: File,
    pub(crate) lease: Lease,
}

/// Keeps a temporary file for as long as it is read.
#[derive(Debug)]
pub(crate) struct Lease(
    #[expect(dead_code, reason = "it is held, not read")] Option<Arc<Unpacked>>,
);

impl Unpacker {
    /// Uses the system's folder for temporary files unless there is another.
    pub(crate) fn new(folder: Option<&Path>, bytes_max: u64, expansion_max: u64) -> Self {
        Self {
            folder: folder.map_or_else(env::temp_dir, Path::to_owned),
            bytes_max,
            expansion_max,
            used: Arc::default(),
            kept: Mutex::default(),
        }
    }

    /// Opens a file. **Blocks** while it is decompressed, unless it is there already.
    ///
    /// # Errors
    /// The file cannot be read, changes meanwhile, is no complete compressed file, or becomes too
    /// large; there is no space for it.
    pub(crate) fn open(
        &self,
        path: &Path,
        compression: Compression,
    ) -> Result<Opened, EngineError> {
        let of_system = |error: io::Error| EngineError::of_system(path, &error);
        if compression == Compression::None {
            return Ok(Opened {
                file: File::open(path).map_err(of_system)?,
                lease: Lease(None),
            });
        }
        let state = FileState::read(path)?;
        let slot = self.slot(path, &state);
        let mut there = slot.lock().unwrap_or_else(PoisonError::into_inner);
        let unpacked = match &*there {
            Some(unpacked) => Arc::clone(unpacked),
            None => match self.unpack(path, compression, &state) {
                Ok(unpacked) => Arc::clone(there.insert(Arc::new(unpacked))),
                Err(error) => {
                    self.kept().retain(|kept| !Arc::ptr_eq(&kept.slot, &slot));
                    return Err(error);
                }
            },
        };
        Ok(Opened {
            file: unpacked.file.try_clone().map_err(of_system)?,
            lease: Lease(Some(unpacked)),
        })
    }

    /// Finds the place of a file, which is the last to go then. What the file was before goes.
    fn slot(&self, path: &Path, state: &FileState) -> Arc<Slot> {
        let mut kept = self.kept();
        let of_path = kept
            .extract_if(.., |kept| kept.path == path)
            .collect::<Vec<_>>();
        let found = of_path.iter().find(|kept| kept.state == *state);
        let slot = found.map_or_else(Arc::default, |kept| Arc::clone(&kept.slot));
        kept.push(Kept {
            path: path.to_owned(),
            state: state.clone(),
            slot: Arc::clone(&slot),
        });
        drop(kept);
        // After unlocking: it may close a large file.
        drop(of_path);
        slot
    }

    fn unpack(
        &self,
        path: &Path,
        compression: Compression,
        state: &FileState,
    ) -> Result<Unpacked, EngineError> {
        tracing::debug!(path = %path.display(), "decompressing a file");
        let wrong = |error: io::Error| EngineError::of_file(path, error.to_string());
        let compressed = File::open(path).map_err(|error| EngineError::of_system(path, &error))?;
        let mut bytes = decompressed(compressed, compression, self.expansion_max).map_err(wrong)?;
        let file = tempfile::tempfile_in(&self.folder);
        let mut unpacked = Unpacked {
            file: file.map_err(|error| self.not_written(path, &error))?,
            bytes: 0,
            used: Arc::clone(&self.used),
        };
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let read = match bytes.read(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.map_err(wrong)?,
            };
            if read == 0 {
                break;
            }
            self.reserve(path, &mut unpacked, read as u64)?;
            let written = unpacked.file.write_all(&piece[..read]);
            written.map_err(|error| self.not_written(path, &error))?;
        }
        match FileState::read(path)? == *state {
            true => Ok(unpacked),
            false => Err(EngineError::of_file(path, "changed while it was read")),
        }
    }

    /// Counts bytes before they are written; others write at the same time.
    fn reserve(&self, path: &Path, unpacked: &mut Unpacked, bytes: u64) -> Result<(), EngineError> {
        unpacked.bytes += bytes;
        if unpacked.bytes > self.bytes_max {
            unpacked.bytes -= bytes;
            let most = with_unit(self.bytes_max);
            let text = format!(
                "is too large: decompressed it takes more than the {most} of tables.unpack_bytes"
            );
            return Err(EngineError::of_file(path, text));
        }
        let used = self.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if used <= self.bytes_max || self.make_room() {
            return Ok(());
        }
        let text = "other compressed FITS files are being read, and take the space of this one \
                    (tables.unpack_bytes)";
        Err(EngineError::new(EngineErrorKind::Busy, text))
    }

    /// Drops files that nobody reads, until the space suffices. Returns whether it does.
    fn make_room(&self) -> bool {
        let mut gone = Vec::new();
        loop {
            let mut kept = self.kept();
            let idle = kept.iter().position(Kept::is_idle);
            gone.extend(idle.map(|at| kept.remove(at)));
            drop(kept);
            // Closes the file, after unlocking.
            gone.clear();
            let is_enough = self.used.load(Ordering::Relaxed) <= self.bytes_max;
            if is_enough || idle.is_none() {
                return is_enough;
            }
        }
    }

    /// Says that a temporary file cannot be made or written. Its folder is for the operator only.
    fn not_written(&self, path: &Path, error: &io::Error) -> EngineError {
        let folder = self.folder.display();
        tracing::warn!(path = %path.display(), %folder, %error, "a file cannot be decompressed");
        match error.kind() {
            // Others fill the disk as well.
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                let text = "the disk is full: a compressed FITS file needs a temporary file \
                            (tables.spill_folder)";
                EngineError::new(EngineErrorKind::Busy, text)
            }
            _ => {
                let text = format!("cannot be decompressed to a temporary file: {error}");
                EngineError::of_file(path, text)
            }
        }
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Returns whether nobody decompresses, opens or reads the file.
    fn is_idle(&self) -> bool {
        let is_sole = Arc::strong_count(&self.slot) == 1;
        let there = self.slot.try_lock();
        is_sole
            && there.is_ok_and(|there| {
                let users = there.as_ref().map_or(1, Arc::strong_count);
                users == 1
            })
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compression as Level, write::GzEncoder};
    use std::{fs, os::unix::fs::FileExt};

    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn gzipped(&self, name: &str, bytes: &[u8]) -> PathBuf {
            let path = self.0.path().join(name);
            let mut encoder = GzEncoder::new(File::create(&path).unwrap(), Level::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap();
            path
        }

        fn unpacker(&self, bytes_max: u64) -> Unpacker {
            let folder = self.0.path().join("temporary");
            fs::create_dir_all(&folder).unwrap();
            Unpacker::new(Some(&folder), bytes_max, 1100)
        }

        fn temporary_files(&self) -> usize {
            self.0.path().join("temporary").read_dir().unwrap().count()
        }
    }

    fn folder() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn bytes_of(opened: &Opened) -> Vec<u8> {
        let mut bytes = vec![0; opened.file.metadata().unwrap().len() as usize];
        opened.file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn a_file_is_decompressed_once_without_a_name_and_anew_once_it_has_changed() {
        let folder = folder();
        let unpacker = folder.unpacker(1 << 20);
        let path = folder.gzipped("a.gz", b"first");
        let open = || unpacker.open(&path, Compression::Gzip).unwrap();
        let (one, two) = (open(), open());
        assert_eq!(bytes_of(&one), b"first");
        assert_eq!(bytes_of(&two), b"first");
        assert_eq!(unpacker.used.load(Ordering::Relaxed), 5);
        assert_eq!(folder.temporary_files(), 0);
        folder.gzipped("a.gz", b"another");
        assert_eq!(bytes_of(&open()), b"another");
        assert_eq!(bytes_of(&one), b"first");
        drop((one, two));
        assert_eq!(unpacker.used.load(Ordering::Relaxed), 7);
    }

    #[test]
    fn files_that_nobody_reads_make_room_and_others_do_not() {
        let folder = folder();
        let unpacker = folder.unpacker(1000);
        let [a, b] = ["a.gz", "b.gz"].map(|name| folder.gzipped(name, &[7; 600]));
        let open = |path: &Path| unpacker.open(path, Compression::Gzip);
        let read = open(&a).unwrap();
        let error = open(&b).unwrap_err();
        assert_eq!(error.kind(), EngineErrorKind::Busy, "{error}");
        assert_eq!(unpacker.used.load(Ordering::Relaxed), 600);
        drop(read);
        assert_eq!(bytes_of(&open(&b).unwrap()), [7; 600]);
        assert_eq!(unpacker.used.load(Ordering::Relaxed), 600);
        let large = folder.gzipped("c.gz", &[7; 1001]);
        let error = open(&large).unwrap_err().to_string();
        assert!(
            error.contains("more than the 1000 bytes of tables.unpack_bytes"),
            "{error}"
        );
        assert!(open(&a).is_ok());
    }

    #[test]
    fn what_is_cut_short_or_too_large_for_its_size_is_refused_and_leaves_nothing() {
        let folder = folder();
        let unpacker = folder.unpacker(1 << 20);
        let path = folder.gzipped("a.gz", &[7; 600]);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        let error = unpacker.open(&path, Compression::Gzip).unwrap_err();
        assert!(error.to_string().contains("not complete gzip"), "{error}");
        assert_eq!(unpacker.used.load(Ordering::Relaxed), 0);
        assert!(unpacker.kept().is_empty());
    }

    #[test]
    fn a_full_disk_is_said_so() {
        let unpacker = Unpacker::new(None, 1 << 20, 1100);
        let error = io::Error::from(io::ErrorKind::StorageFull);
        let error = unpacker.not_written(Path::new("a.gz"), &error);
        assert_eq!(error.kind(), EngineErrorKind::Busy);
        assert!(error.to_string().contains("the disk is full"), "{error}");
    }
}
