//! A file on disk as the source of a response: its validators, and the bytes of its ranges.
//!
//! Used by a source behind `Download::respond_planned`. It owns no path and no policy.

use std::{
    error::Error as StdError,
    fs::{File, Metadata},
    io,
    ops::Range,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
    time::{Duration, SystemTime},
};

use datastreamer::{ETag, Piece, StreamWriter};

use crate::{pieces::Pieces, planned::Planned};

/// How long a file must have rested before a tag of its times is a strong one: a change within the
/// resolution of the file system's clock (1 to 2 s in FAT, NFS and others) leaves no other trace.
pub const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// How much is read at a time: beyond 256 KiB a read is no cheaper per byte.
const READ_BYTES: usize = 256 * 1024;

/// An open file, as it was when it was opened.
///
/// ```
/// use std::path::Path;
/// use datastreamer_http::{BareRanges, DiskFile, Download};
/// use http::Request;
///
/// # async fn answer() {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("stars.csv");
/// # std::fs::write(&path, "ra,dec\n1,2\n").unwrap();
/// let request = Request::get("/stars.csv").header("range", "bytes=7-").body(()).unwrap();
/// let response = Download::new("text/csv")
///     .respond_planned(&request, move |options, report| {
///         options.stream_out(move |out| {
///             let file = DiskFile::open(&path)?;
///             match report.done(file.planned().bare_ranges(BareRanges::All)) {
///                 Some(pieces) => file.write(&pieces, out),
///                 None => Ok(()),
///             }
///         })
///     })
///     .await;
/// assert_eq!(response.status(), 206);
/// assert_eq!(response.headers()["content-range"], "bytes 7-10/11");
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(answer());
/// ```
#[derive(Debug)]
pub struct DiskFile {
    file: File,
    opened: Metadata,
}

impl DiskFile {
    /// Opens a file. **Blocks**.
    ///
    /// # Errors
    /// It cannot be opened, or is no regular file.
    pub fn open(path: &Path) -> io::Result<Self> {
        // A FIFO would block here until somebody writes to it.
        if !std::fs::metadata(path)?.is_file() {
            return Err(not_a_file());
        }
        let file = File::open(path)?;
        let opened = file.metadata()?;
        match opened.is_file() {
            true => Ok(Self { file, opened }),
            false => Err(not_a_file()),
        }
    }

    /// Returns the length in bytes.
    pub fn length(&self) -> u64 {
        self.opened.len()
    }

    /// Returns a tag of the file's identity, size, and times of change. `None` if it was changed within
    /// the last two seconds: it may change once more without a trace.
    pub fn etag(&self) -> Option<ETag> {
        if SystemTime::now() <= self.changed()? + SETTLED_AFTER {
            return None;
        }
        let parts = [
            self.opened.dev(),
            self.opened.ino(),
            self.opened.len(),
            self.opened.mtime() as u64,
            self.opened.mtime_nsec() as u64,
            self.opened.ctime() as u64,
            self.opened.ctime_nsec() as u64,
        ];
        Some(ETag::hex(&fnv1a(&parts).to_be_bytes()))
    }

    /// Returns when the file was last changed in any way: its bytes, its name or its permissions. It cannot
    /// be set, unlike the time of modification. `None`: before 1970.
    pub fn changed(&self) -> Option<SystemTime> {
        let seconds = u64::try_from(self.opened.ctime()).ok()?;
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }

    /// Returns what is known for the head of a response: the length, the tag, the time of the last
    /// change, and that ranges can be sent.
    pub fn planned(&self) -> Planned {
        Planned::new()
            .length(self.length())
            .etag(self.etag())
            .last_modified(self.opened.modified().ok())
            .ranges(true)
    }

    /// Promises the length of the pieces and writes them. **Blocks**.
    ///
    /// # Errors
    /// The stream was stopped; the file cannot be read, or was changed meanwhile. The last bytes are
    /// held back until that is known, so the response is aborted.
    pub fn write(
        &self,
        pieces: &Pieces,
        out: &mut StreamWriter,
    ) -> Result<(), Box<dyn StdError + Send + Sync>> {
        if let Some(bytes) = pieces.length() {
            out.promise_length(bytes)?;
        }
        let mut buffer = Vec::new();
        for piece in pieces.as_slice() {
            match piece {
                Piece::Bytes(bytes) => out.write_bytes(bytes.clone())?,
                Piece::Range(range) => self.write_range(range.clone(), &mut buffer, out)?,
                Piece::From(start) => {
                    self.write_range(*start..self.length(), &mut buffer, out)?;
                }
            }
        }
        self.check_unchanged()?;
        Ok(())
    }

    fn write_range(
        &self,
        bytes: Range<u64>,
        buffer: &mut Vec<u8>,
        out: &StreamWriter,
    ) -> Result<(), Box<dyn StdError + Send + Sync>> {
        let mut at = bytes.start;
        while at < bytes.end {
            let wanted =
                usize::try_from(bytes.end - at).map_or(READ_BYTES, |left| left.min(READ_BYTES));
            buffer.resize(wanted.max(buffer.len()), 0);
            match self.file.read_at(&mut buffer[..wanted], at) {
                Ok(0) => return Err(changed().into()),
                Ok(read) => {
                    out.write_slice(&buffer[..read])?;
                    at += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The time of modification can be set back, the other one cannot. That one changes too when the file
    /// loses its name because another one gets it: then this one, which is still open, has not changed.
    fn check_unchanged(&self) -> io::Result<()> {
        let (before, now) = (&self.opened, self.file.metadata()?);
        let same = now.len() == before.len()
            && (now.mtime(), now.mtime_nsec()) == (before.mtime(), before.mtime_nsec())
            && (now.nlink() != before.nlink()
                || (now.ctime(), now.ctime_nsec()) == (before.ctime(), before.ctime_nsec()));
        match same {
            true => Ok(()),
            false => Err(changed()),
        }
    }
}

fn not_a_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")
}

fn changed() -> io::Error {
    io::Error::other("the file was changed while it was read")
}

/// FNV-1a of 128 bits: the same on every machine and in every release (draft-eastlake-fnv).
fn fnv1a(words: &[u64]) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let bytes = words.iter().flat_map(|word| word.to_le_bytes());
    bytes.fold(OFFSET, |hash, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(PRIME)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_its_definition() {
        assert_eq!(fnv1a(&[]), 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        // Eight zero bytes: the offset times the prime to the eighth.
        let by_hand = (0..8).fold(fnv1a(&[]), |hash, _| hash.wrapping_mul(1 << 88 | 0x13b));
        assert_eq!(fnv1a(&[0]), by_hand);
    }
}
