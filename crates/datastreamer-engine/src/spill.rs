//! Temporary files of queries: anonymous, and bounded together.
//!
//! DataFusion writes what does not fit into memory, and reads it back once. Its own files have names,
//! and stay when the process is killed. These have none: they are unlinked as soon as they are made
//! (`O_TMPFILE` where the file system has it), so the system frees them when the process ends,
//! however that happens. Nothing needs to be cleaned up afterwards.
//!
//! `engine.rs` makes the factory; operators of DataFusion make the files.

use std::{
    env,
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use datafusion::{
    common::Result,
    error::DataFusionError,
    execution::spill_file::{SpillFile, SpillWriter, TempFileFactory},
};
use futures_util::{Stream, stream};
use tokio::task::spawn_blocking;

use crate::error::{EngineError, EngineErrorKind};

/// 128 KiB are read at a time, as DataFusion does of its own files: each read is a task of its own.
const READ_BYTES: usize = 128 * 1024;

/// Makes temporary files in a folder, of so many bytes together.
pub(crate) struct SpillFiles {
    folder: PathBuf,
    space: Arc<Space>,
}

/// The bytes of all files.
struct Space {
    used: AtomicU64,
    bytes_max: u64,
}

impl SpillFiles {
    /// Takes the system's folder unless there is another.
    ///
    /// # Errors
    /// No file can be made in the folder.
    pub(crate) fn new(folder: Option<&Path>, bytes_max: u64) -> Result<Self, EngineError> {
        if let Some(folder) = folder {
            tempfile::tempfile_in(folder).map_err(|error| {
                let folder = folder.display();
                EngineError::data(format!("{folder} takes no temporary file: {error}"))
            })?;
        }
        Ok(Self {
            folder: folder.map_or_else(env::temp_dir, Path::to_path_buf),
            space: Arc::new(Space {
                used: AtomicU64::new(0),
                bytes_max,
            }),
        })
    }
}

impl TempFileFactory for SpillFiles {
    fn create_temp_file(&self, _description: &str) -> Result<Arc<dyn SpillFile>> {
        Ok(Arc::new(Spilled(Arc::new(Stored {
            file: tempfile::tempfile_in(&self.folder)?,
            bytes: AtomicU64::new(0),
            space: Arc::clone(&self.space),
        }))))
    }
}

/// A file, as DataFusion knows it.
struct Spilled(Arc<Stored>);

/// A file that counts in the space of all until its last user drops it.
struct Stored {
    file: File,
    /// How long the file is. The one writer changes it.
    bytes: AtomicU64,
    space: Arc<Space>,
}

impl SpillFile for Spilled {
    fn size(&self) -> Option<u64> {
        Some(self.0.bytes.load(Ordering::Relaxed))
    }

    fn read_stream(&self) -> Result<Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>> {
        let stored = Arc::clone(&self.0);
        Ok(Box::pin(stream::try_unfold(0, move |offset| {
            let stored = Arc::clone(&stored);
            async move {
                let read = spawn_blocking(move || stored.read(offset)).await;
                let read = read.map_err(|error| DataFusionError::External(Box::new(error)))??;
                let end = offset + read.len() as u64;
                Ok((!read.is_empty()).then_some((read, end)))
            }
        })))
    }

    fn open_writer(&self) -> Result<Box<dyn SpillWriter>> {
        Ok(Box::new(Writer(Arc::clone(&self.0))))
    }
}

impl Stored {
    /// Reads what is there, at most [`READ_BYTES`]; nothing at the end. The writer's position stays.
    fn read(&self, offset: u64) -> io::Result<Bytes> {
        let mut buffer = vec![0; READ_BYTES];
        let read = loop {
            match self.file.read_at(&mut buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        buffer.truncate(read);
        Ok(buffer.into())
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        let bytes = self.bytes.load(Ordering::Relaxed);
        self.space.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Appends to a file.
struct Writer(Arc<Stored>);

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Stored {
            file,
            bytes: stored,
            space,
        } = &*self.0;
        let length = bytes.len() as u64;
        // Counted before it is written: others write at the same time.
        let used = space.used.fetch_add(length, Ordering::Relaxed) + length;
        stored.fetch_add(length, Ordering::Relaxed);
        if used > space.bytes_max {
            return Err(no_space(EngineErrorKind::Exhausted));
        }
        (&*file)
            .write_all(bytes)
            .map_err(|error| match error.kind() {
                // Others fill the disk as well.
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    no_space(EngineErrorKind::Busy)
                }
                _ => error,
            })?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SpillWriter for Writer {
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

/// An error whose source is one of this crate, so that `error.rs` finds it.
fn no_space(kind: EngineErrorKind) -> io::Error {
    let text = "the query needs more temporary files than there is space for";
    let error = EngineError::new(kind, text);
    io::Error::other(DataFusionError::from(error))
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;

    use super::*;
    use crate::threads::EngineThreads;

    #[test]
    fn a_file_has_no_name_and_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let files = SpillFiles::new(Some(folder.path()), 1 << 20).unwrap();
        let file = files.create_temp_file("").unwrap();
        let threads = EngineThreads::start("spill", 1, 4).unwrap();
        let read = || {
            let pieces = file.read_stream().unwrap().try_collect::<Vec<_>>();
            threads.handle.block_on(pieces).unwrap().concat()
        };
        let mut writer = file.open_writer().unwrap();
        let bytes: Vec<u8> = (0..300_000_u32).map(|i| (i / 7) as u8).collect();
        writer.write_all(&bytes[..200_000]).unwrap();
        assert_eq!(read(), bytes[..200_000]);
        writer.write_all(&bytes[200_000..]).unwrap();
        assert_eq!(read(), bytes);
        assert_eq!(file.size(), Some(300_000));
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn all_files_share_the_space_and_give_it_back() {
        let files = SpillFiles::new(None, 1000).unwrap();
        let written = |bytes: usize| {
            let file = files.create_temp_file("").unwrap();
            let written = file.open_writer().unwrap().write_all(&vec![0; bytes]);
            written.map(|()| file)
        };
        let first = written(600).unwrap();
        let error = written(500).err().unwrap();
        let error = EngineError::from(DataFusionError::IoError(error));
        assert_eq!(error.kind(), EngineErrorKind::Exhausted, "{error}");
        let second = written(400).unwrap();
        drop(first);
        drop(second);
        written(1000).unwrap();
    }
}
