//! Cells as people read them, for HTML and plain text.

use arrow::datatypes::DataType;

use super::{
    column::{Cells, Column},
    scalar::{self, SPECIALS},
    text,
};

/// Appends a cell that is not null: texts as they are, bytes hexadecimal, lists in brackets.
pub(super) fn append_cell(
    out: &mut Vec<u8>,
    column: &Column<'_>,
    row: usize,
) -> Result<(), &'static str> {
    match &column.cells {
        Cells::Text(texts) => out.extend_from_slice(texts.get(row).as_bytes()),
        Cells::Bytes(bytes) => bytes.get(row).iter().for_each(|byte| text::hex(out, *byte)),
        Cells::List(lists, elements) => append_list(out, elements, lists.range(row))?,
        cells => {
            scalar::append(out, cells, row, SPECIALS)?;
            out.extend_from_slice(column.zone_mark);
        }
    }
    Ok(())
}

fn append_list(
    out: &mut Vec<u8>,
    elements: &Column<'_>,
    rows: std::ops::Range<usize>,
) -> Result<(), &'static str> {
    out.push(b'[');
    let first = rows.start;
    for row in rows {
        if row > first {
            out.extend_from_slice(b", ");
        }
        match elements.is_null(row) {
            true => out.extend_from_slice(b"null"),
            false => append_cell(out, elements, row)?,
        }
    }
    out.push(b']');
    Ok(())
}

/// Numbers are set to the right, so that their digits stand below each other.
pub(super) fn is_set_right(data_type: &DataType) -> bool {
    data_type.is_numeric()
}
