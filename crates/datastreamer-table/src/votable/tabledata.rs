//! Rows as XML elements.

use super::field::{Primitive, VotableField, long};
use crate::{
    big_endian::NULL_LOGICAL,
    column::{Cells, Column},
    durations,
    gather::Frames,
    text::{self, Specials},
    text_format::TextFormat,
    times::{self, BeyondYears},
};

/// VOTable 1.5, 6.
const SPECIALS: Specials = Specials {
    nan: "NaN",
    infinity: "+Inf",
    minus_infinity: "-Inf",
};

/// What stands around the cells of a table with so many columns.
pub(super) fn frames(columns: usize) -> Frames {
    let cell = || [b"<TD>".to_vec(), b"</TD>".to_vec(), b"<TD/>".to_vec()];
    let around: Vec<_> = (0..columns).map(|_| cell()).collect();
    Frames::new(b"<TR>", b"</TR>\n", &around)
}

/// The cells of a table as text.
pub(super) struct TabledataCells<'a> {
    pub(super) fields: &'a [VotableField],
    /// Characters that XML cannot hold, and that became U+FFFD.
    pub(super) replaced: &'a mut u64,
}

impl TextFormat for TabledataCells<'_> {
    const SPECIALS: Specials = SPECIALS;
    const BOOLEANS: [&'static str; 2] = ["F", "T"];

    /// What may not stand in an element as it is; U+FFFE and U+FFFF are the only characters beyond
    /// the controls that XML 1.0 forbids (2.2), and what is not ASCII not every column may have.
    fn has_marks(&self, text: &[u8]) -> bool {
        text::any(text, |byte| {
            !matches!(byte, b' '..=b'~') || matches!(byte, b'&' | b'<' | b'>')
        })
    }

    /// Where a value stands for null each one is looked at.
    fn is_rendered(&self, place: usize) -> bool {
        self.fields[place].null.is_none()
    }

    fn append_cell(
        &mut self,
        out: &mut Vec<u8>,
        place: usize,
        column: &Column<'_>,
        row: usize,
    ) -> Result<(), &'static str> {
        append_cell(out, self.replaced, &self.fields[place], column, row)
    }
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
        Cells::U64(values) if field.primitive == Primitive::Long => {
            integer(out, field, long(values[row])?)?;
        }
        Cells::U64(values) => text::integer(out, values[row]),
        Cells::F32(values) => text::float(out, values[row], SPECIALS),
        Cells::F64(values) => text::float(out, values[row], SPECIALS),
        Cells::Decimal(values) => values.append(out, row),
        Cells::Text(texts) => append_text(out, replaced, field, texts.get(row))?,
        Cells::Bytes(bytes) => append_list(out, bytes.get(row), |out, byte| {
            text::integer(out, *byte);
            Ok(())
        })?,
        Cells::List(lists, elements) if field.width.is_some() => {
            for row in lists.range(row) {
                append_text_of_array(out, replaced, field, elements, row)?;
            }
        }
        Cells::List(lists, elements) => append_list(out, lists.range(row), |out, row| {
            append_element(out, replaced, field, elements, row)
        })?,
        cells @ (Cells::Duration(..) | Cells::Interval(_)) => durations::append(out, cells, row),
        cells => times::time(out, cells, row).map_err(|BeyondYears| BeyondYears::PROBLEM)?,
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
        (Primitive::Boolean, _) => return Err(NULL_LOGICAL),
        (_, Some(null)) => text::integer(out, null),
        (_, None) => return Err(super::field::NULL_ELEMENT),
    }
    Ok(())
}

/// A text of an array, with the blanks that fill its place. One that is null is all blanks: XML has no
/// NUL.
fn append_text_of_array(
    out: &mut Vec<u8>,
    replaced: &mut u64,
    field: &VotableField,
    elements: &Column<'_>,
    row: usize,
) -> Result<(), &'static str> {
    let text = match &elements.cells {
        Cells::Text(texts) if !elements.is_null(row) => texts.get(row),
        _ => "",
    };
    // Of UTF-16, which is what datatypes count.
    let characters = text.encode_utf16().count();
    let blanks = field.width.unwrap_or_default().checked_sub(characters);
    let blanks = blanks.ok_or(super::field::TOO_WIDE)?;
    append_text(out, replaced, field, text)?;
    out.resize(out.len() + blanks, b' ');
    Ok(())
}

fn append_text(
    out: &mut Vec<u8>,
    replaced: &mut u64,
    field: &VotableField,
    text: &str,
) -> Result<(), &'static str> {
    if field.primitive == Primitive::Char && !text.is_ascii() {
        return Err(super::field::NOT_ASCII);
    }
    append_escaped(out, replaced, text.as_bytes());
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
        out.extend_from_slice(&bytes[plain_from..at]);
        out.extend_from_slice(escape.as_bytes());
        plain_from = at + length;
    }
    out.extend_from_slice(&bytes[plain_from..]);
}
