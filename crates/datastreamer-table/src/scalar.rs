//! Cells that are one value and no text, as text: what formats have in common in which everything
//! is text.

use super::{
    column::Cells,
    durations,
    text::{self, Specials},
    times::{self, BeyondYears},
};

/// Floats that are no numbers, as pandas, DuckDB, polars and astropy all read them.
pub(super) const SPECIALS: Specials = Specials {
    nan: "NaN",
    infinity: "inf",
    minus_infinity: "-inf",
};

/// Appends a boolean, a number, a time or a length of time; nothing for other kinds.
///
/// # Errors
/// What is wrong with a time.
#[inline]
pub(super) fn append(
    out: &mut Vec<u8>,
    cells: &Cells<'_>,
    row: usize,
    specials: Specials,
) -> Result<(), &'static str> {
    match cells {
        Cells::Bool(array) => text::boolean(out, array.value(row)),
        Cells::I8(values) => text::integer(out, values[row]),
        Cells::I16(values) => text::integer(out, values[row]),
        Cells::I32(values) => text::integer(out, values[row]),
        Cells::I64(values) => text::integer(out, values[row]),
        Cells::U8(values) => text::integer(out, values[row]),
        Cells::U16(values) => text::integer(out, values[row]),
        Cells::U32(values) => text::integer(out, values[row]),
        Cells::U64(values) => text::integer(out, values[row]),
        Cells::F32(values) => text::float(out, values[row], specials),
        Cells::F64(values) => text::float(out, values[row], specials),
        Cells::Decimal(values) => values.append(out, row),
        cells @ (Cells::Duration(..) | Cells::Interval(_)) => durations::append(out, cells, row),
        cells => times::time(out, cells, row).map_err(|BeyondYears| BeyondYears::PROBLEM)?,
    }
    Ok(())
}
