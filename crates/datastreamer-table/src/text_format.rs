//! What a text format must define, for `gather.rs` and `rendered.rs`.

use crate::{buffer::RowBuffer, column::Column, text::Specials};

/// A format in which every cell is a text.
pub(super) trait TextFormat {
    /// Floats that are no numbers. One that is empty has no text, and goes to
    /// [`append_cell`](Self::append_cell).
    const SPECIALS: Specials;
    /// False and true.
    const BOOLEANS: [&'static str; 2];

    /// Says whether bytes cannot stand in a cell as they are.
    fn has_marks(&self, text: &[u8]) -> bool;

    /// Appends a cell that is not null, of any kind.
    fn append_cell(
        &mut self,
        out: &mut Vec<u8>,
        place: usize,
        column: &Column<'_>,
        row: usize,
    ) -> Result<(), &'static str>;

    /// Says whether cells of a column may be rendered; each of others goes to
    /// [`append_cell`](Self::append_cell).
    fn is_rendered(&self, _place: usize) -> bool {
        true
    }

    /// The last touch to a row, which begins at a byte of the buffer.
    fn row_is_done(&mut self, _out: &mut RowBuffer, _begun: usize) {}
}
