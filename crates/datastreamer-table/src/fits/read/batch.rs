//! Batches: blocks of rows, column by column, into arrays.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{ArrayRef, FixedSizeListArray, ListArray},
    buffer::{OffsetBuffer, ScalarBuffer},
    datatypes::{DataType, SchemaRef},
    error::ArrowError,
    record_batch::{RecordBatch, RecordBatchOptions},
};

use super::{
    FitsError, Table,
    column::{Column, Element, Shape},
    heap::{Extent, Heap},
    values::{Cells, NotStandard, Problem, Repaired, Values},
    window::Window,
};

/// Rows are read so many bytes at a time: they stay in a core's cache until all columns have been
/// taken from them.
const READ_BYTES: usize = 256 * 1024;

/// 64 MiB for a row whose cells share what they have in the heap: a header of 3 kB can name 999 columns
/// that all refer to the whole.
const SHARED_BYTES_MAX: u64 = 64 << 20;

/// Makes batches of some columns; its memory is used again from one to the next.
#[derive(Debug)]
pub(super) struct Batches {
    table: Arc<Table>,
    columns: Vec<usize>,
    /// Those of `columns`, by their places in it, that refer to the heap.
    heap_columns: Vec<usize>,
    schema: SchemaRef,
    window: Window,
    block: Vec<u8>,
    heap: Heap,
    extents: Vec<Extent>,
    not_standard: NotStandard,
    /// By the places in `columns`.
    repaired: Vec<Repaired>,
}

/// What is to be read.
pub(super) struct Rows {
    pub(super) range: Range<u64>,
    /// When so much has been read a batch ends, though not before it has a row.
    pub(super) bytes_max: u64,
}

/// A column that is being read.
struct Growing {
    values: Values,
    /// Where the lists of the heap end, in elements.
    ends: Vec<i32>,
}

impl Batches {
    pub(super) fn new(
        table: Arc<Table>,
        columns: Vec<usize>,
        schema: SchemaRef,
        not_standard: NotStandard,
    ) -> Self {
        let is_in_heap = |place: &usize| {
            let column: &Column = &table.columns[columns[*place]];
            matches!(column.shape, Shape::Heap { present: true, .. })
        };
        Self {
            heap_columns: (0..columns.len()).filter(is_in_heap).collect(),
            window: Window::new(&table, &columns),
            repaired: vec![Repaired::default(); columns.len()],
            not_standard,
            table,
            columns,
            schema,
            block: Vec::new(),
            heap: Heap::default(),
            extents: Vec::new(),
        }
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What was not as the standard says in the batches so far, by the places of the columns.
    pub(super) fn repaired(&self) -> &[Repaired] {
        &self.repaired
    }

    /// Reads the rows, or the first of them.
    pub(super) fn read(&mut self, rows: &Rows) -> Result<RecordBatch, FitsError> {
        let element = |column: &usize| self.table.columns[*column].element.clone();
        let growing = self.columns.iter().map(element);
        let growing = growing.map(|element| Growing::new(element, self.not_standard));
        let mut growing: Vec<Growing> = growing.collect();
        let block_rows = (READ_BYTES / self.window.row_bytes.max(1)).max(1) as u64;
        let mut next = rows.range.start;
        let mut left_bytes = rows.bytes_max;
        while next < rows.range.end {
            let block = next..rows.range.end.min(next.saturating_add(block_rows));
            self.window
                .read(&self.table, block.clone(), &mut self.block)?;
            let asked = (block.end - block.start) as usize;
            let is_first = next == rows.range.start;
            let count = self.rows_that_fit(asked, is_first, &mut left_bytes);
            let count = count.map_err(|row| self.too_much(next + row as u64))?;
            for (place, growing) in growing.iter_mut().enumerate() {
                self.append(place, growing, next, count)?;
            }
            next += count as u64;
            if count < asked {
                break;
            }
        }
        for (repaired, growing) in self.repaired.iter_mut().zip(&growing) {
            repaired.add(growing.values.repaired());
        }
        self.finish(growing, (next - rows.range.start) as usize)
    }

    /// How many rows of the block have room; what they take is taken from `left_bytes`.
    ///
    /// # Errors
    /// The row whose cells have more in the heap than there is.
    fn rows_that_fit(
        &self,
        asked: usize,
        is_first: bool,
        left_bytes: &mut u64,
    ) -> Result<usize, usize> {
        let row_bytes = self.window.row_bytes;
        for row in 0..asked {
            let in_heap = self.heap_columns.iter().map(|place| {
                let column = &self.table.columns[self.columns[*place]];
                let cell = &self.block[row * row_bytes + self.window.offsets[*place]..];
                // One that is wrong is found when it is read.
                column
                    .extent(cell, &self.table)
                    .map_or(0, |extent| extent.bytes as u64)
            });
            let heap_bytes = in_heap.fold(0, u64::saturating_add);
            if heap_bytes > self.row_heap_bytes_max() {
                return Err(row);
            }
            let bytes = heap_bytes.saturating_add(row_bytes as u64);
            let must = is_first && row == 0;
            if bytes > *left_bytes && !must {
                return Ok(row);
            }
            *left_bytes = left_bytes.saturating_sub(bytes);
        }
        Ok(asked)
    }

    /// What the cells of one row may have in the heap together: no more than there is, though they
    /// may share some of it.
    fn row_heap_bytes_max(&self) -> u64 {
        let heap = &self.table.heap;
        SHARED_BYTES_MAX.max(heap.end - heap.start)
    }

    fn too_much(&self, row: u64) -> FitsError {
        let column = &self.table.columns[self.columns[self.heap_columns[0]]];
        let problem =
            "with the other columns the row has more in the heap than there is".to_owned();
        column.wrong(row, column.file_at(&self.table, row), problem)
    }

    /// Appends a column's cells of the block.
    fn append(
        &mut self,
        place: usize,
        growing: &mut Growing,
        first: u64,
        count: usize,
    ) -> Result<(), FitsError> {
        let table = Arc::clone(&self.table);
        let column = &table.columns[self.columns[place]];
        let cells = Cells {
            block: &self.block,
            rows: count,
            row_bytes: self.window.row_bytes,
            at: self.window.offsets[place],
            bytes: column.bytes,
            elements: match column.shape {
                Shape::Fixed(length) => length as usize,
                _ => 1,
            },
        };
        if !matches!(column.shape, Shape::Heap { .. }) {
            return growing.values.append(cells).map_err(|problem| {
                let row = first + problem.cell as u64;
                let at = column.file_at(&table, row) + problem.at as u64;
                column.wrong(row, at, problem.text)
            });
        }
        self.extents.clear();
        for row in 0..count {
            let cell = &self.block[row * cells.row_bytes + cells.at..];
            let extent = column.extent(cell, &table);
            self.extents.push(extent.map_err(|problem| {
                let row = first + row as u64;
                column.wrong(row, column.file_at(&table, row), problem)
            })?);
        }
        self.append_heap(&table, column, growing, first)
    }

    /// Appends what the extents refer to.
    fn append_heap(
        &mut self,
        table: &Table,
        column: &Column,
        growing: &mut Growing,
        first: u64,
    ) -> Result<(), FitsError> {
        self.heap.gather(table, &self.extents)?;
        let text_bytes = column.is_text_list().then_some(column.element.text_bytes);
        for (row, extent) in self.extents.iter().enumerate() {
            let row = first + row as u64;
            let cell = self.heap.cell(table, *extent)?;
            growing
                .append_cell(cell, extent.elements, text_bytes)
                .map_err(|problem| {
                    column.wrong(row, extent.at + problem.at as u64, problem.text)
                })?;
        }
        Ok(())
    }

    fn finish(&self, growing: Vec<Growing>, rows: usize) -> Result<RecordBatch, FitsError> {
        let arrays = growing.into_iter().zip(self.schema.fields());
        let arrays = arrays.map(|(growing, field)| {
            growing
                .finish(field.data_type(), rows)
                .map_err(|error| FitsError::Column {
                    column: field.name().clone(),
                    problem: error.to_string(),
                })
        });
        let arrays = arrays.collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            .map_err(|error| FitsError::Request(error.to_string()))
    }
}

impl Column {
    /// Where the elements are of the cell at the beginning of these bytes.
    fn extent(&self, cell: &[u8], table: &Table) -> Result<Extent, String> {
        match self.shape {
            Shape::Heap { present: true, .. } => {
                Extent::of(&cell[..self.bytes], self.element.stored, table)
            }
            _ => Ok(Extent::EMPTY),
        }
    }

    fn file_at(&self, table: &Table, row: u64) -> u64 {
        table.data_at + row * table.row_bytes as u64 + self.at as u64
    }

    fn wrong(&self, row: u64, byte: u64, problem: String) -> FitsError {
        FitsError::Value {
            row,
            column: self.name.clone(),
            byte,
            problem,
        }
    }
}

impl Growing {
    fn new(element: Element, not_standard: NotStandard) -> Self {
        Self {
            values: Values::new(element, not_standard),
            ends: vec![0],
        }
    }

    /// Appends a cell of the heap, which may be a list of texts of so many bytes each.
    fn append_cell(
        &mut self,
        cell: &[u8],
        elements: usize,
        text_bytes: Option<usize>,
    ) -> Result<(), Problem> {
        let elements = text_bytes.map_or(elements, |bytes| cell.len().div_ceil(bytes));
        // Without bytes there is one text, but in a list none.
        if elements > 0 || text_bytes.is_none() {
            self.values.append(Cells::one(cell, elements))?;
        }
        let end = self.ends.last().copied().unwrap_or(0);
        let end = i32::try_from(elements)
            .ok()
            .and_then(|n| end.checked_add(n));
        self.ends.push(end.ok_or_else(|| Problem {
            cell: 0,
            at: 0,
            text: "the lists of the batch have more than 2^31 elements".to_owned(),
        })?);
        Ok(())
    }

    fn finish(self, data_type: &DataType, rows: usize) -> Result<ArrayRef, ArrowError> {
        let is_pair = self.values.is_pair();
        let elements = self.values.finish()?;
        Ok(match data_type {
            DataType::FixedSizeList(item, length) if !is_pair || item.data_type().is_nested() => {
                let item = Arc::clone(item);
                let list =
                    FixedSizeListArray::try_new_with_length(item, *length, elements, None, rows)?;
                Arc::new(list)
            }
            DataType::List(item) => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(self.ends));
                Arc::new(ListArray::try_new(
                    Arc::clone(item),
                    offsets,
                    elements,
                    None,
                )?)
            }
            _ => elements,
        })
    }
}
