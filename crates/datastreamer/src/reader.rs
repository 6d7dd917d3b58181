//! The consumer's end of a stream, pull side: poll, await or block for the next chunk.
//!
//! Called by `body.rs`, `stream.rs`, `async_read.rs` and `push/`; calls `queue.rs::poll_pop`.
//! Dropping a reader before the end is a hang-up.

use std::{
    fmt,
    future::poll_fn,
    io::Write,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;

use crate::{
    async_source,
    block_on::block_on,
    error::{Error, ErrorKind},
    handle::StreamHandle,
    stream_core::StreamCore,
};

/// The consumer's end of a stream: yields chunks in order, then a clean end or an error. After
/// either it yields nothing.
///
/// ```
/// let chunks = datastreamer::stream_out(|out| {
///     out.write_slice(b"valid ")?;
///     Err::<(), Box<dyn std::error::Error + Send + Sync>>("row 7: no such column".into())
/// });
/// for chunk in chunks {
///     match chunk {
///         Ok(bytes) => assert_eq!(bytes, "valid "),
///         Err(error) => assert_eq!(error.to_string(), "the source failed: row 7: no such column"),
///     }
/// }
/// ```
///
/// Features add interfaces: `http_body::Body` (`http-body`), `futures_core::Stream` (`futures`),
/// tokio's `AsyncRead` (`tokio`) and an axum response (`axum`). Without any feature,
/// [`IntoIterator`] blocks for each chunk.
///
/// **Dropping it** before the end is a hang-up: the source is notified at once, and queued chunks
/// are discarded.
///
/// If the length was promised ([`crate::StreamOptions::length`]), the last byte is delivered only
/// after the source has succeeded. So a consumer that counts bytes never takes a failed stream for
/// a complete file.
#[must_use = "dropping the reader stops the source"]
pub struct ChunkReader {
    core: Arc<StreamCore>,
    /// The last bytes, held back until the source's result is known (known length only).
    held_back: Option<Bytes>,
    /// The rest of the last chunk that a byte-wise reader has not taken.
    partly_read: Bytes,
    bytes_taken: u64,
    confirms: Confirms,
    end: EndState,
    /// The error that has been returned: a byte-wise reader returns it again.
    failure: Option<Error>,
}

/// Which ends count only once the caller confirms them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Confirms {
    None,
    /// See `hold_verdict`.
    Clean,
    /// See `hold_end`.
    Any,
}

/// What has become of the end; a reader that is dropped before it counts has hung up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EndState {
    /// It has not been returned.
    ToCome,
    /// The clean end has been returned, and counts once the last chunk has been read completely.
    Due,
    /// It has been returned, and counts once the caller confirms it.
    Held,
    Counts,
}

impl ChunkReader {
    pub(crate) fn new(core: Arc<StreamCore>) -> Self {
        Self {
            core,
            held_back: None,
            partly_read: Bytes::new(),
            bytes_taken: 0,
            confirms: Confirms::None,
            end: EndState::ToCome,
            failure: None,
        }
    }

    /// Polls for the next chunk: `None` is the clean end, an error is an abort.
    ///
    /// Chunks hold at most the stream's chunk size and are never empty. Never blocks.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        let next = ready!(self.poll_partly(cx));
        self.put_back(Bytes::new());
        Poll::Ready(next)
    }

    /// Polls for the next chunk; the caller must return what it does not use of it: see `put_back`.
    pub(crate) fn poll_partly(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Error>>> {
        if !self.partly_read.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.partly_read))));
        }
        while self.end == EndState::ToCome {
            match ready!(self.poll_queue(cx)) {
                Some(Ok(chunk)) if self.is_last_of_promised(&chunk) => {
                    self.held_back = Some(chunk);
                }
                Some(Ok(chunk)) => return Poll::Ready(Some(Ok(self.hand_out(chunk)))),
                Some(Err(error)) => match self.valid_before(&error) {
                    Some(valid) => return Poll::Ready(Some(Ok(self.hand_out(valid)))),
                    None => {
                        self.end = EndState::Held;
                        self.failure = Some(error.clone());
                        if self.confirms != Confirms::Any {
                            self.end_consumer();
                        }
                        return Poll::Ready(Some(Err(error)));
                    }
                },
                None => {
                    let last = self.held_back.take();
                    self.end = match self.confirms {
                        Confirms::None => EndState::Due,
                        Confirms::Clean | Confirms::Any => EndState::Held,
                    };
                    return Poll::Ready(last.map(|chunk| Ok(self.hand_out(chunk))));
                }
            }
        }
        Poll::Ready(None)
    }

    /// Polls the queue; if it has nothing, an async source gets its turn first.
    fn poll_queue(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        let mut next = self.core.queue.poll_pop(cx);
        if next.is_pending() && async_source::poll_source(&self.core, cx) {
            next = self.core.queue.poll_pop(cx);
        }
        if let Poll::Ready(None | Some(Err(_))) = &next {
            // Whoever has seen the end may keep the reader, but not the source.
            self.core.dismiss_source();
        }
        next
    }

    fn is_last_of_promised(&self, chunk: &Bytes) -> bool {
        self.core
            .length()
            .is_some_and(|length| self.bytes_taken + chunk.len() as u64 >= length)
    }

    /// Returns all but the last byte of what is held back; nothing if the consumer has
    /// disconnected.
    fn valid_before(&mut self, error: &Error) -> Option<Bytes> {
        let held = self.held_back.take();
        let mut held = held.filter(|_| !error.is_consumers_loss())?;
        held.truncate(held.len() - 1);
        (!held.is_empty()).then_some(held)
    }

    fn hand_out(&mut self, chunk: Bytes) -> Bytes {
        self.bytes_taken += chunk.len() as u64;
        chunk
    }

    /// Records that the consumer is done with the end.
    pub(crate) fn end_consumer(&mut self) {
        if self.end != EndState::ToCome {
            self.end = EndState::Counts;
        }
        self.core.end_consumer();
    }

    /// Makes any end count only once `end_consumer` is called: a push consumer must have been
    /// finished or aborted before the stream is reported as done.
    pub(crate) fn hold_end(&mut self) {
        self.confirms = Confirms::Any;
    }

    /// Makes the clean end count only once [`ChunkReader::confirm`] is called: for consumers that
    /// know exactly when a file has arrived, which may be later than when the last chunk was taken.
    /// Dropping a reader before the confirmation is a hang-up.
    pub fn hold_verdict(&mut self) {
        if self.confirms == Confirms::None {
            self.confirms = Confirms::Clean;
        }
    }

    /// Confirms that the complete file has arrived. The stream then counts as complete even if it
    /// was stopped after the clean end had been returned. Does nothing before the clean end, or
    /// without [`ChunkReader::hold_verdict`].
    pub fn confirm(&mut self) {
        if self.end == EndState::Held {
            self.end_consumer();
        }
    }

    /// Waits for the first chunk or the end, and returns the reader with every byte still in it. So a
    /// caller can look whether the stream begins well before it commits itself, for example to another
    /// store.
    ///
    /// For a response take `Download` of `datastreamer-http`, which waits too: an `http_body::Body` cannot
    /// make a later failure visible to every client (curl and wget take the end of a connection for the end
    /// of a file), unless its connection is armed and its server guards it, as `Serve` there does.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), datastreamer::Error> {
    /// let chunks = datastreamer::stream_out(|out| out.write_slice(b"a file")).ready().await?;
    /// assert_eq!(chunks.read_to_vec()?, b"a file");
    /// let refused = datastreamer::stream_out(|_| Err::<(), _>("no such table"));
    /// assert!(refused.ready().await.is_err());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Why the stream failed before its first byte.
    pub async fn ready(mut self) -> Result<Self, Error> {
        if let Some(chunk) = poll_fn(|cx| self.poll_partly(cx)).await.transpose()? {
            self.partly_read = chunk;
        }
        Ok(self)
    }

    /// Returns the error that the stream has ended with, once it has been returned.
    #[cfg(feature = "tokio")]
    pub(crate) fn failure(&self) -> Option<&Error> {
        self.failure.as_ref()
    }

    /// Awaits the next chunk; `None` is the clean end. Cancel-safe: no chunk is lost when the
    /// future is dropped.
    pub async fn next_chunk(&mut self) -> Option<Result<Bytes, Error>> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// Blocks for the next chunk; `None` is the clean end.
    pub fn next_chunk_blocking(&mut self) -> Option<Result<Bytes, Error>> {
        block_on(|cx| self.poll_chunk(cx))
    }

    /// Returns the next chunk if it is available now, otherwise `Pending`. Never blocks.
    pub fn try_next_chunk(&mut self) -> Poll<Option<Result<Bytes, Error>>> {
        self.poll_chunk(&mut Context::from_waker(Waker::noop()))
    }

    /// Blocks until the end and returns the complete file: for small files and tests.
    ///
    /// # Errors
    /// Why the stream failed.
    pub fn read_to_vec(self) -> Result<Vec<u8>, Error> {
        let mut all = Vec::new();
        for chunk in self {
            all.extend_from_slice(&chunk?);
        }
        Ok(all)
    }

    /// Writes the complete stream to `consumer`, blocking, then flushes it; returns the bytes written.
    /// Only `Ok` means that the consumer has the complete file.
    ///
    /// # Errors
    /// Why the stream failed, or [`ErrorKind::ConsumerFailed`] with the consumer's own error, in
    /// which case the source is stopped with that error.
    pub fn write_to(mut self, consumer: &mut impl Write) -> Result<u64, Error> {
        self.hold_verdict();
        let mut bytes = 0;
        while let Some(chunk) = self.next_chunk_blocking() {
            let chunk = chunk?;
            consumer
                .write_all(&chunk)
                .map_err(|error| self.consumer_failed(error))?;
            bytes += chunk.len() as u64;
        }
        consumer
            .flush()
            .map_err(|error| self.consumer_failed(error))?;
        self.confirm();
        Ok(bytes)
    }

    pub(crate) fn consumer_failed(&self, error: std::io::Error) -> Error {
        let error = Error::consumer_failed(error);
        self.core.stop(error.clone());
        error
    }

    /// Keeps the rest of a chunk for the next poll. If there is no rest, an end that has been
    /// returned counts from now on.
    pub(crate) fn put_back(&mut self, rest: Bytes) {
        self.partly_read = rest;
        if self.end == EndState::Due && self.partly_read.is_empty() {
            self.end_consumer();
        }
    }

    /// Returns whether the source runs in the polls of this reader: an async source. It makes no byte
    /// that is not asked for, so a consumer that does not poll costs nothing more.
    pub fn drives_source(&self) -> bool {
        self.core.async_source.is_known()
    }

    /// Returns a handle to read the record, pause, resume and stop.
    pub fn handle(&self) -> StreamHandle {
        StreamHandle::new(Arc::clone(&self.core))
    }

    /// Returns how many bytes are still to come, if the length was promised.
    pub fn bytes_left(&self) -> Option<u64> {
        let taken = self.bytes_taken - self.partly_read.len() as u64;
        self.core.length().map(|length| length - taken)
    }

    /// Returns whether the end, clean or not, has been returned.
    pub fn is_over(&self) -> bool {
        self.end != EndState::ToCome && self.partly_read.is_empty()
    }

    /// Reports a hang-up with a specific reason.
    pub fn hang_up(self, reason: impl Into<String>) {
        self.core.stop(Error::new(ErrorKind::HangUp, reason));
    }
}

impl Drop for ChunkReader {
    fn drop(&mut self) {
        if self.end != EndState::Counts {
            self.core.hang_up();
            self.core.end_consumer();
        }
    }
}

impl fmt::Debug for ChunkReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkReader")
            .field("id", &self.core.id)
            .field("bytes_taken", &self.bytes_taken)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

/// A blocking iterator over the chunks. An error is the last item.
#[derive(Debug)]
pub struct BlockingChunks(ChunkReader);

impl Iterator for BlockingChunks {
    type Item = Result<Bytes, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next_chunk_blocking()
    }
}

impl IntoIterator for ChunkReader {
    type Item = Result<Bytes, Error>;
    type IntoIter = BlockingChunks;

    fn into_iter(self) -> BlockingChunks {
        BlockingChunks(self)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::{Outcome, StreamOptions, queue::End, writer::StreamWriter};

    /// A reader of which the test itself is the source.
    fn stream(options: StreamOptions) -> (Arc<StreamCore>, StreamWriter, ChunkReader) {
        let core = options.chunk_bytes(4).new_stream();
        let writer = StreamWriter::new(Arc::clone(&core));
        (Arc::clone(&core), writer, ChunkReader::new(core))
    }

    fn next(reader: &mut ChunkReader) -> Poll<Option<Result<Vec<u8>, ErrorKind>>> {
        reader.try_next_chunk().map(|next| {
            next.map(|chunk| match chunk {
                Ok(chunk) => Ok(chunk.to_vec()),
                Err(error) => Err(error.kind()),
            })
        })
    }

    fn chunk(bytes: &[u8]) -> Poll<Option<Result<Vec<u8>, ErrorKind>>> {
        Poll::Ready(Some(Ok(bytes.to_vec())))
    }

    #[test]
    fn the_last_chunk_of_a_promised_length_waits_for_the_verdict() {
        let (core, writer, mut reader) = stream(StreamOptions::new().length(6));
        writer.write_slice(b"abcdef").unwrap();
        writer.flush_now().unwrap();
        assert_eq!(next(&mut reader), chunk(b"abcd"));
        assert_eq!(next(&mut reader), Poll::Pending);
        assert_eq!(reader.bytes_left(), Some(2));
        core.end_source(End::Finish);
        assert_eq!(next(&mut reader), chunk(b"ef"));
        assert!(reader.is_over());
        assert_eq!(reader.bytes_left(), Some(0));
        assert_eq!(core.record().outcome, Some(Outcome::Complete));
        assert_eq!(next(&mut reader), Poll::Ready(None));
    }

    #[test]
    fn a_failure_withholds_the_last_byte_of_a_promised_length() {
        let failed = || End::Abort(Error::of_kind(ErrorKind::SourceFailed));
        let (core, writer, mut reader) = stream(StreamOptions::new().length(6));
        writer.write_slice(b"abcdef").unwrap();
        writer.flush_now().unwrap();
        core.end_source(failed());
        assert_eq!(next(&mut reader), chunk(b"abcd"));
        assert_eq!(next(&mut reader), chunk(b"e"));
        let error = Poll::Ready(Some(Err(ErrorKind::SourceFailed)));
        assert_eq!(next(&mut reader), error);
        assert_eq!(next(&mut reader), Poll::Ready(None));
        // One byte in the last chunk: nothing of it.
        let (core, writer, mut reader) = stream(StreamOptions::new().length(1));
        writer.write_slice(b"a").unwrap();
        writer.flush_now().unwrap();
        core.end_source(failed());
        assert_eq!(next(&mut reader), error);
    }

    #[cfg(feature = "tokio")]
    #[test]
    fn what_is_put_back_comes_first_and_is_not_the_end() {
        let (core, writer, mut reader) = stream(StreamOptions::new().length(4));
        writer.write_slice(b"abcd").unwrap();
        core.end_source(End::Finish);
        assert_eq!(next(&mut reader), chunk(b"abcd"));
        reader.put_back(Bytes::from_static(b"cd"));
        assert!(!reader.is_over());
        assert_eq!(reader.bytes_left(), Some(2));
        assert_eq!(next(&mut reader), chunk(b"cd"));
        assert!(reader.is_over());
    }

    #[test]
    fn dropping_a_reader_is_a_hang_up_before_the_end_and_nothing_after() {
        let (core, writer, reader) = stream(StreamOptions::new());
        drop(reader);
        assert_eq!(
            writer.write_slice(b"x").unwrap_err().kind(),
            ErrorKind::HangUp
        );
        assert_eq!(core.record().outcome, Some(Outcome::ClientGone));

        let (core, _writer, mut reader) = stream(StreamOptions::new());
        core.end_source(End::Finish);
        assert_eq!(next(&mut reader), Poll::Ready(None));
        drop(reader);
        assert_eq!(core.record().outcome, Some(Outcome::Complete));
    }

    #[test]
    fn a_verdict_that_is_held_stays_held_whenever_the_caller_asks_for_it() {
        for confirms in [true, false] {
            let (core, _writer, mut reader) = stream(StreamOptions::new());
            reader.hold_verdict();
            core.end_source(End::Finish);
            assert_eq!(next(&mut reader), Poll::Ready(None));
            reader.hold_verdict();
            assert!(!core.queue.snapshot().is_done, "nobody has confirmed it");
            if confirms {
                reader.confirm();
            }
            drop(reader);
            let outcome = if confirms {
                Outcome::Complete
            } else {
                Outcome::ClientGone
            };
            assert!(core.queue.snapshot().is_done, "it keeps its place");
            assert_eq!(core.record().outcome, Some(outcome));
        }
    }

    #[test]
    fn a_verdict_cannot_be_held_behind_the_end() {
        let (core, _writer, mut reader) = stream(StreamOptions::new());
        core.end_source(End::Finish);
        assert_eq!(next(&mut reader), Poll::Ready(None));
        reader.hold_verdict();
        drop(reader);
        assert_eq!(core.record().outcome, Some(Outcome::Complete));
    }

    #[test]
    fn a_dropped_reader_takes_its_queue_along() {
        let (core, writer, reader) = stream(StreamOptions::new());
        writer.write_slice(b"abcdefgh").unwrap();
        drop(reader);
        drop(writer);
        // The chunks in the queue own the stream: were they left there, it would own itself.
        assert_eq!(Arc::strong_count(&core), 1);
    }
}
