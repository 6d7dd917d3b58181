//! Temporary files of writers: without a name, bounded, and on an account that their caller keeps.
//!
//! `fits/write/spool.rs` is their user.

use std::{
    any::Any,
    fmt,
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
    sync::Arc,
};

/// Room is taken 16 MiB at a time: some hundred times a second at the speed of a disk.
const STEP_BYTES: u64 = 16 << 20;

/// Where temporary files get their room from, so that all of a program stay within one limit.
pub trait TemporaryRoom: fmt::Debug + Send + Sync {
    /// Takes room for so many bytes; dropping the result gives it back. May **block** while others give
    /// theirs back.
    ///
    /// # Errors
    /// There is none: of the kind [`io::ErrorKind::StorageFull`].
    fn take(&self, bytes: u64) -> io::Result<Box<dyn Any + Send>>;
}

/// A file without a name that may not grow beyond a bound. It is written from its beginning, then read.
pub(crate) struct TemporaryFile {
    file: File,
    bytes_max: u64,
    bytes: u64,
    room: Option<Arc<dyn TemporaryRoom>>,
    taken_bytes: u64,
    /// Given back when the file is gone.
    taken: Vec<Box<dyn Any + Send>>,
}

impl TemporaryFile {
    /// Makes an empty file in a directory.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn new(
        directory: &Path,
        bytes_max: u64,
        room: Option<Arc<dyn TemporaryRoom>>,
    ) -> io::Result<Self> {
        Ok(Self {
            file: tempfile::tempfile_in(directory)?,
            bytes_max,
            bytes: 0,
            room,
            taken_bytes: 0,
            taken: Vec::new(),
        })
    }

    /// Takes room for what the file grows to.
    fn take_room(&mut self, bytes: u64) -> io::Result<()> {
        let Some(room) = self.room.as_ref().filter(|_| bytes > self.taken_bytes) else {
            return Ok(());
        };
        let step = STEP_BYTES.max(bytes - self.taken_bytes);
        let taken = room.take(step)?;
        self.taken.push(taken);
        self.taken_bytes += step;
        Ok(())
    }
}

impl Write for TemporaryFile {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let bytes = self.bytes + data.len() as u64;
        if bytes > self.bytes_max {
            let problem = format!(
                "the table is larger than its temporary file may be, which are {} bytes",
                self.bytes_max
            );
            return Err(io::Error::new(io::ErrorKind::StorageFull, problem));
        }
        self.take_room(bytes)?;
        let written = self.file.write(data)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Read for TemporaryFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl Seek for TemporaryFile {
    fn seek(&mut self, place: SeekFrom) -> io::Result<u64> {
        self.file.seek(place)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[derive(Clone, Debug, Default)]
    struct Account(Arc<AtomicU64>);

    struct Taken(Account, u64);

    impl Drop for Taken {
        fn drop(&mut self) {
            self.0.0.fetch_sub(self.1, Ordering::Relaxed);
        }
    }

    impl TemporaryRoom for Account {
        fn take(&self, bytes: u64) -> io::Result<Box<dyn Any + Send>> {
            if self.0.load(Ordering::Relaxed) + bytes > 2 * STEP_BYTES {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.0.fetch_add(bytes, Ordering::Relaxed);
            Ok(Box::new(Taken(self.clone(), bytes)))
        }
    }

    #[test]
    fn files_take_their_room_from_one_account_and_give_it_back() {
        let account = Account::default();
        let file = || {
            let room: Arc<dyn TemporaryRoom> = Arc::new(account.clone());
            TemporaryFile::new(&std::env::temp_dir(), 1 << 30, Some(room)).unwrap()
        };
        let (mut first, mut second) = (file(), file());
        first.write_all(b"some").unwrap();
        first.write_all(b" bytes").unwrap();
        assert_eq!(account.0.load(Ordering::Relaxed), STEP_BYTES);
        second.write_all(b"more").unwrap();
        let refused = file().write_all(b"too many").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
        drop(second);
        file().write_all(b"room again").unwrap();
        first.rewind().unwrap();
        let mut read = String::new();
        first.read_to_string(&mut read).unwrap();
        assert_eq!(read, "some bytes");
        drop(first);
        assert_eq!(account.0.load(Ordering::Relaxed), 0);
    }
}
