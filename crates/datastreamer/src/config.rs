//! The options of a stream, as the caller sets them.
//!
//! [`StreamOptions`] accepts any value; `resolve` turns them into [`Settings`], which need no
//! further check. `streamer.rs` starts streams with them.

use std::{sync::Arc, time::Duration};

use crate::{
    chunk::CHUNK_BYTES_MAX,
    depth::Growing,
    error::Error,
    handle::StreamHandle,
    pool::StreamPool,
    settings::{EndOnStop, Settings},
    share::Share,
    stream_core::StreamCore,
};

/// 64 KiB per chunk, for a consumer that is not fast. Less costs throughput (32 KiB reach 0.75 of a
/// body without a producer); more costs memory for each stalled client.
pub const DEFAULT_CHUNK_BYTES: usize = 64 * 1024;

/// 512 KiB per chunk, for a fast consumer: a quarter of its buffer. A server that sends each chunk with
/// a call of its own to the kernel reaches 3.9 GB/s on loopback HTTP with them, 2.9 with chunks of 256
/// KiB and 2.4 with chunks of 128 KiB; chunks of 1 MiB are not faster.
pub const DEFAULT_FAST_CHUNK_BYTES: usize = 512 * 1024;

/// Four chunks: one being filled, one being sent, two to absorb jitter between them. A thousand
/// stalled clients hold at most 256 MiB. A fast consumer gets [`DEFAULT_FAST_BUFFER_BYTES`].
pub const DEFAULT_BUFFER_BYTES: usize = 4 * DEFAULT_CHUNK_BYTES;

/// 2 MiB: a millisecond at loopback speed. Half of it costs 15 % more CPU there; twice as much
/// saves nothing measurable.
pub const DEFAULT_FAST_BUFFER_BYTES: usize = 2 * 1024 * 1024;

/// A quarter of a second: short enough for a progress bar to appear to move, and 4 partial chunks a
/// second cost little compared with the work of the source.
pub const DEFAULT_FLUSH_AFTER: Duration = Duration::from_millis(250);

/// One minute without a byte taken: longer than a laptop takes to change networks, and shorter than
/// an operator accepts for a dead client that holds a database cursor.
pub const DEFAULT_CONSUMER_STALL: Duration = Duration::from_secs(60);

/// Ten minutes without a byte written: long queries compute for minutes before they yield a row.
pub const DEFAULT_SOURCE_STALL: Duration = Duration::from_secs(600);

/// The settings of one stream; a builder that starts it.
///
/// ```
/// use std::io::Write;
/// let chunks = datastreamer::StreamOptions::new()
///     .chunk_bytes(4)
///     .stream_out(|out| out.write_all(b"abcdef"));
/// let sizes: Vec<usize> = chunks.into_iter().map(|c| Ok(c?.len())).collect::<Result<_, datastreamer::Error>>()?;
/// assert_eq!(sizes, [4, 2]);
/// # Ok::<(), datastreamer::Error>(())
/// ```
#[derive(Clone, Default)]
#[must_use = "options start nothing by themselves"]
pub struct StreamOptions {
    chunk_bytes: Option<usize>,
    buffer_bytes: Option<usize>,
    fast_buffer_bytes: Option<usize>,
    flush_after: Option<Option<Duration>>,
    length: Option<u64>,
    consumer_stall: Option<Option<Duration>>,
    min_bytes_per_second: u64,
    source_stall: Option<Option<Duration>>,
    end_on_stop: EndOnStop,
    context: Option<Arc<str>>,
    pool: Option<StreamPool>,
    shares: Vec<Share>,
    shares_place_of: Option<StreamHandle>,
}

impl StreamOptions {
    /// Starts from the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the size of the chunks that the consumer receives, in bytes; 0 counts as 1, more than
    /// [`CHUNK_BYTES_MAX`] as that. If it is
    /// not set, chunks grow with the buffer of a fast consumer, up to [`DEFAULT_FAST_CHUNK_BYTES`].
    pub fn chunk_bytes(mut self, bytes: usize) -> Self {
        self.chunk_bytes = Some(bytes);
        self
    }

    /// Limits the bytes that have been written and not yet released by the consumer, including the
    /// chunk being filled. A chunk counts with the full capacity of its buffer, even if it was
    /// flushed half full. The minimum is two chunks; less counts as two chunks.
    ///
    /// If this limit is set, it holds for every consumer, unless
    /// [`fast_buffer_bytes`](Self::fast_buffer_bytes) is set as well.
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.buffer_bytes = Some(bytes);
        self
    }

    /// Sets the same limit for a fast consumer: one that repeatedly empties the buffer within 5 ms.
    /// A larger buffer saves thread switches. The part beyond `buffer_bytes` is borrowed from the
    /// pool's reserve ([`crate::PoolOptions::reserve_bytes`]) and returned when the consumer
    /// becomes slow. If the reserve is exhausted, the buffer does not grow.
    pub fn fast_buffer_bytes(mut self, bytes: usize) -> Self {
        self.fast_buffer_bytes = Some(bytes);
        self
    }

    /// Sets how long written bytes may wait for a chunk to fill; `None`: without limit.
    pub fn flush_after(mut self, delay: impl Into<Option<Duration>>) -> Self {
        self.flush_after = Some(delay.into());
        self
    }

    /// Promises the exact number of bytes. A source that writes more or fewer bytes has failed, and
    /// the last byte is delivered only after the source has succeeded.
    pub fn length(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.length = bytes.into();
        self
    }

    /// Drops a consumer that takes nothing for this long; `None`: never. Fetching a chunk and
    /// releasing one both count as taking. A consumer that may need longer for one chunk reports
    /// its progress with [`crate::StreamHandle::note_progress`].
    ///
    /// What is queued for a consumer that has stalled is dropped, and its place goes to another
    /// stream as soon as the source has ended, although the consumer may never notice. The chunks
    /// that it still holds are charged to the pool's reserve until it drops them.
    pub fn consumer_stall(mut self, deadline: impl Into<Option<Duration>>) -> Self {
        self.consumer_stall = Some(deadline.into());
        self
    }

    /// Drops a consumer that takes fewer bytes per second, measured over `consumer_stall` (over
    /// [`DEFAULT_CONSUMER_STALL`] if there is none) and only while the consumer has something to take.
    /// 0 (the default): no minimum.
    pub fn min_bytes_per_second(mut self, bytes: u64) -> Self {
        self.min_bytes_per_second = bytes;
        self
    }

    /// Stops a source that writes nothing for this long although it could write; `None`: never.
    pub fn source_stall(mut self, deadline: impl Into<Option<Duration>>) -> Self {
        self.source_stall = Some(deadline.into());
        self
    }

    /// Sets what a stop means for a consumer that is still connected. If the length was promised, a
    /// part is never complete, so a stop means [`EndOnStop::Abort`].
    pub fn end_on_stop(mut self, end_on_stop: EndOnStop) -> Self {
        self.end_on_stop = end_on_stop;
        self
    }

    /// Names the stream for its record and its log lines, for example the request's path.
    pub fn context(mut self, context: impl Into<Arc<str>>) -> Self {
        self.context = Some(context.into());
        self
    }

    /// Runs the stream in this pool instead of the process's global pool.
    pub fn pool(mut self, pool: &StreamPool) -> Self {
        self.pool = Some(pool.clone());
        self
    }

    /// Counts the stream in a share of the pool's places, beside those set before. It waits for a
    /// place of the pool and of each of its shares, all at once, and gives them back together.
    /// Ignored with [`within_admitted_stream`](Self::within_admitted_stream).
    pub fn share(mut self, share: Share) -> Self {
        self.shares.push(share);
        self
    }

    /// Shares the place of another stream instead of requesting one, because this stream only
    /// transforms the other (a compressor, a tee). It starts when the other has its place, on a
    /// thread of its own, and fails as the other does if there is no place. The place passes to the
    /// next stream in line when both are done.
    pub fn within_admitted_stream(mut self, other: &StreamHandle) -> Self {
        self.shares_place_of = Some(other.clone());
        self
    }

    /// Returns why a stream with these options would be refused at once: the pool is shutting down, or
    /// it is full and so are its queue, or those of the shares. `Ok` promises nothing, because the
    /// pool may be full a moment later.
    ///
    /// # Errors
    /// [`ErrorKind::ShutDown`](crate::ErrorKind::ShutDown), [`ErrorKind::Busy`](crate::ErrorKind::Busy)
    /// or [`ErrorKind::ConsumerAtLimit`](crate::ErrorKind::ConsumerAtLimit).
    pub fn check_admission(&self) -> Result<(), Error> {
        match self.shares_place_of {
            Some(_) => Ok(()),
            None => self.pool_or_global().check_admission(&self.shares),
        }
    }

    fn pool_or_global(&self) -> &StreamPool {
        self.pool.as_ref().unwrap_or_else(|| StreamPool::global())
    }

    /// Makes the state of a stream with these options.
    pub(crate) fn new_stream(&self) -> Arc<StreamCore> {
        StreamCore::new(self.resolve(), self.pool_or_global().clone())
    }

    pub(crate) fn shares_place_of(&self) -> Option<&Arc<StreamCore>> {
        self.shares_place_of.as_ref().map(StreamHandle::core)
    }

    fn resolve_chunk(&self) -> Growing {
        match (self.chunk_bytes, self.buffer_bytes) {
            (Some(bytes), _) => Growing::fixed(bytes.clamp(1, CHUNK_BYTES_MAX)),
            // A small buffer makes small chunks.
            (None, Some(buffer_bytes)) => Growing {
                base: DEFAULT_CHUNK_BYTES.min(buffer_bytes / 2).max(1),
                max: DEFAULT_FAST_CHUNK_BYTES,
            },
            (None, None) => Growing {
                base: DEFAULT_CHUNK_BYTES,
                max: DEFAULT_FAST_CHUNK_BYTES,
            },
        }
    }

    fn resolve_buffer(&self, least_bytes: usize) -> Growing {
        let asked = self.buffer_bytes.unwrap_or(DEFAULT_BUFFER_BYTES);
        let base = asked.max(least_bytes);
        let max = match (self.fast_buffer_bytes, self.buffer_bytes) {
            (Some(bytes), _) => bytes,
            (None, Some(_)) => base,
            (None, None) => DEFAULT_FAST_BUFFER_BYTES,
        };
        Growing {
            base,
            max: max.max(base),
        }
    }

    pub(crate) fn resolve(&self) -> Settings {
        let chunk = self.resolve_chunk();
        Settings {
            chunk,
            buffer: self.resolve_buffer(chunk.base.saturating_mul(2)),
            flush_after: self.flush_after.unwrap_or(Some(DEFAULT_FLUSH_AFTER)),
            length: self.length,
            consumer_stall: self.consumer_stall.unwrap_or(Some(DEFAULT_CONSUMER_STALL)),
            min_bytes_per_second: self.min_bytes_per_second,
            source_stall: self.source_stall.unwrap_or(Some(DEFAULT_SOURCE_STALL)),
            end_on_stop: match self.length {
                Some(_) => EndOnStop::Abort,
                None => self.end_on_stop,
            },
            context: self.context.clone().unwrap_or_else(|| Arc::from("")),
            shares: self.shares.clone(),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_asked_for_resolves_to_something_that_works() {
        let settings = StreamOptions::new().resolve();
        let grows = |base, max| Growing { base, max };
        let chunk = grows(DEFAULT_CHUNK_BYTES, DEFAULT_FAST_CHUNK_BYTES);
        assert_eq!(settings.chunk, chunk);
        let buffer = grows(DEFAULT_BUFFER_BYTES, DEFAULT_FAST_BUFFER_BYTES);
        assert_eq!(settings.buffer, buffer);
        assert_eq!(settings.flush_after, Some(DEFAULT_FLUSH_AFTER));
        assert_eq!(settings.consumer_stall, Some(DEFAULT_CONSUMER_STALL));
        assert_eq!(settings.source_stall, Some(DEFAULT_SOURCE_STALL));
        for (chunk_bytes, buffer_bytes, resolved) in [
            (0, 0, (1, 2)),
            (10, 0, (10, 20)),
            (10, 25, (10, 25)),
            (usize::MAX, 1, (16 << 20, 32 << 20)),
            (usize::MAX, usize::MAX, (16 << 20, usize::MAX)),
        ] {
            let options = StreamOptions::new()
                .chunk_bytes(chunk_bytes)
                .buffer_bytes(buffer_bytes);
            let settings = options.resolve();
            let (chunk_bytes, buffer_bytes) = resolved;
            assert_eq!(settings.chunk, Growing::fixed(chunk_bytes));
            assert_eq!(settings.buffer, Growing::fixed(buffer_bytes), "a bound");
            let settings = options.fast_buffer_bytes(1000).resolve();
            assert_eq!(settings.buffer, grows(buffer_bytes, buffer_bytes.max(1000)));
        }
        let small = StreamOptions::new().buffer_bytes(1000).resolve();
        assert_eq!(
            (small.chunk.base, small.buffer),
            (500, Growing::fixed(1000))
        );
    }

    #[test]
    fn a_promised_length_rules_out_that_a_stop_finishes() {
        let finishing = StreamOptions::new().end_on_stop(EndOnStop::Finish);
        assert_eq!(finishing.clone().resolve().end_on_stop, EndOnStop::Finish);
        assert_eq!(finishing.length(7).resolve().end_on_stop, EndOnStop::Abort);
    }
}
