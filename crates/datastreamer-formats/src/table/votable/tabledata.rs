//! Rows as XML elements. The hot path of the commonest format: no allocation, one pass a cell.

use super::field::{Primitive, VotableField};
use crate::table::{
    column::{Cells, Column},
    gather::BadCell,
    numbers::Rendered,
    text::{self, BeyondYears, Marks, Specials},
};

/// VOTable 1.5, 6: `NaN`, `+Inf`, `-Inf`.
pub(super) const SPECIALS: Specials = Specials {
    nan: "NaN",
    infinity: "+Inf",
    minus_infinity: "-Inf",
};

/// Appends one row. On an error a part of it was appended; it says which column, and why.
/// Characters that XML cannot hold become U+FFFD, and are counted in `replaced`.
pub(super) fn append_row<'a>(
    out: &mut Vec<u8>,
    replaced: &mut u64,
    cells: impl Iterator<Item = (&'a VotableField, &'a Column<'a>)>,
    numbers: &Rendered<'_>,
    row: usize,
) -> Result<(), BadCell> {
    out.extend_from_slice(b"<TR>");
    for (place, (field, column)) in cells.enumerate() {
        if column.is_null(row) {
            out.extend_from_slice(b"<TD/>");
        } else if column.cells.are_numbers() && field.null.is_none() {
            text::short_between(out, b"<TD>", numbers.get(place, row), b"</TD>");
        } else {
            out.extend_from_slice(b"<TD>");
            append_cell(out, replaced, field, column, row).map_err(|problem| (place, problem))?;
            out.extend_from_slice(b"</TD>");
        }
    }
    out.extend_from_slice(b"</TR>\n");
    Ok(())
}

#[inline]
fn append_cell(
    out: &mut Vec<u8>,
    replaced: &mut u64,
    field: &VotableField,
    column: &Column<'_>,
    row: usize,
) -> Result<(), &'static str> {
    match &column.cells {
        Cells::Bool(array) => out.push(if array.value(row) { b'T' } else { b'F' }),
        Cells::I8(values) => integer(out, field, values[row].into())?,
        Cells::I16(values) => integer(out, field, values[row].into())?,
        Cells::I32(values) => integer(out, field, values[row].into())?,
        Cells::I64(values) => integer(out, field, values[row])?,
        Cells::U8(values) => integer(out, field, values[row].into())?,
        Cells::U16(values) => integer(out, field, values[row].into())?,
        Cells::U32(values) => integer(out, field, values[row].into())?,
        Cells::U64(values) => text::integer(out, values[row]),
        Cells::F32(values) => text::float(out, values[row], SPECIALS),
        Cells::F64(values) => text::float(out, values[row], SPECIALS),
        Cells::Decimal(values, scale) => text::decimal(out, values[row], *scale),
        Cells::Text(texts) => append_text(out, replaced, field, texts.get(row))?,
        Cells::Bytes(bytes) => append_list(out, bytes.get(row), |out, byte| {
            text::integer(out, *byte);
            Ok(())
        })?,
        Cells::List(lists, elements) => append_list(out, lists.range(row), |out, row| {
            append_element(out, replaced, field, elements, row)
        })?,
        cells => text::time(out, cells, row).map_err(|BeyondYears| BeyondYears::PROBLEM)?,
    }
    Ok(())
}

/// A column with a null value must not have it as a value.
#[inline]
fn integer(out: &mut Vec<u8>, field: &VotableField, value: i64) -> Result<(), &'static str> {
    if field.null == Some(value) {
        return Err(super::field::IS_NULL_VALUE);
    }
    text::integer(out, value);
    Ok(())
}

fn append_list<T>(
    out: &mut Vec<u8>,
    elements: impl IntoIterator<Item = T>,
    mut append: impl FnMut(&mut Vec<u8>, T) -> Result<(), &'static str>,
) -> Result<(), &'static str> {
    for (place, element) in elements.into_iter().enumerate() {
        if place > 0 {
            out.push(b' ');
        }
        append(out, element)?;
    }
    Ok(())
}

/// An element that is null has no empty cell to be.
fn append_element(
    out: &mut Vec<u8>,
    replaced: &mut u64,
    field: &VotableField,
    elements: &Column<'_>,
    row: usize,
) -> Result<(), &'static str> {
    if !elements.is_null(row) {
        return append_cell(out, replaced, field, elements, row);
    }
    match (field.primitive, field.null) {
        (Primitive::Float | Primitive::Double, _) => out.extend_from_slice(b"NaN"),
        (Primitive::Boolean, _) => out.push(b'?'),
        (_, Some(null)) => text::integer(out, null),
        (_, None) => return Err(super::field::NULL_ELEMENT),
    }
    Ok(())
}

/// What may not stand in an element as it is; 0xef leads U+FFFE and U+FFFF, the only characters
/// beyond the controls that XML 1.0 forbids (2.2).
const MARKED: Marks = Marks::of(
    b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x0b\x0c\r\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\
      \x19\x1a\x1b\x1c\x1d\x1e\x1f&<>\xef",
);

/// Most texts need no escape, and are appended at once.
#[inline]
fn append_text(
    out: &mut Vec<u8>,
    replaced: &mut u64,
    field: &VotableField,
    text: &str,
) -> Result<(), &'static str> {
    if field.primitive == Primitive::Char && !text.is_ascii() {
        return Err(super::field::NOT_ASCII);
    }
    if MARKED.are_in(text.as_bytes()) {
        append_escaped(out, replaced, text.as_bytes());
    } else {
        text::short(out, text.as_bytes());
    }
    Ok(())
}

fn append_escaped(out: &mut Vec<u8>, replaced: &mut u64, bytes: &[u8]) {
    let mut plain_from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let (escape, length) = match (byte, &bytes[at..]) {
            (b'&', _) => ("&amp;", 1),
            (b'<', _) => ("&lt;", 1),
            (b'>', _) => ("&gt;", 1),
            (b'\r', _) => ("&#13;", 1),
            (b'\t' | b'\n', _) => continue,
            (0xef, [_, 0xbf, 0xbe | 0xbf, ..]) => ("\u{fffd}", 3),
            (0..b' ', _) => ("\u{fffd}", 1),
            _ => continue,
        };
        *replaced += u64::from(escape == "\u{fffd}");
        text::short(out, &bytes[plain_from..at]);
        out.extend_from_slice(escape.as_bytes());
        plain_from = at + length;
    }
    text::short(out, &bytes[plain_from..]);
}
