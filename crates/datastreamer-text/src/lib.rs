//! Reads CSV, TSV and NDJSON files as Arrow record batches, exactly: a column has a type that holds
//! each of its values, else it is text with the characters of the file.
//!
//! [`infer`] reads all rows of a file to find the types of its columns, [`merge`] finds those of
//! several files, and [`TextReader`] reads the rows. Inference and reading share one parser, so that a
//! file whose columns were inferred can be read to its last row. Arrow's readers do not do this: they
//! infer by patterns that their parsers do not follow, drop blank lines, and cannot tell an empty
//! text from a null.
//!
//! # The path of a byte
//! `input.rs` decompresses a file, `fields.rs` splits CSV and TSV into rows and fields, `csv.rs` makes
//! columns of them; `ndjson.rs` does both for NDJSON, with `json.rs`, which reads a line. `values.rs`
//! says what a text is as a value, `seen.rs` which type holds a whole column, `merge.rs` those of
//! several files. `batch.rs` builds the columns of a batch.
//!
//! Sources: RFC 4180 (CSV), RFC 8259 (JSON), NDJSON 1.0; TSV as `datastreamer-table` writes it.

#![forbid(unsafe_code)]

mod batch;
mod csv;
mod fields;
mod input;
mod json;
mod merge;
mod ndjson;
mod seen;
mod values;

use std::{
    fs::File,
    io::{self, Read},
};

use arrow::{
    datatypes::{Schema, SchemaRef},
    record_batch::RecordBatch,
};

pub use self::merge::{check_same_columns, merge, without_notes};
use self::{
    csv::CsvReader,
    fields::Delimiter,
    input::{Bounded, Gzip, Input, Zstd},
    ndjson::NdjsonReader,
};

/// 65,536 columns, those of objects in NDJSON counted: each takes some 8 kB while a table is read. A
/// file with more is no table: it is transposed, or its keys are values.
const COLUMNS_MAX: usize = 1 << 16;

/// How rows are written in a text file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TextFormat {
    /// Fields between commas, in quotes where they must be (RFC 4180). The first row has the names.
    Csv,
    /// Fields between tabs, with escapes (`\t`, `\n`, `\r`, `\\`). The first row has the names.
    Tsv,
    /// An object of JSON a line.
    Ndjson,
}

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Compression {
    /// It is not.
    None,
    /// gzip (RFC 1952), also in several members.
    Gzip,
    /// Zstandard (RFC 8878), also in several frames.
    Zstd,
}

/// Infers the columns of a file from all its rows. **Blocks** for as long as it takes to read them.
///
/// The fields may carry notes for [`merge`]; [`without_notes`] removes them. A compressed file may
/// become 1 GiB, or `expansion_max` times its size.
///
/// # Errors
/// The file cannot be read or split into rows, with the line; it becomes more than that.
///
/// # Examples
/// ```
/// use std::{fs::File, sync::Arc};
/// use arrow::datatypes::DataType;
/// use datastreamer_text::{Compression, TextFormat, TextReader, infer, without_notes};
///
/// let path = std::env::temp_dir().join("datastreamer-text-infer.csv");
/// std::fs::write(&path, "code,mag\n01569,+41.2\n,7\n")?;
/// let columns = infer(File::open(&path)?, TextFormat::Csv, Compression::None, 1100)?;
/// let columns = Arc::new(without_notes(&columns));
/// assert_eq!(columns.field(0).data_type(), &DataType::Utf8);
/// assert_eq!(columns.field(1).data_type(), &DataType::Float64);
///
/// let file = File::open(&path)?;
/// let rows = (Arc::clone(&columns), vec![0, 1]);
/// let mut rows = TextReader::new(file, TextFormat::Csv, Compression::None, 1100, rows, 8192)?;
/// assert_eq!(rows.read()?.map(|batch| batch.num_rows()), Some(2));
/// assert!(rows.read()?.is_none());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn infer(
    file: File,
    format: TextFormat,
    compression: Compression,
    expansion_max: u64,
) -> io::Result<Schema> {
    let input = input(file, compression, expansion_max)?;
    match delimiter(format) {
        Some(delimiter) => csv::infer(input, delimiter),
        None => ndjson::infer(input),
    }
}

fn input(file: File, compression: Compression, expansion_max: u64) -> io::Result<Input> {
    Input::new(decompressed(file, compression, expansion_max)?)
}

/// Returns the bytes of a file without its compression. A compressed one may become 1 GiB, or
/// `expansion_max` times its size. Reading them **blocks**.
///
/// # Errors
/// The file cannot be read. So it is with the bytes: compressed data that is damaged or cut short, or
/// becomes more than that.
pub fn decompressed(
    file: File,
    compression: Compression,
    expansion_max: u64,
) -> io::Result<Box<dyn Read + Send>> {
    let file_bytes = file.metadata()?.len();
    let bounded = |bytes| Bounded::new(bytes, file_bytes, expansion_max);
    Ok(match compression {
        Compression::None => Box::new(file),
        Compression::Gzip => Box::new(bounded(Box::new(Gzip::new(file)))),
        Compression::Zstd => Box::new(bounded(Box::new(Zstd::new(file)?))),
    })
}

fn delimiter(format: TextFormat) -> Option<Delimiter> {
    match format {
        TextFormat::Csv => Some(Delimiter::Comma),
        TextFormat::Tsv => Some(Delimiter::Tab),
        TextFormat::Ndjson => None,
    }
}

/// Reads the rows of a file.
pub struct TextReader(Rows);

enum Rows {
    Fields(CsvReader),
    Objects(NdjsonReader),
}

impl TextReader {
    /// Reads the header, if there is one. `columns` are those to read, with their places in the file;
    /// NDJSON finds them by their names. A batch has at most `batch_rows` rows, and fewer if they are
    /// long: it holds about 16 MiB of text. `expansion_max` is that of [`infer`]. **Blocks.**
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn new(
        file: File,
        format: TextFormat,
        compression: Compression,
        expansion_max: u64,
        columns: (SchemaRef, Vec<usize>),
        batch_rows: usize,
    ) -> io::Result<Self> {
        let input = input(file, compression, expansion_max)?;
        Ok(Self(match delimiter(format) {
            Some(delimiter) => Rows::Fields(CsvReader::new(input, delimiter, columns, batch_rows)?),
            None => Rows::Objects(NdjsonReader::new(input, columns.0, batch_rows)),
        }))
    }

    /// Reads the next batch; `None` behind the last row. **Blocks.**
    ///
    /// # Errors
    /// The file cannot be read, or has a value that is not of its column's type, with line and column.
    pub fn read(&mut self) -> io::Result<Option<RecordBatch>> {
        match &mut self.0 {
            Rows::Fields(reader) => reader.read(),
            Rows::Objects(reader) => reader.read(),
        }
    }
}

impl std::fmt::Debug for TextReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextReader").finish_non_exhaustive()
    }
}
