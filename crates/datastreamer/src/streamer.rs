//! The life of one stream: it is admitted, runs, and ends exactly once. Also the handle on it.
//!
//! `start` submits a source to the pool. On the pool's thread, `run` calls the source and turns its
//! return value, error or panic into the end of the queue. [`StreamCore`] is the state that writer
//! and reader share.

use std::{
    any::Any,
    error::Error as StdError,
    fmt,
    future::{Future, poll_fn},
    mem::take,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant, SystemTime},
};

use crate::{
    block_on::block_on,
    chunk::ChunkBuf,
    config::{Settings, StreamOptions},
    depth::Depth,
    error::{Error, ErrorKind},
    outcome::{BlockedOn, Outcome},
    pool::{Job, Slot, Source, StreamPool},
    push::producer::Producer,
    queue::{End, Queue, StopCallback, keep_waker},
    reader::ChunkReader,
    record::{Record, StreamId},
    sync::std_lock,
    watchdog,
    writer::{Pending, StreamWriter},
};

/// The return type of a source: nothing, or a `Result` with any error type.
pub trait SourceResult {
    /// Converts the return value into the result of the stream.
    ///
    /// # Errors
    /// The source's error, wrapped by [`Error::source_failed`].
    fn into_result(self) -> Result<(), Error>;
}

impl SourceResult for () {
    fn into_result(self) -> Result<(), Error> {
        Ok(())
    }
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> SourceResult for Result<T, E> {
    fn into_result(self) -> Result<(), Error> {
        self.map(drop).map_err(Error::source_failed)
    }
}

/// Starts a source on a thread of the process's pool and returns the reading end.
///
/// The source writes with blocking calls to a [`StreamWriter`]; the reader polls, awaits or blocks
/// for chunks. Dropping the reader stops the source. Never blocks and never fails: every failure
/// comes out of the reader as an error, never as a clean end.
///
/// ```
/// let chunks = datastreamer::stream_out(|out| std::io::Write::write_all(out, b"a file"));
/// assert_eq!(chunks.read_to_vec()?, b"a file");
/// # Ok::<(), datastreamer::Error>(())
/// ```
pub fn stream_out<F, T>(write_stream_to: F) -> ChunkReader
where
    F: FnOnce(&mut StreamWriter) -> T + Send + 'static,
    T: SourceResult,
{
    StreamOptions::new().stream_out(write_stream_to)
}

pub(crate) fn start<F, T>(options: &StreamOptions, write_stream_to: F) -> ChunkReader
where
    F: FnOnce(&mut StreamWriter) -> T + Send + 'static,
    T: SourceResult,
{
    let core = StreamCore::new(options);
    start_source(&core, options, write_stream_to);
    ChunkReader::new(core)
}

/// Submits the source to the pool, to run on one of its threads.
pub(crate) fn start_source<F, T>(core: &Arc<StreamCore>, options: &StreamOptions, source: F)
where
    F: FnOnce(&mut StreamWriter) -> T + Send + 'static,
    T: SourceResult,
{
    let job = Job {
        core: Arc::clone(core),
        source: Source::Thread({
            let core = Arc::clone(core);
            #[cfg(feature = "tracing")]
            let span = core.span();
            Box::new(move || {
                #[cfg(feature = "tracing")]
                let _entered = span.enter();
                run(&core, source)
            })
        }),
    };
    submit(job, options);
}

/// Submits a stream to the pool; if the pool refuses, the refusal becomes the stream's end.
pub(crate) fn submit(job: Job, options: &StreamOptions) {
    let core = &Arc::clone(&job.core);
    match core.pool.submit(job, options.shares_place_of()) {
        Ok(()) => watchdog::watch(core),
        Err(error) => core.end_source(End::Abort(error)),
    }
}

/// Runs the source and returns how the stream ends, whatever the source does.
fn run<F, T>(core: &Arc<StreamCore>, source: F) -> End
where
    F: FnOnce(&mut StreamWriter) -> T,
    T: SourceResult,
{
    core.note_source_started();
    let mut writer = StreamWriter::new(Arc::clone(core));
    // Unwind safety: the writer is the only state shared with the source, and a panic leaves the
    // data behind each of its locks consistent (see sync.rs).
    let returned = catch_unwind(AssertUnwindSafe(|| {
        // The stop may have come after the stream left the waiting room and before this thread
        // started.
        core.queue.check_open()?;
        source(&mut writer).into_result()
    }))
    .unwrap_or_else(|payload| Err(panicked(payload.as_ref())));
    let closed = writer.close();
    match returned.and_then(|()| core.check_length(closed?)) {
        Ok(()) => End::Finish,
        Err(error) => End::Abort(error),
    }
}

pub(crate) fn panicked(payload: &(dyn Any + Send)) -> Error {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    match text {
        Some(text) => Error::new(ErrorKind::SourcePanicked, text),
        None => Error::of_kind(ErrorKind::SourcePanicked),
    }
}

/// The state that the two ends of a stream share.
pub(crate) struct StreamCore {
    pub(crate) id: StreamId,
    pub(crate) settings: Settings,
    pub(crate) queue: Queue,
    /// The writer's chunk; see `writer.rs`.
    pub(crate) pending: Pending,
    pub(crate) pool: StreamPool,
    /// The promised length, in bytes: set before the first byte or never.
    length: OnceLock<u64>,
    pub(crate) rows: AtomicU64,
    /// `u64::MAX`: unknown.
    pub(crate) rows_expected: AtomicU64,
    source_started: AtomicBool,
    source_ended: AtomicBool,
    /// Empty chunks, kept to be filled again.
    spare: Mutex<Vec<ChunkBuf>>,
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
    pub(crate) fn new(options: &StreamOptions) -> Arc<Self> {
        let settings = options.resolve();
        let pool = options.chosen_pool().clone();
        let depth = Depth::new(settings.buffer, settings.chunk, pool.reserve());
        Arc::new(Self {
            id: StreamId::next(),
            queue: Queue::new(depth, settings.on_stop),
            pending: Pending::new(settings.length),
            length: settings.length.map_or_else(OnceLock::new, OnceLock::from),
            pool,
            rows: AtomicU64::new(0),
            rows_expected: AtomicU64::new(u64::MAX),
            source_started: AtomicBool::new(false),
            source_ended: AtomicBool::new(false),
            spare: Mutex::new(Vec::new()),
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

    pub(crate) fn stop(&self, error: Error) {
        let Some(callbacks) = self.queue.stop(&error) else {
            return;
        };
        if self.pool.forget_waiting(self.id) {
            self.end_source(End::Abort(error.clone()));
        }
        if !callbacks.is_empty() {
            run_callbacks(callbacks, error);
        }
    }

    pub(crate) fn on_stop(&self, callback: StopCallback) {
        if let Some((callback, error)) = self.queue.on_stop(callback) {
            run_callbacks(vec![callback], error);
        }
    }

    fn done(&self) {
        let _already_done = self.duration.set(self.started_at.elapsed());
        let slot = std_lock(&self.place).slot.take();
        drop(slot);
        self.pool.forget(self.id);
        #[cfg(feature = "tracing")]
        self.log_end();
    }

    /// A child of the caller's span, so that the source's log lines carry both spans.
    #[cfg(feature = "tracing")]
    pub(crate) fn span(&self) -> tracing::Span {
        tracing::info_span!("stream", id = %self.id, context = %self.settings.context)
    }

    #[cfg(feature = "tracing")]
    fn log_end(&self) {
        let record = self.record();
        tracing::debug!(
            id = %record.id,
            context = %record.context,
            bytes = record.bytes_delivered,
            outcome = record.outcome.map(Outcome::as_str),
            error = record.error.as_ref().map(tracing::field::display),
            "stream ended"
        );
    }

    pub(crate) fn note_source_started(&self) {
        self.source_started.store(true, Ordering::Release);
    }

    // ---- the place in the pool ----

    /// Gives the stream its place, or the reason why it gets none; the first call counts.
    pub(crate) fn decide_place(&self, slot: Result<Option<Arc<Slot>>, Error>) {
        let mut place = std_lock(&self.place);
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
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Shares the place with another stream, now or when there is one.
    pub(crate) fn share_place(&self, share: Sharing) {
        let mut place = std_lock(&self.place);
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

    fn poll_admitted(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut place = std_lock(&self.place);
        if place.decided {
            return Poll::Ready(());
        }
        keep_waker(&mut place.wakers, cx.waker());
        Poll::Pending
    }

    /// Records that there is a place: from now on the source runs when the reader polls.
    #[cfg(feature = "futures")]
    pub(crate) fn let_reader_poll(&self) {
        // The order matters: a reader that polls concurrently either sees the start or is woken.
        self.note_source_started();
        self.queue.note_pulled();
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

/// Callbacks may block, and a stop may come from an event loop, so they run on threads of their
/// own: one thread for all callbacks registered before the stop, one for each callback registered
/// after it.
fn run_callbacks(callbacks: Vec<StopCallback>, error: Error) {
    let shared = Arc::new(Mutex::new(Some(callbacks)));
    let run = {
        let shared = Arc::clone(&shared);
        move || {
            let callbacks = std_lock(&shared).take();
            for callback in callbacks.into_iter().flatten() {
                // A callback that panics must not keep the others from running.
                let _panicked = catch_unwind(AssertUnwindSafe(|| callback(&error)));
            }
        }
    };
    let spawned = thread::Builder::new()
        .name("datastreamer-stop".into())
        .spawn(run.clone());
    if spawned.is_err() {
        run(); // No thread could be started: better here than not at all.
    }
}

/// A handle on a stream: reads its record, and pauses, resumes or stops it from any thread.
/// Dropping it does nothing.
///
/// ```
/// use datastreamer::{Error, ErrorKind, Outcome, Producer, stream_out};
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

    /// Stops the stream with a reason. The source's next write fails with this reason. A consumer
    /// that is still connected receives what is queued and is then aborted with the reason. With a
    /// reason of kind [`ErrorKind::Stopped`] and [`crate::OnStop::Finish`] it is finished instead;
    /// with one of kind [`ErrorKind::HangUp`] or [`ErrorKind::ConsumerFailed`] it receives nothing
    /// more.
    pub fn stop(&self, reason: Error) {
        self.core.stop(reason);
    }

    /// Reports that the consumer has made progress with a chunk that it still holds, so it has not
    /// stalled. Without this call, a consumer that needs longer than
    /// [`crate::StreamOptions::consumer_stall`] for one chunk counts as stalled. Costs one atomic
    /// addition.
    pub fn note_progress(&self) {
        self.core.queue.note_progress();
    }

    /// Returns a token that reports the stop.
    pub fn stop_token(&self) -> crate::StopToken {
        StreamWriter::new(Arc::clone(&self.core)).stop_token()
    }

    /// Polls for the stop; `None`: source and consumer are done without a stop.
    pub fn poll_stopped(&self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Option<Error>> {
        self.core.queue.poll_stopped(cx)
    }

    /// Resolves when the stream has its place in the pool, or has ended without one.
    pub fn admitted(&self) -> impl Future<Output = ()> + Send + use<> {
        let core = Arc::clone(&self.core);
        poll_fn(move |cx| core.poll_admitted(cx))
    }

    /// Resolves with the reason when a stop has made it certain that the consumer will be aborted.
    /// For consumers that can skip what is still queued. A stop that finishes the consumer
    /// ([`crate::OnStop::Finish`]) does not count, unless the consumer stalls before the finish.
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

impl Producer for StreamHandle {
    fn resume_producing(&self) {
        self.core.queue.resume();
    }

    fn pause_producing(&self) {
        self.core.queue.pause();
    }

    fn stop_producing(&self) {
        self.core.stop(Error::of_kind(ErrorKind::Stopped));
    }
}

impl fmt::Debug for StreamHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamHandle")
            .field("record", &self.record())
            .finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_source_whose_stream_was_stopped_before_its_thread_ran_is_dropped_uncalled() {
        let core = StreamCore::new(&StreamOptions::new());
        core.stop(Error::of_kind(ErrorKind::ShutDown));
        let held = Arc::new(());
        let holds = Arc::clone(&held);
        let end = run(&core, move |_: &mut StreamWriter| -> () {
            unreachable!("called: {holds:?}")
        });
        assert!(matches!(end, End::Abort(error) if error.kind() == ErrorKind::ShutDown));
        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[test]
    fn what_comes_home_after_the_sources_end_is_not_kept() {
        let core = StreamCore::new(&StreamOptions::new());
        core.release(1, Some(ChunkBuf::new(1)));
        assert_eq!(std_lock(&core.spare).len(), 1);
        core.end_source(End::Finish);
        core.release(1, Some(ChunkBuf::new(1)));
        assert!(std_lock(&core.spare).is_empty());
    }
}
