//! The reader of a table: batch after batch.

use std::{ops::Range, sync::Arc};

use arrow::{
    datatypes::SchemaRef,
    error::ArrowError,
    record_batch::{RecordBatch, RecordBatchReader},
};

use super::{
    Repaired,
    batch::{Batches, Rows},
};

/// Bytes of a batch, about: a few of them are under way in a stream, of which each has a budget of
/// 64 MB.
const BATCH_BYTES: u64 = 16 << 20;

/// Reads rows of a [`FitsFile`](super::FitsFile), batch by batch, in constant memory. It ends
/// after an error, whose cause is a [`FitsError`](super::FitsError).
#[derive(Debug)]
pub struct FitsReader {
    batches: Batches,
    rows: Range<u64>,
    batch_rows: u64,
}

impl FitsReader {
    pub(super) fn new(batches: Batches, rows: Range<u64>, batch_rows: usize) -> Self {
        Self {
            batches,
            rows,
            batch_rows: batch_rows.max(1) as u64,
        }
    }

    /// The columns, by their names, of which some values in the batches so far are not as the standard
    /// says.
    pub fn repaired(&self) -> impl Iterator<Item = (&str, &Repaired)> {
        let fields = self.batches.schema().fields().iter();
        let all = fields.zip(self.batches.repaired());
        let all = all.filter(|(_, repaired)| **repaired != Repaired::default());
        all.map(|(field, repaired)| (field.name().as_str(), repaired))
    }
}

impl Iterator for FitsReader {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rows.is_empty() {
            return None;
        }
        let end = self.rows.start.saturating_add(self.batch_rows);
        let batch = self.batches.read(&Rows {
            range: self.rows.start..self.rows.end.min(end),
            bytes_max: BATCH_BYTES,
        });
        match &batch {
            Ok(batch) => self.rows.start += batch.num_rows() as u64,
            Err(_) => self.rows.start = self.rows.end,
        }
        Some(batch.map_err(ArrowError::from))
    }
}

impl RecordBatchReader for FitsReader {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.batches.schema())
    }
}
