//! FITS binary tables (FITS 4.0, 7.3).
//!
//! A binary table's header says how many rows there are and how wide each is, before the first.
//! So a table is spooled first: [`FitsSpool`] keeps the batches in a temporary file, in bounded
//! memory, and learns what the header needs; the [`FitsTable`] that it becomes knows its exact
//! length and writes itself. Nothing but what is asked for is held in memory.
//!
//! `layout.rs` decides what each column becomes, `header.rs` writes the cards, `encode.rs` the rows
//! and the heap behind them.

mod encode;
mod header;
mod layout;

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Seek, Write},
    path::Path,
};

use arrow::{
    datatypes::{Schema, SchemaRef},
    ipc::{reader::StreamReader, writer::StreamWriter},
    record_batch::RecordBatch,
};

use self::layout::{Layout, Survey};
use super::{TableError, column::cast_columns};

/// Everything in FITS comes in blocks of so many bytes (FITS 4.0, 3.1).
const BLOCK_BYTES: u64 = 2880;

/// Rows are encoded so many bytes at a time: the memory that writing takes.
const ENCODE_BYTES: usize = 256 * 1024;

/// Keeps a table until it is whole.
///
/// What FITS cannot hold is refused here, before anything of the file is written: text that is
/// not printable ASCII, times beyond the year 9999. A null text and an empty one are the same in
/// FITS, and so are a null float and NaN. Integers with nulls get a value that does not occur
/// (TNULLn); 8-bit signed and unsigned ones of 16 and 32 bits the next larger type.
///
/// ```
/// use std::sync::Arc;
/// use arrow::{array::Int32Array, datatypes::{DataType, Field, Schema}, record_batch::RecordBatch};
/// use datastreamer_formats::table::fits::FitsSpool;
///
/// let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int32, false)]));
/// let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int32Array::from(vec![7]))])?;
/// let mut spool = FitsSpool::new(schema, &std::env::temp_dir(), 1_000_000)?;
/// spool.write(&batch)?;
/// let table = spool.finish()?;
/// let (mut file, length) = (Vec::new(), table.bytes());
/// table.write_to(&mut file)?;
/// assert_eq!(file.len() as u64, length);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct FitsSpool {
    schema: SchemaRef,
    spool: StreamWriter<BufWriter<Bounded>>,
    survey: Survey,
}

/// A whole table, ready to be written.
pub struct FitsTable {
    schema: SchemaRef,
    spool: File,
    layout: Layout,
    header: Vec<u8>,
}

impl FitsSpool {
    /// Makes an empty spool: an unnamed file in `directory` of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// A column that FITS cannot hold, or more than 999 of them; a file that cannot be made.
    pub fn new(schema: SchemaRef, directory: &Path, bytes_max: u64) -> Result<Self, TableError> {
        let survey = Survey::new(&schema)?;
        let file = Bounded {
            file: tempfile::tempfile_in(directory)?,
            left_bytes: bytes_max,
        };
        let cast = layout::cast_schema(&schema);
        let spool = StreamWriter::try_new_buffered(file, &cast).map_err(io::Error::other)?;
        Ok(Self {
            schema,
            spool,
            survey,
        })
    }

    /// Keeps the rows of a batch.
    ///
    /// # Errors
    /// A value that FITS cannot hold, with its row and column; a spool that is full.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), TableError> {
        let columns = cast_columns(batch)?;
        self.survey.look_at(&self.schema, &columns)?;
        let batch = RecordBatch::try_new(layout::cast_schema(&self.schema), columns)
            .map_err(|error| TableError::Schema(error.to_string()))?;
        Ok(self.spool.write(&batch).map_err(spool_error)?)
    }

    /// Ends the table.
    ///
    /// # Errors
    /// A column with nulls and no value left to stand for them; a spool that is full.
    pub fn finish(self) -> Result<FitsTable, TableError> {
        let spool = self.spool.into_inner().map_err(spool_error)?;
        let mut spool = spool.into_inner().map_err(|error| error.into_error())?.file;
        spool.rewind()?;
        let layout = self.survey.layout(&self.schema)?;
        let header = header::header(&self.schema, &layout);
        Ok(FitsTable {
            schema: self.schema,
            spool,
            layout,
            header,
        })
    }
}

/// Refuses what FITS cannot hold, by its type.
///
/// # Errors
/// The first such column, or the one after the 999th.
pub(super) fn check(schema: &Schema) -> Result<(), TableError> {
    Survey::new(schema).map(drop)
}

impl FitsTable {
    /// The exact length of the file, in bytes.
    pub fn bytes(&self) -> u64 {
        self.header.len() as u64 + padded(self.layout.table_bytes() + self.layout.heap_bytes)
    }

    /// How many rows there are.
    pub fn rows(&self) -> u64 {
        self.layout.rows
    }

    /// Writes the whole file.
    ///
    /// # Errors
    /// What the output, or the spool, says.
    pub fn write_to(mut self, out: &mut impl Write) -> Result<(), TableError> {
        out.write_all(&self.header)?;
        let mut heap_bytes = 0;
        let mut rows = Vec::new();
        self.for_each_slice(|layout, slice| {
            rows.clear();
            encode::append_rows(&mut rows, layout, slice, &mut heap_bytes);
            out.write_all(&rows)
        })?;
        if self.layout.heap_bytes > 0 {
            let mut heap = Vec::new();
            self.for_each_slice(|layout, slice| {
                heap.clear();
                encode::append_heap(&mut heap, layout, slice);
                out.write_all(&heap)
            })?;
        }
        let data_bytes = self.layout.table_bytes() + self.layout.heap_bytes;
        let padding = padded(data_bytes) - data_bytes;
        out.write_all(&[0; BLOCK_BYTES as usize][..padding as usize])?;
        Ok(out.flush()?)
    }

    /// Reads the spool from its beginning, a few rows at a time.
    fn for_each_slice(
        &mut self,
        mut write: impl FnMut(&Layout, &RecordBatch) -> io::Result<()>,
    ) -> Result<(), TableError> {
        self.spool.rewind()?;
        let rows_max = (ENCODE_BYTES / self.layout.row_bytes.max(1)).max(1);
        let batches = StreamReader::try_new(BufReader::new(&mut self.spool), None);
        for batch in batches.map_err(spool_error)? {
            let batch = batch.map_err(spool_error)?;
            for from in (0..batch.num_rows()).step_by(rows_max) {
                let length = rows_max.min(batch.num_rows() - from);
                write(&self.layout, &batch.slice(from, length))?;
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for FitsTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FitsTable")
            .field("schema", &self.schema)
            .field("rows", &self.rows())
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK_BYTES)
}

fn spool_error(error: arrow::error::ArrowError) -> io::Error {
    match error {
        arrow::error::ArrowError::IoError(_, error) => error,
        error => io::Error::other(error),
    }
}

/// A file that may not grow beyond a bound.
struct Bounded {
    file: File,
    left_bytes: u64,
}

impl Write for Bounded {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if data.len() as u64 > self.left_bytes {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                "the table is larger than its temporary file may be",
            ));
        }
        let written = self.file.write(data)?;
        self.left_bytes -= written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
