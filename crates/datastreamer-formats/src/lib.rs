//! Formats: turns members or rows into the bytes of a file, in constant
//! memory, over any [`std::io::Write`].
//!
//! This crate owns byte layouts. It refuses to own transport: it knows neither
//! streamers nor HTTP nor a runtime, and every call blocks its thread for as
//! long as the writer that it was given blocks.
//!
//! - [`archive`]: members (files, directories, links) into one archive.
//! - [`table`]: rows into VOTable, CSV and the other formats of tables.

pub mod archive;
pub mod table;
