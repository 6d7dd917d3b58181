//! FITS tables, both ways (FITS 4.0, 7.3): [`FitsFile`] reads them, [`FitsWriter`] and
//! [`FitsSpool`] write them.
//!
//! `read/` turns the bytes of a file into record batches, `write/` record batches into bytes.
//! `systems.rs` has the names of frames and time scales that both use.

mod read;
mod systems;
mod write;

pub use read::{FitsError, FitsFile, FitsHdu, FitsReader, HduKind, Repaired, TTYPE, TableChoice};
pub(crate) use write::nested_beyond;
pub use write::{
    FitsShape, FitsSpool, FitsSurvey, FitsTable, FitsWriter, NOT_PRINTABLE, SPOOL_BYTES_MAX,
};

/// Everything in FITS comes in blocks of this many bytes (FITS 4.0, 3.1).
const BLOCK_BYTES: u64 = 2880;

/// The largest TFIELDS (FITS 4.0, 7.3.1).
pub(crate) const COLUMNS_MAX: usize = 999;
