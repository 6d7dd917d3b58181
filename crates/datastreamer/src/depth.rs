//! How deep a stream's buffer is, and how large its chunks: shallow for a slow consumer, deep for
//! a fast one.
//!
//! `queue.rs` asks for the limit and tells how long its writer had to wait. A source that is
//! woken for every few chunks spends more on thread switches than on bytes (at 2 GB/s a buffer of
//! 512 KiB costs 5,500 switches a gigabyte, one of 2 MiB 900, and a third of the CPU less); a
//! deep buffer before a consumer that stalls is memory for nothing. So each stream begins with
//! a base, and borrows more from its pool's [`Reserve`] while the consumer empties what it has
//! within [`FAST_DRAIN`]; its chunks grow with it. What all streams borrow is bounded by the
//! reserve.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// A consumer that empties the buffer faster gets a deeper one: five milliseconds, about one
/// timeslice, is how long a source may be kept from its core when the machine is busy, and the
/// buffer must last as long.
const FAST_DRAIN: Duration = Duration::from_millis(5);

/// A consumer that takes longer has become slow and gets the base again.
const SLOW_DRAIN: Duration = Duration::from_millis(100);

/// So many times its depth a stream must have delivered before it gets deeper: at the default
/// base 4 MiB, more than the kernel takes of a client that reads nothing.
const DELIVERED_DEPTHS_MIN: u64 = 16;

/// What the streams of a pool may hold beyond their bases, in bytes. Clones are the same reserve.
#[derive(Clone, Debug)]
pub(crate) struct Reserve {
    left_bytes: Arc<AtomicUsize>,
}

impl Reserve {
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            left_bytes: Arc::new(AtomicUsize::new(bytes)),
        }
    }

    /// Takes so much, or nothing.
    fn take(&self, bytes: usize) -> bool {
        let enough = |left: usize| left.checked_sub(bytes);
        self.left_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, enough)
            .is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.left_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// A size that grows with the consumer's speed, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Growing {
    pub(crate) base: usize,
    /// At least `base`.
    pub(crate) max: usize,
}

impl Growing {
    pub(crate) fn fixed(bytes: usize) -> Self {
        Self {
            base: bytes,
            max: bytes,
        }
    }

    fn at(self, doublings: u32) -> usize {
        let times = 1_usize.checked_shl(doublings).unwrap_or(usize::MAX);
        self.base.saturating_mul(times).min(self.max)
    }
}

/// The depth of one stream's buffer; gives back what it borrowed when it is dropped.
#[derive(Debug)]
pub(crate) struct Depth {
    buffer: Growing,
    chunk: Growing,
    /// How often both have grown.
    doublings: u32,
    /// What had been delivered at the last change.
    delivered_at_change: u64,
    reserve: Reserve,
}

impl Depth {
    /// Chunks stay within half of the buffer.
    pub(crate) fn new(buffer: Growing, chunk: Growing, reserve: &Reserve) -> Self {
        Self {
            buffer,
            chunk,
            doublings: 0,
            delivered_at_change: 0,
            reserve: reserve.clone(),
        }
    }

    /// A depth that never changes, without a chunk being filled.
    #[cfg(test)]
    pub(crate) fn fixed(bytes: usize) -> Self {
        Self::new(Growing::fixed(bytes), Growing::fixed(0), &Reserve::new(0))
    }

    /// What the buffer may hold, the chunk being filled included.
    pub(crate) fn bytes(&self) -> usize {
        self.buffer.at(self.doublings)
    }

    /// The size of the next chunk.
    pub(crate) fn chunk_bytes(&self) -> usize {
        self.chunk.at(self.doublings).min(self.bytes() / 2)
    }

    /// What may be queued or in the consumer's hands: the chunk being filled is part of the
    /// buffer, and neither.
    pub(crate) fn limit_bytes(&self) -> usize {
        self.bytes() - self.chunk_bytes()
    }

    /// How little of it wakes a source that waits for room. In batches: woken for every chunk it
    /// would run a chunk at a time, with two thread switches each. Not at nothing: while the
    /// source wakes, the consumer has a quarter to go on with.
    pub(crate) fn low_water_bytes(&self) -> usize {
        self.limit_bytes() / 4
    }

    /// Makes all chunks from here on as large, or half of the buffer's base.
    pub(crate) fn set_chunk_bytes(&mut self, bytes: usize) {
        self.chunk = Growing::fixed(bytes.min(self.buffer.base / 2));
    }

    /// Takes note that the consumer took `waited` to empty the buffer to its low water, and that
    /// it has taken `delivered` bytes since the stream began.
    pub(crate) fn adapt(&mut self, waited: Duration, delivered: u64) {
        if waited > SLOW_DRAIN {
            self.reserve.give_back(self.borrowed_bytes());
            self.doublings = 0;
            self.delivered_at_change = delivered;
        } else if waited < FAST_DRAIN && self.has_proved_itself(delivered) {
            let more_bytes = self.buffer.at(self.doublings + 1) - self.bytes();
            if more_bytes > 0 && self.reserve.take(more_bytes) {
                self.doublings += 1;
                self.delivered_at_change = delivered;
            }
        }
    }

    fn borrowed_bytes(&self) -> usize {
        self.bytes() - self.buffer.base
    }

    fn has_proved_itself(&self, delivered: u64) -> bool {
        let since_change = delivered - self.delivered_at_change;
        since_change >= DELIVERED_DEPTHS_MIN.saturating_mul(self.bytes() as u64)
    }
}

impl Drop for Depth {
    fn drop(&mut self) {
        self.reserve.give_back(self.borrowed_bytes());
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const FAST: Duration = Duration::from_millis(1);
    const SLOW: Duration = Duration::from_millis(200);

    fn left(reserve: &Reserve) -> usize {
        reserve.left_bytes.load(Ordering::Relaxed)
    }

    fn depth(reserve: &Reserve) -> Depth {
        let (buffer, chunk) = (
            Growing {
                base: 100,
                max: 500,
            },
            Growing { base: 20, max: 50 },
        );
        Depth::new(buffer, chunk, reserve)
    }

    #[test]
    fn a_fast_consumer_gets_a_deeper_buffer_step_by_step_and_no_deeper_than_allowed() {
        let reserve = Reserve::new(1000);
        let mut depth = depth(&reserve);
        assert_eq!((depth.bytes(), depth.limit_bytes()), (100, 80));
        depth.adapt(FAST, 1599);
        assert_eq!(depth.bytes(), 100, "it has not taken enough");
        depth.adapt(FAST, 1600);
        assert_eq!((depth.bytes(), depth.chunk_bytes()), (200, 40));
        depth.adapt(FAST, 1600 + 3199);
        assert_eq!(depth.bytes(), 200, "not enough since then");
        depth.adapt(FAST, 10_000);
        depth.adapt(FAST, 100_000);
        depth.adapt(FAST, 1_000_000);
        assert_eq!((depth.bytes(), depth.chunk_bytes()), (500, 50));
        assert_eq!(depth.limit_bytes(), 450);
        assert_eq!(left(&reserve), 600);
    }

    #[test]
    fn a_consumer_that_becomes_slow_gets_the_base_again() {
        let reserve = Reserve::new(1000);
        let mut depth = depth(&reserve);
        depth.adapt(FAST, 10_000);
        depth.adapt(Duration::from_millis(50), 100_000);
        assert_eq!(depth.bytes(), 200, "neither fast nor slow");
        depth.adapt(SLOW, 100_000);
        assert_eq!((depth.bytes(), depth.chunk_bytes()), (100, 20));
        assert_eq!(left(&reserve), 1000);
    }

    #[test]
    fn a_chunk_size_that_was_set_stays() {
        let reserve = Reserve::new(1000);
        let mut depth = depth(&reserve);
        depth.set_chunk_bytes(10);
        depth.adapt(FAST, 10_000);
        assert_eq!((depth.bytes(), depth.chunk_bytes()), (200, 10));
        depth.set_chunk_bytes(1000);
        assert_eq!(depth.chunk_bytes(), 50, "half of the base");
    }

    #[test]
    fn the_reserve_bounds_what_all_borrow_and_gets_it_back() {
        let reserve = Reserve::new(150);
        let (mut first, mut second) = (depth(&reserve), depth(&reserve));
        first.adapt(FAST, 10_000);
        second.adapt(FAST, 10_000);
        first.adapt(FAST, 100_000);
        assert_eq!((first.bytes(), second.bytes()), (200, 100));
        assert_eq!(left(&reserve), 50);
        drop(first);
        second.adapt(FAST, 20_000);
        assert_eq!((second.bytes(), left(&reserve)), (200, 50));
        drop(second);
        assert_eq!(left(&reserve), 150);
    }
}
