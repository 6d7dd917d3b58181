//! Which bytes of a row are read, and reading those of many rows.

use std::{fs::File, ops::Range, os::unix::fs::FileExt};

use super::{FitsError, Table};

/// What is not asked for is read with the rest unless it is longer than this: a call to the
/// system takes about as long as reading so much.
const GAP_BYTES: usize = 16 * 1024;

/// The parts of a row that are read, one behind the other.
#[derive(Debug)]
pub(super) struct Window {
    runs: Vec<Range<usize>>,
    /// All runs together.
    pub(super) row_bytes: usize,
    /// Where in what is read each column begins.
    pub(super) offsets: Vec<usize>,
}

impl Window {
    /// Plans to read these columns.
    pub(super) fn new(table: &Table, columns: &[usize]) -> Self {
        let place = |column: &usize| {
            let column = &table.columns[*column];
            column.at..column.at + column.bytes
        };
        let mut wanted: Vec<Range<usize>> = columns.iter().map(place).collect();
        wanted.sort_by_key(|range| range.start);
        let mut runs: Vec<Range<usize>> = Vec::new();
        for range in wanted.into_iter().filter(|range| !range.is_empty()) {
            match runs.last_mut() {
                Some(last) if range.start <= last.end + GAP_BYTES => {
                    last.end = last.end.max(range.end);
                }
                _ => runs.push(range),
            }
        }
        let needed: usize = runs.iter().map(Range::len).sum();
        if !runs.is_empty() && table.row_bytes - needed <= GAP_BYTES {
            runs.truncate(1);
            runs[0] = 0..table.row_bytes;
        }
        let offset = |column: &usize| {
            let range = place(column);
            let mut begin = 0;
            for run in &runs {
                if run.start <= range.start && range.end <= run.end {
                    return begin + range.start - run.start;
                }
                begin += run.len();
            }
            0
        };
        Self {
            row_bytes: runs.iter().map(Range::len).sum(),
            offsets: columns.iter().map(offset).collect(),
            runs,
        }
    }

    /// Reads rows into `block`, which is as long afterwards as they are.
    pub(super) fn read(
        &self,
        table: &Table,
        rows: Range<u64>,
        block: &mut Vec<u8>,
    ) -> Result<(), FitsError> {
        let count = (rows.end - rows.start) as usize;
        block.resize(count * self.row_bytes, 0);
        let row_at = |row: u64| table.data_at + row * table.row_bytes as u64;
        if self.row_bytes == table.row_bytes {
            return read_exact(&table.file, block, row_at(rows.start));
        }
        let mut rest = block.as_mut_slice();
        for row in rows {
            for run in &self.runs {
                let (now, later) = rest.split_at_mut(run.len());
                read_exact(&table.file, now, row_at(row) + run.start as u64)?;
                rest = later;
            }
        }
        Ok(())
    }
}

/// Reads bytes at their place; a file that has become shorter is an error.
pub(super) fn read_exact(file: &File, bytes: &mut [u8], at: u64) -> Result<(), FitsError> {
    file.read_exact_at(bytes, at)
        .map_err(|error| FitsError::File { byte: at, error })
}
