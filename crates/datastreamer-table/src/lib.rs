//! Tables: record batches of one schema into one stream of bytes.
//!
//! This module owns what all table formats share: the metadata of columns ([`meta`]), typed access
//! to cells (`column.rs`), numbers and times as text (`text.rs`, `times.rs`), and the error that
//! names row and column. Each format has a file of its own.
//!
//! Every writer works in constant memory whatever the row count (but for Parquet, whose footer has
//! some 800 bytes for each column of each row group), and refuses what its format
//! cannot hold when it is made, before a byte is written; a value that cannot be held (a date
//! beyond the year 9999) fails the write with its row and column. Nothing is silently altered.

pub mod ascii;
mod big_endian;
mod buffer;
mod column;
pub mod column_metadata;
mod column_statistics;
pub mod csv;
mod durations;
mod error;
pub mod fits;
pub mod format;
mod gather;
pub mod html;
mod invalid_values;
pub mod ipc;
pub mod json;
mod json_value;
pub mod meta;
pub mod names;
pub mod nested;
pub mod parquet;
pub mod plain;
mod rendered;
mod scalar;
pub mod shared_values;
mod shown;
mod temporary;
mod text;
mod text_format;
mod times;
mod type_names;
pub mod uuid;
pub mod votable;
pub mod votable_head;
mod without_columns;

use arrow::record_batch::RecordBatch;

pub use buffer::copy_short;
pub use column_statistics::ColumnStatistics;
pub use error::TableError;
pub use format::{
    Format, RowsDescription, Spool, SpoolPlan, SpooledTable, StreamPlan, Survey, TableLayout,
    WritePlan, WriterOptions,
};
pub use temporary::TemporaryRoom;
pub use text::bytes_of_hex;
pub use type_names::type_name;
pub use without_columns::WithoutColumns;

/// What a table's rows are written to: one format, over one [`std::io::Write`].
///
/// Exactly one of [`finish`](Self::finish) and [`abort`](Self::abort) ends the table; a writer
/// that is dropped leaves an incomplete file.
pub trait TableWriter {
    /// Writes the rows of a batch, which has the schema that the writer was made with.
    ///
    /// # Errors
    /// A value that the format cannot hold, with its row and column, or an error of the output.
    fn write(&mut self, batch: &RecordBatch) -> Result<(), TableError>;

    /// Returns whether the table takes no further row, so that the source may stop. Rows that are
    /// written nevertheless are ignored.
    fn is_full(&self) -> bool {
        false
    }

    /// Finishes the table: writes what is still buffered, and the format's trailer.
    ///
    /// # Errors
    /// An error of the output.
    fn finish(self: Box<Self>, end: TableEnd) -> Result<(), TableError>;

    /// Writes the complete rows and, where the format has a place for it, the reason. The
    /// transport must be aborted as well: most formats have no such place.
    ///
    /// # Errors
    /// An error of the output.
    fn abort(self: Box<Self>, reason: &str) -> Result<(), TableError>;
}

/// How a table that did not fail ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableEnd {
    /// These are all rows.
    Complete,
    /// A limit cut it: there are more rows.
    Overflow,
}

/// Metadata of a table or a column, as Arrow's schemas and fields have it.
pub type Metadata = std::collections::HashMap<String, String>;
