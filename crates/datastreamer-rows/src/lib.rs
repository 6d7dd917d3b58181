//! Rows: where they come from, without a query engine.
//!
//! Every source of rows gives an [`arrow::record_batch::RecordBatchReader`]: a schema, whose
//! metadata has the keys of [`datastreamer_formats::table::meta`], and batches. Reading **blocks**.
//!
//! This crate refuses to own what queries them (`datastreamer-engine`) and what writes them
//! (`datastreamer-formats`).

pub mod parameters;
#[cfg(feature = "postgres")]
pub mod postgres;
