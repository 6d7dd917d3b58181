//! Readers of a production: streams whose source is the production, without a thread.
//!
//! `production.rs` opens them. A reader takes the newest bytes from memory, others from the file, and
//! waits for those that are not there (`progress.rs`).

use std::{fs::File, ops::Range, sync::Arc};

use bytes::Bytes;
use datastreamer::{AsyncStreamWriter, ChunkReader, StreamOptions};

use crate::{
    blocks::Extent,
    error::{Error, ErrorKind, Failure},
    folder::read_exact_at,
    progress::{Next, Sight},
    user::User,
};

/// 256 KiB for a read from a file: four chunks, which is the buffer of a stream. Each costs a switch
/// to another thread and back, some 20 µs, which is less than what it takes to send so much.
const READ_BYTES: u64 = 256 * 1024;

/// A part of what a reader yields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The bytes of a range. One that ends before it begins is empty.
    Range(Range<u64>),
    /// All bytes from an offset to the end.
    From(u64),
    /// These bytes, which are not in the production: the head of a part of a multipart response.
    Bytes(Bytes),
}

impl Piece {
    /// The length, if it is known.
    fn bytes(&self, production_bytes: Option<u64>) -> Option<u64> {
        match self {
            Self::Range(range) => Some(range.end.saturating_sub(range.start)),
            Self::From(at) => production_bytes?.checked_sub(*at),
            Self::Bytes(bytes) => Some(bytes.len() as u64),
        }
    }
}

pub(crate) fn open(user: User, pieces: Vec<Piece>, options: StreamOptions) -> ChunkReader {
    let length = user.shared().progress.look(Sight::length);
    let total = pieces
        .iter()
        .try_fold(0u64, |total, piece| total.checked_add(piece.bytes(length)?));
    let options = match total {
        Some(total) => options.length(total),
        None => options,
    };
    options.stream_out_async_write(move |out| Reader { user, out }.run(pieces))
}

struct Reader {
    user: User,
    out: AsyncStreamWriter,
}

impl Reader {
    async fn run(mut self, pieces: Vec<Piece>) -> Result<(), datastreamer::Error> {
        self.user.verify();
        for piece in pieces {
            match piece {
                Piece::Range(range) => self.copy(range.start, Some(range.end)).await?,
                Piece::From(at) => self.copy(at, None).await?,
                Piece::Bytes(bytes) => self.out.write_bytes(bytes).await?,
            }
        }
        Ok(())
    }

    /// Copies from an offset to another one, or to the end.
    async fn copy(&mut self, mut at: u64, end: Option<u64>) -> Result<(), datastreamer::Error> {
        let until = end.unwrap_or(u64::MAX);
        while at < until {
            let next = self
                .user
                .shared()
                .progress
                .next(at, until, READ_BYTES)
                .await;
            let mut bytes = match next {
                Next::Memory(bytes) => bytes,
                Next::File(extent) => match self.read(at, extent).await {
                    Ok(bytes) => bytes,
                    Err(error) => return Err(self.fail(error.into()).await),
                },
                Next::End if end.is_none() && self.is_the_end(at) => return Ok(()),
                Next::End => {
                    let length = self.user.shared().progress.look(Sight::bytes);
                    let text = format!("the production has {length} bytes");
                    let error = Error::new(ErrorKind::OutOfRange, text);
                    return Err(self.fail(error.into()).await);
                }
                Next::Failed(failure) => return Err(self.fail(failure).await),
            };
            bytes.truncate(usize::try_from(until - at).unwrap_or(usize::MAX));
            at += bytes.len() as u64;
            self.out.write_bytes(bytes).await?;
        }
        Ok(())
    }

    fn is_the_end(&self, at: u64) -> bool {
        self.user.shared().progress.look(Sight::bytes) == at
    }

    /// Reads whole blocks from the file and returns what follows an offset. A production that cannot
    /// be read is given up, so that the next request begins a new one.
    async fn read(&self, at: u64, extent: Extent) -> Result<Bytes, Error> {
        let inner = Arc::clone(self.user.inner());
        let shared = Arc::clone(self.user.shared());
        let read = self.user.inner().reads.run(move || {
            let file = shared.open_file(&inner.folder)?;
            read_extent(&file, &extent, at)
        });
        let read = read.await.and_then(|read| read);
        if let Err(error) = &read {
            self.user.give_up(error.clone());
        }
        read
    }

    /// Fails the stream with the failure as it is, behind the bytes that are valid.
    async fn fail(&mut self, failure: Failure) -> datastreamer::Error {
        match self.out.flush_now().await {
            Ok(()) => self.out.fail(failure.to_stream_error()),
            Err(stopped) => stopped,
        }
    }
}

/// Reads blocks, checks them, and returns what follows an offset.
fn read_extent(file: &File, extent: &Extent, at: u64) -> Result<Bytes, Error> {
    let mut buffer = vec![0; extent.bytes()];
    read_exact_at(file, &mut buffer, extent.begin)?;
    if !extent.is(&buffer) {
        let text = format!("bytes {} to {}", extent.begin, extent.end);
        return Err(Error::new(ErrorKind::Damaged, text));
    }
    let skipped = usize::try_from(at - extent.begin).unwrap_or(usize::MAX);
    Ok(Bytes::from(buffer).slice(skipped..))
}
