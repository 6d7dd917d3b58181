//! The source's end of a stream: takes writes of any size, fills one chunk at a time.
//!
//! Called by the source on its own thread; calls `queue.rs::push`, which blocks while the
//! consumer is slow. The chunk being filled lies under a lock of its own, uncontended but for
//! the watchdog, which hands over what a silent source has left there (`hand_over_if_idle`).
//! Whoever pushes holds that lock, so chunks enter the queue in the order of the writes.

use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;

use crate::{
    chunk::{self, ChunkBuf},
    error::{Error, ErrorKind},
    record::StreamId,
    streamer::StreamCore,
    sync::{MutexGuard, lock, try_lock},
};

/// From this size on `write_bytes` passes its buffer on instead of copying it: to copy 16 KiB
/// takes about a microsecond, what a chunk of its own costs in locks and allocation.
pub const PASS_THROUGH_BYTES: usize = 16 * 1024;

/// What the source writes to: an [`io::Write`] whose `write` blocks while the consumer is slow.
///
/// Clones write to the same stream; each write stays whole. A clone kept beyond the source's
/// return gets [`ErrorKind::Ended`]. Nothing needs closing: the stream ends when the source
/// returns, well if it returns well. Dropping a writer does nothing.
///
/// ```
/// use std::io::Write;
/// let chunks = datastreamer::stream_out(|out| {
///     for row in 0..3 {
///         writeln!(out, "{row}")?;
///     }
///     out.flush()
/// });
/// assert_eq!(chunks.read_to_vec()?, b"0\n1\n2\n");
/// # Ok::<(), datastreamer::Error>(())
/// ```
#[derive(Clone)]
pub struct StreamWriter {
    core: Arc<StreamCore>,
}

/// The chunk being filled.
pub(crate) struct Pending {
    chunk: Option<ChunkBuf>,
    /// The size of the next chunk to be started.
    chunk_bytes: usize,
    /// Bytes accepted so far.
    written: u64,
    /// What `written` may reach.
    written_max: u64,
    /// Chunks started: tells the watchdog whether it sees the same chunk again.
    chunks_started: u64,
    /// The source has returned.
    ended: bool,
}

/// What the watchdog has seen of the source at its last look.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct SourceMark {
    chunks_started: u64,
    written: u64,
}

impl Pending {
    pub(crate) fn new(chunk_bytes: usize, length: Option<u64>) -> Self {
        Self {
            chunk: None,
            chunk_bytes,
            written: 0,
            written_max: length.unwrap_or(u64::MAX),
            chunks_started: 0,
            ended: false,
        }
    }

    fn fits(&self, bytes: usize) -> bool {
        bytes as u64 <= self.written_max - self.written
    }
}

impl StreamWriter {
    pub(crate) fn new(core: Arc<StreamCore>) -> Self {
        Self { core }
    }

    /// Writes all of `data`; blocks while the buffer is full.
    ///
    /// # Errors
    /// Why the stream was stopped; [`ErrorKind::Ended`] after the source's return;
    /// [`ErrorKind::LengthMismatch`] beyond the promised length, which fails the stream. Once it
    /// fails it fails for ever, and sends nothing.
    #[inline]
    pub fn write_slice(&self, data: &[u8]) -> Result<(), Error> {
        let mut pending = lock(&self.core.pending);
        if pending.fits(data.len())
            && let Some(chunk) = &mut pending.chunk
            && data.len() < chunk.room()
            && !self.core.queue.is_stopped()
        {
            chunk.append(data);
            pending.written += data.len() as u64;
            return Ok(());
        }
        self.write_across_chunks(pending, data)
    }

    fn write_across_chunks(
        &self,
        mut pending: MutexGuard<'_, Pending>,
        mut data: &[u8],
    ) -> Result<(), Error> {
        pending = self.check_open(pending, data.len())?;
        while !data.is_empty() {
            let taken = self.current_chunk(&mut pending).append(data);
            data = &data[taken..];
            pending.written += taken as u64;
            if pending
                .chunk
                .as_ref()
                .is_some_and(|chunk| chunk.room() == 0)
            {
                self.hand_over(&mut pending)?;
            }
        }
        Ok(())
    }

    /// Writes an owned buffer. One of at least [`PASS_THROUGH_BYTES`] reaches the consumer
    /// without a copy, in slices of at most the chunk size; what was written before it goes out
    /// first, as a chunk of its own.
    ///
    /// # Errors
    /// As [`StreamWriter::write_slice`].
    pub fn write_bytes(&self, mut data: Bytes) -> Result<(), Error> {
        if data.len() < PASS_THROUGH_BYTES {
            return self.write_slice(&data);
        }
        let mut pending = self.check_open(lock(&self.core.pending), data.len())?;
        self.hand_over(&mut pending)?;
        while !data.is_empty() {
            let slice = data.split_to(data.len().min(pending.chunk_bytes));
            pending.written += slice.len() as u64;
            pending.chunks_started += 1;
            self.core.queue.push(chunk::lease(slice, &self.core))?;
        }
        Ok(())
    }

    /// Hands the consumer what there is now, as a partial chunk; blocks while the buffer is full.
    ///
    /// # Errors
    /// As [`StreamWriter::write_slice`].
    pub fn flush_now(&self) -> Result<(), Error> {
        let mut pending = self.check_open(lock(&self.core.pending), 0)?;
        self.hand_over(&mut pending)
    }

    /// Changes the size of the chunks from the next one on; 0 counts as 1. A chunk that has
    /// reached the new size already goes out with the next write.
    pub fn set_chunk_bytes(&self, bytes: usize) {
        let mut pending = lock(&self.core.pending);
        pending.chunk_bytes = bytes.max(1);
        if let Some(chunk) = pending.chunk.take() {
            // The bytes move to a chunk of the new size, or of their own if they are more.
            let mut resized = ChunkBuf::new(pending.chunk_bytes.max(chunk.len() + 1));
            resized.append(chunk.filled());
            pending.chunk = Some(resized);
        }
    }

    /// Says whether the stream was stopped; costs one load. A source that computes for long
    /// without writing asks this now and then.
    pub fn is_stopped(&self) -> bool {
        self.core.queue.is_stopped()
    }

    /// Returns a token that tells of the stop anywhere: to another thread, task or callback.
    pub fn stop_token(&self) -> StopToken {
        StopToken {
            core: Arc::clone(&self.core),
        }
    }

    /// Runs a callback when the stream is stopped: see [`StopToken::on_stop`].
    pub fn on_stop(&self, callback: impl FnOnce(&Error) + Send + 'static) {
        self.core.on_stop(Box::new(callback));
    }

    /// Counts rows (or members) as written, for the record.
    pub fn add_rows(&self, rows: u64) {
        self.core.rows.fetch_add(rows, Ordering::Relaxed);
    }

    /// Says how many rows (or members) there will be, for the record.
    pub fn expect_rows(&self, rows: u64) {
        self.core.rows_expected.store(rows, Ordering::Relaxed);
    }

    /// Names the stream for logs.
    pub fn id(&self) -> StreamId {
        self.core.id
    }

    /// Returns what the caller named the stream.
    pub fn context(&self) -> &str {
        &self.core.settings.context
    }

    fn check_open<'a>(
        &self,
        pending: MutexGuard<'a, Pending>,
        bytes: usize,
    ) -> Result<MutexGuard<'a, Pending>, Error> {
        if pending.ended {
            return Err(Error::of_kind(ErrorKind::Ended));
        }
        self.core.queue.check_open()?;
        if pending.fits(bytes) {
            return Ok(pending);
        }
        let error = Error::new(
            ErrorKind::LengthMismatch,
            format!("more than the promised {} bytes", pending.written_max),
        );
        drop(pending);
        self.core.stop(error.clone());
        Err(error)
    }

    fn current_chunk<'a>(&self, pending: &'a mut Pending) -> &'a mut ChunkBuf {
        let chunk_bytes = pending.chunk_bytes;
        let started = &mut pending.chunks_started;
        pending.chunk.get_or_insert_with(|| {
            *started += 1;
            self.core.take_buffer(chunk_bytes)
        })
    }

    fn hand_over(&self, pending: &mut Pending) -> Result<(), Error> {
        match pending.chunk.take() {
            Some(chunk) if chunk.len() > 0 => self.core.queue.push(chunk.freeze(&self.core)),
            Some(_) | None => Ok(()),
        }
    }

    /// Ends the writing: hands over the last partial chunk and refuses every later write.
    /// Returns how many bytes were written.
    ///
    /// # Errors
    /// Why the stream was stopped.
    pub(crate) fn close(&self) -> Result<u64, Error> {
        let mut pending = lock(&self.core.pending);
        let handed_over = self.hand_over(&mut pending);
        pending.ended = true;
        handed_over.map(|()| pending.written)
    }
}

/// The watchdog's look at a source: hands over the partial chunk if it is the one that was there
/// at the last look. Never waits: a source that is writing right now needs no help, and a full
/// queue feeds the consumer already. Returns what it saw; `None` if the source was at work.
pub(crate) fn hand_over_if_idle(core: &Arc<StreamCore>, last: SourceMark) -> Option<SourceMark> {
    let mut pending = try_lock(&core.pending)?;
    let seen = SourceMark {
        chunks_started: pending.chunks_started,
        written: pending.written,
    };
    if seen.chunks_started == last.chunks_started
        && let Some(chunk) = pending.chunk.take_if(|chunk| chunk.len() > 0)
    {
        if core.queue.has_room_for(chunk.len()) {
            // Only the holder of this lock pushes, so the room is still there, or the stream was
            // stopped meanwhile and the chunk has nowhere to go.
            let _stopped = core.queue.try_push(chunk.freeze(core));
        } else {
            pending.chunk = Some(chunk);
        }
    }
    Some(seen)
}

impl io::Write for StreamWriter {
    #[inline]
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_slice(data)?;
        Ok(data.len())
    }

    #[inline]
    fn write_all(&mut self, data: &[u8]) -> io::Result<()> {
        Ok(self.write_slice(data)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(self.flush_now()?)
    }
}

impl io::Write for &StreamWriter {
    #[inline]
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_slice(data)?;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(self.flush_now()?)
    }
}

impl fmt::Debug for StreamWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamWriter")
            .field("id", &self.core.id)
            .finish_non_exhaustive()
    }
}

/// Tells of a stream's stop, from anywhere.
#[derive(Clone)]
pub struct StopToken {
    core: Arc<StreamCore>,
}

impl StopToken {
    /// Says whether the stream was stopped; costs one load.
    pub fn is_stopped(&self) -> bool {
        self.core.queue.is_stopped()
    }

    /// Resolves when the stream is stopped, with the reason; stays pending if it ends otherwise.
    pub fn stopped(&self) -> impl Future<Output = Error> + Send + use<> {
        let core = Arc::clone(&self.core);
        poll_fn(move |cx| core.queue.poll_stopped(cx))
    }

    /// Runs a callback once when the stream is stopped, at once if it was already; never if the
    /// stream ends otherwise. It runs on a thread made for it, so it may block (cancel a query,
    /// kill a child).
    pub fn on_stop(&self, callback: impl FnOnce(&Error) + Send + 'static) {
        self.core.on_stop(Box::new(callback));
    }
}

impl fmt::Debug for StopToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StopToken")
            .field("stopped", &self.is_stopped())
            .finish_non_exhaustive()
    }
}
