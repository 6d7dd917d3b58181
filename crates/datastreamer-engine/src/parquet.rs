//! Parquet files of others: what a file states is checked against itself and against its length
//! before a decoder relies on it.
//!
//! `footer.rs` reads a footer, `arrow_types.rs` chooses types that hold the values,
//! `column_metadata.rs` reads what a footer says of the columns, `pages.rs` checks the pages of a
//! column before they are decoded, `levels.rs` the levels, `batch_bytes.rs` counts what a batch of a
//! column takes, and `row_bytes.rs` estimates it by the footer. `scan.rs` plans scans whose readers
//! check all that, and share what they have read (`shared_pages.rs`).
//! `time_units.rs` casts times to a finer unit, `thrift.rs` walks the encoding of footers and page
//! headers, `deltas.rs` those of levels, keys and lengths.

mod arrow_types;
mod batch_bytes;
pub(crate) mod column_metadata;
mod deltas;
pub(crate) mod footer;
mod levels;
mod pages;
pub(crate) mod row_bytes;
pub(crate) mod scan;
mod shared_pages;
mod thrift;
mod time_units;
