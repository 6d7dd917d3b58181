//! The source's end of a stream: accepts writes of any size and fills one chunk at a time.
//!
//! Called by the source on its own thread; calls `queue.rs::push`, which blocks while the consumer
//! is slow. The chunk being filled is in `pending.rs`. Only the thread holding the [`Turn`] may
//! hand chunks over. The turn is a lock that threads may wait for, and its holder has taken the chunk
//! being filled, so chunks enter the queue in the order of the writes. The watchdog takes the turn to
//! hand over what an idle source has left (`hand_over_if_idle`).

use std::{
    fmt, io,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
};

use bytes::Bytes;

use crate::{
    chunk::ChunkBuf,
    error::{Error, ErrorKind},
    lease::{lend_bytes, lend_chunk},
    pending::SourceMark,
    queue::End,
    record::StreamId,
    settings::EndOnStop,
    stop_token::{OnStopGuard, StopToken},
    stream_core::StreamCore,
    sync::{MutexGuard, lock, try_lock},
};

/// From this size on, `write_bytes` passes its buffer on instead of copying it. To copy 16 KiB
/// takes about a microsecond, which is what a separate chunk costs in locks and allocation.
const PASS_THROUGH_BYTES: usize = 16 * 1024;

/// The writer that a source receives: an [`io::Write`] whose `write` blocks while the buffer is
/// full.
///
/// | a source that | uses | because |
/// |---|---|---|
/// | writes rows, or through an encoder | `write_all`, `writeln!` | the same code writes to a `Vec<u8>` in a test |
/// | asks why a write has failed, or writes from several threads | [`write_slice`](Self::write_slice) | its [`Error`] has a kind, and it takes `&self` |
/// | has a large `Bytes` | [`write_bytes`](Self::write_bytes) | it is not copied |
/// | fails | `return Err(error)` | it needs nothing else |
/// | fails within what swallows errors, or with an [`Error`] of a certain kind | [`fail`](Self::fail) | it counts, whatever the source returns |
/// | tells an HTTP client why | `fail_with` of `datastreamer-http` | it is `fail` with a status |
///
/// `write_all` and `write_slice` do the same at the same cost.
///
/// Clones write to the same stream; the bytes of one write stay together. A clone used after the
/// source has returned gets [`ErrorKind::Ended`]. There is nothing to close: the stream ends when
/// the source returns, and it is complete only if the source returns successfully. Dropping a
/// writer does nothing.
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

/// The right to hand chunks over. Its holder has taken the chunk being filled, so no other write
/// can interleave; a partly filled chunk is put back when the turn is dropped.
struct Turn<'a> {
    core: &'a Arc<StreamCore>,
    chunk: Option<ChunkBuf>,
    _turn: MutexGuard<'a, ()>,
}

impl<'a> Turn<'a> {
    /// Waits for the turn. If another writer is blocked by a full queue, this blocks as long.
    fn take(core: &'a Arc<StreamCore>) -> Self {
        Self::with(core, lock(&core.pending.turn))
    }

    /// Takes the turn if it is free; never waits.
    fn try_take(core: &'a Arc<StreamCore>) -> Option<Self> {
        try_lock(&core.pending.turn).map(|turn| Self::with(core, turn))
    }

    fn with(core: &'a Arc<StreamCore>, turn: MutexGuard<'a, ()>) -> Self {
        Self {
            core,
            chunk: core.pending.filling.lock().chunk.take(),
            _turn: turn,
        }
    }

    /// Appends to the chunk and hands over each full one.
    fn append(&mut self, mut data: &[u8]) -> Result<(), Error> {
        while !data.is_empty() {
            let chunk = self.chunk.get_or_insert_with(|| start_chunk(self.core));
            data = &data[chunk.append(data)..];
            if chunk.room() == 0 {
                self.hand_over()?;
            }
        }
        Ok(())
    }

    /// Lends the chunk if it is not empty; returns it with the memory that it occupies.
    fn lend(&mut self) -> Option<(Bytes, usize)> {
        let chunk = self.chunk.take_if(|chunk| chunk.len() > 0)?;
        let memory_bytes = chunk.capacity();
        Some((lend_chunk(chunk, self.core), memory_bytes))
    }

    /// Hands over the chunk if it is not empty; blocks while the queue is full.
    fn hand_over(&mut self) -> Result<(), Error> {
        match self.lend() {
            Some((chunk, memory_bytes)) => self.core.queue.push(chunk, memory_bytes),
            None => Ok(()),
        }
    }

    /// Hands over the chunk if it is not empty; never waits. Only where there is room, or as the last
    /// one of the stream.
    fn hand_over_now(&mut self) -> Result<(), Error> {
        match self.lend() {
            Some((chunk, memory_bytes)) => self.core.queue.push_now(chunk, memory_bytes),
            None => Ok(()),
        }
    }

    /// Hands over the chunk if it is not empty; pending while the queue is full.
    fn poll_hand_over(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if let Some(chunk) = self.chunk.as_ref().filter(|chunk| chunk.len() > 0) {
            ready!(self.core.queue.poll_room(chunk.capacity(), cx));
            self.hand_over_now()?;
        }
        Poll::Ready(Ok(()))
    }

    /// Hands over the chunk if that is possible without waiting.
    fn try_hand_over(&mut self) {
        let has_room = |chunk: &ChunkBuf| self.core.queue.has_room_for(chunk.capacity());
        if self.chunk.as_ref().is_some_and(has_room) {
            // If the stream was stopped meanwhile, the chunk is dropped.
            let _stopped = self.hand_over_now();
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(chunk) = self.chunk.take() {
            self.core.pending.filling.lock().chunk = Some(chunk);
        }
    }
}

fn start_chunk(core: &StreamCore) -> ChunkBuf {
    core.pending.filling.lock().chunks_started += 1;
    core.take_buffer(core.queue.chunk_bytes())
}

impl StreamWriter {
    pub(crate) fn new(core: Arc<StreamCore>) -> Self {
        Self { core }
    }

    /// Writes all of `data`; blocks while the buffer is full.
    ///
    /// # Errors
    /// Why the stream was stopped; [`ErrorKind::Ended`] after the source's return;
    /// [`ErrorKind::LengthMismatch`] beyond the promised length, which fails the stream. After an
    /// error every further write fails as well and sends nothing.
    #[inline]
    pub fn write_slice(&self, data: &[u8]) -> Result<(), Error> {
        let queue = &self.core.queue;
        if !queue.is_stopped() && self.core.pending.filling.lock().append_within(data) {
            return Ok(());
        }
        self.begin(data.len())?.append(data)
    }

    /// Writes an owned buffer. A buffer of at least 16 KiB, or of at least a chunk,
    /// reaches the consumer without a copy, in slices of at most the chunk size; bytes written before
    /// it are handed over first, as a separate chunk.
    ///
    /// # Errors
    /// As [`StreamWriter::write_slice`].
    pub fn write_bytes(&self, mut data: Bytes) -> Result<(), Error> {
        if !self.passes_through(data.len()) {
            return self.write_slice(&data);
        }
        let slice_bytes = self.core.queue.chunk_bytes();
        let mut turn = self.begin(data.len())?;
        turn.hand_over()?;
        while !data.is_empty() {
            let slice = data.split_to(data.len().min(slice_bytes));
            let bytes = slice.len();
            self.core.queue.push(lend_bytes(slice, &self.core), bytes)?;
        }
        Ok(())
    }

    /// Hands over what has been written so far, as a partial chunk; blocks while the buffer is
    /// full.
    ///
    /// # Errors
    /// As [`StreamWriter::write_slice`].
    pub fn flush_now(&self) -> Result<(), Error> {
        self.core.note_flush();
        self.begin(0)?.hand_over()
    }

    /// Changes the size of further chunks; 0 counts as 1, more than half of the buffer as half. The
    /// chunk being filled continues at the new size. If it is full at that size it is handed over,
    /// which blocks while the buffer is full.
    pub fn set_chunk_bytes(&self, bytes: usize) {
        let mut turn = Turn::take(&self.core);
        self.core.queue.set_chunk_bytes(bytes.max(1));
        if let Some(chunk) = turn.chunk.take() {
            // The next write reports the stop.
            let _stopped = turn.append(chunk.filled());
        }
    }

    /// Returns whether the stream was stopped; costs one load. A source that computes for a long
    /// time without writing should check this regularly.
    pub fn is_stopped(&self) -> bool {
        self.core.queue.is_stopped()
    }

    /// Returns a token that reports the stop to another thread, task or callback.
    pub fn stop_token(&self) -> StopToken {
        StopToken::new(Arc::clone(&self.core))
    }

    /// Runs a callback when the stream is stopped, unless the guard is dropped before: see
    /// [`StopToken::on_stop`].
    pub fn on_stop(&self, callback: impl FnOnce(&Error) + Send + 'static) -> OnStopGuard {
        self.stop_token().on_stop(callback)
    }

    /// Fails the stream with an error and returns it: what was written so far is delivered, then the
    /// consumer is aborted, whatever the source returns. Every later write fails with the same error
    /// and sends nothing, so an encoder that writes a trailer when it is dropped cannot complete the
    /// file. The error's kind decides the outcome; one of a lost consumer
    /// ([`ErrorKind::HangUp`], [`ErrorKind::ConsumerFailed`], [`ErrorKind::ConsumerStalled`]) counts
    /// as a failure of the source. If the stream was stopped before, that reason stays, and is
    /// returned. Never blocks for longer than another thread's write.
    ///
    /// ```
    /// use datastreamer::{Error, stream_out};
    /// use std::io::{BufWriter, Write};
    /// let chunks = stream_out(|out| -> std::io::Result<()> {
    ///     let writer = out.clone();
    ///     let mut encoder = BufWriter::new(out); // writes what is left when it is dropped
    ///     encoder.write_all(b"a header")?;
    ///     Err(writer.fail(Error::source_failed("row 7: no such column")).into())
    /// });
    /// assert!(chunks.read_to_vec().is_err());
    /// ```
    pub fn fail(&self, error: Error) -> Error {
        let error = match error.kind() {
            ErrorKind::HangUp | ErrorKind::ConsumerFailed | ErrorKind::ConsumerStalled => {
                Error::source_failed(error)
            }
            _ => error,
        };
        let turn = Turn::take(&self.core);
        if self.core.pending.filling.lock().ended {
            return Error::of_kind(ErrorKind::Ended);
        }
        self.refuse(turn, error)
    }

    /// Adds to the number of rows (or members) written, for the record.
    pub fn add_rows(&self, rows: u64) {
        self.core.rows.fetch_add(rows, Ordering::Relaxed);
    }

    /// Sets how many rows (or members) are expected, for the record.
    pub fn expect_rows(&self, rows: u64) {
        self.core.rows_expected.store(rows, Ordering::Relaxed);
    }

    /// Promises the exact number of bytes, as
    /// [`StreamOptions::length`](crate::StreamOptions::length) does, for a source that learns the
    /// length only while it runs. Must be called before the first byte, so a consumer that waits
    /// for the first byte also sees the length.
    ///
    /// # Errors
    /// [`ErrorKind::LengthMismatch`] if a byte was written, another length was promised, or the
    /// stream has [`EndOnStop::Finish`](crate::EndOnStop::Finish); [`ErrorKind::Ended`] after the
    /// source's return; the reason of the stop if the stream was stopped.
    pub fn promise_length(&self, bytes: u64) -> Result<(), Error> {
        let _turn = self.begin(0)?;
        if self.core.pending.filling.lock().written > 0 {
            return Err(Error::new(
                ErrorKind::LengthMismatch,
                "a length was promised after the first byte",
            ));
        }
        promise(&self.core, bytes)
    }

    /// Returns the stream's identity, for logs.
    pub fn id(&self) -> StreamId {
        self.core.id
    }

    /// Returns the caller's name for the stream.
    pub fn context(&self) -> &str {
        &self.core.settings.context
    }

    /// Ready once the stream has its place in the pool, or will have none.
    fn poll_place(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self.core.source_has_started() {
            true => Poll::Ready(()),
            false => self.core.poll_admitted(cx),
        }
    }

    /// Writes what fits into the chunk being filled; pending while the queue has no room for a full
    /// one. Only the watchdog takes the turn beside an async writer, and it never waits.
    pub(crate) fn poll_write(
        &self,
        data: &[u8],
        cx: &mut Context<'_>,
    ) -> Poll<Result<usize, Error>> {
        let queue = &self.core.queue;
        if !queue.is_stopped() && self.core.pending.filling.lock().append_within(data) {
            return Poll::Ready(Ok(data.len()));
        }
        ready!(self.poll_place(cx));
        let mut turn = self.begin(0)?;
        if data.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if turn.chunk.as_ref().is_some_and(|chunk| chunk.room() == 0) {
            ready!(turn.poll_hand_over(cx))?;
        }
        let chunk = turn.chunk.get_or_insert_with(|| start_chunk(&self.core));
        let part = &data[..data.len().min(chunk.room())];
        if let Err(error) = self.count(part.len()) {
            return Poll::Ready(Err(self.refuse(turn, error)));
        }
        chunk.append(part);
        if chunk.room() == 0 {
            turn.try_hand_over();
        }
        Poll::Ready(Ok(part.len()))
    }

    /// Whether an owned buffer of so many bytes is worth chunks of its own.
    pub(crate) fn passes_through(&self, bytes: usize) -> bool {
        bytes >= PASS_THROUGH_BYTES.min(self.core.queue.chunk_bytes())
    }

    /// Takes at most a chunk of an owned buffer, without a copy.
    pub(crate) fn poll_pass(
        &self,
        data: &mut Bytes,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        ready!(self.poll_place(cx));
        let mut turn = self.begin(0)?;
        ready!(turn.poll_hand_over(cx))?;
        let bytes = data.len().min(self.core.queue.chunk_bytes());
        ready!(self.core.queue.poll_room(bytes, cx));
        if let Err(error) = self.count(bytes) {
            return Poll::Ready(Err(self.refuse(turn, error)));
        }
        let slice = lend_bytes(data.split_to(bytes), &self.core);
        Poll::Ready(self.core.queue.push_now(slice, bytes))
    }

    /// Hands over the chunk being filled; pending while the queue has no room for it.
    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.core.note_flush();
        self.begin(0)?.poll_hand_over(cx)
    }

    /// Hands over the chunk being filled if that is possible without waiting.
    pub(crate) fn hand_over_part(&self) {
        Turn::take(&self.core).try_hand_over();
    }

    /// Takes the turn for a write of this many bytes, and counts them as written.
    fn begin(&self, bytes: usize) -> Result<Turn<'_>, Error> {
        let turn = Turn::take(&self.core);
        if self.core.pending.filling.lock().ended {
            return Err(Error::of_kind(ErrorKind::Ended));
        }
        self.core.queue.check_open()?;
        match self.count(bytes) {
            Ok(()) => Ok(turn),
            Err(error) => Err(self.refuse(turn, error)),
        }
    }

    /// Counts bytes as written, if that many are left of the promised length.
    fn count(&self, bytes: usize) -> Result<(), Error> {
        let mut filling = self.core.pending.filling.lock();
        if filling.fits(bytes) {
            filling.written += bytes as u64;
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::LengthMismatch,
            format!("more than the promised {} bytes", filling.written_max),
        ))
    }

    /// Fails the stream. The bytes before the failure are valid, and are delivered before it.
    fn refuse(&self, mut turn: Turn<'_>, error: Error) -> Error {
        match turn.hand_over_now() {
            Ok(()) => {
                drop(turn);
                self.core.fail(&error)
            }
            Err(earlier) => earlier,
        }
    }

    /// Ends the writing: hands over the last partial chunk and refuses every later write. Returns
    /// how many bytes were written. Never waits for room.
    ///
    /// # Errors
    /// Why the stream was stopped.
    pub(crate) fn close(&self) -> Result<u64, Error> {
        let mut turn = Turn::take(&self.core);
        let handed_over = turn.hand_over_now();
        let mut filling = self.core.pending.filling.lock();
        filling.ended = true;
        handed_over.map(|()| filling.written)
    }
}

/// Promises a length for a source that may have begun to write, or has ended.
///
/// # Errors
/// [`ErrorKind::LengthMismatch`]: the source has written other bytes, another length was promised, or the
/// stream may end before its end.
pub(crate) fn promise(core: &StreamCore, bytes: u64) -> Result<(), Error> {
    let mismatch = |text: String| Err(Error::new(ErrorKind::LengthMismatch, text));
    if core.settings.end_on_stop == EndOnStop::Finish {
        return mismatch("a stream with EndOnStop::Finish cannot promise a length".into());
    }
    let mut filling = core.pending.filling.lock();
    let written = filling.written;
    if written > bytes || (filling.ended && written < bytes) {
        return mismatch(format!("{written} of the promised {bytes} bytes"));
    }
    if !core.set_length(bytes) && core.length() != Some(bytes) {
        let before = filling.written_max;
        return mismatch(format!(
            "{bytes} bytes were promised, but {before} bytes before"
        ));
    }
    filling.written_max = bytes;
    Ok(())
}

/// Ends the writing; returns how the stream ends after the source's result.
pub(crate) fn verdict(core: &Arc<StreamCore>, result: Result<(), Error>) -> End {
    let closed = StreamWriter::new(Arc::clone(core)).close();
    match result.and_then(|()| core.check_length(closed?)) {
        Ok(()) => End::Finish,
        Err(error) => End::Abort(error),
    }
}

/// The watchdog's check of a source: hands over the partial chunk if it is the same one as at the
/// last check; without a last check it only observes. Never waits: a source that is writing needs
/// no help, and if the queue is full the consumer has chunks to take. Returns the state that it
/// saw; `None` if a writer held the turn.
pub(crate) fn hand_over_if_idle(
    core: &Arc<StreamCore>,
    last: Option<SourceMark>,
) -> Option<SourceMark> {
    let mut turn = Turn::try_take(core)?;
    let seen = core.pending.filling.lock().mark();
    if last.is_some_and(|last| last.chunks_started == seen.chunks_started) {
        turn.try_hand_over();
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::{StreamOptions, reader::ChunkReader};
    use std::task::Poll;

    /// A writer and its reader without a thread, with room for everything that a test writes.
    fn stream(options: StreamOptions) -> (StreamWriter, ChunkReader) {
        let core = options.buffer_bytes(1 << 20).new_stream();
        (StreamWriter::new(Arc::clone(&core)), ChunkReader::new(core))
    }

    /// The chunks that are queued now.
    fn chunks(reader: &mut ChunkReader) -> Vec<Vec<u8>> {
        let mut chunks = Vec::new();
        while let Poll::Ready(Some(Ok(chunk))) = reader.try_next_chunk() {
            chunks.push(chunk.to_vec());
        }
        chunks
    }

    #[test]
    fn a_chunk_goes_out_when_it_is_full_and_not_before() {
        let (writer, mut reader) = stream(StreamOptions::new().chunk_bytes(4));
        writer.write_slice(b"abc").unwrap();
        assert!(chunks(&mut reader).is_empty());
        writer.write_slice(b"d").unwrap();
        assert_eq!(chunks(&mut reader), [b"abcd"]);
        writer.write_slice(b"efghijklm").unwrap();
        assert_eq!(chunks(&mut reader), [b"efgh", b"ijkl"]);
        assert_eq!(writer.close().unwrap(), 13);
        assert_eq!(chunks(&mut reader), [b"m"]);
    }

    #[test]
    fn a_flush_hands_over_the_part_and_nothing_when_there_is_none() {
        let (writer, mut reader) = stream(StreamOptions::new().chunk_bytes(4));
        writer.flush_now().unwrap();
        writer.write_slice(b"ab").unwrap();
        writer.flush_now().unwrap();
        writer.flush_now().unwrap();
        writer.write_slice(b"cdef").unwrap();
        assert_eq!(chunks(&mut reader), [b"ab".to_vec(), b"cdef".to_vec()]);
    }

    #[test]
    fn owned_bytes_go_behind_what_was_written_before_them() {
        let (writer, mut reader) = stream(StreamOptions::new().chunk_bytes(10_000));
        writer.write_slice(b"before").unwrap();
        writer.write_bytes(Bytes::from(vec![7; 25_000])).unwrap();
        writer.write_slice(b"after").unwrap();
        writer.close().unwrap();
        let sizes: Vec<usize> = chunks(&mut reader).iter().map(Vec::len).collect();
        assert_eq!(sizes, [6, 10_000, 10_000, 5000, 5]);
    }

    #[test]
    fn the_new_chunk_size_holds_for_what_is_already_written() {
        let (writer, mut reader) = stream(StreamOptions::new().chunk_bytes(10));
        writer.write_slice(b"abcdefghi").unwrap();
        writer.set_chunk_bytes(4);
        assert_eq!(chunks(&mut reader), [b"abcd", b"efgh"]);
        writer.set_chunk_bytes(3);
        writer.write_slice(b"jk").unwrap();
        assert_eq!(chunks(&mut reader), [b"ijk"]);
        writer.set_chunk_bytes(0);
        writer.write_slice(b"lm").unwrap();
        assert_eq!(chunks(&mut reader), [b"l", b"m"]);
    }

    #[test]
    fn a_length_can_be_promised_until_the_first_byte() {
        let (writer, mut reader) = stream(StreamOptions::new().chunk_bytes(4));
        assert_eq!(reader.bytes_left(), None);
        writer.promise_length(5).unwrap();
        writer.promise_length(5).unwrap();
        let kind = |result: Result<(), Error>| result.unwrap_err().kind();
        assert_eq!(kind(writer.promise_length(6)), ErrorKind::LengthMismatch);
        assert_eq!(reader.bytes_left(), Some(5));
        writer.write_slice(b"12345").unwrap();
        assert_eq!(kind(writer.promise_length(5)), ErrorKind::LengthMismatch);
        let chunk = reader.next_chunk_blocking().unwrap().unwrap();
        assert_eq!((&chunk[..], reader.bytes_left()), (&b"1234"[..], Some(1)));
        assert_eq!(kind(writer.write_slice(b"6")), ErrorKind::LengthMismatch);

        let (writer, _reader) = stream(StreamOptions::new());
        writer.write_slice(b"1").unwrap();
        assert_eq!(kind(writer.promise_length(1)), ErrorKind::LengthMismatch);
    }

    #[test]
    fn the_promised_length_can_be_filled_and_not_exceeded() {
        let (writer, _reader) = stream(StreamOptions::new().chunk_bytes(4).length(6));
        writer.write_slice(b"abcd").unwrap();
        writer.write_slice(b"ef").unwrap();
        writer.write_slice(b"").unwrap();
        for _ in 0..2 {
            let error = writer.write_slice(b"g").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::LengthMismatch);
        }
        assert_eq!(
            writer.write_slice(b"").unwrap_err().kind(),
            ErrorKind::LengthMismatch
        );
        let (writer, _reader) = stream(StreamOptions::new().length(20_000));
        let error = writer
            .write_bytes(Bytes::from(vec![7; 20_001]))
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LengthMismatch);
    }

    #[test]
    fn a_closed_writer_is_closed_for_its_clones() {
        let (writer, mut reader) = stream(StreamOptions::new().chunk_bytes(4));
        let clone = writer.clone();
        writer.close().unwrap();
        assert_eq!(
            clone.write_slice(b"abcdef").unwrap_err().kind(),
            ErrorKind::Ended
        );
        assert_eq!(clone.flush_now().unwrap_err().kind(), ErrorKind::Ended);
        clone.set_chunk_bytes(1);
        assert!(chunks(&mut reader).is_empty());
    }

    #[test]
    fn a_write_behind_a_stop_is_refused_although_it_would_fit() {
        let (writer, mut reader) = stream(StreamOptions::new().chunk_bytes(4));
        writer.write_slice(b"a").unwrap();
        writer.core.stop(Error::of_kind(ErrorKind::Stopped));
        for _ in 0..2 {
            let error = writer.write_slice(b"b").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Stopped);
        }
        assert!(chunks(&mut reader).is_empty());
    }

    #[test]
    fn every_flush_of_io_hands_over() {
        use std::io::Write;
        let (mut writer, mut reader) = stream(StreamOptions::new().chunk_bytes(4));
        writer.write_all(b"a").unwrap();
        writer.flush().unwrap();
        assert_eq!(chunks(&mut reader), [b"a"]);
        let mut shared = &writer;
        shared.write_all(b"b").unwrap();
        shared.flush().unwrap();
        assert_eq!(chunks(&mut reader), [b"b"]);
    }

    #[test]
    fn a_source_that_fails_with_the_error_of_a_lost_consumer_has_failed() {
        for kind in [
            ErrorKind::HangUp,
            ErrorKind::ConsumerFailed,
            ErrorKind::ConsumerStalled,
        ] {
            let (writer, mut reader) = stream(StreamOptions::new().chunk_bytes(4));
            writer.write_slice(b"a").unwrap();
            let told = writer.fail(Error::of_kind(kind));
            assert_eq!(told.kind(), ErrorKind::SourceFailed);
            assert_eq!(chunks(&mut reader), [b"a"], "{kind:?}: valid before it");
        }
    }

    #[test]
    fn a_part_is_handed_over_when_it_is_seen_for_the_second_time() {
        let (writer, mut reader) = stream(StreamOptions::new().chunk_bytes(4));
        let look = |last| hand_over_if_idle(&writer.core, Some(last)).unwrap();
        writer.write_slice(b"a").unwrap();
        let first = look(SourceMark::default());
        assert!(chunks(&mut reader).is_empty(), "it may be full in a moment");
        writer.write_slice(b"b").unwrap();
        let second = look(first);
        assert_eq!(chunks(&mut reader), [b"ab"]);
        assert_eq!(look(second), second, "nothing is there");
        writer.write_slice(b"cdefg").unwrap();
        let third = look(second);
        assert_ne!(third, second, "the source has moved");
        assert_eq!(chunks(&mut reader), [b"cdef"]);
        // Only observed, never handed over.
        assert_eq!(hand_over_if_idle(&writer.core, None), Some(third));
        assert!(chunks(&mut reader).is_empty());
    }

    #[test]
    fn a_source_at_work_is_left_alone() {
        let (writer, _reader) = stream(StreamOptions::new());
        let _at_work = Turn::take(&writer.core);
        assert_eq!(hand_over_if_idle(&writer.core, None), None);
    }
}
