//! Rows without some of their columns: those that a format has no place for, and whoever asks for the
//! table does without.

use std::{collections::HashSet, sync::Arc};

use arrow::{
    array::RecordBatchReader,
    datatypes::{Schema, SchemaRef},
    error::ArrowError,
    record_batch::RecordBatch,
};

use crate::{meta, type_name};

/// Rows without some columns, of which their metadata say so ([`meta::LEFT_OUT`]).
///
/// ```
/// use std::sync::Arc;
/// use arrow::array::{ArrayRef, Int32Array, RecordBatchReader};
/// use arrow::record_batch::{RecordBatch, RecordBatchIterator};
/// use datastreamer_table::WithoutColumns;
///
/// let numbers = || Arc::new(Int32Array::from(vec![7])) as ArrayRef;
/// let batch = RecordBatch::try_from_iter([("a", numbers()), ("b", numbers()), ("c", numbers())])?;
/// let rows = RecordBatchIterator::new([Ok(batch.clone())], batch.schema());
/// let mut rows = WithoutColumns::new(rows, &[1]);
/// assert_eq!(rows.kept(), [0, 2]);
/// assert_eq!(rows.next().ok_or("a batch")??.columns(), batch.project(&[0, 2])?.columns());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct WithoutColumns<R> {
    rows: R,
    kept: Vec<usize>,
    schema: SchemaRef,
}

impl<R: RecordBatchReader> WithoutColumns<R> {
    /// Leaves out the columns at these places.
    pub fn new(rows: R, left_out: &[usize]) -> Self {
        let schema = rows.schema();
        let fields = schema.fields();
        let places: HashSet<_> = left_out.iter().collect();
        let kept: Vec<_> = (0..fields.len())
            .filter(|place| !places.contains(place))
            .collect();
        let lines = left_out.iter().filter_map(|place| fields.get(*place));
        let lines = lines.map(|field| {
            let data_type = type_name(field.data_type());
            format!("Left out: the column {:?} ({data_type}).", field.name())
        });
        let mut metadata = schema.metadata().clone();
        let lines: Vec<_> = lines.collect();
        metadata.insert(meta::LEFT_OUT.to_owned(), lines.join("\n"));
        let fields: Vec<_> = kept
            .iter()
            .map(|place| Arc::clone(&fields[*place]))
            .collect();
        Self {
            rows,
            kept,
            schema: Arc::new(Schema::new_with_metadata(fields, metadata)),
        }
    }

    /// The places, in all rows, of the columns that are left.
    pub fn kept(&self) -> &[usize] {
        &self.kept
    }
}

impl<R: RecordBatchReader> RecordBatchReader for WithoutColumns<R> {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

impl<R: RecordBatchReader> Iterator for WithoutColumns<R> {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.rows.next()?;
        Some(batch.and_then(|batch| batch.project(&self.kept)?.with_schema(self.schema())))
    }
}
