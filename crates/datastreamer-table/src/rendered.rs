//! Cells of a block of rows as texts, ahead of the rows that they go into.
//!
//! A text that is copied right after it was written makes the processor wait for its own stores.
//! So each column is rendered for a block of rows, each number and time into a buffer of its own;
//! a text that needs no escape stays where it is. Called by `gather.rs`.

use std::ops::Range;

use super::{
    column::{Cells, Column, Texts},
    text::{self, Specials},
    text_format::TextFormat,
    times::{self, TIME_BYTES_MAX},
};

/// So many cells are rendered at a time: with their buffers they fit the first-level cache.
const BLOCK_CELLS: usize = 512;

/// The most rows of a block.
const BLOCK_ROWS_MAX: usize = 64;

/// The buffers of all columns, used again for each block.
#[derive(Default)]
pub(super) struct Buffers {
    columns: Vec<ColumnBuffers>,
}

/// A buffer for each row of a block.
enum ColumnBuffers {
    /// The column needs none.
    None,
    Integers(Vec<itoa::Buffer>),
    Floats(Vec<zmij::Buffer>),
    Times(Vec<[u8; TIME_BYTES_MAX]>),
}

/// The texts of a block of rows.
pub(super) struct Rendered<'a> {
    /// Column by column; `None`: null, or not rendered.
    texts: Vec<Option<&'a [u8]>>,
    rows: Range<usize>,
}

impl Rendered<'_> {
    /// The text of a cell.
    #[inline]
    pub(super) fn get(&self, place: usize, row: usize) -> Option<&[u8]> {
        self.texts[place * self.rows.len() + row - self.rows.start]
    }
}

impl Buffers {
    /// How many rows make a block of a table of so many columns.
    pub(super) fn block_rows(columns: usize) -> usize {
        (BLOCK_CELLS / columns.max(1)).clamp(1, BLOCK_ROWS_MAX)
    }

    /// Renders the rows of a block.
    pub(super) fn render<'a, F: TextFormat>(
        &'a mut self,
        columns: &'a [Column<'_>],
        rows: Range<usize>,
        format: &F,
    ) -> Rendered<'a> {
        if self.columns.len() != columns.len() {
            let block_rows = Self::block_rows(columns.len());
            let buffers = columns
                .iter()
                .map(|column| ColumnBuffers::of(&column.cells, block_rows));
            self.columns = buffers.collect();
        }
        let mut texts = Vec::with_capacity(columns.len() * rows.len());
        for (place, (buffers, column)) in self.columns.iter_mut().zip(columns).enumerate() {
            if format.is_rendered(place) {
                buffers.render(&column.cells, rows.clone(), format, &mut texts);
            }
            texts.resize((place + 1) * rows.len(), None);
            let of_column = &mut texts[place * rows.len()..];
            column.for_each_null(rows.clone(), |row| of_column[row] = None);
        }
        Rendered { texts, rows }
    }
}

impl ColumnBuffers {
    fn of(cells: &Cells<'_>, rows: usize) -> Self {
        match cells {
            Cells::F32(_) | Cells::F64(_) => Self::Floats(made(zmij::Buffer::new, rows)),
            cells if cells.are_numbers() => Self::Integers(made(itoa::Buffer::new, rows)),
            cells if times::cell_bytes(cells).is_some() => {
                Self::Times(vec![[0; TIME_BYTES_MAX]; rows])
            }
            _ => Self::None,
        }
    }

    fn render<'a, F: TextFormat>(
        &'a mut self,
        cells: &'a Cells<'_>,
        rows: Range<usize>,
        format: &F,
        texts: &mut Vec<Option<&'a [u8]>>,
    ) {
        match (self, cells) {
            (Self::Floats(to), Cells::F32(values)) => floats(to, &values[rows], F::SPECIALS, texts),
            (Self::Floats(to), Cells::F64(values)) => floats(to, &values[rows], F::SPECIALS, texts),
            (Self::Integers(to), Cells::I8(values)) => integers(to, &values[rows], texts),
            (Self::Integers(to), Cells::I16(values)) => integers(to, &values[rows], texts),
            (Self::Integers(to), Cells::I32(values)) => integers(to, &values[rows], texts),
            (Self::Integers(to), Cells::I64(values)) => integers(to, &values[rows], texts),
            (Self::Integers(to), Cells::U8(values)) => integers(to, &values[rows], texts),
            (Self::Integers(to), Cells::U16(values)) => integers(to, &values[rows], texts),
            (Self::Integers(to), Cells::U32(values)) => integers(to, &values[rows], texts),
            (Self::Integers(to), Cells::U64(values)) => integers(to, &values[rows], texts),
            (Self::Times(to), cells) => times(to, cells, rows, texts),
            (_, Cells::Bool(array)) => texts.extend(rows.map(|row| {
                let text = F::BOOLEANS[usize::from(array.value(row))];
                Some(text.as_bytes())
            })),
            (_, Cells::Text(values)) => plain_texts(values, rows, format, texts),
            _ => {}
        }
    }
}

fn made<T>(new: impl FnMut() -> T, count: usize) -> Vec<T> {
    std::iter::repeat_with(new).take(count).collect()
}

fn floats<'a, T: text::Float + Copy>(
    buffers: &'a mut [zmij::Buffer],
    values: &[T],
    specials: Specials,
    texts: &mut Vec<Option<&'a [u8]>>,
) {
    let rows = buffers.iter_mut().zip(values);
    texts.extend(rows.map(|(buffer, value)| {
        let text = value.text(buffer, specials).as_bytes();
        Some(text).filter(|text| !text.is_empty())
    }));
}

fn integers<'a, T: itoa::Integer + Copy>(
    buffers: &'a mut [itoa::Buffer],
    values: &[T],
    texts: &mut Vec<Option<&'a [u8]>>,
) {
    let rows = buffers.iter_mut().zip(values);
    texts.extend(rows.map(|(buffer, value)| Some(buffer.format(*value).as_bytes())));
}

fn times<'a>(
    buffers: &'a mut [[u8; TIME_BYTES_MAX]],
    cells: &Cells<'_>,
    rows: Range<usize>,
    texts: &mut Vec<Option<&'a [u8]>>,
) {
    let length = times::cell_bytes(cells).unwrap_or_default();
    texts.extend(buffers.iter_mut().zip(rows).map(|(buffer, row)| {
        let text = buffer.get_mut(..length)?;
        let put = times::time(&mut &mut *text, cells, row);
        put.is_ok().then_some(&*text)
    }));
}

/// Texts that can be put as they are. Those of a block lie together as a rule, and most have no
/// mark: then one check is enough. One that is empty is something else in some formats.
fn plain_texts<'a, F: TextFormat>(
    values: &'a Texts<'_>,
    rows: Range<usize>,
    format: &F,
    texts: &mut Vec<Option<&'a [u8]>>,
) {
    let all_plain = values.are_all(rows.clone(), |texts| !format.has_marks(texts));
    texts.extend(rows.map(|row| {
        let text = values.get(row).as_bytes();
        let is_plain = !text.is_empty() && (all_plain || !format.has_marks(text));
        is_plain.then_some(text)
    }));
}
