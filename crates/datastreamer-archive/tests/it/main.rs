//! The promises of this crate, checked through its public interface. What is
//! written here is read back by others: GNU tar, bsdtar, Python's `tarfile` and
//! the `tar` crate. The first three must be installed; a test without its
//! reader fails, it does not pass over.

// What tests call may fail as tests do; clippy knows only the test functions.
#![allow(clippy::unwrap_used, clippy::panic)]

mod readers;
mod round_trip;
mod tar_directory;
mod tar_failures;
mod tar_format;
mod trees;
mod writers;
