//! Pins what sources produce on the fly in bounded storage, so that it can be shared and resumed.
//!
//! This crate owns the storage of *productions*: runs of a source whose bytes are kept. It knows
//! nothing of HTTP: callers map ranges to [`Piece`]s and errors to statuses.
//!
//! ```
//! use datastreamer::{StreamOptions, stream_out};
//! use datastreamer_spool::{Beginning, Key, Piece, Spool, SpoolOptions};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let spool = Spool::open(folder.path(), SpoolOptions::new())?;
//! let begin = || Beginning::new(stream_out(|out| out.write_slice(b"0123456789")));
//! let (production, _begun) = spool.join_or_begin(Key::new("digits"), begin)?;
//! let all = production.open(vec![Piece::From(0)], StreamOptions::new());
//! let some = production.open(vec![Piece::Range(2..5)], StreamOptions::new());
//! assert_eq!(all.read_to_vec()?, b"0123456789");
//! assert_eq!(some.read_to_vec()?, b"234");
//! # Ok(())
//! # }
//! ```
//!
//! # The path of a byte
//! The source, in its pool → `pump.rs` (a thread for each running production), which reserves room
//! (`table.rs`), appends to the file (`folder.rs`) and publishes (`progress.rs`) → `reader.rs`, which
//! takes it from memory if it is among the newest or was read lately (`recent.rs`), otherwise from the
//! file (`reads.rs`), and `pace.rs` says how much at a time → the consumer of a [`ChunkReader`](datastreamer::ChunkReader).
//!
//! # What is promised
//! - Whoever reads offset `k` of a production gets the same byte, always. What cannot be proved
//!   after a restart is not served.
//! - Readers get all bytes that the source has written, then its end: clean, or its error as an
//!   abort.
//! - A source that fails, or a full disk, fails its production and no other one.
//! - [`State::Complete`] is said after the bytes and their manifest were synchronized to the
//!   storage. Readers may have the last byte before: to them it is as good as it ever will be.
//!
//! # What blocks, what does not
//! [`Spool::open`] blocks: it reads the folder. Nothing else waits for a disk on the caller's thread.
//! Readers cost no thread: what the system has in memory of a file is read at once (`RWF_NOWAIT`,
//! preadv2(2)), other bytes on a few threads of the spool.
//!
//! # Logs
//! With the feature `tracing`, a production that fails because of the spool is one event with the target
//! `datastreamer_spool`, however many read it: WARN if there is no room, otherwise ERROR. An error that a
//! call returns is its caller's to log. A failure of the source is in the record of the source's stream.
//!
//! # Places
//! The source's stream takes a place of its pool, and gives it back when the source ends, however
//! slow the clients are. Each reader is a stream too, and takes a place of the pool in its options.
//! **Use another pool for readers than for sources**, or readers may wait for the places that
//! sources hold.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
#![cfg_attr(loom, allow(dead_code))]

mod blocks;
mod digests;
mod error;
mod key;
#[cfg(all(test, loom))]
mod loom_tests;
mod names;
mod options;
mod pace;
mod progress;
mod sync;
mod table;

// What touches files and threads; the models have none of it.
#[cfg(not(loom))]
mod chores;
#[cfg(not(loom))]
mod folder;
#[cfg(not(loom))]
mod inner;
#[cfg(not(loom))]
mod manifest;
#[cfg(not(loom))]
mod production;
#[cfg(not(loom))]
mod pump;
#[cfg(not(loom))]
mod reader;
#[cfg(not(loom))]
mod reads;
#[cfg(not(loom))]
mod recent;
#[cfg(not(loom))]
mod shared;
#[cfg(not(loom))]
mod spool;
#[cfg(not(loom))]
mod sweep;
#[cfg(not(loom))]
mod user;

pub use datastreamer::{ETag, Piece};
pub use digests::Digests;
pub use error::{Error, ErrorKind, Failure};
pub use key::Key;
pub use names::ProductionId;
pub use options::{
    DEFAULT_CLIENT_BYTES_MAX, DEFAULT_KEEP, DEFAULT_PRODUCTION_BYTES_MAX, DEFAULT_PRODUCTIONS_MAX,
    DEFAULT_TAIL_BYTES, DEFAULT_TOTAL_BYTES_MAX, SpoolOptions,
};
pub use pace::READ_BYTES;
#[cfg(not(loom))]
pub use production::{Production, State};
#[cfg(not(loom))]
pub use spool::{Beginning, How, Keep, Room, Spool, Usage};
