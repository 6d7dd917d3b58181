//! Rows: where they come from, without a query engine.
//!
//! Every source of rows gives an [`arrow::record_batch::RecordBatchReader`]: a schema, whose
//! metadata has the keys of [`datastreamer_formats::table::meta`], and batches. Reading **blocks**.
//!
//! This crate refuses to own what queries them (`datastreamer-engine`) and what writes them
//! (`datastreamer-formats`).
//!
//! - [`fits`]: binary tables of FITS files.
//! - [`notes`]: what is told of columns beyond names and types.
//! - [`parameters`]: the typed parameters of a query.
//! - `postgres`, behind the feature of that name: a query's rows from a PostgreSQL server.
//! - [`stars`]: an invented catalogue, made while it is read.
//! - [`votable_head`]: what a VOTable without data says of columns.

pub mod fits;
pub mod notes;
pub mod parameters;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod stars;
pub mod votable_head;

/// Metadata of a table or a column, as Arrow's schemas and fields have it.
type Metadata = std::collections::HashMap<String, String>;
