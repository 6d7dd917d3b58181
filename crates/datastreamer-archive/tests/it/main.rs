//! The promises of this crate, tested through its public interface. Archives are
//! read back by other programs: GNU tar, bsdtar, Python's `tarfile` and the `tar`
//! crate. The first three must be installed: a test without its reader fails.

// Helpers of tests may panic, too; clippy allows it only in the test functions.
#![allow(clippy::unwrap_used, clippy::panic)]

mod readers;
mod round_trip;
mod tar_choices;
mod tar_directory;
mod tar_failures;
mod tar_format;
mod trees;
mod writers;
