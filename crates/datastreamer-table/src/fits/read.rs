//! Rows of FITS tables (FITS 4.0, 7.2 and 7.3), read at their places in the file.
//!
//! [`FitsFile`] owns an open table; what reads it shares the file. `hdu.rs` finds the table,
//! `header.rs` reads cards, `form.rs` and `column.rs` decide what columns become, `ascii.rs` those of
//! ASCII tables, `metadata.rs` and `systems.rs` what is known of them; `window.rs` reads rows,
//! `heap.rs` what they refer to, `values.rs` turns bytes into Arrow's buffers, and `batch.rs` and
//! `reader.rs` put batches together.
//!
//! Whatever a header states, nothing is allocated before it is checked against the file's length.

mod ascii;
mod batch;
mod column;
mod error;
mod form;
mod hdu;
mod header;
mod heap;
mod metadata;
mod reader;
mod systems;
mod values;
mod window;

use std::{fs::File, ops::Range, path::Path, sync::Arc};

use arrow::{datatypes::SchemaRef, record_batch::RecordBatch};

use super::{BLOCK_BYTES, COLUMNS_MAX};

use self::{
    batch::{Batches, Rows},
    column::Column,
    hdu::Hdu,
    values::NotStandard,
};

pub use error::FitsError;
pub use hdu::{FitsHdu, HduKind};
pub use reader::FitsReader;
pub use values::Repaired;

/// Metadata of a column that was renamed: its name in the file.
pub const TTYPE: &str = "fits.ttype";

/// What [`FitsFile::read`] gives at once, at most: more is asked for in parts.
const READ_BYTES_MAX: u64 = 1 << 30;

/// Which of a file's tables is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TableChoice<'a> {
    /// The first table that is no compressed image.
    #[default]
    First,
    /// The one with this name (EXTNAME), in letters of either case. Where several tables have it, it
    /// is none of them; `NAME,2` is the one of that name whose EXTVER is 2.
    Name(&'a str),
    /// The HDU of this number; the primary one is 0, as in astropy, and the first extension 1.
    Number(usize),
}

impl<'a> TableChoice<'a> {
    /// Reads a text in which digits are a number, and everything else is a name.
    ///
    /// ```
    /// use datastreamer_table::fits::TableChoice;
    ///
    /// assert_eq!(TableChoice::parse("2"), TableChoice::Number(2));
    /// assert_eq!(TableChoice::parse("EVENTS"), TableChoice::Name("EVENTS"));
    /// ```
    pub fn parse(text: &'a str) -> Self {
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(number) if is_number => Self::Number(number),
            _ => Self::Name(text),
        }
    }
}

/// Reads a table of a FITS file, binary or ASCII.
///
/// Columns become Arrow's by their TFORM:
///
/// | FITS | Arrow |
/// |---|---|
/// | L; X | Boolean (0 is null); Boolean |
/// | B, I, J, K | UInt8, Int16, Int32, Int64 |
/// | the same with the zero of the other sign | Int8, UInt16, UInt32, UInt64 |
/// | K with TSCAL 1 and another whole TZERO | Int64; a sum that does not fit is an error |
/// | the same, E, D, with another TSCAL or TZERO | Float64 |
/// | E, D | Float32, Float64; NaN is a value |
/// | C, M | fixed-size list of 2 Float32, Float64 |
/// | A | Utf8, without the blanks at its end; a NUL ends it, and is null where it comes first |
/// | rAw, A with TDIM | fixed-size list of Utf8 |
/// | a repeat count other than 1 | fixed-size list |
/// | P, Q | list; of A Utf8, or with several axes in TDIM a list of Utf8 |
/// | in ASCII tables: Aw; I4, I9, Iw | Utf8; Int16, Int32, Int64: the smallest that holds w digits |
/// | Fw.d, Ew.d, Dw.d | Float64; blanks are null |
///
/// A stored TNULL is null, in arrays too. Names that are missing become `colN`, those that come
/// again get `_2`, `_3` (see [`TTYPE`]). Units, UCDs (TUCDn), utypes (TUTYPn), xtypes (TXTYPn),
/// descriptions (TCOMMn, or the comment of TTYPEn), the axes of arrays (TDIMn), RADESYS and EQUINOX
/// for columns of positions, TIMESYS, TREFPOS and the origin for those of times, and the table's
/// EXTNAME stand in the metadata of
/// [`crate::meta`].
///
/// What the standard does not allow, though other programs write it, is read as their readers do: a
/// logical value of 1 is true, others than T, F and 0 are null; text that is not ASCII is UTF-8 or
/// else Latin-1; a TNULL that is no integer of its column's type and a TDIM of another number of
/// elements say nothing. It is counted ([`FitsReader::repaired`], [`FitsFile::ignored`]), or refused:
/// [`FitsFile::strict`]. Complex numbers with a scale are an error.
///
/// Clones share the open file; a file that is changed meanwhile gives errors or wrong values. Every
/// call **blocks**.
///
/// ```
/// # use std::sync::Arc;
/// # use arrow::{array::Int32Array, datatypes::{DataType, Field, Schema}, record_batch::RecordBatch};
/// # use datastreamer_table::fits::FitsSpool;
/// use datastreamer_table::fits::FitsFile;
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("n.fits");
/// # let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int32, false)]));
/// # let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int32Array::from(vec![7, 8]))])?;
/// # let mut spool = FitsSpool::new(schema, directory.path(), 1_000_000)?;
/// # spool.write(&batch)?;
/// # spool.finish()?.write_to(&mut std::fs::File::create(&path)?)?;
/// let table = FitsFile::open(&path)?;
/// assert_eq!(table.rows(), 2);
/// for batch in table.reader(None, 0..table.rows(), 8192)? {
///     println!("{:?}", batch?);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct FitsFile {
    table: Arc<Table>,
    schema: SchemaRef,
    not_standard: NotStandard,
}

/// A table and where it is.
#[derive(Debug)]
struct Table {
    file: File,
    file_bytes: u64,
    columns: Vec<Column>,
    rows: u64,
    row_bytes: usize,
    /// Where the first row begins in the file.
    data_at: u64,
    /// Where the heap is in the file.
    heap: Range<u64>,
}

impl FitsFile {
    /// Opens the first table of a file.
    ///
    /// # Errors
    /// See [`open_table`](Self::open_table).
    pub fn open(path: &Path) -> Result<Self, FitsError> {
        Self::open_table(path, TableChoice::First)
    }

    /// Opens a table of a file: what stands before it is skipped, and must be complete.
    ///
    /// # Errors
    /// A file that cannot be read, is not FITS or is truncated; no such table, with the list of those
    /// that are there; a column that cannot be read, with its name.
    pub fn open_table(path: &Path, choice: TableChoice<'_>) -> Result<Self, FitsError> {
        let file = File::open(path).map_err(|error| FitsError::File { byte: 0, error })?;
        Self::of_file(file, choice)
    }

    /// The same of a file that is open.
    ///
    /// # Errors
    /// See [`open_table`](Self::open_table).
    pub fn of_file(file: File, choice: TableChoice<'_>) -> Result<Self, FitsError> {
        let file_bytes = length(&file)?;
        let hdu = hdu::find(&file, file_bytes, choice)?;
        let table = Table::new(file, file_bytes, &hdu)?;
        let schema = metadata::schema(&hdu.header, &table.columns);
        Ok(Self {
            table: Arc::new(table),
            schema: Arc::new(schema),
            not_standard: NotStandard::Count,
        })
    }

    /// Says what is in all HDUs of a file.
    ///
    /// # Errors
    /// A file that is not FITS, a header that cannot be read, or data that is truncated.
    pub fn hdus(file: &File) -> Result<Vec<FitsHdu>, FitsError> {
        hdu::list_all(file, length(file)?)
    }

    /// Makes logical values other than T, F and 0 and texts that are not ASCII errors.
    #[must_use]
    pub fn strict(mut self) -> Self {
        self.not_standard = NotStandard::Refuse;
        self.schema = Arc::new(metadata::with_ascii(&self.schema));
        self
    }

    /// The keywords that contradict the standard or their column's TFORM, and were ignored.
    pub fn ignored(&self) -> impl Iterator<Item = &str> {
        let columns = self.table.columns.iter();
        columns.flat_map(|column| column.ignored.iter().map(String::as_str))
    }

    /// Returns whether the file consists of blocks of 2880 bytes (FITS 4.0, 3.1). Of another one bytes
    /// may be missing anywhere, and then the rows behind have wrong values; or only the fill of its last
    /// block is, which some programs leave out.
    pub fn has_whole_blocks(&self) -> bool {
        self.table.file_bytes.is_multiple_of(BLOCK_BYTES)
    }

    /// The columns, with what is known of them.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// How many rows there are.
    pub fn rows(&self) -> u64 {
        self.table.rows
    }

    /// The most bytes that a text of this column has, by its place, if it is ASCII; `None` for other
    /// columns, and for texts in the heap or in arrays.
    pub fn text_bytes_max(&self, column: usize) -> Option<usize> {
        self.table.columns.get(column)?.text_bytes_max()
    }

    /// Reads rows into one batch, of all columns or of those with these numbers, in their order.
    ///
    /// # Errors
    /// Rows or columns that do not exist; more than 1 GiB at once; a value that is not one of its
    /// type, with its row, column and byte.
    pub fn read(
        &self,
        rows: Range<u64>,
        projection: Option<&[usize]>,
    ) -> Result<RecordBatch, FitsError> {
        let mut batches = self.batches(projection, &rows)?;
        let wanted = Rows {
            range: rows.clone(),
            bytes_max: READ_BYTES_MAX,
        };
        let batch = batches.read(&wanted)?;
        if batch.num_rows() as u64 != rows.end - rows.start {
            return Err(FitsError::Request(format!(
                "rows {} to {} take more than 1 GiB: ask for fewer at once",
                rows.start, rows.end
            )));
        }
        Ok(batch)
    }

    /// Reads rows in batches of at most `batch_rows`, and of about 16 MiB unless a single row is
    /// larger.
    ///
    /// # Errors
    /// Rows or columns that do not exist.
    pub fn reader(
        &self,
        projection: Option<&[usize]>,
        rows: Range<u64>,
        batch_rows: usize,
    ) -> Result<FitsReader, FitsError> {
        let batches = self.batches(projection, &rows)?;
        Ok(FitsReader::new(batches, rows, batch_rows))
    }

    fn batches(
        &self,
        projection: Option<&[usize]>,
        rows: &Range<u64>,
    ) -> Result<Batches, FitsError> {
        let total = self.rows();
        if rows.start > rows.end || rows.end > total {
            let (start, end) = (rows.start, rows.end);
            let text = format!("rows {start} to {end} of a table of {total} rows");
            return Err(FitsError::Request(text));
        }
        let columns = match projection {
            None => (0..self.table.columns.len()).collect(),
            Some(columns) => columns.to_vec(),
        };
        let schema = self.schema.project(&columns);
        let schema = schema.map_err(|error| FitsError::Request(error.to_string()))?;
        Ok(Batches::new(
            Arc::clone(&self.table),
            columns,
            Arc::new(schema),
            self.not_standard,
        ))
    }
}

fn length(file: &File) -> Result<u64, FitsError> {
    let metadata = file.metadata();
    let metadata = metadata.map_err(|error| FitsError::File { byte: 0, error })?;
    Ok(metadata.len())
}

impl Table {
    /// Checks what the header says of the table against itself and its data.
    fn new(file: File, file_bytes: u64, hdu: &Hdu) -> Result<Self, FitsError> {
        let header = &hdu.header;
        let fields: usize = header.needed("TFIELDS")?;
        if fields > COLUMNS_MAX {
            let text = format!("TFIELDS is {fields}: {COLUMNS_MAX} columns are the most");
            return Err(header.problem(text));
        }
        let shape: (i64, u64, u64) = (
            header.needed("BITPIX")?,
            header.needed("NAXIS")?,
            header.number("GCOUNT")?.unwrap_or(1),
        );
        if shape != (8, 2, 1) {
            let text = "a table has BITPIX = 8, NAXIS = 2 and GCOUNT = 1".to_owned();
            return Err(header.problem(text));
        }
        let names = metadata::names(header, fields);
        let columns = match hdu.is_ascii() {
            true => ascii::columns(header, names)?,
            false => column::columns(header, names)?,
        };
        let (row_bytes, rows): (usize, u64) = (header.needed("NAXIS1")?, header.needed("NAXIS2")?);
        if row_bytes == 0 && rows > 0 {
            return Err(header.problem(format!("{rows} rows of 0 bytes")));
        }
        // Within the data, whose length was checked, so this cannot overflow.
        let table_bytes = row_bytes as u64 * rows;
        let heap_from = header.number("THEAP")?.unwrap_or(table_bytes);
        if heap_from < table_bytes || heap_from > hdu.data_bytes {
            let text = format!("THEAP is {heap_from}: not behind the rows, in the data");
            return Err(header.problem(text));
        }
        Ok(Self {
            file,
            file_bytes,
            columns,
            rows,
            row_bytes,
            data_at: hdu.data_at,
            heap: hdu.data_at + heap_from..hdu.data_at + hdu.data_bytes,
        })
    }
}
