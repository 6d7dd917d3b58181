//! Cells as people read them, for HTML and plain text.

use arrow::datatypes::DataType;

use super::{
    column::{Cells, Column},
    json_value,
    scalar::{self, SPECIALS},
    text,
};

/// Appends a cell that is not null: texts as they are, bytes hexadecimal, nested values as JSON.
pub(super) fn append_cell(
    out: &mut Vec<u8>,
    column: &Column<'_>,
    row: usize,
) -> Result<(), &'static str> {
    match &column.cells {
        Cells::Text(texts) => out.extend_from_slice(texts.get(row).as_bytes()),
        Cells::Bytes(bytes) => bytes.get(row).iter().for_each(|byte| text::hex(out, *byte)),
        cells if cells.are_nested() => {
            json_value::append_bare(out, column, row, json_value::SHOWN_SPECIALS)?;
        }
        cells => {
            scalar::append(out, cells, row, SPECIALS)?;
            out.extend_from_slice(column.zone_mark);
        }
    }
    Ok(())
}

/// Numbers are set to the right, so that their digits stand below each other.
pub(super) fn is_set_right(data_type: &DataType) -> bool {
    data_type.is_numeric()
}
