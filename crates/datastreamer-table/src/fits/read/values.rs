//! Elements, big-endian, into Arrow's buffers: many cells of one column at a time.

use std::sync::Arc;

use crate::copy_short;
use arrow::{
    array::{
        ArrayRef, ArrowPrimitiveType, BooleanArray, BooleanBufferBuilder, FixedSizeListArray,
        PrimitiveArray, StringArray,
    },
    buffer::{NullBuffer, OffsetBuffer, ScalarBuffer},
    datatypes::{
        Field, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
        UInt16Type, UInt32Type, UInt64Type,
    },
    error::ArrowError,
};

use super::{
    ascii::Ascii,
    column::{Element, Scaling},
    form::Stored,
};

/// Arrow's offsets of texts are 32 bits.
const TEXT_BYTES_MAX: usize = i32::MAX as usize;

/// The elements of a column, as they come.
pub(super) struct Values {
    element: Element,
    elements: Elements,
    /// Bits of those that are not null, where there may be such.
    valid: Option<BooleanBufferBuilder>,
    not_standard: NotStandard,
    repaired: Repaired,
}

/// What is done with logical values and texts that the standard does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotStandard {
    /// They are read as other readers do, and counted.
    Count,
    Refuse,
}

/// How many values of a column were not as the standard says (FITS 4.0, 7.3.3.1), by what was made of
/// them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Logical values of 1: true, as astropy (before 7.2) and nom.tam.fits wrote it.
    pub logicals_of_1: u64,
    /// Other logical values: null.
    pub logicals_unknown: u64,
    /// Texts that are not ASCII: UTF-8.
    pub texts_utf8: u64,
    /// Texts that are not UTF-8 either: Latin-1.
    pub texts_latin1: u64,
}

impl Repaired {
    pub(super) fn add(&mut self, other: &Self) {
        self.logicals_of_1 += other.logicals_of_1;
        self.logicals_unknown += other.logicals_unknown;
        self.texts_utf8 += other.texts_utf8;
        self.texts_latin1 += other.texts_latin1;
    }
}

enum Elements {
    Bool(BooleanBufferBuilder),
    I8(Vec<i8>),
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    U64(Vec<u64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    Text { bytes: Vec<u8>, ends: Vec<i32> },
}

/// Cells of one column: in each row the same bytes.
#[derive(Clone, Copy)]
pub(super) struct Cells<'a> {
    pub(super) block: &'a [u8],
    pub(super) rows: usize,
    pub(super) row_bytes: usize,
    pub(super) at: usize,
    /// Of each cell.
    pub(super) bytes: usize,
    /// Elements of each cell.
    pub(super) elements: usize,
}

/// What is wrong with an element, and where.
pub(super) struct Problem {
    /// The cell among those that were given.
    pub(super) cell: usize,
    /// The byte in the cell.
    pub(super) at: usize,
    pub(super) text: String,
}

impl Problem {
    fn too_much_text() -> Self {
        Self {
            cell: 0,
            at: 0,
            text: "the texts of the batch take more than 2 GiB".to_owned(),
        }
    }
}

impl<'a> Cells<'a> {
    /// A single cell.
    pub(super) fn one(cell: &'a [u8], elements: usize) -> Self {
        Self {
            block: cell,
            rows: 1,
            row_bytes: cell.len(),
            at: 0,
            bytes: cell.len(),
            elements,
        }
    }

    /// Cells of no bytes are none here: there is nothing to read.
    #[inline]
    fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        let rows = if self.bytes == 0 { 0 } else { self.rows };
        self.block
            .chunks_exact(self.row_bytes.max(1))
            .take(rows)
            .map(move |row| &row[self.at..self.at + self.bytes])
    }

    #[inline]
    fn each<const N: usize>(self, mut take: impl FnMut([u8; N])) {
        for cell in self.iter() {
            let (elements, _) = cell.as_chunks::<N>();
            for element in elements {
                take(*element);
            }
        }
    }
}

/// Appends all elements of cells.
#[inline]
fn extend<const N: usize, T>(out: &mut Vec<T>, cells: Cells<'_>, read: impl Fn([u8; N]) -> T) {
    if cells.bytes == N {
        let elements = cells.iter().map(|cell| cell.first_chunk::<N>());
        out.extend(elements.map(|element| read(element.copied().unwrap_or([0; N]))));
    } else {
        cells.each(|element| out.push(read(element)));
    }
}

impl Values {
    pub(super) fn new(element: Element, not_standard: NotStandard) -> Self {
        let other_sign = element.scaling == Scaling::OtherSign;
        let is_linear = matches!(element.scaling, Scaling::Linear { .. });
        let elements = match element.stored {
            Stored::Logical | Stored::Bit => Elements::Bool(BooleanBufferBuilder::new(0)),
            Stored::Text => Elements::Text {
                bytes: Vec::new(),
                ends: vec![0],
            },
            Stored::Complex => Elements::F32(Vec::new()),
            Stored::DoubleComplex => Elements::F64(Vec::new()),
            _ if is_linear => Elements::F64(Vec::new()),
            Stored::Byte if other_sign => Elements::I8(Vec::new()),
            Stored::Byte => Elements::U8(Vec::new()),
            Stored::Short if other_sign => Elements::U16(Vec::new()),
            Stored::Short => Elements::I16(Vec::new()),
            Stored::Int if other_sign => Elements::U32(Vec::new()),
            Stored::Int => Elements::I32(Vec::new()),
            Stored::Long if other_sign => Elements::U64(Vec::new()),
            Stored::Long => Elements::I64(Vec::new()),
            Stored::Float => Elements::F32(Vec::new()),
            Stored::Double => Elements::F64(Vec::new()),
        };
        let nullable = element.is_nullable();
        Self {
            element,
            elements,
            valid: nullable.then(|| BooleanBufferBuilder::new(0)),
            not_standard,
            repaired: Repaired::default(),
        }
    }

    pub(super) fn repaired(&self) -> &Repaired {
        &self.repaired
    }

    /// Appends the elements of cells.
    pub(super) fn append(&mut self, cells: Cells<'_>) -> Result<(), Problem> {
        if let Some(ascii) = self.element.ascii.clone() {
            return self.append_ascii(cells, &ascii);
        }
        match self.element.stored {
            Stored::Logical => return self.append_logicals(cells),
            Stored::Bit => self.append_bits(cells),
            Stored::Text => return self.append_texts(cells),
            _ => {}
        }
        if let (Some(valid), Some(null)) = (&mut self.valid, self.element.null) {
            match self.element.stored {
                Stored::Byte => cells.each(|stored| valid.append(stored != [null as u8])),
                Stored::Short => {
                    let null = (null as i16).to_be_bytes();
                    cells.each(|stored| valid.append(stored != null));
                }
                Stored::Int => {
                    let null = (null as i32).to_be_bytes();
                    cells.each(|stored| valid.append(stored != null));
                }
                _ => cells.each(|stored| valid.append(stored != null.to_be_bytes())),
            }
        }
        if let Scaling::Linear { scale, zero } = self.element.scaling {
            self.append_scaled(cells, |stored| stored * scale + zero);
            return Ok(());
        }
        if let Scaling::Offset(offset) = self.element.scaling {
            return self.append_with_offset(cells, offset);
        }
        match &mut self.elements {
            Elements::I8(out) => extend(out, cells, |[byte]| (byte ^ 0x80) as i8),
            // Nothing is to be done with many bytes but to copy them.
            Elements::U8(out) if cells.bytes > 1 => {
                cells.iter().for_each(|cell| out.extend_from_slice(cell));
            }
            Elements::U8(out) => extend(out, cells, |[byte]| byte),
            Elements::I16(out) => extend(out, cells, i16::from_be_bytes),
            Elements::U16(out) => extend(out, cells, |b| u16::from_be_bytes(b) ^ (1 << 15)),
            Elements::I32(out) => extend(out, cells, i32::from_be_bytes),
            Elements::U32(out) => extend(out, cells, |b| u32::from_be_bytes(b) ^ (1 << 31)),
            Elements::I64(out) => extend(out, cells, i64::from_be_bytes),
            Elements::U64(out) => extend(out, cells, |b| u64::from_be_bytes(b) ^ (1 << 63)),
            Elements::F32(out) => extend(out, cells, f32::from_be_bytes),
            Elements::F64(out) => extend(out, cells, f64::from_be_bytes),
            Elements::Bool(_) | Elements::Text { .. } => {}
        }
        Ok(())
    }

    fn append_with_offset(&mut self, cells: Cells<'_>, offset: i128) -> Result<(), Problem> {
        let Elements::I64(out) = &mut self.elements else {
            return Ok(());
        };
        for (cell, bytes) in cells.iter().enumerate() {
            for (place, stored) in bytes.as_chunks::<8>().0.iter().enumerate() {
                let stored = i64::from_be_bytes(*stored);
                let value = i128::from(stored) + offset;
                // What stands for null may be any value.
                let value = value.try_into().ok();
                let null = self.element.null.filter(|null| *null == stored);
                out.push(value.or(null).ok_or_else(|| Problem {
                    cell,
                    at: 8 * place,
                    text: format!("{stored} with TZERO ({offset}) does not fit 64 bits"),
                })?);
            }
        }
        Ok(())
    }

    fn append_scaled(&mut self, cells: Cells<'_>, scaled: impl Fn(f64) -> f64) {
        let Elements::F64(out) = &mut self.elements else {
            return;
        };
        match self.element.stored {
            Stored::Byte => extend(out, cells, |[byte]| scaled(byte.into())),
            Stored::Short => extend(out, cells, |b| scaled(i16::from_be_bytes(b).into())),
            Stored::Int => extend(out, cells, |b| scaled(i32::from_be_bytes(b).into())),
            Stored::Long => extend(out, cells, |b| scaled(i64::from_be_bytes(b) as f64)),
            Stored::Float => extend(out, cells, |b| scaled(f32::from_be_bytes(b).into())),
            _ => extend(out, cells, |b| scaled(f64::from_be_bytes(b))),
        }
    }

    /// Fields of an ASCII table.
    fn append_ascii(&mut self, cells: Cells<'_>, ascii: &Ascii) -> Result<(), Problem> {
        if self.element.stored == Stored::Text {
            self.append_texts(cells)?;
        }
        let places = self.valid.as_ref().map_or(0, BooleanBufferBuilder::len);
        for (place, cell) in cells.iter().enumerate() {
            let field = trimmed(cell);
            let is_null = ascii.is_null(field);
            match (&mut self.valid, self.element.stored) {
                (Some(valid), Stored::Text) if is_null => {
                    valid.set_bit(places - cells.rows + place, false);
                }
                (_, Stored::Text) => {}
                _ => self
                    .append_number(field, is_null, ascii)
                    .map_err(|text| Problem {
                        cell: place,
                        at: 0,
                        text,
                    })?,
            }
        }
        Ok(())
    }

    fn append_number(&mut self, field: &[u8], is_null: bool, ascii: &Ascii) -> Result<(), String> {
        let (mut integer, mut real) = (0, None);
        match self.element.stored {
            _ if is_null => {}
            Stored::Double => real = ascii.real(field)?,
            _ => {
                let offset = match self.element.scaling {
                    Scaling::Offset(offset) => offset,
                    _ => 0,
                };
                integer = Ascii::integer(field, offset)?;
            }
        }
        let is_null = is_null || self.element.stored == Stored::Double && real.is_none();
        if let Some(valid) = &mut self.valid {
            valid.append(!is_null);
        }
        let number = real.unwrap_or(integer as f64);
        match (&mut self.elements, self.element.scaling) {
            (Elements::F64(out), Scaling::Linear { scale, zero }) => {
                out.push(number * scale + zero);
            }
            (Elements::F64(out), _) => out.push(number),
            // As many digits as the type of the column has room for.
            (Elements::I16(out), _) => out.push(integer as i16),
            (Elements::I32(out), _) => out.push(integer as i32),
            (Elements::I64(out), _) => out.push(integer),
            _ => {}
        }
        Ok(())
    }

    /// `T`, `F`, or 0 for null (FITS 4.0, 7.3.3.1); 1 is taken for true, and what else there may be
    /// for null.
    fn append_logicals(&mut self, cells: Cells<'_>) -> Result<(), Problem> {
        let (Elements::Bool(out), Some(valid)) = (&mut self.elements, &mut self.valid) else {
            return Ok(());
        };
        for (cell, bytes) in cells.iter().enumerate() {
            for (at, byte) in bytes.iter().enumerate() {
                let is_standard = matches!(byte, b'T' | b'F' | 0);
                if !is_standard && self.not_standard == NotStandard::Refuse {
                    return Err(Problem {
                        cell,
                        at,
                        text: format!("0x{byte:02x} is no logical value: they are T, F and 0"),
                    });
                }
                self.repaired.logicals_of_1 += u64::from(*byte == 1);
                self.repaired.logicals_unknown += u64::from(!is_standard && *byte != 1);
                out.append(matches!(byte, b'T' | 1));
                valid.append(matches!(byte, b'T' | b'F' | 1));
            }
        }
        Ok(())
    }

    /// The most significant bit is the first.
    fn append_bits(&mut self, cells: Cells<'_>) {
        let Elements::Bool(out) = &mut self.elements else {
            return;
        };
        for cell in cells.iter() {
            for bit in 0..cells.elements {
                out.append(cell[bit / 8] << (bit % 8) & 0x80 != 0);
            }
        }
    }

    /// See [`text_of`].
    fn append_texts(&mut self, cells: Cells<'_>) -> Result<(), Problem> {
        let (Elements::Text { bytes, ends }, Some(valid)) = (&mut self.elements, &mut self.valid)
        else {
            return Ok(());
        };
        let (begun, already) = (bytes.len(), ends.len() - 1);
        if begun + cells.rows * cells.bytes > TEXT_BYTES_MAX {
            return Err(Problem::too_much_text());
        }
        if cells.bytes == 0 {
            ends.extend((0..cells.rows).map(|_| begun as i32));
            valid.append_n(cells.rows, true);
            return Ok(());
        }
        let text_bytes = match self.element.text_bytes {
            0 => cells.bytes,
            own => own,
        };
        // In the heap the last may be shorter.
        let texts_per_cell = cells.bytes.div_ceil(text_bytes);
        valid.append_n(cells.rows * texts_per_cell, true);
        ends.reserve(cells.rows * texts_per_cell);
        bytes.resize(begun + cells.rows * cells.bytes, 0);
        let mut end = begun;
        let append = |text: &[u8]| {
            match text_of(text) {
                Some(text) => {
                    copy_short(&mut bytes[end..end + text.len()], text);
                    end += text.len();
                }
                None => valid.set_bit(ends.len() - 1, false),
            }
            ends.push(end as i32);
        };
        if texts_per_cell == 1 {
            cells.iter().for_each(append);
        } else {
            let texts = cells.iter().flat_map(|cell| cell.chunks(text_bytes));
            texts.for_each(append);
        }
        bytes.truncate(end);
        if bytes[begun..].is_ascii() {
            return Ok(());
        }
        if self.not_standard == NotStandard::Count {
            return self.decode(begun, already);
        }
        let texts = ends[already..].windows(2).enumerate();
        let mut not_ascii = texts.filter_map(|(place, ends)| {
            let text = &bytes[ends[0] as usize..ends[1] as usize];
            let at = text.iter().position(|byte| !byte.is_ascii())?;
            Some(Problem {
                cell: place / texts_per_cell,
                at: place % texts_per_cell * text_bytes + at,
                text: format!("0x{:02x} is not ASCII", text[at]),
            })
        });
        not_ascii.next().map_or(Ok(()), Err)
    }

    /// Decodes the texts from a byte and a place on: UTF-8, or else Latin-1.
    fn decode(&mut self, begun: usize, already: usize) -> Result<(), Problem> {
        let Elements::Text { bytes, ends } = &mut self.elements else {
            return Ok(());
        };
        let stored = bytes.split_off(begun);
        let mut from = 0;
        for end in &mut ends[already + 1..] {
            let stored_end = *end as usize - begun;
            let text = &stored[from..stored_end];
            from = stored_end;
            match std::str::from_utf8(text) {
                Ok(_) => {
                    self.repaired.texts_utf8 += u64::from(!text.is_ascii());
                    bytes.extend_from_slice(text);
                }
                Err(_) => {
                    self.repaired.texts_latin1 += 1;
                    // Unicode begins with the characters of Latin-1.
                    let text: String = text.iter().copied().map(char::from).collect();
                    bytes.extend_from_slice(text.as_bytes());
                }
            }
            // Latin-1 takes two bytes in UTF-8.
            if bytes.len() > TEXT_BYTES_MAX {
                return Err(Problem::too_much_text());
            }
            *end = bytes.len() as i32;
        }
        Ok(())
    }

    /// Says whether elements are complex numbers.
    pub(super) fn is_pair(&self) -> bool {
        matches!(self.element.stored, Stored::Complex | Stored::DoubleComplex)
    }

    /// Ends the column: an array of its elements.
    pub(super) fn finish(self) -> Result<ArrayRef, ArrowError> {
        let is_pair = self.is_pair();
        let valid = self.valid.map(|valid| NullBuffer::new(valid.build()));
        let nulls = valid.filter(|valid| valid.null_count() > 0);
        let array = match self.elements {
            Elements::Bool(bits) => Arc::new(BooleanArray::new(bits.build(), nulls)),
            Elements::I8(values) => primitive::<Int8Type>(values, nulls)?,
            Elements::I16(values) => primitive::<Int16Type>(values, nulls)?,
            Elements::I32(values) => primitive::<Int32Type>(values, nulls)?,
            Elements::I64(values) => primitive::<Int64Type>(values, nulls)?,
            Elements::U8(values) => primitive::<UInt8Type>(values, nulls)?,
            Elements::U16(values) => primitive::<UInt16Type>(values, nulls)?,
            Elements::U32(values) => primitive::<UInt32Type>(values, nulls)?,
            Elements::U64(values) => primitive::<UInt64Type>(values, nulls)?,
            Elements::F32(values) => primitive::<Float32Type>(values, nulls)?,
            Elements::F64(values) => primitive::<Float64Type>(values, nulls)?,
            Elements::Text { bytes, ends } => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(ends));
                Arc::new(StringArray::try_new(offsets, bytes.into(), nulls)?)
            }
        };
        if !is_pair {
            return Ok(array);
        }
        let part = Arc::new(Field::new_list_field(array.data_type().clone(), false));
        Ok(Arc::new(FixedSizeListArray::try_new(part, 2, array, None)?))
    }
}

/// What a cell of text holds: it ends at the first NUL, and is null where that comes first (FITS
/// 4.0, 7.3.3.1). Blanks at its end mean nothing.
#[inline]
fn text_of(cell: &[u8]) -> Option<&[u8]> {
    let text = match nul_in(cell) {
        Some(0) => return None,
        Some(nul) => &cell[..nul],
        None => cell,
    };
    let mut end = text.len();
    while end > 0 && text[end - 1] == b' ' {
        end -= 1;
    }
    Some(&text[..end])
}

/// Where the first NUL is. Eight bytes are looked at together: a borrow of the subtraction reaches
/// the highest bit of a byte first where that is 0.
#[inline]
fn nul_in(text: &[u8]) -> Option<usize> {
    const LOWEST: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGHEST: u64 = u64::from_ne_bytes([0x80; 8]);
    let (words, rest) = text.as_chunks::<8>();
    for (place, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let nuls = word.wrapping_sub(LOWEST) & !word & HIGHEST;
        if nuls != 0 {
            return Some(8 * place + nuls.trailing_zeros() as usize / 8);
        }
    }
    let in_rest = rest.iter().position(|byte| *byte == 0)?;
    Some(8 * words.len() + in_rest)
}

/// A field of an ASCII table without the blanks around it. Some writers fill with NUL.
fn trimmed(field: &[u8]) -> &[u8] {
    let is_filler = |byte: &u8| matches!(byte, b' ' | 0);
    let begin = field.iter().position(|byte| !is_filler(byte));
    let end = field.iter().rposition(|byte| !is_filler(byte));
    begin
        .zip(end)
        .map_or(&[], |(begin, end)| &field[begin..=end])
}

fn primitive<T: ArrowPrimitiveType>(
    values: Vec<T::Native>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, ArrowError> {
    Ok(Arc::new(PrimitiveArray::<T>::try_new(
        values.into(),
        nulls,
    )?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_ends_at_the_first_nul_and_before_blanks() {
        for length in 0..30 {
            let full = vec![b'x'; length];
            assert_eq!(text_of(&full), Some(full.as_slice()));
            for nul in 0..length {
                let mut cell = full.clone();
                // 0x80 and 0x01 behind a NUL must not be taken for one.
                cell[nul..].fill(0x80);
                cell[nul] = 0;
                assert_eq!(nul_in(&cell), Some(nul));
                cell[nul + 1..].fill(1);
                assert_eq!(nul_in(&cell), Some(nul));
                let text = (nul > 0).then_some(&full[..nul]);
                assert_eq!(text_of(&cell), text);
                cell[nul..].fill(b' ');
                assert_eq!(text_of(&cell), Some(&full[..nul]));
            }
        }
    }
}
