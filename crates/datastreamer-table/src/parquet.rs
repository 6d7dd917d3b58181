//! Parquet, with the metadata of VOParquet.
//!
//! [`ParquetWriter`] bounds the row groups of the `parquet` crate's writer and says in the footer
//! what the table is. `parquet/stored.rs` turns columns into types that every reader of Parquet
//! knows.
//!
//! Sources: Parquet 2.11, VOParquet 1.0 (IVOA Note, 2025-01-14).

mod stored;

use std::{
    io::{self, Write},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, new_null_array},
    datatypes::{DataType, Field, Schema, SchemaRef},
    record_batch::RecordBatch,
};
use parquet::{
    arrow::{ArrowSchemaConverter, ArrowWriter, arrow_writer::ArrowWriterOptions},
    basic::{Compression, LogicalType, Type, ZstdLevel},
    errors::ParquetError,
    file::{
        metadata::KeyValue,
        properties::{EnabledStatistics, WriterProperties},
    },
    schema::types::{SchemaDescriptor, Type as ParquetType},
};

use self::stored::Stored;
use super::{
    TableEnd, TableError, TableWriter,
    column::cannot_hold,
    nested::{find_type, for_leaves},
    uuid, votable,
};

/// A row group is held in memory until it is complete: so much of it, in bytes. With what compresses
/// it a stream of some ten columns stays under 32 MB.
const ROW_GROUP_BYTES: usize = 8 * 1024 * 1024;

/// The first row group has so many bytes, and each the double of the one before: the file begins
/// within milliseconds, and not once 8 MB of it are there.
const FIRST_ROW_GROUP_BYTES: usize = 1024 * 1024;

/// And so many rows, where they are small: readers work on one row group a thread.
const ROW_GROUP_ROWS: usize = 1024 * 1024;

/// The row group's memory is looked at after so many bytes of a batch: what it may be exceeded by.
const PIECE_BYTES: usize = 1024 * 1024;

/// And after so many rows at most.
const PIECE_ROWS: usize = 8 * 1024;

/// A page is compressed once it is so large, in bytes. Each column that has compressed a page keeps
/// about as much for the next, so no more than [`ROW_GROUP_BYTES`] of pages can do so at once.
const PAGE_BYTES: usize = 1024 * 1024;

/// A dictionary of texts is given up beyond so many bytes: texts of some thousand kinds have one,
/// and those that hardly repeat do not pay a fifth of the time for it.
const DICTIONARY_BYTES: usize = 128 * 1024;

/// The fastest: a table is mostly written once for one download, and its numbers hardly shrink.
const ZSTD_LEVEL: i32 = 1;

/// Each column has contexts of Zstandard, of 70 KB where it has values: in a table of more columns
/// they would be more than 140 MB.
const ZSTD_COLUMNS_MAX: usize = 2048;

const CREATED_BY: &str = concat!("datastreamer version ", env!("CARGO_PKG_VERSION"));

/// How pages are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ParquetCompression {
    /// Zstandard, at its fastest level; Snappy in tables of more than 2048 columns, those in structs
    /// and lists counted, as each would have a compressor's memory.
    #[default]
    Zstd,
    /// Snappy: what the oldest readers know.
    Snappy,
    /// Not at all.
    None,
}

/// Writes one table as Parquet.
///
/// Columns have the types of the `parquet` crate's Arrow writer, structs and lists included. Times
/// in seconds become milliseconds, a Date64 a date of days, and decimals of a negative scale ones
/// without, as Parquet has no others. Texts are written with a dictionary, as long as one is small;
/// every column has statistics.
///
/// The footer has VOParquet's keys `IVOA.VOTable-Parquet.version` and `.content`: the head of a
/// VOTable with all metadata. It is left out of a table that VOTable cannot describe, one with
/// structs for example. The widths of texts in it are those of the longest ones. Where a limit cut the table, the VOTable's QUERY_STATUS and the footer's
/// key [`STATUS_KEY`](Self::STATUS_KEY) say `OVERFLOW`.
///
/// Memory is a row group of at most 8 MiB, what compresses it (about 16 MB in all for ten columns,
/// 70 KB more for each further one up to 2048, and 10 KB beyond, where Snappy compresses) and, until the footer, its entry there: about 800 bytes a
/// column and row group. A batch is held as it is, however huge a value in it.
///
/// Without [`finish`](TableWriter::finish) there is no footer, and no reader takes the file.
///
/// ```
/// use std::sync::Arc;
/// use arrow::{array::Int32Array, datatypes::{DataType, Field, Schema}, record_batch::RecordBatch};
/// use datastreamer_table::{TableEnd, TableWriter, parquet::ParquetWriter};
///
/// let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int32, false)]));
/// let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int32Array::from(vec![7]))])?;
/// let mut file = Vec::new();
/// let mut table = Box::new(ParquetWriter::new(&mut file, schema, Default::default())?);
/// table.write(&batch)?;
/// table.finish(TableEnd::Complete)?;
/// assert!(file.starts_with(b"PAR1") && file.ends_with(b"PAR1"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ParquetWriter<W: Write + Send> {
    file: ArrowWriter<W>,
    schema: SchemaRef,
    stored: Stored,
    rows: u64,
    /// Of columns of texts: the UTF-16 units of the longest.
    widths: Vec<Option<usize>>,
    /// What is said where a limit has cut the table.
    limit: Option<String>,
    /// Of the row group that is being filled.
    row_group_bytes: usize,
}

impl<W: Write + Send> ParquetWriter<W> {
    /// The footer's key that says `OVERFLOW` where a limit cut the table.
    pub const STATUS_KEY: &'static str = "QUERY_STATUS";

    /// Writes the head.
    ///
    /// # Errors
    /// A column that Parquet cannot hold, before anything is written; an error of the output.
    pub fn new(
        out: W,
        schema: SchemaRef,
        compression: ParquetCompression,
    ) -> Result<Self, TableError> {
        let stored = Stored::new(&schema);
        check(&schema, &stored)?;
        let properties = properties(stored.schema(), compression).map_err(output_error)?;
        let columns = columns(stored.schema()).map_err(output_error)?;
        let options = ArrowWriterOptions::new()
            .with_properties(properties)
            .with_parquet_schema(columns);
        let schema_stored = Arc::clone(stored.schema());
        let file = ArrowWriter::try_new_with_options(out, schema_stored, options);
        Ok(Self {
            file: file.map_err(output_error)?,
            widths: schema
                .fields()
                .iter()
                .map(|field| has_texts(field).then_some(0))
                .collect(),
            limit: None,
            schema,
            stored,
            rows: 0,
            row_group_bytes: FIRST_ROW_GROUP_BYTES,
        })
    }

    /// Says, where a limit has cut the table, which one it was.
    pub fn with_limit(self, limit: Option<String>) -> Self {
        Self { limit, ..self }
    }
}

impl<W: Write + Send> TableWriter for ParquetWriter<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), TableError> {
        for (width, column) in self.widths.iter_mut().zip(batch.columns()) {
            if let Some(width) = width {
                *width = widest(column, *width);
            }
        }
        let batch = self.stored.batch(batch, self.rows)?;
        self.rows += batch.num_rows() as u64;
        let piece_rows = piece_rows(&batch);
        for from in (0..batch.num_rows()).step_by(piece_rows) {
            let length = piece_rows.min(batch.num_rows() - from);
            self.file
                .write(&batch.slice(from, length))
                .map_err(output_error)?;
            if self.file.memory_size() >= self.row_group_bytes {
                self.file.flush().map_err(output_error)?;
                self.row_group_bytes = ROW_GROUP_BYTES.min(2 * self.row_group_bytes);
            }
        }
        Ok(())
    }

    /// Writes the last row group and the footer.
    fn finish(mut self: Box<Self>, end: TableEnd) -> Result<(), TableError> {
        let mut note = |key: &str, value: String| {
            self.file
                .append_key_value_metadata(KeyValue::new(key.to_owned(), value));
        };
        if let Ok(document) = votable::without_rows(
            &self.schema,
            votable::Version::V1_4,
            end,
            self.limit.as_deref(),
            &self.widths,
        ) {
            note("IVOA.VOTable-Parquet.version", "1.0".into());
            let document = String::from_utf8_lossy(&document).into_owned();
            note("IVOA.VOTable-Parquet.content", document);
        }
        if end == TableEnd::Overflow {
            note(Self::STATUS_KEY, "OVERFLOW".into());
        }
        self.file.finish().map_err(output_error)?;
        Ok(self.file.sync()?)
    }

    /// Writes the complete row groups, and no footer.
    fn abort(mut self: Box<Self>, _reason: &str) -> Result<(), TableError> {
        Ok(self.file.sync()?)
    }
}

fn has_texts(field: &Field) -> bool {
    use DataType as T;
    matches!(field.data_type(), T::Utf8 | T::LargeUtf8 | T::Utf8View)
}

/// Returns the UTF-16 units of the longest of these texts, if it is longer than `width`.
fn widest(column: &ArrayRef, width: usize) -> usize {
    match column.data_type() {
        DataType::Utf8 => widest_of(column.as_string::<i32>().iter(), width),
        DataType::LargeUtf8 => widest_of(column.as_string::<i64>().iter(), width),
        DataType::Utf8View => widest_of(column.as_string_view().iter(), width),
        _ => width,
    }
}

fn widest_of<'a>(texts: impl Iterator<Item = Option<&'a str>>, width: usize) -> usize {
    texts.flatten().fold(width, |width, text| {
        // A unit is at least a byte of UTF-8.
        match text.len() > width {
            true => width.max(text.encode_utf16().count()),
            false => width,
        }
    })
}

/// Has the writer try each column with one row, a null: what it cannot hold it says late.
///
/// # Errors
/// The first column that Parquet cannot hold.
fn check(schema: &Schema, stored: &Stored) -> Result<(), TableError> {
    let fields = schema.fields().iter().zip(stored.schema().fields());
    for (field, stored) in fields {
        let stored = stored.as_ref().clone().with_nullable(true);
        let refused = find_type(stored.data_type(), &is_refused).cloned();
        let refused = refused.or_else(|| {
            // The error of the whole column does not say which type within it is at fault.
            let is_refused = |inner: &DataType| !inner.is_nested() && !can_write(&of_type(inner));
            let inner = || find_type(stored.data_type(), &is_refused);
            (!can_write(&stored)).then(|| inner().unwrap_or(field.data_type()).clone())
        });
        if let Some(refused) = refused {
            return Err(TableError::Column {
                column: field.name().clone(),
                problem: cannot_hold("Parquet", &refused),
            });
        }
    }
    Ok(())
}

fn of_type(data_type: &DataType) -> Field {
    Field::new("tried", data_type.clone(), true)
}

fn can_write(field: &Field) -> bool {
    let null = new_null_array(field.data_type(), 1);
    let alone = Arc::new(Schema::new(vec![field.clone()]));
    ArrowWriter::try_new(io::sink(), Arc::clone(&alone), None)
        .and_then(|mut file| file.write(&RecordBatch::try_new(alone, vec![null])?))
        .is_ok()
}

/// What the writer does not refuse: it panics on the first two, and writes times that Parquet has no
/// type for, here those within lists and the like, as bare integers.
fn is_refused(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Union(_, _) | DataType::FixedSizeBinary(0)
    ) || stored::is_refused_within(data_type)
}

/// Returns the columns of a file, with UUIDs as such.
fn columns(schema: &Schema) -> Result<SchemaDescriptor, ParquetError> {
    let columns = ArrowSchemaConverter::new().convert(schema)?;
    let mut are_uuids = Vec::new();
    for_leaves(schema.fields(), &mut |leaf| {
        are_uuids.push(uuid::is_uuid(leaf));
    });
    if !are_uuids.contains(&true) || are_uuids.len() != columns.num_columns() {
        return Ok(columns);
    }
    let root = with_uuids(columns.root_schema(), &mut are_uuids.into_iter())?;
    Ok(SchemaDescriptor::new(Arc::new(root)))
}

/// Gives their logical type to those of the leaves, in their order, that are UUIDs.
fn with_uuids(
    column: &ParquetType,
    are_uuids: &mut dyn Iterator<Item = bool>,
) -> Result<ParquetType, ParquetError> {
    let info = column.get_basic_info();
    if column.is_primitive() {
        if are_uuids.next() != Some(true) {
            return Ok(column.clone());
        }
        return ParquetType::primitive_type_builder(column.name(), Type::FIXED_LEN_BYTE_ARRAY)
            .with_length(16)
            .with_repetition(info.repetition())
            .with_logical_type(Some(LogicalType::Uuid))
            .build();
    }
    let parts = column.get_fields().iter();
    let parts = parts.map(|part| with_uuids(part, are_uuids).map(Arc::new));
    let mut group = ParquetType::group_type_builder(column.name())
        .with_fields(parts.collect::<Result<_, _>>()?)
        .with_converted_type(info.converted_type())
        .with_logical_type(info.logical_type_ref().cloned());
    if info.has_repetition() {
        group = group.with_repetition(info.repetition());
    }
    group.build()
}

fn properties(
    schema: &Schema,
    compression: ParquetCompression,
) -> Result<WriterProperties, ParquetError> {
    let columns = ArrowSchemaConverter::new().convert(schema)?;
    let mut properties = WriterProperties::builder()
        .set_created_by(CREATED_BY.into())
        .set_compression(match compression {
            ParquetCompression::Zstd if columns.num_columns() <= ZSTD_COLUMNS_MAX => {
                Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?)
            }
            ParquetCompression::Zstd | ParquetCompression::Snappy => Compression::SNAPPY,
            ParquetCompression::None => Compression::UNCOMPRESSED,
        })
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_data_page_size_limit(PAGE_BYTES)
        .set_data_page_row_count_limit(ROW_GROUP_ROWS)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
        // Those of pages are kept until the footer, for the complete table.
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        // Six times slower, and numbers seldom repeat.
        .set_dictionary_enabled(false);
    for column in columns.columns() {
        if column.physical_type() == Type::BYTE_ARRAY {
            properties = properties.set_column_dictionary_enabled(column.path().clone(), true);
        }
    }
    Ok(properties.build())
}

/// How many rows of a batch make a piece: at least one.
fn piece_rows(batch: &RecordBatch) -> usize {
    let bytes_of = |array: &dyn Array| match array.data_type() {
        // Whose values lie elsewhere.
        DataType::Utf8View | DataType::BinaryView => array.get_buffer_memory_size(),
        _ => array.to_data().get_slice_memory_size().unwrap_or_default(),
    };
    let bytes: usize = batch.columns().iter().map(|array| bytes_of(array)).sum();
    let row_bytes = bytes / batch.num_rows().max(1);
    (PIECE_BYTES / row_bytes.max(1)).clamp(1, PIECE_ROWS)
}

fn output_error(error: ParquetError) -> TableError {
    let error = match error {
        ParquetError::External(error) => match error.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(error) => io::Error::other(error),
        },
        error => io::Error::other(error),
    };
    TableError::Output(error)
}
