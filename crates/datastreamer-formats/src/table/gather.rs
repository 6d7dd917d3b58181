//! Rows encoded one by one, gathered, and written in pieces: what the formats that are encoded
//! here have in common.

use std::io::Write;

use arrow::{datatypes::SchemaRef, record_batch::RecordBatch};

use super::{
    TableError,
    column::{Column, cast_columns},
};

/// Enough for a chunk of the stream behind: so much is gathered before it is written, in bytes.
const GATHER_BYTES: usize = 64 * 1024;

/// A cell that a format cannot hold: the column's place, and why.
pub(super) type BadCell = (usize, &'static str);

/// An output of whole rows.
pub(super) struct Gather<W> {
    out: W,
    schema: SchemaRef,
    /// Encoded, and not yet written.
    pub(super) bytes: Vec<u8>,
    rows: u64,
}

impl<W: Write> Gather<W> {
    pub(super) fn new(out: W, schema: SchemaRef) -> Self {
        Self {
            out,
            schema,
            bytes: Vec::with_capacity(GATHER_BYTES + GATHER_BYTES / 4),
            rows: 0,
        }
    }

    /// Appends each row of a batch. When one cannot be held the rows before it are kept, and of
    /// its own nothing.
    pub(super) fn write_rows(
        &mut self,
        batch: &RecordBatch,
        mut append_row: impl FnMut(&mut Vec<u8>, &[Column<'_>], usize) -> Result<(), BadCell>,
    ) -> Result<(), TableError> {
        let arrays = cast_columns(batch)?;
        let columns: Option<Vec<_>> = arrays.iter().map(|array| Column::of(array)).collect();
        let columns = columns
            .filter(|columns| columns.len() == self.schema.fields().len())
            .ok_or_else(|| {
                TableError::Schema("a batch has another schema than its table".into())
            })?;
        for row in 0..batch.num_rows() {
            let kept = self.bytes.len();
            if let Err((column, problem)) = append_row(&mut self.bytes, &columns, row) {
                self.bytes.truncate(kept);
                return Err(TableError::Value {
                    row: self.rows,
                    column: self.schema.field(column).name().clone(),
                    problem: problem.into(),
                });
            }
            self.rows += 1;
            if self.bytes.len() >= GATHER_BYTES {
                self.hand_over()?;
            }
        }
        Ok(())
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Writes what was gathered.
    pub(super) fn hand_over(&mut self) -> Result<(), TableError> {
        self.out.write_all(&self.bytes)?;
        self.bytes.clear();
        Ok(())
    }

    /// Writes what was gathered, and has the output do so as well.
    pub(super) fn end(mut self) -> Result<(), TableError> {
        self.hand_over()?;
        Ok(self.out.flush()?)
    }
}
