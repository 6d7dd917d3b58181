//! The memory of chunks: mapped buffers that come back to their stream when the consumer is done.
//!
//! `writer.rs` fills a [`ChunkBuf`]; `freeze` makes it a `Bytes` that owns it; when the last
//! clone of that is dropped, wherever the consumer keeps it, the buffer returns to the stream
//! (`StreamCore::release`). So the bound of a stream holds for its consumer's hands too, and a
//! running stream touches the same pages over and over.
//!
//! The memory is mapped, not allocated, so that it goes back to the system when the stream
//! ends: after a burst of 1,000 streams glibc's heap keeps 180 to 320 MiB, mappings keep 26.

use std::sync::Arc;

use bytes::Bytes;
use memmap2::MmapMut;

use crate::streamer::StreamCore;

/// A buffer of fixed capacity that is filled from the front.
pub(crate) struct ChunkBuf {
    memory: Memory,
    /// Filled bytes; at most the memory's length.
    len: usize,
}

enum Memory {
    Mapped(MmapMut),
    /// Where the system gives no more mappings.
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
    /// Maps `capacity` bytes; nothing of it is resident before it is written.
    pub(crate) fn new(capacity: usize) -> Self {
        let memory = MmapMut::map_anon(capacity)
            .map(Memory::Mapped)
            .unwrap_or_else(|_| Memory::Heap(vec![0; capacity].into_boxed_slice()));
        Self { memory, len: 0 }
    }

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

    /// Appends what fits and returns how much that was.
    #[inline]
    pub(crate) fn append(&mut self, data: &[u8]) -> usize {
        let taken = data.len().min(self.room());
        self.memory.bytes_mut()[self.len..self.len + taken].copy_from_slice(&data[..taken]);
        self.len += taken;
        taken
    }

    /// Makes the filled part a `Bytes`, without a copy; the buffer returns to `home`.
    pub(crate) fn freeze(self, home: &Arc<StreamCore>) -> Bytes {
        Bytes::from_owner(Lease {
            held: Held::Chunk(self),
            home: Arc::clone(home),
        })
    }
}

/// Counts foreign memory against the stream's bound as long as the consumer holds it.
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
            Held::Chunk(chunk) => self.home.release(chunk.len(), Some(chunk)),
            Held::Foreign(bytes) => self.home.release(bytes.len(), None),
            Held::Returned => {}
        }
    }
}
