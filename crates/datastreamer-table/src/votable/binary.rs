//! Rows of BINARY and BINARY2 (VOTable 1.5, 5.3 and 5.4): big-endian bytes, then base64 in lines.
//!
//! A block of rows is encoded column by column, each cell at the place that the lengths of those
//! before it give: so a column's cells are written in one loop that knows their type.

use std::ops::Range;

use super::field::{
    IS_NULL_VALUE, NOT_ASCII, NULL_ELEMENT, NULL_ROW, Primitive, Size, TOO_WIDE, VotableField, long,
};
use crate::{
    big_endian::{NULL_LOGICAL, append_integer, append_unless_integer, integer, logical},
    buffer::{RowBuffer, copy_short},
    column::{Cells, Column, Lists, Texts},
    durations,
    error::{BadRow, BadValue, FirstBad},
    text,
    times::{self, BeyondYears},
};

/// A line of 76 characters (RFC 2045, 6.8) holds so many bytes.
const LINE_BYTES: usize = 57;

/// Its line of base64.
const LINE_CHARACTERS: usize = LINE_BYTES / 3 * 4;

/// A block of rows ends at so many bytes, though not before it has a row: with the base64 of them
/// they stay in a core's cache.
const BLOCK_BYTES: usize = 32 * 1024;

/// The most rows of a block.
const BLOCK_ROWS_MAX: usize = 256;

/// What a cell of varying length has before it: how many elements there are.
const LENGTH_BYTES: usize = 4;

const TOO_LONG: &str = "the value is longer than 4 GB";

/// Encodes rows.
pub(super) struct BinaryRows {
    /// Of nulls, before each row: a bit a column, the most significant first.
    has_mask: bool,
    /// Bytes that wait for their line to be full, and behind them those of a block.
    raw: Vec<u8>,
    /// Where in `raw` the rows of the block begin.
    begins: Vec<usize>,
    /// Where the cells of the column go that is being put, less what lies before them in every
    /// row.
    places: Vec<usize>,
    /// How many bytes each cell of varying length has, column by column.
    lengths: Vec<usize>,
    /// So many of each column: also those of rows that do not fit the block.
    lengths_per_column: usize,
    /// What is encoded, before it is cut into lines.
    encoded: Vec<u8>,
}

impl BinaryRows {
    pub(super) fn new(has_mask: bool) -> Self {
        Self {
            has_mask,
            raw: Vec::new(),
            begins: Vec::new(),
            places: Vec::new(),
            lengths: Vec::new(),
            lengths_per_column: 0,
            encoded: Vec::new(),
        }
    }

    /// Appends the first of these rows, and says how many.
    ///
    /// # Errors
    /// The first value that has no place; the rows before it were appended.
    pub(super) fn append_block(
        &mut self,
        out: &mut RowBuffer,
        fields: &[VotableField],
        columns: &[Column<'_>],
        rows: Range<usize>,
    ) -> Result<usize, BadValue> {
        let mut first_bad = FirstBad::default();
        let count = self.measure(fields, columns, rows.clone(), &mut first_bad);
        let rows = rows.start..rows.start + count;
        self.put(fields, columns, rows.clone(), &mut first_bad);
        let result = first_bad.result(rows.start);
        if let Err(bad) = &result
            && let Some(begin) = self.begins.get(bad.row)
        {
            self.raw.truncate(*begin);
        }
        self.encode_full_lines(out);
        result.map(|()| count)
    }

    /// Appends the last line.
    pub(super) fn encode_rest(&mut self, out: &mut Vec<u8>) {
        base64_simd::STANDARD.encode_append(&self.raw, out);
        if !self.raw.is_empty() {
            out.push(b'\n');
        }
        self.raw.clear();
    }

    /// Of the mask of each row.
    fn mask_bytes(&self, columns: usize) -> usize {
        if self.has_mask {
            columns.div_ceil(8)
        } else {
            0
        }
    }

    /// Finds where the rows begin, and makes room for those that fit a block. Says how many do.
    fn measure(
        &mut self,
        fields: &[VotableField],
        columns: &[Column<'_>],
        rows: Range<usize>,
        first_bad: &mut FirstBad,
    ) -> usize {
        let cells = fields.iter().map(VotableField::least_bytes);
        let least_bytes = self.mask_bytes(fields.len()) + cells.sum::<usize>();
        let fit = (BLOCK_BYTES / least_bytes.max(1)).clamp(1, BLOCK_ROWS_MAX);
        let rows = rows.start..rows.end.min(rows.start + fit);
        self.lengths.clear();
        self.lengths_per_column = rows.len();
        for (place, (field, column)) in fields.iter().zip(columns).enumerate() {
            if field.size == Size::Variable {
                let measured = append_lengths(&mut self.lengths, field, column, rows.clone());
                first_bad.note(place, measured);
            }
        }
        // Behind a value that has no length there is nothing to be put.
        let bad = first_bad.row().unwrap_or(rows.end);
        let measured = bad - rows.start;
        let begun = self.raw.len();
        let mut end = begun;
        self.begins.clear();
        for row in 0..measured {
            let varying = self.lengths.iter().skip(row).step_by(rows.len());
            let bytes = least_bytes + varying.sum::<usize>();
            if row > 0 && end - begun + bytes > BLOCK_BYTES {
                break;
            }
            self.begins.push(end);
            end += bytes;
        }
        self.raw.resize(end, 0);
        let count = self.begins.len();
        if count < measured {
            *first_bad = FirstBad::default();
        }
        count
    }

    fn put(
        &mut self,
        fields: &[VotableField],
        columns: &[Column<'_>],
        rows: Range<usize>,
        first_bad: &mut FirstBad,
    ) {
        if self.has_mask {
            for (place, column) in columns.iter().enumerate() {
                column.for_each_null(rows.clone(), |row| {
                    self.raw[self.begins[row] + place / 8] |= 0x80 >> (place % 8);
                });
            }
        }
        self.places.clone_from(&self.begins);
        let mut before = self.mask_bytes(fields.len());
        let mut lengths = self.lengths.chunks(self.lengths_per_column.max(1));
        for (place, (field, column)) in fields.iter().zip(columns).enumerate() {
            let mut slots = Slots {
                raw: &mut self.raw,
                places: &self.places,
                before,
                field,
                has_mask: self.has_mask,
                rows: rows.clone(),
            };
            before += field.least_bytes();
            if field.size != Size::Variable {
                first_bad.note(place, slots.put_fixed(column));
                first_bad.note(place, slots.put_fillers(column));
                continue;
            }
            let of_column = &lengths.next().unwrap_or_default()[..rows.len()];
            first_bad.note(place, slots.put_varying(column, of_column));
            for (place, length) in self.places.iter_mut().zip(of_column) {
                *place += length;
            }
        }
    }

    fn encode_full_lines(&mut self, out: &mut RowBuffer) {
        let full = self.raw.len() / LINE_BYTES * LINE_BYTES;
        self.encoded.clear();
        base64_simd::STANDARD.encode_append(&self.raw[..full], &mut self.encoded);
        for line in self.encoded.as_chunks::<LINE_CHARACTERS>().0 {
            out.put(line);
            out.put(b"\n");
        }
        self.raw.drain(..full);
        // What a huge cell took.
        self.raw.shrink_to(4 * BLOCK_BYTES);
        self.encoded.shrink_to(4 * BLOCK_BYTES);
    }
}

impl VotableField {
    /// What a cell takes whatever is in it.
    fn least_bytes(&self) -> usize {
        match self.size {
            Size::One => self.primitive.bytes(),
            Size::Fixed(length) => length * self.primitive.bytes(),
            Size::Variable | Size::UpTo(_) => LENGTH_BYTES,
        }
    }

    /// Whether a value stands for null.
    fn has_null_value(&self) -> bool {
        match self.primitive {
            Primitive::Boolean | Primitive::Float | Primitive::Double => true,
            Primitive::Char | Primitive::UnicodeChar => true,
            _ => self.null.is_some(),
        }
    }
}

impl Primitive {
    /// Of one.
    fn bytes(self) -> usize {
        match self {
            Self::Boolean | Self::UnsignedByte | Self::Char => 1,
            Self::Short | Self::UnicodeChar => 2,
            Self::Int | Self::Float => 4,
            Self::Long | Self::Double => 8,
        }
    }
}

/// Appends how many bytes each cell of a column has behind its length. A null has none.
///
/// # Errors
/// The first that is too long, or has no text.
fn append_lengths(
    lengths: &mut Vec<usize>,
    field: &VotableField,
    column: &Column<'_>,
    rows: Range<usize>,
) -> Result<(), BadRow> {
    let from = lengths.len();
    let element_bytes = field.primitive.bytes();
    match &column.cells {
        Cells::Text(texts) if field.primitive == Primitive::UnicodeChar => {
            let are_ascii = texts.are_all(rows.clone(), <[u8]>::is_ascii);
            lengths.extend(rows.clone().map(|row| match texts.get(row) {
                text if are_ascii || text.is_ascii() => 2 * text.len(),
                text => 2 * text.encode_utf16().count(),
            }));
        }
        Cells::Text(texts) => lengths.extend(rows.clone().map(|row| texts.get(row).len())),
        Cells::Bytes(bytes) => lengths.extend(rows.clone().map(|row| bytes.get(row).len())),
        Cells::List(lists, _) => {
            let list_bytes = element_bytes * field.width.unwrap_or(1);
            let of = |row| list_bytes * lists.range(row).len();
            lengths.extend(rows.clone().map(of));
        }
        cells => match times::cell_bytes(cells) {
            Some(bytes) => lengths.extend(rows.clone().map(|_| bytes)),
            None => {
                let mut digits = Vec::new();
                lengths.extend(rows.clone().map(|row| {
                    render_digits(&mut digits, cells, row);
                    digits.len()
                }));
            }
        },
    }
    let lengths = &mut lengths[from..];
    column.for_each_null(rows.clone(), |row| lengths[row] = 0);
    let bytes_max = element_bytes * u32::MAX as usize;
    let too_long = lengths.iter().position(|bytes| *bytes > bytes_max);
    too_long.map_or(Ok(()), |row| Err((rows.start + row, TOO_LONG)))
}

/// Renders what is text in VOTable though it is none in Arrow: decimals, the largest integers, lengths
/// of time.
fn render_digits(digits: &mut Vec<u8>, cells: &Cells<'_>, row: usize) {
    digits.clear();
    match cells {
        Cells::U64(values) => text::integer(digits, values[row]),
        Cells::Decimal(values) => values.append(digits, row),
        cells => durations::append(digits, cells, row),
    }
}

/// Where the cells of a column go, in rows that are zeros there so far.
struct Slots<'a> {
    raw: &'a mut [u8],
    places: &'a [usize],
    /// What lies before the cell, in every row.
    before: usize,
    field: &'a VotableField,
    has_mask: bool,
    /// Of the batch, which are those of `places`.
    rows: Range<usize>,
}

impl Slots<'_> {
    /// The place of a cell's bytes behind the first few. Rows are counted from that of the block.
    #[inline]
    fn of(&mut self, row: usize, behind: usize, bytes: usize) -> &mut [u8] {
        let from = self.places[row] + self.before + behind;
        &mut self.raw[from..from + bytes]
    }

    /// Cells that all have the same length.
    fn put_fixed(&mut self, column: &Column<'_>) -> Result<(), BadRow> {
        match &column.cells {
            Cells::Bool(values) => {
                for row in 0..self.places.len() {
                    let value = values.value(self.rows.start + row);
                    self.of(row, 0, 1)[0] = logical(value);
                }
                Ok(())
            }
            Cells::F32(values) => {
                self.put_values(values, f32::to_be_bytes);
                Ok(())
            }
            Cells::F64(values) => {
                self.put_values(values, f64::to_be_bytes);
                Ok(())
            }
            Cells::I64(values) => self.put_integers(column, values, i64::to_be_bytes),
            Cells::I32(values) => self.put_integers(column, values, i32::to_be_bytes),
            Cells::I16(values) => self.put_integers(column, values, i16::to_be_bytes),
            Cells::U8(values) => self.put_integers(column, values, u8::to_be_bytes),
            Cells::I8(values) => {
                self.put_integers(column, values, |value| i16::from(value).to_be_bytes())
            }
            Cells::U16(values) => {
                self.put_integers(column, values, |value| i32::from(value).to_be_bytes())
            }
            Cells::U32(values) => {
                self.put_integers(column, values, |value| i64::from(value).to_be_bytes())
            }
            Cells::Bytes(bytes) => {
                let width = self.field.least_bytes();
                for row in valid_rows(column, self.rows.clone()) {
                    let bytes = bytes.get(self.rows.start + row);
                    self.of(row, 0, width).copy_from_slice(bytes);
                }
                Ok(())
            }
            Cells::List(lists, elements) => self.put_lists(column, lists, elements, 0),
            _ => Ok(()),
        }
    }

    #[inline]
    fn put_values<T: Copy, const N: usize>(&mut self, values: &[T], store: impl Fn(T) -> [u8; N]) {
        let (values, before) = (&values[self.rows.clone()], self.before);
        let raw = &mut *self.raw;
        for (place, value) in self.places.iter().zip(values) {
            let from = place + before;
            raw[from..from + N].copy_from_slice(&store(*value));
        }
    }

    /// A column with a null value must not have it as a value.
    #[inline]
    fn put_integers<T: Copy + Into<i64>, const N: usize>(
        &mut self,
        column: &Column<'_>,
        values: &[T],
        store: impl Fn(T) -> [u8; N],
    ) -> Result<(), BadRow> {
        self.put_values(values, store);
        let Some(null) = self.field.null else {
            return Ok(());
        };
        let is_null_value = |row: &usize| values[*row].into() == null && !column.is_null(*row);
        match self.rows.clone().find(is_null_value) {
            Some(row) => Err((row, IS_NULL_VALUE)),
            None => Ok(()),
        }
    }

    /// What stands in the rows that are null.
    fn put_fillers(&mut self, column: &Column<'_>) -> Result<(), BadRow> {
        if !column.has_nulls() {
            return Ok(());
        }
        let is_array = self.field.size != Size::One;
        let problem = match (self.has_mask, self.field.primitive) {
            (true, _) => None,
            (false, Primitive::Boolean) => is_array.then_some(NULL_LOGICAL),
            (false, _) => (!self.field.has_null_value()).then_some(NULL_ROW),
        };
        if let Some(problem) = problem {
            let null = self.rows.clone().find(|row| column.is_null(*row));
            return null.map_or(Ok(()), |row| Err((row, problem)));
        }
        let mut filler = Vec::new();
        while filler.len() < self.field.least_bytes() {
            append_filler(&mut filler, self.field);
        }
        let rows = self.rows.clone();
        column.for_each_null(rows, |row| {
            self.of(row, 0, filler.len()).copy_from_slice(&filler);
        });
        Ok(())
    }

    /// Cells behind their lengths, which are known.
    fn put_varying(&mut self, column: &Column<'_>, lengths: &[usize]) -> Result<(), BadRow> {
        let element_bits = self.field.primitive.bytes().trailing_zeros();
        for (row, bytes) in lengths.iter().enumerate() {
            let elements = (bytes >> element_bits) as u32;
            self.of(row, 0, LENGTH_BYTES)
                .copy_from_slice(&elements.to_be_bytes());
        }
        match &column.cells {
            Cells::Text(texts) if self.field.primitive == Primitive::UnicodeChar => {
                self.put_wide_texts(texts, lengths);
                Ok(())
            }
            Cells::Text(texts) => {
                let are_ascii = texts.are_all(self.rows.clone(), <[u8]>::is_ascii);
                for (row, bytes) in lengths.iter().enumerate().filter(|(_, bytes)| **bytes > 0) {
                    let text = texts.get(self.rows.start + row);
                    if !are_ascii && !text.is_ascii() {
                        return Err((self.rows.start + row, NOT_ASCII));
                    }
                    copy_short(self.of(row, LENGTH_BYTES, *bytes), text.as_bytes());
                }
                Ok(())
            }
            Cells::Bytes(all) => {
                for (row, bytes) in lengths.iter().enumerate().filter(|(_, bytes)| **bytes > 0) {
                    let value = all.get(self.rows.start + row);
                    self.of(row, LENGTH_BYTES, *bytes).copy_from_slice(value);
                }
                Ok(())
            }
            Cells::List(lists, elements) => self.put_lists(column, lists, elements, LENGTH_BYTES),
            cells @ (Cells::U64(_)
            | Cells::Decimal(..)
            | Cells::Duration(..)
            | Cells::Interval(_)) => {
                let mut digits = Vec::new();
                for row in valid_rows(column, self.rows.clone()) {
                    render_digits(&mut digits, cells, self.rows.start + row);
                    self.of(row, LENGTH_BYTES, digits.len())
                        .copy_from_slice(&digits);
                }
                Ok(())
            }
            times => {
                for row in valid_rows(column, self.rows.clone()) {
                    let of_batch = self.rows.start + row;
                    let mut slot = self.of(row, LENGTH_BYTES, lengths[row]);
                    times::time(&mut slot, times, of_batch)
                        .map_err(|BeyondYears| (of_batch, BeyondYears::PROBLEM))?;
                }
                Ok(())
            }
        }
    }

    /// UCS-2 by name; readers (astropy, STIL) take UTF-16, which says the rest of Unicode as well.
    fn put_wide_texts(&mut self, texts: &Texts<'_>, lengths: &[usize]) {
        for (row, bytes) in lengths.iter().enumerate().filter(|(_, bytes)| **bytes > 0) {
            let text = texts.get(self.rows.start + row);
            let slot = self.of(row, LENGTH_BYTES, *bytes);
            if 2 * text.len() == *bytes {
                // One unit for each byte: ASCII.
                put_wide(slot, text.as_bytes());
                continue;
            }
            let units = slot.as_chunks_mut::<2>().0.iter_mut();
            for (slot, unit) in units.zip(text.encode_utf16()) {
                *slot = unit.to_be_bytes();
            }
        }
    }

    fn put_lists(
        &mut self,
        column: &Column<'_>,
        lists: &Lists<'_>,
        elements: &Column<'_>,
        behind: usize,
    ) -> Result<(), BadRow> {
        let mut cell = Vec::new();
        for row in valid_rows(column, self.rows.clone()) {
            let of_batch = self.rows.start + row;
            cell.clear();
            for element in lists.range(of_batch) {
                append_element(&mut cell, self.field, elements, element)
                    .map_err(|problem| (of_batch, problem))?;
            }
            self.of(row, behind, cell.len()).copy_from_slice(&cell);
        }
        Ok(())
    }
}

/// Those of some rows that are not null, counted from the first of them.
fn valid_rows(column: &Column<'_>, rows: Range<usize>) -> impl Iterator<Item = usize> {
    let from = rows.start;
    (0..rows.len()).filter(move |row| !column.is_null(from + row))
}

/// Puts ASCII in UTF-16, eight characters at a time; the last eight may be put twice.
#[inline]
fn put_wide(to: &mut [u8], ascii: &[u8]) {
    #[inline]
    fn put<const N: usize>(to: &mut [u8], ascii: &[u8; N]) {
        let units = ascii.map(|byte| u16::from(byte).to_be_bytes());
        to.copy_from_slice(units.as_flattened());
    }
    let (eights, rest) = ascii.as_chunks::<8>();
    for (slot, eight) in to.chunks_exact_mut(16).zip(eights) {
        put(slot, eight);
    }
    let end = to.len();
    match (rest.len(), ascii.last_chunk::<8>()) {
        (0, _) => {}
        (_, Some(last)) => put(&mut to[end - 16..], last),
        (4.., None) => {
            if let (Some(first), Some(last)) = (rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
                put(&mut to[..8], first);
                put(&mut to[end - 8..], last);
            }
        }
        (_, None) => {
            for (slot, byte) in to.as_chunks_mut::<2>().0.iter_mut().zip(rest) {
                *slot = [0, *byte];
            }
        }
    }
}

fn append_element(
    out: &mut Vec<u8>,
    field: &VotableField,
    elements: &Column<'_>,
    row: usize,
) -> Result<(), &'static str> {
    if let (Some(width), Cells::Text(texts)) = (field.width, &elements.cells) {
        let text = (!elements.is_null(row)).then(|| texts.get(row));
        return append_text(out, field, width, text.unwrap_or_default());
    }
    if elements.is_null(row) {
        if field.primitive == Primitive::Boolean {
            return Err(NULL_LOGICAL);
        }
        if !field.has_null_value() {
            return Err(NULL_ELEMENT);
        }
        append_filler(out, field);
        return Ok(());
    }
    if append_unless_integer(out, &elements.cells, row) {
        return Ok(());
    }
    let stored = match &elements.cells {
        Cells::U64(values) => Some(long(values[row])?),
        cells => integer(cells, row),
    };
    let Some(stored) = stored else {
        return Ok(()); // Lists of nothing else are held.
    };
    if field.null == Some(stored) {
        return Err(IS_NULL_VALUE);
    }
    append_integer(out, stored, field.primitive.bytes());
    Ok(())
}

/// Appends a text of an array, and NUL behind it. One that is null has nothing else.
fn append_text(
    out: &mut Vec<u8>,
    field: &VotableField,
    width: usize,
    text: &str,
) -> Result<(), &'static str> {
    let end = out.len() + width * field.primitive.bytes();
    match field.primitive {
        Primitive::UnicodeChar => {
            out.extend(text.encode_utf16().flat_map(u16::to_be_bytes));
        }
        _ if !text.is_ascii() => return Err(NOT_ASCII),
        _ => out.extend_from_slice(text.as_bytes()),
    }
    if out.len() > end {
        return Err(TOO_WIDE);
    }
    out.resize(end, 0);
    Ok(())
}

/// What stands for a null, or where one is that a mask tells.
fn append_filler(out: &mut Vec<u8>, field: &VotableField) {
    match field.primitive {
        Primitive::Boolean => out.push(b'?'),
        Primitive::Float => out.extend_from_slice(&f32::NAN.to_be_bytes()),
        Primitive::Double => out.extend_from_slice(&f64::NAN.to_be_bytes()),
        primitive => append_integer(out, field.null.unwrap_or_default(), primitive.bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ascii_of_any_length_is_widened() {
        for length in 0..40u8 {
            let ascii: Vec<u8> = (b'0'..b'0' + length).collect();
            let mut wide = vec![1; 2 * ascii.len()];
            put_wide(&mut wide, &ascii);
            let expected: Vec<u8> = ascii.iter().flat_map(|byte| [0, *byte]).collect();
            assert_eq!(wide, expected);
        }
    }
}
