//! What a binary table's header states of its rows.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};

use super::{FitsSurvey, header, layout::Layout, padded};
use crate::{ColumnStatistics, TableError};

/// What must be known of a table before the first byte of its FITS file: the number of rows, the
/// widths of texts, what stands for null among integers.
///
/// It is made from the schema, by a [`FitsSurvey`] or by a [`FitsSpool`](super::FitsSpool), and
/// may be kept: the same table is streamed with it again by a [`FitsWriter`](super::FitsWriter).
///
/// ```
/// use std::sync::Arc;
/// use arrow::datatypes::{DataType, Field, Schema};
/// use datastreamer_table::{ColumnStatistics, fits::FitsShape};
///
/// let schema = |nullable| Schema::new(vec![Field::new("n", DataType::Int32, nullable)]);
/// let shape = FitsShape::of_schema(Arc::new(schema(false)), 1_000, &[])?;
/// assert_eq!(shape.map(|shape| shape.bytes()), Some(4 * 2880));
/// // Only the values show which value is free to stand for null.
/// assert_eq!(FitsShape::of_schema(Arc::new(schema(true)), 1_000, &[])?, None);
/// // Unless the extremes are known, as Parquet's footer has them.
/// let known = [ColumnStatistics { integers: Some((0, 9)), ..Default::default() }];
/// let shape = FitsShape::of_schema(Arc::new(schema(true)), 1_000, &known)?;
/// assert_eq!(shape.map(|shape| shape.bytes()), Some(4 * 2880));
/// # Ok::<(), datastreamer_table::TableError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FitsShape {
    schema: SchemaRef,
    /// Of the columns, cast.
    pub(super) types: Vec<DataType>,
    pub(super) layout: Layout,
    pub(super) header: Arc<[u8]>,
}

impl FitsShape {
    pub(super) fn new(schema: SchemaRef, types: Vec<DataType>, layout: Layout) -> Self {
        Self {
            header: header::header(&schema, &layout).into(),
            schema,
            types,
            layout,
        }
    }

    /// Makes the shape of a table of so many rows, where the schema and what is known of the values
    /// of its columns, one by one, say the rest. `None`: the values must be seen.
    ///
    /// They must where there are texts of which nothing is known, lists or bytes of varying
    /// length, or integers that may be null and are not stored as a larger type, without
    /// [a value that stands for null](crate::meta::NULL) and without known extremes.
    ///
    /// # Errors
    /// A column that FITS cannot hold, or more than 999 of them.
    pub fn of_schema(
        schema: SchemaRef,
        rows: u64,
        known: &[ColumnStatistics],
    ) -> Result<Option<Self>, TableError> {
        FitsSurvey::without_values(schema, rows, known)
    }

    /// The schema of the table.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// How many rows there are.
    pub fn rows(&self) -> u64 {
        self.layout.rows
    }

    /// The exact length of the file, in bytes.
    pub fn bytes(&self) -> u64 {
        self.header.len() as u64 + padded(self.data_bytes())
    }

    /// Says whether the rows can be streamed: nothing stands behind them. Lists and bytes of
    /// varying length do, and texts of which few are very long.
    pub fn is_streamable(&self) -> bool {
        self.column_in_heap().is_none()
    }

    /// The place of the first column whose values stand behind the rows.
    pub(super) fn column_in_heap(&self) -> Option<usize> {
        self.layout.columns.iter().position(|column| column.in_heap)
    }

    /// Rows and heap.
    pub(super) fn data_bytes(&self) -> u64 {
        self.layout.table_bytes() + self.layout.heap_bytes
    }

    /// How many rows are encoded at a time.
    pub(super) fn block_rows(&self) -> usize {
        (super::ENCODE_BYTES / self.layout.row_bytes.max(1)).max(1)
    }
}
