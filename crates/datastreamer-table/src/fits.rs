//! FITS tables, both ways (FITS 4.0, 7.3): [`FitsFile`] reads them, [`FitsWriter`] and
//! [`FitsSpool`] write them.
//!
//! `read/` turns the bytes of a file into record batches, `write/` record batches into bytes.

mod read;
mod write;

pub use read::{FitsError, FitsFile, FitsReader, TTYPE, TableChoice};
pub use write::{
    FitsShape, FitsSpool, FitsSurvey, FitsTable, FitsWriter, KnownValues, SPOOL_BYTES_MAX,
};
