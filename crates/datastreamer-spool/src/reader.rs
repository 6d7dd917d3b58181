//! Readers of a production: streams whose source is the production, without a thread.
//!
//! `production.rs` opens them. A reader takes the newest bytes from memory, others from the file
//! (`recent.rs`), and waits for those that are not there (`progress.rs`).

use std::{fs::File, future::poll_fn, sync::Arc, task::Poll, time::Instant};

use bytes::Bytes;
use datastreamer::{AsyncStreamWriter, ChunkReader, Piece, StreamOptions};

use crate::{
    blocks::Extent,
    error::{Error, ErrorKind, Failure},
    folder::read_at,
    pace::{Pace, READ_BYTES},
    progress::{Next, Progress, Sight},
    recent::{Following, Read},
    user::User,
};

/// An extent that readers share is what is read at a time.
const EXTENT_BYTES: u64 = READ_BYTES as u64;

pub(crate) fn open(user: User, pieces: Vec<Piece>, options: StreamOptions) -> ChunkReader {
    let length = user.shared().progress.look(Sight::length);
    let total = pieces.iter().try_fold(0u64, |total, piece| {
        total.checked_add(piece.length(length)?)
    });
    let options = match total {
        Some(total) => options.length(total),
        None => options,
    };
    options.stream_out_async_write(move |out| {
        Reader {
            user,
            out,
            pace: Pace::default(),
            following: None,
        }
        .run(pieces)
    })
}

struct Reader {
    user: User,
    out: AsyncStreamWriter,
    pace: Pace,
    /// Among those that share reads, once it has read a file.
    following: Option<Following>,
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
        // What reads a short range has no use for more, and nobody follows it.
        let is_short = until.saturating_sub(at) < EXTENT_BYTES;
        while at < until {
            let mut bytes = match self.progress().next(at).await {
                Next::Memory(bytes) => bytes,
                Next::File => match self.read(at, until, is_short).await {
                    Ok(bytes) => bytes,
                    Err(error) => return Err(self.fail(error.into()).await),
                },
                Next::End if end.is_none() && self.is_the_end(at) => return Ok(()),
                Next::End => {
                    let length = self.progress().look(Sight::bytes);
                    let text = format!("the production has {length} bytes");
                    let error = Error::new(ErrorKind::OutOfRange, text);
                    return Err(self.fail(error.into()).await);
                }
                Next::Failed(failure) => return Err(self.fail(failure).await),
            };
            bytes.truncate(usize::try_from(until - at).unwrap_or(usize::MAX));
            let from = at;
            at += self.hand_over(bytes).await?;
            if let Some(following) = &self.following
                && at / EXTENT_BYTES > from / EXTENT_BYTES
            {
                following.passed(from / EXTENT_BYTES);
            }
        }
        Ok(())
    }

    fn progress(&self) -> &Progress {
        &self.user.shared().progress
    }

    fn is_the_end(&self, at: u64) -> bool {
        self.progress().look(Sight::bytes) == at
    }

    /// Hands over a piece of these bytes, and waits until the consumer asks for more: until then a
    /// reader holds nothing. Returns how much that was.
    async fn hand_over(&mut self, mut bytes: Bytes) -> Result<u64, datastreamer::Error> {
        bytes.truncate(self.pace.piece_bytes());
        if !self.pace.is_fast() {
            // A part would hold all that was read.
            bytes = Bytes::copy_from_slice(&bytes);
        }
        let count = bytes.len();
        self.out.write_bytes(bytes).await?;
        let given = Instant::now();
        until_asked().await;
        self.pace.taken(count, given.elapsed());
        Ok(count as u64)
    }

    /// Returns bytes of a range that the file has, from its begin on.
    async fn read(&mut self, at: u64, until: u64, is_short: bool) -> Result<Bytes, Error> {
        let number = at / EXTENT_BYTES;
        let is_alone = is_short || !self.follow(number).has_company();
        if is_alone {
            let extent = self.own_extent(at, until);
            if let Some(bytes) = self.read_if_cached(&extent) {
                return Ok(after(self.checked(bytes)?, at - extent.begin));
            }
        }
        let known = match self.shared_extent(number) {
            Some(shared) if !is_short && self.pace.shares() => {
                Some(self.find_or_read(number, shared))
            }
            // It may be there for others.
            _ => self
                .user
                .inner()
                .recent
                .find(&self.user.shared().id, number),
        };
        let Some(read) = known else {
            let extent = self.own_extent(at, until);
            let begin = extent.begin;
            let read = self.user.inner().reads.run(self.reading(extent)).await;
            return Ok(after(self.checked(read.and_then(|read| read))?, at - begin));
        };
        if self.pace.is_fast()
            && let Some(next) = self.shared_extent(number + 1)
        {
            // It is there, or nearly, when it is asked for.
            let _read = self.find_or_read(number + 1, next);
        }
        let bytes = self.checked(read.wait().await)?;
        Ok(after(bytes, at - number * EXTENT_BYTES))
    }

    /// Counts this reader among those that may share reads.
    fn follow(&mut self, number: u64) -> &Following {
        let (recent, id) = (&self.user.inner().recent, &self.user.shared().id);
        self.following
            .get_or_insert_with(|| Following::new(recent, id, number))
    }

    /// Reads and checks an extent that the system has in memory, without a switch to another thread:
    /// some 100 µs for 256 KiB, as long as it takes to send them.
    fn read_if_cached(&self, extent: &Extent) -> Option<Result<Bytes, Error>> {
        let file = self.user.shared().file()?;
        let folder = &self.user.inner().folder;
        let read = folder.read_if_cached(&file, extent.bytes(), extent.begin)?;
        Some(checked(read, extent))
    }

    /// What this reader alone reads at a time of a range.
    fn own_extent(&self, at: u64, until: u64) -> Extent {
        let bytes_max = self.pace.read_bytes();
        self.progress()
            .look(|sight| sight.extent(at, until, bytes_max))
    }

    /// An extent that others may read too: all of it is there, and stays as it is.
    fn shared_extent(&self, number: u64) -> Option<Extent> {
        let begin = number * EXTENT_BYTES;
        let end = begin + EXTENT_BYTES;
        self.progress()
            .look(|sight| sight.settled_extent(begin, end))
    }

    fn find_or_read(&self, number: u64, extent: Extent) -> Arc<Read> {
        let inner = self.user.inner();
        let id = &self.user.shared().id;
        let read = self.reading(extent);
        inner.recent.find_or_read(id, number, &inner.reads, read)
    }

    /// Reads and checks an extent, on a thread that may block.
    fn reading(&self, extent: Extent) -> impl FnOnce() -> Result<Bytes, Error> + Send + 'static {
        let inner = Arc::clone(self.user.inner());
        let shared = Arc::clone(self.user.shared());
        move || read_extent(&*shared.open_file(&inner.folder)?, &extent)
    }

    /// A production that cannot be read is given up, so that the next request begins a new one.
    fn checked(&self, read: Result<Bytes, Error>) -> Result<Bytes, Error> {
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

/// Waits until the consumer asks for more. A stream polls its source for that and for nothing else,
/// once it has taken what was written.
async fn until_asked() {
    let mut is_asked = false;
    poll_fn(|_cx| match std::mem::replace(&mut is_asked, true) {
        false => Poll::Pending,
        true => Poll::Ready(()),
    })
    .await;
}

/// Reads blocks, and checks them.
fn read_extent(file: &File, extent: &Extent) -> Result<Bytes, Error> {
    let mut read = Vec::new();
    read_at(file, &mut read, extent.bytes(), extent.begin)?;
    checked(read, extent)
}

/// Returns what was read if it is what was written.
fn checked(read: Vec<u8>, extent: &Extent) -> Result<Bytes, Error> {
    if !extent.is(&read) {
        let text = format!("bytes {} to {}", extent.begin, extent.end);
        return Err(Error::new(ErrorKind::Damaged, text));
    }
    Ok(Bytes::from(read))
}

/// The bytes behind so many.
fn after(bytes: Bytes, skipped: u64) -> Bytes {
    let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
    bytes.slice(skipped.min(bytes.len())..)
}
