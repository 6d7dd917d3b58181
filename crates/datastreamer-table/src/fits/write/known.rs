//! What is known of a column's values before they are seen.

/// What is known of the values of one column without seeing them: from the statistics of a
/// Parquet file's footer, from the form of a FITS column.
///
/// It spares a [`FitsSurvey`](super::FitsSurvey) the column. What turns out to be wrong fails the
/// write at the first value that has no place: nothing is altered.
///
/// ```
/// use std::sync::Arc;
/// use arrow::datatypes::{DataType, Field, Schema};
/// use datastreamer_table::fits::{FitsShape, KnownValues};
///
/// let schema = Arc::new(Schema::new(vec![Field::new("name", DataType::Utf8, true)]));
/// let known = [KnownValues { text_bytes_max: Some(8), ..Default::default() }];
/// let shape = FitsShape::of_schema(schema, 1_000, &known)?;
/// // Headers of two blocks of 2880 bytes, and 8,000 bytes of rows in three.
/// assert_eq!(shape.map(|shape| shape.bytes()), Some(5 * 2880));
/// # Ok::<(), datastreamer_table::TableError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KnownValues {
    /// None is null.
    pub no_nulls: bool,
    /// The least and the greatest of the integers that are not null.
    pub integers: Option<(i64, i64)>,
    /// No text is longer, in bytes.
    pub text_bytes_max: Option<usize>,
}
