//! The limits of a pool, as the caller sets them; `pool.rs` keeps to them.

use std::time::Duration;

/// 512 streams: at the default buffer of 256 KiB the process holds at most 128 MiB of chunks, plus
/// the reserve.
pub const DEFAULT_MAX_ACTIVE: usize = 512;
/// Twice the active streams: a stream beyond that would rarely get a place within the queue
/// timeout.
pub const DEFAULT_MAX_WAITING: usize = 1024;
/// 64 MiB: enough for 36 streams at the default maximum depth, more than saturate a machine.
pub const DEFAULT_RESERVE_BYTES: usize = 64 * 1024 * 1024;
/// Ten seconds: shorter than the timeouts of common clients and proxies (30 to 60 s), so that they
/// receive a clear refusal.
pub const DEFAULT_QUEUE_TIMEOUT: Duration = Duration::from_secs(10);
/// Idle threads end after this time: long enough to be reused in a burst, short enough for an idle
/// process to become small. A thousand idle threads occupy 35 MB: their stacks, and what the
/// allocator keeps for each.
pub const DEFAULT_IDLE_THREAD: Duration = Duration::from_secs(5);

/// Limits of a pool and the properties of its threads; a builder.
///
/// ```
/// use std::time::Duration;
/// use datastreamer::{PoolOptions, StreamPool};
/// let options = PoolOptions::new().max_active(64).queue_timeout(Duration::from_secs(3));
/// let pool = StreamPool::new(options);
/// assert_eq!(pool.stream_out(|out| out.write_slice(b"row")).read_to_vec()?, b"row");
/// # Ok::<(), datastreamer::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "options start nothing by themselves"]
pub struct PoolOptions {
    pub(crate) max_active: usize,
    pub(crate) max_waiting: usize,
    pub(crate) reserve_bytes: usize,
    pub(crate) queue_timeout: Duration,
    pub(crate) stack_bytes: Option<usize>,
    pub(crate) thread_name: String,
    pub(crate) idle_thread: Duration,
    pub(crate) log_ends: bool,
}

impl PoolOptions {
    /// Returns the default options.
    pub fn new() -> Self {
        Self {
            max_active: DEFAULT_MAX_ACTIVE,
            max_waiting: DEFAULT_MAX_WAITING,
            reserve_bytes: DEFAULT_RESERVE_BYTES,
            queue_timeout: DEFAULT_QUEUE_TIMEOUT,
            stack_bytes: None,
            thread_name: "datastreamer".into(),
            idle_thread: DEFAULT_IDLE_THREAD,
            log_ends: true,
        }
    }

    /// Sets how many streams may run at once; default [`DEFAULT_MAX_ACTIVE`]. 0 becomes 1.
    pub fn max_active(mut self, streams: usize) -> Self {
        self.max_active = streams.max(1);
        self
    }

    /// Sets how many streams may wait for a place; default [`DEFAULT_MAX_WAITING`]. A further stream
    /// is refused at once.
    pub fn max_waiting(mut self, streams: usize) -> Self {
        self.max_waiting = streams;
        self
    }

    /// Sets how many bytes all streams together may hold beyond their buffers, for fast consumers:
    /// see [`fast_buffer_bytes`](crate::StreamOptions::fast_buffer_bytes). Default
    /// [`DEFAULT_RESERVE_BYTES`].
    pub fn reserve_bytes(mut self, bytes: usize) -> Self {
        self.reserve_bytes = bytes;
        self
    }

    /// Sets how long a stream waits for a place; default [`DEFAULT_QUEUE_TIMEOUT`].
    pub fn queue_timeout(mut self, time: Duration) -> Self {
        self.queue_timeout = time;
        self
    }

    /// Sets the stack of each thread, in bytes; `None`, the default: as the platform has it.
    pub fn stack_bytes(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.stack_bytes = bytes.into();
        self
    }

    /// Sets the name of the threads, which a number follows; default `datastreamer`.
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.thread_name = name.into();
        self
    }

    /// Sets how long a thread waits for the next source before it ends; default
    /// [`DEFAULT_IDLE_THREAD`].
    pub fn idle_thread(mut self, time: Duration) -> Self {
        self.idle_thread = time;
        self
    }

    /// Sets whether the end of each stream is logged (feature `tracing`); default `true`. `false` is
    /// for a program that logs the records itself.
    pub fn log_ends(mut self, log: bool) -> Self {
        self.log_ends = log;
        self
    }
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self::new()
    }
}
