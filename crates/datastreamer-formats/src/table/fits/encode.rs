//! Rows of a binary table, big-endian, column by column into rows of equal width; and the heap.

use arrow::{
    array::{Array, ArrayRef},
    record_batch::RecordBatch,
};

use super::layout::{FitsColumn, Kind, Layout, append_digits, integer, stored_integer};
use crate::table::column::{Cells, Column};

/// Appends the rows of a batch. `heap_bytes` counts what the rows so far have in the heap.
pub(super) fn append_rows(
    out: &mut Vec<u8>,
    layout: &Layout,
    batch: &RecordBatch,
    heap_bytes: &mut u64,
) {
    out.resize(layout.row_bytes * batch.num_rows(), 0);
    for (column, array) in layout.columns.iter().zip(batch.columns()) {
        let Some(cells) = Column::of(array) else {
            continue;
        };
        let rows = Rows {
            bytes: out,
            row_bytes: layout.row_bytes,
            offset: column.offset,
        };
        if column.in_heap {
            put_descriptors(rows, layout, column, &cells, array.len(), heap_bytes);
        } else {
            put_column(rows, column, &cells, array);
        }
    }
}

/// Appends what a batch has in the heap, in the order of the descriptors.
pub(super) fn append_heap(out: &mut Vec<u8>, layout: &Layout, batch: &RecordBatch) {
    for (column, array) in layout.columns.iter().zip(batch.columns()) {
        let Some(cells) = Column::of(array).filter(|_| column.in_heap) else {
            continue;
        };
        for row in (0..array.len()).filter(|row| !cells.is_null(*row)) {
            match &cells.cells {
                Cells::Text(texts) => out.extend_from_slice(texts.get(row).as_bytes()),
                Cells::Bytes(bytes) => out.extend_from_slice(bytes.get(row)),
                Cells::List(lists, elements) => {
                    for row in lists.range(row) {
                        append_element(out, column, elements, row);
                    }
                }
                digits => {
                    // Looked at when it was spooled: it can be held.
                    let _held = append_digits(out, digits, row);
                }
            }
        }
    }
}

/// A column's places in rows that are being filled.
struct Rows<'a> {
    bytes: &'a mut [u8],
    row_bytes: usize,
    offset: usize,
}

impl Rows<'_> {
    #[inline]
    fn put(&mut self, row: usize, at: usize, value: &[u8]) {
        let from = row * self.row_bytes + self.offset + at;
        self.bytes[from..from + value.len()].copy_from_slice(value);
    }

    /// Fills the column of a fixed width from an iterator over its rows.
    #[inline]
    fn put_all<const N: usize>(&mut self, values: impl Iterator<Item = [u8; N]>) {
        let rows = self.bytes.chunks_exact_mut(self.row_bytes);
        for (row, value) in rows.zip(values) {
            row[self.offset..self.offset + N].copy_from_slice(&value);
        }
    }
}

fn put_column(mut rows: Rows<'_>, column: &FitsColumn, cells: &Column<'_>, array: &ArrayRef) {
    let all = 0..array.len();
    let null = column.null.unwrap_or_default();
    macro_rules! integers {
        ($values:expr, $store:expr, $null:expr) => {{
            let stored = |row: usize| match cells.is_null(row) {
                true => $null.to_be_bytes(),
                false => $store($values[row]).to_be_bytes(),
            };
            rows.put_all(all.map(stored));
        }};
    }
    if column.widened && !matches!(cells.cells, Cells::List(..)) {
        let width = column.kind.bytes();
        for row in all {
            let value = match cells.is_null(row) {
                true => null,
                false => integer(&cells.cells, row).unwrap_or_default(),
            };
            rows.put(row, 0, &value.to_be_bytes()[8 - width..]);
        }
        return;
    }
    match &cells.cells {
        Cells::Bool(values) => rows.put_all(all.map(|row| match cells.is_null(row) {
            true => [0],
            false => [logical(values.value(row))],
        })),
        Cells::U8(values) => integers!(values, |value: u8| value, null as u8),
        Cells::I8(values) => integers!(values, |value: i8| value as u8 ^ 0x80, null as u8),
        Cells::I16(values) => integers!(values, |value: i16| value, null as i16),
        Cells::U16(values) => integers!(values, |value: u16| value ^ 0x8000, null as u16),
        Cells::I32(values) => integers!(values, |value: i32| value, null as i32),
        Cells::U32(values) => integers!(values, |value: u32| value ^ (1 << 31), null as u32),
        Cells::I64(values) => integers!(values, |value: i64| value, null),
        Cells::U64(values) => integers!(values, |value: u64| value ^ (1 << 63), null),
        Cells::F32(values) => integers!(values, |value: f32| value, f32::NAN),
        Cells::F64(values) => integers!(values, |value: f64| value, f64::NAN),
        Cells::Text(texts) => {
            for row in all.filter(|row| !cells.is_null(*row)) {
                rows.put(row, 0, texts.get(row).as_bytes());
            }
        }
        Cells::Bytes(bytes) => {
            for row in all.filter(|row| !cells.is_null(*row)) {
                rows.put(row, 0, bytes.get(row));
            }
        }
        Cells::List(lists, elements) => {
            let mut element = Vec::new();
            for row in all {
                element.clear();
                if cells.is_null(row) {
                    (0..column.repeat).for_each(|_| append_null(&mut element, column));
                } else {
                    for row in lists.range(row) {
                        append_element(&mut element, column, elements, row);
                    }
                }
                rows.put(row, 0, &element);
            }
        }
        digits => {
            let mut text = Vec::new();
            for row in all.filter(|row| !cells.is_null(*row)) {
                text.clear();
                // Looked at when it was spooled: it can be held.
                let _held = append_digits(&mut text, digits, row);
                rows.put(row, 0, &text);
            }
        }
    }
}

/// Length and place of each row's elements in the heap (FITS 4.0, 7.3.5).
fn put_descriptors(
    mut rows: Rows<'_>,
    layout: &Layout,
    column: &FitsColumn,
    cells: &Column<'_>,
    count: usize,
    heap_bytes: &mut u64,
) {
    let mut text = Vec::new();
    for row in 0..count {
        let length = match &cells.cells {
            _ if cells.is_null(row) => 0,
            Cells::Text(texts) => texts.get(row).len(),
            Cells::Bytes(bytes) => bytes.get(row).len(),
            Cells::List(lists, _) => lists.range(row).len(),
            digits => {
                text.clear();
                let _held = append_digits(&mut text, digits, row);
                text.len()
            }
        };
        if layout.has_wide_descriptors() {
            rows.put(row, 0, &(length as i64).to_be_bytes());
            rows.put(row, 8, &heap_bytes.to_be_bytes());
        } else {
            rows.put(row, 0, &(length as i32).to_be_bytes());
            rows.put(row, 4, &(*heap_bytes as i32).to_be_bytes());
        }
        *heap_bytes += (length * column.kind.bytes()) as u64;
    }
}

fn append_element(out: &mut Vec<u8>, column: &FitsColumn, elements: &Column<'_>, row: usize) {
    if elements.is_null(row) {
        append_null(out, column);
        return;
    }
    match &elements.cells {
        Cells::Bool(values) => out.push(logical(values.value(row))),
        Cells::F32(values) => out.extend_from_slice(&values[row].to_be_bytes()),
        Cells::F64(values) => out.extend_from_slice(&values[row].to_be_bytes()),
        cells if column.widened => {
            append_integer(out, column, integer(cells, row).unwrap_or_default());
        }
        cells => append_integer(out, column, stored_integer(cells, row).unwrap_or_default()),
    }
}

fn append_null(out: &mut Vec<u8>, column: &FitsColumn) {
    match column.kind {
        Kind::Logical | Kind::Text => out.push(0),
        Kind::Float => out.extend_from_slice(&f32::NAN.to_be_bytes()),
        Kind::Double => out.extend_from_slice(&f64::NAN.to_be_bytes()),
        _ => append_integer(out, column, column.null.unwrap_or_default()),
    }
}

fn append_integer(out: &mut Vec<u8>, column: &FitsColumn, stored: i64) {
    let bytes = stored.to_be_bytes();
    out.extend_from_slice(&bytes[bytes.len() - column.kind.bytes()..]);
}

fn logical(value: bool) -> u8 {
    if value { b'T' } else { b'F' }
}
