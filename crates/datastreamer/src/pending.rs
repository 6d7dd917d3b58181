//! The chunk that a stream's writers are filling.
//!
//! It belongs to the stream (`stream_core.rs`); only `writer.rs` changes it. It is guarded by a spin
//! lock, held for a copy of at most one chunk and never across a wait.

use crate::{
    chunk::ChunkBuf,
    sync::{Mutex, SpinMutex},
};

/// The chunk being filled, and the right to hand it over.
pub(crate) struct Pending {
    pub(crate) filling: SpinMutex<Filling>,
    /// See `Turn` in `writer.rs`.
    pub(crate) turn: Mutex<()>,
}

pub(crate) struct Filling {
    /// `None`: not yet started, or taken by the thread that holds the turn.
    pub(crate) chunk: Option<ChunkBuf>,
    /// Bytes accepted so far.
    pub(crate) written: u64,
    /// The limit of `written`.
    pub(crate) written_max: u64,
    /// Chunks started: shows the watchdog whether it sees the same chunk again.
    pub(crate) chunks_started: u64,
    /// The source has returned.
    pub(crate) ended: bool,
}

/// The source's state at the watchdog's last check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SourceMark {
    pub(crate) chunks_started: u64,
    written: u64,
}

impl Pending {
    pub(crate) fn new(length: Option<u64>) -> Self {
        Self {
            filling: SpinMutex::new(Filling {
                chunk: None,
                written: 0,
                written_max: length.unwrap_or(u64::MAX),
                chunks_started: 0,
                ended: false,
            }),
            turn: Mutex::new(()),
        }
    }
}

impl Filling {
    pub(crate) fn fits(&self, bytes: usize) -> bool {
        bytes as u64 <= self.written_max - self.written
    }

    /// Appends all of `data` if that leaves room in the chunk; returns whether it did.
    #[inline]
    pub(crate) fn append_within(&mut self, data: &[u8]) -> bool {
        let fits = self.fits(data.len());
        match &mut self.chunk {
            Some(chunk) if fits && data.len() < chunk.room() => {
                chunk.append(data);
                self.written += data.len() as u64;
                true
            }
            _ => false,
        }
    }

    pub(crate) fn mark(&self) -> SourceMark {
        SourceMark {
            chunks_started: self.chunks_started,
            written: self.written,
        }
    }
}
