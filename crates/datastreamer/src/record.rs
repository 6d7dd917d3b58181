//! What is recorded about a stream, while it runs and afterwards: identity, figures, outcome.

use std::{
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use crate::{
    error::Error,
    outcome::{BlockedOn, Outcome},
};

/// A stream's identity: unique in the process and, very probably, across processes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(u64);

impl StreamId {
    /// Counts up from a random start and permutes the count, so that consecutive ids look
    /// different.
    pub(crate) fn next() -> Self {
        static START: OnceLock<u64> = OnceLock::new();
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let start = START.get_or_init(|| RandomState::new().build_hasher().finish());
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        // Multiplication by an odd factor permutes the 64-bit numbers, so no two counts collide
        // (Knuth, TAOCP 3, 6.4).
        Self(
            start
                .wrapping_add(count)
                .wrapping_mul(0x9E37_79B9_7F4A_7C15),
        )
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamId({self})")
    }
}

/// A stream's figures at one moment; final once [`Record::outcome`] is set and the source is done.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Record {
    /// The stream's identity.
    pub id: StreamId,
    /// The caller's name for the stream.
    pub context: Arc<str>,
    /// When the stream was requested.
    pub started: SystemTime,
    /// How long the stream took, or has taken so far.
    pub duration: Duration,
    /// Bytes that the source has written.
    pub bytes_written: u64,
    /// Bytes that the consumer has taken.
    pub bytes_delivered: u64,
    /// Chunks that the consumer has taken.
    pub chunks_delivered: u64,
    /// Bytes that the source had promised.
    pub bytes_expected: Option<u64>,
    /// Rows (or members) written, as reported by the source.
    pub rows: u64,
    /// Rows (or members) that the source expects to write.
    pub rows_expected: Option<u64>,
    /// From the start until the consumer took its first chunk.
    pub time_to_first_byte: Option<Duration>,
    /// How long the source has waited for the consumer.
    pub blocked_on_consumer: Duration,
    /// How long the consumer has waited for the source.
    pub blocked_on_source: Duration,
    /// Which side waits for the other now.
    pub blocked_on: BlockedOn,
    /// How the stream ended; `None` while it runs.
    pub outcome: Option<Outcome>,
    /// Why the stream ended so; `None` while it runs and after a clean end.
    pub error: Option<Error>,
}
