//! Elements as FITS and VOTable's BINARY both store them: big-endian, booleans as `T` and `F`.

use super::column::Cells;

/// Both formats have a code for it, but STILTS reads it as false (of FITS astropy does, too).
pub(super) const NULL_LOGICAL: &str = "a list of booleans has a null, which programs read as false: ask for another format, or leave \
     the column out";

pub(super) fn logical(value: bool) -> u8 {
    if value { b'T' } else { b'F' }
}

/// Appends a boolean or a float; says whether it was one.
pub(super) fn append_unless_integer(out: &mut Vec<u8>, cells: &Cells<'_>, row: usize) -> bool {
    match cells {
        Cells::Bool(values) => out.push(logical(values.value(row))),
        Cells::F32(values) => out.extend_from_slice(&values[row].to_be_bytes()),
        Cells::F64(values) => out.extend_from_slice(&values[row].to_be_bytes()),
        _ => return false,
    }
    true
}

/// Appends the low bytes of an integer, which are so many.
pub(super) fn append_integer(out: &mut Vec<u8>, value: i64, bytes: usize) {
    let all = value.to_be_bytes();
    out.extend_from_slice(&all[all.len() - bytes..]);
}

/// An integer; of unsigned ones of 64 bits the same bits. `None` for other cells.
#[inline]
pub(super) fn integer(cells: &Cells<'_>, row: usize) -> Option<i64> {
    match cells {
        Cells::I8(values) => Some(values[row].into()),
        Cells::U8(values) => Some(values[row].into()),
        Cells::I16(values) => Some(values[row].into()),
        Cells::U16(values) => Some(values[row].into()),
        Cells::I32(values) => Some(values[row].into()),
        Cells::U32(values) => Some(values[row].into()),
        Cells::I64(values) => Some(values[row]),
        Cells::U64(values) => Some(values[row] as i64),
        _ => None,
    }
}
