//! c08: memory is bounded in bytes, however small or large the writes are and however long the
//! consumer stalls.
//!
//! What a source has written and nobody has let go of is counted from outside: the source counts
//! what it got rid of, the test what it took.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use datastreamer::{
    BlockedOn, ChunkReader, Error, PoolOptions, StreamOptions, StreamPool, StreamWriter,
};
use datastreamer_testkit::{eventually, noise_source};

const CHUNK_BYTES: u64 = 10_000;
const BUFFER_BYTES: u64 = 50_000;

fn options() -> StreamOptions {
    StreamOptions::new()
        .chunk_bytes(CHUNK_BYTES as usize)
        .buffer_bytes(BUFFER_BYTES as usize)
}

/// A stream whose source writes for ever; counts the bytes of the writes that returned.
struct Counted {
    chunks: ChunkReader,
    accepted: Arc<AtomicU64>,
}

impl Counted {
    fn start(
        options: StreamOptions,
        mut write: impl FnMut(&StreamWriter) -> Result<u64, Error> + Send + 'static,
    ) -> Self {
        let accepted = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&accepted);
        let chunks = options.stream_out(move |out| -> Result<(), Error> {
            loop {
                count.fetch_add(write(out)?, Ordering::SeqCst);
            }
        });
        Self { chunks, accepted }
    }

    /// Waits until the source is blocked and has been for a while; returns what it got rid of.
    fn stalled_at(&self) -> u64 {
        let handle = self.chunks.handle();
        let mut before = u64::MAX;
        eventually("the source's standstill", || {
            thread::sleep(Duration::from_millis(20));
            let now = self.accepted.load(Ordering::SeqCst);
            let stands_still = std::mem::replace(&mut before, now) == now;
            stands_still && handle.record().blocked_on == BlockedOn::Consumer
        });
        before
    }
}

#[test]
fn c08_tiny_writes_to_a_stalled_consumer_stay_within_the_buffer() {
    for bytes in [1, 5, 100] {
        let stream = Counted::start(options(), move |out| {
            out.write_slice(&vec![7; bytes])?;
            Ok(bytes as u64)
        });
        let live = stream.stalled_at();
        assert!(live <= BUFFER_BYTES, "{live} bytes are live");
        assert!(
            live > BUFFER_BYTES / 2,
            "the buffer is not used: {live} bytes"
        );
    }
}

#[test]
fn c08_large_writes_to_a_stalled_consumer_stay_within_the_buffer() {
    for bytes in [9999, 10_001, 30_000] {
        let stream = Counted::start(options(), move |out| {
            out.write_slice(&vec![7; bytes])?;
            Ok(bytes as u64)
        });
        let live = stream.stalled_at();
        assert!(live <= BUFFER_BYTES, "{live} bytes are live");
        // One larger than the buffer does not even return.
        let written = stream.chunks.handle().record().bytes_written;
        assert!(written <= BUFFER_BYTES, "{written} bytes are queued");
    }
}

#[test]
fn c08_owned_buffers_for_a_stalled_consumer_stay_within_the_buffer() {
    let data = Bytes::from(vec![7; 1_000_000]);
    let stream = Counted::start(options(), move |out| {
        // Pieces of any size; what is not in the queue is still the source's.
        out.write_slice(b"a partial chunk")?;
        out.write_bytes(data.slice(..20_000))?;
        Ok(20_015)
    });
    assert!(stream.stalled_at() <= BUFFER_BYTES);
    assert!(stream.chunks.handle().record().bytes_written <= BUFFER_BYTES);
}

#[test]
fn c08_flushes_of_tiny_pieces_do_not_pile_up_chunks() {
    // Each flush makes a chunk of its own, which is more than its few bytes.
    let stream = Counted::start(options(), |out| {
        out.write_slice(b"x")?;
        out.flush_now()?;
        Ok(1)
    });
    let chunks = stream.stalled_at();
    assert!(
        chunks <= BUFFER_BYTES / CHUNK_BYTES,
        "{chunks} buffers of {CHUNK_BYTES} bytes"
    );
}

#[test]
fn c08_what_the_consumer_holds_counts() {
    let mut stream = Counted::start(options(), |out| {
        out.write_slice(&[7; 1000])?;
        Ok(1000)
    });
    let before = stream.stalled_at();
    // Takes without letting go, and without asking for more than there is.
    let held: Vec<Bytes> = (0..4)
        .map(|_| stream.chunks.next_chunk_blocking().unwrap().unwrap())
        .collect();
    assert_eq!(
        stream.stalled_at(),
        before,
        "memory that the consumer holds was given away"
    );
    let part_of_one = held[0].slice(..1);
    drop(held);
    eventually("what the consumer has let go of", || {
        stream.accepted.load(Ordering::SeqCst) > before
    });
    let after = stream.stalled_at();
    assert!(
        after <= before + 3 * CHUNK_BYTES,
        "a slice keeps its whole chunk"
    );
    drop(part_of_one);
}

#[test]
fn c08_a_fast_consumer_gets_a_deeper_buffer_within_the_pools_reserve() {
    // (buffer for fast consumers, reserve) and the bound that follows.
    for (fast_bytes, reserve_bytes, bound) in [
        (200_000, 1_000_000, 200_000),
        (200_000, 60_000, BUFFER_BYTES + 60_000),
        (200_000, 0, BUFFER_BYTES),
        (0, 1_000_000, BUFFER_BYTES),
    ] {
        let pool = StreamPool::new(PoolOptions::new().reserve_bytes(reserve_bytes));
        let options = options().fast_buffer_bytes(fast_bytes).pool(&pool);
        let mut stream = Counted::start(options, |out| {
            out.write_slice(&[7; 1000])?;
            Ok(1000)
        });
        let doubles = bound >= 2 * BUFFER_BYTES;
        let mut taken = 0;
        // On a busy machine every consumer is slow at times.
        for attempt in 1..=10 {
            while taken < attempt * 50_000_000 {
                taken += stream.chunks.next_chunk_blocking().unwrap().unwrap().len() as u64;
            }
            let live = stream.stalled_at() - taken;
            assert!(live <= bound, "{live} bytes are live, {bound} may be");
            if doubles == (live > BUFFER_BYTES) {
                break;
            }
            assert!(attempt < 10, "{live} bytes are live");
        }
        // What was borrowed comes back with the stream: the next one gets as much.
        drop(stream);
        eventually("an empty pool", || pool.active() == 0);
    }
}

#[test]
fn c08_the_source_cannot_lift_the_bound_with_a_larger_chunk() {
    let stream = Counted::start(options(), |out| {
        out.set_chunk_bytes(usize::MAX);
        out.write_slice(&[7; 100])?;
        Ok(100)
    });
    assert!(stream.stalled_at() <= BUFFER_BYTES);
}

#[test]
fn c08_the_process_is_bounded_by_the_pool() {
    let pool = StreamPool::new(PoolOptions::new().max_active(50).max_waiting(1000));
    let stalled: Vec<ChunkReader> = (0..200)
        .map(|_| {
            options()
                .pool(&pool)
                .stream_out(noise_source(100_000_000, 5000))
        })
        .collect();
    let live = || {
        pool.records()
            .iter()
            .map(|record| record.bytes_written)
            .sum::<u64>()
    };
    eventually("everybody's standstill", || {
        let records = pool.records();
        let blocked = records
            .iter()
            .filter(|record| record.blocked_on == BlockedOn::Consumer);
        blocked.count() == 50
    });
    assert_eq!((pool.active(), pool.waiting()), (50, 150));
    assert!(pool.threads() <= 50);
    assert!(live() <= 50 * BUFFER_BYTES);
    drop(stalled);
    eventually("the end of all streams", || {
        pool.active() == 0 && pool.streams().is_empty()
    });
}

/// Bytes of this process that are in memory now.
#[cfg(target_os = "linux")]
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib: u64 = line
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    kib * 1024
}

#[cfg(target_os = "linux")]
#[test]
fn c08_what_a_process_with_stalled_consumers_occupies_is_their_buffers_and_little_more() {
    const STREAMS: u64 = 100;
    const BUFFER: u64 = datastreamer::DEFAULT_BUFFER_BYTES as u64;
    // A thread with its stack and what the allocator keeps for it: 35 KiB measured.
    const BESIDE: u64 = 100 * 1024;
    let pool = StreamPool::new(PoolOptions::default());
    let before = resident_bytes();
    let kept: Vec<ChunkReader> = (0..STREAMS)
        .map(|_| {
            let options = StreamOptions::new().pool(&pool);
            options.stream_out(noise_source(u64::MAX, 1000))
        })
        .collect();
    eventually("all are blocked", || {
        let records = pool.records();
        let blocked = |record: &datastreamer::Record| record.blocked_on == BlockedOn::Consumer;
        records.len() as u64 == STREAMS && records.iter().all(blocked)
    });
    let grown = resident_bytes() - before;
    assert!(grown <= STREAMS * (BUFFER + BESIDE), "{grown} bytes");
    assert!(
        grown >= STREAMS * BUFFER / 2,
        "the buffers are not used: {grown} bytes"
    );
    drop(kept);
    eventually("an empty pool", || pool.streams().is_empty());
    let left = resident_bytes() - before;
    assert!(left <= STREAMS * BESIDE, "{left} bytes are kept");
}
