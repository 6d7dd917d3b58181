//! Reads CSV, TSV and NDJSON files as Arrow record batches, exactly: a column has a type that holds
//! each of its values, else it is text with the characters of the file.
//!
//! [`infer`] reads all rows of a file to find the types of its columns, [`merge`] finds those of
//! several files, and [`TextReader`] reads the rows. Inference and reading share one parser, so that a
//! file whose columns were inferred can be read to its last row. Arrow's readers do not do this: they
//! infer by patterns that their parsers do not follow, drop blank lines, and cannot tell an empty
//! text from a null.
//!
//! [`TextOptions`] say how a file is written where that is not as usual, and the types of columns. If
//! each column has one, [`infer`] reads the header only.
//!
//! # The path of a byte
//! `input.rs` decompresses a file, `encoding.rs` makes UTF-8 of it, `fields.rs` splits CSV and TSV into rows and fields, `csv.rs` makes
//! columns of them; `ndjson.rs` does both for NDJSON, with `json.rs`, which reads a line. `values.rs`
//! says what a text is as a value, `seen.rs` which type holds a whole column, `merge.rs` those of
//! several files. `batch.rs` builds the columns of a batch.
//!
//! Sources: RFC 4180 (CSV), RFC 8259 (JSON), NDJSON 1.0; TSV as `datastreamer-table` writes it.

#![forbid(unsafe_code)]

mod batch;
mod csv;
mod delimiters;
mod encoding;
mod fields;
mod input;
mod json;
mod merge;
mod ndjson;
mod options;
mod seen;
mod values;

use std::{
    fs::File,
    io::{self, Read},
    sync::{Arc, atomic::AtomicU64},
};

use arrow::{datatypes::SchemaRef, record_batch::RecordBatch};

use self::{
    csv::CsvReader,
    fields::Dialect,
    input::{Bounded, Counted, Gzip, Input, Zstd},
    ndjson::NdjsonReader,
};
pub use self::{
    delimiters::Inferred,
    encoding::TextEncoding,
    merge::{check_same_columns, merge, without_notes},
    options::{
        DecimalMark, Quote, TextOptions, parse_comment, parse_decimal, parse_delimiter,
        parse_quote, parse_type,
    },
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

/// A text file, and how it is written.
#[derive(Clone, Copy, Debug)]
pub struct TextForm<'a> {
    /// How rows are written.
    pub format: TextFormat,
    /// How the file is compressed.
    pub compression: Compression,
    /// A compressed file may become 1 GiB, or this many times its size.
    pub expansion_max: u64,
    /// What is not as usual.
    pub options: &'a TextOptions,
    /// Counts the bytes that are read from the file.
    pub read: Option<&'a Arc<AtomicU64>>,
}

/// Infers the columns of a file from all its rows, but for those that have a type in the options: if
/// all have one, no row is read. A CSV or TSV file that has one column, and other delimiters in its
/// header, is taken with one of these if every row agrees. **Blocks** for as long as it takes to read
/// the file.
///
/// The fields may carry notes for [`merge`]; [`without_notes`] removes them.
///
/// # Errors
/// The file cannot be read or split into rows, with the line; it becomes larger than it may; the options
/// contradict each other or the file.
///
/// # Examples
/// ```
/// use std::{fs::File, sync::Arc};
/// use arrow::datatypes::DataType;
/// use datastreamer_text::{
///     Compression, TextColumns, TextForm, TextFormat, TextOptions, TextReader, infer, without_notes,
/// };
///
/// let path = std::env::temp_dir().join("datastreamer-text-infer.csv");
/// std::fs::write(&path, "code,mag\n01569,+41.2\n,7\n")?;
/// let form = TextForm {
///     format: TextFormat::Csv,
///     compression: Compression::None,
///     expansion_max: 1100,
///     options: &TextOptions::default(),
///     read: None,
/// };
/// let columns = infer(File::open(&path)?, form)?.columns;
/// let columns = Arc::new(without_notes(&columns));
/// assert_eq!(columns.field(0).data_type(), &DataType::Utf8);
/// assert_eq!(columns.field(1).data_type(), &DataType::Float64);
///
/// let columns = TextColumns { schema: columns, places: vec![0, 1], count: 2 };
/// let mut rows = TextReader::new(File::open(&path)?, form, columns, 8192)?;
/// assert_eq!(rows.read()?.map(|batch| batch.num_rows()), Some(2));
/// assert!(rows.read()?.is_none());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn infer(file: File, form: TextForm<'_>) -> io::Result<Inferred> {
    let options = form.options;
    options.check(form.format).map_err(io::Error::other)?;
    match Dialect::of(form.format, options) {
        Some(dialect) => delimiters::infer(&file, form, dialect),
        None => {
            let input = input(file, form)?;
            let encoding = input.encoding();
            let (columns, rows) = ndjson::infer(input, options)?;
            Ok(Inferred {
                columns,
                rows,
                delimiter: None,
                encoding,
                notes: Vec::new(),
            })
        }
    }
}

fn input(file: File, form: TextForm<'_>) -> io::Result<Input> {
    let file_bytes = file.metadata()?.len();
    let file = Counted {
        file,
        read: form.read.map(Arc::clone),
    };
    let bytes = unpacked(file, file_bytes, form.compression, form.expansion_max)?;
    Input::new(bytes, form.options.encoding)
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
    let file = Counted { file, read: None };
    unpacked(file, file_bytes, compression, expansion_max)
}

fn unpacked(
    file: Counted,
    file_bytes: u64,
    compression: Compression,
    expansion_max: u64,
) -> io::Result<Box<dyn Read + Send>> {
    let bounded = |bytes| Bounded::new(bytes, file_bytes, expansion_max);
    Ok(match compression {
        Compression::None => Box::new(file),
        Compression::Gzip => Box::new(bounded(Box::new(Gzip::new(file)))),
        Compression::Zstd => Box::new(bounded(Box::new(Zstd::new(file)?))),
    })
}

/// Columns of a file that are to be read.
#[derive(Clone, Debug)]
pub struct TextColumns {
    /// The columns with their types.
    pub schema: SchemaRef,
    /// The place of each in the file, from 0 on. NDJSON finds them by their names.
    pub places: Vec<usize>,
    /// How many columns the file has.
    pub count: usize,
}

/// Reads the rows of a file.
pub struct TextReader(Rows);

enum Rows {
    Fields(Box<CsvReader>),
    Objects(NdjsonReader),
}

impl TextReader {
    /// Reads the header, if there is one. A batch has at most `batch_rows` rows, and fewer if they are
    /// long: it holds about 16 MiB of text. **Blocks.**
    ///
    /// # Errors
    /// The file cannot be read, or has another number of columns.
    pub fn new(
        file: File,
        form: TextForm<'_>,
        columns: TextColumns,
        batch_rows: usize,
    ) -> io::Result<Self> {
        let (input, options) = (input(file, form)?, form.options);
        Ok(Self(match Dialect::of(form.format, options) {
            Some(dialect) => {
                let reader = CsvReader::new(input, dialect, options, columns, batch_rows)?;
                Rows::Fields(Box::new(reader))
            }
            None => Rows::Objects(NdjsonReader::new(
                input,
                options,
                columns.schema,
                batch_rows,
            )),
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
