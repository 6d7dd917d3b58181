//! The state that the two ends of a stream share, from its start until both are done.
//!
//! `streamer.rs` makes it; writer, reader, handle and watchdog act through it; it calls `queue.rs`.
//! It ends exactly once, and then gives its place back to the pool. The pool in turn ends the
//! streams that get no place: these two files call each other.

use std::{
    mem::take,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant, SystemTime},
};

use crate::{
    chunk::ChunkBuf,
    depth::Depth,
    error::{Error, ErrorKind},
    foreign::{poll_or_wait, run_elsewhere, wake},
    outcome::{BlockedOn, Outcome},
    parked::{AsyncSource, Parked},
    pending::Pending,
    pool::{Slot, StreamPool},
    queue::{End, Queue, Stopping},
    record::{Record, StreamId},
    settings::Settings,
    stop_callback::StopCallback,
    sync::{Mutex, lock, std_lock},
};

/// The state that the two ends of a stream share.
pub(crate) struct StreamCore {
    pub(crate) id: StreamId,
    pub(crate) settings: Settings,
    pub(crate) queue: Queue,
    /// The writer's chunk; see `pending.rs`.
    pub(crate) pending: Pending,
    pub(crate) async_source: AsyncSource,
    pub(crate) pool: StreamPool,
    /// The promised length, in bytes: set before the first byte or never.
    length: OnceLock<u64>,
    pub(crate) rows: AtomicU64,
    /// `u64::MAX`: unknown.
    pub(crate) rows_expected: AtomicU64,
    source_started: AtomicBool,
    source_ended: AtomicBool,
    flushed: AtomicBool,
    /// Empty chunks, kept to be filled again.
    spare: std::sync::Mutex<Vec<ChunkBuf>>,
    started: SystemTime,
    started_at: Instant,
    /// Set once source and consumer are done.
    duration: OnceLock<Duration>,
    place: Mutex<Place>,
}

/// A stream's place in the pool, and the wakers and streams that wait for it.
#[derive(Default)]
struct Place {
    /// Returned to the pool when source and consumer are done, in this stream and in the streams
    /// that share the place.
    slot: Option<Arc<Slot>>,
    /// The stream has received its place, or will receive none.
    decided: bool,
    wakers: Vec<Waker>,
    sharing: Vec<Sharing>,
}

/// Runs once there is a place, or once it is known why there will be none. `None`: the place of a
/// stream that has ended.
pub(crate) type Sharing = Box<dyn FnOnce(Result<Option<Arc<Slot>>, Error>) + Send>;

impl StreamCore {
    pub(crate) fn new(settings: Settings, pool: StreamPool) -> Arc<Self> {
        let depth = Depth::new(settings.buffer, settings.chunk, pool.reserve());
        Arc::new(Self {
            id: StreamId::next(),
            queue: Queue::new(depth, settings.end_on_stop),
            pending: Pending::new(settings.length),
            async_source: AsyncSource::default(),
            length: settings.length.map_or_else(OnceLock::new, OnceLock::from),
            pool,
            rows: AtomicU64::new(0),
            rows_expected: AtomicU64::new(u64::MAX),
            source_started: AtomicBool::new(false),
            source_ended: AtomicBool::new(false),
            flushed: AtomicBool::new(false),
            spare: std::sync::Mutex::default(),
            started: SystemTime::now(),
            started_at: Instant::now(),
            duration: OnceLock::new(),
            place: Mutex::default(),
            settings,
        })
    }

    // ---- memory ----

    pub(crate) fn take_buffer(&self, chunk_bytes: usize) -> ChunkBuf {
        let spare = std_lock(&self.spare).pop();
        spare
            .filter(|chunk| chunk.capacity() == chunk_bytes)
            .unwrap_or_else(|| ChunkBuf::new(chunk_bytes))
    }

    /// Takes back memory that the consumer has released.
    pub(crate) fn release(&self, bytes: usize, chunk: Option<ChunkBuf>) {
        if let Some(mut chunk) = chunk {
            chunk.clear();
            let depth_bytes = self.queue.depth_bytes();
            let mut spare = std_lock(&self.spare);
            // A consumer that collected chunks, or became slow, returns more chunks than the stream
            // will need; a source that has ended needs none. This is checked under the lock,
            // because the end of the source empties the list of spare chunks.
            let needed = !self.source_ended.load(Ordering::Acquire);
            if needed && spare.len() * chunk.capacity() < depth_bytes {
                spare.push(chunk);
            }
        }
        self.queue.release(bytes);
    }

    // ---- endings ----

    pub(crate) fn length(&self) -> Option<u64> {
        self.length.get().copied()
    }

    /// Sets the promised length; returns whether none was set before.
    pub(crate) fn set_length(&self, bytes: u64) -> bool {
        self.length.set(bytes).is_ok()
    }

    pub(crate) fn check_length(&self, written: u64) -> Result<(), Error> {
        match self.length() {
            Some(length) if written != length => Err(Error::new(
                ErrorKind::LengthMismatch,
                format!("{written} of the promised {length} bytes"),
            )),
            _ => Ok(()),
        }
    }

    /// Ends the source's side.
    pub(crate) fn end_source(&self, end: End) {
        self.source_ended.store(true, Ordering::Release);
        let no_place = match &end {
            End::Finish => Ok(None),
            End::Abort(error) => Err(error.clone()),
        };
        let done = self.queue.end(end);
        std_lock(&self.spare).clear();
        self.decide_place(no_place);
        if done {
            self.done();
        }
    }

    /// Ends the consumer's side: it has seen the end, or is gone.
    pub(crate) fn end_consumer(&self) {
        if self.queue.consumer_done() {
            self.done();
        }
    }

    pub(crate) fn stop(self: &Arc<Self>, error: Error) {
        if let Some(stopping) = self.queue.stop(&error) {
            self.finish_stop(stopping, error);
            // Not with what else is dropped: the place of the stream waits for this drop.
            if let Some(source) = self.async_source.take_dismissed() {
                let core = Arc::clone(self);
                run_elsewhere("datastreamer-drop", move || core.discard_source(source));
            }
        }
    }

    /// Stops the stream because its reader was dropped: in the reader's context, which is also that
    /// of an async source.
    pub(crate) fn hang_up(&self) {
        let error = Error::of_kind(ErrorKind::HangUp);
        if let Some(stopping) = self.queue.stop(&error) {
            self.finish_stop(stopping, error);
        }
        self.dismiss_source();
    }

    /// Drops the async source, if there is one that nobody polls, in the caller's context.
    pub(crate) fn dismiss_source(&self) {
        if let Some(source) = self.async_source.take_dismissed() {
            self.discard_source(source);
        }
    }

    /// Drops an async source that will never be polled again, and ends its side.
    pub(crate) fn discard_source(&self, source: Parked) {
        source.discard();
        self.end_source(End::Abort(Error::of_kind(ErrorKind::HangUp)));
    }

    /// Stops the stream because its source has failed; returns why it was stopped.
    pub(crate) fn fail(&self, error: &Error) -> Error {
        if let Some(stopping) = self.queue.fail(error) {
            self.finish_stop(stopping, error.clone());
        }
        let stopped = self.queue.check_open();
        stopped.err().unwrap_or_else(|| error.clone())
    }

    fn finish_stop(&self, stopping: Stopping, error: Error) {
        if self.pool.forget_waiting(self.id) {
            self.end_source(End::Abort(error.clone()));
        }
        if stopping.is_done {
            self.done();
        }
        if !stopping.callbacks.is_empty() {
            run_callbacks(stopping.callbacks, error);
        }
    }

    pub(crate) fn on_stop(&self, call: impl FnOnce(&Error) + Send + 'static) -> Arc<StopCallback> {
        let callback = StopCallback::new(Box::new(call));
        if let Some(error) = self.queue.on_stop(&callback) {
            run_callbacks(vec![Arc::clone(&callback)], error);
        }
        callback
    }

    fn done(&self) {
        let _already_done = self.duration.set(self.started_at.elapsed());
        let slot = lock(&self.place).slot.take();
        drop(slot);
        self.pool.forget(self.id);
        #[cfg(feature = "tracing")]
        if self.pool.logs_ends() {
            self.log_end();
        }
    }

    /// A child of the caller's span, so that the source's log lines carry both spans.
    #[cfg(feature = "tracing")]
    pub(crate) fn span(&self) -> tracing::Span {
        tracing::info_span!("stream", id = %self.id, context = %self.settings.context)
    }

    #[cfg(feature = "tracing")]
    fn log_end(&self) {
        let record = self.record();
        macro_rules! log {
            ($level:ident, $text:literal) => {
                tracing::$level!(
                    target: "datastreamer",
                    id = %record.id,
                    context = %record.context,
                    bytes = record.bytes_delivered,
                    outcome = record.outcome.map(Outcome::as_str),
                    error = record.error.as_ref().map(tracing::field::display),
                    $text
                )
            };
        }
        match record.outcome {
            Some(Outcome::SourceError) => log!(error, "the source of a stream has failed"),
            Some(Outcome::SourceStalled) => log!(warn, "the source of a stream has stalled"),
            Some(Outcome::ClientStalled) => log!(warn, "the consumer of a stream has stalled"),
            _ => log!(debug, "stream ended"),
        }
    }

    /// Records that the source asks for what it has written to be sent.
    pub(crate) fn note_flush(&self) {
        let is_first = !self.flushed.swap(true, Ordering::AcqRel);
        // Whoever waits for the flush may have all the bytes before it.
        if is_first {
            self.queue.wake_reader();
        }
    }

    pub(crate) fn was_flushed(&self) -> bool {
        self.flushed.load(Ordering::Acquire)
    }

    pub(crate) fn note_source_started(&self) {
        self.source_started.store(true, Ordering::Release);
    }

    // ---- the place in the pool ----

    /// Gives the stream its place, or the reason why it gets none; the first call counts.
    pub(crate) fn decide_place(&self, slot: Result<Option<Arc<Slot>>, Error>) {
        let mut place = lock(&self.place);
        if place.decided {
            return;
        }
        place.decided = true;
        // After `done` nobody would return the place.
        if self.duration.get().is_none() {
            place.slot = slot.clone().ok().flatten();
        }
        let (wakers, sharing) = (take(&mut place.wakers), take(&mut place.sharing));
        drop(place);
        sharing.into_iter().for_each(|share| share(slot.clone()));
        wake(wakers);
    }

    /// Shares the place with another stream, now or when there is one.
    pub(crate) fn share_place(&self, share: Sharing) {
        let mut place = lock(&self.place);
        if !place.decided {
            place.sharing.push(share);
            return;
        }
        let slot = place.slot.clone();
        drop(place);
        let refusal = match slot {
            None => self.queue.snapshot().cause,
            Some(_) => None,
        };
        share(refusal.map_or(Ok(slot), Err));
    }

    pub(crate) fn poll_admitted(&self, cx: &mut Context<'_>) -> Poll<()> {
        poll_or_wait(
            cx,
            || lock(&self.place),
            |place| (place.decided.then_some(()), &mut place.wakers),
        )
    }

    /// Records that there is a place: from now on the source runs when the reader polls.
    pub(crate) fn let_reader_poll(&self) {
        // The order matters: a reader that polls concurrently either sees the start or is woken.
        self.note_source_started();
        self.queue.note_driven();
    }

    pub(crate) fn source_has_started(&self) -> bool {
        self.source_started.load(Ordering::Acquire)
    }

    pub(crate) fn is_waiting_for_admission(&self) -> bool {
        !self.source_has_started() && !self.queue.is_stopped()
    }

    pub(crate) fn age(&self) -> Duration {
        self.started_at.elapsed()
    }

    pub(crate) fn record(&self) -> Record {
        let snapshot = self.queue.snapshot();
        let figures = snapshot.figures;
        let outcome = match &snapshot.cause {
            Some(error) => Some(error.outcome()),
            None => snapshot.consumer_done.then_some(Outcome::Complete),
        };
        let rows_expected = self.rows_expected.load(Ordering::Relaxed);
        Record {
            id: self.id,
            context: Arc::clone(&self.settings.context),
            started: self.started,
            duration: self.duration.get().copied().unwrap_or_else(|| self.age()),
            bytes_written: figures.bytes_pushed,
            bytes_delivered: figures.bytes_delivered,
            chunks_delivered: figures.chunks_delivered,
            bytes_expected: self.length(),
            rows: self.rows.load(Ordering::Relaxed),
            rows_expected: (rows_expected != u64::MAX).then_some(rows_expected),
            time_to_first_byte: figures
                .first_byte
                .map(|at| at.saturating_duration_since(self.started_at)),
            blocked_on_consumer: figures.blocked_on_consumer,
            blocked_on_source: figures.blocked_on_source,
            blocked_on: if self.is_waiting_for_admission() {
                BlockedOn::Admission
            } else {
                snapshot.blocked_on
            },
            outcome,
            error: snapshot.cause,
        }
    }
}

/// Callbacks may block, and a stop may come from an event loop: one thread runs all callbacks registered
/// before the stop, and one each callback registered after it.
fn run_callbacks(callbacks: Vec<Arc<StopCallback>>, error: Error) {
    run_elsewhere("datastreamer-stop", move || {
        callbacks.iter().for_each(|callback| callback.run(&error));
    });
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::StreamOptions;

    #[test]
    fn what_comes_home_after_the_sources_end_is_not_kept() {
        let core = StreamOptions::new().new_stream();
        core.release(1, Some(ChunkBuf::new(1)));
        assert_eq!(std_lock(&core.spare).len(), 1);
        core.end_source(End::Finish);
        core.release(1, Some(ChunkBuf::new(1)));
        assert!(std_lock(&core.spare).is_empty());
    }
}
