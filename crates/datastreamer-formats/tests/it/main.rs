//! The promises of this crate, checked through its public interface. What is
//! written here is read back by others: GNU tar, bsdtar, Python's `tarfile` and
//! the `tar` crate. The first three must be installed; a test without its
//! reader fails, it does not pass over.

// What tests call may fail as tests do; clippy knows only the test functions.
#![allow(clippy::unwrap_used, clippy::panic)]

mod escapes;
mod escaping;
mod fits_headers;
mod fits_streams;
mod more_formats;
mod one_column;
mod readers;
mod round_trip;
mod tables;
mod tables_random;
mod tables_read_back;
mod tables_stilts;
mod tar_directory;
mod tar_failures;
mod tar_format;
mod trees;
mod votable_blocks;
mod writers;
