//! The limits of a spool, as the caller sets them; `table.rs` keeps to them.

use std::time::Duration;

/// 10 GiB in all: five of the largest productions.
pub const DEFAULT_TOTAL_BYTES_MAX: u64 = 10 << 30;
/// 2 GiB for one production: larger results are better streamed without a spool.
pub const DEFAULT_PRODUCTION_BYTES_MAX: u64 = 2 << 30;
/// 1 GiB for all productions of a client, a tenth of the whole: ten clients fill the spool.
pub const DEFAULT_CLIENT_BYTES_MAX: u64 = 1 << 30;
/// 10,000 productions: at most some 20 MB of memory for what is known of them.
pub const DEFAULT_PRODUCTIONS_MAX: usize = 10_000;
/// 1 MiB of the newest bytes in memory for each production that runs: a reader that is within a few
/// chunks of the front reads no file. 512 running productions hold at most 512 MiB.
pub const DEFAULT_TAIL_BYTES: usize = 1 << 20;
/// One hour: a client that lost its connection returns within it.
pub const DEFAULT_KEEP: Duration = Duration::from_secs(3600);

/// The limits of a spool; a builder.
///
/// ```
/// let options = datastreamer_spool::SpoolOptions::new()
///     .total_bytes_max(100 << 30)
///     .production_bytes_max(20 << 30);
/// ```
#[derive(Clone, Debug)]
#[must_use = "options open nothing by themselves"]
pub struct SpoolOptions {
    pub(crate) total_bytes_max: u64,
    pub(crate) production_bytes_max: u64,
    pub(crate) client_bytes_max: u64,
    pub(crate) productions_max: usize,
    pub(crate) tail_bytes: usize,
    pub(crate) keep: Duration,
}

impl SpoolOptions {
    /// Returns the default options.
    pub fn new() -> Self {
        Self {
            total_bytes_max: DEFAULT_TOTAL_BYTES_MAX,
            production_bytes_max: DEFAULT_PRODUCTION_BYTES_MAX,
            client_bytes_max: DEFAULT_CLIENT_BYTES_MAX,
            productions_max: DEFAULT_PRODUCTIONS_MAX,
            tail_bytes: DEFAULT_TAIL_BYTES,
            keep: DEFAULT_KEEP,
        }
    }

    /// Limits the bytes of all productions together; default [`DEFAULT_TOTAL_BYTES_MAX`]. A manifest
    /// of about 1 KiB for each complete production is not counted.
    pub fn total_bytes_max(mut self, bytes: u64) -> Self {
        self.total_bytes_max = bytes;
        self
    }

    /// Limits the bytes of one production; default [`DEFAULT_PRODUCTION_BYTES_MAX`].
    pub fn production_bytes_max(mut self, bytes: u64) -> Self {
        self.production_bytes_max = bytes;
        self
    }

    /// Limits the bytes of all productions that one client has begun; default
    /// [`DEFAULT_CLIENT_BYTES_MAX`].
    pub fn client_bytes_max(mut self, bytes: u64) -> Self {
        self.client_bytes_max = bytes;
        self
    }

    /// Limits the number of productions; default [`DEFAULT_PRODUCTIONS_MAX`].
    pub fn productions_max(mut self, productions: usize) -> Self {
        self.productions_max = productions;
        self
    }

    /// Sets how many of its newest bytes a running production keeps in memory; default
    /// [`DEFAULT_TAIL_BYTES`].
    pub fn tail_bytes(mut self, bytes: usize) -> Self {
        self.tail_bytes = bytes;
        self
    }

    /// Sets how long a complete production is kept after its last use, if its
    /// [`Beginning`](crate::Beginning) does not say so; default [`DEFAULT_KEEP`].
    pub fn keep(mut self, time: Duration) -> Self {
        self.keep = time;
        self
    }
}

impl Default for SpoolOptions {
    fn default() -> Self {
        Self::new()
    }
}
