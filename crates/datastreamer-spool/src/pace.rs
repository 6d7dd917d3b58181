//! How much a reader takes at a time: little for a consumer that takes nothing or little, much for one
//! that is fast.
//!
//! `reader.rs` reports how long its consumer took for what it was given. A consumer that stalls holds
//! what it was given last, so a reader of a file that can be read again gives it little.

use std::time::Duration;

use crate::blocks::BLOCK_BYTES;

/// What a reader takes from a file at a time, and hands over to a fast consumer: 256 KiB. A read costs
/// a switch to another thread and back, some 20 µs, which is less than what it takes to send so much.
/// A consumer gets it as one chunk if its stream has
/// [`chunk_bytes`](datastreamer::StreamOptions::chunk_bytes) of that size.
pub const READ_BYTES: usize = 256 * 1024;

/// 16 KiB: less than half of what a connection takes anyway, and the least that goes through a stream
/// without another copy.
const CAREFUL_PIECE_BYTES: usize = 16 * 1024;

/// 4 MiB, more than the system takes for a client that reads nothing: behind it a consumer has shown
/// that it reads.
const FAST_FROM_BYTES: u64 = 4 << 20;

/// 1 MB/s, over 256 KiB: a slower consumer has time for many small pieces. One of a hundred that share
/// the processors waits for some 10 ms now and then, which is no sign of its own pace.
const SLOW_BYTES_PER_SECOND: f64 = 1e6;

/// The pace of one reader.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Taken in a row faster than [`SLOW_BYTES_PER_SECOND`].
    quick_bytes: u64,
    /// The last to be slow was slower than that, and has not been fast since.
    is_slow: bool,
    /// Taken since it was judged, and in which time.
    bytes: usize,
    time: Duration,
}

impl Pace {
    /// Whether pieces are as large as reads, and the next read begins before it is needed.
    pub(crate) fn is_fast(&self) -> bool {
        self.quick_bytes >= FAST_FROM_BYTES
    }

    /// Bytes of a piece that is handed over, at most. A small one is copied out of what was read, so
    /// that it holds no more than itself.
    pub(crate) fn piece_bytes(&self) -> usize {
        match self.is_fast() {
            true => READ_BYTES,
            false => CAREFUL_PIECE_BYTES,
        }
    }

    /// Bytes of a read that nobody shares, at most.
    pub(crate) fn read_bytes(&self) -> u64 {
        match self.is_fast() {
            true => READ_BYTES as u64,
            false => BLOCK_BYTES,
        }
    }

    /// Whether a read for all that follow is worth its bytes: a slow consumer needs the rest of it when
    /// it is forgotten.
    pub(crate) fn shares(&self) -> bool {
        !self.is_slow
    }

    /// Records for how long the consumer had so many bytes before it asked for more.
    pub(crate) fn taken(&mut self, bytes: usize, time: Duration) {
        self.bytes += bytes;
        self.time += time;
        let slow_bytes = SLOW_BYTES_PER_SECOND * self.time.as_secs_f64();
        if self.bytes < READ_BYTES && slow_bytes < READ_BYTES as f64 {
            return;
        }
        self.time = Duration::ZERO;
        let bytes = std::mem::take(&mut self.bytes);
        if (bytes as f64) < slow_bytes {
            self.quick_bytes = 0;
            self.is_slow = true;
            return;
        }
        self.quick_bytes += bytes as u64;
        self.is_slow &= !self.is_fast();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_millis(1);
    const SLOW: Duration = Duration::from_secs(1);

    #[test]
    fn pieces_grow_for_a_consumer_that_reads_and_shrink_for_one_that_stops() {
        let mut pace = Pace::default();
        let mut bytes = 0;
        while !pace.is_fast() {
            assert_eq!(pace.piece_bytes(), CAREFUL_PIECE_BYTES);
            assert_eq!(pace.read_bytes(), BLOCK_BYTES);
            assert!(pace.shares());
            pace.taken(pace.piece_bytes(), QUICK);
            bytes += pace.piece_bytes();
        }
        assert!(
            bytes >= 4 << 20,
            "a client that reads nothing stays below it"
        );
        assert_eq!(pace.piece_bytes(), READ_BYTES);
        assert_eq!(pace.read_bytes(), READ_BYTES as u64);
        pace.taken(pace.piece_bytes(), SLOW);
        assert_eq!(pace.piece_bytes(), CAREFUL_PIECE_BYTES);
        assert_eq!(pace.read_bytes(), BLOCK_BYTES);
        assert!(!pace.shares());
    }

    #[test]
    fn a_short_wait_is_no_sign_of_a_slow_consumer() {
        let mut pace = Pace::default();
        for _ in 0..256 / 16 {
            pace.taken(CAREFUL_PIECE_BYTES, Duration::from_millis(100));
            for _ in 1..16 {
                pace.taken(CAREFUL_PIECE_BYTES, QUICK);
            }
        }
        assert!(pace.is_fast() && pace.shares());
    }

    #[test]
    fn a_slow_consumer_that_becomes_fast_is_served_as_one() {
        let mut pace = Pace::default();
        pace.taken(CAREFUL_PIECE_BYTES, SLOW);
        for _ in 0..256 {
            assert!(!pace.shares());
            pace.taken(CAREFUL_PIECE_BYTES, QUICK);
        }
        assert!(pace.is_fast() && pace.shares());
    }
}
