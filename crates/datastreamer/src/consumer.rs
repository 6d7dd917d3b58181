//! The push side: a consumer is registered, written to, and then finished or aborted.
//!
//! [`DataStreamer`] joins a source and a [`Consumer`]; [`Delivery`] is the loop between them. The
//! consumer is called in the context that drives the delivery: a task that awaits it, a thread that
//! waits for it, or an event loop that receives each turn as a job.

use std::{
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker, ready},
};

use bytes::Bytes;

use crate::{
    config::StreamOptions,
    error::{Error, ErrorKind},
    reader::{ChunkReader, block_on},
    record::Record,
    streamer::{self, SourceResult, StreamCore, StreamHandle, std_lock},
    writer::StreamWriter,
};

/// Chunks that a consumer gets in one turn. The limit keeps a source that is always ahead from
/// starving the event loop's other jobs. At the largest default chunk size it is 2 MiB, about a
/// millisecond of work.
const CHUNKS_PER_TURN: usize = 16;

/// The controls of a running source: pause, resume and stop, from any thread, including from inside
/// the consumer's own `write`. Each sets a flag, so a repeated call has no effect.
pub trait Producer: Send + Sync {
    /// Lets the producer continue. Has no effect after a stop.
    fn resume_producing(&self);
    /// Asks the producer to write nothing until it is resumed.
    fn pause_producing(&self);
    /// Stops the producer: the source's next write, or the write that is blocked now, fails.
    fn stop_producing(&self);
}

/// Receives a stream: it is registered, written to, then finished or aborted, exactly once.
///
/// Calls come one at a time and in order, in the context that drives the [`Delivery`]. After a
/// hang-up there are no more calls.
///
/// ```
/// use std::{io, sync::Arc};
/// use bytes::Bytes;
/// use datastreamer::{AlreadyRegistered, Consumer, DataStreamer, Error, Producer, ProducerSlot};
///
/// #[derive(Default)]
/// struct Lines { producer: ProducerSlot, lines: usize, whole: bool }
///
/// impl Consumer for Lines {
///     fn register_producer(&mut self, producer: Arc<dyn Producer>) -> Result<(), AlreadyRegistered> {
///         self.producer.register(producer)
///     }
///     fn unregister_producer(&mut self) {
///         self.producer.unregister();
///     }
///     fn write(&mut self, chunk: Bytes) -> io::Result<()> {
///         self.lines += chunk.iter().filter(|byte| **byte == b'\n').count();
///         if let (true, Some(producer)) = (self.lines >= 10, self.producer.get()) {
///             producer.stop_producing(); // what is queued still arrives, then the abort
///         }
///         Ok(())
///     }
///     fn finish(&mut self) -> io::Result<()> {
///         self.whole = true;
///         Ok(())
///     }
///     fn abort(&mut self, _why: &Error) {}
/// }
///
/// let source = |out: &mut datastreamer::StreamWriter| out.write_slice(b"a\nb\n");
/// let (_record, consumer) = DataStreamer::new(source, Lines::default()).start()?.wait_for_consumer();
/// assert!(consumer.whole && consumer.lines == 2);
/// # Ok::<(), datastreamer::StartError>(())
/// ```
pub trait Consumer {
    /// Returns why the consumer has disconnected, if it has. Then nothing is registered or started.
    fn disconnected(&self) -> Option<String> {
        None
    }

    /// Receives the producer's controls. [`ProducerSlot`] implements the rules.
    ///
    /// # Errors
    /// [`AlreadyRegistered`] if the consumer already has a producer.
    fn register_producer(&mut self, producer: Arc<dyn Producer>) -> Result<(), AlreadyRegistered>;

    /// Releases the producer; called after the last write.
    fn unregister_producer(&mut self);

    /// Receives a chunk. May pause the producer. May block if the context that drives the delivery
    /// may block.
    ///
    /// # Errors
    /// Whatever keeps the consumer from accepting the chunk; the source is stopped with this error.
    fn write(&mut self, chunk: Bytes) -> std::io::Result<()>;

    /// Receives the end of a complete file.
    ///
    /// # Errors
    /// Whatever keeps the consumer from finishing; the error is in the record.
    fn finish(&mut self) -> std::io::Result<()>;

    /// Receives the end of an incomplete stream: what was written must not be taken for a complete
    /// file.
    fn abort(&mut self, error: &Error);

    /// Receives the handle to call when the connection ends. Optional: without it a hang-up is
    /// noticed at the next write that fails.
    fn notify_hang_up(&mut self, hang_up: HangUp) {
        drop(hang_up);
    }
}

/// The consumer already has a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadyRegistered;

impl fmt::Display for AlreadyRegistered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the consumer already has a producer")
    }
}

impl std::error::Error for AlreadyRegistered {}

/// Reports to a stream that its consumer has disconnected; callable from any thread, more than
/// once.
#[derive(Clone)]
pub struct HangUp {
    core: Arc<StreamCore>,
}

impl HangUp {
    /// Stops the source at once. Neither writes nor an end reach the consumer afterwards.
    pub fn notify(&self, reason: impl Into<String>) {
        self.core.stop(Error::new(ErrorKind::HangUp, reason));
    }
}

impl fmt::Debug for HangUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HangUp").field(&self.core.id).finish()
    }
}

/// Holds a consumer's producer and implements the rules: registering a second producer is an error;
/// a producer registered after the disconnection is stopped at once and not attached.
#[derive(Default)]
pub struct ProducerSlot {
    producer: Option<Arc<dyn Producer>>,
    disconnected: bool,
}

impl ProducerSlot {
    /// Attaches a producer.
    ///
    /// # Errors
    /// [`AlreadyRegistered`] if a producer is attached.
    pub fn register(&mut self, producer: Arc<dyn Producer>) -> Result<(), AlreadyRegistered> {
        if self.producer.is_some() {
            return Err(AlreadyRegistered);
        }
        if self.disconnected {
            producer.stop_producing();
        } else {
            self.producer = Some(producer);
        }
        Ok(())
    }

    /// Detaches the producer, if there is one.
    pub fn unregister(&mut self) {
        self.producer = None;
    }

    /// Stops and detaches the producer; a producer registered later is stopped at once.
    pub fn disconnect(&mut self) {
        self.disconnected = true;
        if let Some(producer) = self.producer.take() {
            producer.stop_producing();
        }
    }

    /// Returns the producer, to pause or resume it.
    pub fn get(&self) -> Option<&Arc<dyn Producer>> {
        self.producer.as_ref()
    }
}

impl fmt::Debug for ProducerSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProducerSlot")
            .field("attached", &self.producer.is_some())
            .field("disconnected", &self.disconnected)
            .finish()
    }
}

/// Why a push stream did not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartError {
    /// The consumer had disconnected before the start; the text is the consumer's.
    Disconnected(String),
    /// The consumer already has a producer.
    AlreadyRegistered,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disconnected(why) => write!(f, "the consumer has disconnected: {why}"),
            Self::AlreadyRegistered => AlreadyRegistered.fmt(f),
        }
    }
}

impl std::error::Error for StartError {}

/// A source and a consumer that are joined and not yet started.
///
/// ```
/// use datastreamer::{DataStreamer, WriteConsumer};
/// let file = WriteConsumer::new(Vec::new());
/// let (record, file) = DataStreamer::new(|out| out.write_slice(b"abc"), file)
///     .start()?
///     .wait_for_consumer();
/// assert_eq!(record.bytes_delivered, 3);
/// assert_eq!(file.into_whole().as_deref(), Some(b"abc".as_slice()));
/// # Ok::<(), datastreamer::StartError>(())
/// ```
pub struct DataStreamer<F, C> {
    source: F,
    consumer: C,
    options: StreamOptions,
}

impl<F, C, T> DataStreamer<F, C>
where
    F: FnOnce(&mut StreamWriter) -> T + Send + 'static,
    T: SourceResult,
    C: Consumer,
{
    /// Joins a source and a consumer. Starts nothing.
    pub fn new(write_stream_to: F, consumer: C) -> Self {
        Self {
            source: write_stream_to,
            consumer,
            options: StreamOptions::new(),
        }
    }

    /// Sets the stream's options.
    #[must_use]
    pub fn options(mut self, options: StreamOptions) -> Self {
        self.options = options;
        self
    }

    /// Registers with the consumer, passes it the hang-up handle, then starts the source, in this
    /// order. The consumer may pause, resume or stop the source from inside the registration. Never
    /// blocks. The consumer is written to when the [`Delivery`] is driven.
    ///
    /// # Errors
    /// [`StartError`]: no thread was started and nothing is registered.
    pub fn start(self) -> Result<Delivery<C>, StartError> {
        let Self {
            source,
            mut consumer,
            options,
        } = self;
        if let Some(why) = consumer.disconnected() {
            return Err(StartError::Disconnected(why));
        }
        let core = StreamCore::new(&options);
        let handle = StreamHandle::new(Arc::clone(&core));
        consumer
            .register_producer(Arc::new(handle.clone()))
            .map_err(|AlreadyRegistered| StartError::AlreadyRegistered)?;
        consumer.notify_hang_up(HangUp {
            core: Arc::clone(&core),
        });
        streamer::start_source(&core, &options, source);
        let mut reader = ChunkReader::new(core);
        reader.hold_end();
        Ok(Delivery {
            reader: Some(reader),
            consumer: Some(consumer),
            handle,
        })
    }
}

/// A started push stream. The consumer is written to only while this is driven.
///
/// **As a future** it calls the consumer from the task that polls it, and resolves with the record.
/// [`Delivery::wait`] calls the consumer from the calling thread, [`Delivery::run_in`] from an
/// event loop that accepts jobs. **Dropping it** before the end stops the source and aborts the
/// consumer.
#[must_use = "the consumer is written to only while the delivery is driven"]
pub struct Delivery<C: Consumer> {
    /// `None` once the end has been delivered.
    reader: Option<ChunkReader>,
    consumer: Option<C>,
    handle: StreamHandle,
}

impl<C: Consumer> Delivery<C> {
    /// Returns a handle to read the record, pause, resume and stop.
    pub fn handle(&self) -> StreamHandle {
        self.handle.clone()
    }

    /// Drives the stream from this thread and blocks until the end; returns the final record.
    pub fn wait(self) -> Record {
        self.wait_for_consumer().0
    }

    /// Like [`Delivery::wait`], and also returns the consumer.
    pub fn wait_for_consumer(mut self) -> (Record, C) {
        block_on(|cx| self.poll_deliver(cx));
        let record = self.handle.wait();
        match self.consumer.take() {
            Some(consumer) => (record, consumer),
            None => unreachable!("only this method takes the consumer, and it owns the delivery"),
        }
    }

    /// Drives the stream from an event loop: `call_later` must schedule each job to run later in
    /// the consumer's context (Twisted's `callFromThread`, a GUI's idle queue, a channel into a
    /// loop). It is called from any thread, in the middle of a write, or by the watchdog thread
    /// that all streams share, so it must not block and must not write to the stream. If the loop
    /// has ended, `call_later` may drop the job or panic; either drops the delivery. Returns the
    /// handle.
    ///
    /// ```
    /// use std::sync::mpsc::channel;
    /// use datastreamer::{DataStreamer, Outcome, WriteConsumer};
    /// let (call, jobs) = channel::<Box<dyn FnOnce() + Send>>();
    /// let streamer = DataStreamer::new(|out| out.write_slice(b"abc"), WriteConsumer::new(Vec::new()));
    /// let handle = streamer.start()?.run_in(move |job| drop(call.send(job)));
    /// jobs.into_iter().for_each(|job| job()); // the event loop
    /// assert_eq!(handle.wait().outcome, Some(Outcome::Complete));
    /// # Ok::<(), datastreamer::StartError>(())
    /// ```
    pub fn run_in<L>(self, call_later: L) -> StreamHandle
    where
        C: Send + 'static,
        L: Fn(Box<dyn FnOnce() + Send>) + Send + Sync + 'static,
    {
        let handle = self.handle();
        let turn = Arc::new(Turn {
            delivery: Mutex::new(Some(self)),
            call_later: Box::new(call_later),
            scheduled: AtomicBool::new(false),
        });
        Waker::from(turn).wake();
        handle
    }

    /// Delivers what is queued, at most one turn's share; ready when the end has been delivered.
    fn poll_deliver(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..CHUNKS_PER_TURN {
            let (Some(reader), Some(consumer)) = (&mut self.reader, &mut self.consumer) else {
                return Poll::Ready(());
            };
            let error = match ready!(reader.poll_chunk(cx)) {
                Some(Ok(chunk)) => match consumer.write(chunk) {
                    Ok(()) => continue,
                    // Reported here, because the reader may already have returned the clean end
                    // with this chunk.
                    Err(error) => Some(reader.consumer_failed(error)),
                },
                Some(Err(error)) => Some(error),
                None => None,
            };
            if !self.handle.has_hung_up() {
                deliver_end(consumer, error.as_ref(), reader);
            }
            reader.end_consumer();
            self.reader = None;
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Finishes or aborts the consumer.
fn deliver_end<C: Consumer>(consumer: &mut C, error: Option<&Error>, reader: &ChunkReader) {
    match error {
        Some(error) => {
            consumer.unregister_producer();
            consumer.abort(error);
        }
        None => {
            consumer.unregister_producer();
            if let Err(error) = consumer.finish() {
                reader.consumer_failed(error);
            }
        }
    }
}

impl<C: Consumer + Unpin> Future for Delivery<C> {
    type Output = Record;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Record> {
        if self.poll_deliver(cx).is_pending() {
            return Poll::Pending;
        }
        self.handle.poll_ended(cx)
    }
}

impl<C: Consumer> Drop for Delivery<C> {
    fn drop(&mut self) {
        if self.reader.is_none() {
            return;
        }
        let hung_up = self.handle.has_hung_up();
        self.handle
            .stop(Error::new(ErrorKind::Stopped, "the delivery was dropped"));
        if let Some(consumer) = self.consumer.as_mut().filter(|_| !hung_up) {
            consumer.unregister_producer();
            consumer.abort(&Error::of_kind(ErrorKind::Stopped));
        }
    }
}

impl<C: Consumer> fmt::Debug for Delivery<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("stream", &self.handle)
            .finish_non_exhaustive()
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// Drives a delivery in a foreign event loop: each wake-up becomes one job.
struct Turn<C: Consumer> {
    delivery: Mutex<Option<Delivery<C>>>,
    call_later: Box<dyn Fn(Job) + Send + Sync>,
    /// A job has been scheduled and has not begun.
    scheduled: AtomicBool,
}

impl<C: Consumer + Send + 'static> Wake for Turn<C> {
    fn wake(self: Arc<Self>) {
        if self.scheduled.swap(true, Ordering::AcqRel) {
            return;
        }
        let turn = Arc::clone(&self);
        // The thread that wakes, perhaps the source's, must not fail because the loop has ended.
        // The panic drops the job, and the last job owns the delivery.
        let _panicked = catch_unwind(AssertUnwindSafe(|| {
            (self.call_later)(Box::new(move || turn.take()));
        }));
    }
}

impl<C: Consumer + Send + 'static> Turn<C> {
    fn take(self: Arc<Self>) {
        self.scheduled.store(false, Ordering::Release);
        let waker = Waker::from(Arc::clone(&self));
        let mut slot = std_lock(&self.delivery);
        if let Some(delivery) = slot.as_mut()
            && delivery
                .poll_deliver(&mut Context::from_waker(&waker))
                .is_ready()
        {
            *slot = None;
        }
    }
}

/// A consumer that writes to any [`std::io::Write`] and records whether the result is complete.
#[derive(Debug, Default)]
pub struct WriteConsumer<W> {
    inner: W,
    whole: bool,
}

impl<W: std::io::Write> WriteConsumer<W> {
    /// Wraps a writer.
    pub fn new(inner: W) -> Self {
        Self {
            inner,
            whole: false,
        }
    }

    /// Returns the writer if the complete stream was written and flushed.
    pub fn into_whole(self) -> Option<W> {
        self.whole.then_some(self.inner)
    }

    /// Returns the writer, whether or not the stream is complete.
    pub fn into_inner(self) -> W {
        self.inner
    }
}

impl<W: std::io::Write> Consumer for WriteConsumer<W> {
    fn register_producer(&mut self, _: Arc<dyn Producer>) -> Result<(), AlreadyRegistered> {
        Ok(())
    }

    fn unregister_producer(&mut self) {}

    fn write(&mut self, chunk: Bytes) -> std::io::Result<()> {
        self.inner.write_all(&chunk)
    }

    fn finish(&mut self) -> std::io::Result<()> {
        self.inner.flush()?;
        self.whole = true;
        Ok(())
    }

    fn abort(&mut self, _: &Error) {}
}
