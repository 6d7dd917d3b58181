//! The promises of this crate, checked through its public interface. Files are read back by astropy,
//! pyarrow, DuckDB, polars and STILTS, which must be installed: a test without its reader fails.

// What tests call may fail as tests do; clippy knows only the test functions.
#![allow(clippy::unwrap_used, clippy::panic)]

mod ascii_texts;
mod fits_ascii;
mod fits_astropy;
mod fits_failures;
mod fits_files;
mod fits_forms;
mod fits_headers;
mod fits_not_standard;
mod fits_round_trip;
mod fits_streams;
mod fits_systems;
mod fits_types;
mod more_formats;
mod nested;
mod null_elements;
mod one_column;
mod parquet_types;
mod tables;
mod tables_random;
mod tables_read_back;
mod tables_stilts;
mod text_arrays;
mod votable_blocks;
mod votable_head;
mod write_plans;
