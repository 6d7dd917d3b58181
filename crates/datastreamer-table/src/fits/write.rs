//! FITS binary tables (FITS 4.0, 7.3).
//!
//! A binary table's header states the number of rows and their width, before the first row.
//! A [`FitsShape`] holds what the header needs. There are three ways to one:
//! - schema, number of rows and the [statistics of the columns](crate::ColumnStatistics) are enough:
//!   [`FitsShape::of_schema`];
//! - the source can be read twice: [`FitsSurvey`] reads the rows first;
//! - neither: [`FitsSpool`] keeps the table in a temporary file.
//!
//! With a shape, new or kept from an earlier reading of the same table, [`FitsWriter`] streams the
//! rows. What the spool has kept writes itself, as a [`FitsTable`]: only it can hold values that
//! stand behind the rows, in the heap. Both know the file's exact length before its first byte.
//!
//! A null text and an empty one are the same in FITS, and so are a null float and NaN. Integers
//! with nulls get a value that does not occur (TNULLn); 8-bit signed and unsigned ones of 16 and
//! 32 bits the next larger type. There is none for unsigned ones of 64 bits: TNULLn is the stored
//! value, as the standard says (7.3.2), and STILTS reads it so. astropy (8.0) takes it for the value
//! after the offset: `Table.read` fails, or has a number for null. It has what is stored in
//! `fits.open(file)[1].data.view(numpy.ndarray)`.
//!
//! Lists of texts are arrays in the row, or in the heap where they have different lengths: the first
//! of TDIMn is the length of each text. Only STILTS takes it for that in the heap.
//!
//! Timestamps and dates are texts whose xtype (TXTYPn) is `timestamp`, as in VOTable.
//!
//! `layout.rs` is what the columns become, `header.rs` writes the cards, `systems.rs` says which
//! there are of coordinates and times, `encode.rs` writes the rows and the heap behind them.

mod encode;
mod header;
mod layout;
mod shape;
mod spool;
mod survey;
mod systems;
mod writer;

pub use shape::FitsShape;
pub use spool::{FitsSpool, FitsTable, SPOOL_BYTES_MAX};
pub use survey::FitsSurvey;
pub(crate) use survey::nested_beyond;
pub use writer::FitsWriter;

use std::io::{self, Write};

use crate::text;

use super::BLOCK_BYTES;

/// Rows are encoded so many bytes at a time: the memory that writing takes.
const ENCODE_BYTES: usize = 64 * 1024;

/// What is wrong with a text that is not printable ASCII (FITS 4.0, 7.3.3.1).
pub const NOT_PRINTABLE: &str = "FITS holds printable ASCII only";

/// FITS 4.0, 3.2.
fn is_fits_text(text: &[u8]) -> bool {
    !text::any(text, |byte| !matches!(byte, b' '..=b'~'))
}

fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK_BYTES)
}

/// Fills the last block of the data (FITS 4.0, 7.3.2).
fn write_padding(out: &mut impl Write, data_bytes: u64) -> io::Result<()> {
    let padding = padded(data_bytes) - data_bytes;
    out.write_all(&[0; BLOCK_BYTES as usize][..padding as usize])
}
