//! Writers that do something unusual with the archive's bytes.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

/// Runs an action just before it takes the first bytes that contain `trigger`:
/// the way to change a tree at a known place of the walk.
pub(crate) struct Hooked<A: FnOnce()> {
    pub(crate) bytes: Vec<u8>,
    trigger: &'static [u8],
    action: Option<A>,
}

impl<A: FnOnce()> Hooked<A> {
    pub(crate) fn new(trigger: &'static str, action: A) -> Self {
        Self {
            bytes: Vec::new(),
            trigger: trigger.as_bytes(),
            action: Some(action),
        }
    }
}

impl<A: FnOnce()> Write for Hooked<A> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes
            .windows(self.trigger.len())
            .any(|window| window == self.trigger)
            && let Some(action) = self.action.take()
        {
            action();
        }
        self.bytes.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes some bytes, then fails for ever.
pub(crate) struct Failing {
    pub(crate) bytes_left: usize,
    pub(crate) kind: io::ErrorKind,
}

impl Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes_left == 0 {
            return Err(io::Error::new(self.kind, "the consumer left"));
        }
        let taken = bytes.len().min(self.bytes_left);
        self.bytes_left -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file in which zeros become holes, for archives larger than the disk.
pub(crate) struct Sparse {
    file: File,
    zeros: Vec<u8>,
}

impl Sparse {
    pub(crate) fn new(file: File) -> Self {
        let zeros = vec![0; 1 << 20];
        Self { file, zeros }
    }
}

impl Write for Sparse {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > 512 && self.zeros.get(..bytes.len()) == Some(bytes) {
            self.file.seek(SeekFrom::Current(bytes.len() as i64))?;
            return Ok(bytes.len());
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
