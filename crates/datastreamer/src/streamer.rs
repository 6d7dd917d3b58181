//! Starts a stream and runs its source.
//!
//! `stream_out` submits a source to the pool. On the pool's thread, `run` calls the source and turns
//! its return value, error or panic into the end of the queue.

#[cfg(feature = "futures")]
use std::future::poll_fn;
use std::{
    convert::Infallible,
    error::Error as StdError,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitStatus,
    sync::Arc,
};

use crate::{
    async_writer::AsyncStreamWriter,
    config::StreamOptions,
    error::Error,
    pool::{Job, Refused, Source, StreamPool},
    queue::End,
    reader::ChunkReader,
    stream_core::StreamCore,
    watchdog,
    writer::{StreamWriter, verdict},
};

/// What a source may return: a value that says how it has ended, or a `Result` of one.
///
/// An `Ok` around a failure is a failure. So a time-out around a future that writes
/// (`Result<Result<(), E>, Elapsed>`), a joined task and a child's exit status decide as one would read
/// them. Of other types nobody knows whether they are a success: they do not compile. Then the source ends
/// with `Ok(())`.
///
/// ```
/// use std::process::Command;
///
/// let chunks = datastreamer::stream_out(|out| -> std::io::Result<_> {
///     out.write_slice(b"the begin")?;
///     Command::new("false").status()
/// });
/// let error = chunks.read_to_vec().unwrap_err();
/// assert_eq!(error.kind(), datastreamer::ErrorKind::SourceFailed);
/// ```
#[diagnostic::on_unimplemented(
    message = "a source cannot return `{Self}`: nobody knows whether it is a success",
    note = "end the source with `Ok(())`, behind a `?` if the value may be a failure"
)]
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

impl<T: SourceResult, E: Into<Box<dyn StdError + Send + Sync>> + 'static> SourceResult
    for Result<T, E>
{
    fn into_result(self) -> Result<(), Error> {
        self.map_err(Error::source_failed)?.into_result()
    }
}

/// A number of bytes that were copied.
impl SourceResult for u64 {
    fn into_result(self) -> Result<(), Error> {
        Ok(())
    }
}

/// Of a source that ends by a failure or a stop only.
impl SourceResult for Infallible {
    fn into_result(self) -> Result<(), Error> {
        match self {}
    }
}

/// The output that an encoder gives back once it has written everything.
impl SourceResult for StreamWriter {
    fn into_result(self) -> Result<(), Error> {
        Ok(())
    }
}

/// The output that an encoder gives back once it has written everything.
impl SourceResult for &mut StreamWriter {
    fn into_result(self) -> Result<(), Error> {
        Ok(())
    }
}

/// The output that an encoder gives back once it has written everything.
impl SourceResult for AsyncStreamWriter {
    fn into_result(self) -> Result<(), Error> {
        Ok(())
    }
}

/// Of a child process: a failure unless its exit code is 0.
impl SourceResult for ExitStatus {
    fn into_result(self) -> Result<(), Error> {
        match self.success() {
            true => Ok(()),
            false => Err(Error::source_failed(format!(
                "the process ended with {self}"
            ))),
        }
    }
}

/// Starts an async source, a future that writes, and returns the reading end.
///
/// The future is polled when the reader is polled, in the reader's context, so it needs no thread,
/// and runs at the consumer's speed. It writes to an [`AsyncStreamWriter`], which is pending while the
/// buffer is full; what was written is handed over as soon as the future is pending itself. Its result
/// decides how the stream ends, exactly as for [`stream_out`]: a failure is never a clean end. It needs
/// a place in the pool like any other source; the reader stays pending while it waits for one.
/// Dropping the reader drops the future; any other stop drops it on another thread, in the runtime
/// (feature `tokio`) in which it was started, because a reader under back-pressure is never polled.
///
/// The future may move its writer into other tasks. They get
/// [`ErrorKind::Ended`](crate::ErrorKind::Ended) once the future is ready.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), datastreamer::Error> {
/// let chunks = datastreamer::stream_out_async_write(|mut out| async move {
///     for row in 0..3 {
///         out.write_slice(format!("{row}\n").as_bytes()).await?;
///     }
///     Ok::<(), datastreamer::Error>(())
/// });
/// let mut file = Vec::new();
/// chunks.write_to_async(&mut file).await?;
/// assert_eq!(file, b"0\n1\n2\n");
/// # Ok(())
/// # }
/// ```
pub fn stream_out_async_write<F, R, T>(write_stream_to: F) -> ChunkReader
where
    F: FnOnce(AsyncStreamWriter) -> R,
    R: Future<Output = T> + Send + 'static,
    T: SourceResult,
{
    StreamOptions::new().stream_out_async_write(write_stream_to)
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

impl StreamOptions {
    /// Starts a source on a thread of the pool and returns the reading end.
    ///
    /// Never blocks and never fails: if the pool refuses the stream, the reader's first poll
    /// returns the error ([`crate::ErrorKind::Busy`]). See [`crate::stream_out`].
    ///
    /// A source that never gets a place is dropped on a thread for that, which all streams of the
    /// process share: never on the caller's, and never on an event loop.
    pub fn stream_out<F, T>(self, write_stream_to: F) -> ChunkReader
    where
        F: FnOnce(&mut StreamWriter) -> T + Send + 'static,
        T: SourceResult,
    {
        let core = self.new_stream();
        start_source(&core, &self, write_stream_to);
        ChunkReader::new(core)
    }

    /// Starts an async source and returns the reading end: see
    /// [`stream_out_async_write`](crate::stream_out_async_write).
    pub fn stream_out_async_write<F, R, T>(self, write_stream_to: F) -> ChunkReader
    where
        F: FnOnce(AsyncStreamWriter) -> R,
        R: Future<Output = T> + Send + 'static,
        T: SourceResult,
    {
        let core = self.new_stream();
        let writer = AsyncStreamWriter::new(StreamWriter::new(Arc::clone(&core)));
        let writing = write_stream_to(writer);
        let writing = async move { writing.await.into_result() };
        #[cfg(feature = "tracing")]
        let writing = in_span(core.span(), writing);
        core.async_source.park(writing);
        let job = Job {
            core: Arc::clone(&core),
            source: Source::Reader,
        };
        submit(job, &self);
        ChunkReader::new(core)
    }

    /// Streams the items of an async stream, without a thread: each is written as by
    /// [`AsyncStreamWriter::write_bytes`]. Everything else is as for
    /// [`stream_out_async_write`](crate::stream_out_async_write).
    ///
    /// ```
    /// use bytes::Bytes;
    /// use datastreamer::{Error, StreamOptions};
    /// use futures_util::stream;
    /// let rows = stream::iter(["id,name\n", "1,star 1\n"]);
    /// let rows = futures_util::StreamExt::map(rows, |row| Ok::<_, Error>(Bytes::from(row)));
    /// let chunks = StreamOptions::new().stream_out_async(rows);
    /// assert_eq!(chunks.read_to_vec()?, b"id,name\n1,star 1\n");
    /// # Ok::<(), Error>(())
    /// ```
    #[cfg(feature = "futures")]
    pub fn stream_out_async<S, E>(self, source: S) -> ChunkReader
    where
        S: futures_core::Stream<Item = Result<bytes::Bytes, E>> + Send + 'static,
        E: Into<Box<dyn StdError + Send + Sync>> + Send + 'static,
    {
        let mut source = Box::pin(source);
        self.stream_out_async_write(|mut out| async move {
            while let Some(item) = poll_fn(|cx| source.as_mut().poll_next(cx)).await {
                out.write_bytes(item.map_err(Error::source_failed)?).await?;
            }
            Ok::<(), Error>(())
        })
    }
}

#[cfg(feature = "tracing")]
async fn in_span<F: Future>(span: tracing::Span, future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| {
        let _entered = span.enter();
        future.as_mut().poll(cx)
    })
    .await
}

impl StreamPool {
    /// Starts a source in this pool: see [`crate::stream_out`].
    pub fn stream_out<F, T>(&self, write_stream_to: F) -> ChunkReader
    where
        F: FnOnce(&mut StreamWriter) -> T + Send + 'static,
        T: SourceResult,
    {
        StreamOptions::new().pool(self).stream_out(write_stream_to)
    }
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
        Err(Refused { job, error }) => job.end_unrun(error),
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
    .unwrap_or_else(|payload| Err(Error::source_panicked(payload.as_ref())));
    verdict(core, returned)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_source_whose_stream_was_stopped_before_its_thread_ran_is_dropped_uncalled() {
        let core = StreamOptions::new().new_stream();
        core.stop(Error::of_kind(ErrorKind::ShutDown));
        let held = Arc::new(());
        let holds = Arc::clone(&held);
        let end = run(&core, move |_: &mut StreamWriter| -> () {
            unreachable!("called: {holds:?}")
        });
        assert!(matches!(end, End::Abort(error) if error.kind() == ErrorKind::ShutDown));
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
