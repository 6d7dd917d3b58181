//! Compares datastreamer with other ways to stream a file that a function writes.
//!
//! The harness starts one server process for each measurement (`process.rs`), sends it requests
//! (`client.rs`), and prints tables of Markdown (`report.rs`). The path of a request is a [`job`]. The
//! server runs the same [`source`] for every peer; a file in `peers/` connects it to a body.

pub mod client;
pub mod job;
pub mod machine;
pub mod measure;
pub mod peers;
pub mod process;
pub mod report;
pub mod servers;
pub mod source;
