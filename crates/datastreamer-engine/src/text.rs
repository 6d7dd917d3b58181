//! CSV, TSV and NDJSON files: their columns and rows. `scan.rs` plans their scans.
//!
//! `input.rs` decompresses a file, `fields.rs` splits CSV and TSV into rows and fields, `json.rs` reads
//! a line of NDJSON, `values.rs` says what a
//! text is as a value, `seen.rs` which type holds a whole column. Inference and reading share them,
//! so that a table that opens can be read to its last row. Arrow's readers do not do this: they infer
//! by patterns that their parsers do not follow, drop blank lines, and cannot tell an empty text from
//! a null.

mod batch;
mod csv;
mod fields;
mod input;
mod json;
mod ndjson;
mod seen;
mod values;

use std::{
    fs::File,
    io::{self, Read},
    iter,
    path::Path,
    sync::Arc,
};

use arrow::{
    datatypes::{Schema, SchemaRef},
    record_batch::RecordBatch,
};
use datafusion::{
    common::Result,
    datasource::{
        file_format::file_compression_type::FileCompressionType,
        listing::PartitionedFile,
        physical_plan::{FileOpenFuture, FileOpener},
    },
};
use futures_util::{StreamExt, stream};

pub(crate) use self::seen::{LARGE_INTEGER, Notes};
use self::{
    csv::CsvReader,
    fields::Delimiter,
    input::{Gzip, Input},
    ndjson::NdjsonReader,
};
use crate::{
    error::EngineError,
    file_kind::{Compression, FileKind},
    pinned::PinnedFile,
};

/// Infers the columns of a file from all its rows. **Blocks** for as long as it takes to read them.
///
/// # Errors
/// The file cannot be read or split into rows.
pub(crate) fn infer(path: &Path, kind: FileKind) -> io::Result<Schema> {
    let input = input(path, kind)?;
    match delimiter(kind) {
        Some(delimiter) => csv::infer(input, delimiter),
        None => ndjson::infer(input),
    }
}

fn input(path: &Path, kind: FileKind) -> io::Result<Input> {
    Input::new(decompressed(File::open(path)?, kind)?)
}

fn delimiter(kind: FileKind) -> Option<Delimiter> {
    match kind {
        FileKind::Csv(_) => Some(Delimiter::Comma),
        FileKind::Tsv(_) => Some(Delimiter::Tab),
        _ => None,
    }
}

fn decompressed(file: File, kind: FileKind) -> io::Result<Box<dyn Read + Send>> {
    match kind {
        FileKind::Csv(compression) | FileKind::Tsv(compression) | FileKind::Ndjson(compression) => {
            match compression {
                Compression::None => Ok(Box::new(file)),
                Compression::Gzip => Ok(Box::new(Gzip::new(file))),
                Compression::Zstd => FileCompressionType::ZSTD
                    .convert_read(file)
                    .map_err(io::Error::other),
            }
        }
        _ => Ok(Box::new(file)),
    }
}

/// Opens text files for a scan.
pub(crate) struct TextOpener {
    pub(crate) kind: FileKind,
    /// The columns to read, and their places in the file.
    pub(crate) schema: SchemaRef,
    pub(crate) places: Vec<usize>,
    pub(crate) batch_rows: usize,
}

impl FileOpener for TextOpener {
    fn open(&self, file: PartitionedFile) -> Result<FileOpenFuture> {
        let file = file.extension::<PinnedFile>().cloned().ok_or_else(|| {
            EngineError::data("internal error: a plan reads a file that was not compared")
        })?;
        let kind = self.kind;
        let columns = (Arc::clone(&self.schema), self.places.clone());
        let batch_rows = self.batch_rows;
        Ok(Box::pin(async move {
            let reader = Reader::new(&file.path, kind, columns, batch_rows);
            let mut reader = Some(reader.map_err(|error| file.error(&error))?);
            let batches = iter::from_fn(move || {
                let read = reader.as_mut()?.read();
                if read.is_err() {
                    reader = None;
                }
                let read = read.transpose()?;
                Some(read.map_err(|error| file.error(&error).into()))
            });
            Ok(stream::iter(batches).boxed())
        }))
    }
}

/// Reads the rows of a file.
enum Reader {
    Csv(CsvReader),
    Ndjson(NdjsonReader),
}

impl Reader {
    fn new(
        path: &Path,
        kind: FileKind,
        columns: (SchemaRef, Vec<usize>),
        batch_rows: usize,
    ) -> io::Result<Self> {
        let input = input(path, kind)?;
        Ok(match delimiter(kind) {
            Some(delimiter) => Self::Csv(CsvReader::new(input, delimiter, columns, batch_rows)?),
            None => Self::Ndjson(NdjsonReader::new(input, columns.0, batch_rows)),
        })
    }

    fn read(&mut self) -> io::Result<Option<RecordBatch>> {
        match self {
            Self::Csv(reader) => reader.read(),
            Self::Ndjson(reader) => reader.read(),
        }
    }
}
