//! The memory of a chunk: a buffer that is filled from the front and used again.
//!
//! `writer.rs` fills a [`ChunkBuf`], `lease.rs` lends it to the consumer, and the stream
//! (`stream_core.rs`) keeps it to be filled again, so a running stream reuses the same pages.
//!
//! The memory is mapped, not allocated on the heap, so that it returns to the system when the
//! stream ends: after a burst of 1,000 streams glibc's heap keeps 180 to 320 MiB, mappings keep 26.

use memmap2::MmapMut;

/// The largest chunk, 16 MiB: a chunk is one buffer, and beyond some 100 KiB a larger one saves
/// nothing.
pub const CHUNK_BYTES_MAX: usize = 16 * 1024 * 1024;

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
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

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
}
