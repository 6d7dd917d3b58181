//! The handle on a running stream: its record, its stop and its end, from any thread.
//!
//! Made by `reader.rs`, `push/` and the pool; calls `stream_core.rs`.

use std::{
    fmt,
    future::{Future, poll_fn},
    sync::Arc,
    task::{Context, Poll},
};

use crate::{
    block_on::block_on,
    error::Error,
    pool::StreamPool,
    record::{Record, StreamId},
    stop_token::StopToken,
    stream_core::StreamCore,
    writer,
};

/// A handle on a stream: reads its record, and pauses, resumes or stops it from any thread.
/// Dropping it does nothing.
///
/// ```
/// use datastreamer::{Error, ErrorKind, Outcome, stream_out};
/// use datastreamer::push::Producer;
/// let chunks = stream_out(|out| -> Result<(), Error> {
///     loop {
///         out.write_slice(b"for ever")?;
///     }
/// });
/// let handle = chunks.handle();
/// handle.pause_producing(); // the reader receives nothing
/// handle.resume_producing(); // and then continues where it was
/// handle.stop(Error::new(ErrorKind::Stopped, "enough"));
/// assert!(chunks.read_to_vec().is_err()); // receives what was written, then the abort
/// let record = handle.wait();
/// assert_eq!(record.outcome, Some(Outcome::Cancelled));
/// ```
#[derive(Clone)]
pub struct StreamHandle {
    core: Arc<StreamCore>,
}

impl StreamHandle {
    pub(crate) fn new(core: Arc<StreamCore>) -> Self {
        Self { core }
    }

    pub(crate) fn core(&self) -> &Arc<StreamCore> {
        &self.core
    }

    /// Returns the stream's identity.
    pub fn id(&self) -> StreamId {
        self.core.id
    }

    /// Returns the stream's record as it is now.
    pub fn record(&self) -> Record {
        self.core.record()
    }

    /// Returns what broke the stream off, its source's failure or a stop, if anything has: the
    /// [`error`](Record::error) of its record.
    pub fn error(&self) -> Option<Error> {
        self.core.queue.cause()
    }

    /// Stops the stream with a reason. The source's next write fails with this reason. A consumer
    /// that is still connected receives what is queued and is then aborted with the reason. With a
    /// reason of kind [`crate::ErrorKind::Stopped`] and [`crate::EndOnStop::Finish`] it is finished
    /// instead; with one of kind [`crate::ErrorKind::HangUp`] or
    /// [`crate::ErrorKind::ConsumerFailed`] it receives nothing more.
    pub fn stop(&self, reason: Error) {
        self.core.stop(reason);
    }

    /// Promises the exact number of bytes in place of the source, which may have begun to write: for a
    /// consumer that has told its client how many will come. A source that writes others fails with
    /// [`ErrorKind::LengthMismatch`](crate::ErrorKind::LengthMismatch).
    ///
    /// # Errors
    /// [`ErrorKind::LengthMismatch`](crate::ErrorKind::LengthMismatch) if the source has written more, or
    /// has ended and written less; if another length was promised before; if the stream has
    /// [`EndOnStop::Finish`](crate::EndOnStop::Finish). The stream is not stopped.
    pub fn promise_length(&self, bytes: u64) -> Result<(), Error> {
        writer::promise(&self.core, bytes)
    }

    /// Reports that the consumer has made progress with a chunk that it still holds, so it has not
    /// stalled. Without this call, a consumer that needs longer than
    /// [`crate::StreamOptions::consumer_stall`] for one chunk counts as stalled. Costs one atomic
    /// addition.
    pub fn note_progress(&self) {
        self.core.queue.note_progress();
    }

    /// Returns whether the source has flushed its writer ([`crate::StreamWriter::flush_now`]) at least
    /// once.
    pub fn was_flushed(&self) -> bool {
        self.core.was_flushed()
    }

    /// Returns a token that reports the stop.
    pub fn stop_token(&self) -> StopToken {
        StopToken::new(Arc::clone(&self.core))
    }

    /// Polls for the stop; `None`: source and consumer are done without a stop.
    pub fn poll_stopped(&self, cx: &mut Context<'_>) -> Poll<Option<Error>> {
        self.core.queue.poll_stopped(cx)
    }

    /// Resolves when the stream has its place in the pool, or has ended without one.
    pub fn admitted(&self) -> impl Future<Output = ()> + Send + use<> {
        let core = Arc::clone(&self.core);
        poll_fn(move |cx| core.poll_admitted(cx))
    }

    /// Resolves with the reason when a stop has made it certain that the consumer will be aborted.
    /// For consumers that can skip what is still queued. A stop that finishes the consumer
    /// ([`crate::EndOnStop::Finish`]) does not count, unless the consumer stalls before the finish.
    /// `None`: source and consumer are done without such a stop.
    pub fn broken_off(&self) -> impl Future<Output = Option<Error>> + Send + use<> {
        let core = Arc::clone(&self.core);
        poll_fn(move |cx| core.queue.poll_broken_off(cx))
    }

    /// Resolves with the final record when source and consumer are both done.
    pub fn ended(&self) -> impl Future<Output = Record> + Send + use<> {
        let handle = self.clone();
        poll_fn(move |cx| handle.poll_ended(cx))
    }

    pub(crate) fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<Record> {
        self.core.queue.poll_done(cx).map(|()| self.record())
    }

    pub(crate) fn has_hung_up(&self) -> bool {
        self.core.queue.has_hung_up()
    }

    /// Blocks until source and consumer are both done; returns the final record.
    pub fn wait(&self) -> Record {
        block_on(|cx| self.core.queue.poll_done(cx));
        self.core.record()
    }
}

impl fmt::Debug for StreamHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamHandle")
            .field("record", &self.record())
            .finish()
    }
}

impl StreamPool {
    /// Returns handles on all streams that are not done, in no particular order.
    pub fn streams(&self) -> Vec<StreamHandle> {
        self.live_streams()
            .into_iter()
            .map(StreamHandle::new)
            .collect()
    }
}
