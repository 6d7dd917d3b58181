//! The list of formats: what each is called, and how a table is written in it.
//!
//! [`Format`] owns names, suffixes and media types; `format/negotiation.rs` finds a format by what
//! a client asks for, `format/plan.rs` says how rows that are described are written. What a format is like inside
//! stands in its own file.

mod negotiation;
mod plan;
mod spooled;

use std::{
    io::{self, Write},
    path::PathBuf,
    sync::Arc,
};

use arrow::datatypes::{Schema, SchemaRef};

pub use self::plan::{
    RowsDescription, Spool, SpoolPlan, SpooledTable, StreamPlan, Survey, TableLayout, WritePlan,
};
use self::spooled::FitsWriter;
use super::{
    TableError, TableWriter,
    column::check_any,
    csv::{self, CsvWriter, Delimiter},
    fits::{COLUMNS_MAX, FitsSurvey, SPOOL_BYTES_MAX, nested_beyond},
    html::{self, HtmlWriter},
    ipc::{self, IpcWriter},
    json::{self, JsonWriter},
    parquet::{ParquetCompression, ParquetWriter},
    plain::{self, PlainWriter},
    temporary::TemporaryRoom,
    votable::{self, Serialization, Version, VotableOptions, VotableWriter},
};

/// A format of tables.
///
/// ```
/// use datastreamer_table::Format;
///
/// assert_eq!(Format::from_suffix("vot"), Some(Format::Votable));
/// assert_eq!(Format::parse("votable/b2"), Some(Format::VotableBinary2));
/// assert_eq!(Format::from_accept("text/csv;q=0.5, application/json"), Some(Format::Json));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// VOTable, TABLEDATA.
    Votable,
    /// VOTable, BINARY.
    VotableBinary,
    /// VOTable, BINARY2.
    VotableBinary2,
    /// FITS binary table.
    Fits,
    /// CSV.
    Csv,
    /// TSV.
    Tsv,
    /// JSON, a record a line.
    Ndjson,
    /// JSON, an array of records.
    Json,
    /// Parquet.
    Parquet,
    /// Arrow IPC, a stream.
    Arrow,
    /// Arrow IPC, a file.
    ArrowFile,
    /// HTML, the first rows.
    Html,
    /// Plain text.
    Text,
}

/// The options of the writers of all formats; each uses those that concern it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WriterOptions {
    /// The version that VOTables say they are.
    pub votable_version: Version,
    /// How Parquet is compressed.
    pub parquet_compression: ParquetCompression,
    /// How many rows an HTML page has at most.
    pub html_rows_max: u64,
    /// What an HTML page has around its rows.
    pub html_frame: Option<html::PageFrame>,
    /// Whether CSV begins with a byte order mark.
    pub csv_mark: bool,
    /// What is said of the limit where one has cut the table, in the formats that have a place for it:
    /// who has set it, and its number of rows.
    pub limit: Option<String>,
    /// Where a FITS table is kept until it is complete.
    pub spool_directory: PathBuf,
    /// How large it may be there, in bytes.
    pub spool_bytes_max: u64,
    /// Where it gets its room from; `None`: it has only its own bound.
    pub temporary_room: Option<Arc<dyn TemporaryRoom>>,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            votable_version: Version::default(),
            parquet_compression: ParquetCompression::default(),
            html_rows_max: html::ROWS_MAX,
            html_frame: None,
            csv_mark: false,
            limit: None,
            spool_directory: std::env::temp_dir(),
            spool_bytes_max: SPOOL_BYTES_MAX,
            temporary_room: None,
        }
    }
}

impl Format {
    /// All formats. Of those that share a suffix, or a range of media types, the first is the one
    /// that it finds.
    pub const ALL: [Self; 13] = [
        Self::Votable,
        Self::VotableBinary,
        Self::VotableBinary2,
        Self::Fits,
        Self::Csv,
        Self::Tsv,
        Self::Ndjson,
        Self::Json,
        Self::Parquet,
        Self::Arrow,
        Self::ArrowFile,
        Self::Html,
        Self::Text,
    ];

    /// Returns the name, as in `--format votable`.
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// Returns the suffix of file names and URLs, without its dot.
    pub fn suffix(self) -> &'static str {
        self.facts().suffix
    }

    /// Returns the media type with its parameters, as registered with IANA or, for VOTable, as
    /// DALI 1.1 (3.3.3) names it. CSV is UTF-8 by itself (RFC 7111, 3); TSV has to say so
    /// (RFC 6657, 4).
    pub fn media_type(self) -> &'static str {
        self.facts().media_type
    }

    /// Returns a line for people.
    pub fn description(self) -> &'static str {
        self.facts().description
    }

    /// Returns whether people read the file, and no program: HTML and aligned text.
    pub fn is_for_people(self) -> bool {
        matches!(self, Self::Html | Self::Text)
    }

    /// Returns the style that pages of this format have within: of what they load, all that a policy has
    /// to allow.
    pub fn style(self) -> Option<&'static str> {
        (self == Self::Html).then_some(html::STYLE)
    }

    /// Returns whether compressing the complete file is worth it: text is, binary formats are dense or
    /// compress themselves.
    pub fn is_compressible(self) -> bool {
        !matches!(
            self,
            Self::Fits | Self::Parquet | Self::Arrow | Self::ArrowFile
        )
    }

    /// Returns whether the bytes depend on nothing but the rows, their order and the options: not on how
    /// the rows are split into batches, as the messages of Arrow and the pages of Parquet do.
    pub fn is_of_rows_alone(self) -> bool {
        !matches!(self, Self::Parquet | Self::Arrow | Self::ArrowFile)
    }

    fn facts(self) -> Facts {
        let facts = |name, suffix, media_type, description| Facts {
            name,
            suffix,
            media_type,
            description,
        };
        match self {
            Self::Votable => facts(
                "votable",
                "vot",
                "application/x-votable+xml;serialization=tabledata",
                "VOTable, rows as XML: read by every astronomical tool",
            ),
            Self::VotableBinary => facts(
                "votable-binary",
                "vot",
                "application/x-votable+xml;serialization=BINARY",
                "VOTable, rows in binary, with values that stand for null",
            ),
            Self::VotableBinary2 => facts(
                "votable-binary2",
                "vot",
                "application/x-votable+xml;serialization=BINARY2",
                "VOTable, rows in binary, with nulls",
            ),
            Self::Fits => facts(
                "fits",
                "fits",
                "application/fits",
                "FITS binary table: begins once its length is known",
            ),
            Self::Csv => facts(
                "csv",
                "csv",
                "text/csv;charset=utf-8;header=present",
                "comma-separated values with a header",
            ),
            Self::Tsv => facts(
                "tsv",
                "tsv",
                "text/tab-separated-values;charset=utf-8",
                "tab-separated values with a header",
            ),
            Self::Ndjson => facts(
                "ndjson",
                "ndjson",
                "application/x-ndjson",
                "JSON, a record a line",
            ),
            Self::Json => facts(
                "json",
                "json",
                "application/json",
                "JSON, an array of records",
            ),
            Self::Parquet => facts(
                "parquet",
                "parquet",
                "application/vnd.apache.parquet",
                "Parquet: columns, compressed, with VOTable metadata",
            ),
            Self::Arrow => facts(
                "arrow",
                "arrow",
                "application/vnd.apache.arrow.stream",
                "Arrow IPC stream",
            ),
            Self::ArrowFile => facts(
                "arrow-file",
                "arrow",
                "application/vnd.apache.arrow.file",
                "Arrow IPC file (Feather 2)",
            ),
            Self::Html => facts(
                "html",
                "html",
                "text/html;charset=utf-8",
                "a page with the first rows, for people",
            ),
            Self::Text => facts(
                "text",
                "txt",
                "text/plain;charset=utf-8",
                "aligned columns, for people",
            ),
        }
    }

    /// Refuses a table that the format cannot hold, before anything is written. Values are not
    /// looked at: one that cannot be held fails the write.
    ///
    /// # Errors
    /// The first column that the format cannot hold, and why; a table without columns.
    pub fn check(self, schema: &SchemaRef) -> Result<(), TableError> {
        check_any(schema)?;
        match self {
            Self::Votable => votable::check(schema, Serialization::Tabledata),
            Self::VotableBinary => votable::check(schema, Serialization::Binary),
            Self::VotableBinary2 => votable::check(schema, Serialization::Binary2),
            Self::Fits => FitsSurvey::new(schema.clone()).map(drop),
            Self::Csv => csv::check(schema, Delimiter::Comma),
            Self::Tsv => csv::check(schema, Delimiter::Tab),
            Self::Ndjson | Self::Json => json::check(schema),
            // What they refuse is for the crates arrow and parquet to say.
            Self::Parquet | Self::Arrow | Self::ArrowFile => {
                let options = WriterOptions::default();
                self.writer(io::sink(), schema.clone(), &options).map(drop)
            }
            Self::Html => html::check(schema),
            Self::Text => plain::check(schema),
        }
    }

    /// Returns whether a text may be more than the format holds, which is printable ASCII then. Rows for it
    /// may go through [`AsciiTexts`](crate::ascii::AsciiTexts).
    pub fn is_ascii(self) -> bool {
        self == Self::Fits
    }

    /// Returns the places of the columns that the format can hold, each as far as it is checked alone, and no
    /// more than a table of it may have.
    pub fn columns_held(self, schema: &Schema) -> Vec<usize> {
        let beyond = self.nested_beyond(schema);
        let is_held = |place: &usize| {
            let alone = Schema::new(vec![Arc::clone(&schema.fields()[*place])]);
            beyond.binary_search(place).is_err() && self.check(&Arc::new(alone)).is_ok()
        };
        let most = match self {
            Self::Fits => COLUMNS_MAX,
            _ => usize::MAX,
        };
        let places = 0..schema.fields().len();
        places.filter(is_held).take(most).collect()
    }

    /// Returns whether the format has a type of UUIDs. Rows for others must go through
    /// [`UuidTexts`](crate::uuid::UuidTexts), or are written as 16 bytes.
    pub fn has_uuids(self) -> bool {
        matches!(self, Self::Parquet | Self::Arrow | Self::ArrowFile)
    }

    /// Returns the places of the columns that the format has no place for because they are nested. Of
    /// all formats only FITS has no other place for them; [`WithoutColumns`](crate::WithoutColumns)
    /// leaves them out.
    ///
    /// ```
    /// use arrow::datatypes::{DataType, Field, Fields, Schema};
    /// use datastreamer_table::Format;
    ///
    /// let list = DataType::new_list(DataType::Int32, false);
    /// let schema = Schema::new(vec![
    ///     Field::new("array", list, true),
    ///     Field::new("struct", DataType::Struct(Fields::empty()), true),
    /// ]);
    /// assert_eq!(Format::Fits.nested_beyond(&schema), [1]);
    /// assert_eq!(Format::Csv.nested_beyond(&schema), [0; 0]);
    /// ```
    pub fn nested_beyond(self, schema: &Schema) -> Vec<usize> {
        match self {
            Self::Fits => nested_beyond(schema),
            _ => Vec::new(),
        }
    }

    /// Makes a writer, which begins with what stands before the first row.
    ///
    /// FITS writes nothing until it is [finished](TableWriter::finish): [`plan`](Self::plan) says
    /// what a format must know to begin earlier, and with a known length.
    ///
    /// # Errors
    /// What [`check`](Self::check) refuses, before anything is written; an error of the
    /// output, or of FITS's temporary file.
    pub fn writer<'a, W: Write + Send + 'a>(
        self,
        out: W,
        schema: SchemaRef,
        options: &WriterOptions,
    ) -> Result<Box<dyn TableWriter + Send + 'a>, TableError> {
        self.boxed_writer(Box::new(out), schema, options)
    }

    /// The writers take one type of output, so that they are compiled here, for speed, and once.
    fn boxed_writer<'a>(
        self,
        out: Box<dyn Write + Send + 'a>,
        schema: SchemaRef,
        options: &WriterOptions,
    ) -> Result<Box<dyn TableWriter + Send + 'a>, TableError> {
        check_any(&schema)?;
        let votable = |serialization| VotableOptions {
            serialization,
            version: options.votable_version,
        };
        use Serialization as S;
        Ok(match self {
            Self::Votable | Self::VotableBinary | Self::VotableBinary2 => {
                let votable = votable(match self {
                    Self::VotableBinary => S::Binary,
                    Self::VotableBinary2 => S::Binary2,
                    _ => S::Tabledata,
                });
                let table = VotableWriter::new(out, schema, votable)?;
                Box::new(table.with_limit(options.limit.clone()))
            }
            Self::Fits => Box::new(FitsWriter::new(out, schema, options)?),
            Self::Csv => {
                let (delimiter, has_mark) = (Delimiter::Comma, options.csv_mark);
                Box::new(CsvWriter::marked(out, schema, delimiter, has_mark)?)
            }
            Self::Tsv => Box::new(CsvWriter::new(out, schema, Delimiter::Tab)?),
            Self::Ndjson => Box::new(JsonWriter::new(out, schema, json::Framing::Lines)?),
            Self::Json => Box::new(JsonWriter::new(out, schema, json::Framing::Array)?),
            Self::Parquet => {
                let compression = options.parquet_compression;
                let table = ParquetWriter::new(out, schema, compression)?;
                Box::new(table.with_limit(options.limit.clone()))
            }
            Self::Arrow => Box::new(IpcWriter::new(out, schema, ipc::Framing::Stream)?),
            Self::ArrowFile => Box::new(IpcWriter::new(out, schema, ipc::Framing::File)?),
            Self::Html => {
                let (rows_max, frame) = (options.html_rows_max, options.html_frame.clone());
                let page = HtmlWriter::framed(out, schema, rows_max, frame)?;
                Box::new(page.with_limit(options.limit.clone()))
            }
            Self::Text => {
                let table = PlainWriter::new(out, schema)?;
                Box::new(table.with_limit(options.limit.clone()))
            }
        })
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

struct Facts {
    name: &'static str,
    suffix: &'static str,
    media_type: &'static str,
    description: &'static str,
}
