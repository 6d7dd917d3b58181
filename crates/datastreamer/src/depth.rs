//! The size of a stream's buffer and of its chunks: small for a slow consumer, large for a fast
//! one.
//!
//! `queue.rs` reads the limit and reports how long its writer waited. A source that is woken for
//! every few chunks spends more time on thread switches than on bytes (at 2 GB/s a buffer of 512
//! KiB costs 5,500 switches a gigabyte, one of 2 MiB 900, and a third of the CPU less); a deep
//! buffer in front of a consumer that stalls only wastes memory. So each stream begins with a base
//! size, and borrows more from its pool's [`Reserve`] while the consumer empties the buffer within
//! [`FAST_DRAIN`]; its chunks grow with the buffer. The reserve limits what all streams together
//! borrow.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use crate::{chunk::CHUNK_BYTES_MAX, sync::AtomicIsize};

/// A consumer that empties the buffer faster than this gets a deeper one. Five milliseconds are
/// about one timeslice: on a busy machine the source may be off its core for that long, and the
/// buffer must last meanwhile.
const FAST_DRAIN: Duration = Duration::from_millis(5);

/// A consumer that takes longer than this has become slow, and its buffer returns to the base size.
const SLOW_DRAIN: Duration = Duration::from_millis(100);

/// A stream must have delivered this many times its depth before it gets deeper: at the default
/// base 4 MiB, more than the kernel accepts for a client that reads nothing.
const DELIVERED_DEPTHS_MIN: u64 = 16;

/// Bytes that the streams of a pool may hold beyond their base sizes. Clones share one reserve.
#[derive(Clone, Debug)]
pub(crate) struct Reserve {
    /// Less than 0 while consumers that have stalled hold more than the reserve.
    left_bytes: Arc<AtomicIsize>,
}

impl Reserve {
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            left_bytes: Arc::new(AtomicIsize::new(signed(bytes))),
        }
    }

    /// Takes this many bytes, or nothing; returns whether it took them.
    fn take(&self, bytes: usize) -> bool {
        let rest = |left: isize| left.checked_sub(signed(bytes)).filter(|rest| *rest >= 0);
        self.left_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest)
            .is_ok()
    }

    /// Takes this many bytes, whether they are there or not.
    fn charge(&self, bytes: usize) {
        self.left_bytes.fetch_sub(signed(bytes), Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(crate) fn left(&self) -> isize {
        self.left_bytes.load(Ordering::Relaxed)
    }

    fn give_back(&self, bytes: usize) {
        self.left_bytes.fetch_add(signed(bytes), Ordering::Relaxed);
    }
}

fn signed(bytes: usize) -> isize {
    isize::try_from(bytes).unwrap_or(isize::MAX)
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

/// The depth of one stream's buffer; returns what it borrowed when it is dropped.
#[derive(Debug)]
pub(crate) struct Depth {
    buffer: Growing,
    chunk: Growing,
    /// How often both have grown.
    doublings: u32,
    /// Bytes delivered by the last change.
    delivered_at_change: u64,
    /// Bytes that the consumer held at the end of the stream, and holds still.
    beyond_the_end: usize,
    reserve: Reserve,
    /// Under loom there is no clock: what the next waits are taken to last, the last one first.
    #[cfg(loom)]
    waits: Vec<Duration>,
}

impl Depth {
    /// Chunks stay within half of the buffer.
    pub(crate) fn new(buffer: Growing, chunk: Growing, reserve: &Reserve) -> Self {
        Self {
            buffer,
            chunk,
            doublings: 0,
            delivered_at_change: 0,
            beyond_the_end: 0,
            reserve: reserve.clone(),
            #[cfg(loom)]
            waits: Vec::new(),
        }
    }

    #[cfg(all(test, loom))]
    pub(crate) fn with_waits(mut self, waits: &[Duration]) -> Self {
        self.waits = waits.iter().rev().copied().collect();
        self
    }

    /// A depth that never changes, without a chunk being filled.
    #[cfg(test)]
    pub(crate) fn fixed(bytes: usize) -> Self {
        Self::new(Growing::fixed(bytes), Growing::fixed(0), &Reserve::new(0))
    }

    /// Bytes that the buffer may hold, including the chunk being filled.
    pub(crate) fn bytes(&self) -> usize {
        self.buffer.at(self.doublings)
    }

    /// The size of the next chunk.
    pub(crate) fn chunk_bytes(&self) -> usize {
        self.chunk.at(self.doublings).min(self.bytes() / 2)
    }

    /// Bytes that may be queued or held by the consumer. The chunk being filled is part of the
    /// buffer, but neither queued nor held.
    pub(crate) fn limit_bytes(&self) -> usize {
        self.bytes() - self.chunk_bytes()
    }

    /// The fill level at which a source that waits for room is woken. Not at every chunk: the
    /// source would run one chunk at a time, with two thread switches each. Not at zero: while the
    /// source wakes up, the consumer has a quarter of the buffer left to take, and at least one
    /// chunk if the buffer holds two.
    pub(crate) fn low_water_bytes(&self) -> usize {
        let (limit, chunk) = (self.limit_bytes(), self.chunk_bytes());
        (limit / 4).max(chunk).min(limit - chunk)
    }

    /// Fixes the size of all further chunks, at most half of the buffer's base size.
    pub(crate) fn set_chunk_bytes(&mut self, bytes: usize) {
        let bytes = bytes.min(CHUNK_BYTES_MAX);
        self.chunk = Growing::fixed(bytes.min(self.buffer.base / 2));
    }

    /// Adapts the depth to the consumer's speed: it has needed the time since then to drain the buffer
    /// to the low-water mark, and taken `delivered` bytes since the stream began.
    pub(crate) fn adapt_after_wait(&mut self, since: Instant, delivered: u64) {
        #[cfg(not(loom))]
        let waited = since.elapsed();
        // Beyond what a model has said: neither fast nor slow.
        #[cfg(loom)]
        let (waited, _) = (self.waits.pop().unwrap_or(SLOW_DRAIN), since);
        self.adapt(waited, delivered);
    }

    fn adapt(&mut self, waited: Duration, delivered: u64) {
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

    /// Returns what was borrowed, because the stream is done: a handle may be kept for long. What
    /// the consumer still holds is charged to the reserve, because the stream's place goes to
    /// another stream.
    pub(crate) fn end(&mut self, live_bytes: usize) {
        self.reserve.give_back(self.borrowed_bytes());
        self.doublings = 0;
        self.reserve.charge(live_bytes);
        self.beyond_the_end = live_bytes;
    }

    /// Notes that the consumer has released memory, perhaps after the end.
    pub(crate) fn release_beyond_the_end(&mut self, bytes: usize) {
        let released = bytes.min(self.beyond_the_end);
        self.beyond_the_end -= released;
        self.reserve.give_back(released);
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
        self.reserve
            .give_back(self.borrowed_bytes() + self.beyond_the_end);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const FAST: Duration = Duration::from_millis(1);
    const SLOW: Duration = Duration::from_millis(200);

    fn left(reserve: &Reserve) -> isize {
        reserve.left()
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
    fn a_consumer_exactly_at_a_bound_of_speed_changes_nothing() {
        let reserve = Reserve::new(1000);
        let mut depth = depth(&reserve);
        depth.adapt(FAST_DRAIN, 10_000);
        assert_eq!(depth.bytes(), 100);
        depth.adapt(FAST, 10_000);
        depth.adapt(SLOW_DRAIN, 20_000);
        assert_eq!(depth.bytes(), 200);
    }

    #[test]
    fn chunks_do_not_grow_in_a_buffer_that_does_not() {
        let reserve = Reserve::new(1000);
        let chunk = Growing { base: 20, max: 50 };
        let mut depth = Depth::new(Growing::fixed(100), chunk, &reserve);
        depth.adapt(FAST, 10_000);
        assert_eq!((depth.bytes(), depth.chunk_bytes()), (100, 20));
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
    fn a_stream_that_is_done_borrows_nothing_although_its_handles_are_kept() {
        let reserve = Reserve::new(1000);
        let mut depth = depth(&reserve);
        depth.adapt(FAST, 10_000);
        assert_eq!(left(&reserve), 900);
        depth.end(30);
        assert_eq!(left(&reserve), 970, "what the consumer holds still");
        depth.release_beyond_the_end(20);
        assert_eq!(left(&reserve), 990);
        drop(depth);
        assert_eq!(left(&reserve), 1000);
    }

    #[test]
    fn what_stalled_consumers_hold_may_be_more_than_the_reserve() {
        let reserve = Reserve::new(50);
        let (mut stalled, mut fast) = (depth(&reserve), depth(&reserve));
        stalled.end(120);
        assert_eq!(left(&reserve), -70);
        fast.adapt(FAST, 10_000);
        assert_eq!(fast.bytes(), 100, "nothing to borrow");
        drop(stalled);
        assert_eq!(left(&reserve), 50);
    }

    #[test]
    fn a_source_is_woken_before_its_buffer_is_empty() {
        for (buffer, chunk, low_water) in [
            (256, 64, 64), // the defaults, in KiB
            (2048, 128, 480),
            (100, 20, 20),
            (60, 20, 20),
            (40, 20, 0), // room for one chunk: it is there, or it is not
        ] {
            let reserve = Reserve::new(0);
            let depth = Depth::new(Growing::fixed(buffer), Growing::fixed(chunk), &reserve);
            assert_eq!(depth.low_water_bytes(), low_water);
            assert!(
                low_water + chunk <= depth.limit_bytes(),
                "woken for nothing"
            );
        }
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
