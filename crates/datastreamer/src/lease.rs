//! What a consumer holds of a chunk: a `Bytes` whose memory returns to its stream.
//!
//! `writer.rs` lends each full chunk. When the last clone of the `Bytes` is dropped, the buffer
//! returns to the stream (`StreamCore::release`). So the stream's memory bound includes what the
//! consumer holds.
//!
//! A buffer counts against the bound with its full capacity, however little it is filled: otherwise
//! a source that flushes every few bytes could queue thousands of nearly empty buffers.

use std::sync::Arc;

use bytes::Bytes;

use crate::{chunk::ChunkBuf, stream_core::StreamCore};

/// Turns the filled part of a chunk into a `Bytes` without a copy; the buffer returns to `home`.
pub(crate) fn lend_chunk(chunk: ChunkBuf, home: &Arc<StreamCore>) -> Bytes {
    Bytes::from_owner(Lease {
        held: Held::Chunk(chunk),
        home: Arc::clone(home),
    })
}

/// Counts the caller's memory against the stream's bound as long as the consumer holds it.
pub(crate) fn lend_bytes(bytes: Bytes, home: &Arc<StreamCore>) -> Bytes {
    Bytes::from_owner(Lease {
        held: Held::Foreign(bytes),
        home: Arc::clone(home),
    })
}

struct Lease {
    held: Held,
    home: Arc<StreamCore>,
}

enum Held {
    Chunk(ChunkBuf),
    Foreign(Bytes),
    Returned,
}

impl AsRef<[u8]> for Lease {
    fn as_ref(&self) -> &[u8] {
        match &self.held {
            Held::Chunk(chunk) => chunk.filled(),
            Held::Foreign(bytes) => bytes,
            Held::Returned => &[],
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.held, Held::Returned) {
            Held::Chunk(chunk) => self.home.release(chunk.capacity(), Some(chunk)),
            Held::Foreign(bytes) => self.home.release(bytes.len(), None),
            Held::Returned => {}
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::StreamOptions;

    fn home(chunk_bytes: usize) -> Arc<StreamCore> {
        StreamOptions::new().chunk_bytes(chunk_bytes).new_stream()
    }

    /// Where the buffer's memory begins, filled or not.
    fn start_of(chunk: &ChunkBuf) -> *const u8 {
        chunk.filled().as_ptr()
    }

    #[test]
    fn a_frozen_chunk_is_its_bytes_without_a_copy() {
        let home = home(100_000);
        let mut chunk = ChunkBuf::new(100_000);
        chunk.append(b"some bytes");
        let memory = chunk.filled().as_ptr();
        let bytes = lend_chunk(chunk, &home);
        assert_eq!(bytes, "some bytes");
        assert_eq!(bytes.as_ptr(), memory);
    }

    #[test]
    fn the_buffer_comes_home_with_the_last_clone_and_is_filled_again() {
        for chunk_bytes in [100, 20_000] {
            let home = home(chunk_bytes);
            let mut chunk = home.take_buffer(chunk_bytes);
            chunk.append(b"first");
            let memory = chunk.filled().as_ptr();
            let bytes = lend_chunk(chunk, &home);
            let part = bytes.slice(1..3);
            drop(bytes);
            let other = home.take_buffer(chunk_bytes);
            assert_ne!(start_of(&other), memory, "still held by a slice");
            assert_eq!(part, "ir");
            drop(part);
            let again = home.take_buffer(chunk_bytes);
            assert_eq!(start_of(&again), memory);
            assert_eq!(again.len(), 0);
        }
    }

    #[test]
    fn a_buffer_of_another_size_is_not_filled_again() {
        let home = home(100);
        drop(lend_chunk(home.take_buffer(100), &home));
        assert_eq!(home.take_buffer(50).capacity(), 50);
    }

    #[test]
    fn a_chunk_may_come_home_from_another_thread() {
        let home = home(100);
        let mut chunk = home.take_buffer(100);
        chunk.append(b"bytes");
        let memory = chunk.filled().as_ptr() as usize;
        let bytes = lend_chunk(chunk, &home);
        let reading = std::thread::spawn(move || bytes.iter().map(|byte| u64::from(*byte)).sum());
        let sum: u64 = reading.join().unwrap();
        assert_eq!(sum, b"bytes".iter().map(|byte| u64::from(*byte)).sum());
        assert_eq!(start_of(&home.take_buffer(100)) as usize, memory);
    }

    #[test]
    fn foreign_memory_is_lent_not_copied() {
        let home = home(100);
        let owned = Bytes::from(vec![7; 50]);
        let lent = lend_bytes(owned.slice(10..20), &home);
        assert_eq!(lent.as_ptr(), owned[10..].as_ptr());
        assert_eq!(lent, [7; 10].as_slice());
    }

    #[test]
    fn a_chunk_may_outlive_its_stream() {
        let home = home(100);
        let mut chunk = home.take_buffer(100);
        chunk.append(b"bytes");
        let bytes = lend_chunk(chunk, &home);
        drop(home);
        assert_eq!(bytes, "bytes");
    }
}
