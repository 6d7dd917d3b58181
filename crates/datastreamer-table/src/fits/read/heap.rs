//! Cells of variable length: where in the heap they are, and reading them (FITS 4.0, 7.3.5).

use super::{FitsError, Table, form::Stored, window::read_exact};

/// Cells that are scattered over more than twice their length, and this, are read one by one.
const SCATTER_BYTES: u64 = 64 * 1024;

/// A cell in the heap.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) elements: usize,
    /// From the beginning of the file.
    pub(super) at: u64,
    pub(super) bytes: usize,
}

impl Extent {
    pub(super) const EMPTY: Self = Self {
        elements: 0,
        at: 0,
        bytes: 0,
    };

    /// Reads a descriptor: the count of elements, and where they are, from the heap's beginning.
    ///
    /// # Errors
    /// What is not within the heap.
    pub(super) fn of(descriptor: &[u8], stored: Stored, table: &Table) -> Result<Self, String> {
        let half = |from: usize| match descriptor.len() {
            8 => {
                let bytes = descriptor[from * 4..].first_chunk().copied();
                i64::from(i32::from_be_bytes(bytes.unwrap_or_default()))
            }
            _ => {
                let bytes = descriptor[from * 8..].first_chunk().copied();
                i64::from_be_bytes(bytes.unwrap_or_default())
            }
        };
        let (count, offset) = (half(0), half(1));
        if count == 0 {
            return Ok(Self::EMPTY);
        }
        let heap_bytes = table.heap.end - table.heap.start;
        let within = || {
            let (elements, offset) = (u64::try_from(count).ok()?, u64::try_from(offset).ok()?);
            let bytes = stored.bytes_of(elements)?;
            (offset.checked_add(bytes)? <= heap_bytes).then_some(())?;
            Some(Self {
                elements: elements.try_into().ok()?,
                at: table.heap.start + offset,
                bytes: bytes.try_into().ok()?,
            })
        };
        within().ok_or_else(|| {
            format!("{count} elements at {offset} are not within the heap of {heap_bytes} bytes")
        })
    }
}

/// Cells of one column, read in one go where they are near to each other.
#[derive(Debug, Default)]
pub(super) struct Heap {
    bytes: Vec<u8>,
    /// Where `bytes` is in the file, if it holds all cells.
    all_at: Option<u64>,
}

impl Heap {
    /// Makes the cells ready to be read, in any order.
    pub(super) fn gather(&mut self, table: &Table, cells: &[Extent]) -> Result<(), FitsError> {
        let filled = || cells.iter().filter(|cell| cell.bytes > 0);
        let begin = filled().map(|cell| cell.at).min().unwrap_or(0);
        let end = filled().map(|cell| cell.at + cell.bytes as u64).max();
        let span = end.unwrap_or(0) - begin;
        let sum: u64 = filled().map(|cell| cell.bytes as u64).sum();
        self.all_at = (span <= 2 * sum + SCATTER_BYTES).then_some(begin);
        if self.all_at.is_some() {
            self.bytes.resize(span as usize, 0);
            read_exact(&table.file, &mut self.bytes, begin)?;
        }
        Ok(())
    }

    /// A cell's bytes.
    pub(super) fn cell(&mut self, table: &Table, cell: Extent) -> Result<&[u8], FitsError> {
        if let Some(all_at) = self.all_at {
            let from = cell.at.saturating_sub(all_at) as usize;
            return Ok(self.bytes.get(from..from + cell.bytes).unwrap_or_default());
        }
        self.bytes.resize(cell.bytes, 0);
        read_exact(&table.file, &mut self.bytes, cell.at)?;
        Ok(&self.bytes)
    }
}
