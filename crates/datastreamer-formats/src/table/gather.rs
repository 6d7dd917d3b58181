//! Rows encoded one by one, gathered, and written in pieces: what the formats that are encoded
//! here have in common.

use std::{io::Write, mem};

use arrow::{
    array::ArrayRef,
    datatypes::{DataType, SchemaRef},
    record_batch::RecordBatch,
};

use super::{
    TableError,
    column::{Column, cast_columns, cell_types, typed_columns},
    numbers::{Numbers, Rendered},
    text::Specials,
};

/// Enough for a chunk of the stream behind: so much is gathered before it is written, in bytes.
const GATHER_BYTES: usize = 64 * 1024;

/// A cell that a format cannot hold: the column's place, and why.
pub(super) type BadCell = (usize, &'static str);

/// An output of whole rows.
pub(super) struct Gather<W> {
    out: W,
    schema: SchemaRef,
    /// Of the columns, cast.
    types: Vec<DataType>,
    /// Encoded, and not yet written.
    pub(super) bytes: Vec<u8>,
    rows: u64,
    numbers: Numbers,
}

impl<W: Write> Gather<W> {
    pub(super) fn new(out: W, schema: SchemaRef) -> Self {
        Self {
            out,
            types: cell_types(&schema),
            schema,
            bytes: Vec::with_capacity(GATHER_BYTES + GATHER_BYTES / 4),
            rows: 0,
            numbers: Numbers::default(),
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
        let columns = self.columns(&arrays)?;
        for row in 0..batch.num_rows() {
            self.append(|out| append_row(out, &columns, row))?;
        }
        Ok(())
    }

    /// The same for formats of text, with the numbers of each row as texts.
    pub(super) fn write_text_rows(
        &mut self,
        batch: &RecordBatch,
        specials: Specials,
        mut append_row: impl FnMut(
            &mut Vec<u8>,
            &[Column<'_>],
            &Rendered<'_>,
            usize,
        ) -> Result<(), BadCell>,
    ) -> Result<(), TableError> {
        let arrays = cast_columns(batch)?;
        let columns = self.columns(&arrays)?;
        let mut numbers = mem::take(&mut self.numbers);
        let block_rows = Numbers::block_rows(columns.len());
        for from in (0..batch.num_rows()).step_by(block_rows) {
            let rows = from..batch.num_rows().min(from + block_rows);
            let rendered = numbers.render(&columns, rows.clone(), specials);
            for row in rows {
                self.append(|out| append_row(out, &columns, &rendered, row))?;
            }
        }
        self.numbers = numbers;
        Ok(())
    }

    fn columns<'a>(&self, arrays: &'a [ArrayRef]) -> Result<Vec<Column<'a>>, TableError> {
        typed_columns(arrays, &self.types)
    }

    #[inline]
    fn append(
        &mut self,
        append_row: impl FnOnce(&mut Vec<u8>) -> Result<(), BadCell>,
    ) -> Result<(), TableError> {
        let kept = self.bytes.len();
        if let Err((column, problem)) = append_row(&mut self.bytes) {
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
