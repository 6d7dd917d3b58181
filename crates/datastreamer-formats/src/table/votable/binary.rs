//! Rows of BINARY and BINARY2 (VOTable 1.5, 5.3 and 5.4): big-endian bytes, then base64 in lines.

use super::field::{
    IS_NULL_VALUE, NOT_ASCII, NULL_ELEMENT, NULL_ROW, Primitive, Size, VotableField,
};
use crate::table::{
    column::{Cells, Column},
    gather::BadCell,
    text::{self, BeyondYears},
};

/// A line of 76 characters (RFC 2045, 6.8) holds so many bytes.
const LINE_BYTES: usize = 57;

/// So many bytes are encoded at a time: a row alone is seldom a line, and the encoder is the
/// faster the more it is given.
const BLOCK_BYTES: usize = 64 * LINE_BYTES;

/// Its line of base64.
const LINE_CHARACTERS: usize = LINE_BYTES / 3 * 4;

/// Bytes that wait for their line to be full.
#[derive(Default)]
pub(super) struct Base64Lines {
    /// What rows are appended to.
    pub(super) raw: Vec<u8>,
    /// What is encoded, before it is cut into lines.
    encoded: Vec<u8>,
}

impl Base64Lines {
    /// Appends lines once there are many.
    #[inline]
    pub(super) fn encode(&mut self, out: &mut Vec<u8>) {
        if self.raw.len() >= BLOCK_BYTES {
            self.encode_full_lines(out);
        }
    }

    /// Appends everything.
    pub(super) fn encode_rest(&mut self, out: &mut Vec<u8>) {
        self.encode_full_lines(out);
        base64_simd::STANDARD.encode_append(&self.raw, out);
        if !self.raw.is_empty() {
            out.push(b'\n');
        }
        self.raw.clear();
    }

    fn encode_full_lines(&mut self, out: &mut Vec<u8>) {
        let full = self.raw.len() / LINE_BYTES * LINE_BYTES;
        self.encoded.clear();
        base64_simd::STANDARD.encode_append(&self.raw[..full], &mut self.encoded);
        for line in self.encoded.as_chunks::<LINE_CHARACTERS>().0 {
            out.extend_from_slice(line);
            out.push(b'\n');
        }
        self.raw.drain(..full);
    }
}

/// Appends one row; on an error, which says column and reason, nothing.
pub(super) fn append_row<'a>(
    raw: &mut Vec<u8>,
    cells: impl Iterator<Item = (&'a VotableField, &'a Column<'a>)>,
    row: usize,
) -> Result<(), BadCell> {
    let kept = raw.len();
    for (place, (field, column)) in cells.enumerate() {
        let appended = match column.is_null(row) {
            true if !has_null_element(field) && field.size != Size::Variable => Err(NULL_ROW),
            true => append_null(raw, field),
            false => append_value(raw, field, column, row),
        };
        if let Err(problem) = appended {
            raw.truncate(kept);
            return Err((place, problem));
        }
    }
    Ok(())
}

/// The same behind a mask of nulls: a bit a column, the most significant first.
pub(super) fn append_row_with_mask<'a>(
    raw: &mut Vec<u8>,
    cells: impl ExactSizeIterator<Item = (&'a VotableField, &'a Column<'a>)>,
    row: usize,
) -> Result<(), BadCell> {
    let mask_from = raw.len();
    raw.resize(mask_from + cells.len().div_ceil(8), 0);
    for (place, (field, column)) in cells.enumerate() {
        let appended = if column.is_null(row) {
            raw[mask_from + place / 8] |= 0x80 >> (place % 8);
            append_null(raw, field)
        } else {
            append_value(raw, field, column, row)
        };
        if let Err(problem) = appended {
            raw.truncate(mask_from);
            return Err((place, problem));
        }
    }
    Ok(())
}

#[inline]
fn append_value(
    raw: &mut Vec<u8>,
    field: &VotableField,
    column: &Column<'_>,
    row: usize,
) -> Result<(), &'static str> {
    let Cells::List(lists, elements) = &column.cells else {
        return append_cell(raw, field, column, row);
    };
    let range = lists.range(row);
    if field.size == Size::Variable {
        append_length(raw, range.len())?;
    }
    for row in range {
        append_element(raw, field, elements, row)?;
    }
    Ok(())
}

/// A null: nothing where the length varies, a filler elsewhere.
fn append_null(raw: &mut Vec<u8>, field: &VotableField) -> Result<(), &'static str> {
    match field.size {
        Size::Variable => append_length(raw, 0),
        Size::One => {
            append_filler(raw, field);
            Ok(())
        }
        Size::Fixed(length) => {
            (0..length).for_each(|_| append_filler(raw, field));
            Ok(())
        }
    }
}

fn append_filler(raw: &mut Vec<u8>, field: &VotableField) {
    let null = field.null.unwrap_or_default();
    match field.primitive {
        Primitive::Boolean => raw.push(b'?'),
        Primitive::Float => raw.extend_from_slice(&f32::NAN.to_be_bytes()),
        Primitive::Double => raw.extend_from_slice(&f64::NAN.to_be_bytes()),
        Primitive::UnicodeChar => raw.extend_from_slice(&[0, 0]),
        Primitive::Char => raw.push(0),
        Primitive::UnsignedByte => raw.push(null as u8),
        Primitive::Short => raw.extend_from_slice(&(null as i16).to_be_bytes()),
        Primitive::Int => raw.extend_from_slice(&(null as i32).to_be_bytes()),
        Primitive::Long => raw.extend_from_slice(&null.to_be_bytes()),
    }
}

/// Whether a value stands for null among a column's elements.
fn has_null_element(field: &VotableField) -> bool {
    match field.primitive {
        Primitive::Boolean | Primitive::Float | Primitive::Double => true,
        _ => field.null.is_some(),
    }
}

fn append_element(
    raw: &mut Vec<u8>,
    field: &VotableField,
    elements: &Column<'_>,
    row: usize,
) -> Result<(), &'static str> {
    if !elements.is_null(row) {
        return append_cell(raw, field, elements, row);
    }
    if !has_null_element(field) {
        return Err(NULL_ELEMENT);
    }
    append_filler(raw, field);
    Ok(())
}

#[inline]
fn append_cell(
    raw: &mut Vec<u8>,
    field: &VotableField,
    column: &Column<'_>,
    row: usize,
) -> Result<(), &'static str> {
    match &column.cells {
        Cells::Bool(array) => raw.push(if array.value(row) { b'T' } else { b'F' }),
        Cells::F32(values) => raw.extend_from_slice(&values[row].to_be_bytes()),
        Cells::F64(values) => raw.extend_from_slice(&values[row].to_be_bytes()),
        Cells::I64(values) => return integer(raw, field, values[row], i64::to_be_bytes),
        Cells::I32(values) => return integer(raw, field, values[row], i32::to_be_bytes),
        Cells::I16(values) => return integer(raw, field, values[row], i16::to_be_bytes),
        Cells::U8(values) => return integer(raw, field, values[row], u8::to_be_bytes),
        Cells::I8(values) => return integer(raw, field, values[row].into(), i16::to_be_bytes),
        Cells::U16(values) => return integer(raw, field, values[row].into(), i32::to_be_bytes),
        Cells::U32(values) => return integer(raw, field, values[row].into(), i64::to_be_bytes),
        Cells::Text(texts) => return append_text(raw, field, texts.get(row)),
        Cells::Bytes(bytes) => {
            let bytes = bytes.get(row);
            if field.size == Size::Variable {
                append_length(raw, bytes.len())?;
            }
            raw.extend_from_slice(bytes);
        }
        cells => return append_digits(raw, cells, row),
    }
    Ok(())
}

/// A column with a null value must not have it as a value.
#[inline]
fn integer<T: Copy + Into<i64>, const N: usize>(
    raw: &mut Vec<u8>,
    field: &VotableField,
    value: T,
    to_be_bytes: impl Fn(T) -> [u8; N],
) -> Result<(), &'static str> {
    if field.null == Some(value.into()) {
        return Err(IS_NULL_VALUE);
    }
    raw.extend_from_slice(&to_be_bytes(value));
    Ok(())
}

/// What is text in VOTable though it is none in Arrow: times, decimals, the largest integers.
fn append_digits(raw: &mut Vec<u8>, cells: &Cells<'_>, row: usize) -> Result<(), &'static str> {
    let length_at = raw.len();
    append_length(raw, 0)?;
    match cells {
        Cells::U64(values) => text::integer(raw, values[row]),
        Cells::Decimal(values, scale) => text::decimal(raw, values[row], *scale),
        _ => text::time(raw, cells, row).map_err(|BeyondYears| BeyondYears::PROBLEM)?,
    }
    let length = (raw.len() - length_at - 4) as u32;
    raw[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

fn append_text(raw: &mut Vec<u8>, field: &VotableField, text: &str) -> Result<(), &'static str> {
    if field.primitive == Primitive::Char {
        if !text.is_ascii() {
            return Err(NOT_ASCII);
        }
        append_length(raw, text.len())?;
        raw.extend_from_slice(text.as_bytes());
        return Ok(());
    }
    // UCS-2 by name; readers (astropy, STIL) take UTF-16, which says the rest of Unicode as well.
    let length_at = raw.len();
    append_length(raw, 0)?;
    if text.is_ascii() {
        append_wide(raw, text.as_bytes());
    } else {
        raw.extend(text.encode_utf16().flat_map(u16::to_be_bytes));
    }
    let units = u32::try_from((raw.len() - length_at - 4) / 2).map_err(|_| TOO_LONG)?;
    raw[length_at..length_at + 4].copy_from_slice(&units.to_be_bytes());
    Ok(())
}

/// ASCII in UTF-16, eight characters at a time.
#[inline]
fn append_wide(raw: &mut Vec<u8>, ascii: &[u8]) {
    let (eights, rest) = ascii.as_chunks::<8>();
    for eight in eights {
        raw.extend_from_slice(eight.map(|byte| [0, byte]).as_flattened());
    }
    for byte in rest {
        raw.extend_from_slice(&[0, *byte]);
    }
}

const TOO_LONG: &str = "the value is longer than 4 GB";

fn append_length(raw: &mut Vec<u8>, length: usize) -> Result<(), &'static str> {
    let length = u32::try_from(length).map_err(|_| TOO_LONG)?;
    raw.extend_from_slice(&length.to_be_bytes());
    Ok(())
}
