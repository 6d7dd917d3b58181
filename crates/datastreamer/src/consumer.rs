//! The push side: a consumer is registered with, written to, and finished or aborted.
//!
//! [`DataStreamer`] joins a source and a [`Consumer`]; [`Delivery`] is the loop between them. It
//! calls the consumer from wherever it is driven, so the consumer's own context decides: a task
//! that awaits it, a thread that waits, or an event loop that is handed each turn as a job.

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

/// Chunks that a consumer gets in one turn, so that a source which is always ahead leaves the
/// others of the event loop theirs: at the default size 2 MiB, which is a millisecond's work.
const CHUNKS_PER_TURN: usize = 16;

/// What produces: may be paused, resumed and stopped from any thread, also from inside the
/// consumer's own `write`. All three are flags: doing one twice does nothing more.
pub trait Producer: Send + Sync {
    /// Lets the producer go on. After a stop it does nothing.
    fn resume_producing(&self);
    /// Asks the producer to write nothing for now.
    fn pause_producing(&self);
    /// Ends the producing: the source's next write, or the one now blocked, fails.
    fn stop_producing(&self);
}

/// What takes a stream: registered with, written to, then finished or aborted, once.
///
/// All calls come one at a time and in order, from where the [`Delivery`] is driven. After a
/// hang-up none comes.
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
///             producer.stop_producing(); // enough: what is queued still comes, then the abort
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
    /// Says why the consumer is gone, if it is: then nothing is started or registered.
    fn disconnected(&self) -> Option<String> {
        None
    }

    /// Takes the producer's controls. [`ProducerSlot`] keeps the rules for you.
    ///
    /// # Errors
    /// [`AlreadyRegistered`] if the consumer has a producer.
    fn register_producer(&mut self, producer: Arc<dyn Producer>) -> Result<(), AlreadyRegistered>;

    /// Gives the producer up; comes after the last write.
    fn unregister_producer(&mut self);

    /// Takes a chunk. May pause the producer; may block where the consumer's context may.
    ///
    /// # Errors
    /// Whatever keeps the consumer from taking it; the source is stopped with it.
    fn write(&mut self, chunk: Bytes) -> std::io::Result<()>;

    /// Takes the end of a whole file.
    ///
    /// # Errors
    /// Whatever keeps the consumer from finishing; the record tells it.
    fn finish(&mut self) -> std::io::Result<()>;

    /// Takes the end of a stream that is not whole: what was written must not pass for a file.
    fn abort(&mut self, error: &Error);

    /// Takes what to call when the connection ends. Optional: without it a hang-up shows at the
    /// next failing write.
    fn notify_hang_up(&mut self, hang_up: HangUp) {
        drop(hang_up);
    }
}

/// The consumer has a producer already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadyRegistered;

impl fmt::Display for AlreadyRegistered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the consumer has a producer already")
    }
}

impl std::error::Error for AlreadyRegistered {}

/// Tells a stream that its consumer's connection has ended; callable from anywhere, once or more.
#[derive(Clone)]
pub struct HangUp {
    core: Arc<StreamCore>,
}

impl HangUp {
    /// Stops the source now; neither writes nor an end reach the consumer after.
    pub fn notify(&self, reason: impl Into<String>) {
        self.core.stop(Error::new(ErrorKind::HangUp, reason));
    }
}

impl fmt::Debug for HangUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HangUp").field(&self.core.id).finish()
    }
}

/// Keeps a consumer's producer by the rules: a second one is an error, one that comes after the
/// disconnection is stopped at once and not attached.
#[derive(Default)]
pub struct ProducerSlot {
    producer: Option<Arc<dyn Producer>>,
    disconnected: bool,
}

impl ProducerSlot {
    /// Attaches a producer.
    ///
    /// # Errors
    /// [`AlreadyRegistered`] if there is one.
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

    /// Stops and detaches the producer; whoever comes later is stopped at once.
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
    /// The consumer was gone before the start; the text is the consumer's.
    Disconnected(String),
    /// The consumer has a producer already.
    AlreadyRegistered,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disconnected(why) => write!(f, "the consumer is gone: {why}"),
            Self::AlreadyRegistered => AlreadyRegistered.fmt(f),
        }
    }
}

impl std::error::Error for StartError {}

/// A source and a consumer, not yet started: a push producer.
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
    /// Joins a source and a consumer; nothing runs yet.
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

    /// Registers with the consumer, asks to be told of its hang-up, then starts the source, in
    /// this order. The consumer may pause, resume or stop from inside the registration. Never
    /// blocks. The consumer is written to as the [`Delivery`] is driven.
    ///
    /// # Errors
    /// [`StartError`]: no thread was started, nothing is registered.
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

/// A started push stream: drive it to have the consumer written to.
///
/// **As a future** it calls the consumer from the task that polls it and resolves with the
/// record. [`Delivery::wait`] calls it from this thread, [`Delivery::run_in`] from an event loop
/// that takes jobs. **Dropping it** before the end stops the source and aborts the consumer.
#[must_use = "the consumer is written to only while the delivery is driven"]
pub struct Delivery<C: Consumer> {
    /// `None` once the end has been delivered.
    reader: Option<ChunkReader>,
    consumer: Option<C>,
    handle: StreamHandle,
}

impl<C: Consumer> Delivery<C> {
    /// Returns a handle: record, pause, resume, stop.
    pub fn handle(&self) -> StreamHandle {
        self.handle.clone()
    }

    /// Drives the stream from this thread, blocking; returns the final record.
    pub fn wait(self) -> Record {
        self.wait_for_consumer().0
    }

    /// As [`Delivery::wait`], and gives the consumer back.
    pub fn wait_for_consumer(mut self) -> (Record, C) {
        block_on(|cx| self.poll_deliver(cx));
        let record = self.handle.wait();
        match self.consumer.take() {
            Some(consumer) => (record, consumer),
            None => unreachable!("only this method takes the consumer, and it owns the delivery"),
        }
    }

    /// Drives the stream from an event loop: `call_later` must run each job it is given, later,
    /// in the consumer's context (Twisted's `callFromThread`, a GUI's idle queue, a channel into
    /// a loop). It is called from any thread, in the middle of a write, or by the thread that keeps
    /// all streams' deadlines: so it must not block, nor write to the stream. A loop that is gone
    /// may drop the job, or panic: either drops the delivery. Returns the handle.
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

    /// Delivers what there is, a turn's worth at most; ready when the end has been delivered.
    fn poll_deliver(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..CHUNKS_PER_TURN {
            let (Some(reader), Some(consumer)) = (&mut self.reader, &mut self.consumer) else {
                return Poll::Ready(());
            };
            let error = match ready!(reader.poll_chunk(cx)) {
                Some(Ok(chunk)) => match consumer.write(chunk) {
                    Ok(()) => continue,
                    // Told here: the reader may have handed out the clean end with this chunk.
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

/// Ends the consumer once.
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

/// One delivery's turns in a foreign event loop: each wake-up becomes one job.
struct Turn<C: Consumer> {
    delivery: Mutex<Option<Delivery<C>>>,
    call_later: Box<dyn Fn(Job) + Send + Sync>,
    /// A job is on its way and has not begun.
    scheduled: AtomicBool,
}

impl<C: Consumer + Send + 'static> Wake for Turn<C> {
    fn wake(self: Arc<Self>) {
        if self.scheduled.swap(true, Ordering::AcqRel) {
            return;
        }
        let turn = Arc::clone(&self);
        // Whoever wakes, perhaps the source, must not suffer from a loop that is gone. The
        // panic drops the job, and with its last job goes the delivery.
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

/// A consumer that writes to any [`std::io::Write`] and knows whether the result is whole.
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

    /// Returns the writer if a whole stream was written and flushed.
    pub fn into_whole(self) -> Option<W> {
        self.whole.then_some(self.inner)
    }

    /// Returns the writer, whatever it holds.
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
