//! Rows: where they come from, without a query engine.
//!
//! Every source of rows gives an [`arrow::record_batch::RecordBatchReader`]: a schema, whose
//! metadata has the keys of [`datastreamer_table::meta`], and batches. Reading **blocks**.
//!
//! This crate refuses to own what queries them (`datastreamer-engine`) and what writes them
//! (`datastreamer-table`).
//!
//! - [`narrowed`]: what a request selects of a result, for a database to apply.
//! - [`parameters`]: the typed parameters of a query.
//! - `postgres`, behind the feature of that name: a query's rows from a PostgreSQL server.
//! - [`stars`]: an invented catalogue, made while it is read.

pub mod narrowed;
pub mod parameters;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod stars;
