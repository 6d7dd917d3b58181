//! How deep a stream's buffer is: shallow for a slow consumer, deep for a fast one.
//!
//! `queue.rs` asks for the limit and tells how long its writer had to wait. A source that is
//! woken for every few chunks spends more on thread switches than on bytes (at 2 GB/s a buffer of
//! 512 KiB costs 5,500 switches a gigabyte, one of 2 MiB 900, and a third of the CPU less); a
//! deep buffer before a consumer that stalls is memory for nothing. So each stream begins with
//! `base_bytes`, and borrows more from its pool's [`Reserve`] while the consumer empties what it
//! has within [`FAST_DRAIN`]. What all streams borrow is bounded by the reserve.

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

/// The depth of one stream's buffer; gives back what it borrowed when it is dropped.
#[derive(Debug)]
pub(crate) struct Depth {
    base_bytes: usize,
    /// At least `base_bytes`.
    max_bytes: usize,
    /// Between the two.
    now_bytes: usize,
    /// The chunk being filled is part of the buffer, and not in the queue.
    filling_bytes: usize,
    /// What had been delivered at the last change.
    delivered_at_change: u64,
    reserve: Reserve,
}

impl Depth {
    /// `filling_bytes` is at most half of `base_bytes`.
    pub(crate) fn new(
        base_bytes: usize,
        max_bytes: usize,
        filling_bytes: usize,
        reserve: &Reserve,
    ) -> Self {
        Self {
            base_bytes,
            max_bytes: max_bytes.max(base_bytes),
            now_bytes: base_bytes,
            filling_bytes,
            delivered_at_change: 0,
            reserve: reserve.clone(),
        }
    }

    /// A depth that never changes, without a chunk being filled.
    #[cfg(test)]
    pub(crate) fn fixed(bytes: usize) -> Self {
        Self::new(bytes, bytes, 0, &Reserve::new(0))
    }

    /// What the buffer may hold, the chunk being filled included.
    pub(crate) fn bytes(&self) -> usize {
        self.now_bytes
    }

    /// What may be queued or in the consumer's hands.
    pub(crate) fn limit_bytes(&self) -> usize {
        self.now_bytes - self.filling_bytes
    }

    /// How little of it wakes a source that waits for room. In batches: woken for every chunk it
    /// would run a chunk at a time, with two thread switches each. Not at nothing: while the
    /// source wakes, the consumer has a quarter to go on with.
    pub(crate) fn low_water_bytes(&self) -> usize {
        self.limit_bytes() / 4
    }

    pub(crate) fn set_filling_bytes(&mut self, bytes: usize) {
        self.filling_bytes = bytes;
    }

    /// Takes note that the consumer took `waited` to empty the buffer to its low water, and that
    /// it has taken `delivered` bytes since the stream began.
    pub(crate) fn adapt(&mut self, waited: Duration, delivered: u64) {
        let wanted_bytes = if waited > SLOW_DRAIN {
            self.base_bytes
        } else if waited < FAST_DRAIN && self.has_proved_itself(delivered) {
            self.now_bytes.saturating_mul(2).min(self.max_bytes)
        } else {
            return;
        };
        if wanted_bytes > self.now_bytes && !self.reserve.take(wanted_bytes - self.now_bytes) {
            return;
        }
        self.reserve
            .give_back(self.now_bytes.saturating_sub(wanted_bytes));
        self.now_bytes = wanted_bytes;
        self.delivered_at_change = delivered;
    }

    fn has_proved_itself(&self, delivered: u64) -> bool {
        let since_change = delivered - self.delivered_at_change;
        since_change >= DELIVERED_DEPTHS_MIN.saturating_mul(self.now_bytes as u64)
    }
}

impl Drop for Depth {
    fn drop(&mut self) {
        self.reserve.give_back(self.now_bytes - self.base_bytes);
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

    #[test]
    fn a_fast_consumer_gets_a_deeper_buffer_step_by_step_and_no_deeper_than_allowed() {
        let reserve = Reserve::new(1000);
        let mut depth = Depth::new(100, 500, 20, &reserve);
        assert_eq!((depth.bytes(), depth.limit_bytes()), (100, 80));
        depth.adapt(FAST, 1599);
        assert_eq!(depth.bytes(), 100, "it has not taken enough");
        depth.adapt(FAST, 1600);
        assert_eq!(depth.bytes(), 200);
        depth.adapt(FAST, 1600 + 3199);
        assert_eq!(depth.bytes(), 200, "not enough since then");
        depth.adapt(FAST, 10_000);
        depth.adapt(FAST, 100_000);
        depth.adapt(FAST, 1_000_000);
        assert_eq!((depth.bytes(), depth.limit_bytes()), (500, 480));
        assert_eq!(left(&reserve), 600);
    }

    #[test]
    fn a_consumer_that_becomes_slow_gets_the_base_again() {
        let reserve = Reserve::new(1000);
        let mut depth = Depth::new(100, 500, 20, &reserve);
        depth.adapt(FAST, 10_000);
        depth.adapt(Duration::from_millis(50), 100_000);
        assert_eq!(depth.bytes(), 200, "neither fast nor slow");
        depth.adapt(SLOW, 100_000);
        assert_eq!((depth.bytes(), left(&reserve)), (100, 1000));
    }

    #[test]
    fn the_reserve_bounds_what_all_borrow_and_gets_it_back() {
        let reserve = Reserve::new(150);
        let mut first = Depth::new(100, 500, 20, &reserve);
        let mut second = Depth::new(100, 500, 20, &reserve);
        first.adapt(FAST, 10_000);
        second.adapt(FAST, 10_000);
        first.adapt(FAST, 100_000);
        assert_eq!(
            (first.bytes(), second.bytes(), left(&reserve)),
            (200, 100, 50)
        );
        drop(first);
        second.adapt(FAST, 20_000);
        assert_eq!((second.bytes(), left(&reserve)), (200, 50));
        drop(second);
        assert_eq!(left(&reserve), 150);
    }
}
