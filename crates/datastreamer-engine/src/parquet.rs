//! Parquet files of others: what a file states is checked against itself and against its length
//! before a decoder relies on it.
//!
//! `footer.rs` reads a footer, `arrow_types.rs` chooses types that hold the values,
//! `column_metadata.rs` reads what a footer says of the columns, `pages.rs` checks the pages of a
//! column before they are decoded, `scan.rs` plans scans whose readers do both. `time_units.rs`
//! casts times to a finer unit, `thrift.rs` walks the encoding of footers and page headers.

mod arrow_types;
pub(crate) mod column_metadata;
pub(crate) mod footer;
mod pages;
pub(crate) mod scan;
mod thrift;
mod time_units;
