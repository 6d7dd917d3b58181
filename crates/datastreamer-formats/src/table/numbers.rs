//! Numbers of a block of rows as text, ahead of the rows that they go into.
//!
//! A text that is copied right after it was written makes the processor wait for its own stores.
//! So each column of numbers is rendered for a block of rows, each number into a buffer of its
//! own, and copied when the rows are put together. Called by `gather.rs`.

use std::ops::Range;

use super::{
    column::{Cells, Column},
    text::{self, Specials},
};

/// So many numbers are rendered at a time: with their buffers, 64 KB.
const BLOCK_NUMBERS: usize = 1024;

/// The most rows of a block.
const BLOCK_ROWS_MAX: usize = 128;

/// The buffers of all columns, used again for each block.
#[derive(Default)]
pub(super) struct Numbers {
    columns: Vec<Buffers>,
}

/// A buffer for each row of a block.
enum Buffers {
    /// The column is none of numbers.
    None,
    Integers(Vec<itoa::Buffer>),
    Floats(Vec<zmij::Buffer>),
}

/// The texts of a block of rows.
pub(super) struct Rendered<'a> {
    /// Column by column; empty where the column is none of numbers.
    texts: Vec<&'a [u8]>,
    rows: Range<usize>,
}

impl Rendered<'_> {
    /// The text of a number; of a null anything.
    #[inline]
    pub(super) fn get(&self, place: usize, row: usize) -> &[u8] {
        self.texts[place * self.rows.len() + row - self.rows.start]
    }
}

impl Numbers {
    /// How many rows make a block of a table of so many columns.
    pub(super) fn block_rows(columns: usize) -> usize {
        (BLOCK_NUMBERS / columns.max(1)).clamp(1, BLOCK_ROWS_MAX)
    }

    /// Renders the rows of a block.
    pub(super) fn render(
        &mut self,
        columns: &[Column<'_>],
        rows: Range<usize>,
        specials: Specials,
    ) -> Rendered<'_> {
        if self.columns.len() != columns.len() {
            let block_rows = Self::block_rows(columns.len());
            let buffers = columns
                .iter()
                .map(|column| Buffers::of(&column.cells, block_rows));
            self.columns = buffers.collect();
        }
        let mut texts = Vec::with_capacity(columns.len() * rows.len());
        for (place, (buffers, column)) in self.columns.iter_mut().zip(columns).enumerate() {
            buffers.render(&column.cells, rows.clone(), specials, &mut texts);
            texts.resize((place + 1) * rows.len(), &[]);
        }
        Rendered { texts, rows }
    }
}

impl Buffers {
    fn of(cells: &Cells<'_>, rows: usize) -> Self {
        match cells {
            Cells::F32(_) | Cells::F64(_) => Self::Floats(made(zmij::Buffer::new, rows)),
            cells if cells.are_numbers() => Self::Integers(made(itoa::Buffer::new, rows)),
            _ => Self::None,
        }
    }

    fn render<'a>(
        &'a mut self,
        cells: &Cells<'_>,
        rows: Range<usize>,
        specials: Specials,
        texts: &mut Vec<&'a [u8]>,
    ) {
        match (self, cells) {
            (Self::Floats(buffers), Cells::F32(values)) => {
                floats(buffers, &values[rows], specials, texts);
            }
            (Self::Floats(buffers), Cells::F64(values)) => {
                floats(buffers, &values[rows], specials, texts);
            }
            (Self::Integers(buffers), Cells::I8(values)) => integers(buffers, &values[rows], texts),
            (Self::Integers(buffers), Cells::I16(values)) => {
                integers(buffers, &values[rows], texts);
            }
            (Self::Integers(buffers), Cells::I32(values)) => {
                integers(buffers, &values[rows], texts);
            }
            (Self::Integers(buffers), Cells::I64(values)) => {
                integers(buffers, &values[rows], texts);
            }
            (Self::Integers(buffers), Cells::U8(values)) => integers(buffers, &values[rows], texts),
            (Self::Integers(buffers), Cells::U16(values)) => {
                integers(buffers, &values[rows], texts);
            }
            (Self::Integers(buffers), Cells::U32(values)) => {
                integers(buffers, &values[rows], texts);
            }
            (Self::Integers(buffers), Cells::U64(values)) => {
                integers(buffers, &values[rows], texts);
            }
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
    texts: &mut Vec<&'a [u8]>,
) {
    let rows = buffers.iter_mut().zip(values);
    texts.extend(rows.map(|(buffer, value)| value.text(buffer, specials).as_bytes()));
}

fn integers<'a, T: itoa::Integer + Copy>(
    buffers: &'a mut [itoa::Buffer],
    values: &[T],
    texts: &mut Vec<&'a [u8]>,
) {
    let rows = buffers.iter_mut().zip(values);
    texts.extend(rows.map(|(buffer, value)| buffer.format(*value).as_bytes()));
}
