//! The memory of chunks: mapped buffers that return to their stream when the consumer has dropped
//! them.
//!
//! `writer.rs` fills a [`ChunkBuf`]; `freeze` turns it into a `Bytes` that owns the buffer. When
//! the last clone of that `Bytes` is dropped, the buffer returns to the stream
//! (`StreamCore::release`). So the stream's memory bound includes what the consumer holds, and a
//! running stream reuses the same pages.
//!
//! The memory is mapped, not allocated on the heap, so that it returns to the system when the
//! stream ends: after a burst of 1,000 streams glibc's heap keeps 180 to 320 MiB, mappings keep 26.
//! A buffer counts against the bound with its full capacity, however little it is filled: otherwise
//! a source that flushes every few bytes could queue thousands of nearly empty buffers.

use std::sync::Arc;

use bytes::Bytes;
use memmap2::MmapMut;

use crate::streamer::StreamCore;

/// Mappings come in pages of 4 KiB: from four pages on, the last page wastes at most a quarter of
/// the chunk.
const MAPPED_MIN_BYTES: usize = 16 * 1024;

/// A buffer of fixed capacity, filled from the front.
pub(crate) struct ChunkBuf {
    memory: Memory,
    /// Filled bytes; at most the memory's length.
    len: usize,
}

enum Memory {
    Mapped(MmapMut),
    /// For chunks too small for a mapping, and when the system refuses a mapping.
    Heap(Box<[u8]>),
}

impl Memory {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Heap(heap) => heap,
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Heap(heap) => heap,
        }
    }
}

impl ChunkBuf {
    /// Maps `capacity` bytes; no page is resident before it is written.
    pub(crate) fn new(capacity: usize) -> Self {
        let mapped = (capacity >= MAPPED_MIN_BYTES)
            .then(|| MmapMut::map_anon(capacity).ok())
            .flatten();
        let memory = mapped.map_or_else(
            || Memory::Heap(vec![0; capacity].into_boxed_slice()),
            Memory::Mapped,
        );
        Self { memory, len: 0 }
    }

    /// The memory that the buffer occupies, whether filled or not.
    pub(crate) fn capacity(&self) -> usize {
        self.memory.bytes().len()
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn filled(&self) -> &[u8] {
        &self.memory.bytes()[..self.len]
    }

    pub(crate) fn room(&self) -> usize {
        self.capacity() - self.len
    }

    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    /// Appends as much of `data` as fits and returns how many bytes that was.
    #[inline]
    pub(crate) fn append(&mut self, data: &[u8]) -> usize {
        let taken = data.len().min(self.room());
        self.memory.bytes_mut()[self.len..self.len + taken].copy_from_slice(&data[..taken]);
        self.len += taken;
        taken
    }

    /// Turns the filled part into a `Bytes` without a copy; the buffer returns to `home`.
    pub(crate) fn freeze(self, home: &Arc<StreamCore>) -> Bytes {
        Bytes::from_owner(Lease {
            held: Held::Chunk(self),
            home: Arc::clone(home),
        })
    }
}

/// Counts the caller's memory against the stream's bound as long as the consumer holds it.
pub(crate) fn lease(bytes: Bytes, home: &Arc<StreamCore>) -> Bytes {
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
        StreamCore::new(&StreamOptions::new().chunk_bytes(chunk_bytes))
    }

    #[test]
    fn a_buffer_takes_what_fits_whether_mapped_or_on_the_heap() {
        for capacity in [1, 10, MAPPED_MIN_BYTES - 1, MAPPED_MIN_BYTES, 100_000] {
            let mut chunk = ChunkBuf::new(capacity);
            assert_eq!(chunk.append(b""), 0);
            assert_eq!(chunk.append(&vec![1; capacity - 1]), capacity - 1);
            assert_eq!((chunk.len(), chunk.room()), (capacity - 1, 1));
            assert_eq!(chunk.append(&[2, 3, 4]), 1);
            assert_eq!(chunk.append(&[5]), 0);
            assert_eq!(chunk.filled().last(), Some(&2));
            chunk.clear();
            assert_eq!(
                (chunk.len(), chunk.room(), chunk.capacity()),
                (0, capacity, capacity)
            );
        }
    }

    #[test]
    fn a_frozen_chunk_is_its_bytes_without_a_copy() {
        let home = home(100_000);
        let mut chunk = ChunkBuf::new(100_000);
        chunk.append(b"some bytes");
        let memory = chunk.filled().as_ptr();
        let bytes = chunk.freeze(&home);
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
            let bytes = chunk.freeze(&home);
            let part = bytes.slice(1..3);
            drop(bytes);
            let other = home.take_buffer(chunk_bytes);
            assert_ne!(
                other.memory.bytes().as_ptr(),
                memory,
                "still held by a slice"
            );
            assert_eq!(part, "ir");
            drop(part);
            let again = home.take_buffer(chunk_bytes);
            assert_eq!(again.memory.bytes().as_ptr(), memory);
            assert_eq!(again.len(), 0);
        }
    }

    #[test]
    fn a_buffer_of_another_size_is_not_filled_again() {
        let home = home(100);
        drop(home.take_buffer(100).freeze(&home));
        assert_eq!(home.take_buffer(50).capacity(), 50);
    }

    #[test]
    fn a_chunk_may_come_home_from_another_thread() {
        let home = home(100);
        let mut chunk = home.take_buffer(100);
        chunk.append(b"bytes");
        let memory = chunk.filled().as_ptr() as usize;
        let bytes = chunk.freeze(&home);
        let reading = std::thread::spawn(move || bytes.iter().map(|byte| u64::from(*byte)).sum());
        let sum: u64 = reading.join().unwrap();
        assert_eq!(sum, b"bytes".iter().map(|byte| u64::from(*byte)).sum());
        assert_eq!(
            home.take_buffer(100).memory.bytes().as_ptr() as usize,
            memory
        );
    }

    #[test]
    fn foreign_memory_is_lent_not_copied() {
        let home = home(100);
        let owned = Bytes::from(vec![7; 50]);
        let lent = lease(owned.slice(10..20), &home);
        assert_eq!(lent.as_ptr(), owned[10..].as_ptr());
        assert_eq!(lent, [7; 10].as_slice());
    }

    #[test]
    fn a_chunk_may_outlive_its_stream() {
        let home = home(100);
        let mut chunk = home.take_buffer(100);
        chunk.append(b"bytes");
        let bytes = chunk.freeze(&home);
        drop(home);
        assert_eq!(bytes, "bytes");
    }
}
