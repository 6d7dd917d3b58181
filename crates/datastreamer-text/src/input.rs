//! The bytes of a text file: decompressed, as UTF-8 without a byte order mark, in a buffer that holds at
//! least one whole line.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flate2::bufread::GzDecoder;

use crate::encoding::{Decoded, TextEncoding, decoded};

/// 1 MiB is read from a file at a time.
const READ_BYTES: usize = 1 << 20;
/// 1 GiB in one row: more is a file with a quote that is not closed, and would fill the memory.
const ROW_BYTES_MAX: usize = 1 << 30;
/// 1 GiB of a compressed file are read in some seconds, however small it is.
const TEXT_BYTES_FREE: u64 = 1 << 30;
/// RFC 1952, section 2.3.1.
const GZIP_MAGIC: u8 = 0x1f;

/// A buffer that is filled from a file.
pub(crate) struct Input {
    bytes: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    from: usize,
    to: usize,
    is_at_end: bool,
    encoding: TextEncoding,
    /// Of the text's bytes before those in the buffer.
    offset: u64,
}

impl Input {
    /// Reads the beginning of a file, which is of this encoding; `None`: of the one that it says, else
    /// UTF-8.
    ///
    /// # Errors
    /// The file cannot be read, or is of another encoding.
    pub(crate) fn new(
        bytes: Box<dyn Read + Send>,
        encoding: Option<TextEncoding>,
    ) -> io::Result<Self> {
        let Decoded {
            bytes,
            encoding,
            mark_bytes,
        } = decoded(bytes, encoding)?;
        let mut input = Self {
            bytes,
            buffer: vec![0; READ_BYTES],
            from: 0,
            to: 0,
            is_at_end: false,
            encoding,
            offset: mark_bytes as u64,
        };
        input.fill()?;
        Ok(input)
    }

    /// Returns the encoding of the file.
    pub(crate) fn encoding(&self) -> TextEncoding {
        self.encoding
    }

    /// Returns the text of a row, of which these bytes were consumed last.
    ///
    /// # Errors
    /// It is not UTF-8; with the line, which the caller knows.
    pub(crate) fn text(&self, bytes: usize, line: u64) -> io::Result<&str> {
        str::from_utf8(self.consumed(bytes)).map_err(|error| {
            let before = self.from - bytes + error.valid_up_to();
            let offset = self.offset + before as u64;
            io::Error::other(format!(
                "line {line} is not UTF-8 at byte {offset}, counted from 0: set encoding, for example \
                 to latin-1 or windows-1252"
            ))
        })
    }

    /// Returns the bytes in the buffer.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.buffer[self.from..self.to]
    }

    /// Returns whether the buffer holds the file's last byte.
    pub(crate) fn is_at_end(&self) -> bool {
        self.is_at_end
    }

    pub(crate) fn consume(&mut self, bytes: usize) {
        self.from += bytes;
    }

    /// Returns bytes that were consumed last.
    pub(crate) fn consumed(&self, bytes: usize) -> &[u8] {
        &self.buffer[self.from - bytes..self.from]
    }

    /// Reads more behind the bytes in the buffer.
    ///
    /// # Errors
    /// The file cannot be read; a row is larger than 1 GiB.
    pub(crate) fn read_more(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.from..self.to, 0);
        self.offset += self.from as u64;
        self.to -= self.from;
        self.from = 0;
        if self.to == self.buffer.len() {
            if self.to >= ROW_BYTES_MAX {
                return Err(io::Error::other(
                    "a row is larger than 1 GiB: is a quote not closed?",
                ));
            }
            self.buffer.resize(self.to * 2, 0);
        }
        self.fill()
    }

    /// Fills the buffer, or reads the end: decompressors return less than what fits, and a row that
    /// is not complete yet is looked through again after each call.
    fn fill(&mut self) -> io::Result<()> {
        while self.to < self.buffer.len() && !self.is_at_end {
            match self.bytes.read(&mut self.buffer[self.to..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(read) => {
                    self.to += read;
                    self.is_at_end = read == 0;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The bytes of a file, which may be counted as they are read.
pub(crate) struct Counted {
    pub(crate) file: File,
    pub(crate) read: Option<Arc<AtomicU64>>,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(into)?;
        if let Some(counter) = &self.read {
            counter.fetch_add(read as u64, Ordering::Relaxed);
        }
        Ok(read)
    }
}

/// Refuses a compressed file that becomes too large.
pub(crate) struct Bounded {
    bytes: Box<dyn Read + Send>,
    left: u64,
    expansion_max: u64,
}

impl Bounded {
    pub(crate) fn new(bytes: Box<dyn Read + Send>, file_bytes: u64, expansion_max: u64) -> Self {
        Self {
            bytes,
            left: TEXT_BYTES_FREE.max(file_bytes.saturating_mul(expansion_max)),
            expansion_max,
        }
    }
}

impl Read for Bounded {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(into)?;
        let left = self.left.checked_sub(read as u64);
        self.left = left.ok_or_else(|| {
            let text = format!(
                "it would become more than 1 GiB and {} times its size (tables.expansion_max)",
                self.expansion_max
            );
            io::Error::other(text)
        })?;
        Ok(read)
    }
}

/// Decompresses gzip: several members are one file (RFC 1952, section 2.2), and zeros may follow, as
/// tapes and block devices leave them.
pub(crate) struct Gzip {
    member: Option<GzDecoder<BufReader<Counted>>>,
}

impl Gzip {
    pub(crate) fn new(file: Counted) -> Self {
        let file = BufReader::with_capacity(READ_BYTES, file);
        Self {
            member: Some(GzDecoder::new(file)),
        }
    }
}

impl Read for Gzip {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let read = member.read(into).map_err(|error| unread(error, "gzip"))?;
            if read > 0 || into.is_empty() {
                return Ok(read);
            }
            let file = self.member.take().map(GzDecoder::into_inner);
            self.member = file.map(next_member).transpose()?.flatten();
        }
        Ok(0)
    }
}

fn next_member(mut file: BufReader<Counted>) -> io::Result<Option<GzDecoder<BufReader<Counted>>>> {
    loop {
        let bytes = file.fill_buf()?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        match bytes.get(zeros) {
            None if bytes.is_empty() => return Ok(None),
            None => file.consume(zeros),
            Some(&GZIP_MAGIC) => {
                file.consume(zeros);
                return Ok(Some(GzDecoder::new(file)));
            }
            Some(_) => return Err(io::Error::other("has other bytes behind its gzip data")),
        }
    }
}

/// Decompresses Zstandard.
pub(crate) struct Zstd(zstd::Decoder<'static, BufReader<Counted>>);

impl Zstd {
    /// # Errors
    /// There is no memory for it.
    pub(crate) fn new(file: Counted) -> io::Result<Self> {
        zstd::Decoder::new(file).map(Self)
    }
}

impl Read for Zstd {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0
            .read(into)
            .map_err(|error| unread(error, "Zstandard"))
    }
}

/// Says in plain words that compressed data ends early or is none. Errors of the system stay as they
/// are.
fn unread(error: io::Error, format: &str) -> io::Error {
    if error.raw_os_error().is_some() || error.kind() == io::ErrorKind::Interrupted {
        return error;
    }
    let text = format!("is damaged or cut short: it is not complete {format}");
    io::Error::new(error.kind(), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compressed_file_becomes_a_gibibyte_or_some_times_its_size() {
        let read = |bytes: u64, file_bytes: u64, expansion_max: u64| {
            let bytes = Box::new(io::repeat(b'0').take(bytes));
            let mut bounded = Bounded::new(bytes, file_bytes, expansion_max);
            let mut buffer = vec![0; READ_BYTES];
            loop {
                match bounded.read(&mut buffer) {
                    Ok(0) => return Ok(()),
                    Ok(_) => {}
                    Err(error) => return Err(error.to_string()),
                }
            }
        };
        assert_eq!(read(TEXT_BYTES_FREE, 10, 1100), Ok(()));
        let wanted =
            "it would become more than 1 GiB and 1100 times its size (tables.expansion_max)";
        assert_eq!(read(TEXT_BYTES_FREE + 1, 10, 1100), Err(wanted.to_owned()));
        assert_eq!(read(TEXT_BYTES_FREE + 1, 1 << 20, 1100), Ok(()));
    }
}
