//! Rows of a binary table, big-endian, column by column into rows of equal width; and the heap.

use std::ops::Range;

use super::{
    NOT_PRINTABLE, is_fits_text,
    layout::{FitsColumn, Kind, Layout},
};
use crate::{
    big_endian::{NULL_LOGICAL, append_integer, append_unless_integer, integer, logical},
    buffer::copy_short,
    column::{ByteTexts, Cells, Column, Texts},
    error::{BadRow, BadValue, FirstBad},
    scalar,
    times::{self, BeyondYears},
};

const TOO_LONG: &str = "the value is longer than the table's shape says";
const NULL: &str = "the value is null, and the table's shape has no value that stands for it";
const BEYOND_SIGNED: &str = "the value is greater than the greatest that was found before";
const IS_NULL_VALUE: &str = "the value is the one that stands for null in the table's shape";

/// Appends rows of a batch. `heap_bytes` counts what the rows so far have in the heap.
///
/// # Errors
/// The first value that has no place; the rows before it were appended.
pub(super) fn append_rows(
    out: &mut Vec<u8>,
    layout: &Layout,
    columns: &[Column<'_>],
    rows: Range<usize>,
    heap_bytes: &mut u64,
) -> Result<(), BadValue> {
    let begun = out.len();
    out.resize(begun + layout.row_bytes * rows.len(), 0);
    let mut first_bad = FirstBad::default();
    for (place, (column, cells)) in layout.columns.iter().zip(columns).enumerate() {
        let mut slots = Slots {
            bytes: &mut out[begun..],
            // Rows of nothing are no rows to be filled.
            row_bytes: layout.row_bytes.max(1),
            column,
            rows: rows.clone(),
        };
        let put = match column.in_heap {
            true => slots.put_descriptors(layout, cells, heap_bytes),
            false => slots.put_column(cells),
        };
        first_bad.note(place, put);
    }
    let result = first_bad.result(rows.start);
    if let Err(bad) = &result {
        out.truncate(begun + layout.row_bytes * bad.row);
    }
    result
}

/// Appends what rows of a batch have in the heap, in the order of the descriptors.
pub(super) fn append_heap(
    out: &mut Vec<u8>,
    layout: &Layout,
    columns: &[Column<'_>],
    rows: Range<usize>,
) -> Result<(), BadValue> {
    for (place, (column, cells)) in layout.columns.iter().zip(columns).enumerate() {
        if !column.in_heap {
            continue;
        }
        for row in rows.clone().filter(|row| !cells.is_null(*row)) {
            append_to_heap(out, column, cells, row).map_err(|problem| BadValue {
                row: row - rows.start,
                place,
                problem,
            })?;
        }
    }
    Ok(())
}

fn append_to_heap(
    out: &mut Vec<u8>,
    column: &FitsColumn,
    cells: &Column<'_>,
    row: usize,
) -> Result<(), &'static str> {
    match &cells.cells {
        Cells::Text(texts) => out.extend_from_slice(texts.get(row).as_bytes()),
        Cells::Bytes(bytes) => out.extend_from_slice(bytes.get(row)),
        cells if is_gathered_text(cells) => scalar::append(out, cells, row, scalar::SPECIALS)?,
        Cells::List(lists, elements) => {
            for row in lists.range(row) {
                append_element(out, column, elements, row)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Says whether cells are texts only here: decimals and lengths of time.
pub(super) fn is_gathered_text(cells: &Cells<'_>) -> bool {
    matches!(
        cells,
        Cells::Decimal(_) | Cells::Duration(..) | Cells::Interval(_)
    )
}

/// Appends a text of an array, with NUL behind it, as astropy has them, which takes blanks there for
/// text. One that is null is all NUL, one that is empty begins with a blank.
fn append_text(
    out: &mut Vec<u8>,
    text_bytes: usize,
    elements: &Column<'_>,
    texts: &Texts<'_>,
    row: usize,
) -> Result<(), &'static str> {
    let end = out.len() + text_bytes;
    if elements.is_null(row) {
        out.resize(end, 0);
        return Ok(());
    }
    let text = texts.get(row).as_bytes();
    if !is_fits_text(text) {
        return Err(NOT_PRINTABLE);
    }
    if text.len() > text_bytes {
        return Err(TOO_LONG);
    }
    out.extend_from_slice(if text.is_empty() { b" " } else { text });
    out.resize(end, 0);
    Ok(())
}

/// The places of a column in rows that are being filled with zeros so far.
struct Slots<'a> {
    bytes: &'a mut [u8],
    row_bytes: usize,
    column: &'a FitsColumn,
    /// Of the batch, which are those of `bytes`.
    rows: Range<usize>,
}

impl Slots<'_> {
    /// Each row, and the column's place in it.
    #[inline]
    fn each(&mut self, width: usize) -> impl Iterator<Item = (usize, &mut [u8])> {
        let (from, offset) = (self.rows.start, self.column.offset);
        let rows = self.bytes.chunks_exact_mut(self.row_bytes).enumerate();
        rows.map(move |(place, row)| (from + place, &mut row[offset..offset + width]))
    }

    fn put_column(&mut self, cells: &Column<'_>) -> Result<(), BadRow> {
        let wide = self.column.widened;
        match &cells.cells {
            Cells::Bool(values) => {
                for (row, slot) in self.each(1).filter(|(row, _)| !cells.is_null(*row)) {
                    slot[0] = logical(values.value(row));
                }
                Ok(())
            }
            Cells::U8(values) => self.put_integers(cells, values, u8::to_be_bytes),
            Cells::I8(values) if wide => {
                self.put_integers(cells, values, |value| i16::from(value).to_be_bytes())
            }
            Cells::I8(values) => self.put_integers(cells, values, |value| [value as u8 ^ 0x80]),
            Cells::I16(values) => self.put_integers(cells, values, i16::to_be_bytes),
            Cells::U16(values) if wide => {
                self.put_integers(cells, values, |value| i32::from(value).to_be_bytes())
            }
            Cells::U16(values) => {
                self.put_integers(cells, values, |value| (value ^ 0x8000).to_be_bytes())
            }
            Cells::I32(values) => self.put_integers(cells, values, i32::to_be_bytes),
            Cells::U32(values) if wide => {
                self.put_integers(cells, values, |value| i64::from(value).to_be_bytes())
            }
            Cells::U32(values) => {
                self.put_integers(cells, values, |value| (value ^ (1 << 31)).to_be_bytes())
            }
            Cells::I64(values) => self.put_integers(cells, values, i64::to_be_bytes),
            Cells::U64(values) if wide => {
                match self.rows.clone().find(|row| is_beyond_signed(cells, *row)) {
                    Some(row) => Err((row, BEYOND_SIGNED)),
                    None => self.put_integers(cells, values, u64::to_be_bytes),
                }
            }
            Cells::U64(values) => {
                self.put_integers(cells, values, |value| (value ^ (1 << 63)).to_be_bytes())
            }
            Cells::F32(values) => {
                self.put_floats(cells, values, f32::to_be_bytes, f32::NAN.to_be_bytes());
                Ok(())
            }
            Cells::F64(values) => {
                self.put_floats(cells, values, f64::to_be_bytes, f64::NAN.to_be_bytes());
                Ok(())
            }
            Cells::Text(texts) => self.put_texts(cells, texts),
            Cells::Bytes(bytes) => self.put_bytes(cells, bytes),
            Cells::List(..) => self.put_gathered(cells),
            gathered if is_gathered_text(gathered) => self.put_gathered(cells),
            times => {
                let width = self.column.bytes();
                for (row, mut slot) in self.each(width).filter(|(row, _)| !cells.is_null(*row)) {
                    times::time(&mut slot, times, row)
                        .map_err(|BeyondYears| (row, BeyondYears::PROBLEM))?;
                }
                Ok(())
            }
        }
    }

    /// Puts every value, and what stands for null over those of rows that are null.
    #[inline]
    fn put_integers<T: Copy, const N: usize>(
        &mut self,
        cells: &Column<'_>,
        values: &[T],
        store: impl Fn(T) -> [u8; N],
    ) -> Result<(), BadRow> {
        self.put_values(values, store);
        let Some(null) = self.column.null else {
            let first_null = self.rows.clone().find(|row| cells.is_null(*row));
            return match first_null.filter(|_| cells.has_nulls()) {
                Some(row) => Err((row, NULL)),
                None => Ok(()),
            };
        };
        let null = null.to_be_bytes();
        let null = null.last_chunk::<N>().copied().unwrap_or([0; N]);
        for (row, slot) in self.each(N) {
            if cells.is_null(row) {
                slot.copy_from_slice(&null);
            } else if *slot == null {
                return Err((row, IS_NULL_VALUE));
            }
        }
        Ok(())
    }

    #[inline]
    fn put_floats<T: Copy, const N: usize>(
        &mut self,
        cells: &Column<'_>,
        values: &[T],
        store: impl Fn(T) -> [u8; N],
        null: [u8; N],
    ) {
        self.put_values(values, store);
        if cells.has_nulls() {
            for (_, slot) in self.each(N).filter(|(row, _)| cells.is_null(*row)) {
                slot.copy_from_slice(&null);
            }
        }
    }

    #[inline]
    fn put_values<T: Copy, const N: usize>(&mut self, values: &[T], store: impl Fn(T) -> [u8; N]) {
        let values = &values[self.rows.clone()];
        for ((_, slot), value) in self.each(N).zip(values) {
            slot.copy_from_slice(&store(*value));
        }
    }

    /// Texts. Those that are null are left zeros (FITS 4.0, 7.3.3.1).
    fn put_texts(&mut self, cells: &Column<'_>, texts: &Texts<'_>) -> Result<(), BadRow> {
        let are_printable = texts.are_all(self.rows.clone(), is_fits_text);
        let width = self.column.bytes();
        for (row, slot) in self.each(width).filter(|(row, _)| !cells.is_null(*row)) {
            let text = texts.get(row).as_bytes();
            if !are_printable && !is_fits_text(text) {
                return Err((row, NOT_PRINTABLE));
            }
            copy_short(slot.get_mut(..text.len()).ok_or((row, TOO_LONG))?, text);
        }
        Ok(())
    }

    fn put_bytes(&mut self, cells: &Column<'_>, bytes: &ByteTexts<'_>) -> Result<(), BadRow> {
        let width = self.column.bytes();
        for (row, slot) in self.each(width) {
            if cells.is_null(row) {
                return Err((row, NULL));
            }
            let bytes = bytes.get(row);
            copy_short(slot.get_mut(..bytes.len()).ok_or((row, TOO_LONG))?, bytes);
        }
        Ok(())
    }

    /// What is put together before its length is known: lists, decimals, lengths of time.
    fn put_gathered(&mut self, cells: &Column<'_>) -> Result<(), BadRow> {
        let (column, width) = (self.column, self.column.bytes());
        let mut gathered = Vec::with_capacity(width);
        for (row, slot) in self.each(width) {
            gathered.clear();
            match &cells.cells {
                values if is_gathered_text(values) && !cells.is_null(row) => {
                    scalar::append(&mut gathered, values, row, scalar::SPECIALS)
                        .map_err(|problem| (row, problem))?;
                }
                Cells::List(..) if cells.is_null(row) => {
                    for _ in 0..column.repeat {
                        append_null(&mut gathered, column).map_err(|problem| (row, problem))?;
                    }
                }
                Cells::List(lists, elements) => {
                    for element in lists.range(row) {
                        append_element(&mut gathered, column, elements, element)
                            .map_err(|problem| (row, problem))?;
                    }
                }
                _ => {}
            }
            let room = slot.get_mut(..gathered.len()).ok_or((row, TOO_LONG))?;
            room.copy_from_slice(&gathered);
        }
        Ok(())
    }

    /// Length and place of each row's elements in the heap (FITS 4.0, 7.3.5).
    fn put_descriptors(
        &mut self,
        layout: &Layout,
        cells: &Column<'_>,
        heap_bytes: &mut u64,
    ) -> Result<(), BadRow> {
        let text_bytes = self.column.text_bytes.unwrap_or(1);
        let element_bytes = self.column.kind.bytes();
        let mut digits = Vec::new();
        for (row, slot) in self.each(layout.descriptor_bytes()) {
            let length = match &cells.cells {
                _ if cells.is_null(row) => 0,
                Cells::Text(texts) => texts.get(row).len(),
                Cells::Bytes(bytes) => bytes.get(row).len(),
                Cells::List(lists, _) => lists.range(row).len() * text_bytes,
                values if is_gathered_text(values) => {
                    digits.clear();
                    scalar::append(&mut digits, values, row, scalar::SPECIALS)
                        .map_err(|problem| (row, problem))?;
                    digits.len()
                }
                _ => 0,
            };
            if layout.has_wide_descriptors() {
                slot[..8].copy_from_slice(&(length as i64).to_be_bytes());
                slot[8..].copy_from_slice(&heap_bytes.to_be_bytes());
            } else {
                slot[..4].copy_from_slice(&(length as i32).to_be_bytes());
                slot[4..].copy_from_slice(&(*heap_bytes as i32).to_be_bytes());
            }
            *heap_bytes += (length * element_bytes) as u64;
        }
        Ok(())
    }
}

fn append_element(
    out: &mut Vec<u8>,
    column: &FitsColumn,
    elements: &Column<'_>,
    row: usize,
) -> Result<(), &'static str> {
    if let (Some(text_bytes), Cells::Text(texts)) = (column.text_bytes, &elements.cells) {
        return append_text(out, text_bytes, elements, texts, row);
    }
    if elements.is_null(row) {
        return append_null(out, column);
    }
    if append_unless_integer(out, &elements.cells, row) {
        return Ok(());
    }
    if column.widened && is_beyond_signed(elements, row) {
        return Err(BEYOND_SIGNED);
    }
    let stored = stored_integer(&elements.cells, row, column.widened).unwrap_or_default();
    if column.null == Some(stored) {
        return Err(IS_NULL_VALUE);
    }
    append_integer(out, stored, column.kind.bytes());
    Ok(())
}

fn append_null(out: &mut Vec<u8>, column: &FitsColumn) -> Result<(), &'static str> {
    match column.kind {
        Kind::Logical => return Err(NULL_LOGICAL),
        Kind::Text => out.push(0),
        Kind::Float => out.extend_from_slice(&f32::NAN.to_be_bytes()),
        Kind::Double => out.extend_from_slice(&f64::NAN.to_be_bytes()),
        _ => append_integer(out, column.null.ok_or(NULL)?, column.kind.bytes()),
    }
    Ok(())
}

/// Says whether a value of 64 bits without a sign is beyond those with one.
pub(super) fn is_beyond_signed(column: &Column<'_>, row: usize) -> bool {
    match &column.cells {
        Cells::U64(values) => !column.is_null(row) && i64::try_from(values[row]).is_err(),
        _ => false,
    }
}

/// What is stored for an integer: unless it is widened, less the offset of its kind. `None` for
/// other cells.
#[inline]
pub(super) fn stored_integer(cells: &Cells<'_>, row: usize, widened: bool) -> Option<i64> {
    let value = integer(cells, row)?;
    Some(match cells {
        Cells::I8(_) if !widened => value + 128,
        Cells::U16(_) if !widened => value - (1 << 15),
        Cells::U32(_) if !widened => value - (1 << 31),
        Cells::U64(_) if !widened => value ^ i64::MIN,
        _ => value,
    })
}
