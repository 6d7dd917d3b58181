//! Starts a stream and runs its source.
//!
//! `stream_out` submits a source to the pool. On the pool's thread, `run` calls the source and turns
//! its return value, error or panic into the end of the queue.

use std::{
    error::Error as StdError,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use crate::{
    config::StreamOptions,
    error::Error,
    pool::{Job, Source, StreamPool},
    queue::End,
    reader::ChunkReader,
    stream_core::StreamCore,
    watchdog,
    writer::StreamWriter,
};

#[cfg(feature = "futures")]
use crate::pulled::Pulled;

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

impl StreamOptions {
    /// Starts a source on a thread of the pool and returns the reading end.
    ///
    /// Never blocks and never fails: if the pool refuses the stream, the reader's first poll
    /// returns the error ([`crate::ErrorKind::Busy`]). See [`crate::stream_out`].
    ///
    /// A source that never gets a place is dropped by the thread that stops the stream, or, after
    /// the queue timeout, by the watchdog thread that all streams share. So values that the source
    /// captures must not block when they are dropped.
    pub fn stream_out<F, T>(self, write_stream_to: F) -> ChunkReader
    where
        F: FnOnce(&mut StreamWriter) -> T + Send + 'static,
        T: SourceResult,
    {
        let core = self.new_stream();
        start_source(&core, &self, write_stream_to);
        ChunkReader::new(core)
    }

    /// Streams the items of an async stream, without a thread.
    ///
    /// The source is polled when the reader is polled, so it runs at the consumer's speed. It needs
    /// a place in the pool like any other source; the reader stays pending while it waits for one.
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
        E: Into<Box<dyn StdError + Send + Sync>> + 'static,
    {
        let core = self.new_stream();
        let pulled = Pulled::new(&core, source);
        let job = Job {
            core: Arc::clone(&core),
            source: Source::Reader,
        };
        submit(job, &self);
        ChunkReader::pulling(core, pulled)
    }
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
    .unwrap_or_else(|payload| Err(Error::source_panicked(payload.as_ref())));
    let closed = writer.close();
    match returned.and_then(|()| core.check_length(closed?)) {
        Ok(()) => End::Finish,
        Err(error) => End::Abort(error),
    }
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
