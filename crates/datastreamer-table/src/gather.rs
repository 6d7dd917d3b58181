//! Rows encoded one by one or in blocks, gathered, and written in pieces: what the formats that are
//! encoded here have in common.

use std::{io::Write, mem, ops::Range};

use arrow::{
    array::ArrayRef,
    datatypes::{DataType, SchemaRef},
    record_batch::RecordBatch,
};

use super::{
    TableError,
    buffer::{Frame, RowBuffer},
    column::{Column, cast_columns, cell_types, typed_columns},
    error::BadValue,
    rendered::{Buffers, Rendered},
    text_format::TextFormat,
};

/// Enough for a chunk of the stream behind: so much is gathered before it is written, in bytes.
const GATHER_BYTES: usize = 64 * 1024;

/// A cell that a format cannot hold: the column's place, and why.
pub(super) type BadCell = (usize, &'static str);

/// What stands around the cells of a format of text.
pub(super) struct Frames {
    /// Of each column.
    frames: Vec<Frame>,
    /// A row of a table without columns.
    empty_row: Vec<u8>,
}

impl Frames {
    /// Each column has what stands before its cells, behind them, and instead of a null; each row
    /// `begin` before its first and `end` behind its last cell.
    pub(super) fn new(begin: &[u8], end: &[u8], columns: &[[Vec<u8>; 3]]) -> Self {
        let last = columns.len().saturating_sub(1);
        let frames = columns.iter().enumerate();
        let frames = frames.map(|(place, [before, behind, null])| {
            let begin = if place == 0 { begin } else { b"" };
            let end = if place == last { end } else { b"" };
            Frame::new(
                [begin, before].concat(),
                [behind, end].concat(),
                [begin, null, end].concat(),
            )
        });
        Self {
            frames: frames.collect(),
            empty_row: [begin, end].concat(),
        }
    }
}

/// An output of complete rows.
pub(super) struct Gather<W> {
    out: W,
    schema: SchemaRef,
    /// Of the columns, cast.
    types: Vec<DataType>,
    /// Encoded, and not yet written.
    bytes: RowBuffer,
    /// A cell that is not put at once.
    scratch: Vec<u8>,
    rows: u64,
    rendering: Buffers,
}

impl<W: Write> Gather<W> {
    pub(super) fn new(out: W, schema: SchemaRef) -> Self {
        Self {
            out,
            types: cell_types(&schema),
            schema,
            bytes: RowBuffer::with_capacity(GATHER_BYTES + GATHER_BYTES / 4),
            scratch: Vec::new(),
            rows: 0,
            rendering: Buffers::default(),
        }
    }

    /// Appends what is no row.
    pub(super) fn append(&mut self, append: impl FnOnce(&mut Vec<u8>)) {
        self.scratch.clear();
        append(&mut self.scratch);
        self.bytes.put(&self.scratch);
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
            self.append_row(|out, scratch| {
                scratch.clear();
                append_row(scratch, &columns, row)?;
                out.put(scratch);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// The same for a format of text: cells are rendered for a block of rows, and put together row
    /// by row.
    pub(super) fn write_text_rows<F: TextFormat>(
        &mut self,
        batch: &RecordBatch,
        frames: &Frames,
        format: &mut F,
    ) -> Result<(), TableError> {
        let arrays = cast_columns(batch)?;
        let columns = self.columns(&arrays)?;
        let mut rendering = mem::take(&mut self.rendering);
        let block_rows = Buffers::block_rows(columns.len());
        for from in (0..batch.num_rows()).step_by(block_rows) {
            let rows = from..batch.num_rows().min(from + block_rows);
            let rendered = rendering.render(&columns, rows.clone(), format);
            for row in rows {
                self.append_row(|out, scratch| {
                    put_row(out, scratch, frames, &columns, &rendered, format, row)
                })?;
            }
        }
        self.rendering = rendering;
        Ok(())
    }

    /// The same for a format of blocks of rows, encoded column by column: `append_block` appends the
    /// first of the rows that it is given, and says how many.
    pub(super) fn write_blocks(
        &mut self,
        batch: &RecordBatch,
        mut append_block: impl FnMut(
            &mut RowBuffer,
            &[Column<'_>],
            Range<usize>,
        ) -> Result<usize, BadValue>,
    ) -> Result<(), TableError> {
        let arrays = cast_columns(batch)?;
        let columns = self.columns(&arrays)?;
        let mut rows = 0..batch.num_rows();
        while !rows.is_empty() {
            let appended = append_block(&mut self.bytes, &columns, rows.clone());
            let count = appended.map_err(|bad| bad.error(&self.schema, self.rows))?;
            rows.start += count;
            self.rows += count as u64;
            self.hand_over_full()?;
        }
        Ok(())
    }

    fn columns<'a>(&self, arrays: &'a [ArrayRef]) -> Result<Vec<Column<'a>>, TableError> {
        typed_columns(arrays, &self.types)
    }

    #[inline]
    fn append_row(
        &mut self,
        append_row: impl FnOnce(&mut RowBuffer, &mut Vec<u8>) -> Result<(), BadCell>,
    ) -> Result<(), TableError> {
        let kept = self.bytes.len();
        if let Err(bad) = append_row(&mut self.bytes, &mut self.scratch) {
            self.bytes.truncate(kept);
            return Err(self.bad_cell(bad));
        }
        self.rows += 1;
        self.hand_over_full()
    }

    #[inline]
    fn hand_over_full(&mut self) -> Result<(), TableError> {
        match self.bytes.len() {
            GATHER_BYTES.. => self.hand_over(),
            _ => Ok(()),
        }
    }

    /// The error of a cell of the next row.
    pub(super) fn bad_cell(&self, (place, problem): BadCell) -> TableError {
        let bad = BadValue {
            row: 0,
            place,
            problem,
        };
        bad.error(&self.schema, self.rows)
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Writes what was gathered.
    pub(super) fn hand_over(&mut self) -> Result<(), TableError> {
        self.out.write_all(self.bytes.as_bytes())?;
        self.bytes.clear();
        self.scratch.shrink_to(GATHER_BYTES);
        Ok(())
    }

    /// Writes what was gathered, and has the output do so as well.
    pub(super) fn end(mut self) -> Result<(), TableError> {
        self.hand_over()?;
        Ok(self.out.flush()?)
    }
}

/// Puts the cells of a row together. What was not rendered is null, or appended now.
#[inline]
fn put_row<F: TextFormat>(
    out: &mut RowBuffer,
    scratch: &mut Vec<u8>,
    frames: &Frames,
    columns: &[Column<'_>],
    rendered: &Rendered<'_>,
    format: &mut F,
    row: usize,
) -> Result<(), BadCell> {
    let begun = out.len();
    for (place, (column, frame)) in columns.iter().zip(&frames.frames).enumerate() {
        match rendered.get(place, row) {
            Some(text) => out.put_cell(frame, text),
            None if column.is_null(row) => out.put_null(frame),
            None => {
                scratch.clear();
                format
                    .append_cell(scratch, place, column, row)
                    .map_err(|problem| (place, problem))?;
                out.put_cell(frame, scratch);
            }
        }
    }
    if columns.is_empty() {
        out.put(&frames.empty_row);
    }
    format.row_is_done(out, begun);
    Ok(())
}
