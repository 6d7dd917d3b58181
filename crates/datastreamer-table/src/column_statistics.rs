//! What is known of a column's values before they are read.

/// What is known of the values of one column without reading them: from the statistics in a
/// Parquet file's footer, from the form of a FITS column.
///
/// Nothing is known by default. The values are those of the rows that are written, or of more
/// rows: bounds may be too wide, never too narrow. A statement that is wrong fails the write at the
/// first value that contradicts it; nothing is altered.
///
/// ```
/// use datastreamer_table::ColumnStatistics;
///
/// let names = ColumnStatistics { text_bytes_max: Some(8), ..Default::default() };
/// assert!(!names.no_nulls);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ColumnStatistics {
    /// No value is null.
    pub no_nulls: bool,
    /// The least and the greatest of the integers that are not null.
    pub integers: Option<(i64, i64)>,
    /// The length of the longest text, or more, in bytes.
    pub text_bytes_max: Option<usize>,
}
